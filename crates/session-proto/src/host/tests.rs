use super::*;
use hbb_common::handshake::client_handshake;
use hbb_common::key::SigningKey;
use hbb_common::password::PasswordHash;
use hbb_common::session::option_message::BoolOption;
use hbb_common::session::{
    CaptureDisplays, ControlKey, KeyEvent, KeyboardMode, LoginRequest, MessageQuery, MouseEvent,
    MultiClipboards, OptionMessage, PublicKey, ScreenshotRequest, SwitchDisplay, key_event, login_request,
    login_response,
};
use remote::{Button, CursorShape, Permission, Permissions, Point, Size, VideoCodec};
use std::sync::Arc;

const ID: &str = "555000111";
const PASSWORD: &str = "beacon-Light-7";
const SALT: &str = "salt123";
const SECOND: Duration = Duration::from_secs(1);

fn display(name: &str, x: i32, size: Size) -> HostDisplay {
    let modes = vec![size, Size::new(640, 480)];
    HostDisplay {
        name: name.into(),
        origin: Point::new(x, 0),
        size,
        primary: x == 0,
        modes,
        original: Some(size),
    }
}

fn context() -> HostContext {
    HostContext {
        id: ID.into(),
        identity: None,
        allow_plain: false,
        salt: SALT.into(),
        passwords: vec![PasswordHash::new(PASSWORD, SALT)],
        approve: ApproveMode::Password,
        permissions: Permissions { denied: vec![Permission::Audio] },
        remote_ip: "192.0.2.7".parse().unwrap(),
        attempts: Arc::default(),
        announce: Announcement {
            username: "ada".into(),
            hostname: "orchard".into(),
            platform: "Linux".into(),
            version: "1.4.9".into(),
            displays: vec![
                display("left", 0, Size::new(1280, 800)),
                display("right", 1280, Size::new(800, 600)),
            ],
            encoding: Encoding { vp8: true, ..Encoding::default() },
            platform_additions: String::new(),
        },
    }
}

/// A client at the other end, which knows the password.
struct Rig {
    host: Host,
    now: Instant,
    hash: session::Hash,
}

impl Rig {
    fn new(context: HostContext) -> Self {
        let now = Instant::now();
        let random = HostRandom { secret: [3; 32], challenge: [0, 1, 2, 3, 4, 5] };
        Self { host: Host::new(context, random, now), now, hash: session::Hash::default() }
    }

    /// Past the greeting.
    fn greeted(context: HostContext) -> Self {
        let mut rig = Self::new(context);
        let (messages, _) = rig.outputs();
        let hash = messages.into_iter().find_map(|m| match m {
            message::Union::Hash(hash) => Some(hash),
            _ => None,
        });
        rig.hash = hash.unwrap();
        rig
    }

    fn live() -> Self {
        Self::live_in(context())
    }

    fn live_in(context: HostContext) -> Self {
        let mut rig = Self::greeted(context);
        let request = rig.request();
        rig.send(message::Union::LoginRequest(request));
        assert!(rig.host.is_live());
        rig
    }

    fn request(&self) -> LoginRequest {
        LoginRequest {
            username: ID.into(),
            password: self.proof(PASSWORD),
            my_id: "987654321".into(),
            my_name: "Pilot".into(),
            version: "1.4.9".into(),
            my_platform: "Linux".into(),
            session_id: 7,
            ..Default::default()
        }
    }

    fn proof(&self, password: &str) -> Bytes {
        PasswordHash::new(password, &self.hash.salt).proof(&self.hash.challenge).to_vec().into()
    }

    /// What the machine sends, and what it tells.
    fn outputs(&mut self) -> (Vec<message::Union>, Vec<Event>) {
        let (mut messages, mut events) = (Vec::new(), Vec::new());
        while let Some(output) = self.host.poll_output() {
            match output {
                Output::Send(bytes) => messages.push(Message::decode(bytes).unwrap().union.unwrap()),
                Output::Event(event) => events.push(event),
                Output::Close => {}
            }
        }
        (messages, events)
    }

    fn send(&mut self, union: message::Union) -> (Vec<message::Union>, Vec<Event>) {
        self.host.handle_packet(Message { union: Some(union) }.encode_to_vec().into(), self.now);
        self.outputs()
    }

    fn misc(&mut self, union: misc::Union) -> (Vec<message::Union>, Vec<Event>) {
        self.send(message::Union::Misc(Misc { union: Some(union) }))
    }

    fn option(&mut self, option: OptionMessage) -> (Vec<message::Union>, Vec<Event>) {
        self.misc(misc::Union::Option(option))
    }

