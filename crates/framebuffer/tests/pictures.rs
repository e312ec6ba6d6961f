//! What a framebuffer answers, and that what it keeps from one picture to the next never shows.

use bytes::Bytes;
use framebuffer::{Budget, EncodedPicture, Format, Framebuffer, PictureError, PictureFormat, PictureRequest};
use proptest::prelude::*;
use remote::{CursorShape, Frame, Pixels, Plane, Point, Rect, Size};
use std::sync::Arc;
use std::time::Instant;

/// How the samples of a frame lie.
#[derive(Debug, Clone, Copy)]
enum Layout {
    I420,
    I444,
    Rgbx,
}

const LAYOUTS: [Layout; 3] = [Layout::I420, Layout::I444, Layout::Rgbx];

fn plane(width: u32, height: u32, padding: u32, mut sample: impl FnMut(u32, u32) -> u8) -> Plane {
    let stride = width + padding;
    let data: Vec<u8> =
        (0..height).flat_map(|y| (0..stride).map(move |x| (x, y))).map(|(x, y)| sample(x, y)).collect();
    Plane { data: Bytes::from(data), stride: stride as usize }
}

/// A frame whose samples are `sample(plane, x, y)`.
fn frame(layout: Layout, size: Size, sample: impl Fn(u32, u32, u32) -> u8) -> Frame {
    let (width, height) = (size.width, size.height);
    let planes = |w: u32, h: u32| {
        [
            plane(width, height, 3, |x, y| sample(0, x, y)),
            plane(w, h, 0, |x, y| sample(1, x, y)),
            plane(w, h, 5, |x, y| sample(2, x, y)),
        ]
    };
    let pixels = match layout {
        Layout::I420 => Pixels::I420(planes(width.div_ceil(2), height.div_ceil(2))),
        Layout::I444 => Pixels::I444(planes(width, height)),
        Layout::Rgbx => Pixels::Rgbx(plane(width * 4, height, 8, |x, y| sample(x % 4, x / 4, y))),
    };
    Frame { size, pixels }
}

/// Rows like those of text, with a block of another content.
fn screen(plane: u32, x: u32, y: u32, block: Rect, salt: u32) -> u8 {
    let inside = x.wrapping_sub(block.x) < block.width && y.wrapping_sub(block.y) < block.height;
    let ink = (x.wrapping_mul(31) ^ (y / 10).wrapping_mul(17)) % 7 < 2 && y % 10 < 7;
    match (plane, inside, ink) {
        (0, true, _) => 60 + (x.wrapping_mul(salt | 1) >> 2) as u8 % 100,
        (0, _, true) => 30,
        (0, _, _) => 220,
        (_, true, _) => 100 + (salt % 50) as u8,
        _ => 128,
    }
}

fn noise(plane: u32, x: u32, y: u32) -> u8 {
    let mut n = x.wrapping_mul(0x9e37_79b9) ^ y.wrapping_mul(0x85eb_ca6b) ^ plane.wrapping_mul(0xc2b2_ae35);
    n ^= n >> 15;
    n = n.wrapping_mul(0x2c1b_3c6d);
    (n ^ n >> 12) as u8
}

fn shown(frame: Frame) -> Framebuffer {
    let mut framebuffer = Framebuffer::new();
    framebuffer.update(frame, Instant::now());
    framebuffer
}

/// The pixels of a PNG file, read by the `png` crate with all its checks.
fn decode(picture: &EncodedPicture) -> Vec<u8> {
    assert_eq!(picture.format, PictureFormat::Png);
    let mut decoder = png::Decoder::new(std::io::Cursor::new(&picture.data[..]));
    decoder.ignore_checksums(false);
    let mut reader = decoder.read_info().expect("a PNG header");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut pixels).expect("PNG rows");
    reader.finish().expect("a whole file");
    assert_eq!((info.width, info.height), (picture.size.width, picture.size.height));
    assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Rgb, png::BitDepth::Eight));
    pixels
}

