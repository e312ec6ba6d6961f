//! Bandwidth: token buckets, and the fair split of a total among the pairs that want more than they get.
//!
//! Nothing here waits. A pair asks what it may move now; if the answer is "nothing", it alone rests for
//! the time it is told.

use std::time::{Duration, Instant};

/// A bucket's rate can change between two calls, so it is an argument of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct TokenBucket {
    tokens: i64,
    at: Instant,
}

/// What fits into a bucket, in time: longer pauses let less through in the seconds after them.
const BURST: Duration = Duration::from_millis(20);
/// A bucket always holds one small message.
const SMALLEST_BURST: u64 = 4096;

impl TokenBucket {
    /// Holds a small message, and fills from `now` on.
    pub(super) fn new(now: Instant) -> Self {
        Self { tokens: SMALLEST_BURST as i64, at: now }
    }

    fn burst(rate: u64) -> i64 {
        let burst = u128::from(rate) * BURST.as_nanos() / 1_000_000_000;
        (burst as u64).clamp(SMALLEST_BURST, i64::MAX as u64 / 4) as i64
    }

    /// Bytes that may pass at `rate` bytes per second, or how long to wait until it is worth asking again.
    pub(super) fn look(&mut self, rate: u64, now: Instant) -> Result<usize, Duration> {
        let elapsed = now.saturating_duration_since(self.at);
        let new = u128::from(rate) * elapsed.as_nanos() / 1_000_000_000;
        if new > 0 {
            let new = i64::try_from(new).unwrap_or(i64::MAX);
            self.tokens = self.tokens.saturating_add(new).min(Self::burst(rate));
            self.at = now;
        }
        if self.tokens > 0 {
            return Ok(self.tokens as usize);
        }
        // Waking up for every single byte would cost more than it moves.
        let wanted = (Self::burst(rate) / 2 - self.tokens) as u128;
        let nanos = (wanted * 1_000_000_000).checked_div(u128::from(rate)).unwrap_or(u128::MAX);
        let wait = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        Err(wait.min(Duration::from_secs(1)))
    }

    /// Bytes that did pass. More than were there makes a debt that is paid before the next.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.tokens = self.tokens.saturating_sub_unsigned(bytes as u64);
    }
}

/// Splits a total rate among pairs so that who wants little gets it and the rest share equally.
///
/// It works in windows. Every pair may move at [`rate`](Self::look); after each window that rate is moved
/// by what was left over, or overdrawn, per pair that could have used it. It never falls below an equal
/// part for each active pair (half of it while an overdraft is given back): that much is always there.
#[derive(Debug)]
pub(super) struct FairShare {
    total: u64,
    /// Bytes per second for each pair.
    rate: f64,
    window: u64,
    began: Instant,
    used: u64,
    active: u32,
    limited: u32,
    /// Bytes moved beyond the total in earlier windows, to be given back.
    debt: f64,
}

const WINDOW: Duration = Duration::from_millis(20);
const SHORTEST_WINDOW: Duration = Duration::from_millis(1);
/// An overdraft is given back in about this time.
const PAYBACK: Duration = Duration::from_millis(100);

impl FairShare {
    pub(super) fn new(total: u64, now: Instant) -> Self {
        Self { total, rate: total as f64, window: 1, began: now, used: 0, active: 0, limited: 0, debt: 0.0 }
    }

    /// The rate of each pair now, and the window this belongs to.
    pub(super) fn look(&mut self, now: Instant) -> (u64, u64) {
        // A crowd that starts at once is noticed before its window is over.
        let spent = self.used as f64 > self.total as f64 * WINDOW.as_secs_f64();
        let elapsed = now.saturating_duration_since(self.began);
        if elapsed >= WINDOW || (spent && elapsed >= SHORTEST_WINDOW) {
            self.turn(now, elapsed.as_secs_f64());
        }
        (self.rate.max(1.0) as u64, self.window)
    }

    /// The window as of the last look.
    pub(super) fn window(&self) -> u64 {
        self.window
    }

    /// A pair moved `bytes`; `first` if it did not in this window before.
    pub(super) fn moved(&mut self, bytes: usize, first: bool) {
        self.used += bytes as u64;
        self.active += u32::from(first);
    }

    /// A pair wanted more than its rate and was told to wait so long; `first` if for the first time in this
    /// window. How long it should really wait: who does not ask again in each window is not counted as
    /// one that could use more.
    pub(super) fn limited(&mut self, wait: Duration, first: bool) -> Duration {
        self.limited += u32::from(first);
        wait.min(WINDOW / 2)
    }

