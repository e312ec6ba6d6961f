//! The libraries alone, to measure what [`Decoder`](crate::Decoder) adds to them.

use crate::CodecError;
use crate::av1::Av1Decoder;
use crate::h264::H264Decoder;
use crate::vpx::VpxDecoder;
use remote::VideoCodec;

/// A decoder that only calls its library: no header is read, no limit is held, no picture is described. For
/// packets whose maker is trusted with this program's memory.
#[derive(Debug)]
pub struct BareDecoder(Library);

#[derive(Debug)]
enum Library {
    Vpx(VpxDecoder),
    Av1(Av1Decoder),
    H264(H264Decoder),
}

impl BareDecoder {
    pub fn new(codec: VideoCodec) -> Result<Self, CodecError> {
        Ok(Self(match codec {
            VideoCodec::Vp8 | VideoCodec::Vp9 => Library::Vpx(VpxDecoder::open(codec)?),
            VideoCodec::Av1 => Library::Av1(Av1Decoder::open(u64::MAX)?),
            VideoCodec::H264 => Library::H264(H264Decoder::open()?),
            VideoCodec::H265 | VideoCodec::Raw => return Err(CodecError::Unsupported(codec)),
        }))
    }

    /// Decodes a packet and forgets its pictures; says how many there were, none if it is damaged.
    pub fn decode(&mut self, packet: &[u8]) -> usize {
        match &mut self.0 {
            Library::Vpx(vpx) => vpx.decode_bare(packet),
            Library::Av1(av1) => av1.decode_bare(packet),
            Library::H264(h264) => h264.decode_bare(packet),
        }
    }
}
