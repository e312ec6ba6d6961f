//! Live sessions by handle: connecting, pictures, acting, waiting, typing.
//!
//! [`Sessions`] keeps what is open, and [`Access`] is the one way to it: every call on it is one of a
//! [`policy::Caller`] and is decided first. It is protocol-free: [`remote::Connector`]s open sessions, and
//! all that is done to a desktop goes through its gate, one actor at a time.
//!
//! Positions are pixels of the picture last given out for a display, so that a caller can point at what it
//! saw; [`coordinates`] scales them back. What an action did is told in three words: *sent*, *effective*
//! (the screen changed, or not), or an error when it was refused. An input is never sent twice.

pub mod access;
pub mod action;
pub mod approvals;
pub mod audit;
pub mod config;
pub mod coordinates;
pub mod error;
pub mod events;
mod gate;
pub mod id;
pub mod keys;
pub mod lease;
mod live;
mod lossless;
mod modes;
mod reaction;
pub mod registry;
pub mod screenshot;
pub mod secrets;
pub mod settle;
pub mod stops;
pub mod targets;
pub mod text;
mod view;

#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

pub use access::{Access, WatchedPicture, Watching};
pub use action::{Act, Acted, Action};
pub use approvals::{Answer, Approval, ApprovalTimes};
pub use audit::{
    AuditCounters, AuditDecision, AuditEntry, AuditError, AuditLog, AuditPhase, JsonLines, MemoryAudit,
};
pub use config::{SessionsConfig, Settle};
pub use coordinates::{Area, Mapping, Space, Spot};
pub use error::SessionsError;
pub use events::{Event, Events, Happening, Told};
pub use id::SessionId;
pub use keys::Chord;
pub use lease::{Control, LeaseEnd};
pub use registry::{ConnectRequest, ConnectTo, Connected, SessionStatus, SessionSummary, Sessions};
pub use screenshot::{Screenshot, ScreenshotRequest};
pub use secrets::{FileSecrets, NamedSecret, SecretError, SecretRef, SecretSource};
pub use settle::{Change, Effect, WaitFor, WaitOutcome, WaitRequest};
pub use stops::Stop;
pub use targets::{TargetEntry, TargetSummary};
