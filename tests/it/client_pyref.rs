//! Our client against the independent host: what it shows is what we see, what we do is what it gets.

use client::{Config, RustDesk, RustDeskSession};
use deskhand_tests::pyref::Host;
use remote::{
    Button, Connector as _, Desktop as _, DisplayId, Frame, FrameInfo, Input, Key, Modifier, NamedKey,
    Permission, Pixels, Point, RemoteError, Secret, Session as _, SessionState, Size, Target, VideoCodec,
};
use serde_json::Value;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);
const FIRST: DisplayId = DisplayId(0);

fn target(host: &Host, password: Option<&str>) -> Target {
    Target {
        name: "pyref".into(),
        address: host.direct.expect("it listens").to_string(),
        password: password.map(Secret::new),
        allow_unencrypted: true,
        ..Target::default()
    }
}

fn open(target: Target) -> RustDeskSession {
    RustDesk::new(Config::default()).open_session(target).expect("an address")
}

async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, work).await {
        Ok(done) => done,
        Err(_) => panic!("not within {LIMIT:?}: {what}"),
    }
}

/// Waits for a state that `wanted` accepts.
async fn state(session: &RustDeskSession, wanted: impl Fn(&SessionState) -> bool) -> SessionState {
    let mut state = session.state();
    while !wanted(&state) {
        let last = state.clone();
        state = match tokio::time::timeout(LIMIT, session.state_after(&last)).await {
            Ok(state) => state,
            Err(_) => panic!("the state stayed {last:?}"),
        };
    }
    state
}

async fn ready(session: &RustDeskSession) {
    state(session, |s| *s == SessionState::Ready).await;
}

async fn picture(session: &RustDeskSession, display: DisplayId) -> (FrameInfo, Frame) {
    within("a picture", session.frame(display)).await.expect("a picture")
}

/// The luminance and colour difference samples at a pixel.
fn sample(frame: &Frame, x: u32, y: u32) -> [u8; 3] {
    let at = |plane: &remote::Plane, x: u32, y: u32| plane.data[y as usize * plane.stride + x as usize];
    match &frame.pixels {
        Pixels::I420([y_plane, u, v]) => [at(y_plane, x, y), at(u, x / 2, y / 2), at(v, x / 2, y / 2)],
        Pixels::I444([y_plane, u, v]) => [at(y_plane, x, y), at(u, x, y), at(v, x, y)],
        Pixels::Rgbx(_) => panic!("no video codec gives this"),
    }
}

/// BT.601, limited range.
fn yuv([r, g, b]: [f64; 3]) -> [f64; 3] {
    [
        16.0 + 0.257 * r + 0.504 * g + 0.098 * b,
        128.0 - 0.148 * r - 0.291 * g + 0.439 * b,
        128.0 + 0.439 * r - 0.368 * g - 0.071 * b,
    ]
}

