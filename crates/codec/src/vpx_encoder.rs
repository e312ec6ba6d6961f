//! VP8 and VP9 by libvpx: encoding.

#![expect(unsafe_code, reason = "calls libvpx")]

use crate::vpx::Context;
use crate::{CodecError, EncoderConfig, Packet};
use bytes::Bytes;
use remote::{Size, VideoCodec};
use std::ffi::{c_int, c_ulong};
use std::mem::MaybeUninit;
use std::ptr::{addr_of, null, null_mut};
use vpx_sys::{
    VPX_DL_REALTIME, VPX_EFLAG_FORCE_KF, VPX_ENCODER_ABI_VERSION, VPX_FRAME_IS_KEY, vp8e_enc_control_id,
    vp9e_tune_content, vpx_codec_cx_pkt_kind, vpx_codec_cx_pkt_t, vpx_codec_enc_cfg_t,
    vpx_codec_enc_config_default, vpx_codec_enc_config_set, vpx_codec_enc_init_ver, vpx_codec_encode,
    vpx_codec_err_t, vpx_codec_get_cx_data, vpx_codec_vp8_cx, vpx_codec_vp9_cx, vpx_enc_pass, vpx_image_t,
    vpx_img_fmt, vpx_kf_mode, vpx_rational, vpx_rc_mode,
};

/// Pictures from this size on are worth a second thread, VP9's rows being cheap to hand out.
const TWO_THREADS_FROM: u64 = 1280 * 720;

/// What text looks like under this quantizer of 0 to 63 can not be told from the original.
const SHARP: u32 = 20;

/// Under 56 text stays legible while much moves.
const LEGIBLE: u32 = 56;

/// Pictures are dropped once the buffer is a quarter full of what the line has not taken yet.
const DROPS_BELOW: u32 = 25;

/// Encodes VP8 or VP9.
#[derive(Debug)]
pub(crate) struct VpxEncoder {
    codec: VideoCodec,
    context: Context,
    config: Box<vpx_codec_enc_cfg_t>,
    size: Size,
    fps: u32,
}

// SAFETY: `config` holds numbers and null pointers only; see `Context` for the rest.
unsafe impl Send for VpxEncoder {}

impl VpxEncoder {
    pub(crate) fn open(wanted: &EncoderConfig) -> Result<Self, CodecError> {
        let codec = wanted.codec;
        // SAFETY: no arguments; the interfaces are static.
        let interface =
            unsafe { if codec == VideoCodec::Vp8 { vpx_codec_vp8_cx() } else { vpx_codec_vp9_cx() } };
        // SAFETY: a static interface, and a structure to fill.
        let fill = |config| unsafe { vpx_codec_enc_config_default(interface, config, 0) };
        let config = Box::new(configuration(wanted, fill)?);
        // SAFETY: an initialising function with its interface; `config` is valid and copied.
        let context = unsafe {
            Context::new(codec, |context| {
                let version = VPX_ENCODER_ABI_VERSION as c_int;
                vpx_codec_enc_init_ver(context, interface, &*config, 0, version)
            })?
        };
        let mut encoder = Self { codec, context, config, size: wanted.size, fps: wanted.fps };
        for (control, value) in encoder.tuning() {
            // SAFETY: each of these takes an `int` or an `unsigned int`.
            unsafe { encoder.context.control(control as c_int, value) }
                .map_err(|reason| CodecError::Setup { codec, reason })?;
        }
        Ok(encoder)
    }

