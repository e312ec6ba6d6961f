//! How a client finds a path to a peer: hbbs, punching, relay (rendezvous §7.2, §7.3).
//!
//! [`Dial`] says which connections to make and what to send on them; its driver reports what became of that.
//! Connections have numbers that are never used again. A path counts once the peer has spoken on it, which
//! it does first on each: a port that somebody else listens on is none. The direct path has a start over
//! the relay, and is not given up when the relay joins the race.

mod machine;
#[cfg(test)]
mod tests;

pub use machine::Dial;

use bytes::Bytes;
use hbb_common::handshake::HandshakeError;
use hbb_common::key::PublicKey;
use hbb_common::rendezvous::NatType;
use remote::Path;
use std::net::SocketAddr;

/// Which peer, and what is known of the server and of it.
#[derive(Debug, Clone)]
pub struct Request {
    pub id: String,
    /// The server's key as configured, sent as it is.
    pub key_text: String,
    /// The same as a key, if it is one: the server's word for the peer's key is checked with it.
    pub server_key: Option<PublicKey>,
    /// The key that the peer had before.
    pub pinned: Option<PublicKey>,
    /// Our own NAT as far as it is known; see [`Dial::learn_nat`].
    pub nat: NatType,
    /// Through the relay, whatever the network allows.
    pub force_relay: bool,
    /// The last session went through the relay: a direct try gets less of a start.
    pub was_relayed: bool,
    /// The relay to use where nobody names one.
    pub default_relay: String,
    /// Random UUIDs as text, one for each attempt at a relay.
    pub uuids: [String; 4],
}

/// A connection asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u32);

/// What the driver has to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Connect to hbbs.
    ConnectServer {
        conn: ConnId,
    },
    /// Connect to the peer from the local address that `like` has or had.
    ConnectPeer {
        conn: ConnId,
        to: SocketAddr,
        like: ConnId,
    },
    /// Connect to the relay, `host` or `host:port`.
    ConnectRelay {
        conn: ConnId,
        relay: String,
    },
    Send {
        conn: ConnId,
        packet: Bytes,
    },
    /// Close it, or stop connecting.
    Close {
        conn: ConnId,
    },
    /// The path is there, and the packet last handed in from it is the peer's first. Nothing follows.
    Done {
        conn: ConnId,
        path: Path,
        key: PeerKey,
    },
    /// There is no path. Nothing follows.
    Failed(DialError),
}

/// What is known of the peer's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerKey {
    /// Signed by the server just now, for the id that was dialled.
    Signed(PublicKey),
    /// The server vouched for none, but the peer had this one before.
    Pinned(PublicKey),
    /// Nothing: the peer can not be verified.
    Unknown,
}

/// Why there is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    #[error("the server does not know the id")]
    UnknownId,
    #[error("the peer is offline")]
    Offline,
    #[error("the server has another key")]
    KeyMismatch,
    #[error("the server's licence is exhausted")]
    Overuse,
    /// In the server's or the peer's words.
    #[error("{0}")]
    Refused(String),
    #[error("the server's word for the peer's key is not good: {0}")]
    NotVerified(HandshakeError),
    #[error("the server can not be reached: {0}")]
    NoServer(String),
    #[error("the server ended the connection")]
    ServerLeft,
    #[error("the peer did not answer the server")]
    NoAnswer,
    #[error("no path: {0}")]
    NoPath(String),
}
