//! What a host is told before it starts, and what it reports.

use crate::screen::Screen;
use crate::state::StateError;
use crate::video::VideoConfig;
use remote::{Permission, Permissions, Secret};
use session_proto::host::{ApproveMode, Authorisation, ClientInfo, ClipboardItem, CloseCause};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// A host to be started with [`Host::spawn`](crate::Host::spawn).
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// See [`state`](crate::state) for what is kept there.
    pub state_dir: PathBuf,
    /// The id to be known by; kept even if the server says that another machine has it. `None`: the one
    /// chosen before, or a new one.
    pub id: Option<String>,
    /// The permanent password from now on; `None` keeps the one set before, if any.
    pub password: Option<Secret>,
    /// A password made here, told to the person at this machine, and replaced after each session. `None`: there
    /// is none.
    pub one_time: Option<OneTime>,
    pub approve: ApproveMode,
    /// What clients may not do. [`default_denied`] is right where there is just a screen.
    pub permissions: Permissions,
    /// Whether clients that could be talked to sealed may go on in the clear.
    pub allow_plain: bool,
    /// Where to register; `None` for direct access only.
    pub server: Option<ServerConfig>,
    /// Where to take clients by address. Such sessions are not sealed: the protocol has nothing for it.
    pub direct: Option<SocketAddr>,
    pub limits: Limits,
    pub screen: Arc<dyn Screen>,
    pub video: VideoConfig,
    /// Told to clients: the user and the name of this machine.
    pub username: String,
    pub hostname: String,
}

impl HostConfig {
    /// A host of this screen that nobody can reach yet: state in `host` of the working directory, a
    /// password only, sealed sessions only.
    pub fn new(screen: Arc<dyn Screen>) -> Self {
        Self {
            state_dir: "host".into(),
            id: None,
            password: None,
            one_time: None,
            approve: ApproveMode::Password,
            permissions: default_denied(),
            allow_plain: false,
            server: None,
            direct: None,
            limits: Limits::default(),
            screen,
            video: VideoConfig::default(),
            username: String::new(),
            hostname: String::new(),
        }
    }
}

/// What one-time passwords look like (session §2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OneTime {
    /// Characters; stock hosts offer 6, 8 and 10.
    pub length: usize,
    /// Digits only, for who has to say it over the telephone.
    pub digits: bool,
}

impl Default for OneTime {
    fn default() -> Self {
        Self { length: 6, digits: false }
    }
}

/// What this host can not do yet, whoever asks.
pub fn default_denied() -> Permissions {
    use Permission::{Audio, BlockInput, File, PrivacyMode, Restart};
    Permissions { denied: vec![Audio, File, Restart, BlockInput, PrivacyMode] }
}

/// A rendezvous server and its relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// `host`, `host:port`, or a `ws://` address used as it is.
    pub address: String,
    /// The server's public key as text; its relay asks for it.
    pub key: String,
    /// The relay to use, whatever the server names: `host`, `host:port`, or a `ws://` address.
    pub relay: Option<String>,
    /// Register over TCP in place of UDP. A `ws://` address does so over its WebSocket anyway.
    pub tcp: bool,
    /// Never let a client connect to this machine; only through the relay.
    pub force_relay: bool,
}

/// How much strangers may ask of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Sessions at a time.
    pub sessions: usize,
    /// Connections that are not logged in, at a time.
    pub half_open: usize,
    /// … of one address.
    pub half_open_per_address: usize,
    /// Connections of one address at once; one more comes free each second, and with each login.
    pub burst_per_address: u32,
    /// A connection that is not logged in by then is closed.
    pub login: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 32,
            half_open: 64,
            half_open_per_address: 16,
            burst_per_address: 30,
            login: Duration::from_secs(300),
        }
    }
}

