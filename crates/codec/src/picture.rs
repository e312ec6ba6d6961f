//! Pictures in the memory of a decoder, and planes to encode from.

use bytes::Bytes;
use remote::{Frame, Pixels, Plane, Size};
use yuv::{BufferStoreMut, YuvConversionMode, YuvPlanarImageMut, YuvRange, YuvStandardMatrix};

/// How much colour a picture has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chroma {
    /// Halved both ways, rounding up.
    I420,
    I444,
}

impl Chroma {
    /// The size of plane 0 (Y), 1 (U) or 2 (V) of a picture.
    pub const fn plane(self, size: Size, plane: usize) -> Size {
        match (self, plane) {
            (Self::I420, 1..) => Size::new(size.width.div_ceil(2), size.height.div_ceil(2)),
            _ => size,
        }
    }
}

/// A picture in the decoder's memory.
#[derive(Debug, Clone, Copy)]
pub struct Picture<'a> {
    pub size: Size,
    pub chroma: Chroma,
    /// Y, U, V: samples and bytes from one row to the next.
    pub planes: [(&'a [u8], usize); 3],
}

impl<'a> Picture<'a> {
    /// The rows of a plane, without what lies between them.
    pub fn rows(&self, plane: usize) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let Size { width, height } = self.chroma.plane(self.size, plane);
        let (data, stride) = self.planes[plane];
        (0..height as usize).map(move |y| &data[y * stride..][..width as usize])
    }

    /// A copy that outlives the decoder's next call: one allocation, rows one after the other.
    pub fn to_frame(&self) -> Frame {
        let sizes = [0, 1, 2].map(|plane| self.chroma.plane(self.size, plane));
        let total = sizes.iter().map(|size| size.area() as usize).sum();
        let mut samples = Vec::with_capacity(total);
        for (plane, size) in sizes.iter().enumerate() {
            let (data, stride) = self.planes[plane];
            if stride == size.width as usize {
                samples.extend_from_slice(&data[..size.area() as usize]);
            } else {
                self.rows(plane).for_each(|row| samples.extend_from_slice(row));
            }
        }
        let mut rest = Bytes::from(samples);
        let planes =
            sizes.map(|s| Plane { data: rest.split_to(s.area() as usize), stride: s.width as usize });
        let pixels = match self.chroma {
            Chroma::I420 => Pixels::I420(planes),
            Chroma::I444 => Pixels::I444(planes),
        };
        Frame { size: self.size, pixels }
    }
}

/// Planes to encode from, kept from one picture to the next: BT.601, limited range, chroma halved both
/// ways, rounding up.
#[derive(Debug, Clone, Default)]
pub struct I420Buffer {
    size: Size,
    samples: [Vec<u8>; 3],
}

impl I420Buffer {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn size(&self) -> Size {
        self.size
    }

    /// Y, U, V as [`Encoder::encode`](crate::Encoder::encode) takes them.
    pub fn planes(&self) -> [(&[u8], usize); 3] {
        [0, 1, 2].map(|plane| {
            let width = Chroma::I420.plane(self.size, plane).width;
            (&self.samples[plane][..], width as usize)
        })
    }

    /// What the buffer shows.
    pub fn picture(&self) -> Picture<'_> {
        Picture { size: self.size, chroma: Chroma::I420, planes: self.planes() }
    }

    fn resize(&mut self, size: Size) {
        self.size = size;
        for (plane, samples) in self.samples.iter_mut().enumerate() {
            samples.resize(Chroma::I420.plane(size, plane).area() as usize, 0);
        }
    }
}

/// Pixels given are fewer than the picture needs, or its size is empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given} bytes with rows of {stride} bytes do not hold a picture of {size}")]
pub struct TooFewPixels {
    pub size: Size,
    pub stride: usize,
    pub given: usize,
}

