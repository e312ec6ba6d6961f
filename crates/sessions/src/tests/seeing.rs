use super::*;
use crate::testing::plain;
use crate::{Area, Screenshot, ScreenshotRequest, WaitFor, WaitOutcome, WaitRequest};
use remote::{Cursor, CursorShape, DisplayId, Point, Rect, RemoteError};

const FIRST: DisplayId = DisplayId(0);

impl Desk {
    async fn shot(&self, request: &ScreenshotRequest) -> Screenshot {
        self.sessions.screenshot(None, request).await.expect("a picture").1
    }

    async fn wait(&self, request: WaitRequest) -> WaitOutcome {
        self.sessions.wait_for(None, &request).await.expect("an answer").1
    }
}

fn wait(what: WaitFor) -> WaitRequest {
    WaitRequest {
        what,
        display: None,
        space: Space::Picture,
        region: None,
        timeout: Duration::from_secs(10),
        quiet: Duration::from_millis(500),
        picture: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_picture_comes_with_its_facts() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    let red =
        CursorShape { size: Size::new(1, 1), hotspot: Point::new(0, 0), rgba: vec![255, 0, 0, 255].into() };
    desk.peer().set_cursor(Cursor { position: Some((FIRST, Point::new(7, 9))), shape: Some(Arc::new(red)) });
    tokio::time::sleep(Duration::from_millis(250)).await;
    let shot = desk.shot(&ScreenshotRequest::default()).await;
    assert_eq!((shot.native, shot.space), (SCREEN, SCREEN));
    assert_eq!((shot.display, shot.frame, shot.same_as), (FIRST, 1, None));
    assert_eq!(shot.age.as_millis(), 250);
    assert_eq!(shot.cursor, Some(Point::new(7, 9)));
    assert!(!shot.picture.unwrap().data.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_same_screen_is_not_sent_twice_unless_forced() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    let usual = ScreenshotRequest::default();
    assert!(desk.shot(&usual).await.picture.is_some());
    let same = desk.shot(&usual).await;
    assert!(same.picture.is_none());
    assert_eq!(same.same_as, Some(1));
    assert!(desk.shot(&ScreenshotRequest { force: true, ..usual.clone() }).await.picture.is_some());

    desk.peer().show(FIRST, plain(SCREEN, crate::testing::GREY));
    let repainted = desk.shot(&usual).await;
    assert!(repainted.picture.is_none(), "a picture without a difference is no change");
    assert_eq!(repainted.frame, 2);

    desk.peer().paint(FIRST, Rect::new(900, 700, 64, 64), [0, 255, 0]);
    assert!(desk.shot(&usual).await.picture.is_some());
}

#[tokio::test(start_paused = true)]
async fn another_look_is_sent_although_nothing_changed_and_a_region_only_counts_itself() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    let corner = ScreenshotRequest {
        region: Some(Area { x: 0.0, y: 0.0, width: 100.0, height: 100.0 }),
        ..ScreenshotRequest::default()
    };
    desk.shot(&ScreenshotRequest::default()).await;
    let zoomed = desk.shot(&corner).await;
    assert_eq!(zoomed.picture.unwrap().region, Rect::new(0, 0, 100, 100));
    assert_eq!(zoomed.region, Some(Rect::new(0, 0, 100, 100)));
    desk.peer().paint(FIRST, Rect::new(640, 640, 64, 64), [0, 255, 0]);
    assert!(desk.shot(&corner).await.picture.is_none(), "the change is elsewhere");
    assert!(desk.shot(&ScreenshotRequest::default()).await.picture.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_request_can_lower_the_budget_but_not_raise_it() {
    let desk = Desk::new(|_| FakePeer::ready(Size::new(3840, 2160)));
    desk.connect("kiosk").await;
    let side = |side| ScreenshotRequest { longest_side: Some(side), ..ScreenshotRequest::default() };
    assert_eq!(desk.shot(&side(640)).await.space.width, 640);
    assert!(desk.shot(&side(100_000)).await.space.width <= 1568);
    assert_eq!(kind(desk.sessions.screenshot(None, &side(1)).await), "invalid_argument");
}

#[tokio::test(start_paused = true)]
async fn a_configured_budget_never_exceeds_what_clients_bear() {
    let budget = framebuffer::Budget { longest_side: 9000, area: u64::MAX, base64_bytes: usize::MAX };
    let config = SessionsConfig { budget, ..Default::default() };
    let desk = Desk::with(config, |_| FakePeer::ready(Size::new(3840, 1080)));
    desk.connect("kiosk").await;
    assert_eq!(desk.shot(&ScreenshotRequest::default()).await.space.width, crate::config::HARDEST_SIDE);
}

#[tokio::test(start_paused = true)]
async fn displays_are_seen_one_by_one_and_the_last_seen_is_meant() {
    let sizes = [Size::new(800, 600), Size::new(640, 480)];
    let desk = Desk::new(move |_| {
        let peer = FakePeer::ready(sizes[0]);
        peer.set_displays(&sizes);
        peer.show(DisplayId(1), plain(sizes[1], [0, 0, 0]));
        peer
    });
    desk.connect("kiosk").await;
    assert_eq!(desk.shot(&ScreenshotRequest::default()).await.native, sizes[0]);
    let second = ScreenshotRequest { display: Some(DisplayId(1)), ..ScreenshotRequest::default() };
    assert_eq!(desk.shot(&second).await.native, sizes[1]);
    assert_eq!(desk.shot(&ScreenshotRequest::default()).await.display, DisplayId(1));
    let third = ScreenshotRequest { display: Some(DisplayId(2)), ..ScreenshotRequest::default() };
    let error = desk.sessions.screenshot(None, &third).await.unwrap_err();
    assert_eq!(error.kind(), "invalid_argument");
    assert!(error.to_string().contains("0, 1"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_first_picture_is_waited_for_and_its_absence_told() {
    let desk = Desk::new(|_| {
        let peer = FakePeer::in_state(SessionState::Ready);
        peer.set_displays(&[SCREEN]);
        peer
    });
    desk.connect("kiosk").await;
    let request = ScreenshotRequest::default();
    assert_eq!(kind(desk.sessions.screenshot(None, &request).await), "timeout_unknown_outcome");
    let peer = desk.peer();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(2)).await;
        peer.show(FIRST, plain(SCREEN, [1, 1, 1]));
    });
    assert!(desk.shot(&request).await.picture.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_picture_made_by_the_peer_is_fitted_like_any_other() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    let lossless = ScreenshotRequest { lossless: true, ..ScreenshotRequest::default() };
    assert_eq!(kind(desk.sessions.screenshot(None, &lossless).await), "unsupported_by_peer");
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, SCREEN.width, SCREEN.height);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[9, 8, 7].repeat(SCREEN.area() as usize)).unwrap();
    writer.finish().unwrap();
    desk.peer().set_lossless(file.into());
    let small = ScreenshotRequest { longest_side: Some(320), ..lossless };
    let picture = desk.shot(&small).await.picture.unwrap();
    assert_eq!(picture.size, Size::new(320, 200));
}

#[tokio::test(start_paused = true)]
async fn waiting_for_change_ends_with_it_or_with_the_time() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    let outcome = desk.wait(wait(WaitFor::Change)).await;
    assert!(!outcome.met && outcome.changed.is_none());
    assert_eq!(outcome.waited.as_secs(), 10);

    let peer = desk.peer();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(3)).await;
        peer.paint(FIRST, Rect::new(64, 64, 64, 64), [0, 0, 255]);
    });
    let outcome = desk.wait(wait(WaitFor::Change)).await;
    assert!(outcome.met);
    assert_eq!(outcome.waited.as_secs(), 3);
    assert_eq!(outcome.changed, Some(Rect::new(64, 64, 64, 64)));
}

