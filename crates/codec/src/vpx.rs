//! VP8 and VP9 by libvpx: decoding.

#![expect(unsafe_code, reason = "calls libvpx")]

use crate::picture::{Chroma, Picture};
use crate::raw_picture::RawPicture;
use crate::{CodecError, headers};
use remote::{Size, VideoCodec};
use std::ffi::{CStr, c_int, c_long, c_uint, c_void};
use std::mem::MaybeUninit;
use std::ptr::{addr_of, null, null_mut};
use vpx_sys::{
    VPX_DECODER_ABI_VERSION, vp8_dec_control_id, vpx_codec_ctx_t, vpx_codec_dec_cfg_t,
    vpx_codec_dec_init_ver, vpx_codec_destroy, vpx_codec_err_t, vpx_codec_error, vpx_codec_error_detail,
    vpx_codec_get_frame, vpx_codec_vp8_dx, vpx_codec_vp9_dx, vpx_image_t, vpx_img_fmt,
};

/// The functions that return more values than the enum of the bindings has: VP8 answers some damage with -1.
mod ffi {
    use super::{c_int, c_long, c_uint, c_void, vpx_codec_ctx_t};

    unsafe extern "C" {
        pub(super) fn vpx_codec_decode(
            context: *mut vpx_codec_ctx_t,
            data: *const u8,
            size: c_uint,
            user: *mut c_void,
            deadline: c_long,
        ) -> c_int;

        pub(super) fn vpx_codec_control_(context: *mut vpx_codec_ctx_t, id: c_int, ...) -> c_int;
    }
}

/// A context of libvpx, of a decoder or an encoder, that was set up.
pub(crate) struct Context(Box<MaybeUninit<vpx_codec_ctx_t>>);

// SAFETY: libvpx keeps no thread-local state; a context may be used by one thread at a time, which `&mut`
// and the lack of any access through `&` see to.
unsafe impl Send for Context {}

impl Context {
    /// Lets `init` fill a zeroed context. The box stays where it is: libvpx may remember its address.
    ///
    /// # Safety
    /// `init` must be one of libvpx's initialising functions, called with valid arguments.
    pub(crate) unsafe fn new(
        codec: VideoCodec,
        init: impl FnOnce(*mut vpx_codec_ctx_t) -> vpx_codec_err_t,
    ) -> Result<Self, CodecError> {
        let mut context = Box::new(MaybeUninit::zeroed());
        match init(context.as_mut_ptr()) {
            vpx_codec_err_t::VPX_CODEC_OK => Ok(Self(context)),
            // A context that failed to initialise has released what it held.
            error => Err(CodecError::Setup { codec, reason: format!("libvpx says {error:?}") }),
        }
    }

    pub(crate) fn as_ptr(&mut self) -> *mut vpx_codec_ctx_t {
        self.0.as_mut_ptr()
    }

    /// What libvpx says about the last call.
    pub(crate) fn last_error(&mut self) -> String {
        // SAFETY: the context is initialised; both functions return null or a string that lives at least
        // until its next call.
        let texts = unsafe { [vpx_codec_error(self.as_ptr()), vpx_codec_error_detail(self.as_ptr())] };
        let texts = texts.into_iter().filter(|text| !text.is_null());
        // SAFETY: see above; not null.
        let texts = texts.map(|text| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned());
        texts.collect::<Vec<_>>().join(": ")
    }

    /// Sets or asks something that takes an `int` or a pointer to one.
    ///
    /// # Safety
    /// The control of this number must take an argument of the type `T`.
    pub(crate) unsafe fn control<T>(&mut self, id: c_int, argument: T) -> Result<(), String> {
        // SAFETY: the context is initialised; the argument is the caller's word.
        match unsafe { ffi::vpx_codec_control_(self.as_ptr(), id, argument) } {
            0 => Ok(()),
            _ => Err(self.last_error()),
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: initialised, and destroyed only here.
        unsafe { vpx_codec_destroy(self.as_ptr()) };
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Context")
    }
}

/// A VP8 or VP9 stream.
#[derive(Debug)]
pub(crate) struct VpxDecoder {
    codec: VideoCodec,
    context: Context,
    /// In the memory of `context`, valid until its next call.
    newest: Option<RawPicture>,
    /// A VP9 frame and its superframe index.
    indexed: Vec<u8>,
}

impl VpxDecoder {
    pub(crate) fn open(codec: VideoCodec) -> Result<Self, CodecError> {
        // One thread: a second one adds delay and, where it helps, would take what other sessions need.
        let config = vpx_codec_dec_cfg_t { threads: 1, w: 0, h: 0 };
        // SAFETY: an initialising function with an interface that matches; `config` is copied by it.
        let context = unsafe {
            Context::new(codec, |context| {
                let interface =
                    if codec == VideoCodec::Vp8 { vpx_codec_vp8_dx() } else { vpx_codec_vp9_dx() };
                vpx_codec_dec_init_ver(context, interface, &config, 0, VPX_DECODER_ABI_VERSION as c_int)
            })?
        };
        Ok(Self { codec, context, newest: None, indexed: Vec::new() })
    }

