use super::*;
use crate::{SessionId, SessionsConfig};
use remote::RemoteError;
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn a_target_is_opened_with_its_own_password_and_address() {
    let desk = Desk::ready();
    let connected = desk.connect("kiosk").await;
    assert!(connected.is_ready() && !connected.reused);
    let target = desk.peer().target().unwrap();
    assert_eq!(target.address, "kiosk.example");
    assert_eq!(target.password, Some(Secret::new("from the config")));
}

#[tokio::test(start_paused = true)]
async fn connecting_again_gives_the_open_session_unless_another_is_wanted() {
    let desk = Desk::ready();
    let first = desk.connect("kiosk").await;
    let again = desk.connect("kiosk").await;
    assert!(again.reused);
    assert_eq!(again.session, first.session);

    let another = desk.sessions.connect(ConnectRequest { another: true, ..to("kiosk") }).await.unwrap();
    assert_ne!(another.session, first.session);
    assert_eq!(desk.sessions.targets()[0].sessions.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn connect_waits_through_transient_states_and_tells_the_first_that_stays() {
    for (then, kind) in [
        (SessionState::AwaitingApproval, "awaiting_approval"),
        (awaiting_password(true), "wrong_password"),
        (awaiting_password(false), "not_authenticated"),
        (SessionState::Awaiting2fa { wrong: false }, "needs_2fa"),
        (SessionState::NoDisplay, "no_display"),
        (SessionState::Closed(RemoteError::Offline("kiosk".to_owned())), "unreachable"),
        (SessionState::Closed(RemoteError::NotEncrypted), "not_permitted"),
    ] {
        let state = then.clone();
        let desk = Desk::new(move |_| {
            let peer = FakePeer::in_state(SessionState::Connecting);
            let (later, then) = (peer.clone(), state.clone());
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(2)).await;
                later.set_state(then);
            });
            peer
        });
        let connected = desk.connect("kiosk").await;
        assert_eq!(crate::error::state_kind(&connected.state), kind);
        assert!(!connected.is_ready());
        assert!(connected.waited >= Duration::from_secs(2));
    }
}