#[tokio::test(start_paused = true)]
async fn a_change_since_the_last_picture_is_not_waited_for_again() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    desk.shot(&ScreenshotRequest::default()).await;
    desk.peer().paint(FIRST, Rect::new(64, 64, 64, 64), [0, 0, 255]);
    let outcome = desk.wait(wait(WaitFor::Change)).await;
    assert!(outcome.met);
    assert_eq!(outcome.waited, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn only_the_region_counts() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    let peer = desk.peer();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        peer.paint(FIRST, Rect::new(640, 640, 64, 64), [0, 0, 255]);
        tokio::time::sleep(Duration::from_secs(1)).await;
        peer.paint(FIRST, Rect::new(0, 0, 64, 64), [0, 0, 255]);
    });
    let region = Some(Area { x: 0.0, y: 0.0, width: 200.0, height: 200.0 });
    let outcome = desk.wait(WaitRequest { region, ..wait(WaitFor::Change) }).await;
    assert!(outcome.met);
    assert_eq!(outcome.waited.as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn stillness_is_waited_for() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let still = desk.wait(wait(WaitFor::Still)).await;
    assert!(still.met);
    assert_eq!(still.waited, Duration::ZERO, "it has been still for a second");

    let peer = desk.peer();
    tokio::spawn(async move {
        for turn in 0..20 {
            peer.paint(FIRST, Rect::new(0, 0, 64, 64), [0, turn % 2 * 200, 0]);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    tokio::task::yield_now().await;
    let picture = Some(ScreenshotRequest::default());
    let still = desk.wait(WaitRequest { picture, ..wait(WaitFor::Still) }).await;
    assert!(still.met);
    assert_eq!(still.waited.as_millis(), 1900 + 500);
    assert!(still.picture.unwrap().picture.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_session_closed_while_waiting_ends_the_wait() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    let peer = desk.peer();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        peer.set_state(SessionState::Closed(RemoteError::SessionClosed("gone".to_owned())));
    });
    assert_eq!(kind(desk.sessions.wait_for(None, &wait(WaitFor::Change)).await), "session_closed");
}
