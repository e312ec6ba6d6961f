//! One decoder for all codecs: the limit, and starting again after damage.

use crate::headers::{self, Announced};
use crate::{CodecError, Picture, av1::Av1Decoder, h264::H264Decoder, vpx::VpxDecoder};
use remote::{Size, VideoCodec};

/// Decodes one stream of packets: one display, one codec.
///
/// After a packet that can not be decoded or is over the limit everything is refused, at no cost, until a
/// packet comes that a stream can start with. The caller asks the peer for one (session §3.3).
#[derive(Debug)]
pub struct Decoder {
    codec: VideoCodec,
    /// Pixels of the largest picture that is let in.
    limit: u64,
    /// `None` while waiting for a keyframe.
    library: Option<Library>,
}

#[derive(Debug)]
enum Library {
    Vpx(VpxDecoder),
    Av1(Av1Decoder),
    H264(H264Decoder),
}

impl Library {
    fn open(codec: VideoCodec, limit: u64) -> Result<Self, CodecError> {
        Ok(match codec {
            VideoCodec::Vp8 | VideoCodec::Vp9 => Self::Vpx(VpxDecoder::open(codec)?),
            VideoCodec::Av1 => Self::Av1(Av1Decoder::open(limit)?),
            VideoCodec::H264 => Self::H264(H264Decoder::open()?),
            VideoCodec::H265 | VideoCodec::Raw => return Err(CodecError::Unsupported(codec)),
        })
    }

    fn decode(&mut self, packet: &[u8]) -> Result<bool, CodecError> {
        match self {
            Self::Vpx(vpx) => vpx.decode(packet),
            Self::Av1(av1) => av1.decode(packet),
            Self::H264(h264) => h264.decode(packet),
        }
    }

    fn picture(&self) -> Option<Picture<'_>> {
        match self {
            Self::Vpx(vpx) => vpx.picture(),
            Self::Av1(av1) => av1.picture(),
            Self::H264(h264) => h264.picture(),
        }
    }
}

impl Decoder {
    /// Pictures over `limit` pixels are refused before memory is spent on them.
    pub fn new(codec: VideoCodec, limit: u64) -> Result<Self, CodecError> {
        Ok(Self { codec, limit, library: Some(Library::open(codec, limit)?) })
    }

    pub fn codec(&self) -> VideoCodec {
        self.codec
    }

    /// Feeds one packet (session §3.2); `true` if there is a new picture.
    ///
    /// # Errors
    /// [`CodecError::Damaged`] and [`CodecError::TooLarge`]: the stream goes on with the next keyframe.
    pub fn decode(&mut self, packet: &[u8]) -> Result<bool, CodecError> {
        let result = self.try_decode(packet);
        if result.is_err() {
            // What the library remembers is not to be trusted; this also gives its memory back.
            self.library = None;
        }
        result
    }

    /// The newest picture, while it is in the library's memory: libraries use it again for the next packet,
    /// so there is none after a packet that was refused or that shows nothing.
    pub fn picture(&self) -> Option<Picture<'_>> {
        self.library.as_ref()?.picture()
    }

    fn try_decode(&mut self, packet: &[u8]) -> Result<bool, CodecError> {
        let starts = self.admit(packet)?;
        let library = match &mut self.library {
            Some(library) => library,
            None if starts => self.library.insert(Library::open(self.codec, self.limit)?),
            None => return Err(self.damaged("a keyframe is needed first")),
        };
        library.decode(packet)
    }

    /// Whether a stream can start with the packet. Refuses it if a picture in it is over the limit.
    fn admit(&self, packet: &[u8]) -> Result<bool, CodecError> {
        if packet.is_empty() {
            return Err(self.damaged("it is empty"));
        }
        // Libraries count bytes in 32 bits, some of them signed.
        if i32::try_from(packet.len()).is_err() {
            return Err(self.damaged("it is too long"));
        }
        match self.codec {
            VideoCodec::Vp8 => self.within_limit(headers::vp8(packet)),
            VideoCodec::Vp9 => match headers::vp9_superframe(packet).map_err(|r| self.damaged(r))? {
                None => self.within_limit(headers::vp9(packet)),
                Some(frames) => {
                    let mut starts = None;
                    for frame in frames {
                        let key = self.within_limit(headers::vp9(frame))?;
                        starts.get_or_insert(key);
                    }
                    Ok(starts.unwrap_or(false))
                }
            },
            // The library itself compares the size with the limit, before it allocates.
            VideoCodec::Av1 => Ok(self.library.is_some() || headers::av1_has_sequence_header(packet)),
            _ => self.within_limit(headers::h264(packet)),
        }
    }

    fn within_limit(&self, announced: Result<Announced, headers::Refusal>) -> Result<bool, CodecError> {
        let Announced { key, size } = announced.map_err(|reason| self.damaged(reason))?;
        check(size.unwrap_or_default(), self.limit)?;
        Ok(key)
    }

    fn damaged(&self, reason: &str) -> CodecError {
        CodecError::Damaged { codec: self.codec, reason: reason.to_owned() }
    }
}

/// Refuses a size over the limit.
fn check(size: Size, limit: u64) -> Result<(), CodecError> {
    if size.area() > limit { Err(CodecError::TooLarge(size)) } else { Ok(()) }
}
