//! A person stops a model.

use super::*;
use crate::{ScreenshotRequest, WaitFor, WaitRequest};

#[tokio::test(start_paused = true)]
async fn a_stopped_model_does_nothing_more_until_a_person_lets_it_go_on() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    let (typist, watcher) = (desk.sessions.clone(), desk.sessions.clone());
    let typing = tokio::spawn(async move { typist.act(None, type_text(&"x".repeat(5000))).await });
    let waiting = tokio::spawn(async move {
        let wait = WaitRequest {
            what: WaitFor::Still,
            display: None,
            space: Space::Picture,
            region: None,
            timeout: Duration::from_secs(60),
            quiet: Duration::from_secs(50),
            picture: None,
        };
        watcher.wait_for(None, &wait).await
    });
    let peer = desk.peer();
    while peer.typed().len() < 200 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let ann = desk.of("ann", CallerKind::Person, "observe", "all");
    let stopped = ann.stop(None).await.unwrap();
    let typed = peer.typed().len();
    assert_eq!(stopped, ["local"]);
    let error = typing.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), "cancelled");
    assert!(error.to_string().contains(&format!("{typed} of 5000")), "{error}");
    assert_eq!(kind(waiting.await.unwrap()), "cancelled");

    for error in [
        desk.sessions.act(None, click(1.0, 1.0)).await.map(drop).unwrap_err(),
        desk.sessions.screenshot(None, &ScreenshotRequest::default()).await.map(drop).unwrap_err(),
        desk.sessions.connect(to("office")).await.map(drop).unwrap_err(),
        desk.sessions.status(None).await.map(drop).unwrap_err(),
    ] {
        assert_eq!(error.kind(), "human_in_control");
        assert!(error.to_string().contains("ANN"), "{error}");
    }
    assert_eq!(desk.registry.states()["ready"], 1, "the session stays");
    assert_eq!(peer.typed().len(), typed);

    assert!(ann.stopped().is_empty(), "stopping is for everybody who sees it, letting go on is not");
    assert_eq!(kind(ann.let_go_on("local").await), "invalid_argument");
    assert_eq!(kind(desk.sessions.let_go_on("local").await), "not_permitted");
    let bob = desk.person("bob");
    assert_eq!(bob.stopped()[0].by, "ANN");
    bob.let_go_on("local").await.unwrap();
    desk.sessions.act(None, click(1.0, 1.0)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn stopping_is_of_those_who_used_the_session_and_never_of_persons() {
    let desk = Desk::ready();
    let session = desk.connect("kiosk").await.session;
    let (guest, stranger, bob) = (desk.model("guest"), desk.model("stranger"), desk.person("bob"));
    guest.act(Some(&session), click(1.0, 1.0)).await.unwrap();
    bob.act(Some(&session), click(1.0, 1.0)).await.unwrap();
    stranger.connect(to("office")).await.unwrap();
    let mut stopped = desk.person("ann").stop(Some(&session)).await.unwrap();
    stopped.sort();
    assert_eq!(stopped, ["guest", "local"]);
    assert_eq!(kind(guest.act(Some(&session), click(1.0, 1.0)).await), "human_in_control");
    stranger.act(None, click(1.0, 1.0)).await.unwrap();
    bob.act(Some(&session), click(1.0, 1.0)).await.unwrap();
    assert_eq!(kind(desk.sessions.stop(Some(&session)).await), "not_permitted");
}
