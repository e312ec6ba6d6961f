//! What a host shows and where input goes: an X11 display, a virtual one, or the built-in test card.
//!
//! Capture and input run on threads of their own, each with its own connection, so that a picture that is
//! being encoded never delays a click.

pub mod test_card;
pub mod virtual_display;
pub mod x11;
pub mod xauthority;

use remote::{Button, CursorShape, Point, Rect, Size};
use std::task::Waker;
use std::time::Duration;

pub use test_card::TestCard;
pub use virtual_display::VirtualDisplay;
pub use x11::X11Screen;

/// Where pictures come from and input goes to.
pub trait Screen: Send + Sync + std::fmt::Debug {
    fn open_capture(&self) -> Result<Box<dyn Capture>, ScreenError>;

    fn open_injector(&self) -> Result<Box<dyn Injector>, ScreenError>;
}

/// One monitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Monitor {
    pub name: String,
    /// Top left in the virtual desktop.
    pub origin: Point,
    pub size: Size,
    pub primary: bool,
    /// Sizes it can be switched to; empty if it can not.
    pub modes: Vec<Size>,
}

impl Monitor {
    /// The monitor's place in the virtual desktop. Monitors never lie left of or above its origin.
    pub fn rect(&self) -> Rect {
        let at = |v: i32| u32::try_from(v).unwrap_or(0);
        Rect::new(at(self.origin.x), at(self.origin.y), self.size.width, self.size.height)
    }
}

/// What happened while waiting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Damage in the virtual desktop since the last wait; empty for none.
    pub damage: Rect,
    /// Monitors came, went or changed: ask again.
    pub monitors: bool,
    /// A new pointer shape, with the display server's number for it.
    pub cursor: Option<(u64, CursorShape)>,
    /// The pointer's new position in the virtual desktop.
    pub pointer: Option<Point>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.damage.is_empty() && !self.monitors && self.cursor.is_none() && self.pointer.is_none()
    }
}

/// Pixels of one monitor: blue, green, red, and one byte that does not count.
#[derive(Debug)]
pub struct Grab<'a> {
    pub bgrx: &'a [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
    pub size: Size,
}

/// Takes pictures. Lives on one thread.
pub trait Capture: Send {
    fn monitors(&mut self) -> Result<Vec<Monitor>, ScreenError>;

    /// Waits until something changes, `timeout` at most.
    ///
    /// Damage inside what was reported already may stay unreported until the next [`grab`](Self::grab).
    fn wait(&mut self, timeout: Duration) -> Result<Changes, ScreenError>;

    /// The picture of a monitor now.
    fn grab(&mut self, monitor: usize) -> Result<Grab<'_>, ScreenError>;

    /// Whether [`wait`](Self::wait) reports the pointer's position. Off at first: no display server tells it
    /// unasked, so it costs a question every 33 ms.
    fn track_pointer(&mut self, _on: bool) {}

    /// Ends the [`wait`](Self::wait) in progress, or the next one, at once. The default can not.
    fn waker(&self) -> Waker {
        Waker::noop().clone()
    }
}

/// A key as RustDesk's key events name it, resolved to what an X server understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HostKey {
    /// A physical position: evdev code + 8, which is an X keycode.
    Position(u8),
    /// A meaning: an X keysym.
    Keysym(u32),
}

/// Gives input to the screen. Lives on one thread.
pub trait Injector: Send {
    /// Moves the pointer to a place of the virtual desktop.
    fn move_to(&mut self, to: Point) -> Result<(), ScreenError>;

    /// Moves the pointer by a distance.
    fn move_by(&mut self, by: Point) -> Result<(), ScreenError>;

    fn button(&mut self, button: Button, down: bool) -> Result<(), ScreenError>;

    /// Wheel notches: `x` positive to the right, `y` positive downwards.
    fn scroll(&mut self, x: i32, y: i32) -> Result<(), ScreenError>;

    fn key(&mut self, key: HostKey, down: bool) -> Result<(), ScreenError>;

    /// Types text whatever the layout.
    fn text(&mut self, text: &str) -> Result<(), ScreenError>;

    /// Lock states as the client has them; `None` leaves one alone.
    fn set_locks(&mut self, caps: Option<bool>, num: Option<bool>) -> Result<(), ScreenError>;

    /// Lets go of every key and button still held.
    fn release_all(&mut self) -> Result<(), ScreenError>;

    /// Switches a monitor to another size of its modes.
    fn set_size(&mut self, monitor: usize, size: Size) -> Result<(), ScreenError>;
}

/// Why the screen can not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScreenError {
    #[error("no X server at display {display}: {reason}")]
    NoDisplay { display: String, reason: String },
    #[error("the X server at {display} lacks the extension {extension}")]
    NoExtension { display: String, extension: &'static str },
    #[error("the X server went away: {0}")]
    Gone(String),
    #[error("the X server refused {request}: {reason}")]
    Refused { request: &'static str, reason: String },
    #[error("no monitor {0}")]
    NoSuchMonitor(usize),
    #[error("no virtual X server can be started: {0}")]
    NoVirtualServer(String),
    #[error("this screen can not do that: {0}")]
    Unsupported(&'static str),
}

impl ScreenError {
    /// A stable word for each.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoDisplay { .. } => "no_display",
            Self::NoExtension { .. } => "no_extension",
            Self::Gone(_) => "gone",
            Self::Refused { .. } => "refused",
            Self::NoSuchMonitor(_) => "no_such_monitor",
            Self::NoVirtualServer(_) => "no_virtual_server",
            Self::Unsupported(_) => "unsupported",
        }
    }
}
