//! From captured pictures to encoded packets for every viewer.
//!
//! One thread waits for the screen to change, reads and converts what changed, encodes once per display and
//! hands the packets to every viewer's channel. Nothing happens while nothing changes: no capture, no
//! encoding, no timer. What differs from a stock host (session §3):
//!
//! - The first picture after a subscription, and the first change after rest, go out at once.
//! - A picture that the encoder's rate control dropped is encoded again, so that the last state of the screen
//!   always arrives; and when the screen has come to rest after a large change, its last picture is sent once
//!   more without the blur of a moving one. Stock leaves a blurred last picture as it is.
//! - The automatic codec is VP9, whatever the memory: the other encoders here are software too, and worse.

mod choice;
mod picture;
mod rate;
mod service;
mod stream;
mod viewers;

use crate::screen::{Monitor, Screen, ScreenError};
use bytes::Bytes;
use remote::{CursorShape, Point, Size, VideoCodec};
use std::sync::mpsc as commands;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

pub use rate::bitrate;

/// How the service works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoConfig {
    /// Lowers and raises the bit rate with the delay that viewers report (session §3.6).
    pub adapt_rate: bool,
    /// Sharpens the last picture of a burst.
    pub refine: bool,
    /// Keeps an encoder ready while nobody watches, so that the first picture comes in a few milliseconds, for
    /// some tens of megabytes.
    pub keep_encoders: bool,
}

impl Default for VideoConfig {
    fn default() -> Self {
        Self { adapt_rate: true, refine: true, keep_encoders: true }
    }
}

/// Codecs that this host can encode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Encoding {
    pub vp8: bool,
    pub vp9: bool,
    pub av1: bool,
    pub h264: bool,
}

/// Codecs that a viewer can decode, and the one it would like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Decoding {
    pub vp8: bool,
    pub vp9: bool,
    pub av1: bool,
    pub h264: bool,
    pub prefer: Option<VideoCodec>,
}

/// What a viewer wants to see, and where to.
#[derive(Debug, Clone)]
pub struct Viewer {
    /// Places in the list of monitors; those that do not exist give nothing.
    pub displays: Vec<usize>,
    pub decoding: Decoding,
    /// Pictures a second at most, 1 to 120.
    pub fps: u32,
    /// Quality, as a factor of the bit rate (session §3.4).
    pub ratio: f32,
    pub want_cursor: bool,
    pub want_pointer: bool,
    /// Full means that the viewer is behind: its displays wait for it, three seconds at most.
    pub events: mpsc::Sender<ViewerEvent>,
}

/// What a viewer gets.
#[derive(Debug, Clone)]
pub enum ViewerEvent {
    /// Packets of one picture, in decoding order; `pts_ms` counts from the start of the service.
    Frame { display: usize, codec: VideoCodec, key: bool, pts_ms: i64, packets: Vec<Bytes> },
    /// The monitors changed. Comes before the first frame of the new ones.
    Monitors(Vec<Monitor>),
    /// The pointer has this shape from now on.
    Cursor { id: u64, shape: Arc<CursorShape> },
    /// The pointer is here, in the virtual desktop.
    Pointer(Point),
    /// Other codecs than before can be encoded.
    Encoding(Encoding),
    /// The screen is gone for good, and why.
    Gone(String),
}

enum Command {
    SetViewer(u64, Viewer),
    RemoveViewer(u64),
    Refresh(Option<usize>),
    Screenshot(usize, oneshot::Sender<Result<Bytes, String>>),
    Delay(u64, Duration),
    SetSize(usize, Size),
}

/// What the handle can be asked without waiting for the thread.
#[derive(Debug, Default)]
struct Shared {
    monitors: Vec<Monitor>,
    encoding: Encoding,
    kbit_per_second: u32,
    /// Why the screen is gone.
    gone: Option<String>,
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    // Plain values: whole after a panic elsewhere.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the thread behind a [`VideoHandle`].
#[derive(Debug)]
pub struct VideoService;

impl VideoService {
    /// Opens the screen and starts. Without viewers it costs next to nothing.
    pub fn spawn(screen: Arc<dyn Screen>, config: VideoConfig) -> Result<VideoHandle, ScreenError> {
        let capture = screen.open_capture()?;
        let waker = capture.waker();
        let (sender, receiver) = commands::channel();
        let shared = Arc::new(Mutex::new(Shared::default()));
        let service = service::Service::new(screen, capture, config, receiver, Arc::clone(&shared))?;
        let thread = std::thread::Builder::new()
            .name("video".to_owned())
            .spawn(move || service.run())
            .map_err(|error| ScreenError::Gone(format!("no thread for video: {error}")))?;
        Ok(VideoHandle { commands: Some(sender), waker, shared, thread: Some(thread) })
    }
}

/// The running service; dropping it ends the thread.
#[derive(Debug)]
pub struct VideoHandle {
    commands: Option<commands::Sender<Command>>,
    waker: Waker,
    shared: Arc<Mutex<Shared>>,
    thread: Option<JoinHandle<()>>,
}

impl VideoHandle {
    /// The monitors as last seen.
    pub fn monitors(&self) -> Vec<Monitor> {
        lock(&self.shared).monitors.clone()
    }

    /// Codecs that can be encoded; one that failed is not among them any more.
    pub fn encoding(&self) -> Encoding {
        lock(&self.shared).encoding
    }

    /// What the encoder aimed at for the latest picture, in kbit/s; 0 before the first (session §3.6,
    /// `target_bitrate`).
    pub fn target_bitrate(&self) -> u32 {
        lock(&self.shared).kbit_per_second
    }

    /// Adds a viewer or changes what it wants. A display that it did not have before gives a keyframe.
    pub fn set_viewer(&self, id: u64, viewer: Viewer) {
        self.send(Command::SetViewer(id, viewer));
    }

    pub fn remove_viewer(&self, id: u64) {
        self.send(Command::RemoveViewer(id));
    }

    /// A keyframe of one display, or of all, for all who watch it.
    pub fn refresh(&self, display: Option<usize>) {
        self.send(Command::Refresh(display));
    }

    /// The monitor now, without loss, as PNG. An error is a sentence for the viewer.
    pub fn screenshot(&self, monitor: usize) -> oneshot::Receiver<Result<Bytes, String>> {
        let (sender, receiver) = oneshot::channel();
        self.send(Command::Screenshot(monitor, sender));
        receiver
    }

    /// How much longer than at its best a viewer's round trip took (session §3.6).
    pub fn report_delay(&self, id: u64, delay: Duration) {
        self.send(Command::Delay(id, delay));
    }

    /// Switches a monitor to another of its modes; viewers are told if that works, and nothing happens if not.
    pub fn set_size(&self, monitor: usize, size: Size) {
        self.send(Command::SetSize(monitor, size));
    }

    fn send(&self, command: Command) {
        let Some(commands) = &self.commands else { return };
        let events = match &command {
            Command::SetViewer(_, viewer) => Some(viewer.events.clone()),
            _ => None,
        };
        if commands.send(command).is_ok() {
            self.waker.wake_by_ref();
        }
        // Who comes late hears of it too, however narrowly the thread missed it.
        if let Some(events) = events
            && let Some(reason) = lock(&self.shared).gone.clone()
        {
            events.try_send(ViewerEvent::Gone(reason)).ok();
        }
    }
}

impl Drop for VideoHandle {
    fn drop(&mut self) {
        self.commands = None;
        self.waker.wake_by_ref();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the video thread panicked");
        }
    }
}
