//! H.264 by openh264: decoding.

#![expect(unsafe_code, reason = "calls openh264")]

use crate::CodecError;
use crate::picture::{Chroma, Picture};
use crate::raw_picture::RawPicture;
use openh264::OpenH264API;
use openh264::decoder::{Decoder, DecoderConfig, DecoderRawAPI};
use openh264_sys2::{
    DECODER_OPTION_NUM_OF_FRAMES_REMAINING_IN_BUFFER, DECODING_STATE, SBufferInfo, dsErrorFree,
    dsFramePending, videoFormatI420,
};
use remote::{Size, VideoCodec};
use std::ffi::c_int;
use std::ptr::{from_mut, null_mut};

/// An H.264 stream in Annex B form.
pub(crate) struct H264Decoder {
    library: Decoder,
    /// In the memory of `library`, valid until its next call.
    newest: Option<RawPicture>,
}

impl H264Decoder {
    pub(crate) fn open() -> Result<Self, CodecError> {
        let opened = Decoder::with_api_config(OpenH264API::from_source(), DecoderConfig::new());
        let library = opened
            .map_err(|error| CodecError::Setup { codec: VideoCodec::H264, reason: error.to_string() })?;
        Ok(Self { library, newest: None })
    }

    pub(crate) fn decode(&mut self, packet: &[u8]) -> Result<bool, CodecError> {
        self.newest = None;
        let length = c_int::try_from(packet.len()).map_err(|_| damaged("it is too long"))?;
        // SAFETY: the options that the wrapper relies on are left alone.
        let api = unsafe { self.library.raw_api() };
        let mut newest = output(|planes, info| {
            // SAFETY: the packet is valid for the call, planes and info are for it to fill.
            unsafe { api.decode_frame_no_delay(packet.as_ptr(), length, planes, info) }
        })?;
        // Streams of other than the baseline profile are held back to be put in order. Peers send them in
        // order (session §3.2), so what is ready is taken at once.
        let mut left = held_back(api)?;
        while left > 0 {
            // SAFETY: planes and info are for it to fill.
            let flushed = output(|planes, info| unsafe { api.flush_frame(planes, info) })?;
            newest = flushed.or(newest);
            let now = held_back(api)?;
            if now >= left {
                break;
            }
            left = now;
        }
        self.newest = newest;
        Ok(newest.is_some())
    }

    /// As [`BareDecoder::decode`](crate::BareDecoder::decode).
    pub(crate) fn decode_bare(&mut self, packet: &[u8]) -> usize {
        self.newest = None;
        let Ok(length) = c_int::try_from(packet.len()) else { return 0 };
        let mut planes = [null_mut::<u8>(); 3];
        let mut info = SBufferInfo::default();
        // SAFETY: the options that the wrapper relies on are left alone; the packet is valid for the call,
        // planes and info are for it to fill.
        let state = unsafe {
            let api = self.library.raw_api();
            api.decode_frame_no_delay(packet.as_ptr(), length, planes.as_mut_ptr(), &mut info)
        };
        usize::from(state == dsErrorFree && info.iBufferStatus == 1)
    }

    pub(crate) fn picture(&self) -> Option<Picture<'_>> {
        // SAFETY: `newest` is dropped before the library is called again, which needs `&mut self`.
        self.newest.as_ref().map(|raw| unsafe { raw.borrow() })
    }
}

impl std::fmt::Debug for H264Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("H264Decoder").field("newest", &self.newest).finish_non_exhaustive()
    }
}

/// Pictures that the library has ready and did not give out.
fn held_back(api: &DecoderRawAPI) -> Result<c_int, CodecError> {
    let mut count: c_int = 0;
    let option = DECODER_OPTION_NUM_OF_FRAMES_REMAINING_IN_BUFFER;
    // SAFETY: this option writes an `int`.
    match unsafe { api.get_option(option, from_mut(&mut count).cast()) } {
        0 => Ok(count),
        error => Err(damaged(&format!("openh264 says {error}"))),
    }
}

/// Runs a decoding call and takes its picture, if it gave one.
fn output(
    call: impl FnOnce(*mut *mut u8, *mut SBufferInfo) -> DECODING_STATE,
) -> Result<Option<RawPicture>, CodecError> {
    let mut planes = [null_mut::<u8>(); 3];
    let mut info = SBufferInfo::default();
    let state = call(planes.as_mut_ptr(), &mut info);
    if state != dsErrorFree && state != dsFramePending {
        return Err(damaged(&format!("openh264 says {state:#x}")));
    }
    if info.iBufferStatus != 1 || planes.iter().any(|plane| plane.is_null()) {
        return Ok(None);
    }
    // SAFETY: the only member of the union, filled with the picture.
    let shape = unsafe { info.UsrData.sSystemBuffer };
    let sides = (u32::try_from(shape.iWidth), u32::try_from(shape.iHeight));
    let (Ok(width), Ok(height)) = sides else { return Err(damaged("a picture without a size")) };
    if shape.iFormat != videoFormatI420 as c_int {
        return Err(damaged("a layout of samples that is not 4:2:0 of 8 bits"));
    }
    let plane = |n: usize| (planes[n].cast_const(), shape.iStride[n.min(1)] as isize);
    // SAFETY: the library allocated each plane for at least the size that it shows.
    let raw =
        unsafe { RawPicture::new(Size::new(width, height), Chroma::I420, [plane(0), plane(1), plane(2)]) };
    raw.map(Some).ok_or_else(|| damaged("planes that can not be addressed"))
}

fn damaged(reason: &str) -> CodecError {
    CodecError::Damaged { codec: VideoCodec::H264, reason: reason.to_owned() }
}
