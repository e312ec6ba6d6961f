//! From recorded packets to picture files: they look like the host's screen did.

use crate::codec::decode_all;
use deskhand_tests::{recording::Recording, recordings};
use framebuffer::{Budget, EncodedPicture, Format, Framebuffer, PictureFormat, PictureRequest, compare};
use remote::{Frame, Rect, Size};
use std::path::Path;
use std::time::{Duration, Instant};

/// Width, height and three bytes a pixel.
pub(crate) type Rgb = (u32, u32, Vec<u8>);

pub(crate) fn png(data: &[u8]) -> Rgb {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(data));
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    let mut reader = decoder.read_info().expect("a PNG header");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut pixels).expect("PNG rows");
    let samples = info.color_type.samples();
    let rgb = pixels.chunks_exact(samples).flat_map(|p| [p[0], p[samples.min(2) - 1], p[samples.min(3) - 1]]);
    (info.width, info.height, rgb.collect())
}

pub(crate) fn png_file(path: &Path) -> Rgb {
    png(&std::fs::read(path).expect("a picture of the recordings"))
}

pub(crate) fn psnr(a: &Rgb, b: &Rgb) -> f64 {
    assert_eq!((a.0, a.1), (b.0, b.1));
    let squares: f64 = a.2.iter().zip(&b.2).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
    10.0 * (255.0 * 255.0 * a.2.len() as f64 / squares).log10()
}

/// The frames of display 0 of a recording.
fn frames(name: &str) -> Vec<Frame> {
    let recording = Recording::load(&format!("session/{name}.rdrec"));
    let mut frames = Vec::new();
    decode_all(&recording, |_, display, _, picture| {
        if display == 0 {
            frames.push(picture.to_frame());
        }
    });
    frames
}

fn last_picture(name: &str, request: &PictureRequest) -> EncodedPicture {
    let mut framebuffer = Framebuffer::new();
    for (n, frame) in frames(name).into_iter().enumerate() {
        framebuffer.update(frame, Instant::now());
        if n % 8 == 0 {
            // Leaves strips behind for the next.
            framebuffer.picture(request).expect("a picture");
        }
    }
    framebuffer.picture(request).expect("a picture")
}

#[test]
fn the_last_picture_of_a_recording_looks_like_the_hosts_screen() {
    let request = PictureRequest { format: Format::Png, ..Default::default() };
    for (name, decibels) in [
        ("video-vp9", 36.0),
        ("video-vp8", 36.0),
        ("video-av1", 36.0),
        ("video-vp9-i444", 40.0),
        ("video-av1-i444", 40.0),
        ("display-resolution", 36.0),
        ("idle", 36.0),
    ] {
        let picture = last_picture(name, &request);
        let screen = png_file(&recordings().join(format!("session/{name}.png")));
        let quality = psnr(&png(&picture.data), &screen);
        assert!(quality >= decibels, "{name}: {quality:.2} dB");
    }
}

#[test]
fn a_real_screen_fits_the_default_budget_as_png_of_its_own_size() {
    let picture = last_picture("video-vp9", &PictureRequest::default());
    assert_eq!(picture.format, PictureFormat::Png);
    assert_eq!(picture.size, Size::new(1280, 800));
    assert_eq!(picture.region, Rect::new(0, 0, 1280, 800));
    assert!(picture.data.len().div_ceil(3) * 4 <= Budget::default().base64_bytes);
}

#[test]
fn a_repaint_after_refresh_is_no_change_and_typing_is_one() {
    // The screen stays as it is while the client asks for a keyframe twice; then somebody types.
    let mut framebuffer = Framebuffer::new();
    let start = Instant::now();
    let mut changed = Vec::new();
    for (second, frame) in (0..).zip(frames("refresh")).take(4) {
        let damage = framebuffer.update(frame, start + Duration::from_secs(second));
        changed.push(!damage.is_empty());
    }
    assert_eq!(changed, [true, false, false, true]);
    assert_eq!(framebuffer.settles_at(Duration::ZERO), Some(start + Duration::from_secs(3)));

    let typed = frames("video-vp9");
    for pair in typed.windows(2) {
        let damage = compare(&pair[0], &pair[1], 8);
        // Some letters, at most a scrolled window.
        assert!(damage.fraction > 0.0 && damage.fraction < 0.5, "{damage:?}");
    }
}
