//! AV1 by dav1d.

#![expect(unsafe_code, reason = "calls dav1d")]

use crate::CodecError;
use crate::picture::{Chroma, Picture};
use crate::raw_picture::RawPicture;
use libdav1d_sys::{
    DAV1D_ERR_AGAIN, Dav1dContext, Dav1dData, Dav1dLogger, Dav1dPicture, Dav1dSequenceHeader, Dav1dSettings,
    dav1d_close, dav1d_data_create, dav1d_data_unref, dav1d_default_settings, dav1d_get_picture, dav1d_open,
    dav1d_parse_sequence_header, dav1d_picture_unref, dav1d_send_data,
};
use remote::{Size, VideoCodec};
use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ptr::{addr_of, null_mut};

/// An open decoder of dav1d.
#[derive(Debug)]
struct Context(*mut Dav1dContext);

// SAFETY: a context may be used by one thread at a time, which `&mut` sees to.
unsafe impl Send for Context {}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: open, and closed only here.
        unsafe { dav1d_close(&mut self.0) };
    }
}

/// A reference that we hold on one of dav1d's pictures; it outlives the context.
struct Owned(Box<Dav1dPicture>);

// SAFETY: the reference count is atomic, the samples of a picture that was given out do not change.
unsafe impl Send for Owned {}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: a valid reference, or zeroed, which dav1d takes for none.
        unsafe { dav1d_picture_unref(&mut *self.0) };
    }
}

impl std::fmt::Debug for Owned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Owned")
    }
}

/// An AV1 stream.
#[derive(Debug)]
pub(crate) struct Av1Decoder {
    context: Context,
    /// `.1` holds the memory of `.0`.
    newest: Option<(RawPicture, Owned)>,
    limit: u64,
}

impl Av1Decoder {
    pub(crate) fn open(limit: u64) -> Result<Self, CodecError> {
        let mut settings = MaybeUninit::<Dav1dSettings>::uninit();
        // SAFETY: the function fills the whole structure.
        let mut settings = unsafe {
            dav1d_default_settings(settings.as_mut_ptr());
            settings.assume_init()
        };
        settings.n_threads = 1;
        settings.max_frame_delay = 1;
        settings.all_layers = 0;
        // Zero would stand for no limit.
        settings.frame_size_limit = u32::try_from(limit).unwrap_or(u32::MAX).max(1);
        settings.logger = Dav1dLogger { cookie: null_mut(), callback: None };
        let mut context = null_mut();
        // SAFETY: the settings are valid and copied.
        match unsafe { dav1d_open(&mut context, &settings) } {
            0 => Ok(Self { context: Context(context), newest: None, limit }),
            error => {
                let reason = format!("dav1d says {error}");
                Err(CodecError::Setup { codec: VideoCodec::Av1, reason })
            }
        }
    }

    pub(crate) fn decode(&mut self, packet: &[u8]) -> Result<bool, CodecError> {
        self.newest = None;
        let mut data = Data::copied(packet)?;
        loop {
            // SAFETY: an open decoder; `data` is valid and keeps what dav1d did not take.
            let sent = unsafe { dav1d_send_data(self.context.0, &mut data.0) };
            if sent != 0 && sent != DAV1D_ERR_AGAIN {
                return Err(self.refused(sent, packet));
            }
            let took_some = self.take_pictures().map_err(|error| self.refused(error, packet))?;
            if data.0.sz == 0 {
                break;
            }
            // Nothing taken and nothing given: the decoder would never go on.
            if sent == DAV1D_ERR_AGAIN && !took_some {
                return Err(damaged("the decoder is stuck"));
            }
        }
        let Some((raw, _)) = &self.newest else { return Ok(false) };
        // SAFETY: the reference beside it is held.
        let size = unsafe { raw.borrow() }.size;
        if size.area() > self.limit {
            return Err(CodecError::TooLarge(size));
        }
        Ok(true)
    }

    /// As [`BareDecoder::decode`](crate::BareDecoder::decode).
    pub(crate) fn decode_bare(&mut self, packet: &[u8]) -> usize {
        self.newest = None;
        let Ok(mut data) = Data::copied(packet) else { return 0 };
        let mut pictures = 0;
        while data.0.sz > 0 {
            // SAFETY: an open decoder; `data` is valid and keeps what dav1d did not take.
            let sent = unsafe { dav1d_send_data(self.context.0, &mut data.0) };
            // SAFETY: all zeros is dav1d's empty picture.
            let mut picture: Dav1dPicture = unsafe { MaybeUninit::zeroed().assume_init() };
            let before = pictures;
            // SAFETY: an open decoder and an empty picture to fill, whose reference is given back.
            while unsafe { dav1d_get_picture(self.context.0, &mut picture) } == 0 {
                pictures += 1;
                // SAFETY: filled by the call above.
                unsafe { dav1d_picture_unref(&mut picture) };
            }
            if sent != 0 && before == pictures {
                break;
            }
        }
        pictures
    }

