//! What counts as a change, and when a display is still.

use bytes::Bytes;
use framebuffer::{Damage, Framebuffer, compare};
use remote::{Frame, Pixels, Plane, Rect, Size};
use std::time::{Duration, Instant};

const SIZE: Size = Size::new(200, 150);

fn plane(width: u32, height: u32, sample: u8) -> Plane {
    Plane { data: Bytes::from(vec![sample; (width * height) as usize]), stride: width as usize }
}

fn grey(size: Size, luma: u8) -> Frame {
    let chroma = plane(size.width.div_ceil(2), size.height.div_ceil(2), 128);
    Frame { size, pixels: Pixels::I420([plane(size.width, size.height, luma), chroma.clone(), chroma]) }
}

/// `frame` with one byte of a plane changed by `by`.
fn touched(frame: &Frame, plane: usize, x: usize, y: usize, by: u8) -> Frame {
    let mut frame = frame.clone();
    let (Pixels::I420(planes) | Pixels::I444(planes)) = &mut frame.pixels else { panic!("not planar") };
    let plane = &mut planes[plane];
    let mut data = plane.data.to_vec();
    data[y * plane.stride + x] += by;
    plane.data = data.into();
    frame
}

#[test]
fn equal_pictures_differ_nowhere() {
    let a = grey(SIZE, 90);
    assert_eq!(compare(&a, &a.clone(), 0), Damage::default());
    assert!(compare(&a, &grey(SIZE, 90), 0).is_empty());
}

#[test]
fn one_sample_marks_its_tile() {
    let a = grey(SIZE, 90);
    // 4 × 3 tiles of 64 × 64 pixels.
    for (plane, x, y, tile) in [
        (0, 0, 0, Rect::new(0, 0, 64, 64)),
        (0, 64, 63, Rect::new(64, 0, 64, 64)),
        (0, 199, 149, Rect::new(192, 128, 8, 22)),
        (1, 31, 32, Rect::new(0, 64, 64, 64)),
        (2, 32, 31, Rect::new(64, 0, 64, 64)),
        (2, 99, 74, Rect::new(192, 128, 8, 22)),
    ] {
        let damage = compare(&a, &touched(&a, plane, x, y, 20), 8);
        assert_eq!(damage.bounds, tile, "plane {plane} at {x},{y}");
        assert!((damage.fraction - 1.0 / 12.0).abs() < 1e-9);
    }
}

#[test]
fn bounds_hold_every_changed_tile() {
    let a = grey(SIZE, 90);
    let b = touched(&touched(&a, 0, 70, 3, 50), 1, 10, 70, 50);
    let damage = compare(&a, &b, 8);
    assert_eq!(damage.bounds, Rect::new(0, 0, 128, 150));
    assert!((damage.fraction - 2.0 / 12.0).abs() < 1e-9);
}

#[test]
fn small_differences_are_tolerated_up_to_the_tolerance() {
    let a = grey(SIZE, 90);
    let b = grey(SIZE, 98);
    assert!(compare(&a, &b, 8).is_empty());
    assert_eq!(compare(&a, &b, 7).bounds, Rect::of(SIZE));
    assert_eq!(compare(&b, &a, 7).fraction, 1.0);
}

#[test]
fn another_size_or_layout_differs_everywhere() {
    let a = grey(SIZE, 90);
    let larger = grey(Size::new(201, 150), 90);
    assert_eq!(compare(&a, &larger, 255).bounds, Rect::of(larger.size));
    let full = plane(SIZE.width, SIZE.height, 90);
    let b = Frame { size: SIZE, pixels: Pixels::I444([full.clone(), full.clone(), full]) };
    assert_eq!(compare(&a, &b, 255), Damage { bounds: Rect::of(SIZE), fraction: 1.0 });
}

#[test]
fn the_fourth_byte_of_a_pixel_does_not_count() {
    let pixels = |pixel: [u8; 4]| {
        let data = Bytes::from(pixel.repeat(SIZE.area() as usize));
        Frame { size: SIZE, pixels: Pixels::Rgbx(Plane { data, stride: SIZE.width as usize * 4 }) }
    };
    assert!(compare(&pixels([1, 2, 3, 0]), &pixels([1, 2, 3, 255]), 0).is_empty());
    for changed in [[2, 2, 3, 0], [1, 3, 3, 0], [1, 2, 4, 0]] {
        assert_eq!(compare(&pixels([1, 2, 3, 0]), &pixels(changed), 0).bounds, Rect::of(SIZE));
        assert!(compare(&pixels([1, 2, 3, 0]), &pixels(changed), 1).is_empty());
    }
}

#[test]
fn a_display_is_still_when_nothing_changed_for_long_enough() {
    let quiet = Duration::from_millis(300);
    let start = Instant::now();
    let at = |ms: u64| start + Duration::from_millis(ms);
    let mut framebuffer = Framebuffer::new();
    assert!(!framebuffer.is_settled(quiet, at(1_000)));
    assert_eq!(framebuffer.settles_at(quiet), None);

    let first = grey(SIZE, 90);
    assert_eq!(framebuffer.update(first.clone(), at(0)), Damage { bounds: Rect::of(SIZE), fraction: 1.0 });
    assert_eq!(framebuffer.settles_at(quiet), Some(at(300)));
    assert!(!framebuffer.is_settled(quiet, at(299)));
    assert!(framebuffer.is_settled(quiet, at(300)));

    // A change starts the wait again.
    let second = touched(&first, 0, 5, 5, 100);
    assert!(!framebuffer.update(second.clone(), at(200)).is_empty());
    assert!(!framebuffer.is_settled(quiet, at(499)));
    assert!(framebuffer.is_settled(quiet, at(500)));

    // The same content repainted with small differences does not.
    assert!(framebuffer.update(touched(&second, 0, 9, 9, 5), at(450)).is_empty());
    assert_eq!(framebuffer.settles_at(quiet), Some(at(500)));
    assert!(framebuffer.is_settled(quiet, at(500)));
    assert!(framebuffer.is_settled(Duration::ZERO, at(450)));
    // Asked for a time before the last change.
    assert!(!framebuffer.is_settled(quiet, at(0)));

    // The newest picture is kept also where it changes nothing.
    let Pixels::I420([luma, ..]) = &framebuffer.frame().unwrap().pixels else { panic!("not I420") };
    assert_eq!(luma.row(9, 10)[9], 95);
}

#[test]
fn another_size_is_a_change() {
    let start = Instant::now();
    let mut framebuffer = Framebuffer::new();
    framebuffer.update(grey(SIZE, 90), start);
    let later = start + Duration::from_secs(5);
    let damage = framebuffer.update(grey(Size::new(100, 50), 90), later);
    assert_eq!(damage.bounds, Rect::new(0, 0, 100, 50));
    assert_eq!(framebuffer.settles_at(Duration::ZERO), Some(later));
}
