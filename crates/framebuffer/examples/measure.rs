//! How long pictures take, against the bare encoders on the same pixels.
//!
//! `cargo run --release -p framebuffer --example measure -- [DESKTOP.png]`: prints one JSON object a line.
//! Times are the best of many, which other programs disturb least. Without a file, a desktop of windows with text is made up at 1920×1080.

use framebuffer::{Budget, Format, Framebuffer, PictureRequest};
use remote::{Frame, Pixels, Plane, Size};
use std::hint::black_box;
use std::time::{Duration, Instant};

const ROUNDS: usize = 40;

/// Four bytes a pixel.
struct Desktop {
    size: Size,
    rgbx: Vec<u8>,
}

impl Desktop {
    fn made_up(size: Size) -> Self {
        let mut rgbx = Vec::with_capacity(size.area() as usize * 4);
        for y in 0..size.height {
            for x in 0..size.width {
                let (column, row) = (x / 8, y / 16);
                let window = row % 30 > 1 && column % 80 > 1;
                let letter = column.wrapping_mul(2_654_435_761) ^ row.wrapping_mul(40_503);
                let blank = letter % 5 == 0 || letter / 7 % (row % 11 + 2) == 0;
                let stroke = letter.rotate_left(x % 8 * 3 + y % 16) % 4 == 0 && x % 8 < 6 && y % 16 < 12;
                let pixel = match (window, !blank && stroke) {
                    (false, _) => [58, 110 + (y * 60 / size.height) as u8, 165, 0],
                    (true, true) => [20, 20, 30, 0],
                    (true, false) => [250, 250, 245, 0],
                };
                rgbx.extend_from_slice(&pixel);
            }
        }
        Self { size, rgbx }
    }

    fn read(path: &str) -> Self {
        let file = std::io::BufReader::new(std::fs::File::open(path).expect("a readable file"));
        let mut decoder = png::Decoder::new(file);
        decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
        let mut reader = decoder.read_info().expect("a PNG file");
        let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
        let info = reader.next_frame(&mut pixels).expect("PNG rows");
        let samples = info.color_type.samples();
        assert!(samples >= 3, "a picture in colour");
        let rgbx = pixels.chunks_exact(samples).flat_map(|p| [p[0], p[1], p[2], 0]).collect();
        Self { size: Size::new(info.width, info.height), rgbx }
    }

    /// Repeated or cut to a size.
    fn fitted(&self, size: Size) -> Self {
        let mut rgbx = Vec::with_capacity(size.area() as usize * 4);
        for y in 0..size.height % (1 << 20) {
            for x in 0..size.width {
                let from = ((y % self.size.height) * self.size.width + x % self.size.width) as usize * 4;
                rgbx.extend_from_slice(&self.rgbx[from..from + 4]);
            }
        }
        Self { size, rgbx }
    }

    /// With one line of text written, another one each `round`.
    fn with_line(&self, round: usize) -> Self {
        let mut rgbx = self.rgbx.clone();
        let top = 16 * (3 + round * 7 % (self.size.height as usize / 16 - 4));
        for y in top..top + 13 {
            for x in 100..700.min(self.size.width as usize) {
                let ink = (x / 2 * 7 + y / 2 * 5 + round).is_multiple_of(3);
                let at = (y * self.size.width as usize + x) * 4;
                rgbx[at..at + 3].fill(if ink { 10 } else { 245 });
            }
        }
        Self { size: self.size, rgbx }
    }

    fn frame(&self) -> Frame {
        let Size { width, height } = self.size;
        let (cw, ch) = (width.div_ceil(2), height.div_ceil(2));
        let mut planes =
            yuv::YuvPlanarImageMut::<u8>::alloc(width, height, yuv::YuvChromaSubsampling::Yuv420);
        yuv::rgba_to_yuv420(
            &mut planes,
            &self.rgbx,
            width * 4,
            yuv::YuvRange::Limited,
            yuv::YuvStandardMatrix::Bt601,
            yuv::YuvConversionMode::Balanced,
        )
        .expect("pixels of this size");
        let plane = |data: &[u8], width: u32, height: u32| Plane {
            data: data[..(width * height) as usize].to_vec().into(),
            stride: width as usize,
        };
        let planes = [
            plane(planes.y_plane.borrow(), width, height),
            plane(planes.u_plane.borrow(), cw, ch),
            plane(planes.v_plane.borrow(), cw, ch),
        ];
        Frame { size: self.size, pixels: Pixels::I420(planes) }
    }
}

/// The best of several runs, in milliseconds.
fn best(run: impl FnMut(usize) -> Duration) -> f64 {
    (0..ROUNDS).map(run).min().unwrap_or_default().as_secs_f64() * 1e3
}

#[expect(clippy::print_stdout, reason = "the output of a program")]
fn report(case: &str, value: f64, unit: &str, against: &str, ratio: f64) {
    let line = serde_json::json!({
        "bench": "framebuffer", "case": case, "value": (value * 1000.0).round() / 1000.0, "unit": unit,
        "against": against, "ratio": (ratio * 100.0).round() / 100.0,
    });
    println!("{line}");
}

fn main() {
    let given = std::env::args().nth(1);
    let desktop = given.map_or_else(|| Desktop::made_up(Size::new(1920, 1080)), |path| Desktop::read(&path));
    for (width, height) in [(1280, 800), (1920, 1080)] {
        let desktop = desktop.fitted(Size::new(width, height));
        let scaled = PictureRequest::default();
        let unlimited = |budget| PictureRequest { format: Format::Png, budget, ..Default::default() };
        let scaled_png = unlimited(Budget { base64_bytes: 9_000_000, ..Budget::default() });
        let native_png = unlimited(Budget { longest_side: 2000, area: u64::MAX, base64_bytes: 9_000_000 });
        for (budget, request) in [("default", scaled), ("scaled png", scaled_png), ("native png", native_png)]
        {
            measure(&desktop, &format!("{width}x{height} {budget}"), &request);
        }
    }
}

