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
/// The last picture is sharpened in a few passes: the encoder takes on a part of the blocks in each. Few and
/// quick, so that who waits for the screen to settle does not wait for this.
const PASSES: u32 = 4;
const PASS_INTERVAL: Duration = Duration::from_millis(40);
/// The rate of these passes, as a factor of the normal one: what is left to send is little.
const PASS_RATE: u32 = 40;

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
    refining: Option<Refining>,
    started: Option<Instant>,
    last_key: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Refining {
    at: Instant,
    /// Half passes.
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

    /// When the next picture is due, and what for.
    pub(super) fn due(&self, fps: u32, now: Instant) -> Option<(Instant, Due)> {
        let paced = || self.started.map_or(now, |at| at + Duration::from_secs(1) / fps.max(1));
        if self.key {
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
        let refining = self.refining.take();
        let rate = bitrate(size, wish.ratio);
        let rate = if refining.is_some() { rate * PASS_RATE } else { rate };
        self.prepare(size, wish, rate)?;
        let Some(encoder) = &mut self.encoder else { return Ok(None) };
        let packets = encoder.encode(self.planes.planes(), pts_ms, self.key)?;
        // A pass that the rate control drops counts half, so that it ends.
        let cost = if packets.is_empty() { 1 } else { 2 };
        self.refining = refining.and_then(|refining| refining.again(now, cost));
        if packets.is_empty() {
            self.dropped = refining.is_none();
            return Ok(None);
        }
        let key = packets.iter().any(|packet| packet.key);
        if key {
            self.key = false;
            self.last_key = Some(now);
        }
        self.dropped = false;
        let worth = key || self.changed >= size.area() / WORTH_REFINING;
        if refining.is_some() {
            self.changed = 0;
        } else if refine && worth {
            self.refining = Some(Refining { at: now + RESTS_AFTER, left: 2 * PASSES });
        }
        Ok(Some(Coded { key, packets: packets.into_iter().map(|packet| packet.data).collect() }))
    }

    /// An encoder for this size and codec, at this rate. A new one begins with a keyframe.
    fn prepare(&mut self, size: Size, wish: Wish, rate: u32) -> Result<(), CodecError> {
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
            }
        }
        Ok(())
    }
}

impl Refining {
    fn again(self, now: Instant, cost: u32) -> Option<Self> {
        let left = self.left.checked_sub(cost).filter(|left| *left > 0)?;
        Some(Self { at: now + PASS_INTERVAL, left })
    }
}