/// The pixels of a JPEG file, read by libjpeg, to which a marker out of place is an error.
fn decode_jpeg(picture: &EncodedPicture) -> Vec<u8> {
    assert!(matches!(picture.format, PictureFormat::Jpeg { .. }));
    let image = turbojpeg::decompress(&picture.data, turbojpeg::PixelFormat::RGB).expect("a JPEG file");
    assert_eq!((image.width, image.height), (picture.size.width as usize, picture.size.height as usize));
    image.pixels.chunks(image.pitch).flat_map(|row| &row[..image.width * 3]).copied().collect()
}

fn png(region: Option<Rect>, budget: Budget) -> PictureRequest {
    PictureRequest { region, format: Format::Png, budget, cursor: None }
}

const LARGE: Budget = Budget { longest_side: 2000, area: u64::MAX, base64_bytes: usize::MAX };

#[test]
fn a_picture_of_known_colours_has_them() {
    let size = Size::new(70, 41);
    for (yuv, rgb) in
        [([81, 90, 240], [255, 0, 0]), ([235, 128, 128], [255, 255, 255]), ([41, 240, 110], [0, 0, 255])]
    {
        for layout in [Layout::I420, Layout::I444] {
            let mut framebuffer = shown(frame(layout, size, |plane, _, _| yuv[plane as usize]));
            let pixels = decode(&framebuffer.picture(&png(None, LARGE)).unwrap());
            assert_eq!(pixels.len(), 70 * 41 * 3);
            let near = |pixel: &[u8]| pixel.iter().zip(rgb).all(|(a, b)| a.abs_diff(b) <= 2);
            assert!(pixels.chunks(3).all(near), "{layout:?} {yuv:?}: {:?}", &pixels[..3]);
        }
    }
    let mut framebuffer =
        shown(frame(Layout::Rgbx, size, |channel, x, _| [9, 80, x as u8, 77][channel as usize]));
    let pixels = decode(&framebuffer.picture(&png(None, LARGE)).unwrap());
    assert!(pixels.chunks(3).enumerate().all(|(n, pixel)| pixel == [9, 80, (n % 70) as u8]));
}

#[test]
fn regions_are_the_same_pixels_as_in_the_whole_picture() {
    let size = Size::new(131, 77);
    for layout in LAYOUTS {
        let mut framebuffer = shown(frame(layout, size, noise));
        let whole = decode(&framebuffer.picture(&png(None, LARGE)).unwrap());
        for region in [
            Rect::new(0, 0, 1, 1),
            Rect::new(130, 76, 1, 1),
            Rect::new(1, 1, 50, 40),
            Rect::new(33, 7, 98, 70),
            Rect::new(2, 31, 64, 3),
            Rect::new(0, 0, 131, 77),
        ] {
            let picture = framebuffer.picture(&png(Some(region), LARGE)).unwrap();
            assert_eq!((picture.size, picture.region), (region.size(), region));
            let part: Vec<u8> = (region.y..region.y + region.height)
                .flat_map(|y| {
                    let start = (y * size.width + region.x) as usize * 3;
                    &whole[start..start + region.width as usize * 3]
                })
                .copied()
                .collect();
            assert!(decode(&picture) == part, "{layout:?} {region:?}");
        }
    }
}

#[test]
fn regions_outside_of_the_display_are_refused() {
    let mut framebuffer = shown(frame(Layout::I420, Size::new(64, 48), noise));
    for region in [
        Rect::new(0, 0, 65, 48),
        Rect::new(0, 1, 64, 48),
        Rect::new(64, 0, 1, 1),
        Rect::new(3, 3, 0, 5),
        Rect::new(u32::MAX, u32::MAX, u32::MAX, u32::MAX),
        Rect::new(1, 1, u32::MAX, 2),
    ] {
        let refused = framebuffer.picture(&png(Some(region), LARGE)).unwrap_err();
        assert_eq!(refused, PictureError::OutOfBounds { region, display: Size::new(64, 48) });
    }
    assert_eq!(Framebuffer::new().picture(&PictureRequest::default()), Err(PictureError::NoFrame));
}

