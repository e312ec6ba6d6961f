//! What happened at the door.

use std::sync::atomic::{AtomicU64, Ordering};

/// One count that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts since the start.
#[derive(Debug, Default)]
pub struct AuthCounters {
    /// Requests with a good operator's token.
    pub token_accepted: Counter,
    /// Requests with a good access token of our own.
    pub access_accepted: Counter,
    /// Requests with a good token of the external issuer.
    pub external_accepted: Counter,
    /// Requests by a signed-in browser.
    pub browser_accepted: Counter,
    /// Requests without any credential.
    pub missing: Counter,
    /// Requests with a wrong one.
    pub refused: Counter,
    /// Wrong ones from addresses that had sent too many.
    pub limited: Counter,
    /// Credentials that could not be looked up: the database or the external issuer failed.
    pub unavailable: Counter,
    pub sign_in_accepted: Counter,
    pub sign_in_refused: Counter,
    pub sign_in_limited: Counter,
    pub clients_registered: Counter,
    pub clients_refused: Counter,
    pub consents_given: Counter,
    pub consents_denied: Counter,
    pub tokens_issued: Counter,
    pub tokens_refreshed: Counter,
    pub tokens_revoked: Counter,
    /// Codes brought back a second time.
    pub codes_replayed: Counter,
    /// Refresh tokens brought back a second time.
    pub refresh_reused: Counter,
}
