//! Video of a real X server, decoded and looked at.

use crate::screen::{PATIENCE, Witness, display, eventually};
use codec::Decoder;
use host::screen::VirtualDisplay;
use host::video::{Decoding, VideoConfig, VideoHandle, VideoService, Viewer, ViewerEvent};
use remote::{Pixels, Point, Size, VideoCodec};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use x11rb::protocol::xproto::Rectangle;

const SIZE: Size = Size::new(1280, 800);
const ALL: Decoding = Decoding { vp8: true, vp9: true, av1: true, h264: true, prefer: None };
const RED: u32 = 0x00ff_0000;
const BLUE: u32 = 0x0000_00ff;
/// Y, U, V of them: BT.601, limited range.
const RED_YUV: [u8; 3] = [81, 90, 240];
const BLUE_YUV: [u8; 3] = [41, 240, 110];

/// A display with a window to paint on, and its video. Dropped in this order.
struct Bench {
    video: VideoHandle,
    witness: Witness,
    display: VirtualDisplay,
}

impl Bench {
    fn new(config: VideoConfig) -> Self {
        let display = display(SIZE);
        let witness = Witness::new(&display);
        let video = VideoService::spawn(display.screen().unwrap(), config).unwrap();
        Self { video, witness, display }
    }

    /// Does not sharpen what it sent, so that every frame is a change.
    fn plain() -> Self {
        Self::new(VideoConfig { refine: false, ..VideoConfig::default() })
    }

    fn watch(&self, id: u64, decoding: Decoding, room: usize) -> Eye {
        let (events, receiver) = mpsc::channel(room);
        let viewer = viewer(decoding, events);
        self.video.set_viewer(id, viewer.clone());
        Eye { id, viewer: Some(viewer), receiver, decoder: None }
    }

    fn paint(&self, colour: u32) {
        self.witness.fill(Rectangle { x: 0, y: 0, width: 1280, height: 800 }, colour);
    }
}

fn viewer(decoding: Decoding, events: mpsc::Sender<ViewerEvent>) -> Viewer {
    Viewer {
        displays: vec![0],
        decoding,
        fps: 30,
        ratio: 0.67,
        want_cursor: false,
        want_pointer: false,
        events,
    }
}

/// Somebody who watches and decodes.
struct Eye {
    id: u64,
    viewer: Option<Viewer>,
    receiver: mpsc::Receiver<ViewerEvent>,
    decoder: Option<(VideoCodec, Decoder)>,
}

#[derive(Debug, PartialEq)]
struct Seen {
    codec: VideoCodec,
    key: bool,
    size: Size,
    /// Y, U, V in the middle.
    middle: [u8; 3],
}

impl Eye {
    fn event(&mut self, what: &str) -> ViewerEvent {
        eventually(what, || self.receiver.try_recv().ok())
    }

    fn frame(&mut self, what: &str) -> Seen {
        loop {
            if let ViewerEvent::Frame { codec, key, packets, .. } = self.event(what) {
                return self.decode(codec, key, &packets);
            }
        }
    }

    fn decode(&mut self, codec: VideoCodec, key: bool, packets: &[bytes::Bytes]) -> Seen {
        if self.decoder.as_ref().is_none_or(|(known, _)| *known != codec) {
            self.decoder = Some((codec, Decoder::new(codec, 1 << 26).unwrap()));
        }
        let (_, decoder) = self.decoder.as_mut().unwrap();
        for packet in packets {
            assert!(decoder.decode(packet).unwrap(), "every packet is a picture");
        }
        let frame = decoder.picture().unwrap().to_frame();
        let Pixels::I420(planes) = &frame.pixels else { panic!("not I420") };
        let (x, y) = (frame.size.width as usize / 2, frame.size.height as usize / 2);
        let middle = [(0, x, y), (1, x / 2, y / 2), (2, x / 2, y / 2)]
            .map(|(plane, x, y)| planes[plane].data[y * planes[plane].stride + x]);
        Seen { codec, key, size: frame.size, middle }
    }

