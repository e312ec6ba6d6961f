//! One display: its encoder and when the next picture is due.

use super::rate::bitrate;
use crate::screen::Grab;
use bytes::Bytes;
use codec::{CodecError, Encoder, EncoderConfig, I420Buffer, bgrx_to_i420};
use remote::{Rect, Size, VideoCodec};
use std::time::{Duration, Instant};

/// A viewer that asks for keyframes all the time gets them no more often.
const KEY_INTERVAL: Duration = Duration::from_millis(20);
/// A screen that has not changed for so long is at rest.
const RESTS_AFTER: Duration = Duration::from_millis(100);
/// Changes of a smaller part of the screen (a blinking caret, a clock) are sharp as they are.
const WORTH_REFINING: u64 = 50;
/// Between two passes, where the codec needs several: quick, so that who waits for the screen to settle does
/// not wait for this.
const PASS_INTERVAL: Duration = Duration::from_millis(40);

/// What all viewers of the display want together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Wish {
    pub(super) codec: VideoCodec,
    pub(super) fps: u32,
    pub(super) ratio: f32,
}

/// Why the next picture is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// The screen changed or somebody needs a keyframe: capture first.
    Fresh,
    /// The same picture again: it was dropped by the rate control, or it is to be sharpened.
    Again,
}

/// A coded picture.
#[derive(Debug)]
pub(super) struct Coded {
    pub(super) key: bool,
    pub(super) packets: Vec<Bytes>,
}

#[derive(Debug)]
pub(super) struct Stream {
    encoder: Option<Encoder>,
    planes: I420Buffer,
    dirty: bool,
    key: bool,
    /// The last picture never left the encoder.
    dropped: bool,
    /// How much changed since the last sharp picture, in pixels.
    changed: u64,
    /// The sharpening of a picture at rest, while there is something left to do.
    refining: Option<Refining>,
    started: Option<Instant>,
    last_key: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Refining {
    at: Instant,
    /// Passes.
    left: u32,
}

impl Stream {
    /// A stream whose first picture is a keyframe.
    pub(super) fn new() -> Self {
        Self {
            encoder: None,
            planes: I420Buffer::new(),
            dirty: true,
            key: true,
            dropped: false,
            changed: 0,
            refining: None,
            started: None,
            last_key: None,
        }
    }

    pub(super) fn damaged(&mut self, area: Rect) {
        self.dirty = true;
        self.changed = self.changed.saturating_add(area.size().area());
        self.refining = None;
    }

    pub(super) fn want_key(&mut self) {
        self.refining = None;
        self.key = true;
        self.dirty = true;
    }

    /// When the next picture is due, and what for. Another codec than before begins at once, with a keyframe,
    /// also on a screen at rest (session §3.3).
    pub(super) fn due(&self, wish: &Wish, now: Instant) -> Option<(Instant, Due)> {
        let paced = || self.started.map_or(now, |at| at + Duration::from_secs(1) / wish.fps.max(1));
        let other_codec = self.encoder.as_ref().is_some_and(|encoder| encoder.config().codec != wish.codec);
        if self.key || other_codec {
            return Some((self.last_key.map_or(now, |at| at + KEY_INTERVAL), Due::Fresh));
        }
        if self.dirty {
            return Some((paced(), Due::Fresh));
        }
        if self.dropped {
            return Some((paced(), Due::Again));
        }
        self.refining.map(|refining| (refining.at.max(paced()), Due::Again))
    }

    /// Takes over a captured picture for [`encode`](Self::encode).
    pub(super) fn capture(&mut self, grab: &Grab<'_>) -> Result<(), String> {
        self.dirty = false;
        self.dropped = false;
        bgrx_to_i420(grab.bgrx, grab.stride, grab.size, &mut self.planes).map_err(|error| error.to_string())
    }

    /// Encodes the picture captured last. `None`: the rate control dropped it, and it is due again.
    pub(super) fn encode(
        &mut self,
        size: Size,
        wish: Wish,
        pts_ms: i64,
        refine: bool,
    ) -> Result<Option<Coded>, CodecError> {
        let now = Instant::now();
        self.started = Some(now);
        self.prepare(size, wish)?;
        let refining = self.refining.take();
        let Some(encoder) = &mut self.encoder else { return Ok(None) };
        let packets = match refining {
            Some(_) => encoder.sharpen(self.planes.planes(), pts_ms)?,
            None => encoder.encode(self.planes.planes(), pts_ms, self.key)?,
        };
        let key = packets.iter().any(|packet| packet.key);
        if key {
            self.key = false;
            self.last_key = Some(now);
            self.changed = size.area();
        }
        self.dropped = packets.is_empty() && refining.is_none();
        if let Some(Refining { left, .. }) = refining {
            self.refine(now + PASS_INTERVAL, left - 1);
        } else if refine && !self.dropped && self.changed >= size.area() / WORTH_REFINING {
            let passes = encoder.passes();
            self.refine(now + RESTS_AFTER, passes);
        }
        let packets: Vec<Bytes> = packets.into_iter().map(|packet| packet.data).collect();
        Ok((!packets.is_empty()).then_some(Coded { key, packets }))
    }

    fn refine(&mut self, at: Instant, left: u32) {
        if left == 0 {
            self.changed = 0;
        } else {
            self.refining = Some(Refining { at, left });
        }
    }

    /// An encoder for this size and codec, at this rate. A new one begins with a keyframe.
    fn prepare(&mut self, size: Size, wish: Wish) -> Result<(), CodecError> {
        let rate = bitrate(size, wish.ratio);
        let config = EncoderConfig { codec: wish.codec, size, fps: wish.fps, kbit_per_second: rate };
        match &mut self.encoder {
            Some(encoder) if encoder.config().codec == wish.codec && encoder.config().size == size => {
                if *encoder.config() != config {
                    encoder.set_rate(rate, wish.fps)?;
                }
            }
            _ => {
                self.encoder = None;
                self.encoder = Some(Encoder::new(&config)?);
                self.key = true;
                self.refining = None;
            }
        }
        Ok(())
    }
}