fn measure(desktop: &Desktop, name: &str, request: &PictureRequest) {
    let frame = desktop.frame();
    let mut framebuffer = Framebuffer::new();
    framebuffer.update(frame.clone(), Instant::now());
    let picture = framebuffer.picture(request).expect("a picture");
    let format = PictureRequest { format: Format::Png, ..request.clone() };
    let budget = Budget { base64_bytes: 9_000_000, ..request.budget };
    let as_png = framebuffer.picture(&PictureRequest { budget, ..format }).expect("a PNG file");
    let rgb = pixels_of(&as_png.data);
    let name = &format!("{name} ({:?} {})", picture.format, picture.size);
    let bare = |filter| {
        let mut bytes = 0;
        let time = best(|_| {
            let start = Instant::now();
            bytes = black_box(bare_png(&rgb, as_png.size, filter)).len();
            start.elapsed()
        });
        (time, bytes)
    };
    let (bare_ms, bare_bytes) = bare(png::Filter::Adaptive);
    report(&format!("{name}: bare png, level 1, adaptive"), bare_ms, "ms", "", 1.0);
    let (plain_ms, plain_bytes) = bare(png::Filter::NoFilter);
    report(&format!("{name}: bare png, level 1, no filter"), plain_ms, "ms", "", 1.0);
    let mut fast_bytes = 0;
    let fast_ms = best(|_| {
        let start = Instant::now();
        fast_bytes = black_box(fast_png(&rgb, as_png.size)).len();
        start.elapsed()
    });
    report(&format!("{name}: bare png, fast"), fast_ms, "ms", "", 1.0);
    report(&format!("{name}: bare png, fast, file"), fast_bytes as f64 / 1024.0, "KiB", "", 1.0);

    let full = |format, threads| {
        let request = PictureRequest { format, ..request.clone() };
        best(|_| {
            let mut framebuffer = Framebuffer::with_threads(threads);
            framebuffer.update(frame.clone(), Instant::now());
            let start = Instant::now();
            black_box(framebuffer.picture(&request).expect("a picture"));
            start.elapsed()
        })
    };
    for threads in [1, 2] {
        let time = full(request.format, threads);
        let against = "bare png, level 1, adaptive";
        report(&format!("{name}: full, {threads} threads"), time, "ms", against, time / bare_ms);
    }
    let kib = picture.data.len() as f64 / 1024.0;
    let ratio = picture.data.len() as f64 / bare_bytes as f64;
    report(&format!("{name}: file"), kib, "KiB", "bare png, level 1, adaptive", ratio);
    let ratio = picture.data.len() as f64 / plain_bytes as f64;
    report(&format!("{name}: file"), kib, "KiB", "bare png, level 1, no filter", ratio);

    let frames: Vec<Frame> = (0..ROUNDS).map(|round| desktop.with_line(round).frame()).collect();
    let mut update = Duration::MAX;
    let line = best(|round| {
        let start = Instant::now();
        framebuffer.update(frames[round].clone(), start);
        update = update.min(start.elapsed());
        black_box(framebuffer.picture(request).expect("a picture"));
        start.elapsed()
    });
    report(&format!("{name}: two lines of text, with the comparison"), line, "ms", "4 ms", line / 4.0);
    report(&format!("{name}: of it the comparison"), update.as_secs_f64() * 1e3, "ms", "", 1.0);

    let copies: Vec<Frame> = (0..ROUNDS).map(|_| desktop.frame()).collect();
    framebuffer.update(frame.clone(), Instant::now());
    framebuffer.picture(request).expect("a picture");
    let same = best(|round| {
        let start = Instant::now();
        framebuffer.update(copies[round].clone(), Instant::now());
        black_box(framebuffer.picture(request).expect("a picture"));
        start.elapsed()
    });
    report(&format!("{name}: the same again, with the comparison"), same, "ms", "1 ms", same);

    let subsamp = if request.budget.area == u64::MAX || desktop.size.width == 1280 {
        turbojpeg::Subsamp::Sub2x2
    } else {
        turbojpeg::Subsamp::None
    };
    let bare_jpeg = best(|_| {
        let start = Instant::now();
        let (width, height) = (as_png.size.width as usize, as_png.size.height as usize);
        let format = turbojpeg::PixelFormat::RGB;
        let image = turbojpeg::Image { pixels: &rgb[..], width, pitch: width * 3, height, format };
        black_box(turbojpeg::compress(image, 85, subsamp).expect("a JPEG file"));
        start.elapsed()
    });
    report(&format!("{name}: bare jpeg"), bare_jpeg, "ms", "", 1.0);
    for threads in [1, 2] {
        let time = full(Format::Jpeg, threads);
        report(&format!("{name}: as jpeg, {threads} threads"), time, "ms", "bare jpeg", time / bare_jpeg);
    }
}

fn pixels_of(file: &[u8]) -> Vec<u8> {
    let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().expect("a PNG file");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
    reader.next_frame(&mut pixels).expect("PNG rows");
    pixels
}

fn bare_png(rgb: &[u8], size: Size, filter: png::Filter) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, size.width, size.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_deflate_compression(png::DeflateCompression::Level(1));
    encoder.set_filter(filter);
    let mut writer = encoder.write_header().expect("a header");
    writer.write_image_data(rgb).expect("rows");
    writer.finish().expect("an end");
    file
}

fn fast_png(rgb: &[u8], size: Size) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, size.width, size.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header().expect("a header");
    writer.write_image_data(rgb).expect("rows");
    writer.finish().expect("an end");
    file
}