    fn inputs(&mut self, union: message::Union) -> Vec<HostInput> {
        let (messages, events) = self.send(union);
        assert_eq!(messages, []);
        events
            .into_iter()
            .map(|event| match event {
                Event::Input(input) => input,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn mouse(&mut self, mask: i32, x: i32, y: i32, modifiers: &[ControlKey]) -> Vec<HostInput> {
        let modifiers = modifiers.iter().map(|m| *m as i32).collect();
        self.inputs(message::Union::MouseEvent(MouseEvent { mask, x, y, modifiers }))
    }

    fn wait(&mut self, time: Duration) -> (Vec<message::Union>, Vec<Event>) {
        let end = self.now + time;
        let (mut messages, mut events) = (Vec::new(), Vec::new());
        while let Some(next) = self.host.poll_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.host.handle_timeout(self.now);
            let (m, e) = self.outputs();
            messages.extend(m);
            events.extend(e);
        }
        self.now = end;
        (messages, events)
    }
}

fn errors(messages: &[message::Union]) -> Vec<String> {
    let error = |m: &message::Union| match m {
        message::Union::LoginResponse(r) => match &r.union {
            Some(login_response::Union::Error(text)) => Some(text.clone()),
            _ => None,
        },
        _ => None,
    };
    messages.iter().filter_map(error).collect()
}

fn probes(messages: &[message::Union]) -> usize {
    messages.iter().filter(|m| matches!(m, message::Union::TestDelay(_))).count()
}

fn views(events: &[Event]) -> Vec<Vec<usize>> {
    let view = |e: &Event| match e {
        Event::View(view) => Some(view.displays.clone()),
        _ => None,
    };
    events.iter().filter_map(view).collect()
}

fn key(
    union: key_event::Union,
    down: bool,
    press: bool,
    mode: KeyboardMode,
    modifiers: &[ControlKey],
) -> message::Union {
    let modifiers = modifiers.iter().map(|m| *m as i32).collect();
    message::Union::KeyEvent(KeyEvent { down, press, modifiers, mode: mode as i32, union: Some(union) })
}

fn pressed(union: key_event::Union, modifiers: &[ControlKey]) -> message::Union {
    key(union, true, true, KeyboardMode::Legacy, modifiers)
}

fn named(key: ControlKey) -> key_event::Union {
    key_event::Union::ControlKey(key as i32)
}

fn chr(c: char) -> key_event::Union {
    key_event::Union::Chr(c.into())
}

fn position(code: u32, down: bool) -> message::Union {
    key(key_event::Union::Chr(code), down, false, KeyboardMode::Map, &[])
}

fn down(key: ControlKey) -> HostInput {
    HostInput::Key { key: InputKey::Named(key), down: true }
}

fn up(key: ControlKey) -> HostInput {
    HostInput::Key { key: InputKey::Named(key), down: false }
}

fn typed(c: char) -> [HostInput; 2] {
    [true, false].map(|down| HostInput::Key { key: InputKey::Character(c), down })
}

fn caps(on: bool) -> HostInput {
    HostInput::Locks { caps: Some(on), num: None }
}

#[test]
fn the_greeting_is_hash_then_what_is_denied_then_a_probe() {
    let mut rig = Rig::new(context());
    let (messages, events) = rig.outputs();
    assert_eq!(events, [Event::Secured { sealed: false }]);
    let want = session::Hash { salt: SALT.into(), challenge: "234567".into() };
    assert_eq!(messages[0], message::Union::Hash(want));
    let audio = session::PermissionInfo { permission: 3, enabled: false };
    assert_eq!(messages[1], message::Union::Misc(Misc { union: Some(misc::Union::PermissionInfo(audio)) }));
    assert_eq!((messages.len(), probes(&messages)), (3, 1));
}

#[test]
fn a_secured_connection_is_sealed_from_hash_on() {
    let identity = SigningKey::from_seed(&[2; 32]);
    let mut rig = Rig::new(HostContext { identity: Some(identity.clone()), ..context() });
    let (messages, events) = rig.outputs();
    let [message::Union::SignedId(signed)] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!(events, []);
    let (answer, key) = client_handshake(signed, &identity.public(), ID, &[4; 32], [5; 32]).unwrap();
    let answer = Message { union: Some(message::Union::PublicKey(answer)) }.encode_to_vec();
    rig.host.handle_packet(answer.into(), rig.now);
    let mut seal = Seal::new(key);
    assert_eq!(rig.host.poll_output(), Some(Output::Event(Event::Secured { sealed: true })));
    let Some(Output::Send(sealed)) = rig.host.poll_output() else { panic!("nothing sent") };
    let hash = Message::decode(seal.open(sealed).unwrap()).unwrap();
    assert!(matches!(hash.union, Some(message::Union::Hash(_))));
    rig.host.handle_packet(Bytes::from_static(b"not what was sealed"), rig.now);
    let last = std::iter::from_fn(|| rig.host.poll_output()).last();
    assert_eq!(last, Some(Output::Close));
    assert!(rig.host.is_over());
}

#[test]
fn a_client_that_wants_no_encryption_is_refused_unless_it_may() {
    for (allow_plain, answer) in [
        (false, Some(message::Union::PublicKey(PublicKey::default()))),
        (true, Some(message::Union::PublicKey(PublicKey::default()))),
        (true, None),
    ] {
        let identity = Some(SigningKey::from_seed(&[2; 32]));
        let mut rig = Rig::new(HostContext { identity, allow_plain, ..context() });
        rig.outputs();
        rig.host.handle_packet(Message { union: answer }.encode_to_vec().into(), rig.now);
        let (messages, events) = rig.outputs();
        if allow_plain {
            assert_eq!(events, [Event::Secured { sealed: false }]);
            assert!(matches!(messages[0], message::Union::Hash(_)));
        } else {
            assert!(matches!(&events[..], [Event::Closed(CloseCause::Insecure(_))]), "{events:?}");
            assert_eq!(messages, []);
        }
    }
}

#[test]
fn a_wrong_password_keeps_the_connection_and_the_challenge() {
    let mut rig = Rig::greeted(context());
    let wrong = LoginRequest { password: rig.proof("guess"), ..rig.request() };
    let (messages, events) = rig.send(message::Union::LoginRequest(wrong));
    assert_eq!(errors(&messages), ["Wrong Password"]);
    assert!(matches!(events[..], [Event::Introduced(_), Event::WrongPassword]));
    let (messages, events) = rig.send(message::Union::LoginRequest(rig.request()));
    let message::Union::LoginResponse(response) = &messages[0] else { panic!("{messages:?}") };
    let Some(login_response::Union::PeerInfo(info)) = &response.union else { panic!("{response:?}") };
    assert_eq!((&info.username[..], &info.platform[..], &info.version[..]), ("ada", "Linux", "1.4.9"));
    assert_eq!(
        info.displays.iter().map(|d| (d.x, d.width, d.height)).collect::<Vec<_>>(),
        [(0, 1280, 800), (1280, 800, 600)]
    );
    assert_eq!(events[0], Event::Authorised(Authorisation::Password(0)));
    assert_eq!(views(&events), [[0]], "subscribed to the primary display");
    let again = LoginRequest { password: rig.proof("guess"), ..rig.request() };
    assert_eq!(rig.send(message::Union::LoginRequest(again)), (vec![], vec![]), "a third one is ignored");
}

#[test]
fn nothing_counts_before_the_login() {
    let mut rig = Rig::greeted(context());
    assert_eq!(rig.send(message::Union::MouseEvent(MouseEvent::default())), (vec![], vec![]));
    assert_eq!(rig.misc(misc::Union::RefreshVideo(true)), (vec![], vec![]));
    assert_eq!(rig.send(message::Union::Auth2fa(session::Auth2Fa::default())), (vec![], vec![]));
    assert_eq!(rig.host.refusals().before_login, 3);
    let probe = message::Union::TestDelay(TestDelay { from_client: true, time: 12345, ..Default::default() });
    assert_eq!(rig.send(probe.clone()), (vec![probe], vec![]), "its own probe comes back");
}

#[test]
fn logins_for_others_and_for_what_this_host_has_not_end() {
    use login_request::Union;
    let mut rig = Rig::greeted(context());
    let foreign = LoginRequest { username: "000000001".into(), ..rig.request() };
    let (messages, _) = rig.send(message::Union::LoginRequest(foreign));
    assert_eq!(errors(&messages), ["Offline"]);
    assert!(!rig.host.is_over(), "it may read why");
    let (_, events) = rig.wait(SECOND);
    assert_eq!(events, [Event::Closed(CloseCause::LoginRefused)]);
    let kinds = [
        (Union::FileTransfer(session::FileTransfer::default()), "No permission of file transfer"),
        (Union::PortForward(session::PortForward::default()), "No permission of IP tunneling"),
        (Union::ViewCamera(session::ViewCamera {}), "No permission of viewing camera"),
        (Union::Terminal(session::Terminal::default()), "No permission of terminal"),
    ];
    for (kind, text) in kinds {
        let mut rig = Rig::greeted(context());
        let request = LoginRequest { union: Some(kind), ..rig.request() };
        assert_eq!(errors(&rig.send(message::Union::LoginRequest(request)).0), [text]);
    }
}

#[test]
fn addresses_and_suffixes_name_this_host_too() {
    for username in ["10.77.0.2:21118", "10.77.0.2", "host.example:21118", "555000111@server", "555000111/r"]
    {
        let mut rig = Rig::greeted(context());
        let request = LoginRequest { username: username.into(), ..rig.request() };
        rig.send(message::Union::LoginRequest(request));
        assert!(rig.host.is_live(), "{username}");
    }
}

#[test]
fn another_identity_does_not_inherit_the_first_ones_attempts() {
    let mut rig = Rig::greeted(context());
    let wrong = LoginRequest { password: rig.proof("guess"), ..rig.request() };
    rig.send(message::Union::LoginRequest(wrong));
    let other = LoginRequest { my_id: "111222333".into(), ..rig.request() };
    let (messages, _) = rig.send(message::Union::LoginRequest(other));
    assert_eq!(errors(&messages), ["Connection not allowed"]);
}

#[test]
fn the_eighth_guess_in_a_minute_is_not_looked_at() {
    let shared = context();
    let mut texts = Vec::new();
    for _ in 0..4 {
        let mut rig = Rig::greeted(shared.clone());
        for _ in 0..2 {
            let wrong = LoginRequest { password: rig.proof("guess"), ..rig.request() };
            texts.extend(errors(&rig.send(message::Union::LoginRequest(wrong)).0));
        }
    }
    assert_eq!(texts[..7], ["Wrong Password"; 7]);
    assert_eq!(texts[7], "Please try 1 minute later");
    let mut rig = Rig::greeted(shared);
    assert_eq!(
        errors(&rig.send(message::Union::LoginRequest(rig.request())).0),
        ["Please try 1 minute later"]
    );
}

#[test]
fn the_local_user_decides_where_that_is_the_way() {
    let empty =
        |rig: &Rig| message::Union::LoginRequest(LoginRequest { password: Bytes::new(), ..rig.request() });
    let mut rig = Rig::greeted(HostContext { approve: ApproveMode::Click, ..context() });
    let request = rig.request();
    let (messages, events) = rig.send(message::Union::LoginRequest(request));
    assert_eq!(errors(&messages), ["No Password Access"], "the right password does not help");
    assert_eq!(events[1], Event::ApprovalWanted);
    rig.host.accept(rig.now);
    assert_eq!(rig.outputs().1[0], Event::Authorised(Authorisation::LocalUser));

    let mut rig = Rig::greeted(HostContext { approve: ApproveMode::Both, ..context() });
    let (messages, events) = rig.send(empty(&rig));
    assert_eq!((messages.len(), &events[1]), (0, &Event::ApprovalWanted));
    rig.host.refuse();
    let (messages, events) = rig.outputs();
    let close = misc::Union::CloseReason("Closed manually by the peer".into());
    assert_eq!(messages, [message::Union::Misc(Misc { union: Some(close) })]);
    assert!(matches!(&events[..], [Event::Closed(CloseCause::ByHost(_))]));

    let mut rig = Rig::greeted(context());
    let (messages, events) = rig.send(empty(&rig));
    assert_eq!((messages.len(), events.len()), (0, 1), "password only: not a word, nobody is asked");
    rig.host.accept(rig.now);
    assert!(!rig.host.is_live(), "nobody was asked, so nobody can say yes");
}

#[test]
fn probes_go_out_each_second_but_not_before_the_last_came_back() {
    let mut rig = Rig::live();
    assert_eq!(probes(&rig.wait(10 * SECOND).0), 0, "the first is not answered");
    rig.now += SECOND / 20;
    let echo = message::Union::TestDelay(TestDelay::default());
    rig.send(echo.clone());
    for _ in 0..5 {
        let (messages, _) = rig.wait(SECOND);
        assert_eq!(probes(&messages), 1);
        rig.send(echo.clone());
    }
}

#[test]
fn slow_answers_are_delays() {
    let mut rig = Rig::live();
    let echo = message::Union::TestDelay(TestDelay::default());
    let mut delays = Vec::new();
    for round_trip in [20_u64, 20, 200, 320] {
        rig.now += Duration::from_millis(round_trip);
        let (_, events) = rig.send(echo.clone());
        delays.extend(events);
        let (messages, _) = rig.wait(SECOND - Duration::from_millis(round_trip));
        assert_eq!(probes(&messages), 1);
    }
    let ms = |n| Event::Delay(Duration::from_millis(n));
    assert_eq!(delays, [ms(0), ms(0), ms(60), ms(160)], "average of three over the minimum");
    let (_, waiting) = rig.wait(4 * SECOND);
    assert_eq!(waiting, [2000, 3000, 4000].map(ms), "and so is an answer that does not come");
}

#[test]
fn half_a_minute_of_silence_is_the_end() {
    for mut rig in [Rig::greeted(context()), Rig::live()] {
        rig.send(position(50, true));
        let (_, events) = rig.wait(30 * SECOND);
        assert_eq!(events.last(), Some(&Event::Closed(CloseCause::Silence)));
        assert!(rig.host.is_over());
        assert_eq!(rig.host.poll_timeout(), None);
    }
}

#[test]
fn every_mouse_mask() {
    let mut rig = Rig::live();
    let at = Point::new;
    assert_eq!(rig.mouse(0, -5, 300, &[]), [HostInput::MoveTo(at(-5, 300))]);
    let buttons = [
        (1, Button::Left),
        (2, Button::Right),
        (4, Button::Middle),
        (8, Button::Back),
        (16, Button::Forward),
    ];
    for (bit, button) in buttons {
        assert_eq!(rig.mouse(bit << 3 | 1, 9, 9, &[]), [HostInput::Button { button, down: true }]);
        assert_eq!(rig.mouse(bit << 3 | 2, 9, 9, &[]), [HostInput::Button { button, down: false }]);
    }
    assert_eq!(rig.mouse(3 << 3 | 1, 9, 9, &[]), [], "two buttons at once");
    assert_eq!(rig.mouse(3, 0, 1, &[]), [HostInput::Scroll { x: 0, y: -1 }], "positive is up");
    assert_eq!(rig.mouse(3, 1, 0, &[]), [HostInput::Scroll { x: -1, y: 0 }], "positive is left");
    assert_eq!(rig.mouse(4, 0, -2, &[]), [HostInput::Scroll { x: 0, y: 2 }]);
    assert_eq!(rig.mouse(3, 0, i32::MIN, &[]), [HostInput::Scroll { x: 0, y: 100 }], "bounded");
    assert_eq!(rig.mouse(5, 12, -7, &[]), [HostInput::MoveBy(at(12, -7))]);
    assert_eq!(rig.mouse(5, 1 << 20, i32::MIN, &[]), [HostInput::MoveBy(at(10_000, -10_000))]);
    assert_eq!(rig.mouse(6, 1, 1, &[]), []);
    let click = rig.mouse(9, 1, 1, &[ControlKey::Shift]);
    let button = HostInput::Button { button: Button::Left, down: true };
    assert_eq!(click, [down(ControlKey::Shift), button, up(ControlKey::Shift)]);
    assert_eq!(rig.host.refusals().unsupported, 2);
}

#[test]
fn writing_and_shortcuts_in_legacy_mode() {
    use ControlKey::{CapsLock, Control, F4, Numpad4, Return, Shift};
    let mut rig = Rig::live();
    assert_eq!(rig.inputs(pressed(named(Return), &[])), [down(Return), up(Return)]);
    let [a_down, a_up] = typed('a');
    assert_eq!(rig.inputs(pressed(chr('a'), &[Shift])), [a_down, a_up], "Shift is not for us");
    assert_eq!(rig.inputs(pressed(chr('a'), &[CapsLock])), typed('A'));
    assert_eq!(rig.inputs(pressed(chr('ß'), &[CapsLock])), typed('ß'), "no single capital");
    let [t_down, t_up] = typed('t');
    assert_eq!(
        rig.inputs(pressed(chr('t'), &[Control, Shift])),
        [down(Control), down(Shift), t_down, t_up, up(Shift), up(Control)]
    );
    assert_eq!(
        rig.inputs(pressed(named(F4), &[Control])),
        [down(Control), caps(false), down(F4), up(F4), up(Control)]
    );
    let num = HostInput::Locks { caps: None, num: Some(true) };
    assert_eq!(
        rig.inputs(pressed(named(Numpad4), &[ControlKey::NumLock])),
        [num, down(Numpad4), up(Numpad4)]
    );
}

#[test]
fn held_modifiers_rest_while_a_character_is_written() {
    use ControlKey::{Alt, RAlt, Shift};
    let mut rig = Rig::live();
    let event = |union, is_down, modifiers: &[ControlKey]| {
        key(union, is_down, false, KeyboardMode::Legacy, modifiers)
    };
    assert_eq!(rig.inputs(event(named(Shift), true, &[])), [down(Shift)]);
    let [b_down, b_up] = typed('B');
    assert_eq!(rig.inputs(event(chr('B'), true, &[Shift])), [up(Shift), b_down, b_up, down(Shift)]);
    assert_eq!(rig.inputs(event(chr('B'), false, &[Shift])), []);
    assert_eq!(rig.inputs(event(named(Shift), false, &[])), [up(Shift)]);
    // The right Alt is listed as Alt and makes a character all the same.
    assert_eq!(rig.inputs(event(named(RAlt), true, &[])), [down(RAlt)]);
    let [at_down, at_up] = typed('@');
    assert_eq!(rig.inputs(event(chr('@'), true, &[Alt])), [up(RAlt), at_down, at_up, down(RAlt)]);
}

#[test]
fn positions_are_held_like_keys() {
    let mut rig = Rig::live();
    let input = |code, down| HostInput::Key { key: InputKey::Position(code), down };
    assert_eq!(rig.inputs(position(50, true)), [input(50, true)]);
    assert_eq!(rig.inputs(position(43, true)), [caps(false), input(43, true)]);
    assert_eq!(rig.inputs(position(43, true)), [], "the display server repeats by itself");
    assert_eq!(rig.inputs(position(43, false)), [input(43, false)]);
    assert_eq!(rig.inputs(position(43, false)), []);
    rig.host.lost();
    assert_eq!(rig.outputs().1, [Event::Input(input(50, false))], "let go when the connection breaks");
}

#[test]
fn text_comes_out_whatever_is_held() {
    let mut rig = Rig::live();
    let input = |code, down| HostInput::Key { key: InputKey::Position(code), down };
    rig.inputs(position(50, true));
    let seq =
        |text: &str, down| key(key_event::Union::Seq(text.into()), down, false, KeyboardMode::Legacy, &[]);
    let text = |text: &str| HostInput::Text(text.into());
    assert_eq!(
        rig.inputs(seq("Grüße, 漢字 €😀", false)),
        [input(50, false), text("Grüße, 漢字 €😀"), input(50, true)]
    );
    assert_eq!(
        rig.inputs(seq("a\r\nb\r", true)),
        [input(50, false), text("a\nb\n")],
        "down lets go for good"
    );
    let unicode = key(key_event::Union::Unicode(0x20ac), true, false, KeyboardMode::Legacy, &[]);
    assert_eq!(rig.inputs(unicode), [text("€")]);
    let long = "x".repeat(70_000);
    assert_eq!(rig.inputs(seq(&long, false)), []);
}

#[test]
fn two_keys_are_actions() {
    let mut rig = Rig::live();
    for (key, event) in
        [(ControlKey::CtrlAltDel, Event::CtrlAltDel), (ControlKey::LockScreen, Event::LockScreen)]
    {
        assert_eq!(rig.send(pressed(named(key), &[])).1, [event]);
    }
}

#[test]
fn keys_held_for_six_minutes_are_stuck() {
    let mut rig = Rig::live();
    rig.inputs(position(50, true));
    let mut seen = Vec::new();
    for _ in 0..360 {
        rig.send(message::Union::TestDelay(TestDelay::default()));
        seen.extend(rig.wait(SECOND).1.into_iter().filter(|e| matches!(e, Event::Input(_))));
    }
    assert_eq!(seen, [Event::Input(HostInput::Key { key: InputKey::Position(50), down: false })]);
}

#[test]
fn who_may_not_control_does_not() {
    let mut rig = Rig::live();
    rig.inputs(position(50, true));
    let yes = BoolOption::Yes as i32;
    let (_, events) = rig.option(OptionMessage { disable_keyboard: yes, ..Default::default() });
    assert_eq!(events[0], Event::Input(HostInput::Key { key: InputKey::Position(50), down: false }));
    assert_eq!(rig.mouse(0, 1, 1, &[]), []);
    assert_eq!(rig.host.refusals().input, 1);
    let no = BoolOption::No as i32;
    rig.option(OptionMessage { disable_keyboard: no, ..Default::default() });
    assert_eq!(rig.mouse(0, 1, 1, &[]).len(), 1);
    rig.host.set_permission(Permission::Keyboard, false);
    let (messages, _) = rig.outputs();
    let info = session::PermissionInfo { permission: 0, enabled: false };
    assert_eq!(messages, [message::Union::Misc(Misc { union: Some(misc::Union::PermissionInfo(info)) })]);
    assert_eq!(rig.mouse(0, 1, 1, &[]), []);
}

#[test]
fn subscriptions() {
    let mut rig = Rig::live();
    let mut capture = |add: &[i32], sub: &[i32], set: &[i32]| {
        let wish = CaptureDisplays { add: add.into(), sub: sub.into(), set: set.into() };
        views(&rig.misc(misc::Union::CaptureDisplays(wish)).1)
    };
    assert_eq!(capture(&[1], &[], &[]), [vec![0, 1]]);
    assert_eq!(capture(&[], &[1, 7], &[0]), [vec![1]], "keeps only these; the other lists do not count");
    assert_eq!(capture(&[], &[0], &[]), [Vec::<usize>::new()], "what is not subscribed is not added");
    assert_eq!(capture(&[], &[], &[0, 1, 9, -1]), [vec![0, 1]]);
    assert_eq!(capture(&[], &[], &[]), [Vec::<usize>::new()]);
    assert_eq!(capture(&[], &[], &[7]), Vec::<Vec<usize>>::new(), "only what does not exist: still nothing");
}

#[test]
fn switching_displays_answers_with_geometry() {
    let mut rig = Rig::live();
    let geometry = |messages: &[message::Union]| match messages {
        [message::Union::Misc(Misc { union: Some(misc::Union::SwitchDisplay(d)) })] => {
            Some((d.display, d.x, d.width))
        }
        _ => None,
    };
    let switch = |display| misc::Union::SwitchDisplay(SwitchDisplay { display, ..Default::default() });
    let query = |switch_display| misc::Union::MessageQuery(MessageQuery { switch_display });
    let (messages, events) = rig.misc(switch(1));
    assert_eq!(geometry(&messages), Some((1, 1280, 800)));
    assert_eq!(views(&events), [[0, 1]], "the old one stays until it is taken away");
    assert_eq!(rig.misc(switch(1)), (vec![], vec![]), "it is current already");
    assert_eq!(geometry(&rig.misc(query(0)).0), Some((0, 0, 1280)));
    assert_eq!(rig.misc(query(5)), (vec![], vec![]));
    let resize = |width, height| misc::Union::ChangeResolution(session::Resolution { width, height });
    assert_eq!(rig.misc(resize(640, 480)).1, [Event::SetSize { display: 1, size: Size::new(640, 480) }]);
    assert_eq!(rig.misc(resize(641, 480)), (vec![], vec![]), "not one of its modes");
}

#[test]
fn changes_of_displays_are_told() {
    let mut rig = Rig::live();
    let mut displays = context().announce.displays;
    displays[0].size = Size::new(640, 480);
    rig.host.set_displays(displays.clone());
    let (messages, _) = rig.outputs();
    let [message::Union::Misc(Misc { union: Some(misc::Union::SwitchDisplay(d)) })] = &messages[..] else {
        panic!("{messages:?}")
    };
    assert_eq!((d.display, d.width), (0, 640));
    rig.host.set_displays(displays.clone());
    assert_eq!(rig.outputs(), (vec![], vec![]));
    rig.misc(misc::Union::CaptureDisplays(CaptureDisplays { set: vec![1], ..Default::default() }));
    displays.truncate(1);
    rig.host.set_displays(displays);
    let (messages, events) = rig.outputs();
    assert!(matches!(&messages[0], message::Union::PeerInfo(info) if info.displays.len() == 1));
    assert_eq!(views(&events), [[0]], "back to the one that is left");
}

fn frame(display: usize, key: bool) -> CodedFrame {
    CodedFrame {
        display,
        codec: VideoCodec::Vp9,
        key,
        pts_ms: 7,
        packets: vec![Bytes::from_static(b"packet")],
    }
}

#[test]
fn pictures_begin_with_a_keyframe_and_end_with_the_subscription() {
    let mut rig = Rig::live();
    rig.host.send_frame(frame(0, false), rig.now);
    assert_eq!(rig.outputs().0, [], "of no use before a keyframe");
    for key in [true, false] {
        rig.host.send_frame(frame(0, key), rig.now);
        let (messages, _) = rig.outputs();
        let [message::Union::VideoFrame(sent)] = &messages[..] else { panic!("{messages:?}") };
        let Some(session::video_frame::Union::Vp9s(frames)) = &sent.union else { panic!("{sent:?}") };
        assert_eq!(
            (frames.frames[0].key, frames.frames[0].pts, &frames.frames[0].data[..]),
            (key, 7, &b"packet"[..])
        );
    }
    rig.host.send_frame(frame(1, true), rig.now);
    assert_eq!(rig.outputs().0, [], "not subscribed");
    rig.misc(misc::Union::CaptureDisplays(CaptureDisplays::default()));
    rig.misc(misc::Union::CaptureDisplays(CaptureDisplays { set: vec![0], ..Default::default() }));
    rig.host.send_frame(frame(0, false), rig.now);
    assert_eq!(rig.outputs().0, [], "left over from the subscription before");
}

#[test]
fn acknowledged_pictures_wait_for_the_client_or_three_seconds() {
    let mut rig = Rig::greeted(context());
    let request = LoginRequest { video_ack_required: true, ..rig.request() };
    rig.send(message::Union::LoginRequest(request));
    assert!(rig.host.wants_frame());
    rig.host.send_frame(frame(0, true), rig.now);
    assert!(!rig.host.wants_frame());
    rig.misc(misc::Union::VideoReceived(true));
    assert!(rig.host.wants_frame());
    rig.host.send_frame(frame(0, false), rig.now);
    rig.wait(3 * SECOND - Duration::from_millis(1));
    assert!(!rig.host.wants_frame());
    rig.wait(Duration::from_millis(1));
    assert!(rig.host.wants_frame());
}

#[test]
fn a_shape_is_sent_once() {
    let mut rig = Rig::live();
    let shape =
        |n: u8| CursorShape { size: Size::new(1, 2), hotspot: Point::new(0, 1), rgba: vec![n; 8].into() };
    for id in [1, 2, 2, 1] {
        rig.host.send_cursor(id, &shape(id as u8));
    }
    let (messages, _) = rig.outputs();
    let [message::Union::CursorData(one), message::Union::CursorData(_), message::Union::CursorId(1)] =
        &messages[..]
    else {
        panic!("{messages:?}")
    };
    assert_eq!(zstd::bulk::decompress(&one.colors, 100).unwrap(), [1; 8]);
    assert_eq!((one.width, one.height, one.hoty), (1, 2, 1));
}

#[test]
fn pointer_positions_are_for_those_who_ask_and_did_not_move_it() {
    let mut rig = Rig::live();
    rig.host.send_pointer(Point::new(1, 2), rig.now);
    assert_eq!(rig.outputs().0, []);
    rig.option(OptionMessage { show_remote_cursor: BoolOption::Yes as i32, ..Default::default() });
    rig.mouse(0, 5, 5, &[]);
    rig.host.send_pointer(Point::new(5, 5), rig.now + Duration::from_millis(299));
    assert_eq!(rig.outputs().0, []);
    rig.host.send_pointer(Point::new(6, 6), rig.now + Duration::from_millis(300));
    let at = session::CursorPosition { x: 6, y: 6 };
    assert_eq!(rig.outputs().0, [message::Union::CursorPosition(at)]);
}

#[test]
fn screenshots_answer_the_newest_request() {
    let mut rig = Rig::live();
    let ask = |display, sid: &str| {
        message::Union::ScreenshotRequest(ScreenshotRequest { display, sid: sid.into() })
    };
    assert_eq!(rig.send(ask(0, "one")).1, [Event::Screenshot { display: 0 }]);
    assert_eq!(rig.send(ask(0, "two")).1, [Event::Screenshot { display: 0 }]);
    assert_eq!(rig.send(ask(1, "x")).1, [], "not subscribed");
    assert_eq!(rig.send(ask(9, "x")).1, []);
    rig.host.send_screenshot(0, Ok("png".into()));
    rig.host.send_screenshot(0, Ok("png".into()));
    let (messages, _) = rig.outputs();
    let [message::Union::ScreenshotResponse(answer)] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!((&answer.sid[..], &answer.msg[..], &answer.data[..]), ("two", "", &b"png"[..]));
}

#[test]
fn options_become_one_view() {
    let mut rig = Rig::live();
    let (_, events) = rig.option(OptionMessage { image_quality: 4, custom_fps: 12, ..Default::default() });
    let [Event::View(view)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((view.fps, view.ratio, view.cursor, view.pointer), (12, 1.5, true, false));
    let (_, events) = rig.option(OptionMessage { custom_fps: 12, ..Default::default() });
    assert_eq!(events, [], "nothing new");
    let (_, events) = rig.misc(misc::Union::AutoAdjustFps(5));
    assert!(matches!(&events[..], [Event::View(View { fps: 5, .. })]));
    let (_, events) = rig.misc(misc::Union::ClientRecordStatus(true));
    assert!(matches!(&events[..], [Event::View(View { recording: true, .. })]));
}

#[test]
fn clipboards_come_decompressed_and_are_not_echoed() {
    let mut rig = Rig::live();
    let text = "grüße € ".repeat(40);
    let packed = session::Clipboard {
        compress: true,
        content: zstd::bulk::compress(text.as_bytes(), 3).unwrap().into(),
        ..Default::default()
    };
    let many = |clipboards| message::Union::MultiClipboards(MultiClipboards { clipboards });
    let item = ClipboardItem { format: ClipboardFormat::Text, content: text.clone().into() };
    assert_eq!(rig.send(many(vec![packed.clone()])).1, [Event::Clipboard(vec![item])]);
    rig.host.send_clipboard(&text);
    assert_eq!(rig.outputs().0, [], "it came from there");
    rig.host.send_clipboard("of this machine");
    assert!(matches!(&rig.outputs().0[..], [message::Union::MultiClipboards(_)]));
    let bomb = session::Clipboard {
        compress: true,
        content: zstd::bulk::compress(&vec![0; 20 << 20], 3).unwrap().into(),
        ..Default::default()
    };
    assert_eq!(rig.send(many(vec![bomb])).1, []);
    rig.option(OptionMessage { disable_clipboard: BoolOption::Yes as i32, ..Default::default() });
    assert_eq!(rig.send(many(vec![packed])).1, []);
    rig.host.send_clipboard("another");
    assert_eq!(rig.outputs().0, []);
    assert_eq!(rig.host.refusals().clipboard, 2);
}

#[test]
fn packets_are_bounded_by_what_the_client_may_send() {
    let mut rig = Rig::greeted(context());
    assert!(rig.host.packet_limit() < 70_000);
    rig.host.handle_packet(vec![0; 70_000].into(), rig.now);
    assert_eq!(rig.outputs().1, [Event::Closed(CloseCause::TooLong(70_000))]);
    let mut rig = Rig::live();
    assert!(rig.host.packet_limit() > LIMIT_LIVE);
    // Two bytes each on the wire, a hundred in memory.
    let clipboards = vec![session::Clipboard::default(); 1_000_000];
    let (_, events) = rig.send(message::Union::MultiClipboards(MultiClipboards { clipboards }));
    assert_eq!((events.len(), rig.host.refusals().undecodable), (0, 1));
}

#[test]
fn the_end_by_either_side() {
    let mut rig = Rig::live();
    rig.option(OptionMessage { lock_after_session_end: BoolOption::Yes as i32, ..Default::default() });
    let (_, events) = rig.misc(misc::Union::CloseReason(String::new()));
    assert_eq!(events, [Event::LockScreen, Event::Closed(CloseCause::ByClient(String::new()))]);
    assert_eq!(rig.mouse(0, 1, 1, &[]), []);
    let mut rig = Rig::live();
    rig.host.close("Closed manually by the peer");
    let outputs: Vec<Output> = std::iter::from_fn(|| rig.host.poll_output()).collect();
    assert!(
        matches!(&outputs[..], [Output::Send(_), Output::Event(Event::Closed(_)), Output::Close]),
        "{outputs:?}"
    );
}

proptest::proptest! {
    #[test]
    fn no_packet_of_a_client_panics(packets in proptest::collection::vec(proptest::collection::vec(0u8.., 0..200), 0..20)) {
        let mut rig = Rig::live();
        for packet in packets {
            rig.host.handle_packet(packet.into(), rig.now);
            rig.outputs();
            rig.host.handle_timeout(rig.now);
        }
    }

    #[test]
    fn every_key_that_goes_down_comes_up(
        events in proptest::collection::vec((0u32..300, 0i32..110, proptest::bool::ANY, proptest::bool::ANY, 0i32..4, proptest::collection::vec(0i32..80, 0..4)), 0..60),
    ) {
        let mut rig = Rig::live();
        let mut held = std::collections::HashMap::new();
        for (chr, control, by_name, is_down, mode, modifiers) in events {
            let union = if by_name { key_event::Union::ControlKey(control) } else { key_event::Union::Chr(chr) };
            let event = KeyEvent { down: is_down, press: false, modifiers, mode, union: Some(union) };
            rig.host.handle_packet(
                Message { union: Some(message::Union::KeyEvent(event)) }.encode_to_vec().into(),
                rig.now,
            );
        }
        rig.host.lost();
        for event in rig.outputs().1 {
            if let Event::Input(HostInput::Key { key, down }) = event {
                *held.entry(key).or_insert(0) += if down { 1 } else { -1 };
            }
        }
        held.retain(|_, n| *n > 0);
        proptest::prop_assert!(held.is_empty(), "{:?}", held);
    }
}