    /// Looks on until the middle has the colour.
    fn until(&mut self, colour: [u8; 3]) -> Seen {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = self.frame("the colour");
            if near(seen.middle, colour) {
                return seen;
            }
            assert!(Instant::now() < deadline, "{seen:?}");
        }
    }

    /// Counts the frames of a while.
    fn frames_within(&mut self, time: Duration) -> Vec<Seen> {
        let deadline = Instant::now() + time;
        let mut frames = Vec::new();
        while Instant::now() < deadline {
            match self.receiver.try_recv() {
                Ok(ViewerEvent::Frame { codec, key, packets, .. }) => {
                    frames.push(self.decode(codec, key, &packets));
                }
                _ => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        frames
    }

    fn change(&mut self, bench: &Bench, change: impl FnOnce(&mut Viewer)) {
        let viewer = self.viewer.as_mut().unwrap();
        change(viewer);
        bench.video.set_viewer(self.id, viewer.clone());
    }
}

fn near(a: [u8; 3], b: [u8; 3]) -> bool {
    a.iter().zip(b).all(|(a, b)| a.abs_diff(b) <= 3)
}

#[test]
fn the_first_picture_is_a_keyframe_and_changes_follow() {
    let bench = Bench::plain();
    bench.paint(RED);
    let mut eye = bench.watch(1, ALL, 8);
    let first = eye.frame("the first picture");
    assert_eq!((first.codec, first.key, first.size), (VideoCodec::Vp9, true, SIZE));
    if !near(first.middle, RED_YUV) {
        eye.until(RED_YUV);
    }
    bench.paint(BLUE);
    let next = eye.until(BLUE_YUV);
    assert!(!next.key);
}

#[test]
fn a_screen_at_rest_sends_nothing() {
    let bench = Bench::plain();
    let mut eye = bench.watch(1, ALL, 8);
    eye.frame("the first picture");
    // The first grab may overlap with the drawing of the window.
    eye.frames_within(Duration::from_millis(300));
    assert_eq!(eye.frames_within(Duration::from_millis(500)), []);
}

#[test]
fn keyframes_come_when_asked_for_and_with_new_subscriptions() {
    let bench = Bench::plain();
    let mut eye = bench.watch(1, ALL, 8);
    assert!(eye.frame("the first picture").key);
    eye.frames_within(Duration::from_millis(200));
    for display in [None, Some(0)] {
        bench.video.refresh(display);
        assert!(eye.frame("a refreshed picture").key);
    }
    let mut other = bench.watch(2, ALL, 8);
    assert!(other.frame("the other's first").key);
    assert!(eye.frame("the same for the first viewer").key);
    // Unsubscribed and subscribed again.
    other.change(&bench, |viewer| viewer.displays.clear());
    other.change(&bench, |viewer| viewer.displays = vec![0]);
    assert!(other.frame("the subscription").key);
    bench.video.refresh(Some(7));
    eye.frames_within(Duration::from_millis(200));
    assert_eq!(eye.frames_within(Duration::from_millis(200)), []);
}

#[test]
fn the_codec_follows_what_all_can_decode() {
    let bench = Bench::plain();
    let mut eye = bench.watch(1, Decoding { prefer: Some(VideoCodec::Vp8), ..ALL }, 8);
    assert_eq!(eye.frame("vp8").codec, VideoCodec::Vp8);
    eye.change(&bench, |viewer| viewer.decoding.prefer = Some(VideoCodec::H264));
    bench.paint(RED);
    let seen = eventually("h264", || Some(eye.frame("h264")).filter(|seen| seen.codec == VideoCodec::H264));
    assert!(seen.key);
    let mut poor = bench.watch(2, Decoding { vp9: true, ..Decoding::default() }, 8);
    assert_eq!(poor.frame("vp9").codec, VideoCodec::Vp9);
    let seen = eventually("vp9", || Some(eye.frame("vp9")).filter(|seen| seen.codec == VideoCodec::Vp9));
    assert!(seen.key);
    bench.video.remove_viewer(2);
    bench.paint(BLUE);
    let seen = eye.until(BLUE_YUV);
    assert_eq!(seen.codec, VideoCodec::H264);
}

#[test]
fn a_viewer_that_stops_reading_holds_up_others_three_seconds_at_most() {
    let bench = Bench::plain();
    let mut slow = bench.watch(1, ALL, 1);
    let mut quick = bench.watch(2, ALL, 8);
    quick.frame("the first picture");
    quick.frames_within(Duration::from_millis(300));
    bench.paint(RED);
    let start = Instant::now();
    quick.until(RED_YUV);
    let held = start.elapsed();
    assert!(held < Duration::from_secs(6), "{held:?}");
    bench.paint(BLUE);
    let start = Instant::now();
    quick.until(BLUE_YUV);
    assert!(start.elapsed() < Duration::from_secs(2), "it is left out from now on");
    // Reading again, it gets its old picture, and then a keyframe.
    slow.frame("the old picture");
    let fresh = slow.until(BLUE_YUV);
    assert!(fresh.key);
}

#[test]
fn a_new_size_is_told_before_its_first_picture() {
    let bench = Bench::plain();
    let mut eye = bench.watch(1, ALL, 8);
    eye.frame("the first picture");
    let small = Size::new(1024, 768);
    bench.video.set_size(0, small);
    let monitors = loop {
        match eye.event("monitors") {
            ViewerEvent::Monitors(monitors) => break monitors,
            ViewerEvent::Frame { codec, key, packets, .. } => {
                assert_eq!(eye.decode(codec, key, &packets).size, SIZE);
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(monitors[0].size, small);
    assert_eq!(bench.video.monitors(), monitors);
    let seen = eye.frame("the new size");
    assert_eq!((seen.size, seen.key), (small, true));
}

#[test]
fn a_screenshot_is_the_screen_without_loss() {
    let bench = Bench::plain();
    bench.paint(0x0012_3456);
    let picture = eventually("the colour", || {
        let mut answer = bench.video.screenshot(0);
        let png = eventually("a screenshot", || answer.try_recv().ok()).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (1280, 800));
        (pixels[..3] == [0x12, 0x34, 0x56]).then_some(pixels)
    });
    assert!(picture.chunks(3).all(|pixel| pixel == [0x12, 0x34, 0x56]));
    let mut none = bench.video.screenshot(3);
    let refused = eventually("an answer", || none.try_recv().ok());
    assert_eq!(refused, Err("no monitor 3".to_owned()));
}

#[test]
fn pointer_and_cursor_come_to_those_who_want_them() {
    let bench = Bench::plain();
    let mut eye = bench.watch(1, ALL, 64);
    let mut keen = bench.watch(2, ALL, 64);
    keen.change(&bench, |viewer| {
        viewer.want_cursor = true;
        viewer.want_pointer = true;
    });
    let mut injector = bench.display.screen().unwrap().open_injector().unwrap();
    injector.move_to(Point::new(77, 88)).unwrap();
    let (mut cursor, mut pointer) = (false, false);
    while !(cursor && pointer) {
        match keen.event("cursor and pointer") {
            ViewerEvent::Cursor { shape, .. } => cursor = !shape.size.is_empty(),
            ViewerEvent::Pointer(place) => pointer |= place == Point::new(77, 88),
            _ => {}
        }
    }
    while let Ok(event) = eye.receiver.try_recv() {
        assert!(matches!(event, ViewerEvent::Frame { .. }), "{event:?}");
    }
}

#[test]
fn viewers_hear_that_the_screen_is_gone() {
    let Bench { video, witness, display } = Bench::plain();
    let (events, receiver) = mpsc::channel(8);
    video.set_viewer(1, viewer(ALL, events));
    let mut eye = Eye { id: 1, viewer: None, receiver, decoder: None };
    eye.frame("the first picture");
    drop(display);
    eventually("the end", || match eye.receiver.try_recv() {
        Ok(ViewerEvent::Gone(reason)) => Some(reason),
        _ => None,
    });
    // One who comes later hears it as well.
    let (events, receiver) = mpsc::channel(8);
    let mut late = Eye { id: 2, viewer: None, receiver, decoder: None };
    eventually("the end for the late", || {
        video.set_viewer(2, viewer(ALL, events.clone()));
        late.receiver.try_recv().ok().filter(|event| matches!(event, ViewerEvent::Gone(_)))
    });
    drop(witness);
}

#[test]
fn every_new_viewer_of_a_still_screen_gets_a_keyframe() {
    let bench = Bench::plain();
    for id in 1..8 {
        let mut eye = bench.watch(id, ALL, 8);
        assert!(eye.frame("the first picture").key);
        bench.video.remove_viewer(id);
    }
}

#[test]
fn the_test_card_is_video_too() {
    use host::screen::{Screen, TestCard, test_card};
    let screen = std::sync::Arc::new(TestCard::default());
    let config = VideoConfig { refine: false, ..VideoConfig::default() };
    let video = VideoService::spawn(screen.clone(), config).unwrap();
    let (events, receiver) = mpsc::channel(8);
    video.set_viewer(1, viewer(ALL, events));
    let mut eye = Eye { id: 1, viewer: None, receiver, decoder: None };
    let first = eye.frame("the first picture");
    assert_eq!((first.key, first.size), (true, test_card::DEFAULT_SIZE));
    // The crosshair is in the middle at first.
    let mut injector = screen.open_injector().unwrap();
    injector.move_to(Point::new(1200, 780)).unwrap();
    let moved = eye.frame("the crosshair's going");
    assert!(!moved.key);
    assert_ne!(moved.middle, first.middle);
}

/// Luma of the picture that a viewer has, and how far it is from the screen on average.
fn error_of(eye: &Eye, luma: &[u8]) -> f64 {
    let (_, decoder) = eye.decoder.as_ref().unwrap();
    let frame = decoder.picture().unwrap().to_frame();
    let Pixels::I420(planes) = &frame.pixels else { panic!("not I420") };
    let mut sum = 0;
    for (y, row) in luma.chunks(SIZE.width as usize).enumerate() {
        let seen = planes[0].row(y, SIZE.width as usize);
        sum += row.iter().zip(seen).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>();
    }
    sum as f64 / luma.len() as f64
}

/// Puts something like a page of small print on the screen in one go; gives the luma that shows it.
fn print(bench: &Bench) -> Vec<u8> {
    let mut state = 12345u32;
    let mut random = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % below
    };
    let dots: Vec<Rectangle> = (0..30_000)
        .map(|_| Rectangle {
            x: random(1278) as i16,
            y: random(796) as i16,
            width: 1 + random(2) as u16,
            height: 1 + random(4) as u16,
        })
        .collect();
    bench.paint(0x00ff_ffff);
    bench.witness.fill_all(&dots, 0);
    let mut answer = bench.video.screenshot(0);
    let png = eventually("a screenshot", || answer.try_recv().ok()).unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    // Black and white are 16 and 235.
    pixels.chunks(3).map(|pixel| if pixel[0] == 0 { 16 } else { 235 }).collect()
}

/// How far each picture is from the print, until there are no more.
fn errors_until_rest(eye: &mut Eye, luma: &[u8]) -> Vec<f64> {
    let mut errors = Vec::new();
    let mut last = Instant::now();
    while last.elapsed() < Duration::from_secs(1) {
        match eye.receiver.try_recv() {
            Ok(ViewerEvent::Frame { codec, key, packets, .. }) => {
                eye.decode(codec, key, &packets);
                errors.push(error_of(eye, luma));
                last = Instant::now();
            }
            _ => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    println!("mean error of the luma, picture by picture: {errors:?}");
    errors
}

#[test]
fn a_screen_that_came_to_rest_is_made_sharp_in_one_picture() {
    let bench = Bench::new(VideoConfig::default());
    let mut eye = bench.watch(1, ALL, 64);
    eye.frame("the first picture");
    let luma = print(&bench);
    let errors = errors_until_rest(&mut eye, &luma);
    // The screenshot, and a grab in the middle of the drawing, make the encoder begin again.
    let shown = errors.iter().position(|error| *error < 20.0).expect("the print is shown");
    let (sharp, blurred) = (errors[errors.len() - 1], &errors[shown..errors.len() - 1]);
    assert!((1..=3).contains(&blurred.len()), "{errors:?}");
    assert!(blurred.iter().all(|error| sharp < error / 2.5), "what is left is not seen: {errors:?}");
}

#[test]
fn every_codec_gets_sharper_at_rest_and_then_stops() {
    for codec in [VideoCodec::Vp8, VideoCodec::H264] {
        let bench = Bench::new(VideoConfig::default());
        let mut eye = bench.watch(1, Decoding { prefer: Some(codec), ..ALL }, 64);
        eye.frame("the first picture");
        let luma = print(&bench);
        let errors = errors_until_rest(&mut eye, &luma);
        let shown = errors.iter().copied().find(|error| *error < 20.0).expect("the print is shown");
        assert!(errors[errors.len() - 1] <= shown, "{codec} {errors:?}");
        assert!(errors.len() < 12, "{codec} {errors:?}");
    }
}

#[test]
fn a_codec_that_is_wished_for_on_a_still_screen_comes_at_once() {
    let bench = Bench::plain();
    let mut eye = bench.watch(1, ALL, 8);
    assert_eq!(eye.frame("the first picture").codec, VideoCodec::Vp9);
    eye.frames_within(Duration::from_millis(300));
    for codec in [VideoCodec::Vp8, VideoCodec::H264, VideoCodec::Vp9] {
        eye.change(&bench, |viewer| viewer.decoding.prefer = Some(codec));
        let seen = eye.frame("the wished codec");
        assert_eq!((seen.codec, seen.key), (codec, true));
    }
    assert_eq!(eye.frames_within(Duration::from_millis(300)), [], "one picture each");
}

#[test]
fn watching_a_screen_at_rest_costs_next_to_nothing() {
    let bench = Bench::new(VideoConfig::default());
    let mut eye = bench.watch(1, ALL, 8);
    eye.frame("the first picture");
    eye.frames_within(Duration::from_secs(1));
    let before = cpu_of_video();
    assert_eq!(eye.frames_within(Duration::from_secs(2)), []);
    let after = cpu_of_video();
    // Other tests of this process have such threads too; ours is at rest, so it is the one that spent least.
    let spent = before.iter().filter_map(|(id, then)| Some(*after.get(id)? - *then)).min().expect("a thread");
    println!("processor time of two seconds at rest: {spent:?}");
    // Two thousandths of a core: the budget of a whole session at rest.
    assert!(spent <= Duration::from_millis(4), "{spent:?}");
}

/// What the threads named "video" of this process have spent.
fn cpu_of_video() -> BTreeMap<OsString, Duration> {
    let of = |task: std::fs::DirEntry| {
        let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
        let spent = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        let nanos = spent.split(' ').next()?.parse().ok()?;
        (name.trim() == "video").then_some((task.file_name(), Duration::from_nanos(nanos)))
    };
    std::fs::read_dir("/proc/self/task").unwrap().filter_map(|task| of(task.ok()?)).collect()
}
