use super::*;
use crate::testing::left_click;
use crate::{Chord, Effect, Spot};
use remote::{Button, DisplayId, Input, Key, Modifier, NamedKey, Permission, Point, Rect, RemoteError};
use tokio::time::Instant;

const FIRST: DisplayId = DisplayId(0);

fn click(x: f64, y: f64) -> Action {
    Action::Click { at: Some(Spot { x, y }), button: Button::Left, count: 1, held: vec![] }
}

fn type_text(text: &str) -> Action {
    Action::Type { text: text.to_owned() }
}

fn moved(x: i32, y: i32) -> Input {
    Input::Move { display: FIRST, to: Point::new(x, y) }
}

#[tokio::test(start_paused = true)]
async fn a_click_arrives_and_its_effect_is_told() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    let peer = desk.peer();
    peer.react(|peer, _| {
        let peer = peer.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(40)).await;
            peer.paint(FIRST, Rect::new(128, 128, 64, 64), [255, 0, 0]);
            tokio::time::sleep(Duration::from_millis(100)).await;
            peer.paint(FIRST, Rect::new(640, 128, 64, 64), [255, 0, 0]);
        });
    });
    let start = Instant::now();
    let (_, acted) = desk.sessions.act(None, act(click(130.0, 131.0))).await.unwrap();
    let [down, up] = left_click();
    assert_eq!(peer.inputs(), [moved(130, 131), down, up]);
    let Effect::Changed(change) = acted.effect else { panic!("{:?}", acted.effect) };
    assert!(change.settled);
    assert_eq!(change.bounds, Rect::new(128, 128, 576, 64), "both changes");
    assert_eq!(start.elapsed().as_millis(), 140 + 150, "until quiet, no longer");
}

#[tokio::test(start_paused = true)]
async fn a_click_without_effect_says_so_and_one_on_a_restless_screen_too() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    let start = Instant::now();
    let (_, acted) = desk.sessions.act(None, act(click(1.0, 1.0))).await.unwrap();
    assert_eq!(acted.effect, Effect::None);
    assert_eq!(start.elapsed(), Settle::default().reaction);

    desk.peer().react(|peer, _| {
        let peer = peer.clone();
        tokio::spawn(async move {
            for turn in 0..100 {
                peer.paint(FIRST, Rect::new(0, 0, 64, 64), [turn % 2 * 200, 0, 0]);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
    });
    let start = Instant::now();
    let (_, acted) = desk.sessions.act(None, act(click(1.0, 1.0))).await.unwrap();
    assert!(matches!(acted.effect, Effect::Changed(change) if !change.settled), "{:?}", acted.effect);
    assert_eq!(start.elapsed(), Settle::default().cap);

    let unseen = Act { settle: None, ..act(click(1.0, 1.0)) };
    assert_eq!(desk.sessions.act(None, unseen).await.unwrap().1.effect, Effect::NotObserved);
}

#[tokio::test(start_paused = true)]
async fn a_slow_peer_gets_more_time_before_nothing_is_said_to_have_changed() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    let peer = desk.peer();
    let took = async |settle| {
        let start = Instant::now();
        let act = Act { settle: Some(settle), ..act(click(1.0, 1.0)) };
        let acted = desk.sessions.act(None, act).await.unwrap().1;
        (acted.effect, start.elapsed().as_millis())
    };
    let usual = Settle::default();
    peer.set_answers(Duration::from_millis(1));
    assert_eq!(took(usual).await, (Effect::None, 301), "read, then as long as a quick peer takes");
    peer.set_answers(Duration::from_millis(101));
    assert_eq!(took(usual).await, (Effect::None, 101 + 300 + 10 * 100));
    peer.set_answers(Duration::from_secs(60));
    let (effect, waited) = took(usual).await;
    assert!(matches!(&effect, Effect::Lost { reason } if reason.contains("read the input")), "{effect:?}");
    assert_eq!(waited, usual.patience.as_millis());
    peer.set_answers(Duration::from_millis(401));
    let (effect, waited) = took(Settle { patience: Duration::from_secs(2), ..usual }).await;
    assert!(matches!(&effect, Effect::Lost { reason } if reason.contains("slow")), "{effect:?}");
    assert_eq!(waited, 2_000);
}

#[tokio::test(start_paused = true)]
async fn an_effect_is_told_from_a_picture_from_before_the_action() {
    let desk = Desk::new(|_| {
        let peer = FakePeer::in_state(remote::SessionState::Ready);
        peer.set_displays(&[SCREEN]);
        peer
    });
    desk.connect("kiosk").await;
    let peer = desk.peer();
    let start = Instant::now();
    let blind = desk.sessions.act(None, act(click(1.0, 1.0))).await.unwrap().1;
    assert!(matches!(&blind.effect, Effect::Lost { reason } if reason.contains("no picture")), "{blind:?}");
    assert_eq!(start.elapsed(), Settle::default().patience);
    assert_eq!(peer.inputs().len(), 3, "it was sent all the same");

    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(700)).await;
        peer.show(FIRST, crate::testing::plain(SCREEN, crate::testing::GREY));
    });
    let seen = desk.sessions.act(None, act(click(1.0, 1.0))).await.unwrap().1;
    assert_eq!(seen.effect, Effect::None, "the first picture is no effect");
}

