//! What systemd is told, where it started us (sd_notify(3)).

use sd_notify::NotifyState;
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// How often the status line is told anew where no watchdog asks for more.
const STATUS: Duration = Duration::from_secs(30);

/// The supervisor's view of this process. Without systemd all of it does nothing.
#[derive(Debug)]
pub(super) struct Supervisor {
    ticks: Interval,
    watched: bool,
}

impl Supervisor {
    pub(super) fn new() -> Self {
        let watchdog = sd_notify::watchdog_enabled();
        // Half of what is allowed, as sd_watchdog_enabled(3) advises.
        let every = watchdog.map_or(STATUS, |limit| (limit / 2).max(Duration::from_millis(1)));
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { ticks, watched: watchdog.is_some() }
    }

    /// Returns when the supervisor wants to hear from us again.
    pub(super) async fn tick(&mut self) {
        self.ticks.tick().await;
    }

    pub(super) fn ready(&self, status: &str) {
        tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    pub(super) fn alive(&self, status: &str) {
        if self.watched {
            tell(&[NotifyState::Watchdog]);
        }
        tell(&[NotifyState::Status(status)]);
    }

    pub(super) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(error) => tracing::debug!(%error, "no monotonic clock"),
        }
    }

    pub(super) fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}
