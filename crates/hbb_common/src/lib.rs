//! RustDesk's bytes, without I/O: messages, packet framing, mangled addresses, peer ids, the NaCl
//! handshake and per-packet encryption, password proofs.
//!
//! The name is upstream's, because that is where people who know RustDesk look for these things. All
//! numbers and orders are facts of the wire (the documents `rendezvous.md` and `session.md`, quoted as
//! "rendezvous §n" and "session §n"); the text is our own.

pub mod addr;
pub mod handshake;
pub mod key;
pub mod packet;
pub mod password;
pub mod peer_id;
pub mod rewrite;
pub mod seal;
pub mod version;

/// Messages between peers, hbbs and hbbr. The top-level type is [`rendezvous::RendezvousMessage`].
#[allow(
    unreachable_pub,
    clippy::allow_attributes,
    clippy::large_enum_variant,
    clippy::too_many_lines,
    clippy::doc_lazy_continuation,
    missing_debug_implementations,
    reason = "generated"
)]
pub mod rendezvous {
    include!(concat!(env!("OUT_DIR"), "/hbb.rendezvous.rs"));
}

/// Messages of a session between a client and a host. The top-level type is [`session::Message`].
#[allow(
    unreachable_pub,
    clippy::allow_attributes,
    clippy::large_enum_variant,
    clippy::too_many_lines,
    clippy::doc_lazy_continuation,
    missing_debug_implementations,
    reason = "generated"
)]
pub mod session {
    include!(concat!(env!("OUT_DIR"), "/hbb.session.rs"));
}

/// Ports, times and limits of the protocol (rendezvous §3, §5.20; session §10.5).
pub mod defaults {
    use std::time::Duration;

    /// hbbs: UDP and TCP rendezvous. NAT test is one below, WebSocket two above.
    pub const RENDEZVOUS_PORT: u16 = 21116;
    /// hbbr: TCP relay. WebSocket is two above.
    pub const RELAY_PORT: u16 = 21117;
    /// A host's port for direct-IP access. The number is that of hbbs's WebSocket port.
    pub const DIRECT_PORT: u16 = 21118;
    /// Connecting, and most waits for an answer.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(18);
    /// A host registers again after this.
    pub const REGISTER_INTERVAL: Duration = Duration::from_secs(15);
    /// A host waits this long for an answer to its registration.
    pub const REGISTER_REPLY_TIMEOUT: Duration = Duration::from_secs(3);
    /// hbbs calls a host offline when it was silent this long.
    pub const ONLINE_TIMEOUT: Duration = Duration::from_secs(30);
    /// hbbr keeps a request that waits for its partner this long, and a silent pair.
    pub const RELAY_TIMEOUT: Duration = Duration::from_secs(30);
    /// A session without any packet from the other side ends after this.
    pub const SESSION_SILENCE: Duration = Duration::from_secs(30);
    /// The host's latency probe.
    pub const PROBE_INTERVAL: Duration = Duration::from_secs(1);
    /// The RustDesk release whose behaviour is implemented; sent as `version` in messages.
    pub const VERSION: &str = "1.4.9";
}