#[tokio::test(start_paused = true)]
async fn a_change_that_comes_late_from_a_slow_peer_is_seen() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    let peer = desk.peer();
    peer.set_answers(Duration::from_millis(151));
    peer.react(|peer, _| {
        let peer = peer.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(1_600)).await;
            peer.paint(FIRST, Rect::new(128, 128, 64, 64), [255, 0, 0]);
        });
    });
    let acted = desk.sessions.act(None, act(click(1.0, 1.0))).await.unwrap().1;
    assert!(matches!(acted.effect, Effect::Changed(change) if change.settled), "{:?}", acted.effect);
}

#[tokio::test(start_paused = true)]
async fn a_screen_gets_the_time_that_its_pictures_took_before() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    desk.peer().set_first_picture(Duration::from_millis(320));
    let mut waits = Vec::new();
    for _ in 0..4 {
        let start = Instant::now();
        let acted = desk.sessions.act(None, act(click(1.0, 1.0))).await.unwrap().1;
        assert_eq!(acted.effect, Effect::None);
        waits.push(start.elapsed().as_millis());
    }
    assert_eq!(waits, [640, 480, 360, 300], "what was slow once is forgotten in time");
}

#[tokio::test(start_paused = true)]
async fn text_arrives_in_runs_with_its_keys() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    let text = format!("name:\tÄnne\n{}", "x".repeat(120));
    desk.sessions.act(None, act(type_text(&text))).await.unwrap();
    assert_eq!(desk.peer().typed(), text);
    assert!(desk.peer().inputs().iter().all(|input| match input {
        Input::Text(run) => run.chars().count() <= 50,
        Input::Press { key: Key::Named(NamedKey::Tab | NamedKey::Enter), .. } => true,
        _ => false,
    }));
}

#[tokio::test(start_paused = true)]
async fn text_gets_more_time_to_appear_than_a_click() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    let start = Instant::now();
    let acted = desk.sessions.act(None, act(type_text("a"))).await.unwrap().1;
    assert_eq!((acted.effect, start.elapsed().as_millis()), (Effect::None, 900));
}

#[tokio::test(start_paused = true)]
async fn what_a_peer_may_lose_is_counted() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    let risk = async |action| desk.sessions.act(None, act(action)).await.unwrap().1.at_risk;
    assert_eq!(risk(type_text("naïve 漢字")).await, 0);
    desk.peer().types_ascii_only();
    assert_eq!(risk(type_text("naïve 漢字\n")).await, 3);
    let paste = Action::Paste { text: "漢".to_owned(), chord: Chord::parse("ctrl+v").unwrap() };
    assert_eq!(risk(paste).await, 0);
}

#[tokio::test(start_paused = true)]
async fn chords_are_pressed_as_often_as_asked() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    let press = Action::Press { chord: Chord::parse("ctrl+a").unwrap(), repeat: 3 };
    desk.sessions.act(None, act(press)).await.unwrap();
    let once = Input::Press { key: Key::Character('a'), held: vec![Modifier::Control] };
    assert_eq!(desk.peer().inputs(), [once.clone(), once.clone(), once]);
}

#[tokio::test(start_paused = true)]
async fn positions_are_those_of_the_picture_last_given_out() {
    let desk = Desk::new(|_| FakePeer::ready(Size::new(2560, 1600)));
    desk.connect("kiosk").await;
    desk.sessions.act(None, act(click(2000.0, 1500.0))).await.unwrap();
    assert_eq!(desk.peer().inputs()[0], moved(2000, 1500), "native before the first picture");

    let (_, shot) = desk.sessions.screenshot(None, &Default::default()).await.unwrap();
    assert!(shot.space.width <= 1568);
    let error = desk.sessions.act(None, act(click(2000.0, 100.0))).await.unwrap_err();
    assert_eq!(error.kind(), "out_of_bounds");
    assert!(error.to_string().contains(&format!("x from 0 to {}", shot.space.width - 1)), "{error}");

    let middle = click(f64::from(shot.space.width) / 2.0, f64::from(shot.space.height) / 2.0);
    desk.sessions.act(None, act(middle)).await.unwrap();
    let Input::Move { to, .. } = desk.peer().inputs()[3] else { panic!("a move first") };
    assert!((to.x - 1280).abs() <= 2 && (to.y - 800).abs() <= 2, "{to:?}");

    let normalized = Act { space: Space::Normalized1000, ..act(click(500.0, 500.0)) };
    desk.sessions.act(None, normalized).await.unwrap();
    assert_eq!(desk.peer().inputs()[6], moved(1280, 800));
}

