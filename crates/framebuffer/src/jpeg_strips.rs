//! JPEG files made of strips that are compressed once.
//!
//! Each strip is compressed as a picture of its own, with the same tables. In the file the strips are
//! restart intervals: their entropy-coded data, one behind the other, with restart markers between them
//! (ITU-T T.81 §B.2 and §E.1.4). Decoders see one picture.

use crate::PictureError;
use crate::shape::STRIP;
use remote::Size;
use turbojpeg::{Compressor, Image, PixelFormat, Subsamp};

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
pub(crate) struct StripCompressor(Compressor);

impl StripCompressor {
    pub(crate) fn new(quality: u8, colour: Subsamp) -> Result<Self, PictureError> {
        let mut compressor = Compressor::new().map_err(failed)?;
        compressor.set_quality(i32::from(quality)).map_err(failed)?;
        compressor.set_subsamp(colour).map_err(failed)?;
        Ok(Self(compressor))
    }

    /// Compresses whole rows of `width` pixels, three bytes each.
    pub(crate) fn compress(&mut self, rgb: &[u8], width: u32) -> Result<JpegStrip, PictureError> {
        let pitch = width as usize * 3;
        let image = Image {
            pixels: rgb,
            width: width as usize,
            pitch,
            height: rgb.len() / pitch,
            format: PixelFormat::RGB,
        };
        let file = self.0.compress_to_vec(image).map_err(failed)?;
        cut(&file).ok_or_else(|| PictureError::Encoding("a JPEG file that is not understood".to_owned()))
    }
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
