//! Why a call on a session failed.

use crate::audit::AuditError;
use crate::{SecretError, SessionId};
use framebuffer::PictureError;
use policy::{Mode, Refusal};
use remote::{DisplayId, RemoteError, SessionState, Size};
use std::time::Duration;

/// A closed set; [`kind`](Self::kind) is the stable word of each. The edge adds what to try next.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionsError {
    #[error("there is no target named {name:?}; known: {}", list(.known))]
    UnknownTarget { name: String, known: Vec<String> },
    #[error("addresses are not taken here, only configured targets")]
    AddressNotAllowed,
    #[error("passwords are not taken here; the target's own is used")]
    PasswordNotAllowed,
    #[error("the address {address:?} fits no protocol: {reason}")]
    NoConnector { address: String, reason: String },
    #[error("the password of target {target:?} can not be read: {source}")]
    Secret { target: String, source: SecretError },
    #[error("the secret can not be typed: {0}")]
    TypedSecret(SecretError),
    #[error("{limit} sessions are open, which is the limit")]
    TooManySessions { limit: usize },
    #[error(transparent)]
    NotPermitted(Refusal),
    #[error("a person has to agree first{}; they are asked as {id}, for {} s yet", because(.reason), .left.as_secs())]
    NeedsApproval { id: String, reason: String, left: Duration },
    #[error("{by} did not agree")]
    ApprovalRefused { by: String },
    #[error("{limit} calls of this credential wait for a person already")]
    TooManyApprovals { limit: usize },
    /// Nothing was done, or nothing more.
    #[error("{who} has been in control of the desktop for {} s", .since.as_secs())]
    HumanInControl { who: String, since: Duration },
    #[error("a person was in control of the desktop meanwhile")]
    ControlChanged,
    #[error("{by} stopped this credential {} s ago", .since.as_secs())]
    Stopped { by: String, since: Duration },
    #[error("{by} stopped it")]
    Cancelled { by: String },
    #[error("nobody is in control of the desktop: take over first")]
    NotInControl,
    #[error("only a person can do that")]
    PersonsOnly,
    #[error("the mode is {now}; a call can only lower it, not make it {asked}")]
    ModeNotRaised { now: Mode, asked: Mode },
    #[error("there is no approval {0} to be answered here")]
    UnknownApproval(String),
    #[error("the credential {0} was not stopped")]
    NotStopped(String),
    #[error("{limit} desktops are in somebody's hands, which is the limit")]
    TooManyLeases { limit: usize },
    #[error("{limit} credentials are stopped, which is the limit")]
    TooManyStops { limit: usize },
    /// Nothing was done: it would not be on record.
    #[error("it can not be recorded: {0}")]
    NotAudited(AuditError),
    #[error("no session {0} is open")]
    UnknownSession(SessionId),
    #[error("session {id} is closed: {reason}")]
    Closed { id: SessionId, reason: String, cause: Option<RemoteError> },
    #[error("no session is open")]
    NoneOpen,
    #[error("several sessions are open, say which: {}", list_open(.open))]
    SeveralOpen { open: Vec<(SessionId, String)> },
    #[error("{}", describe(.state))]
    NotReady { session: SessionId, state: SessionState },
    #[error("the session is {} and takes no {what} now", .state.name())]
    NotAsked { what: &'static str, state: SessionState },
    #[error("this session has no screen")]
    NoScreen,
    #[error("there is no display {display}; there are: {}", list_displays(.known))]
    NoSuchDisplay { display: DisplayId, known: Vec<DisplayId> },
    #[error("no picture arrived within {} ms", .0.as_millis())]
    NoPicture(Duration),
    #[error("{what} is out of bounds: x from 0 to {}, y from 0 to {}", .last.0, .last.1)]
    OutOfBounds { what: String, last: (u32, u32) },
    #[error("the display was {then} when it was last pictured and is {now} now: positions no longer fit")]
    StaleFrame { then: Size, now: Size },
    #[error(transparent)]
    Picture(PictureError),
    #[error("unknown key {name:?}; similar: {}", list(.near))]
    UnknownKey { name: String, near: Vec<String> },
    #[error("unknown modifier {name:?}; similar: {}", list(.near))]
    UnknownModifier { name: String, near: Vec<String> },
    #[error("U+{:04X} is not text", *.0 as u32)]
    ControlCharacter(char),
    #[error("the text has {characters} characters, {longest} at most are typed at once")]
    TextTooLong { characters: usize, longest: usize },
    #[error("{0}")]
    Invalid(String),
    /// Some of the text was typed for certain; it is not typed again.
    #[error("{typed} of {total} characters were typed, then: {source}")]
    TypingStopped { typed: usize, total: usize, source: Box<SessionsError> },
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

impl SessionsError {
    /// The error code of the tools.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::UnknownTarget { .. } => "unknown_target",
            Self::AddressNotAllowed
            | Self::PasswordNotAllowed
            | Self::NotPermitted(_)
            | Self::ApprovalRefused { .. }
            | Self::NotInControl
            | Self::PersonsOnly
            | Self::ModeNotRaised { .. }
            | Self::NotAudited(_)
            | Self::Secret { .. }
            | Self::TypedSecret(_) => "not_permitted",
            Self::NeedsApproval { .. } => "needs_approval",
            Self::HumanInControl { .. } | Self::ControlChanged | Self::Stopped { .. } => "human_in_control",
            Self::Cancelled { .. } => "cancelled",
            Self::TooManySessions { .. }
            | Self::TooManyApprovals { .. }
            | Self::TooManyLeases { .. }
            | Self::TooManyStops { .. } => "rate_limited",
            Self::UnknownSession(_) | Self::NoneOpen => "session_closed",
            Self::Closed { cause, .. } => cause.as_ref().map_or("session_closed", RemoteError::kind),
            Self::NotReady { state, .. } => state_kind(state),
            Self::NoScreen => "unsupported_by_peer",
            Self::NoPicture(_) => "timeout_unknown_outcome",
            Self::OutOfBounds { .. } | Self::Picture(PictureError::OutOfBounds { .. }) => "out_of_bounds",
            Self::StaleFrame { .. } => "stale_frame",
            Self::Picture(PictureError::NoFrame) => "no_display",
            Self::Picture(_) => "budget_exceeded",
            Self::NoConnector { .. }
            | Self::SeveralOpen { .. }
            | Self::NotAsked { .. }
            | Self::UnknownApproval(_)
            | Self::NotStopped(_)
            | Self::NoSuchDisplay { .. }
            | Self::UnknownKey { .. }
            | Self::UnknownModifier { .. }
            | Self::ControlCharacter(_)
            | Self::TextTooLong { .. }
            | Self::Invalid(_) => "invalid_argument",
            Self::TypingStopped { source, .. } => source.kind(),
            Self::Remote(error) => error.kind(),
        }
    }
}