    fn turn(&mut self, now: Instant, seconds: f64) {
        let total = self.total as f64;
        let over = self.used as f64 - total * seconds;
        // Quiet times save nothing up; an overdraft is given back over the next windows.
        self.debt = (self.debt + over).clamp(0.0, total);
        let spare = -over / seconds - self.debt / PAYBACK.as_secs_f64();
        let step = spare / f64::from(self.limited.max(1));
        let equal = total / f64::from(self.active.max(1));
        let floor = if self.debt > 0.0 { equal / 2.0 } else { equal };
        self.rate = (self.rate + step.min(total / 4.0)).clamp(floor, total);
        self.window += 1;
        self.began = now;
        (self.used, self.active, self.limited) = (0, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_bucket_lets_its_rate_through() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(start);
        let (mut now, mut moved) = (start, 0);
        while now < start + Duration::from_secs(10) {
            match bucket.look(1_000_000, now) {
                Ok(most) => {
                    let n = most.min(65_536);
                    bucket.spend(n);
                    moved += n;
                    now += MS / 10;
                }
                Err(wait) => now += wait,
            }
        }
        assert!((9_900_000..10_100_000).contains(&moved), "{moved}");
    }

    #[test]
    fn a_bucket_saves_up_no_more_than_a_burst() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(start);
        assert_eq!(bucket.look(1_000_000, start + Duration::from_secs(1000)), Ok(20_000));
        assert_eq!(bucket.look(10, start + Duration::from_secs(9000)), Ok(4096));
    }

    #[test]
    fn a_debt_is_paid_first() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(start);
        bucket.spend(SMALLEST_BURST as usize + 100_000);
        let wait = bucket.look(1_000_000, start).unwrap_err();
        assert_eq!(wait, Duration::from_millis(110), "the debt and half a burst");
        assert!(bucket.look(1_000_000, start + wait).is_ok());
    }

    #[test]
    fn a_rate_of_nothing_waits_and_never_divides_by_it() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(start);
        bucket.spend(SMALLEST_BURST as usize);
        assert_eq!(bucket.look(0, start + MS), Err(Duration::from_secs(1)));
    }

    /// One pair of a simulation: how much it wants per millisecond, and what it got.
    struct Taker {
        wants: usize,
        backlog: usize,
        got: usize,
        late: u32,
        bucket: TokenBucket,
        active: u64,
        limited: u64,
        ready: Instant,
    }

    fn simulate(total: u64, wants: &[usize], seconds: u64) -> Vec<Taker> {
        let start = Instant::now();
        let mut fair = FairShare::new(total, start);
        let taker = |&wants: &usize| Taker {
            wants,
            backlog: 0,
            got: 0,
            late: 0,
            bucket: TokenBucket::new(start),
            active: 0,
            limited: 0,
            ready: start,
        };
        let mut takers: Vec<Taker> = wants.iter().map(taker).collect();
        for ms in 0..seconds * 1000 {
            let now = start + MS * ms as u32;
            for t in &mut takers {
                t.backlog = (t.backlog + t.wants).min(4 << 20);
                while t.backlog > 0 && now >= t.ready {
                    let (rate, window) = fair.look(now);
                    match t.bucket.look(rate, now) {
                        Ok(most) => {
                            let n = most.min(65_536).min(t.backlog);
                            t.bucket.spend(n);
                            fair.moved(n, t.active != window);
                            t.active = window;
                            t.backlog -= n;
                            t.got += n;
                        }
                        Err(wait) => {
                            t.ready = now + fair.limited(wait, t.limited != window);
                            t.limited = window;
                        }
                    }
                }
                t.late += u32::from(t.backlog > 0);
            }
        }
        takers
    }

    #[test]
    fn a_total_is_used_and_not_exceeded() {
        for wants in [&[1 << 20][..], &[1 << 20; 8], &[1 << 20; 100]] {
            let takers = simulate(10_000_000, wants, 10);
            let sum: usize = takers.iter().map(|t| t.got).sum();
            assert!((90_000_000..106_000_000).contains(&sum), "{} pairs: {sum}", wants.len());
        }
    }

    #[test]
    fn those_who_want_more_share_equally() {
        let takers = simulate(10_000_000, &[1 << 20; 5], 10);
        for t in &takers {
            assert!((17_000_000..23_000_000).contains(&t.got), "{}", t.got);
        }
    }

    #[test]
    fn who_wants_little_never_waits() {
        // Four bulk pairs, and one that wants 200 KB/s of the 10 MB/s.
        let takers = simulate(10_000_000, &[1 << 20, 1 << 20, 200, 1 << 20, 1 << 20], 10);
        assert_eq!(takers[2].got, 2_000_000);
        assert_eq!(takers[2].late, 0, "milliseconds at whose end something was left");
    }

    #[test]
    fn what_one_does_not_want_the_others_get() {
        let takers = simulate(10_000_000, &[1000, 1 << 20], 10);
        assert!(takers[0].got > 9_900_000, "{}", takers[0].got);
        assert!((80_000_000..96_000_000).contains(&takers[1].got), "{}", takers[1].got);
    }
}
