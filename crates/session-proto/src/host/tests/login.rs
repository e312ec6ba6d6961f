//! Greeting, key exchange, passwords, the local user.

use super::*;

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
    assert_eq!(events[0], Event::Authorised(Authorisation::Password));
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

fn with_one_time(password: &str) -> HostContext {
    let context = context();
    context.passwords.set_one_time(Some(PasswordHash::new(password, SALT)));
    context
}

/// A new connection of the same client, with the proof of a password.
fn log_in(context: &HostContext, password: &str) -> (Rig, Vec<Event>) {
    let mut rig = Rig::greeted(context.clone());
    let request = LoginRequest { password: rig.proof(password), ..rig.request() };
    let (_, events) = rig.send(message::Union::LoginRequest(request));
    (rig, events)
}

#[test]
fn a_one_time_password_counts_at_once_and_no_longer_than_it_is_one() {
    let context = with_one_time("abc234");
    let mut early = Rig::greeted(context.clone());
    context.passwords.set_one_time(Some(PasswordHash::new("xyz789", SALT)));
    let old = LoginRequest { password: early.proof("abc234"), ..early.request() };
    assert_eq!(errors(&early.send(message::Union::LoginRequest(old)).0), ["Wrong Password"]);
    let new = LoginRequest { password: early.proof("xyz789"), ..early.request() };
    let (_, events) = early.send(message::Union::LoginRequest(new));
    assert_eq!(events[0], Event::Authorised(Authorisation::OneTimePassword));
    let (_, events) = log_in(&context, PASSWORD);
    assert_eq!(events[1], Event::Authorised(Authorisation::Password), "the permanent one stays");
}

#[test]
fn a_broken_session_comes_back_by_its_old_one_time_password_and_one_that_left_does_not() {
    let context = with_one_time("abc234");
    let (mut broken, _) = log_in(&context, "abc234");
    assert!(broken.host.is_live());
    broken.host.lost();
    context.passwords.set_one_time(Some(PasswordHash::new("xyz789", SALT)));
    let (mut again, events) = log_in(&context, "abc234");
    assert_eq!(events[1], Event::Authorised(Authorisation::RecentSession));
    again.misc(misc::Union::CloseReason(String::new()));
    let (_, events) = log_in(&context, "abc234");
    assert_eq!(events[1], Event::WrongPassword);

    let (mut sent_away, _) = log_in(&context, "xyz789");
    sent_away.host.close("Closed manually by the peer");
    context.passwords.set_one_time(None);
    let (_, events) = log_in(&context, "xyz789");
    assert_eq!(events[1], Event::WrongPassword);
}

#[test]
fn a_session_is_recent_until_thirty_seconds_after_its_last_word() {
    let context = with_one_time("abc234");
    let (mut rig, _) = log_in(&context, "abc234");
    context.passwords.set_one_time(None);
    rig.wait(20 * SECOND);
    rig.send(message::Union::TestDelay(TestDelay::default()));
    let last = rig.now;
    for (seconds, back) in [(29, true), (60, false)] {
        let mut again = Rig::greeted(context.clone());
        again.now = last + seconds * SECOND;
        let request = LoginRequest { password: again.proof("abc234"), ..again.request() };
        again.send(message::Union::LoginRequest(request));
        assert_eq!(again.host.is_live(), back, "{seconds}");
    }
}
