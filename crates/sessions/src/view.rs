//! What is known of one display: the newest picture, where it changed when, and what was given out.

use crate::ScreenshotRequest;
use framebuffer::Framebuffer;
use remote::{Desktop, DisplayId, FrameInfo, Rect, RemoteError, Size};
use std::collections::VecDeque;
use std::time::Instant;

/// Changes remembered one by one; older ones are merged, which can only make them look larger.
const REMEMBERED: usize = 64;
/// Credentials whose last picture is remembered.
const MOST_SEEING: usize = 32;

/// A change that came with a picture.
#[derive(Debug, Clone, Copy)]
struct Change {
    sequence: u64,
    at: Instant,
    bounds: Rect,
}

/// A picture that was given out.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) sequence: u64,
    request: ScreenshotRequest,
}

/// The kept state of a display.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) framebuffer: Framebuffer,
    kept: Option<FrameInfo>,
    changes: VecDeque<Change>,
    /// What was given out to whom, the latest last.
    given: VecDeque<Given>,
}

/// What one credential saw of a display.
#[derive(Debug, Default)]
struct Given {
    to: String,
    /// Size of the whole picture last given out and of the display then: the space of positions.
    space: Option<(Size, Size)>,
    shown: Option<Shown>,
}

impl View {
    /// Takes the newest picture if there is a newer one than the kept.
    pub(crate) async fn pull(
        &mut self,
        desktop: &dyn Desktop,
        display: DisplayId,
    ) -> Result<(), RemoteError> {
        let Some(latest) = desktop.latest(display) else { return Ok(()) };
        if self.kept.is_some_and(|kept| kept.sequence >= latest.sequence) {
            return Ok(());
        }
        let (info, frame) = desktop.frame(display).await?;
        let resized = self.kept.is_none_or(|kept| kept.size != info.size);
        let damage = self.framebuffer.update(frame, info.at);
        self.kept = Some(info);
        let bounds = if resized { Rect::of(info.size) } else { damage.bounds };
        if !bounds.is_empty() {
            self.remember(Change { sequence: info.sequence, at: info.at, bounds });
        }
        Ok(())
    }

    fn remember(&mut self, change: Change) {
        self.changes.push_back(change);
        if self.changes.len() > REMEMBERED
            && let Some(oldest) = self.changes.pop_front()
            && let Some(next) = self.changes.front_mut()
        {
            next.bounds = next.bounds.union(oldest.bounds);
        }
    }

    /// Facts of the kept picture.
    pub(crate) fn kept(&self) -> Option<FrameInfo> {
        self.kept
    }

    /// The number of the kept picture, 0 before the first.
    pub(crate) fn sequence(&self) -> u64 {
        self.kept.map_or(0, |kept| kept.sequence)
    }

    /// Where the kept picture differs from the one with that number, within `region`, and when that came;
    /// `None` for no difference.
    pub(crate) fn changed_since(&self, sequence: u64, region: Option<Rect>) -> Option<(Rect, Instant)> {
        let mut found: Option<(Rect, Instant)> = None;
        for change in self.changes.iter().filter(|change| change.sequence > sequence) {
            let bounds = region.map_or(change.bounds, |region| region.intersection(change.bounds));
            if !bounds.is_empty() {
                let before = found.map_or(Rect::default(), |(bounds, _)| bounds);
                found = Some((before.union(bounds), change.at));
            }
        }
        found
    }

    fn given(&self, who: &str) -> Option<&Given> {
        self.given.iter().find(|given| given.to == who)
    }

    /// The size of the whole picture that `who` got last, or of the display where none was.
    pub(crate) fn space(&self, who: &str, native: Size) -> Size {
        self.given(who).and_then(|given| given.space).map_or(native, |(picture, _)| picture)
    }

    /// The size that the display had when `who` got a whole picture last, if it is another now.
    pub(crate) fn stale(&self, who: &str, native: Size) -> Option<Size> {
        let (_, then) = self.given(who)?.space?;
        (then != native).then_some(then)
    }

    /// The picture that `who` got last, if this wish would give the same again.
    pub(crate) fn same_as_shown(
        &self,
        who: &str,
        request: &ScreenshotRequest,
        region: Option<Rect>,
    ) -> Option<&Shown> {
        let shown = self.shown(who)?;
        (shown.request.looks_like(request) && self.changed_since(shown.sequence, region).is_none())
            .then_some(shown)
    }

    pub(crate) fn shown(&self, who: &str) -> Option<&Shown> {
        self.given(who)?.shown.as_ref()
    }

    /// Notes that a picture was given out; a whole one makes the space of positions.
    pub(crate) fn show(
        &mut self,
        who: &str,
        request: &ScreenshotRequest,
        sequence: u64,
        picture: Size,
        native: Size,
    ) {
        let known = self.given.iter().position(|given| given.to == who);
        let mut given = known
            .and_then(|place| self.given.remove(place))
            .unwrap_or_else(|| Given { to: who.to_owned(), ..Given::default() });
        given.shown = Some(Shown { sequence, request: request.clone() });
        if request.region.is_none() {
            given.space = Some((picture, native));
        }
        if self.given.len() >= MOST_SEEING {
            self.given.pop_front();
        }
        self.given.push_back(given);
    }
}
