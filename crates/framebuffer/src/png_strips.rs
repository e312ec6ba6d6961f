//! PNG files made of strips that are compressed once.
//!
//! Each strip is an IDAT chunk of its own: its rows filtered without looking at the strip above, deflated
//! without looking back over its start, ended on a byte. So a strip stays good as long as its own pixels
//! do, and a file is strips one behind the other (PNG specification, third edition, §9, §10 and §11.2).

use crate::PictureError;
use crate::deflate::{Deflater, Pixel, Rows};
use crate::painter::Painter;
use crate::shape::Shape;
use crate::strips::Press;
use remote::Size;
use std::ops::Range;

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

/// What compressing needs besides the pixels, kept from one strip to the next.
#[derive(Debug)]
pub(crate) struct StripCompressor {
    deflater: Deflater,
    filters: Vec<u8>,
    filtered: Vec<Pixel>,
    /// The filtered rows as bytes, each with its filter in front.
    stream: Vec<u8>,
}

impl StripCompressor {
    pub(crate) fn new() -> Self {
        Self { deflater: Deflater::new(), filters: Vec::new(), filtered: Vec::new(), stream: Vec::new() }
    }

    /// Compresses whole rows of `width` pixels, four bytes each, of which the last does not count.
    fn compress(&mut self, rgbx: &[u8], width: u32) -> Result<PngStrip, PictureError> {
        let width = width as usize;
        self.filter(rgbx.as_chunks::<4>().0, width);
        let mut chunk = chunk_start(*b"IDAT");
        let rows = Rows { filters: &self.filters, pixels: &self.filtered, width };
        self.deflater.compress(rows, &mut chunk);
        finish_chunk(&mut chunk);
        chunk.shrink_to_fit();
        let stream = self.stream(width)?;
        let mut adler = simd_adler32::Adler32::new();
        adler.write(stream);
        Ok(PngStrip { chunk, adler: adler.finish(), filtered_length: stream.len() })
    }

    /// Filters rows: not at all where colours last for more than a pixel, as they do on screens; else, in
    /// photographs, as the difference to the row above or to the pixel on the left, whichever is smaller.
    /// The first row looks at itself only.
    fn filter(&mut self, pixels: &[Pixel], width: usize) {
        const NONE: u8 = 0;
        const SUB: u8 = 1;
        const UP: u8 = 2;
        self.filters.clear();
        self.filtered.clear();
        self.filtered.reserve(pixels.len());
        let mut above: Option<&[Pixel]> = None;
        for row in pixels.chunks_exact(width) {
            let (first, rest) = row.split_at(1);
            let left = &row[..rest.len()];
            let filter = if repeated(rest, left) * 4 >= rest.len() || above == Some(row) {
                self.filtered.extend(row.iter().copied().map(colours));
                NONE
            } else if let Some(above) = above.filter(|above| distance(row, above) <= distance(rest, left)) {
                self.filtered.extend(row.iter().zip(above).map(|(pixel, above)| difference(*pixel, *above)));
                UP
            } else {
                self.filtered.push(colours(first[0]));
                self.filtered.extend(rest.iter().zip(left).map(|(pixel, left)| difference(*pixel, *left)));
                SUB
            };
            self.filters.push(filter);
            above = Some(row);
        }
    }

    /// What the block is made of, as bytes.
    fn stream(&mut self, width: usize) -> Result<&[u8], PictureError> {
        let (rows, stride) = (self.filters.len(), 1 + width * 3);
        // Rows are written with a gap of a byte behind each, where the filter of the next one goes.
        self.stream.resize(rows * stride + 1, 0);
        let pixels = self.filtered.as_flattened();
        // A strip is 32 rows of at most 2000 pixels.
        let [from, to, columns, rows] = [width * 4, stride, width, rows].map(|number| number as u32);
        yuv::rgba_to_rgb(pixels, from, &mut self.stream[1..], to, columns, rows)
            .map_err(|error| PictureError::Encoding(error.to_string()))?;
        for (filter, row) in self.filters.iter().zip(self.stream.chunks_exact_mut(stride)) {
            row[0] = *filter;
        }
        Ok(&self.stream[..self.filters.len() * stride])
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

fn colours([red, green, blue, _]: Pixel) -> Pixel {
    [red, green, blue, 0]
}

fn difference(a: Pixel, b: Pixel) -> Pixel {
    [a[0].wrapping_sub(b[0]), a[1].wrapping_sub(b[1]), a[2].wrapping_sub(b[2]), 0]
}

/// How many pixels have the colour of their neighbour.
fn repeated(pixels: &[Pixel], neighbours: &[Pixel]) -> usize {
    let same = |(a, b): (&Pixel, &Pixel)| {
        u32::from((u32::from_le_bytes(*a) ^ u32::from_le_bytes(*b)) & 0x00ff_ffff == 0)
    };
    pixels.iter().zip(neighbours).map(same).sum::<u32>() as usize
}

/// The sum of all differences, in the form that compilers turn into one instruction for many bytes.
fn distance(a: &[Pixel], b: &[Pixel]) -> u32 {
    a.as_flattened().iter().zip(b.as_flattened()).map(|(a, b)| u32::from(a.abs_diff(*b))).sum()
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
