//! Strips of a picture that stay compressed until their pixels change.

use crate::PictureError;
use crate::native::Span;
use crate::painter::{Painter, Pointer};
use crate::shape::Shape;
use remote::{Frame, Rect};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Strips that are painted together: enough that what is done once for them does not count, few enough that
/// their pixels stay in a processor's cache.
const RUN: usize = 3;

/// The newest frame and when its rows last changed.
pub(crate) struct Source<'a> {
    pub(crate) frame: &'a Frame,
    /// Counts the frames that differ from the one before.
    pub(crate) generation: u64,
    /// The generation in which any of some rows last changed.
    pub(crate) newest: &'a (dyn Fn(Range<u32>) -> u64 + Sync),
    /// How many threads may compress.
    pub(crate) threads: usize,
}

/// Something made of pixels, and what it was made of.
#[derive(Debug)]
pub(crate) struct Kept<T> {
    pub(crate) made: T,
    /// What it adds to a file.
    pub(crate) bytes: usize,
    pub(crate) generation: u64,
    pub(crate) pointer: Option<Pointer>,
}

impl<T> Kept<T> {
    /// Whether `rect` with `pointer` over it would make the same thing again.
    pub(crate) fn is_good(&self, source: &Source<'_>, rect: Rect, pointer: Option<&Pointer>) -> bool {
        (source.newest)(rect.y..rect.y + rect.height) <= self.generation && self.pointer.as_ref() == pointer
    }
}

/// The pointer, if anything of it is in `rect`.
pub(crate) fn within(pointer: Option<&Pointer>, rect: Rect) -> Option<&Pointer> {
    pointer.filter(|(at, shape)| {
        Span::of(*at, shape).is_some_and(|span| !span.rect.intersection(rect).is_empty())
    })
}

/// Compresses strips.
pub(crate) trait Press {
    type Strip: Send;

    /// Gives each of neighbouring strips, and how many bytes it adds to a file, to `take`.
    fn press(
        &mut self,
        painter: &mut Painter<'_>,
        shape: Shape,
        strips: Range<u32>,
        take: &mut dyn FnMut(u32, Self::Strip, usize),
    ) -> Result<(), PictureError>;
}

/// The compressed strips of a shape, as far as there are any.
#[derive(Debug)]
pub(crate) struct Strips<T>(Vec<Option<Kept<T>>>);

impl<T: Send> Strips<T> {
    pub(crate) fn none(shape: Shape) -> Self {
        Self((0..shape.strips()).map(|_| None).collect())
    }

    /// Makes those that are not good any more, until all of them are there or take more than `most` bytes;
    /// says how many bytes they take.
    pub(crate) fn renew<P: Press<Strip = T>>(
        &mut self,
        shape: Shape,
        source: &Source<'_>,
        pointer: Option<&Pointer>,
        most: usize,
        press: impl Fn() -> Result<P, PictureError> + Sync,
    ) -> Result<usize, PictureError> {
        let (mut total, mut stale) = (0, Vec::new());
        for (strip, kept) in (0..).zip(&self.0) {
            let rect = shape.strip_source(strip);
            match kept.as_ref().filter(|kept| kept.is_good(source, rect, within(pointer, rect))) {
                Some(kept) => total += kept.bytes,
                None => stale.push(strip),
            }
        }
        let runs: Vec<Range<u32>> = stale
            .chunk_by(|a, b| a + 1 == *b)
            .flat_map(|neighbours| neighbours.chunks(RUN))
            .filter_map(|run| Some(*run.first()?..run.last()? + 1))
            .collect();
        let work =
            Work { shape, source, pointer, most, runs, next: AtomicUsize::new(0), total: total.into() };
        let hands = source.threads.min(work.runs.len()).saturating_sub(1);
        std::thread::scope(|scope| {
            let others: Vec<_> = (0..hands).map(|_| scope.spawn(|| work.take_part(&press))).collect();
            let mut parts = vec![work.take_part(&press)];
            parts.extend(others.into_iter().map(|other| other.join().unwrap_or(Err(panicked()))));
            parts.into_iter().try_for_each(|part| {
                for (strip, made) in part? {
                    self.0[strip as usize] = Some(made);
                }
                Ok(())
            })
        })?;
        Ok(work.total.into_inner())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> + Clone {
        self.0.iter().flatten().map(|kept| &kept.made)
    }
}

fn panicked() -> PictureError {
    PictureError::Encoding("a thread that compressed a part of it failed".to_owned())
}

/// Strips that were made, with their numbers.
type Made<T> = Vec<(u32, Kept<T>)>;

/// Strips to be made, shared by some threads.
struct Work<'a> {
    shape: Shape,
    source: &'a Source<'a>,
    pointer: Option<&'a Pointer>,
    most: usize,
    runs: Vec<Range<u32>>,
    /// The first run that nobody took.
    next: AtomicUsize,
    /// Bytes of all strips that are good or made.
    total: AtomicUsize,
}

impl Work<'_> {
    /// Makes runs of strips until there are none left or all take more bytes than they may.
    fn take_part<P: Press>(
        &self,
        press: impl Fn() -> Result<P, PictureError>,
    ) -> Result<Made<P::Strip>, PictureError> {
        let mut made = Vec::new();
        let mut tools = None;
        while self.total.load(Ordering::Relaxed) <= self.most
            && let Some(run) = self.runs.get(self.next.fetch_add(1, Ordering::Relaxed))
        {
            let (press, painter) = match &mut tools {
                Some(tools) => tools,
                none => none.insert((press()?, Painter::new(self.source.frame, self.pointer))),
            };
            press.press(painter, self.shape, run.clone(), &mut |strip, strip_made, bytes| {
                self.total.fetch_add(bytes, Ordering::Relaxed);
                let pointer = within(self.pointer, self.shape.strip_source(strip)).cloned();
                let generation = self.source.generation;
                made.push((strip, Kept { made: strip_made, bytes, generation, pointer }));
            })?;
        }
        Ok(made)
    }
}
