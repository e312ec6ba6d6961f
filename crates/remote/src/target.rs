//! A machine as configured and addressed by name.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Text that is never printed.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself; only for handing it on.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where and how to open a session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// The name people and models use; for an address given ad hoc, the address.
    pub name: String,
    /// In the syntax of the connector: for RustDesk `id`, `id/r`, `id@server?key=…`, IP, `host:port`.
    pub address: String,
    /// `None`: ask the person at the peer.
    pub password: Option<Secret>,
    /// A session that the protocol does not encrypt (RustDesk's direct-IP access) is refused without this.
    pub allow_unencrypted: bool,
    /// Codec to ask for; `None` lets the peer choose.
    pub codec: Option<crate::VideoCodec>,
    /// Pictures a second to ask for at most.
    pub fps: Option<u32>,
    pub quality: Quality,
    pub tags: Vec<String>,
}

/// How sharp the peer's video is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    Low,
    #[default]
    Balanced,
    Best,
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(…)");
    }
}
