//! Picture files, and what of the last one can be used for the next.

use crate::native::Span;
use crate::painter::{Painter, Pointer};
use crate::png_strips::{self, PngStrip, StripCompressor};
use crate::shape::Shape;
use crate::{Budget, EncodedPicture, Format, PictureError, PictureFormat, PictureRequest};
use bytes::Bytes;
use remote::{Frame, Pixels, Rect};
use std::ops::Range;
use turbojpeg::{Compressor, Image, PixelFormat, Subsamp};

/// Qualities of JPEG, the best first. Under the last one letters lose their shape.
const QUALITIES: [u8; 3] = [85, 78, 70];

/// Files are made smaller at most so often; each time takes a tenth at least.
const SMALLER: usize = 40;

/// The newest frame and when its rows last changed.
pub(crate) struct Source<'a> {
    pub(crate) frame: &'a Frame,
    /// Counts the frames that differ from the one before.
    pub(crate) generation: u64,
    /// The generation in which any of some rows last changed.
    pub(crate) newest: &'a dyn Fn(Range<u32>) -> u64,
}

/// What is kept of the answers to one request.
#[derive(Debug)]
pub(crate) struct Answers {
    region: Rect,
    format: Format,
    budget: Budget,
    shape: Shape,
    strips: Vec<Option<Kept<PngStrip>>>,
    file: Option<Kept<EncodedPicture>>,
}

/// Something made of pixels, and what it was made of.
#[derive(Debug)]
struct Kept<T> {
    made: T,
    generation: u64,
    pointer: Option<Pointer>,
}

impl<T> Kept<T> {
    /// Whether `rect` with `pointer` over it would make the same thing again.
    fn is_good(&self, source: &Source<'_>, rect: Rect, pointer: Option<&Pointer>) -> bool {
        (source.newest)(rect.y..rect.y + rect.height) <= self.generation && self.pointer.as_ref() == pointer
    }
}

impl Answers {
    pub(crate) fn new(region: Rect, request: &PictureRequest) -> Self {
        let shape = Shape::fitting(region, &request.budget);
        let strips = (0..shape.strips()).map(|_| None).collect();
        Self { region, format: request.format, budget: request.budget, shape, strips, file: None }
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
        let mut painter = Painter::new(source.frame, pointer);
        let png = match self.format {
            Format::Jpeg => None,
            Format::Auto | Format::Png => self.png(source, pointer, &mut painter)?,
        };
        let made = match (png, self.format) {
            (Some(png), _) => png,
            (None, Format::Png) => self.smaller_png(&mut painter)?,
            (None, _) => self.jpeg(&mut painter)?,
        };
        let kept = Kept { made: made.clone(), generation: source.generation, pointer: pointer.cloned() };
        self.file = Some(kept);
        Ok(made)
    }

    /// A PNG file of the strips that are still good and new ones for the others; `None` if it is too large.
    fn png(
        &mut self,
        source: &Source<'_>,
        pointer: Option<&Pointer>,
        painter: &mut Painter<'_>,
    ) -> Result<Option<EncodedPicture>, PictureError> {
        let mut compressor = None;
        let mut bytes = png_strips::OVERHEAD;
        for (strip, kept) in (0..).zip(&mut self.strips) {
            let rect = self.shape.strip_source(strip);
            let pointer = within(pointer, rect);
            if !kept.as_ref().is_some_and(|kept| kept.is_good(source, rect, pointer)) {
                let rgb = painter.strip(self.shape, strip)?;
                let compressor = compressor.get_or_insert_with(StripCompressor::new);
                let made = compressor.compress(rgb, self.shape.size.width)?;
                *kept = Some(Kept { made, generation: source.generation, pointer: pointer.cloned() });
            }
            bytes += kept.as_ref().map_or(0, |kept| kept.made.len());
            if !self.budget.allows(bytes) {
                return Ok(None);
            }
        }
        let strips = self.strips.iter().flatten().map(|kept| &kept.made);
        let data = Bytes::from(png_strips::file(self.shape.size, strips));
        Ok(Some(self.encoded(data, PictureFormat::Png, self.shape)))
    }

