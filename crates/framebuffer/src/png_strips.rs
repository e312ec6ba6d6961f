//! PNG files made of strips that are compressed once.
//!
//! Each strip is an IDAT chunk of its own: its rows filtered without looking at the strip above, deflated
//! without looking back over its start, ended on a byte. So a strip stays good as long as its own pixels
//! do, and a file is strips one behind the other (PNG specification, third edition, §9, §10 and §11.2).

use crate::PictureError;
use crate::painter::Painter;
use crate::shape::Shape;
use crate::strips::Press;
use flate2::{Compress, Compression, FlushCompress, Status};
use remote::Size;
use std::ops::Range;

const BYTES_PER_PIXEL: usize = 3;
const ADLER_BASE: u32 = 65_521;

/// A strip, ready to be put into a file.
#[derive(Debug, Clone)]
pub(crate) struct PngStrip {
    /// A whole IDAT chunk.
    chunk: Vec<u8>,
    /// Of the filtered rows.
    adler: u32,
    filtered_length: usize,
}

impl PngStrip {
    pub(crate) fn len(&self) -> usize {
        self.chunk.len()
    }
}

/// Level 1 of zlib's scale: the others cost several times as much for a few percent.
const LEVEL: u32 = 1;

/// What compressing needs besides the pixels, kept from one strip to the next.
pub(crate) struct StripCompressor {
    deflate: Compress,
    rgb: Vec<u8>,
    filtered: Vec<u8>,
}

impl StripCompressor {
    pub(crate) fn new() -> Self {
        Self { deflate: Compress::new(Compression::new(LEVEL), false), rgb: Vec::new(), filtered: Vec::new() }
    }

    /// Compresses whole rows of `width` pixels, four bytes each, of which the last does not count.
    fn compress(&mut self, rgbx: &[u8], width: u32) -> Result<PngStrip, PictureError> {
        let row = width as usize * BYTES_PER_PIXEL;
        // A strip is 32 rows of at most 2000 pixels.
        let rows = (rgbx.len() / (width as usize * 4)) as u32;
        self.rgb.resize(rows as usize * row, 0);
        yuv::rgba_to_rgb(rgbx, width * 4, &mut self.rgb, row as u32, width, rows)
            .map_err(|error| PictureError::Encoding(error.to_string()))?;
        filter(&self.rgb, row, &mut self.filtered);
        let mut chunk = chunk_start(*b"IDAT");
        // Text on a plain ground takes less than a tenth.
        chunk.reserve(self.filtered.len() / 10 + 64);
        self.deflate.reset();
        loop {
            let done = self.deflate.total_in() as usize;
            let rest = &self.filtered[done..];
            let status = self.deflate.compress_vec(rest, &mut chunk, FlushCompress::Sync);
            match status {
                Ok(Status::Ok | Status::BufError)
                    if self.deflate.total_in() as usize == self.filtered.len() =>
                {
                    // Room left over means that the flush is complete.
                    if chunk.len() < chunk.capacity() {
                        break;
                    }
                }
                Ok(_) => {}
                Err(error) => return Err(PictureError::Encoding(error.to_string())),
            }
            chunk.reserve(chunk.len().max(4096));
        }
        let mut adler = simd_adler32::Adler32::new();
        adler.write(&self.filtered);
        finish_chunk(&mut chunk);
        chunk.shrink_to_fit();
        Ok(PngStrip { chunk, adler: adler.finish(), filtered_length: self.filtered.len() })
    }
}

impl std::fmt::Debug for StripCompressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StripCompressor")
    }
}

impl Press for StripCompressor {
    type Strip = PngStrip;

    fn press(
        &mut self,
        painter: &mut Painter<'_>,
        shape: Shape,
        strips: Range<u32>,
        take: &mut dyn FnMut(u32, PngStrip, usize),
    ) -> Result<(), PictureError> {
        let rows = painter.strips(shape, strips.clone())?;
        for (strip, rows) in strips.zip(rows.chunks(shape.strip_bytes())) {
            let made = self.compress(rows, shape.size.width)?;
            let bytes = made.len();
            take(strip, made, bytes);
        }
        Ok(())
    }
}

