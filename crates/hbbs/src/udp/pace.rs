//! How soon to look for datagrams again.
//!
//! A datagram that is fetched alone costs two to three times what it costs in a batch. So while many come,
//! a thread rests between two looks; while few come, it answers each at once.

use super::batch;
use std::time::{Duration, Instant};

/// From this many datagrams a second on, a rest gathers enough to be worth its delay.
const BUSY_PER_SECOND: u64 = 10_000;
const REST: Duration = Duration::from_micros(500);
/// The rate is taken over at least this long, so that a burst of a few does not count as busy.
const SPAN: Duration = Duration::from_millis(5);

/// What to do after a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// More are waiting.
    Receive,
    /// Sleep until one comes.
    Wait,
    /// Sleep this long, come what may.
    Rest(Duration),
}

#[derive(Debug)]
pub(super) struct Pace {
    since: Instant,
    count: u64,
    busy: bool,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, count: 0, busy: false }
    }

    /// `received`: datagrams in the last batch, 0 if there were none.
    pub(super) fn after(&mut self, received: usize, now: Instant) -> Next {
        self.count += received as u64;
        let span = now.saturating_duration_since(self.since);
        if span >= SPAN {
            self.busy = u128::from(self.count) * 1_000_000 >= u128::from(BUSY_PER_SECOND) * span.as_micros();
            (self.since, self.count) = (now, 0);
        }
        match (received >= batch::LEN, self.busy) {
            (true, _) => Next::Receive,
            (false, true) => Next::Rest(REST),
            (false, false) => Next::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Batches of `size` every `micros`, for 50 ms: what is done after the last.
    fn settle(size: usize, micros: u64) -> Next {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        let mut next = Next::Wait;
        for _ in 0..50_000 / micros {
            now += Duration::from_micros(micros);
            next = pace.after(size, now);
        }
        next
    }

    #[test]
    fn rests_only_while_many_come() {
        assert_eq!(settle(1, 150), Next::Wait, "6 667 a second");
        assert_eq!(settle(1, 20), Next::Rest(REST), "50 000 a second, one by one");
        assert_eq!(settle(25, 500), Next::Rest(REST), "the same in batches");
        assert_eq!(settle(batch::LEN, 250), Next::Receive, "more than fit");
    }

    #[test]
    fn a_burst_is_no_reason_to_rest() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        assert_eq!(pace.after(40, now + Duration::from_micros(10)), Next::Wait);
        assert_eq!(pace.after(1, now + Duration::from_secs(1)), Next::Wait);
    }

    #[test]
    fn a_look_in_vain_ends_a_rest_only_when_nothing_comes_any_more() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        for n in 0..20 {
            now += REST;
            pace.after(batch::LEN, now);
            let next = pace.after(0, now);
            assert!(n < 15 || next == Next::Rest(REST), "the batch was all there was: {next:?}");
        }
        let looks = (0..50).take_while(|_| {
            now += REST;
            pace.after(0, now) != Next::Wait
        });
        assert!(looks.count() <= 2 * (SPAN.as_micros() / REST.as_micros()) as usize);
    }
}
