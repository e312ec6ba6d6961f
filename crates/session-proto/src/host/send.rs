//! What goes to the client by the driver's commands: pictures, pointer, screenshots, chat.

use super::Host;
use bytes::Bytes;
use hbb_common::session::{
    ChatMessage, CursorData, CursorPosition, EncodedVideoFrame, EncodedVideoFrames, ScreenshotResponse,
    VideoFrame, message, misc, video_frame,
};
use remote::{CursorShape, Point, VideoCodec};
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// A client that acknowledges pictures is waited for this long (session §3.6).
const ACK_TIMEOUT: Duration = Duration::from_secs(3);

/// A pointer that the client itself has just moved is not reported back to it.
const OWN_MOVE: Duration = Duration::from_millis(300);

/// Shapes that a client is trusted to remember; then they are sent anew.
const SHAPES: usize = 1024;

const ZSTD_LEVEL: i32 = 3;

#[derive(Debug, Default)]
pub(super) struct Pictures {
    pub(super) ack_required: bool,
    ack_until: Option<Instant>,
    /// The encoder's target in kbit/s, which probes carry.
    pub(super) bitrate: u32,
    shapes: HashSet<u64>,
    shape: Option<u64>,
    /// When the client last moved the pointer.
    pub(super) own_move: Option<Instant>,
}

impl Pictures {
    pub(super) fn ack_until(&self) -> Option<Instant> {
        self.ack_until
    }

    pub(super) fn acknowledged(&mut self) {
        self.ack_until = None;
    }

    pub(super) fn give_up_ack(&mut self, now: Instant) {
        self.ack_until = self.ack_until.filter(|until| now < *until);
    }
}

/// Coded packets of one display, to be decoded in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodedFrame {
    pub display: usize,
    pub codec: VideoCodec,
    pub key: bool,
    /// Milliseconds since the capture began.
    pub pts_ms: i64,
    pub packets: Vec<Bytes>,
}

impl Host {
    /// Whether the client is ready for another picture. Only one that acknowledges pictures ever is not;
    /// ask again after each packet and each timeout.
    pub fn wants_frame(&self) -> bool {
        self.pictures.ack_until.is_none()
    }

    /// Sends a picture. Dropped if the client has unsubscribed, or has just subscribed and this is not
    /// yet the keyframe that starts it.
    pub fn send_frame(&mut self, frame: CodedFrame, now: Instant) {
        let subscriptions = &mut self.subscriptions;
        if !subscriptions.has(frame.display) {
            return;
        }
        if frame.key {
            subscriptions.before_key.remove(&frame.display);
        } else if subscriptions.before_key.contains(&frame.display) {
            return;
        }
        let CodedFrame { display, codec, key, pts_ms, packets } = frame;
        let frames = packets.into_iter().map(|data| EncodedVideoFrame { data, key, pts: pts_ms }).collect();
        let frames = EncodedVideoFrames { frames };
        let union = match codec {
            VideoCodec::Vp8 => video_frame::Union::Vp8s(frames),
            VideoCodec::Vp9 => video_frame::Union::Vp9s(frames),
            VideoCodec::Av1 => video_frame::Union::Av1s(frames),
            VideoCodec::H264 => video_frame::Union::H264s(frames),
            VideoCodec::H265 => video_frame::Union::H265s(frames),
            VideoCodec::Raw => return,
        };
        if self.pictures.ack_required {
            self.pictures.ack_until = Some(now + ACK_TIMEOUT);
        }
        self.send(message::Union::VideoFrame(VideoFrame { display: display as i32, union: Some(union) }));
    }

    /// The encoder's target in kbit/s, for the next probes.
    pub fn set_bitrate(&mut self, kbit: u32) {
        self.pictures.bitrate = kbit;
    }

    /// The pointer looks like this now. The shape itself is sent once, later only its number.
    pub fn send_cursor(&mut self, id: u64, shape: &CursorShape) {
        if !self.is_live() || self.pictures.shape == Some(id) {
            return;
        }
        if self.pictures.shapes.contains(&id) {
            self.pictures.shape = Some(id);
            return self.send(message::Union::CursorId(id));
        }
        let Ok(colors) = zstd::bulk::compress(&shape.rgba, ZSTD_LEVEL) else { return };
        if self.pictures.shapes.len() == SHAPES {
            self.pictures.shapes.clear();
        }
        self.pictures.shapes.insert(id);
        self.pictures.shape = Some(id);
        self.send(message::Union::CursorData(CursorData {
            id,
            hotx: shape.hotspot.x,
            hoty: shape.hotspot.y,
            width: shape.size.width as i32,
            height: shape.size.height as i32,
            colors: colors.into(),
        }));
    }

    /// The pointer is here now. Passed on only to a client that asked for it, and not while it moves the
    /// pointer itself (session §3.8).
    pub fn send_pointer(&mut self, at: Point, now: Instant) {
        let own = self.pictures.own_move.is_some_and(|moved| now < moved + OWN_MOVE);
        if !self.is_live() || !self.options.show_pointer || own {
            return;
        }
        self.send(message::Union::CursorPosition(CursorPosition { x: at.x, y: at.y }));
        if self.options.follow_pointer && self.subscriptions.displays().len() <= 1 {
            self.follow(at);
        }
    }

    /// Names the display that the pointer went to, once (session §3.11).
    fn follow(&mut self, at: Point) {
        let inside = |d: &super::HostDisplay| {
            d.size.contains(Point::new(at.x.saturating_sub(d.origin.x), at.y.saturating_sub(d.origin.y)))
        };
        let Some(display) = self.context.announce.displays.iter().position(inside) else { return };
        let told = self.subscriptions.followed.replace(display);
        if display != self.subscriptions.current && told != Some(display) {
            self.send_misc(misc::Union::FollowCurrentDisplay(display as i32));
        }
    }

    /// A PNG of a display, or why there is none; answers the newest request for that display.
    pub fn send_screenshot(&mut self, display: usize, png: Result<Bytes, String>) {
        let Some(sid) = self.subscriptions.screenshots.remove(&display) else { return };
        let (data, msg) = match png {
            Ok(png) => (png, String::new()),
            Err(text) => (Bytes::new(), text),
        };
        self.send(message::Union::ScreenshotResponse(ScreenshotResponse { sid, msg, data }));
    }

    pub fn send_chat(&mut self, text: &str) {
        if self.is_live() {
            self.send_misc(misc::Union::ChatMessage(ChatMessage { text: text.into() }));
        }
    }
}