/// A file of all strips of a picture, from the top.
pub(crate) fn file<'a>(size: Size, strips: impl Iterator<Item = &'a PngStrip> + Clone) -> Vec<u8> {
    let length: usize = strips.clone().map(PngStrip::len).sum();
    let mut file = Vec::with_capacity(length + 100);
    file.extend_from_slice(b"\x89PNG\r\n\x1a\n");
    let mut header = [0; 13];
    header[..4].copy_from_slice(&size.width.to_be_bytes());
    header[4..8].copy_from_slice(&size.height.to_be_bytes());
    const RGB_OF_8_BITS: [u8; 2] = [8, 2];
    header[8..10].copy_from_slice(&RGB_OF_8_BITS);
    push_chunk(&mut file, *b"IHDR", &header);
    // Deflate with a window of 32 KiB, the fastest kind.
    push_chunk(&mut file, *b"IDAT", &[0x78, 0x01]);
    let mut adler = 1;
    for strip in strips {
        file.extend_from_slice(&strip.chunk);
        adler = combine_adler(adler, strip.adler, strip.filtered_length);
    }
    // An empty last block, and the checksum of all.
    let mut end = [0x03, 0x00, 0, 0, 0, 0];
    end[2..].copy_from_slice(&adler.to_be_bytes());
    push_chunk(&mut file, *b"IDAT", &end);
    push_chunk(&mut file, *b"IEND", &[]);
    file
}

/// The bytes of a file besides those of its strips.
pub(crate) const OVERHEAD: usize = 8 + (12 + 13) + (12 + 2) + (12 + 6) + 12;

/// A chunk whose length is not known yet.
fn chunk_start(kind: [u8; 4]) -> Vec<u8> {
    let mut chunk = vec![0; 4];
    chunk.extend_from_slice(&kind);
    chunk
}

fn finish_chunk(chunk: &mut Vec<u8>) {
    // A strip is 32 rows of at most 2000 pixels.
    let length = (chunk.len() - 8) as u32;
    chunk[..4].copy_from_slice(&length.to_be_bytes());
    let sum = crc32fast::hash(&chunk[4..]);
    chunk.extend_from_slice(&sum.to_be_bytes());
}

fn push_chunk(file: &mut Vec<u8>, kind: [u8; 4], body: &[u8]) {
    let mut chunk = chunk_start(kind);
    chunk.extend_from_slice(body);
    finish_chunk(&mut chunk);
    file.extend_from_slice(&chunk);
}

/// The checksum of two pieces one behind the other, from those of each (RFC 1950 §8).
fn combine_adler(first: u32, second: u32, second_length: usize) -> u32 {
    let (a1, b1) = (u64::from(first & 0xffff), u64::from(first >> 16));
    let (a2, b2) = (u64::from(second & 0xffff), u64::from(second >> 16));
    let base = u64::from(ADLER_BASE);
    let length = second_length as u64 % base;
    let a = (a1 + a2 + base - 1) % base;
    let b = (b1 + b2 + length * (a1 + base - 1)) % base;
    (b as u32) << 16 | a as u32
}

/// Filters rows of `row` bytes: as the difference to the row above or to the pixel on the left, whichever is
/// smaller; the first row looks at itself only.
fn filter(rgb: &[u8], row: usize, out: &mut Vec<u8>) {
    const SUB: u8 = 1;
    const UP: u8 = 2;
    out.clear();
    out.reserve(rgb.len() + rgb.len() / row.max(1));
    let mut above: Option<&[u8]> = None;
    for current in rgb.chunks_exact(row) {
        let (first, rest) = current.split_at(BYTES_PER_PIXEL);
        let left = &current[..rest.len()];
        match above {
            Some(above) if current == above || distance(current, above) <= distance(rest, left) => {
                out.push(UP);
                out.extend(current.iter().zip(above).map(|(byte, above)| byte.wrapping_sub(*above)));
            }
            _ => {
                out.push(SUB);
                out.extend_from_slice(first);
                out.extend(rest.iter().zip(left).map(|(byte, left)| byte.wrapping_sub(*left)));
            }
        }
        above = Some(current);
    }
}

/// The sum of all differences, in the form that compilers turn into one instruction for many bytes.
fn distance(a: &[u8], b: &[u8]) -> u32 {
    a.iter().zip(b).map(|(a, b)| u32::from(a.abs_diff(*b))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_combine_to_that_of_the_whole() {
        let data: Vec<u8> = (0..200_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let sum = |data: &[u8]| {
            let mut adler = simd_adler32::Adler32::new();
            adler.write(data);
            adler.finish()
        };
        for at in [0, 1, 5_552, 65_521, 65_522, 131_042, 199_999, 200_000] {
            let (first, second) = data.split_at(at);
            assert_eq!(combine_adler(sum(first), sum(second), second.len()), sum(&data), "at {at}");
        }
    }
}
