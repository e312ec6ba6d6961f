//! The kept picture of a display: what changed, whether it is still, and PNG or JPEG within a budget.

use bytes::Bytes;
use remote::{CursorShape, Frame, Point, Rect, Size};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What differs between two pictures of one display.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Damage {
    /// The smallest rectangle that holds every changed tile; empty for none.
    pub bounds: Rect,
    /// Changed tiles over all tiles, 0 to 1.
    pub fraction: f64,
}

impl Damage {
    pub fn is_empty(&self) -> bool {
        self.bounds.is_empty()
    }
}

/// Compares two pictures tile by tile; pictures of different sizes differ everywhere. Differences of
/// single samples up to `tolerance` do not count: codecs with loss repaint what did not change.
pub fn compare(_before: &Frame, _after: &Frame, _tolerance: u8) -> Damage {
    todo!()
}

/// How large a picture may be. The longest side and the area are in pixels, the bytes are those of the
/// base64 text, which is what clients count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    pub longest_side: u32,
    pub area: u64,
    pub base64_bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { longest_side: 1568, area: 1_150_000, base64_bytes: 900_000 }
    }
}

/// Which encoding is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// PNG if it fits the budget, else JPEG of quality 85 down to 70, then smaller.
    #[default]
    Auto,
    Png,
    Jpeg,
}

/// What kind of file came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PictureFormat {
    Png,
    Jpeg { quality: u8 },
}

/// A wish for a picture.
#[derive(Debug, Clone, Default)]
pub struct PictureRequest {
    /// Only this part, in pixels of the display; `None` for all.
    pub region: Option<Rect>,
    pub format: Format,
    pub budget: Budget,
    /// Draw the pointer there.
    pub cursor: Option<(Point, Arc<CursorShape>)>,
}

/// A picture file.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedPicture {
    pub data: Bytes,
    pub format: PictureFormat,
    /// Pixels of the file.
    pub size: Size,
    /// What it shows, in pixels of the display.
    pub region: Rect,
}

/// Why there is no picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    #[error("no picture has arrived yet")]
    NoFrame,
    #[error("region {region:?} is not within the display of {display}")]
    OutOfBounds { region: Rect, display: Size },
    #[error("no picture of {0:?} fits the budget")]
    OverBudget(Rect),
    #[error("the picture can not be encoded: {0}")]
    Encoding(String),
}

/// The newest picture of one display and what was learnt from those before it.
#[derive(Debug, Default)]
pub struct Framebuffer {}

impl Framebuffer {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a newer picture; says what changed.
    pub fn update(&mut self, _frame: Frame, _at: Instant) -> Damage {
        todo!()
    }

    pub fn frame(&self) -> Option<&Frame> {
        todo!()
    }

    /// Whether nothing changed for `quiet`.
    pub fn is_settled(&self, _quiet: Duration, _now: Instant) -> bool {
        todo!()
    }

    /// When it will have been quiet for `quiet`, if nothing changes until then; `None` before the first
    /// picture.
    pub fn settles_at(&self, _quiet: Duration) -> Option<Instant> {
        todo!()
    }

    /// A picture file. Rows that did not change since the last one are not compressed again.
    pub fn picture(&mut self, _request: &PictureRequest) -> Result<EncodedPicture, PictureError> {
        todo!()
    }
}