    pub(crate) fn decode(&mut self, packet: &[u8]) -> Result<bool, CodecError> {
        self.newest = None;
        let bounded = self.codec == VideoCodec::Vp8 || !matches!(headers::vp9_superframe(packet), Ok(None));
        if bounded {
            self.feed(packet)?;
        } else {
            // libvpx takes what is left behind a VP9 frame for another frame, whose size nobody has looked
            // at. With an index it stays within the one that was. Copying costs microseconds.
            let mut indexed = std::mem::take(&mut self.indexed);
            with_superframe_index(packet, &mut indexed);
            let fed = self.feed(&indexed);
            self.indexed = indexed;
            fed?;
        }
        let mut corrupt: c_int = 0;
        let id = vp8_dec_control_id::VP8D_GET_FRAME_CORRUPTED as c_int;
        // SAFETY: this control writes an `int`.
        unsafe { self.context.control(id, &raw mut corrupt) }.map_err(|reason| self.damaged(&reason))?;
        if corrupt != 0 {
            return Err(self.damaged("samples are missing"));
        }
        self.newest = self.take_newest()?;
        Ok(self.newest.is_some())
    }

    /// As [`BareDecoder::decode`](crate::BareDecoder::decode).
    pub(crate) fn decode_bare(&mut self, packet: &[u8]) -> usize {
        self.newest = None;
        if self.feed(packet).is_err() {
            return 0;
        }
        let (mut iterator, mut pictures) = (null(), 0);
        // SAFETY: an initialised decoder and an iterator that began as null.
        while !unsafe { vpx_codec_get_frame(self.context.as_ptr(), &mut iterator) }.is_null() {
            pictures += 1;
        }
        pictures
    }

    pub(crate) fn picture(&self) -> Option<Picture<'_>> {
        // SAFETY: `newest` is dropped before the context is called again, which needs `&mut self`.
        self.newest.as_ref().map(|raw| unsafe { raw.borrow() })
    }

    fn feed(&mut self, packet: &[u8]) -> Result<(), CodecError> {
        let size = c_uint::try_from(packet.len()).map_err(|_| self.damaged("it is too long"))?;
        // SAFETY: the context is an initialised decoder, the packet is valid for the call.
        let result =
            unsafe { ffi::vpx_codec_decode(self.context.as_ptr(), packet.as_ptr(), size, null_mut(), 0) };
        if result == 0 {
            return Ok(());
        }
        let reason = self.context.last_error();
        Err(self.damaged(&reason))
    }

    fn take_newest(&mut self) -> Result<Option<RawPicture>, CodecError> {
        let mut iterator = null();
        let mut image: *const vpx_image_t = null();
        loop {
            // SAFETY: an initialised decoder and an iterator that began as null.
            let next = unsafe { vpx_codec_get_frame(self.context.as_ptr(), &mut iterator) };
            if next.is_null() {
                break;
            }
            image = next;
        }
        if image.is_null() {
            return Ok(None);
        }
        // SAFETY: libvpx returned it, so it describes readable planes until the decoder's next call.
        unsafe { describe(image) }.map(Some).map_err(|reason| self.damaged(reason))
    }

    fn damaged(&self, reason: &str) -> CodecError {
        CodecError::Damaged { codec: self.codec, reason: reason.to_owned() }
    }
}

/// Writes `frame` and a superframe index that says it is the only one (VP9 annex B).
fn with_superframe_index(frame: &[u8], into: &mut Vec<u8>) {
    const MARKER_FOUR_BYTES: u8 = 0b1101_1000;
    into.clear();
    into.reserve(frame.len() + 6);
    into.extend_from_slice(frame);
    into.push(MARKER_FOUR_BYTES);
    // Lengths were checked to fit 31 bits.
    into.extend_from_slice(&(frame.len() as u32).to_le_bytes());
    into.push(MARKER_FOUR_BYTES);
}

/// # Safety
/// `image` must come from `vpx_codec_get_frame`, with no other call to its decoder since.
unsafe fn describe(image: *const vpx_image_t) -> Result<RawPicture, &'static str> {
    // Formats that the bindings do not know must not be read as their enum.
    // SAFETY: a live image; its `fmt` is a C enum of 32 bits.
    let format = unsafe { addr_of!((*image).fmt).cast::<u32>().read() };
    let chroma = match format {
        f if f == vpx_img_fmt::VPX_IMG_FMT_I420 as u32 => Chroma::I420,
        f if f == vpx_img_fmt::VPX_IMG_FMT_I444 as u32 => Chroma::I444,
        _ => return Err("a layout of samples that is not 4:2:0 or 4:4:4 of 8 bits"),
    };
    // SAFETY: a live image.
    let (size, planes, strides) = unsafe {
        (
            Size::new((*image).d_w, (*image).d_h),
            addr_of!((*image).planes).read(),
            addr_of!((*image).stride).read(),
        )
    };
    let plane = |n: usize| (planes[n].cast_const(), strides[n] as isize);
    // SAFETY: libvpx allocated each plane for its size in this format.
    unsafe { RawPicture::new(size, chroma, [plane(0), plane(1), plane(2)]) }
        .ok_or("planes that can not be addressed")
}
