use crate::client::{Desk, SCREEN};
use mcp::{Gateway, GatewayConfig};
use remote::{Permission, RemoteError, SessionState};
use serde_json::{Value, json};
use sessions::SessionsConfig;
use sessions::testing::FakePeer;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn targets_are_listed_without_their_secrets() {
    let desk = Desk::ready();
    let session = desk.connect("office").await;
    let outcome = desk.call("target_list", json!({})).await;
    assert!(!outcome.text().contains("hunter2"));
    let targets = outcome.structured["targets"].as_array().unwrap();
    assert_eq!(targets.len(), 2);
    assert_eq!(targets[0]["name"], "kiosk");
    assert_eq!(targets[0]["has_password"], true);
    assert_eq!(targets[1]["sessions"], json!([session]));
    let some = desk.ok("target_list", json!({ "filter": "KIOSK" })).await;
    assert_eq!(some["targets"].as_array().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn connecting_tells_the_handle_and_the_displays() {
    let desk = Desk::ready();
    let connected = desk.ok("connect", json!({ "target": "kiosk" })).await;
    assert_eq!(connected["state"], "ready");
    assert_eq!(connected["reused"], false);
    assert_eq!(connected["displays"][0]["size"], json!({ "width": 1280, "height": 800 }));
    assert!(connected["session"].as_str().unwrap().len() >= 24);
    let again = desk.ok("connect", json!({ "target": "kiosk" })).await;
    assert_eq!((&again["session"], &again["reused"]), (&connected["session"], &json!(true)));
}

#[tokio::test(start_paused = true)]
async fn connect_wants_exactly_one_machine() {
    let desk = Desk::ready();
    for wrong in [
        json!({}),
        json!({ "target": "kiosk", "peer": "1" }),
        json!({ "target": "kiosk", "timeout_ms": 999_999_999 }),
        json!({ "target": 5 }),
        json!({ "host": "kiosk" }),
        json!({ "peer": "bad!" }),
        json!({ "peer": "fine", "protocol": "telegraph" }),
    ] {
        assert_eq!(desk.fail("connect", wrong.clone()).await["code"], "invalid_argument", "{wrong}");
    }
    let number = desk.fail("connect", json!({ "target": "kiosk", "password": 8_675_309 })).await;
    assert!(!number.to_string().contains("8675309") && number.to_string().contains("password"), "{number}");
    let unknown = desk.fail("connect", json!({ "target": "attic" })).await;
    assert_eq!(unknown["code"], "unknown_target");
    assert!(unknown["message"].as_str().unwrap().contains("kiosk, office"));
    assert_eq!(desk.ok("connect", json!({ "peer": "123 456 789" })).await["target"], "123 456 789");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_not_ready_is_a_failure_that_says_how_to_go_on() {
    for (state, code, hint) in [
        (SessionState::AwaitingPassword { wrong: false }, "not_authenticated", "password"),
        (SessionState::AwaitingPassword { wrong: true }, "wrong_password", "right password"),
        (SessionState::Awaiting2fa { wrong: false }, "needs_2fa", "authenticator"),
        (SessionState::AwaitingApproval, "awaiting_approval", "ask the person at the machine to accept"),
        (
            SessionState::AwaitingOsLogin { message: "log in".to_owned() },
            "needs_os_login",
            "operating system",
        ),
        (SessionState::NoDisplay, "no_display", "display"),
        (SessionState::Connecting, "timeout_unknown_outcome", "go on waiting"),
    ] {
        let name = state.name();
        let desk = Desk::new(move |_| FakePeer::in_state(state.clone()));
        let failure = desk.fail("connect", json!({ "target": "kiosk", "timeout_ms": 100 })).await;
        assert_eq!((failure["code"].as_str(), failure["state"].as_str()), (Some(code), Some(name)));
        assert!(failure["try_next"].as_str().unwrap().contains(hint), "{failure}");
        let session = failure["session"].as_str().expect("it stays open");
        assert_eq!(desk.ok("session_status", json!({ "session": session })).await["state"], name);
        assert_eq!(desk.fail("screenshot", json!({})).await["code"], code);
        assert_eq!(desk.fail("click", json!({})).await["code"], code);
    }
}

#[tokio::test(start_paused = true)]
async fn a_password_given_with_the_session_goes_on_with_it_and_is_not_repeated() {
    let desk = Desk::new(|_| {
        let peer = FakePeer::ready(SCREEN);
        peer.set_state(SessionState::AwaitingPassword { wrong: false });
        peer
    });
    let asked = desk.fail("connect", json!({ "target": "kiosk" })).await;
    let session = asked["session"].clone();
    let wrong = desk.fail("connect", json!({ "session": session, "password": "sesame-guess" })).await;
    assert_eq!(wrong["code"], "wrong_password");
    assert!(!wrong.to_string().contains("sesame-guess"));
    let right = desk.ok("connect", json!({ "session": session, "password": "right" })).await;
    assert_eq!((&right["session"], &right["state"]), (&session, &json!("ready")));
    desk.ok("screenshot", json!({})).await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_connection_is_closed_and_says_why() {
    let refuse =
        |error: RemoteError| Desk::new(move |_| FakePeer::in_state(SessionState::Closed(error.clone())));
    for (error, code) in [
        (RemoteError::Offline("kiosk".to_owned()), "unreachable"),
        (RemoteError::UnknownId("kiosk".to_owned()), "unknown_target"),
        (RemoteError::NotEncrypted, "not_permitted"),
        (RemoteError::WrongPassword, "wrong_password"),
    ] {
        let failure = refuse(error).fail("connect", json!({ "target": "kiosk" })).await;
        assert_eq!((failure["code"].as_str(), failure["state"].as_str()), (Some(code), Some("closed")));
        assert!(failure.get("session").is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn with_two_sessions_the_handle_has_to_be_given() {
    let desk = Desk::ready();
    assert_eq!(desk.fail("screenshot", json!({})).await["code"], "session_closed");
    let kiosk = desk.connect("kiosk").await;
    desk.ok("screenshot", json!({})).await;
    let office = desk.connect("office").await;
    let failure = desk.fail("screenshot", json!({})).await;
    assert_eq!(failure["code"], "invalid_argument");
    let message = failure["message"].as_str().unwrap();
    assert!(message.contains(&kiosk) && message.contains(&office) && message.contains("kiosk"));
    assert_eq!(desk.ok("screenshot", json!({ "session": office })).await["session"], office.as_str());
    let guess = desk.fail("screenshot", json!({ "session": "s_AAAAAAAAAAAAAAAAAAAAAAAA" })).await;
    assert_eq!(guess["code"], "session_closed");

    desk.ok("disconnect", json!({ "session": office })).await;
    assert_eq!(desk.ok("screenshot", json!({ "force": true })).await["session"], kiosk.as_str());
}

#[tokio::test(start_paused = true)]
async fn what_ended_is_listed_with_its_reason() {
    let desk = Desk::ready();
    let session = desk.connect("kiosk").await;
    desk.ok("disconnect", json!({})).await;
    let list = desk.ok("session_list", json!({})).await;
    assert_eq!(list["sessions"][0]["session"], session.as_str());
    assert_eq!(list["sessions"][0]["state"], "closed");
    assert_eq!(list["sessions"][0]["reason"], "disconnected by the caller");
    assert_eq!(desk.fail("disconnect", json!({})).await["code"], "session_closed");
    let status = desk.ok("session_status", json!({ "session": session })).await;
    assert!(status["try_next"].as_str().unwrap().contains("connect"));
}

#[tokio::test(start_paused = true)]
async fn the_status_tells_all_about_the_peer_in_clean_text() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    desk.peer().deny(Permission::Clipboard);
    let status = desk.ok("session_status", json!({})).await;
    assert_eq!(status["peer"]["hostname"], "fake-host");
    assert_eq!(status["peer"]["path"], "direct");
    assert_eq!(status["peer"]["encrypted"], true);
    assert_eq!(status["denied"], json!(["clipboard"]));
    assert!(status.get("try_next").is_none());

    desk.peer().set_state(SessionState::Degraded { silent_for: Duration::from_secs(5) });
    let status = desk.ok("session_status", json!({})).await;
    assert_eq!(
        (status["state"].as_str(), status["message"].as_str()),
        (Some("degraded"), Some("the peer has been silent for 5 s"))
    );
    let bell = RemoteError::SessionClosed(format!("bye\u{7}\n{}", "x".repeat(5000)));
    desk.peer().set_state(SessionState::Closed(bell));
    let list = desk.ok("session_list", json!({})).await;
    assert!(!list.to_string().contains("\\u0007") && list.to_string().len() < 1000, "{list}");
}

#[tokio::test(start_paused = true)]
async fn only_configured_machines_where_nothing_else_is_allowed() {
    let config =
        SessionsConfig { allow_addresses: false, allow_passwords: false, ..SessionsConfig::default() };
    let desk = Desk::with(config, |_| FakePeer::ready(SCREEN));
    assert_eq!(desk.fail("connect", json!({ "peer": "123" })).await["code"], "not_permitted");
    let password = json!({ "target": "kiosk", "password": "x" });
    assert_eq!(desk.fail("connect", password).await["code"], "not_permitted");
    desk.connect("kiosk").await;
}

#[tokio::test(start_paused = true)]
async fn a_call_within_the_process_takes_no_arguments_as_null_and_nothing_but_objects() {
    let desk = Desk::ready();
    assert_eq!(desk.ok("session_list", Value::Null).await, json!({ "sessions": [] }));
    assert_eq!(desk.fail("session_list", json!([1])).await["code"], "invalid_argument");
    let error = desk.gateway.call(&desk.caller, "nothing", Value::Null).await.unwrap_err();
    assert!(error.to_string().contains("session_list"));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_toolset_is_an_error_that_lists_the_known() {
    let desk = Desk::ready();
    let config = |name: &str| GatewayConfig { toolsets: vec![name.to_owned()], ..Default::default() };
    let error = Gateway::new(Arc::clone(desk.gateway.sessions()), config("dekstop")).unwrap_err();
    assert!(error.to_string().contains("all, desktop"), "{error}");
    let all = Gateway::new(Arc::clone(desk.gateway.sessions()), config("all")).unwrap();
    assert_eq!(all.tools(&desk.caller).count(), desk.gateway.tools(&desk.caller).count());
}
