//! How large a picture comes out, and which pixels of the display each of its strips needs.

use crate::Budget;
use remote::{Rect, Size};

/// No picture has a longer side: clients of models shrink or refuse larger ones.
const LONGEST_SIDE: u32 = 2000;

/// Rows of a strip, the unit that is kept compressed. A line of text touches one or two; each costs some
/// twenty bytes of framing and what the compressor forgets between them.
pub(crate) const STRIP: u32 = 32;

/// How far the filter for scaling looks, in pixels of the larger picture per pixel of the smaller one.
const FILTER_SUPPORT: f64 = 1.0;

/// A region of the display and the size at which it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) region: Rect,
    pub(crate) size: Size,
}

impl Shape {
    /// `region` as large as the budget allows, but not larger than it is.
    pub(crate) fn fitting(region: Rect, budget: &Budget) -> Self {
        let longest = budget.longest_side.clamp(1, LONGEST_SIDE);
        let (width, height) = (f64::from(region.width), f64::from(region.height));
        let by_side = f64::from(longest) / width.max(height);
        let by_area = (budget.area.max(1) as f64 / (width * height)).sqrt();
        Self { region, size: region.size() }.scaled(by_side.min(by_area), budget.area)
    }

    /// The same region with sides `factor` times as long, of at most `area` pixels and at least one.
    pub(crate) fn scaled(self, factor: f64, area: u64) -> Self {
        if factor >= 1.0 {
            return self;
        }
        let side = |side: u32| ((f64::from(side) * factor) as u32).max(1);
        let mut size = Size::new(side(self.size.width), side(self.size.height));
        // A side that can not be under one pixel takes from the other.
        let longer = size.width.max(size.height);
        if size.area() > area.max(1) {
            let cut = u32::try_from(area.max(1)).unwrap_or(u32::MAX).min(longer);
            size = Size::new(size.width.min(cut), size.height.min(cut));
        }
        Self { size, ..self }
    }

    pub(crate) fn is_native(&self) -> bool {
        self.size == self.region.size()
    }

    pub(crate) fn strips(&self) -> u32 {
        self.size.height.div_ceil(STRIP)
    }

    /// The rows of a strip: the first and how many.
    pub(crate) fn strip_rows(&self, strip: u32) -> (u32, u32) {
        let first = strip * STRIP;
        (first, STRIP.min(self.size.height - first))
    }

    /// Bytes of a whole strip, four for each pixel.
    pub(crate) fn strip_bytes(&self) -> usize {
        self.size.width as usize * STRIP as usize * 4
    }

    /// Pixels of the display that have a part in a strip.
    pub(crate) fn strip_source(&self, strip: u32) -> Rect {
        let (first, rows) = self.strip_rows(strip);
        if self.is_native() {
            return Rect::new(self.region.x, self.region.y + first, self.region.width, rows);
        }
        let (top, height) = self.strip_span(strip);
        let reach = FILTER_SUPPORT * self.row_scale().max(1.0) + 1.0;
        let start = (top - reach).floor().max(0.0) as u32;
        let end = ((top + height + reach).ceil() as u32).min(self.region.height);
        Rect::new(self.region.x, self.region.y + start, self.region.width, end - start)
    }

    /// Where in the region a strip begins and how much of it it shows, in rows.
    pub(crate) fn strip_span(&self, strip: u32) -> (f64, f64) {
        let (first, rows) = self.strip_rows(strip);
        let scale = self.row_scale();
        (f64::from(first) * scale, f64::from(rows) * scale)
    }

    fn row_scale(&self) -> f64 {
        f64::from(self.region.height) / f64::from(self.size.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(width: u32, height: u32, longest_side: u32, area: u64) -> Size {
        let budget = Budget { longest_side, area, base64_bytes: 1 };
        Shape::fitting(Rect::new(0, 0, width, height), &budget).size
    }

    #[test]
    fn pictures_keep_their_aspect_and_only_shrink() {
        assert_eq!(fit(1280, 800, 1568, 1_150_000), Size::new(1280, 800));
        assert_eq!(fit(1920, 1080, 1568, 1_150_000), Size::new(1429, 804));
        assert_eq!(fit(1920, 1080, 960, 10_000_000), Size::new(960, 540));
        assert_eq!(fit(16, 16, 1568, 1_150_000), Size::new(16, 16));
        assert_eq!(fit(1, 1, 0, 0), Size::new(1, 1));
    }

    #[test]
    fn no_side_is_over_two_thousand() {
        assert_eq!(fit(4000, 100, 100_000, u64::MAX), Size::new(2000, 50));
        assert_eq!(fit(100_000, 1, 100_000, u64::MAX), Size::new(2000, 1));
    }

    #[test]
    fn long_thin_screens_keep_a_pixel_of_their_short_side() {
        assert_eq!(fit(20_000, 3, 1568, 1_150_000), Size::new(1568, 1));
        assert_eq!(fit(3, 20_000, 1568, 1_150_000), Size::new(1, 1568));
        assert_eq!(fit(1_000, 2, 1568, 10), Size::new(10, 1));
    }

    #[test]
    fn no_budget_is_exceeded() {
        for width in [1, 2, 7, 640, 1279, 1920, 5120] {
            for height in [1, 2, 9, 480, 801, 1080, 2880] {
                for (side, area) in [(1568, 1_150_000), (100, 4_000), (1, 1), (2000, 123_457)] {
                    let size = fit(width, height, side, area);
                    assert!(size.width.max(size.height) <= side, "{size}");
                    assert!(size.area() <= area, "{width}x{height} in {area}: {size}");
                    assert!(!size.is_empty());
                }
            }
        }
    }

    #[test]
    fn strips_cover_every_row_once_and_need_rows_of_the_region_only() {
        let region = Rect::new(5, 7, 1921, 1079);
        for size in [Size::new(1921, 1079), Size::new(1430, 803), Size::new(19, 10)] {
            let shape = Shape { region, size };
            let mut next = 0;
            for strip in 0..shape.strips() {
                let (first, rows) = shape.strip_rows(strip);
                assert_eq!(first, next);
                next += rows;
                let source = shape.strip_source(strip);
                assert_eq!(source.intersection(region), source);
                let (top, height) = shape.strip_span(strip);
                assert!(f64::from(source.y - region.y) <= top);
                assert!(f64::from(source.y - region.y + source.height) >= (top + height).floor());
            }
            assert_eq!(next, size.height);
        }
    }
}
