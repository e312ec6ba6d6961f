//! Picture files, and what of the last one can be used for the next.

use crate::jpeg_strips::{self, JpegStrip};
use crate::painter::Pointer;
use crate::png_strips::{self, PngStrip};
use crate::shape::Shape;
use crate::strips::{Kept, Source, Strips, within};
use crate::{Budget, EncodedPicture, Format, PictureError, PictureFormat, PictureRequest};
use bytes::Bytes;
use remote::{Frame, Pixels, Rect};
use turbojpeg::Subsamp;

/// Qualities of JPEG, the best first. Under the last one letters lose their shape.
const QUALITIES: [u8; 3] = [85, 78, LOWEST_QUALITY];
const LOWEST_QUALITY: u8 = 70;

/// Files are made smaller at most so often; each time takes a tenth at least.
const SMALLER: usize = 40;

/// What is kept of the answers to one request.
#[derive(Debug)]
pub(crate) struct Answers {
    region: Rect,
    format: Format,
    budget: Budget,
    shape: Shape,
    png: Strips<PngStrip>,
    /// One for each of [`QUALITIES`].
    jpeg: [Strips<JpegStrip>; QUALITIES.len()],
    file: Option<Kept<EncodedPicture>>,
}

impl Answers {
    pub(crate) fn new(region: Rect, request: &PictureRequest) -> Self {
        let shape = Shape::fitting(region, &request.budget);
        Self {
            region,
            format: request.format,
            budget: request.budget,
            shape,
            png: Strips::none(shape),
            jpeg: QUALITIES.map(|_| Strips::none(shape)),
            file: None,
        }
    }

    /// Whether these are answers to `request`, whatever pointer it wants.
    pub(crate) fn are_to(&self, region: Rect, request: &PictureRequest) -> bool {
        (self.region, self.format, self.budget) == (region, request.format, request.budget)
    }

    pub(crate) fn picture(
        &mut self,
        source: &Source<'_>,
        pointer: Option<&Pointer>,
    ) -> Result<EncodedPicture, PictureError> {
        let pointer = within(pointer, self.region);
        if let Some(file) = self.file.as_ref().filter(|f| f.is_good(source, self.region, pointer)) {
            return Ok(file.made.clone());
        }
        let made = match self.format {
            Format::Png => self.png_of_some_size(source, pointer)?,
            Format::Jpeg => self.jpeg_of_some_size(source, pointer)?,
            Format::Auto => match self.png(source, pointer, self.budget.file_bytes())? {
                Ok(picture) => picture,
                Err(_) => self.jpeg_of_some_size(source, pointer)?,
            },
        };
        let (bytes, generation) = (made.data.len(), source.generation);
        self.file = Some(Kept { made: made.clone(), bytes, generation, pointer: pointer.cloned() });
        Ok(made)
    }

    /// PNG at the shape of the request, or the bytes that it would take if they are over the budget; counted
    /// no further than `most`.
    fn png(
        &mut self,
        source: &Source<'_>,
        pointer: Option<&Pointer>,
        most: usize,
    ) -> Result<Result<EncodedPicture, usize>, PictureError> {
        let shape = self.shape;
        let bytes = renew_png(&mut self.png, shape, source, pointer, most)?;
        if bytes > self.budget.file_bytes() {
            return Ok(Err(bytes));
        }
        let data = png_strips::file(shape.size, self.png.iter());
        Ok(Ok(self.encoded(data, PictureFormat::Png, shape)))
    }

    /// PNG, at a smaller shape if it must be; nothing of that one is kept.
    fn png_of_some_size(
        &mut self,
        source: &Source<'_>,
        pointer: Option<&Pointer>,
    ) -> Result<EncodedPicture, PictureError> {
        let mut bytes = match self.png(source, pointer, usize::MAX)? {
            Ok(picture) => return Ok(picture),
            Err(bytes) => bytes,
        };
        let mut shape = self.shape;
        for _ in 0..SMALLER {
            shape = self.smaller(shape, bytes)?;
            let mut strips = Strips::none(shape);
            bytes = renew_png(&mut strips, shape, source, pointer, usize::MAX)?;
            if bytes <= self.budget.file_bytes() {
                let data = png_strips::file(shape.size, strips.iter());
                return Ok(self.encoded(data, PictureFormat::Png, shape));
            }
        }
        Err(PictureError::OverBudget(self.region))
    }

