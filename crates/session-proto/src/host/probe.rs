//! The host's latency probe, which is the session's keep-alive too (session §3.6, §10.5).

use hbb_common::defaults::PROBE_INTERVAL;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A probe not answered for this long is a delay by itself.
const OVERDUE: Duration = Duration::from_secs(2);

/// Round trips the minimum is taken of.
const REMEMBERED: usize = 60;

/// Round trips that are averaged.
const AVERAGED: usize = 3;

#[derive(Debug)]
pub(super) struct Probe {
    /// When the next one goes out; it is held back until the last one came back.
    due: Instant,
    outstanding: Option<Instant>,
    /// When the waiting for an answer is reported next.
    report: Instant,
    trips: VecDeque<Duration>,
}

impl Probe {
    pub(super) fn new(now: Instant) -> Self {
        Self { due: now, outstanding: None, report: now, trips: VecDeque::new() }
    }

    /// The last round trip in the unit of the wire.
    pub(super) fn last_ms(&self) -> u32 {
        self.trips.back().map_or(0, |trip| u32::try_from(trip.as_millis()).unwrap_or(u32::MAX))
    }

    pub(super) fn next(&self) -> Instant {
        if self.outstanding.is_some() { self.report } else { self.due }
    }

    /// Whether one has to go out now; it counts as sent.
    pub(super) fn take_due(&mut self, now: Instant) -> bool {
        if self.outstanding.is_some() || now < self.due {
            return false;
        }
        self.outstanding = Some(now);
        self.due = now + PROBE_INTERVAL;
        self.report = now + OVERDUE;
        true
    }

    /// How long an answer has been missing, once a second from two seconds on.
    pub(super) fn take_overdue(&mut self, now: Instant) -> Option<Duration> {
        let sent = self.outstanding?;
        if now < self.report {
            return None;
        }
        self.report = now + PROBE_INTERVAL;
        Some(now - sent)
    }

    /// An answer came: the averaged delay over the minimum. `None` if none was asked for.
    pub(super) fn answered(&mut self, now: Instant) -> Option<Duration> {
        let sent = self.outstanding.take()?;
        if self.trips.len() == REMEMBERED {
            self.trips.pop_front();
        }
        self.trips.push_back(now.saturating_duration_since(sent));
        let least = self.trips.iter().min().copied().unwrap_or_default();
        let last = self.trips.iter().rev().take(AVERAGED);
        let average = last.clone().sum::<Duration>() / last.count().max(1) as u32;
        Some(average.saturating_sub(least))
    }
}
