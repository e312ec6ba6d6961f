//! Video codecs: VP8, VP9 (libvpx), AV1 (dav1d), H.264 (openh264) to pictures, and the host's encoders.
//!
//! The only crate with video FFI. Decoders keep the newest picture in the codec library's own memory;
//! planes are copied when somebody asks.

use bytes::Bytes;
use remote::{Frame, Size, VideoCodec};

/// Why a codec refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    #[error("{0} is not built in")]
    Unsupported(VideoCodec),
    #[error("{codec} can not be set up: {reason}")]
    Setup { codec: VideoCodec, reason: String },
    #[error("{codec} packet can not be decoded: {reason}")]
    Damaged { codec: VideoCodec, reason: String },
    #[error("picture of {0} is over the limit")]
    TooLarge(Size),
    #[error("{codec} can not encode: {reason}")]
    Encode { codec: VideoCodec, reason: String },
}

/// How much colour a picture has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chroma {
    /// Halved both ways, rounding up.
    I420,
    I444,
}

/// A picture in the decoder's memory.
#[derive(Debug, Clone, Copy)]
pub struct Picture<'a> {
    pub size: Size,
    pub chroma: Chroma,
    /// Y, U, V: samples and bytes from one row to the next.
    pub planes: [(&'a [u8], usize); 3],
}

impl Picture<'_> {
    /// A copy that outlives the decoder's next call.
    pub fn to_frame(&self) -> Frame {
        todo!()
    }
}

/// Decodes one stream of packets.
#[derive(Debug)]
pub struct Decoder {}

impl Decoder {
    /// Pictures over `limit` pixels are refused before memory is spent on them.
    pub fn new(_codec: VideoCodec, _limit: u64) -> Result<Self, CodecError> {
        todo!()
    }

    /// Feeds one packet; `true` if there is a new picture.
    pub fn decode(&mut self, _packet: &[u8]) -> Result<bool, CodecError> {
        todo!()
    }

    /// The newest picture.
    pub fn picture(&self) -> Option<Picture<'_>> {
        todo!()
    }
}

/// What an encoder is made for.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderConfig {
    pub codec: VideoCodec,
    pub size: Size,
    /// Pictures a second that the rate control reckons with.
    pub fps: u32,
    pub kbit_per_second: u32,
}

/// One encoded packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    pub data: Bytes,
    pub key: bool,
}

/// Encodes pictures of one size for realtime.
#[derive(Debug)]
pub struct Encoder {}

impl Encoder {
    pub fn new(_config: &EncoderConfig) -> Result<Self, CodecError> {
        todo!()
    }

    /// Encodes a picture given as I420 planes; the rate control may drop it (no packet).
    pub fn encode(
        &mut self,
        _planes: [(&[u8], usize); 3],
        _pts_ms: i64,
        _force_key: bool,
    ) -> Result<Vec<Packet>, CodecError> {
        todo!()
    }

    pub fn set_rate(&mut self, _kbit_per_second: u32, _fps: u32) -> Result<(), CodecError> {
        todo!()
    }
}
