//! The time of day, as a value.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use store::Seconds;

/// Where the time comes from: the system, or a hand that moves it in tests.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Seconds + Send + Sync>);

impl Clock {
    pub fn system() -> Self {
        Self::from_fn(|| {
            // Before 1970 nothing is expired yet.
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Seconds::try_from(since.as_secs()).unwrap_or(Seconds::MAX)
        })
    }

    pub fn from_fn(now: impl Fn() -> Seconds + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub fn now(&self) -> Seconds {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}
