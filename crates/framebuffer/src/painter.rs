//! Strips of a picture in red, green and blue.

use crate::PictureError;
use crate::native::NativePixels;
use crate::shape::Shape;
use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use remote::{CursorShape, Frame, Point};
use std::sync::Arc;

/// A pointer and the place of its hot spot on the display.
pub(crate) type Pointer = (Point, Arc<CursorShape>);

/// Paints strips of one frame: converts the pixels that a strip needs, draws the pointer over them, scales
/// them. What it works in fits a processor's cache.
pub(crate) struct Painter<'a> {
    frame: &'a Frame,
    pointer: Option<&'a Pointer>,
    native: NativePixels,
    resizer: Resizer,
    rows: Vec<u8>,
}

impl<'a> Painter<'a> {
    pub(crate) fn new(frame: &'a Frame, pointer: Option<&'a Pointer>) -> Self {
        Self { frame, pointer, native: NativePixels::default(), resizer: Resizer::new(), rows: Vec::new() }
    }

    pub(crate) fn pointer(&self) -> Option<&'a Pointer> {
        self.pointer
    }

    /// The rows of a strip, three bytes a pixel.
    pub(crate) fn strip(&mut self, shape: Shape, strip: u32) -> Result<&[u8], PictureError> {
        let source = shape.strip_source(strip);
        self.native.convert(self.frame, source).map_err(|e| PictureError::Encoding(e.to_string()))?;
        if let Some((at, cursor)) = self.pointer {
            self.native.draw(*at, cursor);
        }
        if !shape.is_native() {
            self.scale(shape, strip)?;
            return Ok(&self.rows);
        }
        if self.native.rect == source {
            return Ok(&self.native.rgb);
        }
        let (left, top) = (source.x - self.native.rect.x, source.y - self.native.rect.y);
        self.rows.clear();
        let rows = self.native.rgb.chunks_exact(self.native.rect.width as usize * 3);
        let (start, length) = (left as usize * 3, source.width as usize * 3);
        rows.skip(top as usize).for_each(|row| self.rows.extend_from_slice(&row[start..start + length]));
        Ok(&self.rows)
    }

    /// Hamming's window keeps the edges of letters nearly as sharp as cubic filters do, without rings around
    /// them, and reads half as many pixels.
    fn scale(&mut self, shape: Shape, strip: u32) -> Result<(), PictureError> {
        let failed = |error: &dyn std::fmt::Display| PictureError::Encoding(error.to_string());
        let native = self.native.rect;
        let (first_row, height) = shape.strip_span(strip);
        let left = shape.region.x - native.x;
        let top = first_row + f64::from(shape.region.y) - f64::from(native.y);
        let height = height.min(f64::from(native.height) - top);
        let (_, rows) = shape.strip_rows(strip);
        self.rows.resize(shape.size.width as usize * rows as usize * 3, 0);
        let source = TypedImageRef::<U8x3>::from_buffer(native.width, native.height, &self.native.rgb)
            .map_err(|e| failed(&e))?;
        let mut target = TypedImage::<U8x3>::from_buffer(shape.size.width, rows, &mut self.rows)
            .map_err(|e| failed(&e))?;
        let options = ResizeOptions::new()
            .resize_alg(ResizeAlg::Convolution(FilterType::Hamming))
            .use_alpha(false)
            .crop(f64::from(left), top, f64::from(shape.region.width), height);
        self.resizer.resize_typed(&source, &mut target, &options).map_err(|e| failed(&e))
    }
}