/// The error code of a session that is not usable because of its state.
pub fn state_kind(state: &SessionState) -> &'static str {
    match state {
        SessionState::Connecting => "timeout_unknown_outcome",
        SessionState::AwaitingPassword { wrong: true } => "wrong_password",
        SessionState::AwaitingPassword { wrong: false } => "not_authenticated",
        SessionState::Awaiting2fa { .. } => "needs_2fa",
        SessionState::AwaitingApproval => "awaiting_approval",
        SessionState::AwaitingOsLogin { .. } => "needs_os_login",
        SessionState::NoDisplay => "no_display",
        SessionState::Reconnecting { .. } => "unreachable",
        SessionState::Closed(error) => error.kind(),
        SessionState::Ready | SessionState::Degraded { .. } => "ready",
    }
}

/// One sentence on a state.
pub fn describe(state: &SessionState) -> String {
    match state {
        SessionState::Connecting => "still connecting".to_owned(),
        SessionState::AwaitingPassword { wrong: true } => "the peer did not accept the password".to_owned(),
        SessionState::AwaitingPassword { wrong: false } => "the peer asks for a password".to_owned(),
        SessionState::Awaiting2fa { wrong: true } => "the peer did not accept the second factor".to_owned(),
        SessionState::Awaiting2fa { wrong: false } => "the peer asks for its second factor".to_owned(),
        SessionState::AwaitingApproval => "a person at the peer has to accept the session".to_owned(),
        SessionState::AwaitingOsLogin { message } => {
            format!("the peer wants a user of its operating system: {message}")
        }
        SessionState::NoDisplay => "logged in, but the peer has no display".to_owned(),
        SessionState::Ready => "ready".to_owned(),
        SessionState::Degraded { silent_for } => {
            format!("the peer has been silent for {} s", silent_for.as_secs())
        }
        SessionState::Reconnecting { attempt, reason } => {
            format!("the connection was lost ({reason}) and is being made again, attempt {attempt}")
        }
        SessionState::Closed(error) => error.to_string(),
    }
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}

/// What an error lists at most.
const LISTED: usize = 20;

fn list(names: &[String]) -> String {
    join(names.iter().map(String::as_str))
}

fn list_open(open: &[(SessionId, String)]) -> String {
    join(open.iter().map(|(id, target)| format!("{id} ({target})")))
}

fn list_displays(known: &[DisplayId]) -> String {
    join(known.iter().map(DisplayId::to_string))
}

fn join<T: AsRef<str>>(items: impl ExactSizeIterator<Item = T>) -> String {
    let left_out = items.len().saturating_sub(LISTED);
    let mut text = String::new();
    for item in items.take(LISTED) {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(item.as_ref());
    }
    match (text.is_empty(), left_out) {
        (true, _) => "none".to_owned(),
        (false, 0) => text,
        (false, more) => format!("{text} and {more} more"),
    }
}
