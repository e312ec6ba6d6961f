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
