//! Whether a client is still there.

use super::HttpCounters;
use super::limits::RequestPermit;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Lives as long as its request is being answered and its client is there to hear it.
#[derive(Debug)]
pub(super) struct Presence {
    gone: CancellationToken,
    /// Where to count the client when it goes too early; nowhere if it may go when it likes.
    counters: Option<Arc<HttpCounters>>,
    _permit: RequestPermit,
}

impl Presence {
    /// Of a client that waits for an answer.
    pub(super) fn of_caller(permit: RequestPermit, counters: Arc<HttpCounters>) -> Self {
        Self { gone: CancellationToken::new(), counters: Some(counters), _permit: permit }
    }

    /// Of a client that waits for nothing in particular.
    pub(super) fn of_listener(permit: RequestPermit) -> Self {
        Self { gone: CancellationToken::new(), counters: None, _permit: permit }
    }

    /// Cancelled when the client is gone, or has its answer.
    pub(super) fn gone(&self) -> CancellationToken {
        self.gone.clone()
    }

    /// The client has its answer.
    pub(super) fn done(mut self) {
        self.counters = None;
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.gone.cancel();
        if let Some(counters) = &self.counters {
            counters.abandoned.add_one();
        }
    }
}
