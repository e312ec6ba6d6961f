//! JPEG files made of strips that are compressed once.
//!
//! Each strip is compressed as a picture of its own, with the same tables. In the file the strips are
//! restart intervals: their entropy-coded data, one behind the other, with restart markers between them
//! (ITU-T T.81 §B.2 and §E.1.4). Decoders see one picture.

use crate::PictureError;
use crate::painter::Painter;
use crate::shape::{STRIP, Shape};
use crate::strips::Press;
use remote::{Pixels, Plane, Rect, Size};
use std::ops::Range;
use turbojpeg::{Compressor, Image, PixelFormat, Subsamp, YuvPlanesImage};

/// A strip, ready to be put into a file.
#[derive(Debug, Clone)]
pub(crate) struct JpegStrip {
    /// All up to the start of the scan: tables, and the size of this strip.
    head: Vec<u8>,
    /// Where in `head` the height stands.
    height_at: usize,
    /// Where in `head` the header of the scan begins.
    scan_header_at: usize,
    /// Entropy-coded data.
    scan: Vec<u8>,
}

impl JpegStrip {
    pub(crate) fn len(&self) -> usize {
        self.scan.len() + 2
    }
}

/// Bytes of a file besides those of its strips: what libjpeg's tables take, rounded up.
pub(crate) const OVERHEAD: usize = 640;

/// Compresses strips of one quality.
pub(crate) struct StripCompressor {
    compressor: Compressor,
    colour: Subsamp,
    /// Y, U, V in the range of JPEG.
    planes: [Vec<u8>; 3],
    /// Large enough for the file of any strip.
    file: Vec<u8>,
}

impl StripCompressor {
    pub(crate) fn new(quality: u8, colour: Subsamp, width: u32) -> Result<Self, PictureError> {
        let mut compressor = Compressor::new().map_err(failed)?;
        compressor.set_quality(i32::from(quality)).map_err(failed)?;
        compressor.set_subsamp(colour).map_err(failed)?;
        let most = turbojpeg::compressed_buf_len(width as usize, STRIP as usize, colour).map_err(failed)?;
        let (planes, file) = (Default::default(), vec![0; most]);
        Ok(Self { compressor, colour, planes, file })
    }

    /// Compresses whole rows of `width` pixels, four bytes each, of which the last does not count.
    fn compress(&mut self, rgbx: &[u8], width: u32) -> Result<JpegStrip, PictureError> {
        let width = width as usize;
        let pitch = width * 4;
        let (pixels, height) = (rgbx, rgbx.len() / pitch);
        let image = Image { pixels, width, pitch, height, format: PixelFormat::RGBX };
        let length = self.compressor.compress_to_slice(image, &mut self.file).map_err(failed)?;
        cut(&self.file[..length]).ok_or_else(not_understood)
    }

    /// Compresses the pixels of `rect` as they came from the decoder: they are never red, green and blue.
    fn compress_planes(&mut self, planes: &[Plane; 3], rect: Rect) -> Result<JpegStrip, PictureError> {
        let (width, height) = (rect.width as usize, rect.height as usize);
        // The library reads whole samples of chroma and the luma of all their pixels.
        let (columns, rows) = (width.next_multiple_of(2), height.next_multiple_of(2));
        let [y, u, v] = &mut self.planes;
        let luma = Samples { plane: &planes[0], left: rect.x as usize, top: rect.y as usize, width, height };
        luma.stretch(columns, rows, y, |sample| {
            // From 16..=235 to 0..=255.
            (u16::from(sample.clamp(16, 235) - 16) * 298 + 128) >> 8
        });
        let (left, top) = (rect.x as usize / 2, rect.y as usize / 2);
        for (plane, out) in [(&planes[1], u), (&planes[2], v)] {
            let chroma = Samples { plane, left, top, width: columns / 2, height: rows / 2 };
            chroma.stretch(columns / 2, rows / 2, out, |sample| {
                // From 16..=240 to 0..=255, so that 128 stays.
                (u16::from(sample.clamp(16, 240) - 16) * 291 + 256) >> 8
            });
        }
        let [y, u, v] = &self.planes;
        let image = YuvPlanesImage {
            y_plane: &y[..],
            u_plane: &u[..],
            v_plane: &v[..],
            width,
            height,
            y_stride: columns,
            u_stride: columns / 2,
            v_stride: columns / 2,
            subsamp: self.colour,
        };
        let length = self.compressor.compress_yuv_planes_to_slice(&image, &mut self.file).map_err(failed)?;
        cut(&self.file[..length]).ok_or_else(not_understood)
    }
}

