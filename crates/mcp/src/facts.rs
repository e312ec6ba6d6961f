//! Shapes that several results share.

use crate::outcome::{Failure, mime_type};
use remote::{Point, Rect, Size};
use schemars::JsonSchema;
use serde::Serialize;
use sessions::Screenshot;

/// Text from a peer is cut to this many characters, and its control characters are left out: it is
/// shown to people and models.
const LONGEST_PEER_TEXT: usize = 200;

pub(crate) fn peer_text(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST_PEER_TEXT).collect()
}

pub(crate) fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub(crate) struct Extent {
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl From<Size> for Extent {
    fn from(size: Size) -> Self {
        Self { width: size.width, height: size.height }
    }
}

#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub(crate) struct Position {
    pub(crate) x: i32,
    pub(crate) y: i32,
}

impl From<Point> for Position {
    fn from(point: Point) -> Self {
        Self { x: point.x, y: point.y }
    }
}

#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub(crate) struct Rectangle {
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl From<Rect> for Rectangle {
    fn from(rect: Rect) -> Self {
        Self { x: rect.x, y: rect.y, width: rect.width, height: rect.height }
    }
}

/// What stands beside a picture, or in its place where nothing changed.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct PictureFacts {
    /// Whether a picture comes with this; false when it would be the same as the last one.
    pub(crate) included: bool,
    pub(crate) display: u32,
    /// Number of the picture within the session.
    pub(crate) frame: u64,
    /// The earlier picture that this one equals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unchanged_since_frame: Option<u64>,
    /// Milliseconds since the peer sent it. A screen at rest sends nothing.
    pub(crate) age_ms: u64,
    pub(crate) codec: String,
    /// Pixels of the display.
    pub(crate) native: Extent,
    /// Pixels of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<Extent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mime_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<usize>,
    /// Positions for this display go from 0,0 to below this.
    pub(crate) coordinates: Extent,
    /// Native pixels for one of those positions.
    pub(crate) scale: f64,
    /// The part shown, in those positions; absent for the whole display.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<Rectangle>,
    /// The pointer, in the call's coordinate space.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cursor: Option<Position>,
}

impl PictureFacts {
    pub(crate) fn of(shot: &Screenshot) -> Self {
        let picture = shot.picture.as_ref();
        Self {
            included: picture.is_some(),
            display: shot.display.0,
            frame: shot.frame,
            unchanged_since_frame: shot.same_as,
            age_ms: milliseconds(shot.age),
            codec: shot.codec.name().to_owned(),
            native: shot.native.into(),
            size: picture.map(|picture| picture.size.into()),
            mime_type: picture.map(|picture| mime_type(picture.format)),
            bytes: picture.map(|picture| picture.data.len()),
            coordinates: shot.space.into(),
            scale: scale(shot.native, shot.space),
            region: shot.region.map(Rectangle::from),
            cursor: shot.cursor.map(Position::from),
        }
    }
}

/// To three digits: a model needs no more, and a text no less.
fn scale(native: Size, space: Size) -> f64 {
    (f64::from(native.width) / f64::from(space.width.max(1)) * 1000.0).round() / 1000.0
}

/// Why a result has no picture although one was asked for.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct PictureMissing {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) try_next: String,
}

impl From<sessions::SessionsError> for PictureMissing {
    fn from(error: sessions::SessionsError) -> Self {
        let Failure { code, message, try_next, .. } = error.into();
        Self { code, message, try_next }
    }
}
