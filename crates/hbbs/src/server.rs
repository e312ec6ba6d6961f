//! The server as a value: sockets, threads, tasks and the database around the broker.

use crate::broker::{Broker, Journal, Policy, Port};
use crate::clock::Clock;
use crate::counters::{Counters, Counts};
use crate::keys::{KeyFileError, ServerKey};
use crate::reachable;
use crate::registry::{Peer, Rate};
use crate::store::{Forgetful, Store, StoreError};
use crate::stream::{self, Blocklist, Edge, Gate};
use crate::udp::{Sockets, Threads};
use hbb_common::defaults::RENDEZVOUS_PORT;
use hbb_common::key::{KeyOption, PublicKey};
use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::task::JoinSet;

/// File in the state directory, as stock servers name it.
const KEY_FILE: &str = "id_ed25519";

/// Free ports are looked for this often, because UDP and TCP must have the same.
const ATTEMPTS: usize = 32;

/// What a server is started with. The default listens on the usual ports of all addresses, keeps nothing
/// and so needs a key in [`key`](Self::key) or a [`state_dir`](Self::state_dir).
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Addresses to listen on. Empty: all, IPv6 and IPv4, or IPv4 alone where there is no IPv6.
    pub listen: Vec<IpAddr>,
    /// P, UDP and TCP; 0 for a free one.
    pub port: u16,
    /// P−1 if `None`, or a free one if P is 0.
    pub nat_test_port: Option<u16>,
    /// P+2 if `None`, or a free one if P is 0.
    pub websocket_port: Option<u16>,
    pub key: KeyOption,
    /// `id_ed25519` in the state directory if `None`.
    pub key_file: Option<PathBuf>,
    /// Where the key and the database live; `None` keeps nothing.
    pub state_dir: Option<PathBuf>,
    /// Relays that peers are told to use, in turn, as `host[:port]`. With none they use the server's own
    /// host, one port above P. Of several, those that do not answer are left out for the time.
    pub relays: Vec<String>,
    pub policy: Policy,
    /// Accepted RegisterPk of one id.
    pub id_rate: Rate,
    /// Addresses of reverse proxies whose `X-Real-IP` and `X-Forwarded-For` are believed on P+2.
    pub trusted_proxies: Vec<IpAddr>,
    /// Addresses that are not served.
    pub blocklist: HashSet<IpAddr>,
    pub connections: ConnectionLimits,
    /// Threads for datagrams per listen address; one per core if `None`.
    pub udp_threads: Option<usize>,
}

/// Bounds on open TCP and WebSocket connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    pub total: usize,
    /// From one IPv4 address or IPv6 /64.
    pub per_address: usize,
    /// A connection without a whole packet for this long is closed.
    pub silence: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { total: 16_384, per_address: 2048, silence: Duration::from_secs(30) }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            port: RENDEZVOUS_PORT,
            nat_test_port: None,
            websocket_port: None,
            key: KeyOption::File,
            key_file: None,
            state_dir: None,
            relays: Vec::new(),
            policy: Policy::default(),
            id_rate: Rate { count: 3, window: Duration::from_secs(6) },
            trusted_proxies: Vec::new(),
            blocklist: HashSet::new(),
            connections: ConnectionLimits::default(),
            udp_threads: None,
        }
    }
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("can not listen on {addr} ({what}): {source}")]
    Listen { what: &'static str, addr: SocketAddr, source: io::Error },
    #[error("no free port for both UDP and TCP")]
    NoFreePort,
    #[error(transparent)]
    Key(#[from] KeyFileError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("threads for datagrams: {0}")]
    Threads(io::Error),
    #[error("not called from within a tokio runtime")]
    NoRuntime,
}

impl StartError {
    /// For edges that report errors by a word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Listen { .. } | Self::NoFreePort => "listen_failed",
            Self::Key(_) => "key_failed",
            Self::Store(_) => "store_failed",
            Self::Threads(_) | Self::NoRuntime => "start_failed",
        }
    }
}

/// Where a server listens, in the order of [`ServerConfig::listen`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// P, UDP and TCP.
    pub rendezvous: Vec<SocketAddr>,
    pub nat_test: Vec<SocketAddr>,
    pub websocket: Vec<SocketAddr>,
}