    /// Settings for screens: sharp text, little time, no pictures that are not shown.
    fn tuning(&self) -> Vec<(vp8e_enc_control_id, c_int)> {
        use vp8e_enc_control_id::*;
        let two_threads = self.config.g_threads > 1;
        if self.codec == VideoCodec::Vp8 {
            return vec![
                // Below zero: this speed, not one that adapts itself to the load of the machine.
                (VP8E_SET_CPUUSED, -8),
                (VP8E_SET_SCREEN_CONTENT_MODE, 1),
                (VP8E_SET_STATIC_THRESHOLD, 1),
                (VP8E_SET_NOISE_SENSITIVITY, 0),
                (VP8E_SET_ENABLEAUTOALTREF, 0),
                (VP8E_SET_TOKEN_PARTITIONS, 0),
            ];
        }
        const CYCLIC_REFRESH: c_int = 3;
        vec![
            (VP8E_SET_CPUUSED, if self.size.area() < TWO_THREADS_FROM { 8 } else { 9 }),
            (VP9E_SET_TUNE_CONTENT, vp9e_tune_content::VP9E_CONTENT_SCREEN as c_int),
            (VP9E_SET_AQ_MODE, CYCLIC_REFRESH),
            (VP9E_SET_ROW_MT, c_int::from(two_threads)),
            (VP9E_SET_TILE_COLUMNS, c_int::from(two_threads)),
            (VP9E_SET_FRAME_PARALLEL_DECODING, 0),
            (VP8E_SET_ENABLEAUTOALTREF, 0),
            (VP9E_SET_NOISE_SENSITIVITY, 0),
            (VP8E_SET_STATIC_THRESHOLD, 1),
        ]
    }

    pub(crate) fn encode(
        &mut self,
        planes: &[(&[u8], usize); 3],
        pts_ms: i64,
        force_key: bool,
    ) -> Result<Vec<Packet>, CodecError> {
        let image = wrap(self.size, planes);
        let flags = if force_key { VPX_EFLAG_FORCE_KF.into() } else { 0 };
        let duration = c_ulong::from((1000 / self.fps).max(1));
        // SAFETY: an initialised encoder; the image describes planes that `Encoder::check` found large
        // enough, and libvpx reads them in this call only.
        let result = unsafe {
            vpx_codec_encode(
                self.context.as_ptr(),
                &image,
                pts_ms,
                duration,
                flags,
                c_ulong::from(VPX_DL_REALTIME),
            )
        };
        if result != vpx_codec_err_t::VPX_CODEC_OK {
            return Err(self.refused());
        }
        let mut packets = Vec::new();
        let mut iterator = null();
        loop {
            // SAFETY: an initialised encoder and an iterator that began as null.
            let packet = unsafe { vpx_codec_get_cx_data(self.context.as_ptr(), &mut iterator) };
            if packet.is_null() {
                return Ok(packets);
            }
            // SAFETY: not null, so a live packet until the next call.
            packets.extend(unsafe { copy(packet) });
        }
    }

    /// The quantizer is let down to where nothing is lost that matters, and the rate to what that takes.
    pub(crate) fn sharpen(
        &mut self,
        planes: &[(&[u8], usize); 3],
        pts_ms: i64,
    ) -> Result<Vec<Packet>, CodecError> {
        let normal = self.config.rc_target_bitrate;
        self.config.rc_target_bitrate = normal.saturating_mul(crate::encoder::SHARPENING_RATE);
        self.config.rc_max_quantizer = SHARP;
        self.config.rc_dropframe_thresh = 0;
        let encoded = self.apply().and_then(|()| self.encode(planes, pts_ms, false));
        self.config.rc_target_bitrate = normal;
        self.config.rc_max_quantizer = LEGIBLE;
        self.config.rc_dropframe_thresh = DROPS_BELOW;
        self.apply()?;
        encoded
    }

    /// Whether the last picture was coded so finely that another pass would show nothing new.
    pub(crate) fn is_sharp(&mut self) -> bool {
        let mut quantizer: c_int = c_int::MAX;
        let pointer = std::ptr::from_mut(&mut quantizer);
        // SAFETY: this one takes a pointer to an `int`, and writes to it in this call only.
        let known = unsafe {
            self.context.control(vp8e_enc_control_id::VP8E_GET_LAST_QUANTIZER_64 as c_int, pointer)
        };
        known.is_ok() && u32::try_from(quantizer).is_ok_and(|quantizer| quantizer <= SHARP)
    }

    pub(crate) fn set_rate(&mut self, kbit_per_second: u32, fps: u32) -> Result<(), CodecError> {
        self.fps = fps;
        self.config.rc_target_bitrate = kbit_per_second.max(1);
        self.apply()
    }

    fn apply(&mut self) -> Result<(), CodecError> {
        // SAFETY: an initialised encoder; the configuration is the one it has, but for rate and quality.
        match unsafe { vpx_codec_enc_config_set(self.context.as_ptr(), &*self.config) } {
            vpx_codec_err_t::VPX_CODEC_OK => Ok(()),
            _ => Err(self.refused()),
        }
    }

