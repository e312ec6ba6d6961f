//! What a relay can be told.

use hbb_common::defaults;
use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    time::Duration,
};

/// One megabit per second as stock hbbr counts it (1024 × 1024 bit), in bytes per second.
pub const MEGABIT: u64 = 1024 * 1024 / 8;

/// Everything a relay is started with.
///
/// The default listens nowhere and asks for no key: an operator's front end fills in both.
#[derive(Debug, Clone)]
pub struct RelayConfig {
    /// Where to accept TCP peers. Port 0 takes a free one, see
    /// [`RelayHandle::tcp_addrs`](super::RelayHandle::tcp_addrs).
    pub tcp: Vec<SocketAddr>,
    /// Where to accept WebSocket peers; customarily the same addresses, two ports up.
    pub web: Vec<SocketAddr>,
    /// What `licence_key` of a request must be, byte for byte. `None` lets everybody in.
    pub key: Option<String>,
    /// From the connection to its whole first message.
    pub request_timeout: Duration,
    /// How long a request waits for its partner.
    pub pairing_timeout: Duration,
    /// A pair of which nothing came for this long is closed, at the latest a sixteenth of it later.
    pub idle_timeout: Duration,
    pub limits: Limits,
    pub bandwidth: Bandwidth,
    /// Addresses that are not served.
    pub blocked: HashSet<IpAddr>,
    /// Addresses whose pairs get [`Bandwidth::slow`].
    pub slow: HashSet<IpAddr>,
    /// Reverse proxies whose `X-Real-IP` or `X-Forwarded-For` is believed. Stock believes everybody's.
    pub trusted_proxies: HashSet<IpAddr>,
    /// Threads that move bytes; one per core by default.
    pub threads: Option<NonZeroUsize>,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            tcp: Vec::new(),
            web: Vec::new(),
            key: None,
            request_timeout: defaults::RELAY_TIMEOUT,
            pairing_timeout: defaults::RELAY_TIMEOUT,
            idle_timeout: defaults::RELAY_TIMEOUT,
            limits: Limits::default(),
            bandwidth: Bandwidth::default(),
            blocked: HashSet::new(),
            slow: HashSet::new(),
            trusted_proxies: HashSet::new(),
            threads: None,
        }
    }
}

impl RelayConfig {
    /// Listens on one address as RustDesk's clients expect it: TCP on `port`, WebSocket two above; both
    /// on free ports if `port` is 0.
    pub fn on(ip: IpAddr, port: u16) -> Self {
        let web = if port == 0 { 0 } else { port.saturating_add(2) };
        Self { tcp: vec![(ip, port).into()], web: vec![(ip, web).into()], ..Self::default() }
    }
}

/// How much strangers can make the relay hold.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Pairs open at a time.
    pub pairs: usize,
    /// Connections without a partner at a time: those that have not asked yet and those that wait.
    pub waiting: usize,
    /// The same, of one address.
    pub waiting_per_ip: usize,
    /// Longest first message, bytes. A stock request has about 110.
    pub request: usize,
    /// Longest uuid, bytes. Stock peers send 36.
    pub uuid: usize,
    /// Longest WebSocket message, and packet towards a WebSocket peer, once paired. Bytes.
    pub web_message: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pairs: 50_000,
            waiting: 16_384,
            waiting_per_ip: 1024,
            request: 512,
            uuid: 128,
            web_message: 16 << 20,
        }
    }
}

/// Bandwidth caps in bytes per second, both directions of a pair together. `None` is no cap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bandwidth {
    /// All pairs together. Shared fairly: who asks for less than an equal part is not delayed.
    pub total: Option<u64>,
    pub per_pair: Option<u64>,
    /// All pairs of one address together.
    pub per_ip: Option<u64>,
    /// A pair of an address on the slow list, or a downgraded pair.
    pub slow: Option<u64>,
    pub downgrade: Option<Downgrade>,
}

impl Bandwidth {
    /// What stock hbbr 1.1.15 and later start with (rendezvous §5.18).
    pub fn stock() -> Self {
        Self {
            total: Some(1024 * MEGABIT),
            per_pair: Some(128 * MEGABIT),
            per_ip: None,
            slow: Some(32 * MEGABIT),
            downgrade: Some(Downgrade::default()),
        }
    }
}

/// A pair that has used too much of [`Bandwidth::per_pair`] for too long gets [`Bandwidth::slow`] for the
/// rest of its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Downgrade {
    /// Younger pairs are left alone.
    pub after: Duration,
    /// Percent of the pair's cap that its average since the start may reach.
    pub percent: u32,
}

impl Default for Downgrade {
    fn default() -> Self {
        Self { after: Duration::from_secs(1800), percent: 66 }
    }
}

/// Why a relay did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("can not listen on {addr}: {source}")]
    Listen { addr: SocketAddr, source: std::io::Error },
    #[error("can not start a thread that moves bytes: {0}")]
    Thread(std::io::Error),
}

impl StartError {
    /// A stable name.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Listen { .. } => "listen",
            Self::Thread(_) => "thread",
        }
    }
}
