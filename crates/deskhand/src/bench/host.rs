//! The controlled side on an X display of its own: how long input is under way from a client to the window that
//! it is for, and how soon a viewer of the desktop has its first keyframe.

use super::compare::{Bench, Budget, Figure};
use super::{BenchError, Options, Row, median, system};
use crate::commands::host::with_defaults;
use client::{RustDesk, RustDeskSession};
use host::screen::VirtualDisplay;
use host::video::{Decoding, VideoConfig, VideoService, Viewer, ViewerEvent};
use host::{Host, HostConfig, HostHandle};
use remote::{Desktop as _, DisplayId, Input, Key, Point, Secret, Size, Target};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use x11rb::connection::Connection as _;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{ConnectionExt as _, CreateWindowAux, EventMask, InputFocus, WindowClass};
use x11rb::rust_connection::{DefaultStream, RustConnection};

const KEY: &str = "input: key to X event";
const POINTER: &str = "input: pointer to X event";
const SLOW_KEY: &str = "input: key to X event, slowest of a hundred";
const KEYFRAME: &str = "first keyframe, 1280x800";
const COLD_KEYFRAME: &str = "first keyframe, 1280x800, without an encoder kept ready";
#[cfg(test)]
const CASES: [&str; 5] = [KEY, POINTER, SLOW_KEY, KEYFRAME, COLD_KEYFRAME];

const BENCH: Bench = Bench {
    name: "host",
    budgets: &[Budget::at_most(KEY, 5.0), Budget::at_most(POINTER, 5.0), Budget::at_most(KEYFRAME, 20.0)],
};

const SIZE: Size = Size::new(1280, 800);

/// Nothing here takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two viewers: keyframes in quick succession are put off by the host.
const REST: Duration = Duration::from_millis(100);

/// Inputs of each kind in a run.
const INPUTS: usize = 100;

/// Runs the cases and gives one row for each figure.
pub(crate) fn run(options: &Options, emit: &mut dyn FnMut(Row)) -> Result<(), BenchError> {
    let wanted = |case: &str| options.wants(BENCH.name, case);
    let mut rows = |figure: &Figure| BENCH.rows(figure, [(BENCH.name, figure.value)], emit);
    if [KEY, POINTER, SLOW_KEY].into_iter().any(wanted) {
        let runtime = Runtime::new().map_err(system("starting a runtime"))?;
        let site = Site::start(&runtime)?;
        for figure in site.inputs(&runtime, options.runs.max(1))? {
            rows(&figure);
        }
        runtime.block_on(site.host.shutdown());
    }
    for (case, keep_encoders) in [(KEYFRAME, true), (COLD_KEYFRAME, false)] {
        if wanted(case) {
            let times = first_keyframes(keep_encoders, 4 * options.runs.max(1))?;
            rows(&Figure::less(case, "ms", median(times)));
        }
    }
    Ok(())
}

fn failed(error: impl std::fmt::Display) -> BenchError {
    BenchError::Failed(error.to_string())
}

/// A host of a virtual display, a client that watches it, and the window that gets the input.
struct Site {
    // In the order in which they must go: the display last.
    events: Receiver<(Arrived, Instant)>,
    session: RustDeskSession,
    host: HostHandle,
    _state: tempfile::TempDir,
    _display: VirtualDisplay,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrived {
    Key,
    Pointer,
}

impl Site {
    fn start(runtime: &Runtime) -> Result<Self, BenchError> {
        let display = VirtualDisplay::start(SIZE).map_err(failed)?;
        let events = watch_window(&display)?;
        let state = tempfile::tempdir().map_err(system("a folder for the host"))?;
        let password = hbb_common::password::readable(&rand::random::<[u8; 12]>());
        let (host, session) = runtime.block_on(async {
            let config = with_defaults(display.screen().map_err(failed)?);
            let host = Host::spawn(HostConfig {
                state_dir: state.path().to_owned(),
                password: Some(Secret::new(&*password)),
                direct: Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)),
                ..config
            })
            .map_err(failed)?;
            let target = Target {
                address: host.direct_addr().ok_or(BenchError::NoServer)?.to_string(),
                password: Some(Secret::new(&*password)),
                allow_unencrypted: true,
                ..Target::default()
            };
            let session = RustDesk::new(client::Config::default()).open_session(target).map_err(failed)?;
            let first = tokio::time::timeout(PATIENCE, session.frame(DisplayId(0)));
            first.await.map_err(failed)?.map_err(failed)?;
            Ok::<_, BenchError>((host, session))
        })?;
        Ok(Self { events, session, host, _state: state, _display: display })
    }

    /// Keys and pointer moves one at a time, with pauses that let everything come to rest.
    fn inputs(&self, runtime: &Runtime, runs: usize) -> Result<Vec<Figure>, BenchError> {
        let (mut keys, mut moves) = (Vec::new(), Vec::new());
        for nth in 0..INPUTS * runs {
            let to = Point::new(100 + (nth % 500) as i32, 100 + (nth % 300) as i32);
            let pointer = Input::Move { display: DisplayId(0), to };
            moves.push(self.one(runtime, pointer, Arrived::Pointer)?);
            let key = Input::Press { key: Key::Character('a'), held: Vec::new() };
            keys.push(self.one(runtime, key, Arrived::Key)?);
        }
        keys.sort_by(f64::total_cmp);
        let slowest = keys.get(keys.len() * 99 / 100).copied().unwrap_or_default();
        Ok(vec![
            Figure::less(KEY, "ms", median(keys)),
            Figure::less(POINTER, "ms", median(moves)),
            Figure::less(SLOW_KEY, "ms", slowest),
        ])
    }

    /// Milliseconds from handing an input to the client until its event is at the window.
    fn one(&self, runtime: &Runtime, input: Input, kind: Arrived) -> Result<f64, BenchError> {
        while self.events.try_recv().is_ok() {}
        let start = Instant::now();
        runtime.block_on(self.session.input(vec![input])).map_err(failed)?;
        loop {
            let (arrived, at) = self.events.recv_timeout(PATIENCE).map_err(failed)?;
            if arrived == kind {
                return Ok(at.saturating_duration_since(start).as_secs_f64() * 1e3);
            }
        }
    }
}

