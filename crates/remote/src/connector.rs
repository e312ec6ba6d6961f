//! Opening sessions, and what every session can say of itself.

use crate::{BoxFuture, Desktop, RemoteError, Secret, Target};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Opens sessions for one protocol.
pub trait Connector: Send + Sync {
    /// The protocol's name: `rustdesk`, `vnc`, `ssh`.
    fn protocol(&self) -> &'static str;

    /// Whether the address is one of this protocol's, and if not, why.
    fn check(&self, address: &str) -> Result<(), RemoteError>;

    /// Whether both addresses name the same machine, as far as their text tells. Where this says so
    /// wrongly, what is ruled of one machine is ruled of another, too; where it misses it, a rule is missed.
    fn same_machine(&self, one: &str, other: &str) -> bool {
        let letters = |address: &str| -> String { address.split_whitespace().collect() };
        letters(one).eq_ignore_ascii_case(&letters(other))
    }

    /// Starts connecting and returns at once; the session's state tells how it goes.
    fn open(&self, target: Target) -> Result<Arc<dyn Session>, RemoteError>;
}

/// Where a session stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionState {
    Connecting,
    /// The peer wants a password, or another one.
    AwaitingPassword {
        wrong: bool,
    },
    Awaiting2fa {
        wrong: bool,
    },
    /// A person at the peer has to accept.
    AwaitingApproval,
    /// The peer wants a user of its operating system first.
    AwaitingOsLogin {
        message: String,
    },
    /// Logged in, but the peer has no screen to show.
    NoDisplay,
    /// Logged in and pictures arrive.
    Ready,
    /// Alive, but the peer is slow to answer.
    Degraded {
        silent_for: Duration,
    },
    /// The connection was lost and is being made again.
    Reconnecting {
        attempt: u32,
        reason: String,
    },
    /// Over; it does not come back.
    Closed(RemoteError),
}

impl SessionState {
    /// The word of DESIGN §4.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::AwaitingPassword { .. } => "awaiting_password",
            Self::Awaiting2fa { .. } => "awaiting_2fa",
            Self::AwaitingApproval => "awaiting_approval",
            Self::AwaitingOsLogin { .. } => "awaiting_os_login",
            Self::NoDisplay => "no_display",
            Self::Ready => "ready",
            Self::Degraded { .. } => "degraded",
            Self::Reconnecting { .. } => "reconnecting",
            Self::Closed(_) => "closed",
        }
    }

    /// Whether waiting longer can help without anybody doing something.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Connecting | Self::Reconnecting { .. })
    }
}

/// How the path to the peer came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Path {
    /// By address.
    Direct,
    /// Through a hole in the peer's NAT.
    Punched,
    /// In the same network, as the server found.
    Local,
    Relayed,
}

/// What the peer said of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PeerDetails {
    pub hostname: String,
    pub username: String,
    pub platform: String,
    pub version: String,
    pub path: Option<Path>,
    pub encrypted: bool,
    /// The peer's public key, base64, where it has proved one.
    pub key: Option<String>,
    /// Round trip as last measured.
    pub round_trip: Option<Duration>,
    /// Its way of typing may lose characters outside ASCII.
    pub types_ascii_only: bool,
    /// From being let in to the first picture.
    pub first_picture: Option<Duration>,
}

/// What the peer lets us do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    Keyboard,
    Clipboard,
    Audio,
    File,
    Restart,
    Recording,
    BlockInput,
    PrivacyMode,
}

/// Permissions that the peer has switched off; what is not listed is allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Permissions {
    pub denied: Vec<Permission>,
}

impl Permissions {
    pub fn allows(&self, permission: Permission) -> bool {
        !self.denied.contains(&permission)
    }
}

/// A live connection to a target.
pub trait Session: Send + Sync {
    fn state(&self) -> SessionState;

    /// Waits until the state is another than `seen`, and gives it. Cancel safe.
    fn state_after(&self, seen: &SessionState) -> BoxFuture<'_, SessionState>;

    fn peer(&self) -> PeerDetails;

    fn permissions(&self) -> Permissions;

    /// Answers [`SessionState::AwaitingPassword`]. The new state tells the outcome.
    fn password(&self, password: Secret) -> BoxFuture<'_, Result<(), RemoteError>>;

    /// Answers [`SessionState::Awaiting2fa`].
    fn second_factor(&self, code: Secret) -> BoxFuture<'_, Result<(), RemoteError>>;

    /// The screen, if this protocol has one.
    fn desktop(&self) -> Option<&dyn Desktop>;

    /// Says good-bye to the peer and ends; returns when the connection is down.
    fn close(&self) -> BoxFuture<'_, ()>;
}