impl Press for StripCompressor {
    type Strip = JpegStrip;

    fn press(
        &mut self,
        painter: &mut Painter<'_>,
        shape: Shape,
        strips: Range<u32>,
        take: &mut dyn FnMut(u32, JpegStrip, usize),
    ) -> Result<(), PictureError> {
        let mut take = |strip, made: JpegStrip| {
            let bytes = made.len();
            take(strip, made, bytes);
        };
        if let Pixels::I420(planes) = &painter.frame().pixels
            && self.colour == Subsamp::Sub2x2
        {
            for strip in strips {
                let made = if painter.has_pointer(shape.strip_source(strip)) {
                    self.compress(painter.strips(shape, strip..strip + 1)?, shape.size.width)?
                } else {
                    self.compress_planes(planes, shape.strip_source(strip))?
                };
                take(strip, made);
            }
            return Ok(());
        }
        let rows = painter.strips(shape, strips.clone())?;
        for (strip, rows) in strips.zip(rows.chunks(shape.strip_bytes())) {
            take(strip, self.compress(rows, shape.size.width)?);
        }
        Ok(())
    }
}

/// Some samples of a plane.
struct Samples<'a> {
    plane: &'a Plane,
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

impl Samples<'_> {
    /// Copies them through `convert`; the last column and row once more where more are asked for.
    fn stretch(&self, columns: usize, rows: usize, out: &mut Vec<u8>, convert: impl Fn(u8) -> u16) {
        out.clear();
        for row in 0..rows {
            let all = self.plane.row(self.top + row.min(self.height - 1), self.left + self.width);
            out.extend(all[self.left..].iter().map(|sample| convert(*sample) as u8));
            if let Some(last) = out.last().copied().filter(|_| columns > self.width) {
                out.push(last);
            }
        }
    }
}

fn not_understood() -> PictureError {
    PictureError::Encoding("a JPEG file that is not understood".to_owned())
}

fn failed(error: turbojpeg::Error) -> PictureError {
    PictureError::Encoding(error.to_string())
}

/// Takes a file of one scan apart.
fn cut(file: &[u8]) -> Option<JpegStrip> {
    const START_OF_FRAME: u8 = 0xc0;
    const START_OF_SCAN: u8 = 0xda;
    const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];
    let mut at = 2;
    let mut height_at = None;
    loop {
        let [0xff, marker, high, low] = *file.get(at..at + 4)? else { return None };
        let next = at + 2 + usize::from(u16::from_be_bytes([high, low]));
        match marker {
            START_OF_FRAME => height_at = Some(at + 5),
            START_OF_SCAN => {
                let scan = file.get(next..)?.strip_suffix(&END_OF_IMAGE)?;
                return Some(JpegStrip {
                    head: file[..next].to_vec(),
                    height_at: height_at?,
                    scan_header_at: at,
                    scan: scan.to_vec(),
                });
            }
            _ => {}
        }
        at = next;
    }
}

/// A file of all strips of a picture, from the top; `None` if there are none.
pub(crate) fn file<'a>(
    size: Size,
    colour: Subsamp,
    mut strips: impl Iterator<Item = &'a JpegStrip>,
) -> Option<Vec<u8>> {
    let first = strips.next()?;
    let mut file = first.head[..first.scan_header_at].to_vec();
    // No picture has a side over 2000 pixels.
    file[first.height_at..first.height_at + 2].copy_from_slice(&(size.height as u16).to_be_bytes());
    let (columns, rows) = colour.mcu_size();
    let blocks = (size.width as usize).div_ceil(columns) * (STRIP as usize / rows);
    let [high, low] = (blocks as u16).to_be_bytes();
    file.extend([0xff, 0xdd, 0, 4, high, low]);
    file.extend_from_slice(&first.head[first.scan_header_at..]);
    file.extend_from_slice(&first.scan);
    for (number, strip) in (0u8..=7).cycle().zip(strips) {
        file.extend([0xff, 0xd0 | number]);
        file.extend_from_slice(&strip.scan);
    }
    file.extend([0xff, 0xd9]);
    Some(file)
}
