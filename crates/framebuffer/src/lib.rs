//! The kept picture of a display: what changed, whether it is still, and PNG or JPEG within a budget.
//!
//! A [`Framebuffer`] holds the newest [`Frame`] in the colours that its decoder produced. Only what a
//! picture shows is converted, scaled and compressed, strip by strip, and strips whose pixels did not change
//! since the last picture of the same request stay compressed.

mod answers;
mod damage;
mod jpeg_strips;
mod native;
mod painter;
mod picture;
mod png_strips;
mod shape;
mod strips;

pub use damage::{Damage, compare};
pub use picture::{Budget, EncodedPicture, Format, PictureError, PictureFormat, PictureRequest};

use answers::Answers;
use remote::{Frame, Rect};
use std::ops::Range;
use std::time::{Duration, Instant};
use strips::Source;

/// What a sample may differ by when a codec repaints what did not change.
const TOLERANCE: u8 = 8;

/// Rows whose changes are remembered together.
const BAND: u32 = 8;

/// Requests whose strips are kept: the whole display and the regions that a caller looks at by turns.
const REQUESTS: usize = 4;

/// The newest picture of one display and what was learnt from those before it.
#[derive(Debug)]
pub struct Framebuffer {
    frame: Option<Frame>,
    /// When the content last changed; the first picture is a change.
    changed_at: Option<Instant>,
    /// Counts the frames that differ from the one before in any sample.
    generation: u64,
    /// The generation in which a sample of each band last differed.
    bands: Vec<u64>,
    /// The most recently asked for first.
    answers: Vec<Answers>,
    threads: usize,
}

impl Default for Framebuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl Framebuffer {
    /// One whose pictures are compressed by as many threads as the machine runs at once, four at most.
    pub fn new() -> Self {
        Self::with_threads(std::thread::available_parallelism().map_or(1, |threads| threads.get().min(4)))
    }

    /// One whose pictures are compressed by so many threads. They live no longer than the call, and there is
    /// one for every few rows that changed at most.
    pub fn with_threads(threads: usize) -> Self {
        Self { frame: None, changed_at: None, generation: 0, bands: Vec::new(), answers: Vec::new(), threads }
    }

    /// Takes a newer picture; says what changed.
    pub fn update(&mut self, frame: Frame, at: Instant) -> Damage {
        let generation = self.generation + 1;
        let damage = match &self.frame {
            Some(before) if before.size == frame.size => {
                let bands = &mut self.bands;
                let mut differs = false;
                let damage = damage::compare_rows(before, &frame, TOLERANCE, |rows| {
                    differs = true;
                    bands[band_range(rows)].fill(generation);
                });
                if differs {
                    self.generation = generation;
                }
                damage
            }
            _ => {
                self.generation = generation;
                self.bands = vec![generation; frame.size.height.div_ceil(BAND) as usize];
                self.answers.clear();
                Damage::all(frame.size)
            }
        };
        self.frame = Some(frame);
        if !damage.is_empty() || self.changed_at.is_none() {
            self.changed_at = Some(at);
        }
        damage
    }

    pub fn frame(&self) -> Option<&Frame> {
        self.frame.as_ref()
    }

    /// Whether nothing changed for `quiet`.
    pub fn is_settled(&self, quiet: Duration, now: Instant) -> bool {
        self.changed_at.is_some_and(|at| now.saturating_duration_since(at) >= quiet)
    }

    /// When it will have been quiet for `quiet`, if nothing changes until then; `None` before the first
    /// picture.
    pub fn settles_at(&self, quiet: Duration) -> Option<Instant> {
        self.changed_at?.checked_add(quiet)
    }

    /// A picture file. Rows that did not change since the last one are not compressed again.
    pub fn picture(&mut self, request: &PictureRequest) -> Result<EncodedPicture, PictureError> {
        let frame = self.frame.as_ref().ok_or(PictureError::NoFrame)?;
        let all = Rect::of(frame.size);
        let region = request.region.unwrap_or(all);
        if region.is_empty() || region.intersection(all) != region {
            return Err(PictureError::OutOfBounds { region, display: frame.size });
        }
        match self.answers.iter().position(|answers| answers.are_to(region, request)) {
            Some(place) => self.answers[..=place].rotate_right(1),
            None => {
                self.answers.truncate(REQUESTS - 1);
                self.answers.insert(0, Answers::new(region, request));
            }
        }
        let bands = &self.bands;
        let newest = |rows: Range<u32>| bands[band_range(rows)].iter().copied().max().unwrap_or(0);
        let (generation, threads) = (self.generation, self.threads);
        let source = Source { frame, generation, newest: &newest, threads };
        self.answers[0].picture(&source, request.cursor.as_ref())
    }
}

/// The bands that hold some rows.
fn band_range(rows: Range<u32>) -> Range<usize> {
    (rows.start / BAND) as usize..rows.end.div_ceil(BAND) as usize
}
