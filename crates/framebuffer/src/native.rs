//! Parts of a frame as red, green and blue at the size of the display.

use crate::PictureError;
use remote::{CursorShape, Frame, Pixels, Plane, Point, Rect, Size};
use yuv::{YuvPlanarImage, YuvRange, YuvStandardMatrix};

/// Some pixels of a display: four bytes each, of which the last does not count, row after row.
#[derive(Debug, Default)]
pub(crate) struct NativePixels {
    /// Which they are.
    pub(crate) rect: Rect,
    pub(crate) rgbx: Vec<u8>,
}

impl NativePixels {
    /// Converts `wanted`, which must lie within the frame. Where chroma is halved, `rect` comes out larger
    /// where it must be for whole samples of chroma.
    pub(crate) fn convert(&mut self, frame: &Frame, wanted: Rect) -> Result<(), PictureError> {
        let rect = match frame.pixels {
            Pixels::I420(_) => even(wanted, frame.size),
            _ => wanted,
        };
        self.rect = rect;
        self.rgbx.resize(rect.size().area() as usize * 4, 0);
        let stride = rect.width * 4;
        let (range, matrix) = (YuvRange::Limited, YuvStandardMatrix::Bt601);
        let converted = match &frame.pixels {
            Pixels::I420(planes) => {
                yuv::yuv420_to_rgba(&image(planes, rect, 2), &mut self.rgbx, stride, range, matrix)
            }
            Pixels::I444(planes) => {
                yuv::yuv444_to_rgba(&image(planes, rect, 1), &mut self.rgbx, stride, range, matrix)
            }
            Pixels::Rgbx(plane) => {
                for (y, row) in (rect.y as usize..).zip(self.rgbx.chunks_exact_mut(stride as usize)) {
                    let source = from(plane, rect.x as usize * 4, y).get(..row.len());
                    row.copy_from_slice(source.ok_or_else(|| refused("a plane is too short"))?);
                }
                Ok(())
            }
        };
        converted.map_err(|error| refused(&error.to_string()))
    }

    /// Some pixels of a row.
    pub(crate) fn row(&self, y: u32, x: u32, width: u32) -> &[u8] {
        let row = (y - self.rect.y) as usize * self.rect.width as usize;
        &self.rgbx[(row + (x - self.rect.x) as usize) * 4..][..width as usize * 4]
    }

    /// Draws the part of the pointer that lies here.
    pub(crate) fn draw(&mut self, at: Point, shape: &CursorShape) {
        let Some(span) = Span::of(at, shape) else { return };
        let overlap = span.rect.intersection(self.rect);
        for y in overlap.y..overlap.y + overlap.height {
            for x in overlap.x..overlap.x + overlap.width {
                let from = (span.skipped_y + y - span.rect.y) as usize * shape.size.width as usize
                    + (span.skipped_x + x - span.rect.x) as usize;
                let to = (y - self.rect.y) as usize * self.rect.width as usize + (x - self.rect.x) as usize;
                let ink = &shape.rgba[from * 4..from * 4 + 4];
                let alpha = u16::from(ink[3]);
                for (under, ink) in self.rgbx[to * 4..to * 4 + 3].iter_mut().zip(ink) {
                    let blended = u16::from(*ink) * alpha + u16::from(*under) * (255 - alpha);
                    *under = ((blended + 127) / 255) as u8;
                }
            }
        }
    }
}

/// Where a pointer is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// Pixels of the display, as far as there can be any.
    pub(crate) rect: Rect,
    /// Columns and rows of the shape before the display begins.
    skipped_x: u32,
    skipped_y: u32,
}

impl Span {
    /// `None` if nothing of it can be seen or it has fewer pixels than it says.
    pub(crate) fn of(at: Point, shape: &CursorShape) -> Option<Self> {
        if (shape.rgba.len() as u64) < shape.size.area().checked_mul(4)? {
            return None;
        }
        let axis = |at: i32, hotspot: i32, length: u32| {
            let first = i64::from(at) - i64::from(hotspot);
            let end = u32::try_from(first + i64::from(length)).ok()?;
            let start = u32::try_from(first.max(0)).ok()?;
            let skipped = u32::try_from(-first.min(0)).ok()?;
            (end > start).then_some((start, end - start, skipped))
        };
        let (x, width, skipped_x) = axis(at.x, shape.hotspot.x, shape.size.width)?;
        let (y, height, skipped_y) = axis(at.y, shape.hotspot.y, shape.size.height)?;
        Some(Self { rect: Rect::new(x, y, width, height), skipped_x, skipped_y })
    }
}

/// The part `rect` of planes; chroma has one sample for `halving` pixels each way.
fn image(planes: &[Plane; 3], rect: Rect, halving: u32) -> YuvPlanarImage<'_, u8> {
    let [y, u, v] = planes;
    let chroma = |plane| from(plane, (rect.x / halving) as usize, (rect.y / halving) as usize);
    YuvPlanarImage {
        y_plane: from(y, rect.x as usize, rect.y as usize),
        y_stride: y.stride as u32,
        u_plane: chroma(u),
        u_stride: u.stride as u32,
        v_plane: chroma(v),
        v_stride: v.stride as u32,
        width: rect.width,
        height: rect.height,
    }
}

fn refused(reason: &str) -> PictureError {
    PictureError::Encoding(reason.to_owned())
}

/// `rect`, made larger until it begins and ends between samples of chroma, or ends with the display.
fn even(rect: Rect, display: Size) -> Rect {
    let (left, top) = (rect.x % 2, rect.y % 2);
    let right = (rect.x + rect.width).next_multiple_of(2).min(display.width);
    let bottom = (rect.y + rect.height).next_multiple_of(2).min(display.height);
    let (x, y) = (rect.x - left, rect.y - top);
    Rect::new(x, y, right - x, bottom - y)
}

/// A plane from a byte of a row on; empty if there is no such byte, which the conversion then refuses.
fn from(plane: &Plane, byte: usize, row: usize) -> &[u8] {
    plane.data.get(row * plane.stride + byte..).unwrap_or_default()
}
