use crate::client::{Desk, SCREEN};
use remote::{Button, DisplayId, Input, Key, Modifier, NamedKey, Permission, Point, Rect, RemoteError, Size};
use serde_json::{Value, json};
use sessions::testing::{FakePeer, left_click, plain};

const FIRST: DisplayId = DisplayId(0);

fn moved(x: i32, y: i32) -> Input {
    Input::Move { display: FIRST, to: Point::new(x, y) }
}

/// A peer whose screen changes with every input.
async fn lively() -> Desk {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    let mut red = 0;
    desk.peer().react(move |peer, _| {
        red = if red == 0 { 200 } else { 0 };
        peer.paint(FIRST, Rect::new(320, 320, 64, 64), [red, 0, 0]);
    });
    desk
}

#[tokio::test(start_paused = true)]
async fn a_click_is_sent_and_its_effect_seen() {
    let desk = lively().await;
    let outcome = desk.call("click", json!({ "x": 330, "y": 331, "screenshot": true })).await;
    let result = &outcome.structured;
    assert_eq!(
        (&result["sent"], &result["effect"], &result["settled"]),
        (&json!(true), &json!("changed"), &json!(true))
    );
    assert_eq!(result["changed_region"], json!({ "x": 320, "y": 320, "width": 64, "height": 64 }));
    assert_eq!(result["picture"]["included"], true);
    assert_eq!(outcome.images.len(), 1);
    let [down, up] = left_click();
    assert_eq!(desk.peer().inputs(), [moved(330, 331), down, up]);
}

#[tokio::test(start_paused = true)]
async fn a_click_without_effect_is_no_error() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    let result = desk.ok("click", json!({ "x": 0, "y": 0 })).await;
    assert_eq!((&result["sent"], &result["effect"]), (&json!(true), &json!("unchanged")));
    let unseen = desk.ok("click", json!({ "settle": false })).await;
    assert_eq!((&unseen["effect"], &unseen["took_ms"]), (&json!("not_observed"), &json!(0)));
}

#[tokio::test(start_paused = true)]
async fn every_button_count_and_modifier_arrives() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    for (name, button) in [
        ("left", Button::Left),
        ("right", Button::Right),
        ("middle", Button::Middle),
        ("back", Button::Back),
        ("forward", Button::Forward),
    ] {
        let arguments =
            json!({ "button": name, "count": 2, "modifiers": ["ctrl", "Shift"], "settle": false });
        desk.ok("click", arguments).await;
        let inputs = desk.peer().inputs();
        let down = Input::ButtonDown { button, held: vec![Modifier::Control, Modifier::Shift] };
        let up = Input::ButtonUp { button };
        assert_eq!(inputs[inputs.len() - 4..], [down.clone(), up.clone(), down, up]);
    }
}

#[tokio::test(start_paused = true)]
async fn pointer_tools_send_what_they_say() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    desk.ok("move_mouse", json!({ "x": 5, "y": 6 })).await;
    desk.ok("scroll", json!({ "x": 7, "y": 8, "dy": 3, "dx": -1, "modifiers": ["alt"] })).await;
    desk.ok("drag", json!({ "start": { "x": 0, "y": 0 }, "end": { "x": 10, "y": 0 } })).await;
    let [down, up] = left_click();
    let expected = [
        moved(5, 6),
        moved(7, 8),
        Input::Scroll { x: -1, y: 3, held: vec![Modifier::Alt] },
        moved(0, 0),
        down,
        moved(10, 0),
        up,
    ];
    assert_eq!(desk.peer().inputs(), expected);
    let path = json!([{ "x": 0, "y": 0 }, { "x": 5, "y": 0 }, { "x": 5, "y": 5 }]);
    desk.ok("drag", json!({ "path": path, "button": "middle" })).await;
    assert_eq!(desk.peer().inputs().len(), expected.len() + 5);
}

#[tokio::test(start_paused = true)]
async fn text_and_keys_arrive_and_text_is_not_repeated() {
    let desk = lively().await;
    let text = "Grüße\tan €veryone\nbye";
    let outcome = desk.call("type_text", json!({ "text": text, "enter": true })).await;
    assert_eq!(desk.peer().typed(), format!("{text}\n"));
    assert_eq!(outcome.structured["characters"], text.chars().count() + 1);
    assert!(!outcome.text().contains("veryone"));

    desk.ok("press_key", json!({ "key": "Shift+F5", "modifiers": ["ctrl"], "repeat": 2 })).await;
    let press =
        Input::Press { key: Key::Named(NamedKey::F(5)), held: vec![Modifier::Shift, Modifier::Control] };
    let inputs = desk.peer().inputs();
    assert_eq!(inputs[inputs.len() - 2..], [press.clone(), press]);
}

