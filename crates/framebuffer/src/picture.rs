//! Wishes for pictures, and what answers them.

use bytes::Bytes;
use remote::{CursorShape, Point, Rect, Size};
use std::sync::Arc;

/// How large a picture may be. The longest side and the area are in pixels, the bytes are those of the
/// base64 text, which is what clients count. No side is ever over 2000 pixels.
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

impl Budget {
    /// Bytes of the largest file that is small enough as base64 text.
    pub(crate) fn file_bytes(&self) -> usize {
        self.base64_bytes / 4 * 3
    }
}

/// Which encoding is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// PNG if it fits the budget, else JPEG of quality 85 down to 70, then smaller.
    #[default]
    Auto,
    /// PNG, smaller until it fits.
    Png,
    /// JPEG of quality 85 down to 70, then smaller.
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
    /// Draw the pointer with its hot spot there. The shape's alpha is straight: whoever made the shape
    /// undid what X11 multiplied (session §3.8).
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
