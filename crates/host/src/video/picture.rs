//! Single pictures without loss.

use crate::screen::Grab;
use bytes::Bytes;
use remote::Size;

/// Pixels as PNG stores them: red, green, blue.
pub(super) struct Rgb {
    size: Size,
    samples: Vec<u8>,
}

impl Rgb {
    pub(super) fn of(grab: &Grab<'_>) -> Self {
        let row = grab.size.width as usize * 4;
        let mut samples = Vec::with_capacity(grab.size.area() as usize * 3);
        for line in grab.bgrx.chunks(grab.stride).take(grab.size.height as usize) {
            samples.extend(line[..row].chunks_exact(4).flat_map(|pixel| [pixel[2], pixel[1], pixel[0]]));
        }
        Self { size: grab.size, samples }
    }

    pub(super) fn png(&self) -> Result<Bytes, String> {
        let failed = |error: png::EncodingError| format!("the picture can not be written as PNG: {error}");
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, self.size.width, self.size.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Fast);
        let mut writer = encoder.write_header().map_err(failed)?;
        writer.write_image_data(&self.samples).map_err(failed)?;
        writer.finish().map_err(failed)?;
        Ok(Bytes::from(file))
    }
}
