//! The machine and a client that knows the password, with a hand-moved clock.

mod desktop;
mod input;
mod life;
mod login;
mod pictures;

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
        passwords: Arc::new(Passwords::new(Some(PasswordHash::new(PASSWORD, SALT)))),
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