#[test]
fn a_scaled_picture_shows_the_same_scene() {
    // Four fields of colour: where they meet may blend, what is inside may not.
    let size = Size::new(2000, 1200);
    let quadrant = |plane: u32, x: u32, y: u32| {
        let (x, y) = if plane == 0 { (x / 1000, y / 600) } else { (x / 500, y / 300) };
        [[81, 90, 240], [145, 54, 34], [41, 240, 110], [235, 128, 128]][(y.min(1) * 2 + x.min(1)) as usize]
            [plane as usize]
    };
    let mut framebuffer = shown(frame(Layout::I420, size, quadrant));
    let picture = framebuffer.picture(&PictureRequest::default()).unwrap();
    assert_eq!(picture.size, Size::new(1384, 830));
    let pixels = decode(&picture);
    for y in 0..830u32 {
        for x in 0..1384u32 {
            if x.abs_diff(692) < 4 || y.abs_diff(415) < 4 {
                continue;
            }
            let wanted = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]
                [usize::from(y > 415) * 2 + usize::from(x > 692)];
            let pixel = &pixels[(y * 1384 + x) as usize * 3..][..3];
            assert!(
                pixel.iter().zip(wanted).all(|(a, b): (&u8, u8)| a.abs_diff(b) <= 2),
                "{x} {y} {pixel:?}"
            );
        }
    }
}

#[test]
fn strips_of_a_scaled_picture_meet_without_a_seam() {
    // A slope: between neighbouring rows the brightness can not jump.
    let size = Size::new(40, 1900);
    let mut framebuffer =
        shown(frame(Layout::I444, size, |plane, _, y| if plane == 0 { 16 + (y / 9) as u8 } else { 128 }));
    let budget = Budget { longest_side: 701, ..LARGE };
    let picture = framebuffer.picture(&png(None, budget)).unwrap();
    let pixels = decode(&picture);
    let rows: Vec<u8> = pixels.chunks(picture.size.width as usize * 3).map(|row| row[0]).collect();
    assert!(rows.windows(2).all(|w| w[1] >= w[0] && w[1] - w[0] <= 2), "{rows:?}");
}

#[test]
fn noise_becomes_jpeg_that_fits() {
    let size = Size::new(800, 600);
    for layout in LAYOUTS {
        let mut framebuffer = shown(frame(layout, size, noise));
        for base64_bytes in [600_000, 250_000, 60_000, 8_000] {
            let budget = Budget { base64_bytes, ..Budget::default() };
            let picture = framebuffer.picture(&PictureRequest { budget, ..Default::default() }).unwrap();
            let PictureFormat::Jpeg { quality } = picture.format else { panic!("{layout:?}: PNG of noise") };
            assert!((70..=85).contains(&quality));
            assert!(picture.data.len().div_ceil(3) * 4 <= base64_bytes);
            let header = turbojpeg::read_header(&picture.data).unwrap();
            let read = Size::new(header.width as u32, header.height as u32);
            assert_eq!(read, picture.size);
            assert_eq!(picture.region, Rect::of(size));
        }
    }
}

#[test]
fn a_jpeg_looks_like_the_png_in_every_layout_and_size() {
    let block = Rect::new(20, 40, 60, 50);
    for layout in LAYOUTS {
        for (width, height) in [(200, 333), (64, 64), (17, 65), (1, 1), (97, 32), (2000, 33)] {
            let size = Size::new(width, height);
            let mut framebuffer = shown(frame(layout, size, |plane, x, y| screen(plane, x / 4, y, block, 3)));
            for region in
                [None, Some(Rect::new(width / 3, height / 3, width - width / 3, height - height / 3))]
            {
                let exact = decode(&framebuffer.picture(&png(region, LARGE)).unwrap());
                let request = PictureRequest { region, format: Format::Jpeg, budget: LARGE, cursor: None };
                let picture = framebuffer.picture(&request).unwrap();
                let close = decode_jpeg(&picture);
                let squares: f64 =
                    exact.iter().zip(&close).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
                let quality = 10.0 * (65_025.0 * exact.len() as f64 / squares.max(1.0)).log10();
                assert!(quality > 27.0, "{layout:?} {size} {region:?}: {quality:.1} dB");
            }
        }
    }
}