    pub(crate) fn picture(&self) -> Option<Picture<'_>> {
        // SAFETY: the reference beside it is held as long as `self` is borrowed.
        self.newest.as_ref().map(|(raw, _)| unsafe { raw.borrow() })
    }

    /// Keeps the newest of the pictures that are ready; `false` if there is none. The error is dav1d's, or 0
    /// for a layout that is not ours.
    fn take_pictures(&mut self) -> Result<bool, c_int> {
        let mut took = false;
        loop {
            // SAFETY: all zeros is dav1d's empty picture.
            let mut picture = Owned(Box::new(unsafe { MaybeUninit::<Dav1dPicture>::zeroed().assume_init() }));
            // SAFETY: an open decoder and an empty picture to fill.
            match unsafe { dav1d_get_picture(self.context.0, &mut *picture.0) } {
                0 => {}
                DAV1D_ERR_AGAIN => return Ok(took),
                error => return Err(error),
            }
            took = true;
            let raw = describe(&picture).ok_or(0)?;
            self.newest = Some((raw, picture));
        }
    }

    fn refused(&self, error: c_int, packet: &[u8]) -> CodecError {
        if error == 0 {
            return damaged("a layout of samples that is not 4:2:0 or 4:4:4 of 8 bits");
        }
        match announced_size(packet) {
            Some(size) if size.area() > self.limit => CodecError::TooLarge(size),
            _ => damaged(&format!("dav1d says {error}")),
        }
    }
}

/// A packet in memory of dav1d, which may hold parts of it longer than the call.
struct Data(Dav1dData);

impl Data {
    fn copied(packet: &[u8]) -> Result<Self, CodecError> {
        // SAFETY: all zeros is dav1d's empty data.
        let mut data = Self(unsafe { MaybeUninit::zeroed().assume_init() });
        // SAFETY: empty data to fill.
        let memory = unsafe { dav1d_data_create(&mut data.0, packet.len()) };
        if memory.is_null() {
            return Err(damaged("there is no memory for it"));
        }
        // SAFETY: `dav1d_data_create` allocated as many bytes.
        unsafe { memory.copy_from_nonoverlapping(packet.as_ptr(), packet.len()) };
        Ok(data)
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        // SAFETY: valid or empty.
        unsafe { dav1d_data_unref(&mut self.0) };
    }
}

fn describe(picture: &Owned) -> Option<RawPicture> {
    const I420: u32 = 1;
    const I444: u32 = 3;
    const IDENTITY_MATRIX: u32 = 0;
    let picture: *const Dav1dPicture = &*picture.0;
    // Values from the stream must not be read as enums of the bindings.
    // SAFETY: a filled picture; the enums are C enums of 32 bits, its sequence header lives as long.
    let (parameters, layout, matrix) = unsafe {
        (
            addr_of!((*picture).p),
            addr_of!((*picture).p.layout).cast::<u32>().read(),
            addr_of!((*(*picture).seq_hdr).mtrx).cast::<u32>().read(),
        )
    };
    let chroma = match (layout, matrix) {
        (_, IDENTITY_MATRIX) => return None,
        (I420, _) => Chroma::I420,
        (I444, _) => Chroma::I444,
        _ => return None,
    };
    // SAFETY: a filled picture.
    let (width, height, bits, data, stride) = unsafe {
        let p = parameters;
        ((*p).w, (*p).h, (*p).bpc, addr_of!((*picture).data).read(), addr_of!((*picture).stride).read())
    };
    if bits != 8 {
        return None;
    }
    let size = Size::new(u32::try_from(width).ok()?, u32::try_from(height).ok()?);
    let plane = |n: usize| (data[n].cast::<u8>().cast_const(), stride[n.min(1)]);
    // SAFETY: dav1d allocated each plane for its size in this layout.
    unsafe { RawPicture::new(size, chroma, [plane(0), plane(1), plane(2)]) }
}

/// The largest picture that the packet's sequence header allows for.
fn announced_size(packet: &[u8]) -> Option<Size> {
    let mut header = MaybeUninit::<Dav1dSequenceHeader>::zeroed();
    // SAFETY: the packet is readable, the header is for the function to fill.
    let result = unsafe { dav1d_parse_sequence_header(header.as_mut_ptr(), packet.as_ptr(), packet.len()) };
    if result != 0 {
        return None;
    }
    let header = header.as_ptr();
    // SAFETY: filled; two plain numbers of it are read.
    let (width, height) = unsafe { ((*header).max_width, (*header).max_height) };
    Some(Size::new(u32::try_from(width).ok()?, u32::try_from(height).ok()?))
}

fn damaged(reason: &str) -> CodecError {
    CodecError::Damaged { codec: VideoCodec::Av1, reason: reason.to_owned() }
}
