//! When a busy thread should look less often.
//!
//! A small message costs a wake-up, a read and a write whatever its size. Once a core has no time left,
//! resting for a moment after a round of small reads lets several of them come together, at the price of
//! that moment's delay. While the core has time nothing is gained, so nothing is delayed.
//!
//! A thread is busy while it does not wait. That counts the time in which others have its core too: then
//! there is even less time for each message.

use std::time::{Duration, Instant};

/// The rest. The kernel adds its slack of some 50 µs.
pub(super) const REST: Duration = Duration::from_micros(900);
/// Rounds are judged in windows of this length.
const WINDOW: Duration = Duration::from_millis(20);
/// Part of a core, in percent, from which a thread counts as busy, and below which it does not any more.
const BUSY: u64 = 75;
const CALM: u64 = 50;
/// Every so many windows of resting one is spent without, to learn anew what a byte costs.
const RELEARN: u32 = 50;
/// A mean read of less than this is a round of small reads.
const SMALL: u64 = 8 * 1024;

/// Judges by the part of each window in which the thread waited for events, or rested.
#[derive(Debug)]
pub(super) struct Pace {
    started: Instant,
    waited: Duration,
    bytes: u64,
    reads: u64,
    round_bytes: u64,
    round_reads: u64,
    mode: Mode,
    /// Nanoseconds of work that 1024 bytes cost when nothing is delayed.
    cost: u64,
    windows: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Eager,
    Resting,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            started: now,
            waited: Duration::ZERO,
            bytes: 0,
            reads: 0,
            round_bytes: 0,
            round_reads: 0,
            mode: Mode::Eager,
            cost: 0,
            windows: 0,
        }
    }

    /// One read of this round.
    pub(super) fn read(&mut self, bytes: usize) {
        self.round_bytes += bytes as u64;
        self.round_reads += 1;
    }

    /// So long there was nothing to do, or there was a rest.
    pub(super) fn waited(&mut self, span: Duration) {
        self.waited += span;
    }

    /// The end of a round, which began at `now`: whether to rest before the next look.
    pub(super) fn end_round(&mut self, now: Instant) -> bool {
        let small = self.round_reads > 0 && self.round_bytes < SMALL * self.round_reads;
        self.bytes += std::mem::take(&mut self.round_bytes);
        self.reads += std::mem::take(&mut self.round_reads);
        let length = now.saturating_duration_since(self.started);
        if length >= WINDOW {
            self.judge(length);
            self.started = now;
        }
        small && self.mode == Mode::Resting
    }

    fn judge(&mut self, length: Duration) {
        let used = length.saturating_sub(std::mem::take(&mut self.waited));
        let (bytes, reads) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.reads));
        let percent = |part: u128| (part * 100 / length.as_nanos().max(1)) as u64;
        self.windows += 1;
        match self.mode {
            // A window far longer than meant was spent waiting for work.
            Mode::Eager if length > WINDOW * 4 || bytes == 0 || bytes >= SMALL * reads => {}
            Mode::Eager => {
                self.cost = (used.as_nanos() * 1024 / u128::from(bytes)) as u64;
                if percent(used.as_nanos()) >= BUSY {
                    self.mode = Mode::Resting;
                    self.windows = 0;
                }
            }
            Mode::Resting => {
                let without = u128::from(self.cost) * u128::from(bytes) / 1024;
                let busy = percent(without.max(used.as_nanos())) >= CALM;
                if !busy || self.windows >= RELEARN {
                    self.mode = Mode::Eager;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets `seconds` pass of messages of `size` at `per_second`, each of which costs `cost` to look at
    /// alone and nothing more when it comes together with others. Gives the part of time in which the
    /// pace asked for rests.
    fn run(pace: &mut Pace, now: &mut Instant, per_second: u64, size: usize, cost: Duration) -> f64 {
        let (mut rested, mut rounds) = (0, 0);
        let gap = Duration::from_secs(1) / per_second as u32;
        let mut rest = false;
        let end = *now + Duration::from_secs(1);
        while *now < end {
            let length = if rest { REST } else { gap.max(cost) };
            *now += length;
            pace.waited(length.saturating_sub(if rest { Duration::ZERO } else { cost }));
            if rest {
                *now += cost;
            }
            let arrived = (length.as_nanos() / gap.as_nanos()).max(1);
            for _ in 0..arrived {
                pace.read(size);
            }
            rest = pace.end_round(*now);
            rounds += 1;
            rested += u32::from(rest);
        }
        f64::from(rested) / f64::from(rounds)
    }

    #[test]
    fn a_light_load_is_never_delayed() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        assert_eq!(run(&mut pace, &mut now, 20_000, 1024, Duration::from_micros(20)), 0.0);
    }

    #[test]
    fn a_busy_core_rests_and_a_calm_one_stops_resting() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        let busy = run(&mut pace, &mut now, 50_000, 1024, Duration::from_micros(18));
        assert!(busy > 0.3, "rested after {busy} of the rounds");
        run(&mut pace, &mut now, 2000, 1024, Duration::from_micros(18));
        let calm = run(&mut pace, &mut now, 2000, 1024, Duration::from_micros(18));
        assert_eq!(calm, 0.0);
    }

    #[test]
    fn large_reads_are_never_delayed() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        assert_eq!(run(&mut pace, &mut now, 20_000, 65_536, Duration::from_micros(50)), 0.0);
    }
}