#[test]
fn a_png_that_must_be_one_gets_smaller_until_it_fits() {
    let size = Size::new(400, 300);
    let mut framebuffer = shown(frame(Layout::I444, size, noise));
    let mut last = u64::MAX;
    for base64_bytes in [400_000, 100_000, 20_000, 2_000, 300] {
        let picture = framebuffer.picture(&png(None, Budget { base64_bytes, ..LARGE })).unwrap();
        decode(&picture);
        assert!(picture.data.len().div_ceil(3) * 4 <= base64_bytes);
        assert!(picture.size.area() < last);
        last = picture.size.area();
    }
    for format in [Format::Png, Format::Auto, Format::Jpeg] {
        let budget = Budget { base64_bytes: 40, ..LARGE };
        let refused = framebuffer.picture(&PictureRequest { format, budget, ..Default::default() });
        assert_eq!(refused, Err(PictureError::OverBudget(Rect::of(size))), "{format:?}");
    }
}

#[test]
fn tiny_and_thin_screens_have_pictures() {
    for (width, height) in [(1, 1), (2, 1), (1, 2), (3, 3), (1, 5000), (9000, 1), (5, 33), (33, 32)] {
        for layout in LAYOUTS {
            let mut framebuffer = shown(frame(layout, Size::new(width, height), noise));
            for format in [Format::Png, Format::Jpeg, Format::Auto] {
                let request = PictureRequest { format, ..Default::default() };
                let picture = framebuffer.picture(&request).unwrap();
                assert!(picture.size.width <= 1568 && picture.size.height <= 1568);
                assert_eq!(picture.region, Rect::new(0, 0, width, height));
            }
        }
    }
}

fn cursor(size: Size, hotspot: Point, pixel: [u8; 4]) -> Arc<CursorShape> {
    Arc::new(CursorShape { size, hotspot, rgba: Bytes::from(pixel.repeat(size.area() as usize)) })
}

#[test]
fn a_pointer_is_drawn_where_its_hot_spot_says_also_across_edges() {
    let size = Size::new(50, 70);
    let black = |channel: u32, _: u32, _: u32| if channel == 3 { 255 } else { 0 };
    let mut framebuffer = shown(frame(Layout::Rgbx, size, black));
    let shape = cursor(Size::new(6, 4), Point::new(2, 1), [200, 100, 50, 255]);
    for (x, y) in [
        (20, 30),
        (0, 0),
        (49, 69),
        (-3, 5),
        (-4, 5),
        (51, 2),
        (52, 2),
        (25, 31),
        (25, -9),
        (i32::MIN, i32::MAX),
    ] {
        let request = PictureRequest { cursor: Some((Point::new(x, y), shape.clone())), ..png(None, LARGE) };
        let pixels = decode(&framebuffer.picture(&request).unwrap());
        for (n, pixel) in (0i64..).zip(pixels.chunks(3)) {
            let (px, py) = (n % 50, n / 50);
            let (left, top) = (i64::from(x) - 2, i64::from(y) - 1);
            let under = (left..left + 6).contains(&px) && (top..top + 4).contains(&py);
            let wanted = if under { [200, 100, 50] } else { [0, 0, 0] };
            assert_eq!(pixel, wanted, "pointer {x},{y} pixel {px},{py}");
        }
    }
    let plain = decode(&framebuffer.picture(&png(None, LARGE)).unwrap());
    assert!(plain.iter().all(|byte| *byte == 0), "the pointer stays");
}

#[test]
fn a_pointer_blends_by_its_alpha() {
    let white = |_: u32, _: u32, _: u32| 255;
    let mut framebuffer = shown(frame(Layout::Rgbx, Size::new(8, 8), white));
    for (alpha, wanted) in [(0, 255), (51, 204), (128, 127), (255, 0)] {
        let shape = cursor(Size::new(8, 8), Point::default(), [0, 0, 0, alpha]);
        let request = PictureRequest { cursor: Some((Point::default(), shape)), ..png(None, LARGE) };
        let pixels = decode(&framebuffer.picture(&request).unwrap());
        assert!(pixels.iter().all(|byte| byte.abs_diff(wanted) <= 1), "{alpha}: {}", pixels[0]);
    }
}

#[test]
fn shapes_that_lie_about_their_size_are_not_drawn() {
    let mut framebuffer = shown(frame(Layout::I420, Size::new(16, 16), noise));
    let plain = framebuffer.picture(&png(None, LARGE)).unwrap();
    for size in [Size::new(5, 5), Size::new(0, 3), Size::new(u32::MAX, u32::MAX)] {
        let shape =
            Arc::new(CursorShape { size, hotspot: Point::new(0, 0), rgba: Bytes::from_static(&[255; 99]) });
        let request = PictureRequest { cursor: Some((Point::new(3, 3), shape)), ..png(None, LARGE) };
        assert_eq!(framebuffer.picture(&request).unwrap(), plain, "{size}");
    }
}

