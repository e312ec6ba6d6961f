use crate::client::{Desk, SCREEN, size_of_png};
use remote::{DisplayId, Point, Rect, RemoteError, SessionState, Size};
use serde_json::json;
use sessions::SessionsConfig;
use sessions::testing::{FakePeer, plain};
use std::time::Duration;

const FIRST: DisplayId = DisplayId(0);

#[tokio::test(start_paused = true)]
async fn a_picture_is_described_beside_it() {
    let desk = Desk::new(|_| FakePeer::ready(Size::new(2560, 1600)));
    desk.connect("kiosk").await;
    desk.peer().set_cursor(remote::Cursor { position: Some((FIRST, Point::new(2559, 0))), shape: None });
    let outcome = desk.call("screenshot", json!({})).await;
    let facts = &outcome.structured;
    assert_eq!(facts["native"], json!({ "width": 2560, "height": 1600 }));
    assert_eq!(facts["size"], facts["coordinates"]);
    assert_eq!((&facts["display"], &facts["frame"], &facts["codec"]), (&json!(0), &json!(1), &json!("vp9")));
    let width = facts["coordinates"]["width"].as_u64().unwrap();
    assert!(width <= 1568);
    assert_eq!(facts["cursor"], json!({ "x": width - 1, "y": 0 }));
    let scale = facts["scale"].as_f64().unwrap();
    assert!((scale - 2560.0 / width as f64).abs() < 0.001);
    let size = size_of_png(&outcome.images[0].data);
    assert_eq!(u64::from(size.width), width);
    assert_eq!(facts["bytes"], outcome.images[0].data.len());
    assert!(facts.get("region").is_none() && facts.get("unchanged_since_frame").is_none());
}

#[tokio::test(start_paused = true)]
async fn an_unchanged_screen_is_one_line_without_a_picture() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    assert_eq!(desk.call("screenshot", json!({})).await.images.len(), 1);
    let same = desk.call("screenshot", json!({})).await;
    assert!(same.images.is_empty() && !same.is_error);
    assert_eq!(same.structured["included"], false);
    assert_eq!(same.structured["unchanged_since_frame"], 1);
    assert_eq!(same.text().lines().count(), 1);
    assert!(same.text().len() < 400);
    assert_eq!(desk.call("screenshot", json!({ "force": true })).await.images.len(), 1);
    desk.peer().paint(FIRST, Rect::new(0, 0, 200, 200), [255, 0, 0]);
    assert_eq!(desk.call("screenshot", json!({})).await.images.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_region_is_shown_larger_and_positions_stay() {
    let desk = Desk::new(|_| FakePeer::ready(Size::new(2560, 1600)));
    desk.connect("kiosk").await;
    let whole = desk.ok("screenshot", json!({})).await;
    let region = json!({ "x": 100, "y": 50, "width": 200, "height": 100 });
    let zoom = desk.ok("screenshot", json!({ "region": region })).await;
    assert_eq!(zoom["coordinates"], whole["coordinates"]);
    assert!(zoom["size"]["width"].as_u64().unwrap() > 200);
    let wide = json!({ "x": 0, "y": 0, "width": 2560, "height": 100 });
    let failure = desk.fail("screenshot", json!({ "region": wide })).await;
    assert_eq!(failure["code"], "out_of_bounds");
    let normalized = json!({ "x": 0, "y": 0, "width": 500, "height": 500 });
    let quarter =
        desk.ok("screenshot", json!({ "region": normalized, "coordinate_space": "normalized_1000" })).await;
    assert_eq!(quarter["region"], normalized);
}

#[tokio::test(start_paused = true)]
async fn formats_and_budgets_are_as_asked() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    let jpeg = desk.call("screenshot", json!({ "format": "jpeg" })).await;
    assert_eq!(jpeg.images[0].mime_type, "image/jpeg");
    assert_eq!(jpeg.images[0].data[..2], [0xFF, 0xD8]);
    let small = desk.call("screenshot", json!({ "max_side": 320 })).await;
    assert_eq!(size_of_png(&small.images[0].data), Size::new(320, 200));
    for wrong in [
        json!({ "format": "gif" }),
        json!({ "max_side": 0 }),
        json!({ "max_side": -1 }),
        json!({ "zoom": 2 }),
    ] {
        assert_eq!(desk.fail("screenshot", wrong.clone()).await["code"], "invalid_argument", "{wrong}");
    }
    assert_eq!(desk.fail("screenshot", json!({ "lossless": true })).await["code"], "unsupported_by_peer");
}

