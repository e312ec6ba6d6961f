//! Strips of a picture in red, green and blue.

use crate::PictureError;
use crate::native::NativePixels;
use crate::shape::Shape;
use crate::strips::within;
use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x4;
use fast_image_resize::{Filter, FilterType, ResizeAlg, ResizeOptions, Resizer};
use remote::{CursorShape, Frame, Point, Rect};
use std::ops::Range;
use std::sync::Arc;

/// A pointer and the place of its hot spot on the display.
pub(crate) type Pointer = (Point, Arc<CursorShape>);

/// Paints strips of one frame: converts the pixels that they need, draws the pointer over them, scales them.
/// A strip comes out the same whichever it is painted together with.
pub(crate) struct Painter<'a> {
    frame: &'a Frame,
    pointer: Option<&'a Pointer>,
    native: NativePixels,
    resizer: Resizer,
    options: ResizeOptions,
    /// Rows at their final height and the width of the display.
    wide: Vec<u8>,
    rows: Vec<u8>,
}

impl<'a> Painter<'a> {
    pub(crate) fn new(frame: &'a Frame, pointer: Option<&'a Pointer>) -> Self {
        let filter = Filter::new("window", window, 1.0).map_or(FilterType::Hamming, FilterType::Custom);
        Self {
            frame,
            pointer,
            native: NativePixels::default(),
            resizer: Resizer::new(),
            options: ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).use_alpha(false),
            wide: Vec::new(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn frame(&self) -> &'a Frame {
        self.frame
    }

    /// Whether anything of the pointer is in `rect`.
    pub(crate) fn has_pointer(&self, rect: Rect) -> bool {
        within(self.pointer, rect).is_some()
    }

    /// The rows of neighbouring strips, four bytes a pixel, of which the last does not count.
    pub(crate) fn strips(&mut self, shape: Shape, strips: Range<u32>) -> Result<&[u8], PictureError> {
        if !shape.is_native() {
            self.scale(shape, strips)?;
            return Ok(&self.rows);
        }
        let source = strips.map(|strip| shape.strip_source(strip)).fold(Rect::default(), Rect::union);
        self.paint(source)?;
        if self.native.rect == source {
            return Ok(&self.native.rgbx);
        }
        self.rows.clear();
        for row in 0..source.height {
            self.rows.extend_from_slice(self.native.row(source.y + row, source.x, source.width));
        }
        Ok(&self.rows)
    }

    /// Paints pixels of the display, the pointer over them.
    fn paint(&mut self, source: Rect) -> Result<(), PictureError> {
        self.native.convert(self.frame, source)?;
        if let Some((at, cursor)) = self.pointer {
            self.native.draw(*at, cursor);
        }
        Ok(())
    }

    /// Strips get their height each by itself, so that it does not matter which are painted together, and
    /// their width at once, because the weights for a row take as long as some rows.
    fn scale(&mut self, shape: Shape, strips: Range<u32>) -> Result<(), PictureError> {
        let (top, _) = shape.strip_rows(strips.start);
        let (first, last) = shape.strip_rows(strips.end - 1);
        let rows = first + last - top;
        for strip in strips {
            let source = shape.strip_source(strip);
            self.paint(source)?;
            let native = self.native.rect;
            let width = native.width as usize * 4;
            self.wide.resize(width * rows as usize, 0);
            let pixels = &self.native.rgbx[(source.y - native.y) as usize * width..];
            let from = view(native.width, source.height, &pixels[..source.height as usize * width])?;
            let (row, count) = shape.strip_rows(strip);
            let pixels = &mut self.wide[(row - top) as usize * width..][..count as usize * width];
            let mut to = view_mut(native.width, count, pixels)?;
            let (start, height) = shape.strip_span(strip);
            let start = start + f64::from(shape.region.y) - f64::from(source.y);
            let height = height.min(f64::from(source.height) - start);
            let options = self.options.crop(0.0, start, f64::from(native.width), height);
            self.resizer.resize_typed(&from, &mut to, &options).map_err(|error| failed(&error))?;
        }
        let native = self.native.rect;
        self.rows.resize(shape.size.width as usize * 4 * rows as usize, 0);
        let from = view(native.width, rows, &self.wide)?;
        let mut to = view_mut(shape.size.width, rows, &mut self.rows)?;
        let left = f64::from(shape.region.x - native.x);
        let options = self.options.crop(left, 0.0, f64::from(shape.region.width), f64::from(rows));
        self.resizer.resize_typed(&from, &mut to, &options).map_err(|error| failed(&error))
    }
}

fn view(width: u32, rows: u32, pixels: &[u8]) -> Result<TypedImageRef<'_, U8x4>, PictureError> {
    TypedImageRef::from_buffer(width, rows, pixels).map_err(|error| failed(&error))
}

fn view_mut(width: u32, rows: u32, pixels: &mut [u8]) -> Result<TypedImage<'_, U8x4>, PictureError> {
    TypedImage::from_buffer(width, rows, pixels).map_err(|error| failed(&error))
}

fn failed(error: &dyn std::fmt::Display) -> PictureError {
    PictureError::Encoding(error.to_string())
}

/// Hamming's window over a sinc of one lobe, which keeps the edges of letters nearly as sharp as cubic
/// filters do, without rings around them, and reads half as many pixels. As a polynomial, because the weights
/// of a row are thousands of values, and sines would take longer than all the rest.
fn window(x: f64) -> f64 {
    let square = x * x;
    if square >= 1.0 {
        return 0.0;
    }
    let [a, b, c, d] = [-2.911_476_4, 3.449_382_6, -2.014_620_7, 0.521_735_0];
    (1.0 - square) * (1.0 + square * (a + square * (b + square * (c + square * d))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;

    #[test]
    fn the_window_is_hammings() {
        for step in -1200..=1200 {
            let x = f64::from(step) / 1000.0;
            let sinc = if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) };
            let exact = if x.abs() < 1.0 { sinc * (0.54 + 0.46 * (PI * x).cos()) } else { 0.0 };
            assert!((window(x) - exact).abs() < 2e-4, "{x}: {} for {exact}", window(x));
        }
    }
}