/// A window over the whole display, and a thread that tells when input is there. It ends with the display.
fn watch_window(display: &VirtualDisplay) -> Result<Receiver<(Arrived, Instant)>, BenchError> {
    let connection = connect(display)?;
    let screen = connection.setup().roots.first().ok_or(BenchError::NoServer)?;
    let (root, width, height) = (screen.root, screen.width_in_pixels, screen.height_in_pixels);
    let window = connection.generate_id().map_err(failed)?;
    let wanted = EventMask::KEY_PRESS | EventMask::POINTER_MOTION | EventMask::EXPOSURE;
    let look = CreateWindowAux::new().background_pixel(0x0020_4060).event_mask(wanted).override_redirect(1);
    let class = WindowClass::INPUT_OUTPUT;
    connection.create_window(0, window, root, 0, 0, width, height, 0, class, 0, &look).map_err(failed)?;
    connection.map_window(window).map_err(failed)?;
    connection.flush().map_err(failed)?;
    while !matches!(connection.wait_for_event().map_err(failed)?, Event::Expose(_)) {}
    let focused =
        connection.set_input_focus(InputFocus::NONE, window, x11rb::CURRENT_TIME).map_err(failed)?;
    focused.check().map_err(failed)?;
    let (sender, receiver) = channel();
    std::thread::Builder::new()
        .name("window".to_owned())
        .spawn(move || tell(&connection, &sender))
        .map_err(system("a thread for the window"))?;
    Ok(receiver)
}

fn tell(connection: &RustConnection, to: &Sender<(Arrived, Instant)>) {
    while let Ok(event) = connection.wait_for_event() {
        let arrived = match event {
            Event::KeyPress(_) => Arrived::Key,
            Event::MotionNotify(_) => Arrived::Pointer,
            _ => continue,
        };
        if to.send((arrived, Instant::now())).is_err() {
            return;
        }
    }
}

fn connect(display: &VirtualDisplay) -> Result<RustConnection, BenchError> {
    use x11rb::reexports::x11rb_protocol::parse_display::parse_display;
    let file = std::fs::read(display.xauthority()).map_err(system("reading the display's cookie"))?;
    // The cookie's sixteen bytes end the file's one entry.
    let cookie = file.last_chunk::<16>().ok_or(BenchError::NoServer)?.to_vec();
    let parsed = parse_display(Some(display.display())).map_err(failed)?;
    let mut addresses = parsed.connect_instruction();
    let (stream, _) =
        addresses.find_map(|address| DefaultStream::connect(&address).ok()).ok_or(BenchError::NoServer)?;
    let name = b"MIT-MAGIC-COOKIE-1".to_vec();
    RustConnection::connect_to_stream_with_auth_info(stream, 0, name, cookie).map_err(failed)
}

/// Milliseconds from a viewer's coming until its keyframe is there for the network, of a desktop that was not
/// watched.
fn first_keyframes(keep_encoders: bool, count: usize) -> Result<Vec<f64>, BenchError> {
    let display = VirtualDisplay::start(SIZE).map_err(failed)?;
    let _window = watch_window(&display)?;
    let config = VideoConfig { keep_encoders, refine: false, ..VideoConfig::default() };
    let video = VideoService::spawn(display.screen().map_err(failed)?, config).map_err(failed)?;
    let mut times = Vec::new();
    for id in 0..count as u64 {
        let (events, mut pictures) = tokio::sync::mpsc::channel(8);
        let start = Instant::now();
        video.set_viewer(
            id,
            Viewer {
                displays: vec![0],
                decoding: Decoding { vp9: true, ..Decoding::default() },
                fps: 30,
                ratio: 0.67,
                want_cursor: false,
                want_pointer: false,
                events,
            },
        );
        loop {
            match pictures.blocking_recv() {
                Some(ViewerEvent::Frame { key: true, .. }) => break,
                Some(ViewerEvent::Gone(reason)) => return Err(BenchError::Failed(reason)),
                Some(_) => {}
                None => return Err(BenchError::NoServer),
            }
        }
        times.push(start.elapsed().as_secs_f64() * 1e3);
        video.remove_viewer(id);
        std::thread::sleep(REST);
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_budget_is_that_of_a_case() {
        for budget in BENCH.budgets {
            assert!(CASES.contains(&budget.case), "{budget:?}");
        }
    }
}
