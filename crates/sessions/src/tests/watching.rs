//! What those who watch are told.

use super::*;
use crate::{Answer, Events, Happening, LeaseEnd, Told};
use remote::RemoteError;

/// The names of what was told, in order, until nothing comes.
async fn names(events: &mut Events) -> Vec<String> {
    let mut names = Vec::new();
    while let Ok(Some(told)) = tokio::time::timeout(Duration::from_millis(1), events.next()).await {
        match told {
            Told::Event(event) => match event.what {
                Happening::Step(entry) => names.push(format!("{} {}", entry.operation, entry.phase.name())),
                other => names.push(other.name().to_owned()),
            },
            Told::Missed(count) => names.push(format!("missed {count}")),
        }
    }
    names
}

#[tokio::test(start_paused = true)]
async fn everything_that_happens_to_a_session_is_told_in_order() {
    let desk = Desk::ready();
    let mut events = desk.person("ann").events();
    desk.connect("kiosk").await;
    assert_eq!(
        names(&mut events).await,
        ["connect begun", "session_opened", "session_state", "connect ended"]
    );
    desk.sessions.clone().named("click").act(None, click(1.0, 1.0)).await.unwrap();
    assert_eq!(names(&mut events).await, ["click begun", "click ended"]);
    let ann = desk.person("ann");
    ann.take_over(None).await.unwrap();
    ann.give_back(None).unwrap();
    assert_eq!(names(&mut events).await, ["take_over begun", "taken_over", "take_over ended", "given_back"]);
    ann.stop(None).await.unwrap();
    ann.let_go_on("local").await.unwrap();
    assert_eq!(names(&mut events).await, ["stop begun", "stopped", "stop ended", "let_go_on"]);
    desk.peer().set_state(SessionState::Degraded { silent_for: Duration::from_secs(3) });
    desk.peer().set_state(SessionState::Closed(RemoteError::SessionClosed("gone".to_owned())));
    let told = names(&mut events).await;
    assert_eq!(told.last().map(String::as_str), Some("session_closed"), "{told:?}");
    let trail = ann.trail(desk.registry.all().first().map(|live| &live.id)).unwrap();
    let steps: Vec<_> = trail.iter().map(|entry| &*entry.operation).collect();
    assert_eq!(steps, ["connect", "click", "take_over", "stop"]);
    assert!(trail.iter().all(|entry| entry.outcome.is_some()));
}

#[tokio::test(start_paused = true)]
async fn questions_and_answers_are_told() {
    let desk = Desk::guarded(
        SessionsConfig::default(),
        rules(&[("all", "interact", Verdict::Ask)]),
        &Arc::default(),
    );
    desk.connect("kiosk").await;
    let mut events = desk.person("ann").events();
    desk.sessions.act(None, click(1.0, 1.0)).await.unwrap_err();
    desk.sessions.act(None, click(1.0, 1.0)).await.unwrap_err();
    let Some(Told::Event(event)) = events.next().await else { panic!("no event") };
    let Happening::ApprovalAsked(approval) = event.what else { panic!("{event:?}") };
    assert_eq!(event.machine.as_deref(), Some("kiosk"));
    desk.person("ann").answer(&approval.id, Answer::Refuse).await.unwrap();
    assert_eq!(names(&mut events).await, ["act whole", "act whole", "approval_answered"]);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_of_machines_that_he_may_not_observe() {
    let desk = Desk::ready();
    let mut kiosk = desk.of("k", CallerKind::Person, "observe", "id:kiosk").events();
    let mut other = desk.model("m").events();
    desk.connect("office").await;
    assert!(names(&mut kiosk).await.is_empty());
    assert_eq!(names(&mut other).await.len(), 4);
    let own = ConnectRequest { password: Some(Secret::new("mine")), ..to("kiosk") };
    desk.sessions.connect(own).await.unwrap();
    assert_eq!(names(&mut kiosk).await.len(), 4);
    assert_eq!(names(&mut other).await, ["connect begun"], "what it became is another's own");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_expires_is_told_and_a_slow_listener_learns_what_he_missed() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    let mut events = desk.person("ann").events();
    desk.person("ann").take_over(None).await.unwrap();
    tokio::time::sleep(SessionsConfig::default().lease + Duration::from_secs(1)).await;
    loop {
        let Some(Told::Event(event)) = events.next().await else { panic!("no event") };
        if let Happening::GivenBack { who, end } = event.what {
            assert_eq!((&*who, end), ("ANN", LeaseEnd::Expired));
            break;
        }
    }
    for _ in 0..2000 {
        desk.sessions.status(None).await.unwrap();
    }
    let told = names(&mut events).await;
    assert!(told[0].starts_with("missed "), "{}", told[0]);
    assert_eq!(told.len(), 1 + 1024);
}

#[tokio::test(start_paused = true)]
async fn listening_ends_with_the_sessions() {
    let desk = Desk::ready();
    let mut events = desk.person("ann").events();
    drop(desk);
    assert_eq!(events.next().await, None);
}
