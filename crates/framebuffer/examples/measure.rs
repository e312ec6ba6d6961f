//! How long pictures take, against the bare encoders on the same pixels.
//!
//! `cargo run --release -p framebuffer --example measure -- [DESKTOP.png]`: prints one JSON object a line.
//! Times are CPU time of one thread, the best of many, which other programs disturb least. Without a file, a desktop of windows with text is made up at 1920×1080.

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
    /// A wallpaper with a soft slope of colours, and a window on most of it, full of lines of words.
    fn made_up(size: Size, seed: u32) -> Self {
        let mut desktop = Self { size, rgbx: vec![0; size.area() as usize * 4] };
        for y in 0..size.height {
            for x in 0..size.width {
                let slope = |from: u32, part: u32, of: u32| (from + part * 60 / of) as u8;
                desktop.put(x, y, [40, slope(60, x, size.width), slope(90, y, size.height)]);
            }
        }
        (0..desktop.lines()).for_each(|line| desktop.write(line, seed));
        desktop
    }

    fn lines(&self) -> u32 {
        (self.size.height - self.size.height / 8) / 20
    }

    fn put(&mut self, x: u32, y: u32, rgb: [u8; 3]) {
        let at = (y as usize * self.size.width as usize + x as usize) * 4;
        self.rgbx[at..at + 3].copy_from_slice(&rgb);
    }

    /// Writes a line of words: strokes of seven by nine pixels, as letters have.
    fn write(&mut self, line: u32, seed: u32) {
        let (left, right) = (self.size.width / 16, self.size.width - self.size.width / 16);
        let top = self.size.height / 16 + (line % self.lines()) * 20;
        let mut state = seed.wrapping_mul(0x9E37_79B9) ^ line.wrapping_mul(0x85EB_CA6B) | 1;
        let mut noise = move || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state
        };
        for (x, y) in (top..top + 20).flat_map(|y| (left..right).map(move |x| (x, y))) {
            self.put(x, y, [250, 250, 250]);
        }
        let length = right - left - noise() % ((right - left) / 2) - 16;
        let ink = if noise() % 6 == 0 { [20, 60, 160] } else { [30, 30, 40] };
        for letter in 0..length / 8 {
            let shape = noise();
            if shape.is_multiple_of(6) {
                continue;
            }
            let (x, y) = (left + 8 + letter * 8, top + 5);
            for (bit, at) in [(0, 0), (1, 2), (2, 4), (3, 6)] {
                for step in 0..9 {
                    if shape >> (8 + bit) & 1 == 1 {
                        self.put(x + at, y + step, ink);
                    }
                    if shape >> (16 + bit) & 1 == 1 && step < 7 {
                        self.put(x + step, y + at + bit, ink);
                    }
                }
            }
        }
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
        let mut desktop = Self { size: self.size, rgbx: self.rgbx.clone() };
        desktop.write(3 + round as u32 * 7, round as u32 + 2);
        desktop
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

/// CPU time that this thread has used.
fn cpu() -> Duration {
    nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID.now().expect("a clock").into()
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
    let given = given.map(|path| Desktop::read(&path));
    for (width, height) in [(1280, 800), (1920, 1080)] {
        let size = Size::new(width, height);
        let desktop = given.as_ref().map_or_else(|| Desktop::made_up(size, 1), |given| given.fitted(size));
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
    let mut framebuffer = Framebuffer::with_threads(1);
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
            let start = cpu();
            bytes = black_box(bare_png(&rgb, as_png.size, filter)).len();
            cpu() - start
        });
        (time, bytes)
    };
    let (bare_ms, bare_bytes) = bare(png::Filter::Adaptive);
    report(&format!("{name}: bare png, level 1, adaptive"), bare_ms, "ms", "", 1.0);
    let (plain_ms, plain_bytes) = bare(png::Filter::NoFilter);
    report(&format!("{name}: bare png, level 1, no filter"), plain_ms, "ms", "", 1.0);
    let mut fast_bytes = 0;
    let fast_ms = best(|_| {
        let start = cpu();
        fast_bytes = black_box(fast_png(&rgb, as_png.size)).len();
        cpu() - start
    });
    report(&format!("{name}: bare png, fast"), fast_ms, "ms", "", 1.0);
    report(&format!("{name}: bare png, fast, file"), fast_bytes as f64 / 1024.0, "KiB", "", 1.0);

    let full = |format| {
        let request = PictureRequest { format, ..request.clone() };
        best(|_| {
            let mut framebuffer = Framebuffer::with_threads(1);
            framebuffer.update(frame.clone(), Instant::now());
            let start = cpu();
            black_box(framebuffer.picture(&request).expect("a picture"));
            cpu() - start
        })
    };
    let time = full(request.format);
    report(&format!("{name}: full"), time, "ms", "bare png, level 1, adaptive", time / bare_ms);
    let kib = picture.data.len() as f64 / 1024.0;
    let ratio = picture.data.len() as f64 / bare_bytes as f64;
    report(&format!("{name}: file"), kib, "KiB", "bare png, level 1, adaptive", ratio);
    let ratio = picture.data.len() as f64 / plain_bytes as f64;
    report(&format!("{name}: file"), kib, "KiB", "bare png, level 1, no filter", ratio);

    let frames: Vec<Frame> = (0..ROUNDS).map(|round| desktop.with_line(round).frame()).collect();
    let mut update = Duration::MAX;
    let line = best(|round| {
        let start = cpu();
        framebuffer.update(frames[round].clone(), Instant::now());
        update = update.min(cpu() - start);
        black_box(framebuffer.picture(request).expect("a picture"));
        cpu() - start
    });
    report(&format!("{name}: two lines of text, with the comparison"), line, "ms", "4 ms", line / 4.0);
    report(&format!("{name}: of it the comparison"), update.as_secs_f64() * 1e3, "ms", "", 1.0);

    let copies: Vec<Frame> = (0..ROUNDS).map(|_| desktop.frame()).collect();
    framebuffer.update(frame.clone(), Instant::now());
    framebuffer.picture(request).expect("a picture");
    let same = best(|round| {
        let start = cpu();
        framebuffer.update(copies[round].clone(), Instant::now());
        black_box(framebuffer.picture(request).expect("a picture"));
        cpu() - start
    });
    report(&format!("{name}: the same again, with the comparison"), same, "ms", "1 ms", same);

    let subsamp = if request.budget.area == u64::MAX || desktop.size.width == 1280 {
        turbojpeg::Subsamp::Sub2x2
    } else {
        turbojpeg::Subsamp::None
    };
    let bare_jpeg = best(|_| {
        let start = cpu();
        let (width, height) = (as_png.size.width as usize, as_png.size.height as usize);
        let format = turbojpeg::PixelFormat::RGB;
        let image = turbojpeg::Image { pixels: &rgb[..], width, pitch: width * 3, height, format };
        black_box(turbojpeg::compress(image, 85, subsamp).expect("a JPEG file"));
        cpu() - start
    });
    report(&format!("{name}: bare jpeg"), bare_jpeg, "ms", "", 1.0);
    let time = full(Format::Jpeg);
    report(&format!("{name}: as jpeg"), time, "ms", "bare jpeg", time / bare_jpeg);
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
