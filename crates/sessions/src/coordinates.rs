//! From what a caller saw to the peer's pixels and back.

use crate::SessionsError;
use remote::{Point, Rect, Size};

/// How positions are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Space {
    /// Pixels of the whole picture last given out for the display; before the first, native pixels.
    #[default]
    Picture,
    /// 0 to 1000 over the width and the height of the display.
    Normalized1000,
}

/// A position in a [`Space`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spot {
    pub x: f64,
    pub y: f64,
}

/// A rectangle in a [`Space`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Area {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

/// A space laid over a display.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    space: Space,
    /// Extent of the space.
    seen: Size,
    native: Size,
}

impl Mapping {
    /// `picture` is the size of the whole picture last given out, `native` that of the display.
    pub fn new(space: Space, picture: Size, native: Size) -> Self {
        let seen = match space {
            Space::Picture => picture,
            Space::Normalized1000 => Size::new(1000, 1000),
        };
        Self { space, seen, native }
    }

    pub fn native(&self) -> Size {
        self.native
    }

    /// The largest coordinates allowed.
    fn last(&self) -> (u32, u32) {
        match self.space {
            Space::Picture => (self.seen.width.saturating_sub(1), self.seen.height.saturating_sub(1)),
            Space::Normalized1000 => (1000, 1000),
        }
    }

    /// The native pixel under the middle of a position's pixel.
    pub fn point(&self, spot: Spot) -> Result<Point, SessionsError> {
        let (last_x, last_y) = self.last();
        let within = |value: f64, last: u32| value >= 0.0 && value < f64::from(last) + 1.0;
        let inside = match self.space {
            Space::Picture => within(spot.x, last_x) && within(spot.y, last_y),
            Space::Normalized1000 => (0.0..=1000.0).contains(&spot.x) && (0.0..=1000.0).contains(&spot.y),
        };
        if !inside || self.native.is_empty() {
            let what = format!("point ({}, {})", spot.x, spot.y);
            return Err(SessionsError::OutOfBounds { what, last: (last_x, last_y) });
        }
        let axis = |value: f64, seen: u32, native: u32| {
            let middle = match self.space {
                Space::Picture => value.floor() + 0.5,
                Space::Normalized1000 => value,
            };
            let pixel = (middle * f64::from(native) / f64::from(seen)).floor() as i32;
            pixel.clamp(0, native as i32 - 1)
        };
        Ok(Point::new(
            axis(spot.x, self.seen.width, self.native.width),
            axis(spot.y, self.seen.height, self.native.height),
        ))
    }

    /// The native pixels that an area touches.
    pub fn rect(&self, area: Area) -> Result<Rect, SessionsError> {
        let bounds = (f64::from(self.seen.width), f64::from(self.seen.height));
        let (right, bottom) = (area.x + area.width, area.y + area.height);
        let inside = area.x >= 0.0
            && area.y >= 0.0
            && area.width > 0.0
            && area.height > 0.0
            && right <= bounds.0
            && bottom <= bounds.1;
        if !inside || self.native.is_empty() {
            let what = format!("region {}x{} at ({}, {})", area.width, area.height, area.x, area.y);
            return Err(SessionsError::OutOfBounds { what, last: self.last() });
        }
        let axis = |from: f64, to: f64, seen: f64, native: u32| {
            let scale = f64::from(native) / seen;
            let start = ((from * scale).floor() as u32).min(native - 1);
            let end = ((to * scale).ceil() as u32).clamp(start + 1, native);
            (start, end - start)
        };
        let (x, width) = axis(area.x, right, bounds.0, self.native.width);
        let (y, height) = axis(area.y, bottom, bounds.1, self.native.height);
        Ok(Rect::new(x, y, width, height))
    }

    /// Where a native pixel is seen.
    pub fn seen_point(&self, point: Point) -> Point {
        let axis = |value: i32, seen: u32, native: u32| {
            if native == 0 {
                return 0;
            }
            ((f64::from(value) + 0.5) * f64::from(seen) / f64::from(native)).floor() as i32
        };
        Point::new(
            axis(point.x, self.seen.width, self.native.width),
            axis(point.y, self.seen.height, self.native.height),
        )
    }