/// A registered host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostInfo {
    pub id: String,
    pub key: PublicKey,
    /// Where it last registered from; the port is 0 if that was in an earlier run.
    pub addr: SocketAddr,
    /// `None` if not heard in this run.
    pub last_seen: Option<SystemTime>,
    pub online: bool,
}

/// The rendezvous server.
#[derive(Debug)]
pub struct Server;

impl Server {
    /// Starts a server, which runs until its handle is dropped. Reads the database before it returns:
    /// about a second for a million hosts. Call it from within a tokio runtime.
    ///
    /// # Errors
    /// If an address, the key file or the database can not be used.
    pub fn spawn(config: ServerConfig) -> Result<Handle, StartError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| StartError::NoRuntime)?;
        let _entered = runtime.enter();
        let counters = Arc::new(Counters::default());
        let clock = Clock::new(Instant::now(), SystemTime::now());
        let key_file = config.key_file.clone().or_else(|| Some(config.state_dir.as_ref()?.join(KEY_FILE)));
        let key = ServerKey::resolve(&config.key, key_file.as_deref(), rand::random)?;
        let bound = Bound::new(&config)?;
        let (store, broker) = open(&config, key, &counters)?;
        broker.relays().set(config.relays);
        let sockets = Arc::new(bound.sockets);
        let blocklist = Arc::new(Blocklist::default());
        blocklist.set(config.blocklist);
        let limits = config.connections;
        let gate = Gate::new(limits.total, limits.per_address);
        let proxies = config.trusted_proxies;
        let edge = Edge::new(
            Arc::clone(&broker),
            clock,
            Arc::clone(&sockets),
            gate,
            Arc::clone(&blocklist),
            proxies,
            limits.silence,
        );
        let edge = Arc::new(edge);
        let mut tasks = JoinSet::new();
        for (listener, port) in bound.listeners {
            let addr = listener.local_addr();
            let listener = tokio::net::TcpListener::from_std(listener).map_err(|source| {
                let addr = addr.unwrap_or_else(|_| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0));
                StartError::Listen { what: "TCP", addr, source }
            })?;
            tasks.spawn(stream::serve(Arc::clone(&edge), listener, port));
        }
        tasks.spawn(reachable::watch(Arc::clone(&broker)));
        let threads = Threads::start(&sockets, &broker, &blocklist, clock).map_err(StartError::Threads)?;
        Ok(Handle { addresses: bound.addresses, broker, blocklist, clock, edge, tasks, threads, store })
    }
}

fn open(
    config: &ServerConfig,
    key: ServerKey,
    counters: &Arc<Counters>,
) -> Result<(Option<Store>, Arc<Broker>), StoreError> {
    let new = |journal: Arc<dyn Journal>| {
        Broker::new(key, config.policy.clone(), config.id_rate, journal, Arc::clone(counters))
    };
    let Some(directory) = &config.state_dir else {
        return Ok((None, Arc::new(new(Arc::new(Forgetful)))));
    };
    let mut rows = Vec::new();
    let store = Store::open(directory, Arc::clone(counters), |row| rows.push(row))?;
    let broker = new(store.journal());
    let unusable = rows.iter().filter(|row| !broker.registry().load(row)).count();
    if unusable > 0 {
        tracing::warn!(unusable, "hosts in the database with ids that can not be registered");
    }
    Ok((Some(store), Arc::new(broker)))
}

/// A running server. Dropping it ends everything; [`shutdown`](Self::shutdown) waits for the end.
#[derive(Debug)]
pub struct Handle {
    addresses: Addresses,
    broker: Arc<Broker>,
    blocklist: Arc<Blocklist>,
    clock: Clock,
    edge: Arc<Edge>,
    tasks: JoinSet<()>,
    threads: Threads,
    store: Option<Store>,
}

impl Handle {
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The key that clients verify hosts with; `None` if the server signs nothing.
    pub fn public_key(&self) -> Option<PublicKey> {
        self.broker.key().public()
    }

    /// The text that clients must name as the server's key; `None` if any will do.
    pub fn required_key(&self) -> Option<&str> {
        self.broker.key().required()
    }

    pub fn counts(&self) -> Counts {
        self.broker.counters().snapshot()
    }

