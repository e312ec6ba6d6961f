//! The kept picture of a display, and the files made of it.

use super::{joined, pieces};
use bytes::Bytes;
use framebuffer::{Budget, Format, Framebuffer, PictureError, PictureFormat, PictureRequest};
use remote::{CursorShape, Frame, Pixels, Plane, Point, Rect, Size};
use std::sync::Arc;
use std::time::Instant;

/// Bytes of a wish, in front of the samples that change: the corner and the size of what changes, the region
/// wished for, the format, the budget, the pointer.
const WISH: usize = 14;

/// However frames and wishes follow each other, a picture is the one that a framebuffer without a past and
/// with one thread makes, it is within its budget, and another program's decoder reads it.
pub(super) fn pictures(data: &[u8]) {
    let Some((&[width, height, layout], rest)) = data.split_first_chunk() else { return };
    let size = Size::new(u32::from(width) * 3 + 1, u32::from(height) * 2 + 1);
    let (halved, bytes) = [(true, 1), (false, 1), (false, 4)][usize::from(layout % 3)];
    let mut planes: Vec<Vec<u8>> = (0..if bytes == 4 { 1 } else { 3 })
        .map(|plane| vec![128; plane_size(size, halved && plane > 0).area() as usize * bytes])
        .collect();
    let mut kept = Framebuffer::with_threads(2);
    for piece in pieces(rest).into_iter().take(6) {
        let Some((wish, samples)) = piece.split_first_chunk::<WISH>() else { continue };
        for (plane, data) in planes.iter_mut().enumerate() {
            let plane_size = plane_size(size, halved && plane > 0);
            change(data, plane_size.width as usize * bytes, wish, samples);
        }
        let frame = frame(size, &planes, halved, bytes);
        kept.update(frame.clone(), Instant::now());
        check(&mut kept, frame, &request(size, wish));
    }
}

fn check(kept: &mut Framebuffer, frame: Frame, request: &PictureRequest) {
    let display = Rect::of(frame.size);
    let mut straight = Framebuffer::with_threads(1);
    straight.update(frame, Instant::now());
    let answer = kept.picture(request);
    assert_eq!(answer, straight.picture(request), "what is kept shows");
    match answer {
        Ok(picture) => {
            assert!(picture.data.len().div_ceil(3) * 4 <= request.budget.base64_bytes);
            assert!(picture.size.area() <= request.budget.area.max(1), "{}", picture.size);
            if picture.format == PictureFormat::Png {
                let decoder = png::Decoder::new(std::io::Cursor::new(&picture.data[..]));
                let mut reader = decoder.read_info().expect("a PNG file");
                let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
                let info = reader.next_frame(&mut pixels).expect("all rows");
                assert_eq!(Size::new(info.width, info.height), picture.size);
                reader.finish().expect("an end");
            }
        }
        Err(PictureError::OverBudget(_)) => {}
        Err(PictureError::OutOfBounds { region, .. }) => {
            assert!(region.is_empty() || region.intersection(display) != region, "{region:?}");
        }
        Err(error) => panic!("{error}"),
    }
}

fn plane_size(size: Size, halved: bool) -> Size {
    if halved { Size::new(size.width.div_ceil(2), size.height.div_ceil(2)) } else { size }
}

/// Writes `samples` over a part of a plane, again and again.
fn change(plane: &mut [u8], row: usize, wish: &[u8; WISH], samples: &[u8]) {
    let (left, top) = (usize::from(wish[0]) % row, usize::from(wish[1]));
    let (width, height) = (usize::from(wish[2]), usize::from(wish[3]));
    let mut samples = samples.iter().cycle();
    for row in plane.chunks_exact_mut(row).skip(top).take(height) {
        for (sample, new) in row.iter_mut().skip(left).take(width).zip(&mut samples) {
            *sample = *new;
        }
    }
}

fn frame(size: Size, planes: &[Vec<u8>], halved: bool, bytes: usize) -> Frame {
    let plane = |n: usize| Plane {
        data: Bytes::from(planes[n].clone()),
        stride: plane_size(size, halved && n > 0).width as usize * bytes,
    };
    let pixels = match (bytes, halved) {
        (4, _) => Pixels::Rgbx(plane(0)),
        (_, true) => Pixels::I420([plane(0), plane(1), plane(2)]),
        _ => Pixels::I444([plane(0), plane(1), plane(2)]),
    };
    Frame { size, pixels }
}

fn request(size: Size, wish: &[u8; WISH]) -> PictureRequest {
    let part = |n: usize, of: u32| u32::from(wish[n]) * of / 255;
    let (x, y) = (part(4, size.width), part(5, size.height));
    let region = Rect::new(x, y, part(6, size.width + 1), part(7, size.height + 1));
    let rgba = Bytes::from([wish[12], 40, 200, wish[13]].repeat(12 * 9));
    let shape = CursorShape { size: Size::new(12, 9), hotspot: Point::new(1, 2), rgba };
    PictureRequest {
        region: (wish[8] & 1 == 1).then_some(region),
        format: [Format::Auto, Format::Png, Format::Jpeg][usize::from(wish[8] >> 1 & 3) % 3],
        budget: Budget {
            longest_side: u32::from(wish[9]) * 8,
            area: (u64::from(wish[10]) + 1).pow(2) * 16,
            base64_bytes: (usize::from(wish[11]) + 1) * 512,
        },
        cursor: (wish[12] > 0)
            .then(|| (Point::new(i32::from(wish[12]) * 2, wish[13].into()), Arc::new(shape))),
    }
}

/// A desktop that changes a few times, in each layout.
pub(super) fn desktops() -> Vec<Vec<u8>> {
    let stripes: Vec<u8> = (0..120u8).map(|n| if n % 7 < 2 { 30 } else { 240 }).collect();
    let noise: Vec<u8> = (0..250u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let whole = [0, 0, 255, 255, 0, 0, 0, 0, 2, 255, 255, 255, 0, 0];
    let line = [40, 60, 200, 12, 0, 0, 0, 0, 2, 255, 255, 255, 90, 60];
    let scaled = [10, 90, 70, 30, 20, 30, 200, 180, 1, 12, 60, 90, 0, 0];
    let jpeg = [0, 30, 255, 80, 0, 0, 0, 0, 4, 255, 255, 40, 30, 99];
    (0..3u8)
        .map(|layout| {
            let edits = [(whole, &stripes), (line, &noise), (scaled, &noise), (jpeg, &stripes)];
            let edits: Vec<Vec<u8>> =
                edits.into_iter().map(|(wish, samples)| [&wish[..], samples].concat()).collect();
            [vec![60, 70, layout], joined(edits.iter().map(Vec::as_slice), 4096)].concat()
        })
        .collect()
}
