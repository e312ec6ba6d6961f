//! Looking at the screen over time: what an action did, and waiting for change or stillness.

use crate::live::Live;
use crate::reaction::{Reaction, Verdict};
use crate::{Area, Screenshot, ScreenshotRequest, SessionsError, Settle, Space};
use remote::{Desktop, DisplayId, Rect, RemoteError};
use std::time::Duration;
use tokio::time::Instant;

/// A change of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Where, in the space of the call.
    pub bounds: Rect,
    /// Whether it came to rest before the time was up.
    pub settled: bool,
}

/// What an action was seen to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Nobody looked.
    NotObserved,
    /// The screen could not be watched to the end, or the peer is too slow to tell.
    Lost {
        reason: String,
    },
    /// The screen stayed as it was for as long as a reaction may take.
    None,
    Changed(Change),
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitFor {
    /// The screen differs from the picture last given out, or, where there was none, from now.
    Change,
    /// The screen rested for as long as [`WaitRequest::quiet`].
    Still,
}

/// A wish to wait.
#[derive(Debug, Clone)]
pub struct WaitRequest {
    pub what: WaitFor,
    pub display: Option<DisplayId>,
    pub space: Space,
    /// Only this part counts, as far as the bounds of a change tell.
    pub region: Option<Area>,
    pub timeout: Duration,
    pub quiet: Duration,
    pub picture: Option<ScreenshotRequest>,
}

/// How a wait ended. Running out of time is an answer, not an error.
#[derive(Debug, Clone)]
pub struct WaitOutcome {
    pub display: DisplayId,
    pub met: bool,
    /// Where the screen differs from the start of the wait, in the space of the call.
    pub changed: Option<Rect>,
    pub waited: Duration,
    pub picture: Option<Screenshot>,
    pub picture_error: Option<SessionsError>,
}

/// Native bounds of a change and whether it settled.
pub(crate) enum Seen {
    Nothing,
    /// Nothing, by a peer too slow to say that this was all.
    Unknown(String),
    Changed {
        bounds: Rect,
        settled: bool,
    },
}

/// Watches the display after an action until it rests. `baseline` is the picture from before.
pub(crate) async fn settle(
    live: &Live,
    desktop: &dyn Desktop,
    display: DisplayId,
    baseline: u64,
    settle: Settle,
) -> Result<Seen, RemoteError> {
    let start = Instant::now();
    let patience = settle.patience;
    let least = settle.reaction.min(patience);
    let mut reaction = Reaction::new(live, desktop, start, least, patience);
    let mut first = None;
    loop {
        let (seen, changed) = look(live, desktop, display, baseline, None).await?;
        let Some((bounds, at)) = changed else {
            match reaction.verdict(Instant::now()) {
                Verdict::Unchanged => return Ok(Seen::Nothing),
                Verdict::Unknown(reason) => return Ok(Seen::Unknown(reason)),
                Verdict::Wait(until) => tokio::select! {
                    newer = desktop.newer_than(display, seen) => { newer?; }
                    answered = reaction.answered() => answered?,
                    () = tokio::time::sleep_until(until) => {}
                },
            }
            continue;
        };
        let at = Instant::from_std(at);
        let first = *first.get_or_insert_with(|| {
            reaction.changed(at);
            at
        });
        // A change that came late still gets the time to end.
        let late_end = (first + 2 * settle.quiet).min(start + patience);
        let end = (start + settle.cap).max(late_end);
        let until = (at + settle.quiet).min(end);
        if Instant::now() >= until || !newer_before(desktop, display, seen, until).await? {
            return Ok(Seen::Changed { bounds, settled: until < end });
        }
    }
}

/// Waits until the condition holds or the time is up; tells whether it held, and what changed.
pub(crate) async fn wait(
    live: &Live,
    desktop: &dyn Desktop,
    display: DisplayId,
    who: &str,
    request: &WaitRequest,
    region: Option<Rect>,
) -> Result<(bool, Option<Rect>), RemoteError> {
    let end = Instant::now() + request.timeout;
    let (baseline, mut still_since) = {
        let view = live.view(display);
        let mut view = view.lock().await;
        let had = view.shown(who).map(|shown| shown.sequence);
        view.pull(desktop, display).await?;
        let at = view.kept().map_or_else(Instant::now, |kept| Instant::from_std(kept.at));
        let from = match request.what {
            WaitFor::Change => had.unwrap_or(view.sequence()),
            WaitFor::Still => view.sequence(),
        };
        (from, at)
    };
    loop {
        let (seen, changed) = look(live, desktop, display, baseline, region).await?;
        let bounds = changed.map(|(bounds, _)| bounds);
        let until = match (request.what, changed) {
            (WaitFor::Change, Some(_)) => return Ok((true, bounds)),
            (WaitFor::Change, None) => end,
            (WaitFor::Still, changed) => {
                if let Some((_, at)) = changed {
                    still_since = Instant::from_std(at);
                }
                still_since + request.quiet
            }
        };
        let met = |now: Instant| request.what == WaitFor::Still && now >= until;
        let now = Instant::now();
        if met(now) || now >= end {
            return Ok((met(now), bounds));
        }
        newer_before(desktop, display, seen, until.min(end)).await?;
    }
}

/// Takes the newest picture; tells its number and what changed since `baseline`.
async fn look(
    live: &Live,
    desktop: &dyn Desktop,
    display: DisplayId,
    baseline: u64,
    region: Option<Rect>,
) -> Result<(u64, Option<(Rect, std::time::Instant)>), RemoteError> {
    let view = live.view(display);
    let mut view = view.lock().await;
    view.pull(desktop, display).await?;
    Ok((view.sequence(), view.changed_since(baseline, region)))
}

/// Waits for a newer picture; `false` if none came in time.
async fn newer_before(
    desktop: &dyn Desktop,
    display: DisplayId,
    sequence: u64,
    until: Instant,
) -> Result<bool, RemoteError> {
    match tokio::time::timeout_at(until, desktop.newer_than(display, sequence)).await {
        Ok(Ok(_)) => Ok(true),
        Ok(Err(error)) => Err(error),
        Err(_) => Ok(false),
    }
}