    /// All registered hosts, online or not, in no order.
    pub fn hosts(&self) -> Vec<HostInfo> {
        let mut hosts = Vec::new();
        self.broker.registry().for_each(|peer, _| hosts.push(self.info(peer)));
        hosts
    }

    /// How many there are, without their particulars.
    pub fn host_count(&self) -> usize {
        self.broker.registry().count()
    }

    pub fn host(&self, id: &str) -> Option<HostInfo> {
        self.broker.registry().get(id).map(|peer| self.info(peer))
    }

    /// Open TCP and WebSocket connections.
    pub fn open_connections(&self) -> usize {
        self.edge.open_connections()
    }

    /// Other relays from now on; see [`ServerConfig::relays`].
    pub fn set_relays(&self, relays: Vec<String>) {
        self.broker.relays().set(relays);
    }

    /// Other addresses that are not served, from now on; open connections stay.
    pub fn set_blocklist(&self, addresses: HashSet<IpAddr>) {
        self.blocklist.set(addresses);
    }

    /// Closes everything and waits until what is known has been written.
    pub async fn shutdown(mut self) {
        self.tasks.shutdown().await;
        let Self { threads, store, .. } = self;
        let ended = tokio::task::spawn_blocking(move || {
            threads.join();
            if let Some(store) = store {
                store.close();
            }
        });
        if let Err(error) = ended.await {
            tracing::error!(%error, "the server did not end as it should");
        }
    }

    fn info(&self, peer: Peer) -> HostInfo {
        let online = peer.is_online(self.clock.tick(Instant::now()));
        HostInfo {
            id: peer.id.to_string(),
            key: PublicKey(peer.pk),
            addr: peer.addr,
            last_seen: self.clock.wall(peer.seen),
            online,
        }
    }
}

/// Sockets before anything runs on them.
struct Bound {
    addresses: Addresses,
    sockets: Sockets,
    listeners: Vec<(TcpListener, Port)>,
}

impl Bound {
    fn new(config: &ServerConfig) -> Result<Self, StartError> {
        let ips = if config.listen.is_empty() { vec![wildcard()] } else { config.listen.clone() };
        let threads = config.udp_threads.unwrap_or_else(cores);
        let attempts = if config.port == 0 { ATTEMPTS } else { 1 };
        for _ in 0..attempts {
            let (main, rendezvous) = listen(&ips, config.port, "TCP")?;
            let sockets = match Sockets::bind(&rendezvous, threads) {
                Ok(sockets) => sockets,
                Err(error) if config.port == 0 && error.kind() == io::ErrorKind::AddrInUse => continue,
                Err(source) => return Err(StartError::Listen { what: "UDP", addr: rendezvous[0], source }),
            };
            let derived = |wish: Option<u16>, offset: i32| {
                let p = i32::from(config.port);
                wish.unwrap_or(if p == 0 { 0 } else { u16::try_from(p + offset).unwrap_or(0) })
            };
            let (nat, nat_test) = listen(&ips, derived(config.nat_test_port, -1), "NAT test")?;
            let (web, websocket) = listen(&ips, derived(config.websocket_port, 2), "WebSocket")?;
            let of = |listeners: Vec<TcpListener>, port| listeners.into_iter().map(move |l| (l, port));
            let listeners =
                of(main, Port::Main).chain(of(nat, Port::NatTest)).chain(of(web, Port::WebSocket)).collect();
            let addresses = Addresses { rendezvous, nat_test, websocket };
            return Ok(Self { addresses, sockets, listeners });
        }
        Err(StartError::NoFreePort)
    }
}

/// Listeners on one port of all addresses: the first one's, if it is 0.
fn listen(
    ips: &[IpAddr],
    mut port: u16,
    what: &'static str,
) -> Result<(Vec<TcpListener>, Vec<SocketAddr>), StartError> {
    let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
    for ip in ips {
        let addr = SocketAddr::new(*ip, port);
        let failed = |source| StartError::Listen { what, addr, source };
        let listener = stream::bind(addr).map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        port = bound.port();
        addresses.push(bound);
        listeners.push(listener);
    }
    Ok((listeners, addresses))
}

/// IPv6 with IPv4 inside, where there is IPv6.
fn wildcard() -> IpAddr {
    let v6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    match stream::bind(SocketAddr::new(v6, 0)) {
        Ok(_) => v6,
        Err(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
