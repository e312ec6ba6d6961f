//! Video codecs: VP8, VP9 (libvpx), AV1 (dav1d), H.264 (openh264) to pictures, and the host's encoders.
//!
//! The only crate with video FFI. Decoders keep the newest picture in the codec library's own memory;
//! planes are copied when somebody asks. Packets come from the peer, so a [`Decoder`] reads how large their
//! pictures are before a library allocates anything, and starts afresh after damage.

mod av1;
mod bare;
mod decoder;
mod encoder;
mod h264;
mod h264_encoder;
mod headers;
mod picture;
mod raw_picture;
mod vpx;
mod vpx_encoder;

pub use bare::BareDecoder;
pub use decoder::Decoder;
pub use encoder::{Encoder, EncoderConfig, Packet};
pub use picture::{Chroma, I420Buffer, Picture, TooFewPixels, bgrx_to_i420};

use remote::{Size, VideoCodec};

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

/// What [`Decoder::new`] takes, the cheapest to decode for its quality first.
pub fn decoders() -> &'static [VideoCodec] {
    &[VideoCodec::Vp9, VideoCodec::Av1, VideoCodec::Vp8, VideoCodec::H264]
}

/// What [`Encoder::new`] takes, best first.
pub fn encoders() -> &'static [VideoCodec] {
    &[VideoCodec::Vp9, VideoCodec::Vp8, VideoCodec::H264]
}
