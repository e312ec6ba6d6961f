//! H.264 by openh264: encoding.

#![expect(unsafe_code, reason = "sets options of openh264")]

use crate::encoder::SHARPENING_RATE;
use crate::{CodecError, EncoderConfig, Packet};
use bytes::Bytes;
use openh264::encoder::{
    BitRate, Complexity, Encoder, EncoderConfig as Settings, FrameRate, FrameType, Profile, RateControlMode,
    UsageType,
};
use openh264::formats::YUVSource;
use openh264::{OpenH264API, Timestamp};
use openh264_sys2::{
    ENCODER_OPTION, ENCODER_OPTION_BITRATE, ENCODER_OPTION_FRAME_RATE, ENCODER_OPTION_MAX_BITRATE,
    ENCODER_OPTION_RC_FRAME_SKIP, ENCODER_OPTION_TRACE_LEVEL, SBitrateInfo, SPATIAL_LAYER_0,
    SPATIAL_LAYER_ALL, WELS_LOG_QUIET,
};
use remote::{Size, VideoCodec};
use std::ffi::c_int;
use std::ptr::from_mut;

/// The highest rate that the library takes for any level.
const MOST_KBIT_PER_SECOND: u32 = 240_000;

/// Encodes H.264 in Annex B form, parameter sets before each keyframe.
pub(crate) struct H264Encoder {
    library: Encoder,
    config: EncoderConfig,
    /// The library is set up with its first picture; until then it takes no rates.
    started: bool,
}

impl H264Encoder {
    pub(crate) fn open(wanted: &EncoderConfig) -> Result<Self, CodecError> {
        let Size { width, height } = wanted.size;
        let even = width % 2 == 0 && height % 2 == 0;
        let (long, short) = (width.max(height), width.min(height));
        if !even || short < 16 || long > 3840 || short > 2160 {
            let reason = format!("{} is not of even sides from 16 up to 3840x2160", wanted.size);
            return Err(CodecError::Setup { codec: VideoCodec::H264, reason });
        }
        let bits = wanted.kbit_per_second.clamp(1, MOST_KBIT_PER_SECOND) * 1000;
        let settings = Settings::new()
            .usage_type(UsageType::ScreenContentRealTime)
            // Decoders give pictures of this profile out at once, without looking for a better order.
            .profile(Profile::Baseline)
            .complexity(Complexity::Low)
            .rate_control_mode(RateControlMode::Bitrate)
            .skip_frames(true)
            .bitrate(BitRate::from_bps(bits))
            .max_frame_rate(FrameRate::from_hz(wanted.fps as f32))
            .num_threads(1);
        let opened = Encoder::with_api_config(OpenH264API::from_source(), settings);
        let library = opened
            .map_err(|error| CodecError::Setup { codec: VideoCodec::H264, reason: error.to_string() })?;
        let mut encoder = Self { library, config: wanted.clone(), started: false };
        // Before the set-up, which writes to the standard error stream otherwise.
        let mut quiet = WELS_LOG_QUIET;
        encoder.set_option(ENCODER_OPTION_TRACE_LEVEL, &mut quiet)?;
        Ok(encoder)
    }

    pub(crate) fn encode(
        &mut self,
        planes: &[(&[u8], usize); 3],
        pts_ms: i64,
        force_key: bool,
    ) -> Result<Vec<Packet>, CodecError> {
        if force_key && self.started {
            self.library.force_intra_frame();
        }
        let source = Source { size: self.config.size, planes: *planes };
        let at = Timestamp::from_millis(u64::try_from(pts_ms).unwrap_or(0));
        let encoded = self.library.encode_at(&source, at).map_err(|error| refused(&error.to_string()))?;
        self.started = true;
        let key = match encoded.frame_type() {
            FrameType::IDR => true,
            FrameType::Skip | FrameType::Invalid => return Ok(Vec::new()),
            _ => false,
        };
        let data = Bytes::from(encoded.to_vec());
        Ok(if data.is_empty() { Vec::new() } else { vec![Packet { data, key }] })
    }

    /// At a rate that leaves the quantizer free to fall, which it does a step a picture.
    pub(crate) fn sharpen(
        &mut self,
        planes: &[(&[u8], usize); 3],
        pts_ms: i64,
    ) -> Result<Vec<Packet>, CodecError> {
        let EncoderConfig { kbit_per_second, fps, .. } = self.config;
        self.set_rate(kbit_per_second.saturating_mul(SHARPENING_RATE), fps)?;
        self.skip_pictures(false)?;
        let encoded = self.encode(planes, pts_ms, false);
        self.skip_pictures(true)?;
        self.set_rate(kbit_per_second, fps)?;
        encoded
    }

    /// Whether the rate control may drop pictures.
    fn skip_pictures(&mut self, may: bool) -> Result<(), CodecError> {
        if self.started {
            self.set_option(ENCODER_OPTION_RC_FRAME_SKIP, &mut c_int::from(may))
        } else {
            Ok(())
        }
    }

    pub(crate) fn set_rate(&mut self, kbit_per_second: u32, fps: u32) -> Result<(), CodecError> {
        let config = EncoderConfig { kbit_per_second, fps, ..self.config.clone() };
        if !self.started {
            *self = Self::open(&config)?;
            return Ok(());
        }
        let bits = kbit_per_second.clamp(1, MOST_KBIT_PER_SECOND) * 1000;
        let rate = (ENCODER_OPTION_BITRATE, SPATIAL_LAYER_ALL);
        let most = (ENCODER_OPTION_MAX_BITRATE, SPATIAL_LAYER_0);
        // The library refuses a rate over the highest one, also for a moment.
        let more = kbit_per_second > self.config.kbit_per_second;
        for (option, layer) in if more { [most, rate] } else { [rate, most] } {
            self.set_option(option, &mut SBitrateInfo { iLayer: layer, iBitrate: bits as c_int })?;
        }
        let mut hertz = fps as f32;
        self.set_option(ENCODER_OPTION_FRAME_RATE, &mut hertz)?;
        self.config = config;
        Ok(())
    }

    /// Sets an option. `T` must be what the library's header says for it.
    fn set_option<T>(&mut self, option: ENCODER_OPTION, value: &mut T) -> Result<(), CodecError> {
        // SAFETY: the callers give `int`s, a `float` and `SBitrateInfo`s, as documented for their
        // options; the library copies it.
        match unsafe { self.library.raw_api().set_option(option, from_mut(value).cast()) } {
            0 => Ok(()),
            error => Err(refused(&format!("openh264 says {error} to option {option}"))),
        }
    }
}

impl std::fmt::Debug for H264Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("H264Encoder").field("config", &self.config).finish_non_exhaustive()
    }
}

fn refused(reason: &str) -> CodecError {
    CodecError::Encode { codec: VideoCodec::H264, reason: reason.to_owned() }
}

/// Planes as the library's wrapper wants them.
struct Source<'a> {
    size: Size,
    planes: [(&'a [u8], usize); 3],
}

impl YUVSource for Source<'_> {
    fn dimensions(&self) -> (usize, usize) {
        (self.size.width as usize, self.size.height as usize)
    }

    fn strides(&self) -> (usize, usize, usize) {
        (self.planes[0].1, self.planes[1].1, self.planes[2].1)
    }

    fn y(&self) -> &[u8] {
        self.planes[0].0
    }

    fn u(&self) -> &[u8] {
        self.planes[1].0
    }

    fn v(&self) -> &[u8] {
        self.planes[2].0
    }
}