/// The eight colour fields of the host's test picture are where they belong.
fn shows_the_test_picture(frame: &Frame, turn: usize) {
    const COLOURS: [[f64; 3]; 8] = [
        [200., 30., 30.],
        [30., 170., 60.],
        [40., 70., 200.],
        [210., 180., 40.],
        [150., 50., 170.],
        [40., 170., 180.],
        [230., 230., 230.],
        [40., 40., 40.],
    ];
    for n in 0..8 {
        let (column, row) = (n as u32 % 4, n as u32 / 4);
        // Away from the moving box and the number.
        let x = frame.size.width * (2 * column + 1) / 8;
        let y = frame.size.height * if row == 0 { 1 } else { 5 } / 6;
        let got = sample(frame, x, y);
        let want = yuv(COLOURS[(n + turn) % 8]);
        for (got, want) in got.iter().zip(want) {
            assert!((f64::from(*got) - want).abs() < 14.0, "field {n}: {got:?} where {want:?} belongs");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_direct_session_shows_the_hosts_picture() {
    let host = Host::listen(&["--password", "beacon"]);
    let session = open(target(&host, Some("beacon")));
    let (info, frame) = picture(&session, FIRST).await;
    assert_eq!(frame.size, Size::new(640, 480));
    assert!(info.sequence >= 1);
    shows_the_test_picture(&frame, 0);
    let peer = session.peer();
    assert_eq!(
        (&peer.hostname[..], &peer.username[..], &peer.platform[..]),
        ("lighthouse", "grace", "Linux")
    );
    assert_eq!((peer.path, peer.encrypted), (Some(remote::Path::Direct), false));
    let next = within("a newer picture", session.newer_than(FIRST, info.sequence)).await.unwrap();
    assert!(next.sequence > info.sequence);
    within("the end", session.close()).await;
    assert!(matches!(session.state(), SessionState::Closed(RemoteError::SessionClosed(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_codec_and_full_colour_are_decoded() {
    let host = Host::listen(&["--password", "beacon"]);
    for codec in [VideoCodec::Vp9, VideoCodec::Vp8, VideoCodec::Av1] {
        let session = open(Target { codec: Some(codec), ..target(&host, Some("beacon")) });
        let (info, frame) = picture(&session, FIRST).await;
        assert_eq!(info.codec, codec);
        shows_the_test_picture(&frame, 0);
    }
    let best = Target {
        codec: Some(VideoCodec::Vp9),
        quality: remote::target::Quality::Best,
        ..target(&host, Some("beacon"))
    };
    let session = open(best);
    let (_, frame) = picture(&session, FIRST).await;
    assert!(matches!(frame.pixels, Pixels::I444(_)), "full colour comes with the best quality");
    shows_the_test_picture(&frame, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_can_be_followed_by_the_right_one() {
    let mut host = Host::listen(&["--password", "beacon"]);
    let session = open(target(&host, Some("lantern")));
    state(&session, |s| *s == SessionState::AwaitingPassword { wrong: true }).await;
    let code = within("an answer", session.second_factor(Secret::new("1"))).await;
    assert!(matches!(code, Err(RemoteError::Invalid(_))), "nobody asked for a code: {code:?}");
    within("an answer", session.password(Secret::new("beacon"))).await.unwrap();
    ready(&session).await;
    let again = within("an answer", session.password(Secret::new("beacon"))).await;
    assert!(matches!(again, Err(RemoteError::Invalid(_))));
    let logins = host.events().into_iter().filter(|e| e["event"] == "login_request").count();
    assert_eq!(logins, 2);
    assert_eq!(host.events().iter().filter(|e| e["event"] == "connected").count(), 1, "on one connection");
    host.event("the login", LIMIT, |e| e["event"] == "authorised");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_at_the_host_lets_us_in_or_does_not() {
    let host = Host::listen(&["--password", "beacon", "--approve", "click", "--approve-after", "0.3"]);
    let session = open(target(&host, None));
    state(&session, |s| *s == SessionState::AwaitingApproval).await;
    ready(&session).await;

    let host = Host::listen(&["--approve", "click", "--approve-after", "0.3", "--decision", "refuse"]);
    let session = open(target(&host, None));
    let end = state(&session, |s| matches!(s, SessionState::Closed(_))).await;
    assert_eq!(end, SessionState::Closed(RemoteError::Refused("Closed manually by the peer".into())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_password_one_can_be_given_later() {
    let host = Host::listen(&["--password", "beacon"]);
    let session = open(target(&host, None));
    state(&session, |s| *s == SessionState::AwaitingApproval).await;
    within("an answer", session.password(Secret::new("beacon"))).await.unwrap();
    ready(&session).await;
}

/// The six digits of this moment, by the independent peer's own arithmetic.
fn totp(secret: &str) -> String {
    let program = "import sys, time; sys.path.insert(0, sys.argv[1]); import base64, host\n\
                   print(host.totp(base64.b32decode(sys.argv[2]), time.time()))";
    let pyref = deskhand_tests::root().join("pyref");
    let output = std::process::Command::new(deskhand_tests::python())
        .args(["-B", "-c", program])
        .arg(pyref)
        .arg(secret)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_factor_is_asked_for_and_can_be_corrected() {
    const SECRET: &str = "JBSWY3DPEHPK3PXP";
    let host = Host::listen(&["--password", "beacon", "--totp", SECRET]);
    let session = open(target(&host, Some("beacon")));
    state(&session, |s| *s == SessionState::Awaiting2fa { wrong: false }).await;
    within("an answer", session.second_factor(Secret::new("000000"))).await.unwrap();
    state(&session, |s| *s == SessionState::Awaiting2fa { wrong: true }).await;
    within("an answer", session.second_factor(Secret::new(totp(SECRET)))).await.unwrap();
    ready(&session).await;
}

fn events_of(host: &Host, kind: &str) -> Vec<Value> {
    host.events().into_iter().filter(|e| e["event"] == kind).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_hand_does_arrives_as_it_was_meant() {
    let mut host = Host::listen(&["--password", "beacon"]);
    let session = open(target(&host, Some("beacon")));
    ready(&session).await;
    let inputs = vec![
        Input::Move { display: FIRST, to: Point::new(320, 200) },
        Input::ButtonDown { button: Button::Left, held: vec![Modifier::Shift] },
        Input::Move { display: FIRST, to: Point::new(639, 479) },
        Input::ButtonUp { button: Button::Left },
        Input::Scroll { x: 0, y: 3, held: vec![] },
        Input::Press { key: Key::Character('c'), held: vec![Modifier::Control] },
        Input::Press { key: Key::Named(NamedKey::F(5)), held: vec![] },
        Input::Text("Grüße\n".into()),
    ];
    within("the input", session.input(inputs)).await.unwrap();
    host.event("the last key", LIMIT, |e| e["event"] == "key" && e["control_key"] == "Return");
    let mouse: Vec<_> = events_of(&host, "mouse")
        .iter()
        .map(|e| {
            (
                e["mask"].as_i64().unwrap(),
                e["x"].as_i64().unwrap(),
                e["y"].as_i64().unwrap(),
                e["modifiers"].to_string(),
            )
        })
        .collect();
    let plain = || "[]".to_string();
    let want = [
        (0, 320, 200, plain()),
        (9, 320, 200, "[\"Shift\"]".into()),
        (0, 639, 479, plain()),
        (10, 639, 479, plain()),
        (3, 0, -3, plain()),
    ];
    assert_eq!(mouse, want);
    let keys = events_of(&host, "key");
    assert_eq!((&keys[0]["chr"], &keys[0]["modifiers"][0]), (&Value::from(99), &Value::from("Control")));
    assert_eq!(keys[1]["control_key"], "F5");
    assert_eq!(keys[2]["seq"], "Grüße");
    assert_eq!(keys.len(), 4);
    assert_eq!(session.cursor().position, Some((FIRST, Point::new(639, 479))));

    let outside = vec![
        Input::Press { key: Key::Character('x'), held: vec![] },
        Input::Move { display: FIRST, to: Point::new(640, 0) },
    ];
    assert!(matches!(within("the input", session.input(outside)).await, Err(RemoteError::Invalid(_))));
    within("the input", session.input(vec![Input::Press { key: Key::Character('y'), held: vec![] }]))
        .await
        .unwrap();
    let next =
        host.event("the next key", LIMIT, |e| e["event"] == "key" && e["chr"] != 99 && e["chr"].is_number());
    assert_eq!(next["chr"], u32::from('y'), "nothing of a refused list was sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permission_that_is_off_is_an_error_and_sends_nothing() {
    let mut host = Host::listen(&["--password", "beacon", "--deny", "Keyboard,Audio"]);
    let session = open(target(&host, Some("beacon")));
    ready(&session).await;
    assert!(
        !session.permissions().allows(Permission::Keyboard)
            && !session.permissions().allows(Permission::Audio)
    );
    let press = || vec![Input::Press { key: Key::Character('k'), held: vec![] }];
    let refused = within("the input", session.input(press())).await;
    assert_eq!(refused, Err(RemoteError::PermissionDenied(Permission::Keyboard)));
    host.say("permission Keyboard on");
    deskhand_tests::eventually_async("the permission", LIMIT, || {
        session.permissions().allows(Permission::Keyboard).then_some(())
    })
    .await;
    within("the input", session.input(press())).await.unwrap();
    host.event("the key", LIMIT, |e| e["event"] == "key");
    assert_eq!(events_of(&host, "key").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_display_is_seen_when_asked_for() {
    let host = Host::listen(&["--password", "beacon", "--geometry", "640x480,800x600"]);
    let session = open(target(&host, Some("beacon")));
    let (_, first) = picture(&session, FIRST).await;
    shows_the_test_picture(&first, 0);
    let displays = session.displays();
    assert_eq!(displays.len(), 2);
    assert_eq!((displays[1].origin, displays[1].size), (Point::new(640, 0), Size::new(800, 600)));
    assert!(displays[0].primary && !displays[1].primary);
    assert_eq!(session.latest(DisplayId(1)), None, "only what is asked for is sent");
    let (_, second) = picture(&session, DisplayId(1)).await;
    assert_eq!(second.size, Size::new(800, 600));
    shows_the_test_picture(&second, 2);
    let missing = within("an answer", session.frame(DisplayId(2))).await;
    assert_eq!(missing.unwrap_err(), RemoteError::NoSuchDisplay(DisplayId(2)));
    within("the input", session.input(vec![Input::Move { display: DisplayId(1), to: Point::new(5, 6) }]))
        .await
        .unwrap();
    deskhand_tests::eventually_async("the move", LIMIT, || {
        events_of(&host, "mouse").iter().any(|e| e["x"] == 645 && e["y"] == 6).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resized_display_has_pictures_and_coordinates_of_its_new_size() {
    let mut host = Host::listen(&["--password", "beacon"]);
    let session = open(target(&host, Some("beacon")));
    let (mut info, _) = picture(&session, FIRST).await;
    host.say("resize 800x600");
    while info.size != Size::new(800, 600) {
        info = within("a newer picture", session.newer_than(FIRST, info.sequence)).await.unwrap();
    }
    let (_, frame) = picture(&session, FIRST).await;
    shows_the_test_picture(&frame, 0);
    assert_eq!(session.displays()[0].size, Size::new(800, 600));
    within("the input", session.input(vec![Input::Move { display: FIRST, to: Point::new(799, 599) }]))
        .await
        .unwrap();
    host.event("the move", LIMIT, |e| e["event"] == "mouse" && e["x"] == 799 && e["y"] == 599);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_connection_is_made_again_as_the_same_session() {
    let mut host = Host::listen(&["--password", "beacon"]);
    let session = open(target(&host, Some("beacon")));
    let (before, _) = picture(&session, FIRST).await;
    host.say("drop");
    let lost = state(&session, |s| matches!(s, SessionState::Reconnecting { .. })).await;
    assert!(matches!(lost, SessionState::Reconnecting { attempt: 1, .. }), "{lost:?}");
    ready(&session).await;
    let last = session.latest(FIRST).map_or(before.sequence, |info| info.sequence);
    let after = within("a picture", session.newer_than(FIRST, last)).await.unwrap();
    assert!(after.sequence > before.sequence);
    let ids: Vec<_> = events_of(&host, "login_request").iter().map(|e| e["session_id"].clone()).collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_closes_on_purpose_is_not_called_again() {
    let mut host = Host::listen(&["--password", "beacon"]);
    let session = open(target(&host, Some("beacon")));
    ready(&session).await;
    host.say("close Closed manually by the peer");
    let end = state(&session, |s| *s != SessionState::Ready).await;
    assert_eq!(end, SessionState::Closed(RemoteError::SessionClosed("Closed manually by the peer".into())));
    assert!(matches!(within("an answer", session.frame(FIRST)).await, Err(RemoteError::SessionClosed(_))));
    assert!(matches!(within("an answer", session.input(vec![])).await, Err(RemoteError::SessionClosed(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_says_so_and_dropping_leaves() {
    let mut host = Host::listen(&["--password", "beacon"]);
    let session = open(target(&host, Some("beacon")));
    ready(&session).await;
    within("the end", session.close()).await;
    host.event("the farewell", LIMIT, |e| e["event"] == "close_reason" && e["text"] == "");
    let session = open(target(&host, Some("beacon")));
    ready(&session).await;
    drop(session);
    deskhand_tests::eventually_async("the second farewell", LIMIT, || {
        (events_of(&host, "close_reason").len() == 2).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_screenshot_is_the_hosts_own_picture() {
    let host = Host::listen(&["--password", "beacon"]);
    let session = open(target(&host, Some("beacon")));
    ready(&session).await;
    let png = within("a screenshot", session.lossless(FIRST)).await.unwrap();
    assert_eq!(session_proto::client::png_size(&png, 640 * 480), Ok(Size::new(640, 480)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pointer_has_a_shape_and_follows_the_host() {
    let mut host = Host::listen(&["--password", "beacon"]);
    let session = open(target(&host, Some("beacon")));
    let shape = deskhand_tests::eventually_async("the shape", LIMIT, || session.cursor().shape).await;
    assert_eq!((shape.size, shape.hotspot), (Size::new(16, 16), Point::new(0, 0)));
    assert_eq!(&shape.rgba[..4], [0, 0, 0, 255]);
    host.say("position 40 50");
    deskhand_tests::eventually_async("the position", LIMIT, || {
        (session.cursor().position == Some((FIRST, Point::new(40, 50)))).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_would_not_be_encrypted_is_not_begun() {
    let target = Target { address: "127.0.0.1:9".into(), ..Target::default() };
    let refused = RustDesk::new(Config::default()).open(target).err();
    assert_eq!(refused, Some(RemoteError::NotEncrypted));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_there_is_unreachable() {
    let port = deskhand_tests::net::free_tcp_port(std::net::Ipv4Addr::LOCALHOST);
    let target =
        Target { address: format!("127.0.0.1:{port}"), allow_unencrypted: true, ..Target::default() };
    let session = open(target);
    let end = state(&session, |s| matches!(s, SessionState::Closed(_))).await;
    assert!(matches!(end, SessionState::Closed(RemoteError::Unreachable { .. })), "{end:?}");
}
