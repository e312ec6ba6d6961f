//! Rendezvous (ID) server and relay, embeddable: `Server::spawn(config) -> Handle`, with the relay inside if
//! the configuration has one, or [`relay::Relay`] alone.
//!
//! The decisions ([`broker`], [`registry`], [`limits`]) do no I/O; around them stand threads for datagrams,
//! tasks for connections and a thread for the database. Facts about the protocol are quoted as
//! "rendezvous §n".

pub mod broker;
pub mod clock;
pub mod counters;
pub mod keys;
pub mod limits;
mod links;
mod reachable;
pub mod registry;
pub mod relay;
pub mod server;
pub mod store;
mod stream;
mod system;
mod udp;

pub use server::{Addresses, ConnectionLimits, Figures, Handle, HostInfo, Server, ServerConfig, StartError};
pub use store::{Imported, StoreError, import_stock};
