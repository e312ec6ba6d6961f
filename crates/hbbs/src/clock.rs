//! Time as the registry keeps it: tenths of a second in 32 bits, which last 13 years.

use std::time::{Duration, Instant, SystemTime};

const PER_SECOND: u32 = 10;

/// A moment, in tenths of a second since the server began. [`Tick::NEVER`] lies before all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tick(u32);

impl Tick {
    /// Before the server began.
    pub const NEVER: Self = Self(0);

    /// Whether `self` lies less than `span` before `now`.
    pub fn within(self, span: Duration, now: Self) -> bool {
        self != Self::NEVER && Duration::from_millis(u64::from(now.0.saturating_sub(self.0)) * 100) < span
    }

    /// The moment `span` later.
    pub fn after(self, span: Duration) -> Self {
        let tenths = span.as_millis() / u128::from(1000 / PER_SECOND);
        Self(self.0.saturating_add(u32::try_from(tenths).unwrap_or(u32::MAX)))
    }
}

/// Turns the system's clocks into [`Tick`]s.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    wall: SystemTime,
}

impl Clock {
    /// `start` and `wall` are the same moment on two clocks.
    pub fn new(start: Instant, wall: SystemTime) -> Self {
        Self { start, wall }
    }

    /// Saturates after 13 years.
    pub fn tick(&self, now: Instant) -> Tick {
        let tenths = now.saturating_duration_since(self.start).as_millis() / u128::from(1000 / PER_SECOND);
        // The first tick is 1: 0 is `NEVER`.
        Tick(u32::try_from(tenths).unwrap_or(u32::MAX).saturating_add(1))
    }

    /// `None` for [`Tick::NEVER`].
    pub fn wall(&self, tick: Tick) -> Option<SystemTime> {
        let tenths = tick.0.checked_sub(1)?;
        Some(self.wall + Duration::from_millis(u64::from(tenths) * u64::from(1000 / PER_SECOND)))
    }
}

/// What a decision needs to know of the world at its moment.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Now.
    pub tick: Tick,
    /// Fresh for each message; blurs mangled addresses and marks what hosts echo.
    pub random: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_across_years_do_not_wrap() {
        let start = Instant::now();
        let clock = Clock::new(start, SystemTime::UNIX_EPOCH);
        let first = clock.tick(start);
        assert!(first > Tick::NEVER);
        assert!(first.within(Duration::from_secs(1), first));
        for days in [1, 25, 50, 400, 4000] {
            let later = clock.tick(start + Duration::from_secs(days * 86_400));
            assert!(!first.within(Duration::from_secs(30), later), "{days} days");
        }
        assert!(!Tick::NEVER.within(Duration::MAX, first));
    }

    #[test]
    fn the_boundary_belongs_to_the_past() {
        let at = Tick::NEVER.after(Duration::from_secs(100));
        let span = Duration::from_secs(30);
        assert!(at.within(span, at.after(Duration::from_millis(29_900))));
        assert!(!at.within(span, at.after(span)));
    }

    #[test]
    fn wall_time() {
        let clock = Clock::new(Instant::now(), SystemTime::UNIX_EPOCH);
        assert_eq!(clock.wall(Tick::NEVER), None);
        assert_eq!(clock.wall(Tick(31)), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(3)));
    }
}