#[tokio::test(start_paused = true)]
async fn a_zoomed_region_does_not_change_what_positions_mean() {
    let desk = Desk::new(|_| FakePeer::ready(Size::new(2560, 1600)));
    desk.connect("kiosk").await;
    let (_, whole) = desk.sessions.screenshot(None, &Default::default()).await.unwrap();
    let area = crate::Area { x: 10.0, y: 10.0, width: 100.0, height: 100.0 };
    let zoom = crate::ScreenshotRequest { region: Some(area), ..Default::default() };
    let (_, zoomed) = desk.sessions.screenshot(None, &zoom).await.unwrap();
    assert_eq!(zoomed.space, whole.space);
    let native = zoomed.picture.unwrap().region;
    assert!(native.width > 100 && native.x > 10, "{native:?}");
}

#[tokio::test(start_paused = true)]
async fn a_changed_geometry_makes_positions_stale_until_the_next_picture() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    desk.sessions.screenshot(None, &Default::default()).await.unwrap();
    let smaller = Size::new(800, 600);
    desk.peer().set_displays(&[smaller]);
    desk.peer().show(FIRST, crate::testing::plain(smaller, [1, 2, 3]));

    assert_eq!(kind(desk.sessions.act(None, act(click(10.0, 10.0))).await), "stale_frame");
    assert!(desk.peer().inputs().is_empty());
    desk.sessions.act(None, act(type_text("keys need no position"))).await.unwrap();
    desk.sessions.screenshot(None, &Default::default()).await.unwrap();
    desk.sessions.act(None, act(click(799.0, 599.0))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_the_peer_forbids_is_refused_before_it_is_sent() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    desk.peer().deny(Permission::Keyboard);
    assert_eq!(kind(desk.sessions.act(None, act(click(1.0, 1.0))).await), "permission_denied_by_peer");
    assert!(desk.peer().inputs().is_empty());
}

#[tokio::test(start_paused = true)]
async fn inputs_of_unknown_outcome_are_not_sent_again() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    let peer = desk.peer();
    peer.fail_inputs(Some(RemoteError::OutcomeUnknown("cut".to_owned())));
    assert_eq!(kind(desk.sessions.act(None, act(click(1.0, 1.0))).await), "timeout_unknown_outcome");
    peer.fail_inputs(None);
    peer.hold_inputs(true);
    assert_eq!(kind(desk.sessions.act(None, act(click(1.0, 1.0))).await), "timeout_unknown_outcome");
    peer.hold_inputs(false);
    desk.sessions.act(None, act(click(5.0, 5.0))).await.unwrap();
    assert_eq!(peer.inputs()[0], moved(5, 5), "only the last click ever arrives");
    assert_eq!(peer.inputs().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn typing_that_breaks_off_tells_how_far_it_came() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    desk.peer().react(|peer, _| {
        if peer.batches().len() == 2 {
            peer.fail_inputs(Some(RemoteError::SessionClosed("gone".to_owned())));
        }
    });
    let error = desk.sessions.act(None, act(type_text(&"x".repeat(170)))).await.unwrap_err();
    assert_eq!(error.kind(), "session_closed");
    assert!(error.to_string().contains("100 of 170"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn actions_of_one_session_do_not_overlap() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    let one = desk.sessions.act(None, act(type_text(&"a".repeat(200))));
    let other = desk.sessions.act(None, act(type_text(&"b".repeat(200))));
    let (one, other) = tokio::join!(one, other);
    one.unwrap();
    other.unwrap();
    assert_eq!(desk.peer().typed(), format!("{}{}", "a".repeat(200), "b".repeat(200)));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_action_stops_between_batches_and_frees_the_turn() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    let long = desk.sessions.act(None, act(type_text(&"a".repeat(500))));
    let cut = tokio::time::timeout(Duration::from_millis(30), long).await;
    assert!(cut.is_err());
    desk.sessions.act(None, act(type_text("b"))).await.unwrap();
    let typed = desk.peer().typed();
    assert!(typed.ends_with('b') && typed.len() < 500 && typed.len() % 50 == 1, "{}", typed.len());
}

#[tokio::test(start_paused = true)]
async fn a_session_lost_while_looking_leaves_the_effect_open() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    desk.peer().react(|peer, _| {
        peer.set_state(SessionState::Closed(RemoteError::SessionClosed("gone".to_owned())));
    });
    let (_, acted) = desk.sessions.act(None, act(click(1.0, 1.0))).await.unwrap();
    assert!(matches!(acted.effect, Effect::Lost { .. }));
    assert_eq!(kind(desk.sessions.act(None, act(click(1.0, 1.0))).await), "session_closed");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_not_ready_takes_no_actions() {
    for (state, expected) in [
        (SessionState::AwaitingApproval, "awaiting_approval"),
        (awaiting_password(false), "not_authenticated"),
        (SessionState::NoDisplay, "no_display"),
        (SessionState::Reconnecting { attempt: 2, reason: "cut".to_owned() }, "unreachable"),
    ] {
        let desk = Desk::new(move |_| FakePeer::in_state(state.clone()));
        let request = ConnectRequest { wait: Duration::from_secs(1), ..to("kiosk") };
        desk.sessions.connect(request).await.unwrap();
        assert_eq!(kind(desk.sessions.act(None, act(click(1.0, 1.0))).await), expected);
    }
}