/// Converts what X11 and most graphics cards give (blue, green, red, one byte that does not count; rows
/// `stride` bytes apart) for the encoders. `out` takes on `size` and keeps its memory.
pub fn bgrx_to_i420(
    bgrx: &[u8],
    stride: usize,
    size: Size,
    out: &mut I420Buffer,
) -> Result<(), TooFewPixels> {
    let refused = || TooFewPixels { size, stride, given: bgrx.len() };
    let row = size.width as usize * 4;
    let needed = (size.height as usize).checked_sub(1).map(|rows| rows * stride + row);
    let wide_enough = stride >= row && !size.is_empty();
    let (true, Some(needed), Ok(stride_32)) = (wide_enough, needed, u32::try_from(stride)) else {
        return Err(refused());
    };
    if bgrx.len() < needed {
        return Err(refused());
    }
    out.resize(size);
    let chroma = Chroma::I420.plane(size, 1).width;
    let [y, u, v] = &mut out.samples;
    let mut planes = YuvPlanarImageMut {
        y_plane: BufferStoreMut::Borrowed(y),
        y_stride: size.width,
        u_plane: BufferStoreMut::Borrowed(u),
        u_stride: chroma,
        v_plane: BufferStoreMut::Borrowed(v),
        v_stride: chroma,
        width: size.width,
        height: size.height,
    };
    // The crate wants whole rows; the last one of a shared memory segment may end with its last pixel.
    let whole = stride * size.height as usize;
    let padded;
    let source = if bgrx.len() >= whole {
        &bgrx[..whole]
    } else {
        let mut copy = bgrx.to_vec();
        copy.resize(whole, 0);
        padded = copy;
        &padded
    };
    let (range, matrix) = (YuvRange::Limited, YuvStandardMatrix::Bt601);
    yuv::bgra_to_yuv420(&mut planes, source, stride_32, range, matrix, YuvConversionMode::Balanced)
        .map_err(|_| refused())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_are_copied_without_what_lies_between_rows() {
        let luma = [1, 2, 3, 99, 4, 5, 6, 99, 7, 8, 9];
        let chroma = [1, 2, 3, 4];
        let picture = Picture {
            size: Size::new(3, 3),
            chroma: Chroma::I420,
            planes: [(&luma, 4), (&chroma, 2), (&chroma, 2)],
        };
        let frame = picture.to_frame();
        let Pixels::I420([y, u, v]) = frame.pixels else { panic!("not I420") };
        assert_eq!((&y.data[..], y.stride), (&[1, 2, 3, 4, 5, 6, 7, 8, 9][..], 3));
        assert_eq!((&u.data[..], u.stride), (&chroma[..], 2));
        assert_eq!(v, u);
    }

    #[test]
    fn grey_pixels_of_every_small_size_become_grey_planes() {
        let mut buffer = I420Buffer::new();
        for width in 1..20 {
            for height in 1..6 {
                let size = Size::new(width, height);
                let stride = width as usize * 4 + 8;
                let pixels = vec![255u8; stride * (height as usize - 1) + width as usize * 4];
                bgrx_to_i420(&pixels, stride, size, &mut buffer).unwrap();
                let [y, u, v] = buffer.planes();
                assert!(y.0.iter().all(|s| *s == 235), "{size}: {:?}", y.0);
                assert!(u.0.iter().chain(v.0).all(|s| *s == 128), "{size}: {:?} {:?}", u.0, v.0);
                assert_eq!(u.0.len() as u64, size.width.div_ceil(2) as u64 * size.height.div_ceil(2) as u64);
            }
        }
    }

    #[test]
    fn primary_colours_have_their_bt601_samples() {
        let mut buffer = I420Buffer::new();
        for (bgr, yuv) in [
            ([0, 0, 255], [81, 90, 240]),
            ([0, 255, 0], [145, 54, 34]),
            ([255, 0, 0], [41, 240, 110]),
            ([0, 0, 0], [16, 128, 128]),
        ] {
            let pixel = [bgr[0], bgr[1], bgr[2], 0];
            bgrx_to_i420(&pixel.repeat(16 * 4), 64, Size::new(16, 4), &mut buffer).unwrap();
            for (plane, (samples, _)) in buffer.planes().into_iter().enumerate() {
                assert!(samples.iter().all(|s| s.abs_diff(yuv[plane]) <= 1), "{bgr:?}: {plane} {samples:?}");
            }
        }
    }

    #[test]
    fn too_few_pixels_are_refused() {
        let mut buffer = I420Buffer::new();
        let size = Size::new(4, 2);
        assert!(bgrx_to_i420(&[0; 31], 16, size, &mut buffer).is_err());
        assert!(bgrx_to_i420(&[0; 64], 15, size, &mut buffer).is_err());
        assert!(bgrx_to_i420(&[0; 64], 16, Size::new(0, 2), &mut buffer).is_err());
        assert!(bgrx_to_i420(&[0; 64], 16, Size::new(2, 0), &mut buffer).is_err());
        assert_eq!(bgrx_to_i420(&[0; 32], 16, size, &mut buffer), Ok(()));
    }
}
