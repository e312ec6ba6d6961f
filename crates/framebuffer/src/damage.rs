//! What differs between two pictures.

use remote::{Frame, Pixels, Plane, Rect, Size};
use std::ops::Range;

/// A side of the squares that [`Damage`] counts, in pixels.
const TILE: u32 = 64;

/// What differs between two pictures of one display.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Damage {
    /// The smallest rectangle that holds every changed tile; empty for none.
    pub bounds: Rect,
    /// Changed tiles over all tiles, 0 to 1.
    pub fraction: f64,
}

impl Damage {
    pub fn is_empty(&self) -> bool {
        self.bounds.is_empty()
    }

    /// All of a picture, and nothing of an empty one.
    pub(crate) fn all(size: Size) -> Self {
        Self { bounds: Rect::of(size), fraction: if size.is_empty() { 0.0 } else { 1.0 } }
    }
}

/// Compares two pictures tile by tile; pictures of different sizes differ everywhere. Differences of
/// single samples up to `tolerance` do not count: codecs with loss repaint what did not change.
pub fn compare(before: &Frame, after: &Frame, tolerance: u8) -> Damage {
    compare_rows(before, after, tolerance, |_| {})
}

/// As [`compare`]; also tells `changed` every range of rows in which any sample differs at all.
pub(crate) fn compare_rows(
    before: &Frame,
    after: &Frame,
    tolerance: u8,
    mut changed: impl FnMut(Range<u32>),
) -> Damage {
    let size = after.size;
    if before.size != size {
        changed(0..size.height);
        return Damage::all(size);
    }
    let mut tiles = Tiles::new(size);
    match (&before.pixels, &after.pixels) {
        (Pixels::I420(before), Pixels::I420(after)) => {
            for plane in 0..3 {
                let halved = u32::from(plane > 0);
                let layout = Layout { halved, samples: 1, exceeds };
                tiles.compare(&before[plane], &after[plane], &layout, tolerance, &mut changed);
            }
        }
        (Pixels::I444(before), Pixels::I444(after)) => {
            for plane in 0..3 {
                let layout = Layout { halved: 0, samples: 1, exceeds };
                tiles.compare(&before[plane], &after[plane], &layout, tolerance, &mut changed);
            }
        }
        (Pixels::Rgbx(before), Pixels::Rgbx(after)) => {
            let layout = Layout { halved: 0, samples: 4, exceeds: exceeds_rgbx };
            tiles.compare(before, after, &layout, tolerance, &mut changed);
        }
        _ => {
            changed(0..size.height);
            return Damage::all(size);
        }
    }
    tiles.damage()
}

/// How the bytes of a plane lie on the picture.
struct Layout {
    /// 1 if a sample stands for two pixels each way.
    halved: u32,
    /// Bytes of a pixel.
    samples: u32,
    /// Whether two pieces of a row differ by more than is tolerated.
    exceeds: fn(&[u8], &[u8], u8) -> bool,
}

struct Tiles {
    size: Size,
    columns: u32,
    rows: u32,
    changed: Vec<bool>,
}

impl Tiles {
    fn new(size: Size) -> Self {
        let (columns, rows) = (size.width.div_ceil(TILE), size.height.div_ceil(TILE));
        Self { size, columns, rows, changed: vec![false; columns as usize * rows as usize] }
    }

    fn compare(
        &mut self,
        before: &Plane,
        after: &Plane,
        layout: &Layout,
        tolerance: u8,
        changed: &mut impl FnMut(Range<u32>),
    ) {
        let same_memory = before.data.as_ptr() == after.data.as_ptr()
            && before.data.len() == after.data.len()
            && before.stride == after.stride;
        if same_memory {
            return;
        }
        let scale = 1 << layout.halved;
        let height = self.size.height.div_ceil(scale);
        let width = (self.size.width.div_ceil(scale) * layout.samples) as usize;
        let tile = (TILE / scale * layout.samples) as usize;
        for y in 0..height {
            let (a, b) = (before.row(y as usize, width), after.row(y as usize, width));
            if a == b {
                continue;
            }
            let first = y * scale;
            changed(first..(first + scale).min(self.size.height));
            let row = (first / TILE * self.columns) as usize;
            for (column, (a, b)) in a.chunks(tile).zip(b.chunks(tile)).enumerate() {
                let mark = &mut self.changed[row + column];
                *mark = *mark || (a != b && (layout.exceeds)(a, b, tolerance));
            }
        }
    }

    fn damage(&self) -> Damage {
        let mut bounds = Rect::default();
        let mut count = 0u32;
        for row in 0..self.rows {
            for column in 0..self.columns {
                if self.changed[(row * self.columns + column) as usize] {
                    count += 1;
                    let tile = Rect::new(column * TILE, row * TILE, TILE, TILE);
                    bounds = bounds.union(tile.intersection(Rect::of(self.size)));
                }
            }
        }
        let all = self.changed.len().max(1);
        Damage { bounds, fraction: f64::from(count) / all as f64 }
    }
}

/// Written so that it becomes SIMD: the largest difference of short pieces.
fn exceeds(a: &[u8], b: &[u8], tolerance: u8) -> bool {
    a.iter().zip(b).fold(0, |most: u8, (a, b)| most.max(a.abs_diff(*b))) > tolerance
}

fn exceeds_rgbx(a: &[u8], b: &[u8], tolerance: u8) -> bool {
    let pixels = a.chunks_exact(4).zip(b.chunks_exact(4));
    let difference = |a: &[u8], b: &[u8], n: usize| a[n].abs_diff(b[n]);
    pixels.fold(0, |most: u8, (a, b)| {
        most.max(difference(a, b, 0)).max(difference(a, b, 1)).max(difference(a, b, 2))
    }) > tolerance
}