#[tokio::test(start_paused = true)]
async fn no_result_is_larger_than_the_budget() {
    let budget = framebuffer::Budget { base64_bytes: 60_000, ..framebuffer::Budget::default() };
    let config = SessionsConfig { budget, ..SessionsConfig::default() };
    let desk = Desk::with(config, |_| {
        let peer = FakePeer::ready(SCREEN);
        peer.show(FIRST, noise(SCREEN));
        peer
    });
    let mut client = desk.client("2025-11-25").await;
    client.call("connect", json!({ "target": "kiosk" })).await;
    for arguments in [json!({}), json!({ "max_bytes": 20_000, "force": true })] {
        let shot = client.call("screenshot", arguments.clone()).await;
        assert_eq!(shot["isError"], false, "{shot}");
        let image = shot["content"][1]["data"].as_str().unwrap().len();
        let allowed = arguments["max_bytes"].as_u64().unwrap_or(60_000) as usize;
        assert!(image <= allowed, "{image} of {allowed}");
        assert!(shot.to_string().len() <= allowed + 4_000);
    }
}

/// A picture that no encoder makes small.
fn noise(size: Size) -> remote::Frame {
    let mut frame = plain(size, [0, 0, 0]);
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let bytes = (0..size.area() * 4).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    });
    let stride = size.width as usize * 4;
    frame.pixels = remote::Pixels::Rgbx(remote::Plane { data: bytes.collect::<Vec<u8>>().into(), stride });
    frame
}

#[tokio::test(start_paused = true)]
async fn displays_are_chosen_by_number() {
    let desk = Desk::new(|_| {
        let peer = FakePeer::ready(SCREEN);
        peer.set_displays(&[SCREEN, Size::new(640, 480)]);
        peer.show(DisplayId(1), plain(Size::new(640, 480), [1, 2, 3]));
        peer
    });
    desk.connect("kiosk").await;
    let second = desk.ok("screenshot", json!({ "display": 1 })).await;
    assert_eq!(second["native"], json!({ "width": 640, "height": 480 }));
    let failure = desk.fail("screenshot", json!({ "display": 7 })).await;
    assert_eq!(failure["code"], "invalid_argument");
    assert!(failure["message"].as_str().unwrap().contains("0, 1"));
}

#[tokio::test(start_paused = true)]
async fn a_peer_without_a_display_says_so() {
    let desk = Desk::new(|_| FakePeer::in_state(SessionState::Ready));
    desk.connect("kiosk").await;
    for tool in ["screenshot", "click"] {
        assert_eq!(desk.fail(tool, json!({})).await["code"], "no_display");
    }
    assert_eq!(desk.fail("wait_for", json!({ "condition": "change" })).await["code"], "no_display");
}

#[tokio::test(start_paused = true)]
async fn waiting_tells_whether_it_happened_and_shows_it() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    desk.ok("screenshot", json!({})).await;
    let peer = desk.peer();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(4)).await;
        peer.paint(FIRST, Rect::new(64, 128, 64, 64), [0, 0, 255]);
    });
    let outcome = desk.call("wait_for", json!({ "condition": "change", "screenshot": true })).await;
    let waited = &outcome.structured;
    assert_eq!((&waited["met"], &waited["waited_ms"]), (&json!(true), &json!(4000)));
    assert_eq!(waited["changed_region"], json!({ "x": 64, "y": 128, "width": 64, "height": 64 }));
    assert_eq!(waited["picture"]["frame"], 2);
    assert_eq!(outcome.images.len(), 1);

    let still = desk.ok("wait_for", json!({ "condition": "still", "quiet_ms": 1000 })).await;
    assert_eq!((&still["met"], &still["waited_ms"]), (&json!(true), &json!(1000)));
    let nothing = desk.ok("wait_for", json!({ "condition": "change", "timeout_ms": 700 })).await;
    assert_eq!((&nothing["met"], &nothing["waited_ms"]), (&json!(false), &json!(700)));
    assert!(nothing.get("changed_region").is_none());
    for wrong in [
        json!({}),
        json!({ "condition": "doomsday" }),
        json!({ "condition": "still", "timeout_ms": 10_000_000 }),
    ] {
        assert_eq!(desk.fail("wait_for", wrong).await["code"], "invalid_argument");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_closes_ends_the_wait_with_its_reason() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    let peer = desk.peer();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        peer.set_state(SessionState::Closed(RemoteError::SessionClosed(
            "the host was switched off".to_owned(),
        )));
    });
    let failure = desk.fail("wait_for", json!({ "condition": "change" })).await;
    assert_eq!(failure["code"], "session_closed");
    assert!(failure["message"].as_str().unwrap().contains("switched off"));
}