    /// JPEG of the best quality that fits, or at a smaller shape, of which nothing is kept.
    fn jpeg_of_some_size(
        &mut self,
        source: &Source<'_>,
        pointer: Option<&Pointer>,
    ) -> Result<EncodedPicture, PictureError> {
        let most = self.budget.file_bytes();
        let mut shape = self.shape;
        let mut bytes = 0;
        for (quality, strips) in QUALITIES.into_iter().zip(&mut self.jpeg) {
            // The last one is finished: its size tells how much smaller the shape must be.
            let count_to = if quality == LOWEST_QUALITY { usize::MAX } else { most };
            bytes = renew_jpeg(strips, shape, source, pointer, quality, count_to)?;
            if bytes <= most {
                let data = jpeg_strips::file(shape.size, colour(source.frame, shape), strips.iter());
                let data = data.unwrap_or_default();
                return Ok(self.encoded(data, PictureFormat::Jpeg { quality }, shape));
            }
        }
        for _ in 0..SMALLER {
            shape = self.smaller(shape, bytes)?;
            let mut strips = Strips::none(shape);
            bytes = renew_jpeg(&mut strips, shape, source, pointer, LOWEST_QUALITY, usize::MAX)?;
            if bytes <= most {
                let data = jpeg_strips::file(shape.size, colour(source.frame, shape), strips.iter());
                let format = PictureFormat::Jpeg { quality: LOWEST_QUALITY };
                return Ok(self.encoded(data.unwrap_or_default(), format, shape));
            }
        }
        Err(PictureError::OverBudget(self.region))
    }

    /// A shape whose file is likely to fit, if that of `shape` has so many `bytes`.
    fn smaller(&self, shape: Shape, bytes: usize) -> Result<Shape, PictureError> {
        let share = self.budget.base64_bytes as f64 / (bytes as f64 * 4.0 / 3.0);
        let smaller = shape.scaled((share.sqrt() * 0.97).clamp(0.1, 0.9), self.budget.area);
        if smaller == shape { Err(PictureError::OverBudget(self.region)) } else { Ok(smaller) }
    }

    fn encoded(&self, data: Vec<u8>, format: PictureFormat, shape: Shape) -> EncodedPicture {
        EncodedPicture { data: Bytes::from(data), format, size: shape.size, region: self.region }
    }
}

/// As [`Strips::renew`], with the bytes of the whole file.
fn renew_png(
    strips: &mut Strips<PngStrip>,
    shape: Shape,
    source: &Source<'_>,
    pointer: Option<&Pointer>,
    most: usize,
) -> Result<usize, PictureError> {
    let rest = most.saturating_sub(png_strips::OVERHEAD);
    let bytes = strips.renew(shape, source, pointer, rest, || Ok(png_strips::StripCompressor::new()))?;
    Ok(bytes + png_strips::OVERHEAD)
}

/// As [`Strips::renew`], with the bytes of the whole file.
fn renew_jpeg(
    strips: &mut Strips<JpegStrip>,
    shape: Shape,
    source: &Source<'_>,
    pointer: Option<&Pointer>,
    quality: u8,
    most: usize,
) -> Result<usize, PictureError> {
    let colour = colour(source.frame, shape);
    let rest = most.saturating_sub(jpeg_strips::OVERHEAD);
    let press = || jpeg_strips::StripCompressor::new(quality, colour, shape.size.width);
    Ok(strips.renew(shape, source, pointer, rest, press)? + jpeg_strips::OVERHEAD)
}

/// How much colour to keep. Coloured letters lose their edges if chroma is halved, so it is only where it
/// came halved at the same places.
fn colour(frame: &Frame, shape: Shape) -> Subsamp {
    let halved = matches!(frame.pixels, Pixels::I420(_));
    let same_places =
        shape.is_native() && shape.region.x.is_multiple_of(2) && shape.region.y.is_multiple_of(2);
    if halved && same_places { Subsamp::Sub2x2 } else { Subsamp::None }
}
