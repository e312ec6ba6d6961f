//! RustDesk connector: opens sessions to hosts by id or address.
//!
//! A session is one task that owns the stream and never waits for anything but it, and one thread that
//! decodes, started by the first picture. The protocol is in `session-proto`; here are sockets, time,
//! randomness and threads.

mod attempt;
mod command;
mod config;
mod connector;
mod decode;
mod dialer;
mod error;
mod link;
mod nat;
mod net;
mod pins;
mod place;
mod session;
mod shared;
mod task;
mod tls;
mod watchers;

pub use config::{Config, Reconnect, Server};
pub use connector::RustDesk;
pub use pins::{FilePins, KnownPeer, MemoryPins, Pin, Pins};
pub use session::RustDeskSession;
