//! Who sees what, and whose session is whose.

use super::*;
use crate::{Screenshot, ScreenshotRequest, SessionId};
use policy::Class;
use remote::{DisplayId, Rect};

async fn picture(access: &Access) -> Screenshot {
    access.screenshot(None, &ScreenshotRequest::default()).await.expect("a picture").1
}

#[tokio::test(start_paused = true)]
async fn a_machine_outside_of_the_grant_does_not_exist() {
    let desk = Desk::ready();
    let office = desk.connect("office").await.session;
    let model = desk.of("m", CallerKind::Model, "observe interact", "id:kiosk");

    assert_eq!(model.targets().iter().map(|target| &*target.name).collect::<Vec<_>>(), ["kiosk"]);
    assert!(model.list().is_empty());
    let unknown = model.connect(to("office")).await.unwrap_err();
    let nowhere = model.connect(to("nowhere")).await.unwrap_err();
    assert_eq!(unknown.to_string().replace("office", "nowhere"), nowhere.to_string());
    let other = SessionId::from_text("s_AAAAAAAAAAAAAAAAAAAAAAAA");
    for (hidden, absent) in [
        (model.status(Some(&office)).await.unwrap_err(), model.status(Some(&other)).await.unwrap_err()),
        (
            model.act(Some(&office), click(1.0, 1.0)).await.unwrap_err(),
            model.act(Some(&other), click(1.0, 1.0)).await.unwrap_err(),
        ),
        (
            model.disconnect(Some(&office)).await.unwrap_err(),
            model.disconnect(Some(&other)).await.unwrap_err(),
        ),
    ] {
        assert_eq!(hidden.to_string().replace(office.as_str(), other.as_str()), absent.to_string());
        assert_eq!(hidden.kind(), absent.kind());
    }
    let address = ConnectTo::Address { address: "office.example".to_owned(), protocol: None };
    let error = model.connect(ConnectRequest { to: address, ..to("") }).await.unwrap_err();
    assert_eq!(error.kind(), "not_permitted", "an address is no secret, but it is not allowed");
    assert!(desk.peer().inputs().is_empty());
    assert_eq!(desk.connector.opened().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_rule_on_a_target_holds_for_its_address_too() {
    let log = Arc::default();
    let desk = Desk::guarded(SessionsConfig::default(), rules(&[("id:office", "all", Verdict::Deny)]), &log);
    for address in ["office.example", "OFFICE.example ", "office. example"] {
        let to = ConnectTo::Address { address: address.to_owned(), protocol: None };
        let request = ConnectRequest { to, ..super::to("") };
        assert_eq!(kind(desk.sessions.connect(request).await), "not_permitted", "{address}");
    }
    assert!(desk.connector.opened().is_empty());
}

#[tokio::test(start_paused = true)]
async fn every_class_is_asked_for() {
    let desk = Desk::ready();
    let session = desk.connect("kiosk").await.session;
    let observer = desk.of("m", CallerKind::Model, "observe", "all");
    observer.status(Some(&session)).await.unwrap();
    observer.screenshot(Some(&session), &ScreenshotRequest::default()).await.unwrap();
    assert_eq!(kind(observer.act(Some(&session), click(1.0, 1.0)).await), "not_permitted");
    assert_eq!(kind(observer.disconnect(Some(&session)).await), "not_permitted", "it is another's session");
    let mine = observer.connect(ConnectRequest { another: true, ..to("kiosk") }).await.unwrap();
    observer.disconnect(Some(&mine.session)).await.unwrap();

    let blind = desk.of("b", CallerKind::Model, "interact", "all");
    assert_eq!(kind(blind.connect(to("kiosk")).await), "not_permitted");
    assert!(blind.targets().is_empty() && blind.list().is_empty());
    assert!(desk.peer().inputs().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_only_session_is_the_only_one_of_this_credential() {
    let desk = Desk::ready();
    let kiosk = desk.connect("kiosk").await.session;
    let other = desk.model("other");
    assert_eq!(kind(other.status(None).await), "session_closed");
    let office = other.connect(to("office")).await.unwrap().session;
    assert_eq!(other.status(None).await.unwrap().summary.id, office);
    assert_eq!(desk.sessions.status(None).await.unwrap().summary.id, kiosk);
    assert_eq!(kind(desk.person("p").status(None).await), "invalid_argument", "a person sees both");
    assert_eq!(other.list().len(), 2, "its grant has both machines");

    let shared = other.connect(to("kiosk")).await.unwrap();
    assert!(shared.reused);
    assert_eq!(kind(other.status(None).await), "invalid_argument", "now it has two");
}

#[tokio::test(start_paused = true)]
async fn a_session_by_somebodys_own_password_is_nobody_elses() {
    let desk = Desk::ready();
    let own = ConnectRequest { password: Some(Secret::new("mine")), ..to("kiosk") };
    let session = desk.sessions.connect(own).await.unwrap().session;
    let other = desk.model("other");
    assert!(other.list().is_empty());
    assert_eq!(kind(other.screenshot(Some(&session), &ScreenshotRequest::default()).await), "session_closed");
    assert!(!other.connect(to("kiosk")).await.unwrap().reused);
    assert_eq!(desk.person("p").list().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_password_answered_makes_the_session_ones_own() {
    let desk = Desk::new(|_| FakePeer::in_state(awaiting_password(false)));
    let session = desk.connect("kiosk").await.session;
    let other = desk.model("other");
    assert_eq!(other.list().len(), 1);
    let answer = ConnectRequest {
        to: ConnectTo::Session(session.clone()),
        password: Some(Secret::new("right")),
        ..to("")
    };
    assert!(desk.sessions.connect(answer).await.unwrap().is_ready());
    assert!(other.list().is_empty());
}

#[tokio::test(start_paused = true)]
async fn each_credential_has_its_own_last_picture() {
    let desk = Desk::new(|_| FakePeer::ready(Size::new(2560, 1600)));
    desk.connect("kiosk").await;
    let other = desk.model("other");
    other.connect(to("kiosk")).await.unwrap();
    assert!(picture(&desk.sessions).await.picture.is_some());
    assert!(picture(&other).await.picture.is_some(), "it has seen nothing yet");
    assert!(picture(&other).await.picture.is_none());

    let small = ScreenshotRequest { longest_side: Some(640), ..ScreenshotRequest::default() };
    let shot = other.screenshot(None, &small).await.unwrap().1;
    assert_eq!(shot.space, Size::new(640, 400));
    desk.sessions.act(None, click(1000.0, 800.0)).await.unwrap();
    assert_eq!(kind(other.act(None, click(1000.0, 300.0)).await), "out_of_bounds");

    desk.peer().paint(DisplayId(0), Rect::new(0, 0, 64, 64), [255, 0, 0]);
    assert!(picture(&desk.sessions).await.picture.is_some());
    assert!(other.screenshot(None, &small).await.unwrap().1.picture.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_mode_can_be_lowered_and_not_raised() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    assert_eq!(desk.sessions.mode(), Mode::Edit, "the process's own is the highest");
    desk.sessions.set_mode(Mode::Plan).unwrap();
    assert_eq!(kind(desk.sessions.act(None, click(1.0, 1.0)).await), "not_permitted");
    assert!(desk.sessions.granted(Class::Interact).is_err());
    assert_eq!(kind(desk.sessions.set_mode(Mode::Edit)), "not_permitted");
    assert_eq!(desk.person("p").mode(), Mode::Edit, "others keep theirs");

    let credential = desk.sessions.caller().credential.clone();
    assert_eq!(kind(desk.sessions.restore_mode(&credential).await), "not_permitted");
    let clerk = desk.of("c", CallerKind::Person, "observe interact", "all");
    assert_eq!(kind(clerk.restore_mode(&credential).await), "not_permitted");
    desk.person("p").restore_mode(&credential).await.unwrap();
    desk.sessions.act(None, click(1.0, 1.0)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn rules_and_targets_can_be_changed_while_it_runs() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    desk.registry.set_policy(rules(&[("id:kiosk", "interact", Verdict::Deny)]));
    let error = desk.sessions.act(None, click(1.0, 1.0)).await.unwrap_err();
    assert!(error.to_string().contains("payroll"), "{error}");
    desk.registry.set_policy(Policy::default());
    desk.sessions.act(None, click(1.0, 1.0)).await.unwrap();
    desk.registry.set_targets(Vec::new());
    assert!(desk.sessions.targets().is_empty());
    assert_eq!(desk.sessions.list().len(), 1, "what is open stays open");
    assert_eq!(desk.registry.states()["ready"], 1);
}
