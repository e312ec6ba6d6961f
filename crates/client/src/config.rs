//! What a connector is made with.

use crate::pins::{MemoryPins, Pins};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A rendezvous server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// `host`, `host:port`, or a `ws://` or `wss://` address.
    pub address: String,
    /// Its key as configured, sent as it is and used to check its signatures; may be empty.
    pub key: String,
}

/// How a lost session is made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reconnect {
    /// Before the first attempt; doubled for each further one.
    pub first: Duration,
    pub longest: Duration,
    /// Without success for this long, the session is closed. Zero: never reconnect.
    pub give_up_after: Duration,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(30),
            give_up_after: Duration::from_secs(600),
        }
    }
}

/// What all sessions of a connector share.
#[derive(Clone)]
pub struct Config {
    /// For ids without a server of their own; `None`: only those and direct addresses work.
    pub server: Option<Server>,
    /// Who we are, as shown to the person at the host.
    pub my_id: String,
    pub my_name: String,
    /// The keys that hosts had.
    pub pins: Arc<dyn Pins>,
    /// Larger pictures are not decoded.
    pub pixel_limit: u64,
    pub reconnect: Reconnect,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: None,
            my_id: "deskhand".into(),
            my_name: "Deskhand".into(),
            pins: Arc::new(MemoryPins::default()),
            pixel_limit: 7680 * 4320,
            reconnect: Reconnect::default(),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("server", &self.server)
            .field("my_id", &self.my_id)
            .finish_non_exhaustive()
    }
}
