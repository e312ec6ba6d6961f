//! One encoder for all codecs that the host offers.

use crate::h264_encoder::H264Encoder;
use crate::picture::Chroma;
use crate::vpx_encoder::VpxEncoder;
use crate::{CodecError, encoders};
use bytes::Bytes;
use remote::{Size, VideoCodec};

/// The rate of a pass of [`Encoder::sharpen`], as a factor of the normal one: such a pass is to end, so that
/// its length counts and not its rate.
pub(crate) const SHARPENING_RATE: u32 = 40;

/// What an encoder is made for.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderConfig {
    pub codec: VideoCodec,
    /// VP8 up to 16383 a side. H.264 even sides from 16 on, up to 3840×2160 either way up.
    pub size: Size,
    /// Pictures a second that the rate control reckons with, 1 to 120.
    pub fps: u32,
    pub kbit_per_second: u32,
}

/// One encoded packet (session §3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    pub data: Bytes,
    pub key: bool,
}

/// Encodes pictures of one size for realtime: screen content, constant rate, no delay, and a keyframe only
/// as the first packet and when one is asked for (session §3.3). H.264 makes one too where four fifths of the
/// screen are new, where it costs no more than the difference would.
#[derive(Debug)]
pub struct Encoder {
    config: EncoderConfig,
    library: Library,
    last_pts_ms: Option<i64>,
}

#[derive(Debug)]
enum Library {
    Vpx(VpxEncoder),
    H264(Box<H264Encoder>),
}

impl Encoder {
    pub fn new(config: &EncoderConfig) -> Result<Self, CodecError> {
        if !encoders().contains(&config.codec) {
            return Err(CodecError::Unsupported(config.codec));
        }
        if config.size.is_empty() {
            return Err(CodecError::Setup {
                codec: config.codec,
                reason: format!("a picture of {} is empty", config.size),
            });
        }
        let config = EncoderConfig { fps: config.fps.clamp(1, 120), ..config.clone() };
        let library = match config.codec {
            VideoCodec::H264 => Library::H264(Box::new(H264Encoder::open(&config)?)),
            _ => Library::Vpx(VpxEncoder::open(&config)?),
        };
        Ok(Self { config, library, last_pts_ms: None })
    }

    /// What it was made for, with the rate as last set.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// Encodes a picture given as I420 planes (Y, U, V: samples and bytes from one row to the next), BT.601,
    /// limited range. The rate control may drop it (no packet). `pts_ms` grows from call to call; where it
    /// does not, the picture counts as one millisecond after the one before.
    pub fn encode(
        &mut self,
        planes: [(&[u8], usize); 3],
        pts_ms: i64,
        force_key: bool,
    ) -> Result<Vec<Packet>, CodecError> {
        self.check(&planes)?;
        let pts_ms = self.later(pts_ms);
        match &mut self.library {
            Library::Vpx(vpx) => vpx.encode(&planes, pts_ms, force_key),
            Library::H264(h264) => h264.encode(&planes, pts_ms, force_key),
        }
    }

    /// Encodes the picture that was encoded last once more, so that it loses its blur; the rate control does
    /// not matter to that. It takes about as many bits as the picture itself did, over
    /// [`passes`](Self::passes) calls with the same planes.
    pub fn sharpen(&mut self, planes: [(&[u8], usize); 3], pts_ms: i64) -> Result<Vec<Packet>, CodecError> {
        self.check(&planes)?;
        let pts_ms = self.later(pts_ms);
        match &mut self.library {
            Library::Vpx(vpx) => vpx.sharpen(&planes, pts_ms),
            Library::H264(h264) => h264.sharpen(&planes, pts_ms),
        }
    }

    /// How many passes of [`sharpen`](Self::sharpen) the last picture deserves: none if it is sharp. VP9 takes
    /// on everything at once; the others approach it.
    pub fn passes(&mut self) -> u32 {
        let sharp = match &mut self.library {
            Library::Vpx(vpx) => vpx.is_sharp(),
            Library::H264(_) => false,
        };
        match self.config.codec {
            _ if sharp => 0,
            VideoCodec::Vp9 => 1,
            _ => 4,
        }
    }

    /// Changes the rate from the next picture on, without a keyframe.
    pub fn set_rate(&mut self, kbit_per_second: u32, fps: u32) -> Result<(), CodecError> {
        let fps = fps.clamp(1, 120);
        match &mut self.library {
            Library::Vpx(vpx) => vpx.set_rate(kbit_per_second, fps)?,
            Library::H264(h264) => h264.set_rate(kbit_per_second, fps)?,
        }
        self.config = EncoderConfig { kbit_per_second, fps, ..self.config.clone() };
        Ok(())
    }

    /// The time of a picture: after the one before.
    fn later(&mut self, pts_ms: i64) -> i64 {
        let pts_ms = self.last_pts_ms.map_or(pts_ms, |last| pts_ms.max(last.saturating_add(1)));
        self.last_pts_ms = Some(pts_ms);
        pts_ms
    }

    /// The libraries read what the size says; fewer samples must not get there.
    fn check(&self, planes: &[(&[u8], usize); 3]) -> Result<(), CodecError> {
        for (plane, (samples, stride)) in planes.iter().enumerate() {
            let size = Chroma::I420.plane(self.config.size, plane);
            let (width, height) = (size.width as usize, size.height as usize);
            let needed = (height - 1).checked_mul(*stride).and_then(|rows| rows.checked_add(width));
            let enough = needed.is_some_and(|needed| samples.len() >= needed);
            if *stride < width || i32::try_from(*stride).is_err() || !enough {
                let reason = format!("plane {plane} does not hold {size} samples");
                return Err(CodecError::Encode { codec: self.config.codec, reason });
            }
        }
        Ok(())
    }
}