    fn refused(&mut self) -> CodecError {
        CodecError::Encode { codec: self.codec, reason: self.context.last_error() }
    }
}

/// `fill` puts libvpx's defaults into the structure it is given. (Whether an interface is `*const` or `*mut`
/// depends on the bindings' release.)
fn configuration(
    wanted: &EncoderConfig,
    fill: impl FnOnce(*mut vpx_codec_enc_cfg_t) -> vpx_codec_err_t,
) -> Result<vpx_codec_enc_cfg_t, CodecError> {
    let mut config = MaybeUninit::<vpx_codec_enc_cfg_t>::zeroed();
    let mut config = match fill(config.as_mut_ptr()) {
        // SAFETY: filled.
        vpx_codec_err_t::VPX_CODEC_OK => unsafe { config.assume_init() },
        error => {
            let reason = format!("libvpx says {error:?}");
            return Err(CodecError::Setup { codec: wanted.codec, reason });
        }
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let large = wanted.codec == VideoCodec::Vp9 && wanted.size.area() >= TWO_THREADS_FROM;
    config.g_threads = if large && processors > 1 { 2 } else { 1 };
    config.g_w = wanted.size.width;
    config.g_h = wanted.size.height;
    config.g_timebase = vpx_rational { num: 1, den: 1000 };
    config.g_pass = vpx_enc_pass::VPX_RC_ONE_PASS;
    config.g_lag_in_frames = 0;
    config.g_error_resilient = 0;
    config.kf_mode = vpx_kf_mode::VPX_KF_DISABLED;
    config.rc_end_usage = vpx_rc_mode::VPX_CBR;
    config.rc_target_bitrate = wanted.kbit_per_second.max(1);
    config.rc_dropframe_thresh = DROPS_BELOW;
    config.rc_resize_allowed = 0;
    config.rc_min_quantizer = 2;
    config.rc_max_quantizer = LEGIBLE;
    config.rc_undershoot_pct = 50;
    config.rc_overshoot_pct = 50;
    // Milliseconds of the rate: a keyframe may take what is in the buffer.
    config.rc_buf_initial_sz = 500;
    config.rc_buf_optimal_sz = 600;
    config.rc_buf_sz = 1000;
    Ok(config)
}

/// An image of libvpx over planes of ours.
fn wrap(size: Size, planes: &[(&[u8], usize); 3]) -> vpx_image_t {
    // SAFETY: zero is a value of every field, of the enums the one for "unknown" or "none".
    let mut image: vpx_image_t = unsafe { MaybeUninit::zeroed().assume_init() };
    image.fmt = vpx_img_fmt::VPX_IMG_FMT_I420;
    image.bit_depth = 8;
    image.bps = 12;
    (image.w, image.h) = (size.width, size.height);
    (image.d_w, image.d_h) = (size.width, size.height);
    (image.x_chroma_shift, image.y_chroma_shift) = (1, 1);
    for (n, (samples, stride)) in planes.iter().enumerate() {
        image.planes[n] = samples.as_ptr().cast_mut();
        // `Encoder::check` saw that it fits.
        image.stride[n] = *stride as c_int;
    }
    image.planes[3] = null_mut();
    image
}

/// The encoded picture in a packet; statistics and the like have none.
///
/// # Safety
/// `packet` must come from `vpx_codec_get_cx_data`, with no other call to its encoder since.
unsafe fn copy(packet: *const vpx_codec_cx_pkt_t) -> Option<Packet> {
    // SAFETY: a live packet; its kind is a C enum of 32 bits that the bindings may not know in full.
    let kind = unsafe { addr_of!((*packet).kind).cast::<u32>().read() };
    if kind != vpx_codec_cx_pkt_kind::VPX_CODEC_CX_FRAME_PKT as u32 {
        return None;
    }
    // SAFETY: of this kind the union holds a frame.
    let frame = unsafe { addr_of!((*packet).data.frame).read() };
    if frame.buf.is_null() || frame.sz == 0 {
        return None;
    }
    // SAFETY: libvpx's buffer of this length.
    let data = unsafe { std::slice::from_raw_parts(frame.buf.cast::<u8>(), frame.sz as usize) };
    Some(Packet { data: Bytes::copy_from_slice(data), key: frame.flags & VPX_FRAME_IS_KEY != 0 })
}