#[tokio::test(start_paused = true)]
async fn wrong_arguments_send_nothing() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    for (tool, arguments, code) in [
        ("click", json!({ "x": 1 }), "invalid_argument"),
        ("click", json!({ "x": 1, "y": 1, "count": 0 }), "invalid_argument"),
        ("click", json!({ "x": 1, "y": 1, "count": 4 }), "invalid_argument"),
        ("click", json!({ "x": 1, "y": 1, "button": "laser" }), "invalid_argument"),
        ("click", json!({ "x": 1, "y": 1, "modifiers": ["hyper"] }), "invalid_argument"),
        ("click", json!({ "x": "1", "y": 1 }), "invalid_argument"),
        ("click", json!({ "x": 1280, "y": 1 }), "out_of_bounds"),
        ("click", json!({ "x": 1, "y": -1 }), "out_of_bounds"),
        ("click", json!({ "x": 1001, "y": 1, "coordinate_space": "normalized_1000" }), "out_of_bounds"),
        ("click", json!({ "x": 1, "y": 1, "settle_ms": 1_000_000 }), "invalid_argument"),
        ("move_mouse", json!({ "x": 1 }), "invalid_argument"),
        ("drag", json!({}), "invalid_argument"),
        ("drag", json!({ "path": [{ "x": 1, "y": 1 }] }), "invalid_argument"),
        ("drag", json!({ "start": { "x": 1, "y": 1 } }), "invalid_argument"),
        ("drag", json!({ "path": [{ "x": 1, "y": 1 }, { "x": 1, "y": 800 }] }), "out_of_bounds"),
        ("scroll", json!({ "x": 1, "y": 1 }), "invalid_argument"),
        ("scroll", json!({ "dy": 1000 }), "invalid_argument"),
        ("type_text", json!({}), "invalid_argument"),
        ("type_text", json!({ "text": "" }), "invalid_argument"),
        ("type_text", json!({ "text": "\u{1b}[2J" }), "invalid_argument"),
        ("type_text", json!({ "text": "x".repeat(100_000) }), "invalid_argument"),
        ("press_key", json!({ "key": "Retrun" }), "invalid_argument"),
        ("press_key", json!({ "key": "ctlr+c" }), "invalid_argument"),
        ("press_key", json!({ "key": "a", "repeat": 0 }), "invalid_argument"),
        ("press_key", json!({ "key": "a", "repeat": 101 }), "invalid_argument"),
    ] {
        assert_eq!(desk.fail(tool, arguments.clone()).await["code"], code, "{tool} {arguments}");
    }
    assert!(desk.peer().inputs().is_empty());
    let wrong = desk.fail("click", json!({ "y": 1, "x": "1", "count": 2 })).await;
    assert_eq!(wrong["message"], "x: invalid type: string, expected f64");
    let near = desk.fail("press_key", json!({ "key": "Retrun" })).await;
    assert!(near["message"].as_str().unwrap().contains("Return"));
    let bounds = desk.fail("click", json!({ "x": 1280, "y": 1 })).await;
    assert!(bounds["message"].as_str().unwrap().contains("x from 0 to 1279, y from 0 to 799"));
}

#[tokio::test(start_paused = true)]
async fn a_display_that_changed_its_size_makes_positions_stale() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    desk.ok("screenshot", json!({})).await;
    let size = Size::new(1024, 768);
    desk.peer().set_displays(&[size]);
    desk.peer().show(FIRST, plain(size, [5, 5, 5]));
    let failure = desk.fail("click", json!({ "x": 1, "y": 1 })).await;
    assert_eq!(failure["code"], "stale_frame");
    assert!(failure["message"].as_str().unwrap().contains("1024x768"));
    assert!(failure["try_next"].as_str().unwrap().contains("screenshot"));
    let region = json!({ "x": 0, "y": 0, "width": 5, "height": 5 });
    assert_eq!(desk.fail("screenshot", json!({ "region": region })).await["code"], "stale_frame");
    desk.ok("screenshot", json!({})).await;
    desk.ok("click", json!({ "x": 1, "y": 1 })).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_peer_forbids_is_refused() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    desk.peer().deny(Permission::Keyboard);
    let tools: [(&str, Value); 3] =
        [("click", json!({})), ("type_text", json!({ "text": "a" })), ("press_key", json!({ "key": "a" }))];
    for (tool, arguments) in tools {
        let failure = desk.fail(tool, arguments).await;
        assert_eq!(failure["code"], "permission_denied_by_peer");
    }
    assert!(desk.peer().inputs().is_empty());
    desk.ok("screenshot", json!({})).await;
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_says_to_look_first() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    desk.peer().fail_inputs(Some(RemoteError::OutcomeUnknown("the connection was cut".to_owned())));
    let failure = desk.fail("click", json!({})).await;
    assert_eq!(failure["code"], "timeout_unknown_outcome");
    assert!(failure["try_next"].as_str().unwrap().contains("screenshot"));
    assert!(desk.peer().inputs().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_session_lost_right_after_acting_does_not_hide_that_it_was_sent() {
    let desk = Desk::new(|_| FakePeer::ready(SCREEN));
    desk.connect("kiosk").await;
    desk.peer().react(|peer, _| {
        peer.set_state(remote::SessionState::Closed(RemoteError::SessionClosed("switched off".to_owned())));
    });
    let result = desk.ok("press_key", json!({ "key": "Enter", "screenshot": true })).await;
    assert_eq!((&result["sent"], &result["effect"]), (&json!(true), &json!("lost")));
    assert!(result["reason"].as_str().unwrap().contains("switched off"));
    assert_eq!(result["picture_missing"]["code"], "session_closed");
}

#[tokio::test(start_paused = true)]
async fn normalized_positions_need_no_picture() {
    let desk = Desk::new(|_| FakePeer::ready(Size::new(1920, 1080)));
    desk.connect("kiosk").await;
    let result = desk.ok("click", json!({ "x": 500, "y": 500, "coordinate_space": "normalized_1000" })).await;
    assert_eq!(result["sent"], true);
    assert_eq!(desk.peer().inputs()[0], moved(960, 540));
}
