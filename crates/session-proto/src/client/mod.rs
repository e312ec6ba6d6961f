//! A session as the controlling side sees it.
//!
//! [`Client`] is one connection: handshake, login, then pictures, pointer and input. Its driver owns the
//! stream, hands in unframed packets and the time, and after every call drains
//! [`poll_output`](Client::poll_output) and arms [`poll_timeout`](Client::poll_timeout). A lost connection is
//! followed by a new machine with the same [`Config::session_id`].

pub(crate) mod bounds;
mod cursor;
mod input;
mod keys;
mod login;
mod machine;
mod options;
mod screen;
mod screenshot;

pub use machine::Client;
pub use screenshot::png_size;

use bytes::Bytes;
use hbb_common::key::PublicKey;
use remote::target::Quality;
use remote::{
    Cursor, Display, DisplayId, PeerDetails, Permissions, RemoteError, Secret, SessionState, VideoCodec,
};
use std::time::Duration;

/// What one connection is to be.
#[derive(Debug, Clone)]
pub struct Config {
    /// The host's id without server and suffixes; on direct access what the user typed (session §2.5).
    pub host_id: String,
    pub security: Security,
    /// Who we are, as shown to the person at the host.
    pub my_id: String,
    pub my_name: String,
    /// Not zero; the same for every connection of one session, so that the host knows it again
    /// (session §2.11).
    pub session_id: u64,
    /// `None` or empty: ask the person at the host.
    pub password: Option<Secret>,
    /// What can be decoded here. VP9 is always used as a fallback by hosts.
    pub decoders: Vec<VideoCodec>,
    /// `None`: the host chooses.
    pub prefer: Option<VideoCodec>,
    pub quality: Quality,
    /// Pictures a second, 1 to 120; `None` leaves the host's default.
    pub fps: Option<u32>,
}

/// How the stream is protected.
#[derive(Debug, Clone)]
pub enum Security {
    /// The handshake of rendezvous §6.1; anything but a proof of `key` for `id` ends the connection.
    Sealed {
        /// The id that was dialled.
        id: String,
        /// The host's key, by the word of hbbs or pinned.
        key: PublicKey,
        /// 32 random bytes, fresh for this connection: our ephemeral X25519 secret.
        secret: [u8; 32],
        /// 32 random bytes, fresh for this connection: the key of the stream.
        session_key: [u8; 32],
    },
    /// The host begins a handshake that can not be checked here: it is declined, the stream stays plain.
    Declined,
    /// Direct access by address: no handshake takes place.
    Plain,
}

/// What the driver has to do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send this packet: sealed where the stream is, not framed.
    Send(Bytes),
    /// Send what is queued, then close the stream. Nothing follows.
    Close,
    Event(Event),
}

/// What came about.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The host has proved that it holds the key.
    Verified(PublicKey),
    State(SessionState),
    /// Logged in. `path` and `key` are the driver's to fill in.
    Peer(PeerDetails),
    /// The displays, their places or sizes changed.
    Displays(Vec<Display>),
    Permissions(Permissions),
    Video(VideoPackets),
    Cursor(Cursor),
    /// The host answered the probe with this number, and all that were sent before it.
    RoundTrip {
        probe: u64,
        took: Duration,
    },
    /// The host's answer to the request with this number.
    Screenshot {
        request: u64,
        png: Result<Bytes, RemoteError>,
    },
    /// The host's clipboard changed; the representations as they came.
    Clipboard(Vec<ClipboardItem>),
    Chat(String),
    /// A box that the host would show to a person.
    Message {
        title: String,
        text: String,
    },
    /// The connection is over; [`Output::Close`] follows.
    Ended {
        error: RemoteError,
        /// Whether a new connection may be tried (session §10.6, §10.7).
        retry: bool,
    },
}

/// The packets of one `VideoFrame`, to be decoded in order (session §3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoPackets {
    pub display: DisplayId,
    pub codec: VideoCodec,
    pub packets: Vec<VideoPacket>,
}

impl VideoPackets {
    /// Bytes of encoded video.
    pub fn len(&self) -> usize {
        self.packets.iter().map(|p| p.data.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One packet of a codec; shares the memory of the packet it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoPacket {
    pub data: Bytes,
    pub key: bool,
    /// Milliseconds since the host's capture began; starts again with every encoder.
    pub pts_ms: i64,
}

/// One representation of the host's clipboard (session §5.1), not decompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClipboardItem {
    /// The number of the format.
    pub format: i32,
    pub compressed: bool,
    pub content: Bytes,
}

/// What the host sent that was not used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refused {
    /// Packets that are no message.
    pub undecodable: u64,
    /// Messages larger, or with more parts, than any honest one.
    pub oversized: u64,
    /// Video of displays or codecs that do not exist.
    pub unexpected_video: u64,
    /// Pointer shapes whose size and content do not fit.
    pub bad_cursors: u64,
    /// Clipboards over the limit.
    pub clipboards: u64,
}
