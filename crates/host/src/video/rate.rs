//! How many bits and pictures a second (session §3.4, §3.6).

use remote::Size;
use std::time::{Duration, Instant};

/// Sizes and what they get at ratio 1, in kbit/s.
const BASE: [(u32, u32, u32); 13] = [
    (640, 480, 400),
    (800, 600, 500),
    (1024, 768, 800),
    (1280, 720, 1000),
    (1366, 768, 1100),
    (1440, 900, 1300),
    (1600, 900, 1500),
    (1920, 1080, 2073),
    (2048, 1080, 2200),
    (2560, 1440, 3000),
    (3440, 1440, 4000),
    (3840, 2160, 5000),
    (7680, 4320, 12000),
];

/// Between two steps of the ratio.
const RATIO_STEP: Duration = Duration::from_secs(3);

/// The target in kbit/s: that of the size with the nearest number of pixels, scaled to the real number, times
/// the quality.
pub fn bitrate(size: Size, ratio: f32) -> u32 {
    let pixels = size.area();
    let nearest = BASE
        .iter()
        .min_by_key(|(width, height, _)| Size::new(*width, *height).area().abs_diff(pixels))
        .map_or((640, 480, 400), |entry| *entry);
    let (width, height, kbit) = nearest;
    // Whole kbit/s before the quality comes in, as stock has it: 1280×800 is 1074 × ratio.
    let reference = Size::new(width, height).area();
    let scaled = (u64::from(kbit) * pixels + reference / 2) / reference;
    // Below some tens of kbit/s encoders give up; a tiny screen has a right to legible text too.
    (scaled as f32 * ratio).clamp(50.0, 100_000.0) as u32
}

/// How fast one viewer's line takes pictures.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    fps: f32,
    /// Factor of the viewer's ratio, 1 at most.
    factor: f32,
    last: Duration,
    samples: u32,
    stepped: Option<Instant>,
}

impl Pace {
    /// Full speed until something is known.
    pub(super) fn new() -> Self {
        Self { fps: 120.0, factor: 1.0, last: Duration::ZERO, samples: 0, stepped: None }
    }

    pub(super) fn fps(&self, cap: u32) -> u32 {
        (self.fps as u32).clamp(1, cap.clamp(1, 120))
    }

    pub(super) fn factor(&self) -> f32 {
        self.factor
    }

    /// A sample: how much longer than at its best the round trip took. `active`: pictures went out since the
    /// last one.
    pub(super) fn delayed(&mut self, delay: Duration, cap: u32, ratio: f32, active: bool, now: Instant) {
        let cap = cap.clamp(1, 120) as f32;
        let (least, normal) = match ratio {
            1.5.. => (8.0, 16.0),
            0.67.. => (10.0, 20.0),
            _ => (12.0, 24.0),
        };
        let improving = delay < self.last;
        self.last = delay;
        self.samples = self.samples.wrapping_add(1);
        let third = self.samples.is_multiple_of(3);
        let fps = self.fps.min(cap);
        let ms = delay.as_millis().min(60_000) as f32;
        let slower = fps * 150.0 / ms.max(1.0);
        let slowest = 150.0 * least / ms.max(1.0);
        self.fps = match ms {
            ..50.0 if third => fps + 5.0,
            ..50.0 if fps < normal => fps + 1.0,
            50.0..100.0 if improving && fps < normal => fps + 1.0,
            100.0..150.0 if third => fps + 1.0,
            ..150.0 => fps,
            150.0..200.0 => slower.max(least),
            200.0..300.0 => slower.min(least),
            300.0..600.0 => slowest,
            _ => slower.min(slowest),
        }
        .clamp(1.0, cap);
        if self.stepped.is_none_or(|before| now.duration_since(before) >= RATIO_STEP) {
            self.stepped = Some(now);
            self.step(ms, ratio, active);
        }
    }

    fn step(&mut self, ms: f32, ratio: f32, active: bool) {
        let step = match ms {
            ..50.0 if active => 1.15,
            50.0..100.0 if active => 1.10,
            100.0..150.0 if active => 1.05,
            ..150.0 => 1.0,
            150.0..200.0 => 0.95,
            200.0..300.0 => 0.90,
            300.0..500.0 => 0.85,
            _ => 0.80,
        };
        let floor = match ratio {
            1.5.. => 0.6,
            0.67.. => 0.3,
            _ => 0.1,
        };
        let wished = (self.factor * step).min(1.0);
        self.factor = wished.max((floor / ratio).min(1.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bitrate_is_that_of_stock() {
        // Seen on the wire: session §3.4.
        let size = Size::new(1280, 800);
        assert_eq!(bitrate(size, 1.0), 1074);
        assert_eq!(bitrate(size, 0.67), 719);
        assert_eq!(bitrate(size, 1.5), 1611);
        assert_eq!(bitrate(Size::new(1920, 1080), 1.0), 2073);
        assert!(bitrate(Size::new(1, 1), 0.2) >= 50);
    }

    fn after(delays: &[u64], cap: u32, ratio: f32) -> Pace {
        let mut pace = Pace::new();
        let start = Instant::now();
        for (second, delay) in (0..).zip(delays) {
            let now = start + Duration::from_secs(second);
            pace.delayed(Duration::from_millis(*delay), cap, ratio, true, now);
        }
        pace
    }

    #[test]
    fn a_quick_line_keeps_full_speed() {
        let pace = after(&[5, 3, 8, 2], 30, 0.67);
        assert_eq!(pace.fps(30), 30);
        assert_eq!(pace.factor(), 1.0);
    }

    #[test]
    fn a_slow_line_gets_fewer_pictures_and_bits() {
        assert_eq!(after(&[250], 30, 0.67).fps(30), 10);
        assert_eq!(after(&[400], 30, 0.67).fps(30), 3);
        assert_eq!(after(&[20_000], 30, 0.67).fps(30), 1);
        let pace = after(&[700; 31], 30, 0.67);
        assert!((pace.factor() - 0.3 / 0.67).abs() < 0.01, "{}", pace.factor());
    }

    #[test]
    fn a_line_that_recovers_gets_its_speed_back() {
        let mut delays = vec![700; 10];
        delays.extend([1; 40]);
        let pace = after(&delays, 30, 0.67);
        assert_eq!(pace.fps(30), 30);
        assert_eq!(pace.factor(), 1.0);
    }
}