    /// The largest PNG file that is found to fit; nothing of it is kept.
    fn smaller_png(&self, painter: &mut Painter<'_>) -> Result<EncodedPicture, PictureError> {
        let mut compressor = StripCompressor::new();
        let mut shape = self.shape;
        for _ in 0..SMALLER {
            let mut strips = Vec::new();
            for strip in 0..shape.strips() {
                strips.push(compressor.compress(painter.strip(shape, strip)?, shape.size.width)?);
            }
            let data = png_strips::file(shape.size, strips.iter());
            if self.budget.allows(data.len()) {
                return Ok(self.encoded(data.into(), PictureFormat::Png, shape));
            }
            shape = self.smaller(shape, data.len())?;
        }
        Err(PictureError::OverBudget(self.region))
    }

    fn jpeg(&self, painter: &mut Painter<'_>) -> Result<EncodedPicture, PictureError> {
        let failed = |error: turbojpeg::Error| PictureError::Encoding(error.to_string());
        let mut compressor = Compressor::new().map_err(failed)?;
        let mut shape = self.shape;
        let mut rgb = Vec::new();
        let mut qualities = &QUALITIES[..];
        for _ in 0..SMALLER {
            rgb.clear();
            for strip in 0..shape.strips() {
                rgb.extend_from_slice(painter.strip(shape, strip)?);
            }
            let (width, height) = (shape.size.width as usize, shape.size.height as usize);
            let image = Image { pixels: &rgb[..], width, pitch: width * 3, height, format: PixelFormat::RGB };
            compressor.set_subsamp(colour(painter.frame(), shape)).map_err(failed)?;
            let mut bytes = 0;
            for quality in qualities {
                compressor.set_quality(i32::from(*quality)).map_err(failed)?;
                let data = compressor.compress_to_vec(image).map_err(failed)?;
                if self.budget.allows(data.len()) {
                    return Ok(self.encoded(data.into(), PictureFormat::Jpeg { quality: *quality }, shape));
                }
                bytes = data.len();
            }
            qualities = &QUALITIES[QUALITIES.len() - 1..];
            shape = self.smaller(shape, bytes)?;
        }
        Err(PictureError::OverBudget(self.region))
    }

    /// A shape whose file is likely to fit, if that of `shape` has so many `bytes`.
    fn smaller(&self, shape: Shape, bytes: usize) -> Result<Shape, PictureError> {
        let share = self.budget.base64_bytes as f64 / (bytes as f64 * 4.0 / 3.0);
        let smaller = shape.scaled((share.sqrt() * 0.97).clamp(0.1, 0.9), self.budget.area);
        if smaller == shape { Err(PictureError::OverBudget(self.region)) } else { Ok(smaller) }
    }

    fn encoded(&self, data: Bytes, format: PictureFormat, shape: Shape) -> EncodedPicture {
        EncodedPicture { data, format, size: shape.size, region: self.region }
    }
}

/// How much colour to keep. Coloured letters lose their edges if chroma is halved, so it is only where it
/// came halved at the same places.
fn colour(frame: &Frame, shape: Shape) -> Subsamp {
    let halved = matches!(frame.pixels, Pixels::I420(_));
    let same_places = shape.is_native() && shape.region.x % 2 == 0 && shape.region.y % 2 == 0;
    if halved && same_places { Subsamp::Sub2x2 } else { Subsamp::None }
}

/// The pointer, if anything of it is in `rect`.
fn within(pointer: Option<&Pointer>, rect: Rect) -> Option<&Pointer> {
    pointer.filter(|(at, shape)| {
        Span::of(*at, shape).is_some_and(|span| !span.rect.intersection(rect).is_empty())
    })
}