/// Why a host could not be started.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Screen(#[from] crate::screen::ScreenError),
    #[error("can not listen on {addr}: {reason}")]
    Listen { addr: SocketAddr, reason: std::io::Error },
    #[error("the screen shows no monitor")]
    NoMonitor,
    #[error("{0:?} is no server address")]
    Server(String),
    #[error("{0:?} can not be an id: 6 to 100 letters, digits, dots, hyphens and underscores")]
    Id(String),
    #[error("neither a server nor a port for direct access is given, so that nobody can come")]
    Unreachable,
}

impl HostError {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::State(_) => "state",
            Self::Screen(_) => "screen",
            Self::Listen { .. } => "listen",
            Self::NoMonitor => "no_monitor",
            Self::Server(_) => "server",
            Self::Id(_) => "id",
            Self::Unreachable => "unreachable",
        }
    }
}

/// How a client came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// By this machine's address.
    Direct,
    /// Through a hole in a NAT.
    Punched,
    /// In the same network, as the server found.
    Local,
    Relayed,
}

/// A number that no other session of this run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// What happens at a host, for its log and its user.
#[derive(Debug, Clone, PartialEq)]
pub enum HostEvent {
    /// The server knows this host under its id.
    Registered {
        id: String,
    },
    /// The server can not be reached, or does not want this host now; it is tried again.
    Unregistered {
        reason: String,
    },
    /// Another machine has the configured id. It is tried again, never replaced.
    IdTaken {
        id: String,
    },
    /// Another machine had the id chosen before; this is the new one.
    IdReplaced {
        old: String,
        new: String,
    },
    Connected {
        session: SessionId,
        from: SocketAddr,
        path: Path,
    },
    Introduced {
        session: SessionId,
        client: ClientInfo,
        sealed: bool,
    },
    /// Answer with [`HostHandle::accept`](crate::HostHandle::accept) or `refuse`.
    ApprovalWanted {
        session: SessionId,
    },
    /// From now on this is the one-time password; also at the start.
    OneTimePassword(Secret),
    WrongPassword {
        session: SessionId,
        from: SocketAddr,
    },
    LoginRefused {
        session: SessionId,
        text: String,
    },
    Authorised {
        session: SessionId,
        how: Authorisation,
    },
    Chat {
        session: SessionId,
        text: String,
    },
    /// The client's clipboard, decompressed, 16 MiB at most.
    Clipboard {
        session: SessionId,
        items: Vec<ClipboardItem>,
    },
    /// The client wants this screen locked.
    LockScreen {
        session: SessionId,
    },
    /// The client wants this machine rebooted.
    Restart {
        session: SessionId,
    },
    Disconnected {
        session: SessionId,
        cause: Ending,
    },
    /// No pictures any more; the host is of no use now.
    ScreenGone {
        reason: String,
    },
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// By rule; see [`CloseCause`].
    Closed(CloseCause),
    /// The connection broke.
    Lost(String),
    /// The client did not read for 12 s.
    SlowReader,
    /// Not logged in for [`Limits::login`].
    LoginTimeout,
}

/// What a host refused, counted since it started.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections taken in.
    pub accepted: AtomicU64,
    /// Connections refused: too many of one address in a short time.
    pub rate_limited: AtomicU64,
    /// Connections refused: too many that were not logged in.
    pub half_open: AtomicU64,
    /// Connections refused: too many sessions.
    pub sessions: AtomicU64,
    /// Wrong passwords.
    pub wrong_passwords: AtomicU64,
    /// Logins refused otherwise.
    pub login_refused: AtomicU64,
    /// Sessions that broke the rules of the key exchange or of the packets.
    pub insecure: AtomicU64,
    /// Messages that are none, came too early, or have no effect here.
    pub ignored_messages: AtomicU64,
    /// Input without the permission for it.
    pub refused_input: AtomicU64,
    /// Pushes of the server that were repeated within 100 ms.
    pub repeated_pushes: AtomicU64,
    /// Pushes refused because too many were being answered.
    pub refused_pushes: AtomicU64,
}
