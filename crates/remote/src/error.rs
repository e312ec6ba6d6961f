//! What can go wrong with a remote machine.

use crate::{DisplayId, Permission};

/// A closed set; [`kind`](Self::kind) is the stable word of each. Edges add what to try next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    #[error("nothing answers at {address}: {reason}")]
    Unreachable { address: String, reason: String },
    #[error("the server does not know the id {0}")]
    UnknownId(String),
    #[error("{0} is offline")]
    Offline(String),
    #[error("the server refused our key")]
    ServerKeyRefused,
    #[error("the server's signature does not fit the configured key")]
    ServerNotVerified,
    #[error("{peer} has another key than before: {pinned} then, {offered} now")]
    PeerKeyChanged { peer: String, pinned: String, offered: String },
    #[error("the peer could not prove its identity: {0}")]
    PeerNotVerified(String),
    #[error("the session would not be encrypted and the target does not allow that")]
    NotEncrypted,
    #[error("wrong password")]
    WrongPassword,
    #[error("the peer asks for its second factor")]
    SecondFactorNeeded,
    #[error("the peer takes no more attempts for now: {0}")]
    TooManyAttempts(String),
    #[error("the peer refused: {0}")]
    Refused(String),
    #[error("the peer does not allow it: {0:?} is switched off there")]
    PermissionDenied(Permission),
    #[error("a window with higher rights is in front; input does not reach it")]
    ElevatedWindow,
    #[error("the peer has no display {0}")]
    NoSuchDisplay(DisplayId),
    #[error("the peer has no display")]
    NoDisplay,
    #[error("the peer can not do that: {0}")]
    UnsupportedByPeer(String),
    #[error("the session is closed: {0}")]
    SessionClosed(String),
    #[error("no answer in time: {0}")]
    TimedOut(String),
    #[error("it is not known whether this reached the peer: {0}")]
    OutcomeUnknown(String),
    #[error("invalid: {0}")]
    Invalid(String),
}

impl RemoteError {
    /// The error code of the tools.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } | Self::Offline(_) => "unreachable",
            Self::UnknownId(_) => "unknown_target",
            Self::ServerKeyRefused
            | Self::ServerNotVerified
            | Self::PeerKeyChanged { .. }
            | Self::PeerNotVerified(_)
            | Self::NotEncrypted
            | Self::Refused(_) => "not_permitted",
            Self::WrongPassword => "wrong_password",
            Self::SecondFactorNeeded => "needs_2fa",
            Self::TooManyAttempts(_) => "rate_limited",
            Self::PermissionDenied(_) => "permission_denied_by_peer",
            Self::ElevatedWindow => "elevated_window",
            Self::NoSuchDisplay(_) | Self::Invalid(_) => "invalid_argument",
            Self::NoDisplay => "no_display",
            Self::UnsupportedByPeer(_) => "unsupported_by_peer",
            Self::SessionClosed(_) => "session_closed",
            Self::TimedOut(_) | Self::OutcomeUnknown(_) => "timeout_unknown_outcome",
        }
    }
}
