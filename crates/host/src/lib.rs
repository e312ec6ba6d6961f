//! The controlled side: registers with hbbs, accepts clients, shows a display and takes input.
//!
//! [`Host::spawn`] starts one; the [`HostHandle`] it gives ends everything when it is dropped. Each
//! connection is a task around a [`session_proto::host::Host`]; pictures come from the threads of
//! [`video`], input goes to a thread of its own.

pub mod config;
mod host;
mod injector;
pub mod keymap;
mod listener;
mod one_time;
mod paths;
mod place;
mod rendezvous;
pub mod screen;
mod session;
pub mod state;
mod transport;
pub mod video;

pub use config::{
    Counters, HostConfig, HostError, HostEvent, Limits, OneTime, Path, ServerConfig, SessionId,
};
pub use host::{Host, HostHandle, SessionInfo};
pub use injector::InputFaults;
pub use session_proto::host::{ApproveMode, Authorisation, ClientInfo, CloseCause};
