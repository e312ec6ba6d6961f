//! A screen that can be seen and acted on.

use crate::{BoxFuture, Frame, Input, Point, Rect, RemoteError, Size, VideoCodec, VideoFeed};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The number of a display: its place in the peer's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DisplayId(pub u32);

impl std::fmt::Display for DisplayId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// One display of the peer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Display {
    pub id: DisplayId,
    pub name: String,
    /// Top left in the peer's virtual desktop.
    pub origin: Point,
    /// Pixels of its pictures.
    pub size: Size,
    /// Physical pixels to logical ones; 1.0 for none.
    pub scale: f64,
    pub primary: bool,
}

/// What is known of the newest picture of a display without looking at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameInfo {
    /// Counts the pictures of this display in this session, from 1; never goes back.
    pub sequence: u64,
    pub size: Size,
    pub codec: VideoCodec,
    /// When it arrived.
    pub at: Instant,
}

/// The pointer's shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorShape {
    pub size: Size,
    pub hotspot: Point,
    /// Red, green, blue, alpha; four bytes a pixel, rows from the top.
    pub rgba: Bytes,
}

/// The pointer as last reported by the peer or moved by us.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    /// On which display and where on it; `None` until known.
    pub position: Option<(DisplayId, Point)>,
    pub shape: Option<Arc<CursorShape>>,
}

/// How quickly the peer answered a question that it answers at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    pub took: Duration,
    /// The quickest answer on this connection, this one included: what the network alone costs.
    pub quickest: Duration,
}

impl Answer {
    /// How busy the peer, or the way there, made it.
    pub fn late(&self) -> Duration {
        self.took.saturating_sub(self.quickest)
    }
}

/// A screen. Methods that wait are cancel safe: dropping the future changes nothing.
pub trait Desktop: Send + Sync {
    /// The peer's displays now; empty where it has none.
    fn displays(&self) -> Vec<Display>;

    /// The newest picture's facts, `None` before the first.
    fn latest(&self, display: DisplayId) -> Option<FrameInfo>;

    /// Waits for a picture with a sequence number over `sequence`. Ends with
    /// [`RemoteError::SessionClosed`] when there can be none any more.
    fn newer_than(&self, display: DisplayId, sequence: u64) -> BoxFuture<'_, Result<FrameInfo, RemoteError>>;

    /// The newest picture and its facts. Costs a copy of the planes at most; no colour is converted.
    fn frame(&self, display: DisplayId) -> BoxFuture<'_, Result<(FrameInfo, Frame), RemoteError>>;

    /// A picture made by the peer without loss, where it can; [`RemoteError::UnsupportedByPeer`] otherwise.
    fn lossless(&self, display: DisplayId) -> BoxFuture<'_, Result<Bytes, RemoteError>>;

    /// Asks the peer for a complete new picture.
    fn refresh(&self, display: DisplayId) -> BoxFuture<'_, Result<(), RemoteError>>;

    /// Sends the inputs in order. `Ok` means that they were handed to the network in full; what the peer
    /// makes of them only the screen shows. `Err` says that none was sent, or, with
    /// [`RemoteError::OutcomeUnknown`], that some may have been: they are never sent again.
    fn input(&self, inputs: Vec<Input>) -> BoxFuture<'_, Result<(), RemoteError>>;

    /// Waits until the peer has read all that was sent to it before, and tells how quickly it answered.
    /// `None` where the protocol has no such question.
    fn answer(&self) -> BoxFuture<'_, Result<Option<Answer>, RemoteError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// The pointer.
    fn cursor(&self) -> Cursor;

    /// The display's video as the peer compressed it, from the next keyframe on, which the peer is asked for;
    /// [`RemoteError::UnsupportedByPeer`] where the protocol sends none.
    fn video(&self, _display: DisplayId) -> BoxFuture<'_, Result<Box<dyn VideoFeed>, RemoteError>> {
        Box::pin(std::future::ready(Err(RemoteError::UnsupportedByPeer("compressed video".to_owned()))))
    }

    /// Where on the display pictures changed since they had `sequence`, if the driver knows it; `None`
    /// means "compare the pictures".
    fn damage_since(&self, _display: DisplayId, _sequence: u64) -> Option<Rect> {
        None
    }
}
