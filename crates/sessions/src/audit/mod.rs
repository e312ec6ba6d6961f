//! What was done, by whom, and what was decided: an append-only record.
//!
//! What changes something is written *before* it is done and completed after; where the record can not be
//! written, it is not done. A step that begins and never ends in the record is one of which it is not known
//! how it ended. Looking is written after the fact, unless
//! [`SessionsConfig::look_without_audit`](crate::SessionsConfig::look_without_audit) is off.
//!
//! No entry holds a secret, typed text or a picture.

mod journal;
mod lines;
mod memory;

pub use journal::AuditCounters;
pub(crate) use journal::{Journal, step};
pub use lines::JsonLines;
pub use memory::MemoryAudit;

use policy::{CallerKind, Class};
use remote::BoxFuture;
use serde::{Deserialize, Serialize};

/// Where entries are kept. What is appended stays; there is no way to change it through this.
pub trait AuditLog: Send + Sync {
    /// Appends the entries in their order, all or none, and returns when they would survive the end of this
    /// process.
    fn append(&self, entries: Vec<AuditEntry>) -> BoxFuture<'_, Result<(), AuditError>>;
}

/// Why a record can not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    #[error("there is no space left for {place}")]
    NoSpace { place: String },
    #[error("{place}: {reason}")]
    Failed { place: String, reason: String },
}

impl AuditError {
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NoSpace { .. } => "no_space",
            Self::Failed { .. } => "failed",
        }
    }
}

/// Which part of a step an entry tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditPhase {
    /// It was decided and is about to be done.
    Begun,
    /// It is over; [`AuditEntry::outcome`] says how.
    Ended,
    /// All of it: it was refused, or it only looked.
    Whole,
}

impl AuditPhase {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Ended => "ended",
            Self::Whole => "whole",
        }
    }
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditDecision {
    Allowed,
    /// A person agreed.
    Approved,
    /// A person has to agree first.
    NeedsApproval,
    /// By the policy.
    Refused,
    /// A person is in control of the desktop, or stopped the caller.
    HumanInControl,
}

impl AuditDecision {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Approved => "approved",
            Self::NeedsApproval => "needs_approval",
            Self::Refused => "refused",
            Self::HumanInControl => "human_in_control",
        }
    }
}

/// One line of the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Milliseconds since the beginning of 1970, UTC.
    pub time_ms: u64,
    /// The same for the entries of one step, and for no others.
    pub step: String,
    pub phase: AuditPhase,
    /// Names the credential; it is not the credential.
    pub credential: String,
    /// Whom the credential was given to.
    pub name: String,
    pub kind: CallerKind,
    /// The tool, or what a person did: `click`, `take_over`.
    pub operation: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// The target's name, or the address where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// The beginning of the session's handle: enough to tell sessions apart, too little to use one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    pub decision: AuditDecision,
    /// Why it was decided so, where that is not plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What is done: `left click at 330,331`. Of text only the length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Number of the picture before ([`AuditPhase::Begun`]) or after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<u64>,
    /// `ok`, or the error's code; absent while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
}

/// The present, as entries tell it.
pub(crate) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