#[tokio::test(start_paused = true)]
async fn connect_gives_up_waiting_but_the_session_goes_on() {
    let desk = Desk::new(|_| FakePeer::in_state(SessionState::Connecting));
    let request = ConnectRequest { wait: Duration::from_secs(3), ..to("kiosk") };
    let connected = desk.sessions.connect(request).await.unwrap();
    assert_eq!(connected.state, SessionState::Connecting);
    assert_eq!(connected.waited.as_secs(), 3);

    let peer = desk.peer();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        peer.set_state(SessionState::Ready);
    });
    let on = ConnectRequest { to: ConnectTo::Session(connected.session), ..to("") };
    assert!(desk.sessions.connect(on).await.unwrap().is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_password_can_be_given_later_and_more_than_once() {
    let desk = Desk::new(|_| FakePeer::in_state(awaiting_password(false)));
    let session = desk.connect("kiosk").await.session;
    let answer = |password: &str| ConnectRequest {
        to: ConnectTo::Session(session.clone()),
        password: Some(Secret::new(password)),
        ..to("")
    };
    assert_eq!(desk.sessions.connect(answer("guess")).await.unwrap().state, awaiting_password(true));
    assert!(desk.sessions.connect(answer("right")).await.unwrap().is_ready());
    assert_eq!(desk.peer().passwords(), ["guess", "right"]);
    assert_eq!(kind(desk.sessions.connect(answer("again")).await), "invalid_argument");
}

#[tokio::test(start_paused = true)]
async fn a_password_for_a_target_whose_session_asks_answers_that_session() {
    let desk = Desk::new(|_| FakePeer::in_state(awaiting_password(false)));
    let first = desk.connect("kiosk").await;
    let request = ConnectRequest { password: Some(Secret::new("right")), ..to("kiosk") };
    let second = desk.sessions.connect(request).await.unwrap();
    assert_eq!(second.session, first.session);
    assert!(second.is_ready());
}

#[tokio::test(start_paused = true)]
async fn the_second_factor_is_answered_where_it_is_asked_for() {
    let desk = Desk::new(|_| FakePeer::in_state(SessionState::Awaiting2fa { wrong: false }));
    desk.connect("kiosk").await;
    let code = |code: &str| desk.sessions.authenticate(None, Secret::new(code), Duration::from_secs(5));
    assert_eq!(code("000000").await.unwrap().state, SessionState::Awaiting2fa { wrong: true });
    assert!(code("123456").await.unwrap().is_ready());
    assert_eq!(kind(code("123456").await), "invalid_argument");
}

#[tokio::test(start_paused = true)]
async fn waiting_for_approval_again_ends_when_the_person_answers() {
    let desk = Desk::new(|_| FakePeer::in_state(SessionState::AwaitingApproval));
    let session = desk.connect("kiosk").await.session;
    let peer = desk.peer();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(7)).await;
        peer.set_state(SessionState::Ready);
    });
    let on = ConnectRequest { to: ConnectTo::Session(session), ..to("") };
    let connected = desk.sessions.connect(on).await.unwrap();
    assert!(connected.is_ready());
    assert_eq!(connected.waited.as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn what_the_configuration_forbids_is_refused_before_anything_is_opened() {
    let config =
        SessionsConfig { allow_addresses: false, allow_passwords: false, limit: 1, ..Default::default() };
    let desk = Desk::with(config, |_| FakePeer::ready(SCREEN));
    let address = ConnectTo::Address { address: "other.example".to_owned(), protocol: None };
    assert_eq!(kind(desk.sessions.connect(ConnectRequest { to: address, ..to("") }).await), "not_permitted");
    let password = ConnectRequest { password: Some(Secret::new("x")), ..to("kiosk") };
    assert_eq!(kind(desk.sessions.connect(password).await), "not_permitted");
    assert_eq!(kind(desk.sessions.connect(to("nowhere")).await), "unknown_target");
    assert!(desk.connector.opened().is_empty());

    desk.connect("kiosk").await;
    assert_eq!(kind(desk.sessions.connect(to("office")).await), "rate_limited");
    desk.sessions.disconnect(None).await.unwrap();
    assert!(desk.connect("office").await.is_ready(), "a closed session does not count");
}

#[tokio::test(start_paused = true)]
async fn an_address_goes_to_the_connector_that_takes_it() {
    let desk = Desk::ready();
    let at = |address: &str, protocol: Option<&str>| ConnectRequest {
        to: ConnectTo::Address { address: address.to_owned(), protocol: protocol.map(str::to_owned) },
        ..to("")
    };
    assert!(desk.sessions.connect(at("123 456", Some("fake"))).await.unwrap().is_ready());
    assert_eq!(kind(desk.sessions.connect(at("bad!", None)).await), "invalid_argument");
    assert_eq!(kind(desk.sessions.connect(at("fine", Some("telegraph"))).await), "invalid_argument");
}

#[tokio::test(start_paused = true)]
async fn the_session_may_be_left_out_only_while_one_is_open() {
    let desk = Desk::ready();
    assert_eq!(kind(desk.sessions.status(None).await), "session_closed");
    let kiosk = desk.connect("kiosk").await.session;
    assert_eq!(desk.sessions.status(None).await.unwrap().summary.id, kiosk);
    let office = desk.connect("office").await.session;
    let error = desk.sessions.status(None).await.unwrap_err();
    assert_eq!(error.kind(), "invalid_argument");
    assert!(error.to_string().contains(kiosk.as_str()) && error.to_string().contains(office.as_str()));
    assert_eq!(kind(desk.sessions.status(Some(&SessionId::from_text("s_guess"))).await), "session_closed");
}

#[tokio::test(start_paused = true)]
async fn a_closed_session_is_listed_with_its_reason_for_a_while() {
    let desk = Desk::ready();
    let session = desk.connect("kiosk").await.session;
    desk.peer().set_state(SessionState::Closed(RemoteError::SessionClosed("the host went away".to_owned())));
    let closed = || desk.sessions.list().pop().and_then(|summary| summary.reason);
    eventually(|| closed().is_some()).await;
    assert!(closed().unwrap().contains("the host went away"));
    let error = desk.sessions.screenshot(Some(&session), &Default::default()).await.unwrap_err();
    assert_eq!(error.kind(), "session_closed");
    assert!(error.to_string().contains("the host went away"));

    tokio::time::sleep(SessionsConfig::default().linger).await;
    eventually(|| desk.sessions.list().is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn the_list_of_what_ended_stays_short() {
    let desk = Desk::ready();
    for _ in 0..100 {
        desk.connect("kiosk").await;
        desk.sessions.disconnect(None).await.unwrap();
    }
    let session = desk.connect("kiosk").await.session;
    let list = desk.sessions.list();
    assert!(list.len() <= 33, "{}", list.len());
    assert_eq!(list.last().unwrap().id, session);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_nobody_uses_is_closed_and_one_in_use_is_not() {
    let desk = Desk::ready();
    let idle = SessionsConfig::default().idle.unwrap();
    desk.connect("kiosk").await;
    tokio::time::sleep(idle / 2).await;
    // A call in progress, and the time after it, count from its end.
    let wait = crate::WaitRequest {
        what: crate::WaitFor::Change,
        display: None,
        space: Space::Picture,
        region: None,
        timeout: idle,
        quiet: Duration::from_millis(150),
        picture: None,
    };
    desk.sessions.wait_for(None, &wait).await.unwrap();
    let used = Instant::now();
    eventually(|| desk.sessions.list()[0].reason.is_some()).await;
    assert!(used.elapsed() >= idle);
    assert!(matches!(desk.sessions.list()[0].state, SessionState::Closed(_)));
    assert!(matches!(desk.peer().state_now(), SessionState::Closed(_)), "the peer was told");
}

#[tokio::test(start_paused = true)]
async fn disconnecting_tells_the_peer_and_doing_it_twice_is_no_error() {
    let desk = Desk::ready();
    let session = desk.connect("kiosk").await.session;
    assert_eq!(desk.sessions.disconnect(None).await.unwrap(), session);
    assert!(matches!(desk.peer().state_now(), SessionState::Closed(_)));
    assert_eq!(desk.sessions.disconnect(Some(&session)).await.unwrap(), session);
    assert_eq!(kind(desk.sessions.disconnect(None).await), "session_closed");
    desk.registry.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn dropping_the_registry_ends_its_tasks_and_lets_go_of_its_peers() {
    let Desk { registry, sessions, connector } = Desk::ready();
    sessions.connect(to("kiosk")).await.unwrap();
    sessions.screenshot(None, &Default::default()).await.unwrap();
    let peer = connector.opened().pop().unwrap();
    drop(connector);
    assert!(peer.holders() > 1);
    drop((registry, sessions));
    eventually(|| peer.holders() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_password_that_can_not_be_read_is_named_by_its_target() {
    let connector = FakeConnector::new(|_| FakePeer::ready(SCREEN));
    let target = Target { name: "kiosk".to_owned(), address: "kiosk".to_owned(), ..Target::default() };
    let password = Some(SecretRef::File("/nonexistent/password".into()));
    let entry = TargetEntry { target, password, ..TargetEntry::default() };
    let sessions = Sessions::new(
        SessionsConfig::default(),
        vec![connector as _],
        vec![entry],
        Arc::new(FileSecrets::default()),
    );
    let caller = Arc::new(Caller::local("test", CallerKind::Model));
    let error = Arc::new(sessions).access(&caller).connect(to("kiosk")).await.unwrap_err();
    assert_eq!(error.kind(), "not_permitted");
    assert!(error.to_string().contains("kiosk"));
}

/// Lets the runtime go on, moving its clock, until the condition holds.
pub(super) async fn eventually(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(2 * 3600);
    while !condition() {
        assert!(Instant::now() < deadline, "the condition never held");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