    /// Where a native rectangle is seen, rounded outwards.
    pub fn seen_rect(&self, rect: Rect) -> Rect {
        if rect.is_empty() || self.native.is_empty() {
            return Rect::default();
        }
        let axis = |from: u32, length: u32, seen: u32, native: u32| {
            let scale = f64::from(seen) / f64::from(native);
            let start = ((f64::from(from) * scale).floor() as u32).min(seen.saturating_sub(1));
            let end = ((f64::from(from) + f64::from(length)) * scale).ceil() as u32;
            (start, end.clamp(start + 1, seen.max(start + 1)) - start)
        };
        let (x, width) = axis(rect.x, rect.width, self.seen.width, self.native.width);
        let (y, height) = axis(rect.y, rect.height, self.seen.height, self.native.height);
        Rect::new(x, y, width, height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spot(x: f64, y: f64) -> Spot {
        Spot { x, y }
    }

    #[test]
    fn a_scaled_picture_is_pointed_at_in_its_own_pixels() {
        let half = Mapping::new(Space::Picture, Size::new(960, 540), Size::new(1920, 1080));
        assert_eq!(half.point(spot(0.0, 0.0)).unwrap(), Point::new(1, 1), "the middle of the pixel");
        assert_eq!(half.point(spot(959.0, 539.0)).unwrap(), Point::new(1919, 1079));
        assert_eq!(
            half.rect(Area { x: 10.0, y: 10.0, width: 5.0, height: 5.0 }).unwrap(),
            Rect::new(20, 20, 10, 10)
        );
        assert_eq!(half.seen_rect(Rect::new(21, 21, 2, 2)), Rect::new(10, 10, 2, 2));
        assert_eq!(half.seen_point(Point::new(1919, 1079)), Point::new(959, 539));
    }

    #[test]
    fn out_of_range_names_the_bounds() {
        let mapping = Mapping::new(Space::Picture, Size::new(1280, 800), Size::new(1280, 800));
        for wrong in [
            spot(1280.0, 0.0),
            spot(-1.0, 5.0),
            spot(0.0, 800.0),
            spot(f64::NAN, 0.0),
            spot(f64::INFINITY, 0.0),
        ] {
            let error = mapping.point(wrong).unwrap_err();
            assert_eq!(error.kind(), "out_of_bounds");
            assert!(error.to_string().contains("x from 0 to 1279, y from 0 to 799"), "{error}");
        }
        for (x, width) in
            [(0.0, 1281.0), (1279.0, 2.0), (0.0, 0.0), (-1.0, 4.0), (f64::NAN, 1.0), (0.0, f64::INFINITY)]
        {
            assert!(mapping.rect(Area { x, y: 0.0, width, height: 10.0 }).is_err(), "{x} {width}");
        }
    }

    #[test]
    fn a_thousand_is_the_far_edge() {
        let mapping = Mapping::new(Space::Normalized1000, Size::new(640, 400), Size::new(1920, 1080));
        assert_eq!(mapping.point(spot(0.0, 0.0)).unwrap(), Point::new(0, 0));
        assert_eq!(mapping.point(spot(500.0, 500.0)).unwrap(), Point::new(960, 540));
        assert_eq!(mapping.point(spot(1000.0, 1000.0)).unwrap(), Point::new(1919, 1079));
        assert!(mapping.point(spot(1000.5, 0.0)).is_err());
    }

    proptest! {
        #[test]
        fn what_is_inside_stays_inside(
            seen in (1u32..3000, 1u32..3000), native in (1u32..8000, 1u32..8000),
            at in (0.0f64..1.0, 0.0f64..1.0),
        ) {
            let (seen, native) = (Size::new(seen.0, seen.1), Size::new(native.0, native.1));
            let mapping = Mapping::new(Space::Picture, seen, native);
            let point = mapping.point(spot(at.0 * f64::from(seen.width), at.1 * f64::from(seen.height))).unwrap();
            prop_assert!(native.contains(point));
            prop_assert!(seen.contains(mapping.seen_point(point)));
        }

        #[test]
        fn a_point_comes_back_where_pictures_only_shrink(
            seen in (1u32..2000, 1u32..2000), factor in (1.0f64..4.0), at in (0.0f64..1.0, 0.0f64..1.0),
        ) {
            let seen = Size::new(seen.0, seen.1);
            let grown = |side: u32| (f64::from(side) * factor).round() as u32;
            let mapping = Mapping::new(Space::Picture, seen, Size::new(grown(seen.width), grown(seen.height)));
            let x = (at.0 * f64::from(seen.width)).floor();
            let y = (at.1 * f64::from(seen.height)).floor();
            let back = mapping.seen_point(mapping.point(spot(x, y)).unwrap());
            prop_assert_eq!((f64::from(back.x), f64::from(back.y)), (x, y));
        }
    }
}
