//! The host's pointer: shapes it sent once and refers to later, and where it is (session §3.8).

use super::screen::Screen;
use bytes::Bytes;
use hbb_common::session::{CursorData, CursorPosition};
use remote::{Cursor, CursorShape, DisplayId, Point, Size};
use std::collections::VecDeque;
use std::sync::Arc;

/// No pointer has more pixels.
const MAX_PIXELS: u64 = 1 << 20;

/// The cache's bounds; the oldest shapes leave first.
const MAX_SHAPES: usize = 256;
const MAX_BYTES: usize = 16 << 20;

/// The pointer and the shapes seen.
#[derive(Debug, Default)]
pub(super) struct Pointer {
    shapes: VecDeque<(u64, Arc<CursorShape>)>,
    bytes: usize,
    current: Cursor,
}

/// The shape's size and content do not fit together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadShape;

impl Pointer {
    pub(super) fn cursor(&self) -> &Cursor {
        &self.current
    }

    /// A new shape. `premultiplied`: the host's colours carry their alpha already (X11).
    pub(super) fn learn(&mut self, data: &CursorData, premultiplied: bool) -> Result<(), BadShape> {
        let shape = Arc::new(decompress(data, premultiplied)?);
        if let Some(at) = self.shapes.iter().position(|(id, _)| *id == data.id)
            && let Some((_, old)) = self.shapes.remove(at)
        {
            self.bytes -= old.rgba.len();
        }
        self.bytes += shape.rgba.len();
        self.shapes.push_back((data.id, shape.clone()));
        while self.shapes.len() > MAX_SHAPES || self.bytes > MAX_BYTES {
            let Some((_, old)) = self.shapes.pop_front() else { break };
            self.bytes -= old.rgba.len();
        }
        self.current.shape = Some(shape);
        Ok(())
    }

    /// A shape seen before; an unknown one changes nothing. Gives whether something changed.
    pub(super) fn recall(&mut self, id: u64) -> bool {
        let Some((_, shape)) = self.shapes.iter().find(|(known, _)| *known == id) else { return false };
        self.current.shape = Some(shape.clone());
        true
    }

    /// The host moved it.
    pub(super) fn moved_by_host(&mut self, position: &CursorPosition, screen: &Screen) {
        self.current.position = screen.locate(position.x, position.y);
    }

    /// We moved it.
    pub(super) fn moved(&mut self, display: DisplayId, to: Point) {
        self.current.position = Some((display, to));
    }
}

fn decompress(data: &CursorData, premultiplied: bool) -> Result<CursorShape, BadShape> {
    let side = |n: i32| u32::try_from(n).map_err(|_| BadShape);
    let size = Size::new(side(data.width)?, side(data.height)?);
    let hotspot = Point::new(data.hotx, data.hoty);
    if size.is_empty() {
        return Ok(CursorShape { size: Size::default(), hotspot, rgba: Bytes::new() });
    }
    if size.area() > MAX_PIXELS {
        return Err(BadShape);
    }
    let length = 4 * size.area() as usize;
    let mut rgba = zstd::bulk::decompress(&data.colors, length).map_err(|_| BadShape)?;
    if rgba.len() != length {
        return Err(BadShape);
    }
    if premultiplied {
        rgba.as_chunks_mut::<4>().0.iter_mut().for_each(straighten);
    }
    Ok(CursorShape { size, hotspot, rgba: rgba.into() })
}

/// Divides the colours by their alpha.
fn straighten(pixel: &mut [u8; 4]) {
    let [colours @ .., alpha] = pixel;
    let alpha = u16::from(*alpha);
    if alpha == 0 || alpha == 255 {
        return;
    }
    for colour in colours {
        *colour = ((u16::from(*colour) * 255 + alpha / 2) / alpha).min(255) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(id: u64, width: i32, height: i32, rgba: &[u8]) -> CursorData {
        let colors = zstd::bulk::compress(rgba, 3).unwrap().into();
        CursorData { id, hotx: 1, hoty: 2, width, height, colors }
    }

    #[test]
    fn a_shape_is_learnt_and_recalled() {
        let mut pointer = Pointer::default();
        pointer.learn(&shape(7, 1, 2, &[1, 2, 3, 255, 10, 20, 30, 0]), false).unwrap();
        pointer.learn(&shape(8, 1, 1, &[0; 4]), false).unwrap();
        assert!(pointer.recall(7));
        let got = pointer.cursor().shape.clone().unwrap();
        assert_eq!((got.size, got.hotspot), (Size::new(1, 2), Point::new(1, 2)));
        assert_eq!(&got.rgba[..], [1, 2, 3, 255, 10, 20, 30, 0]);
        assert!(!pointer.recall(99));
        assert_eq!(pointer.cursor().shape, Some(got));
    }

    #[test]
    fn premultiplied_colours_become_straight() {
        let mut pointer = Pointer::default();
        pointer.learn(&shape(1, 2, 1, &[64, 0, 128, 128, 9, 9, 9, 255]), true).unwrap();
        assert_eq!(&pointer.cursor().shape.as_ref().unwrap().rgba[..], [128, 0, 255, 128, 9, 9, 9, 255]);
    }

    #[test]
    fn lies_about_sizes_are_refused_without_spending_memory() {
        let mut pointer = Pointer::default();
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 3).unwrap();
        let with = |width, height, colors: &[u8]| CursorData {
            width,
            height,
            colors: Bytes::copy_from_slice(colors),
            ..Default::default()
        };
        assert_eq!(pointer.learn(&with(32, 32, &bomb), false), Err(BadShape));
        assert_eq!(pointer.learn(&with(i32::MAX, i32::MAX, &bomb), false), Err(BadShape));
        assert_eq!(pointer.learn(&with(-1, 4, &bomb), false), Err(BadShape));
        assert_eq!(pointer.learn(&with(4, 4, b"not zstd"), false), Err(BadShape));
        assert_eq!(pointer.learn(&shape(1, 4, 4, &[0; 60]), false), Err(BadShape), "short");
        assert_eq!(pointer.learn(&with(0, 0, b""), false), Ok(()), "an empty shape is one");
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut pointer = Pointer::default();
        for id in 0..300 {
            pointer.learn(&shape(id, 1, 1, &[0; 4]), false).unwrap();
        }
        assert_eq!(pointer.shapes.len(), MAX_SHAPES);
        assert!(!pointer.recall(0));
        let big = vec![0; 4 << 20];
        for id in 1000..1010 {
            pointer.learn(&shape(id, 1024, 1024, &big), false).unwrap();
        }
        assert!(pointer.bytes <= MAX_BYTES);
        assert_eq!(pointer.bytes, pointer.shapes.iter().map(|(_, s)| s.rgba.len()).sum::<usize>());
    }
}