#[test]
fn the_same_frame_gives_the_same_file_without_making_it_again() {
    let size = Size::new(300, 200);
    let still = frame(Layout::I420, size, noise);
    let mut framebuffer = shown(still.clone());
    let whole = PictureRequest::default();
    let part = png(Some(Rect::new(10, 10, 50, 50)), LARGE);
    let first = framebuffer.picture(&whole).unwrap();
    let zoomed = framebuffer.picture(&part).unwrap();
    // The same samples in other memory: a repaint.
    framebuffer.update(frame(Layout::I420, size, noise), Instant::now());
    assert_eq!(framebuffer.picture(&whole).unwrap().data.as_ptr(), first.data.as_ptr());
    assert_eq!(framebuffer.picture(&part).unwrap().data.as_ptr(), zoomed.data.as_ptr());
    // What changed is not in the region.
    let far = |plane: u32, x: u32, y: u32| if y > 95 { 0 } else { noise(plane, x, y) };
    framebuffer.update(frame(Layout::I420, size, far), Instant::now());
    assert_eq!(framebuffer.picture(&part).unwrap().data.as_ptr(), zoomed.data.as_ptr());
    assert_ne!(framebuffer.picture(&whole).unwrap().data, first.data);
}

#[test]
fn another_size_starts_afresh() {
    let mut framebuffer = shown(frame(Layout::I420, Size::new(100, 80), noise));
    framebuffer.picture(&png(None, LARGE)).unwrap();
    framebuffer.update(frame(Layout::I444, Size::new(90, 110), noise), Instant::now());
    let picture = framebuffer.picture(&png(None, LARGE)).unwrap();
    assert_eq!(picture.size, Size::new(90, 110));
    let straight = shown(frame(Layout::I444, Size::new(90, 110), noise)).picture(&png(None, LARGE)).unwrap();
    assert_eq!(picture, straight);
}

#[derive(Debug, Clone)]
struct Edit {
    block: Rect,
    salt: u32,
    pointer: Option<(i32, i32)>,
    region: bool,
}

fn edit() -> impl Strategy<Value = Edit> {
    let block = (0u32..150, 0u32..220, 0u32..40, 0u32..40).prop_map(|(x, y, w, h)| Rect::new(x, y, w, h));
    let pointer = prop::option::of((-20i32..170, -20i32..240));
    (block, any::<u32>(), pointer, any::<bool>()).prop_map(|(block, salt, pointer, region)| Edit {
        block,
        salt,
        pointer,
        region,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// However frames, pointers and regions follow each other, a picture is the one that a framebuffer
    /// without a past makes, and the `png` crate reads it.
    #[test]
    fn what_is_kept_never_shows(
        edits in prop::collection::vec(edit(), 1..8),
        layout in prop::sample::select(&LAYOUTS[..]),
        longest_side in prop::sample::select(&[2000u32, 199, 97][..]),
        format in prop::sample::select(&[Format::Png, Format::Jpeg][..]),
    ) {
        let size = Size::new(149, 217);
        let shape = cursor(Size::new(12, 19), Point::new(1, 2), [250, 10, 90, 180]);
        let mut kept = Framebuffer::new();
        let budget = Budget { longest_side, ..LARGE };
        for edit in edits {
            let picture = frame(layout, size, |plane, x, y| screen(plane, x, y, edit.block, edit.salt));
            kept.update(picture.clone(), Instant::now());
            let region = edit.region.then_some(Rect::new(31, 17, 101, 180));
            let pointer = edit.pointer.map(|(x, y)| (Point::new(x, y), shape.clone()));
            let request = PictureRequest { region, format, budget, cursor: pointer };
            let answer = kept.picture(&request).unwrap();
            let straight = shown(picture).picture(&request).unwrap();
            let decode = if format == Format::Png { decode } else { decode_jpeg };
            prop_assert_eq!(decode(&answer), decode(&straight));
            prop_assert_eq!(answer, straight);
        }
    }
}
