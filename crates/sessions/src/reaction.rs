//! How long a peer may take to show that something was done to it.
//!
//! "Nothing changed" is a claim about the peer, so it is made only when the peer had the time to change: it has
//! read the input, it answers as quickly as it can, and its screen has had as long as it took before. A busy
//! peer gets more time than an idle one, and where even that is not enough, the claim is not made.

use crate::live::{Live, lock};
use remote::{Answer, BoxFuture, Desktop, RemoteError};
use std::time::Duration;
use tokio::time::Instant;

/// Between two questions to the peer whether it is quick.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// A peer that answers late by some time draws late by this many times that: reading a question takes one turn
/// of its processor, drawing, capturing and compressing a picture takes many.
const TURNS: u32 = 10;

/// How quickly the screen showed what was done to it, so far.
#[derive(Debug, Default)]
pub(crate) struct Pace(Option<Duration>);

impl Pace {
    /// A change came this long after an action. Slower ones count at once, quicker ones in time.
    fn changed(&mut self, took: Duration) {
        self.0 = Some(took.max(self.0.map_or(took, |usual| (usual * 3 + took) / 4)));
    }

    /// An action changed nothing: what was slow once is forgotten in time.
    fn unchanged(&mut self, usual: Duration) {
        self.0 = Some(usual * 3 / 4);
    }
}

/// What to make of a screen that has not changed yet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Look again at this time, or when something happens.
    Wait(Instant),
    Unchanged,
    /// The peer is too slow to tell.
    Unknown(String),
}

/// A question to the peer.
type Asked<'a> = BoxFuture<'a, Result<Option<Answer>, RemoteError>>;

/// The wait for a reaction to what was sent just now.
pub(crate) struct Reaction<'a> {
    live: &'a Live,
    desktop: &'a dyn Desktop,
    start: Instant,
    /// The screen's own time, without what the peer's answers say.
    usual: Duration,
    least: Duration,
    limit: Instant,
    /// A question on its way, since when.
    asked: Option<(Instant, Asked<'a>)>,
    ask_at: Option<Instant>,
    /// When the peer had read the input.
    read: Option<Instant>,
    quickest: Duration,
    /// The latest of its answers.
    late: Duration,
}

impl<'a> Reaction<'a> {
    /// `least`: what a quick peer gets. `patience`: what no peer gets more of.
    pub(crate) fn new(
        live: &'a Live,
        desktop: &'a dyn Desktop,
        start: Instant,
        least: Duration,
        patience: Duration,
    ) -> Self {
        let peer = live.session.peer();
        let usual = lock(&live.pace).0.or(peer.first_picture).unwrap_or_default();
        Self {
            live,
            desktop,
            start,
            usual,
            least,
            limit: start + patience,
            asked: None,
            ask_at: Some(start),
            read: None,
            quickest: peer.round_trip.unwrap_or_default(),
            late: Duration::ZERO,
        }
    }

    /// The change came at `at`.
    pub(crate) fn changed(&self, at: Instant) {
        lock(&self.live.pace).changed(at.saturating_duration_since(self.start));
    }

    pub(crate) fn verdict(&self, now: Instant) -> Verdict {
        let pending = self.asked.as_ref().map(|(since, _)| now.saturating_duration_since(*since));
        let late = self.late.max(pending.unwrap_or_default().saturating_sub(self.quickest));
        let due = self.read.map(|read| read + self.least.max(self.usual * 2) + late * TURNS);
        match due {
            Some(due) if due <= now.min(self.limit) => {
                lock(&self.live.pace).unchanged(self.usual);
                Verdict::Unchanged
            }
            _ if now < self.limit => Verdict::Wait(due.map_or(self.limit, |due| due.min(self.limit))),
            None => Verdict::Unknown(format!(
                "the peer has not shown within {} ms that it read the input",
                (now - self.start).as_millis()
            )),
            Some(due) => Verdict::Unknown(format!(
                "nothing changed within {} ms, but this peer is slow now: it may take {} ms",
                (now - self.start).as_millis(),
                (due - self.start).as_millis()
            )),
        }
    }

    /// Goes on asking the peer; ends with every answer. Cancel safe.
    pub(crate) async fn answered(&mut self) -> Result<(), RemoteError> {
        if self.asked.is_none() {
            let Some(at) = self.ask_at else { return std::future::pending().await };
            tokio::time::sleep_until(at).await;
            self.asked = Some((Instant::now(), self.desktop.answer()));
        }
        let Some((_, asked)) = &mut self.asked else { return Ok(()) };
        let answer = asked.as_mut().await;
        self.asked = None;
        let now = Instant::now();
        match answer? {
            Some(answer) => {
                self.late = self.late.max(answer.late());
                self.quickest = answer.quickest;
                self.read.get_or_insert(now);
                self.ask_at = Some(now + ASK_EVERY);
            }
            // Without such a question the network's own time has to do.
            None => {
                self.read.get_or_insert(self.start + self.quickest);
                self.ask_at = None;
            }
        }
        Ok(())
    }
}
