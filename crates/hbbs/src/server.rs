//! The server as a value: sockets, threads, tasks and the database around the broker, and the relay beside
//! it if one is wanted.

use crate::broker::{Broker, Journal, Policy, Port};
use crate::clock::Clock;
use crate::counters::{Counters, Counts};
use crate::keys::{self, KeyFileError, ServerKey};
use crate::reachable;
use crate::registry::{Peer, Rate};
use crate::relay::{self, Relay, RelayConfig, RelayHandle};
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
    /// The relay inside, if there is one. Where its addresses are empty it listens on those of the server,
    /// at P+1 and for WebSocket at P+3, or on free ports if P is 0. Its key is the one that the server asks
    /// for, whatever stands in its configuration.
    pub relay: Option<RelayConfig>,
    /// Relays that peers are told to use, in turn, as `host[:port]`. With none they use the server's own
    /// host, one port above P. Of several, those that do not answer are left out for the time.
    ///
    /// If there are none and the relay inside has another port than P+1, as it has on free ones, its first
    /// address takes their place, provided it is not a wildcard.
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
            relay: None,
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
    #[error("port {port} leaves no room for the {what} port at {offset:+}")]
    Port { port: u16, what: &'static str, offset: i32 },
    #[error("relay: {0}")]
    Relay(#[from] relay::StartError),
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
            Self::Listen { .. } | Self::NoFreePort | Self::Port { .. } => "listen_failed",
            Self::Relay(relay::StartError::Listen { .. }) => "listen_failed",
            Self::Relay(relay::StartError::Thread(_)) => "start_failed",
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
    /// The machine identity, as the host sent it.
    pub uuid: Vec<u8>,
    pub key: PublicKey,
    /// Where it last registered from; the port is 0 if that was in an earlier run.
    pub addr: SocketAddr,
    /// `None` if not heard in this run.
    pub last_seen: Option<SystemTime>,
    pub online: bool,
    /// The version of its program, as it said when a client last asked for it; `None` if none has in this
    /// run. A claim like any other of a peer's.
    pub version: Option<String>,
}

/// What both servers have done and hold, at one moment: everything there is to export.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    pub rendezvous: Counts,
    /// Registered hosts.
    pub hosts: usize,
    /// Of these, those that are online.
    pub hosts_online: usize,
    /// Open TCP and WebSocket connections, those of the relay not included.
    pub connections_open: usize,
    /// `None` without a relay inside.
    pub relay: Option<relay::Figures>,
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
        let key_file = config.key_file.clone().or_else(|| Some(config.state_dir.as_ref()?.join(keys::FILE)));
        let key = ServerKey::resolve(&config.key, key_file.as_deref(), rand::random)?;
        let bound = Bound::new(&config)?;
        let (store, broker) = open(&config, key, &counters)?;
        let mut relays = config.relays;
        let relay = match config.relay {
            Some(wish) => {
                let required = broker.key().required().map(str::to_owned);
                let relay = Relay::spawn(beside(wish, &bound.addresses.rendezvous, config.port, required)?)?;
                if relays.is_empty() {
                    relays.extend(unexpected(&relay, config.port).map(|addr| addr.to_string()));
                }
                Some(relay)
            }
            None => None,
        };
        broker.relays().set(relays);
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
        Ok(Handle {
            addresses: bound.addresses,
            broker,
            blocklist,
            clock,
            edge,
            tasks,
            threads,
            store,
            relay,
        })
    }
}

/// The relay's configuration, completed by what the server has.
fn beside(
    mut relay: RelayConfig,
    rendezvous: &[SocketAddr],
    port: u16,
    key: Option<String>,
) -> Result<RelayConfig, StartError> {
    let at = |port| rendezvous.iter().map(|addr| SocketAddr::new(addr.ip(), port)).collect();
    if relay.tcp.is_empty() {
        relay.tcp = at(near(port, 1, "relay")?);
    }
    if relay.web.is_empty() {
        relay.web = at(near(port, 3, "relay's WebSocket")?);
    }
    relay.key = key;
    Ok(relay)
}

/// The port that is so far from P, or 0 if P is.
fn near(port: u16, offset: i32, what: &'static str) -> Result<u16, StartError> {
    match port {
        0 => Ok(0),
        _ => u16::try_from(i32::from(port) + offset)
            .ok()
            .filter(|found| *found != 0)
            .ok_or(StartError::Port { port, what, offset }),
    }
}

/// Where the relay is, if peers would not look for it there.
fn unexpected(relay: &RelayHandle, port: u16) -> Option<SocketAddr> {
    let addr = *relay.tcp_addrs().first()?;
    let expected = port != 0 && port.checked_add(1) == Some(addr.port());
    (!expected && !addr.ip().is_unspecified()).then_some(addr)
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
    relay: Option<RelayHandle>,
}

impl Handle {
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The relay inside.
    pub fn relay(&self) -> Option<&RelayHandle> {
        self.relay.as_ref()
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

    /// Everything there is to export of both servers. Looks at every host, which takes some milliseconds for
    /// a million of them.
    pub fn figures(&self) -> Figures {
        Figures {
            rendezvous: self.counts(),
            hosts: self.host_count(),
            hosts_online: self.broker.registry().count_online(self.clock.tick(Instant::now())),
            connections_open: self.open_connections(),
            relay: self.relay.as_ref().map(RelayHandle::figures),
        }
    }

    /// All registered hosts, online or not, in no order.
    pub fn hosts(&self) -> Vec<HostInfo> {
        let mut hosts = Vec::new();
        self.for_each_host(|host| hosts.push(host));
        hosts
    }

    /// Calls `each` with every registered host, online or not, in no order. Meanwhile some of them are not
    /// answered, so it should take little time; and it must not ask this handle for hosts.
    pub fn for_each_host(&self, mut each: impl FnMut(HostInfo)) {
        self.broker.registry().for_each(|peer, uuid| each(self.info(peer, uuid)));
    }

    /// How many there are, without their particulars.
    pub fn host_count(&self) -> usize {
        self.broker.registry().count()
    }

    pub fn host(&self, id: &str) -> Option<HostInfo> {
        self.broker.registry().view(id, |peer, uuid| self.info(peer, uuid))
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
        if let Some(relay) = self.relay.take() {
            relay.shutdown().await;
        }
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

    fn info(&self, peer: Peer, uuid: &[u8]) -> HostInfo {
        let online = peer.is_online(self.clock.tick(Instant::now()));
        HostInfo {
            id: peer.id.to_string(),
            uuid: uuid.to_vec(),
            key: PublicKey(peer.pk),
            addr: peer.addr,
            last_seen: self.clock.wall(peer.seen),
            online,
            version: peer.version.map(version_text),
        }
    }
}

/// The text whose number this is (session §11), for versions of three components.
fn version_text(number: u32) -> String {
    let text = format!("{}.{}.{}", number / 1_000_000, number / 1000 % 1000, number % 1000 / 10);
    match number % 10 {
        0 => text,
        build => format!("{text}-{build}"),
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
            let derived = |wish: Option<u16>, offset, what| match wish {
                Some(port) => Ok(port),
                None => near(config.port, offset, what),
            };
            let nat_port = derived(config.nat_test_port, -1, "NAT test")?;
            let web_port = derived(config.websocket_port, 2, "WebSocket")?;
            let (nat, nat_test) = listen(&ips, nat_port, "NAT test")?;
            let (web, websocket) = listen(&ips, web_port, "WebSocket")?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_back() {
        for text in ["1.4.9", "1.4.9-2", "1.1.10", "0.1.0", "12.34.56-7"] {
            let number = hbb_common::version::number(text).try_into().unwrap();
            assert_eq!(version_text(number), text);
        }
    }

    #[test]
    fn ports_beside_the_first_or_last_one_are_errors() {
        assert_eq!(near(21116, -1, "a").unwrap(), 21115);
        assert_eq!(near(0, 3, "a").unwrap(), 0);
        for (port, offset) in [(1, -1), (65_535, 1), (65_533, 3)] {
            let error = near(port, offset, "relay").unwrap_err();
            assert_eq!(error.kind(), "listen_failed");
            assert!(error.to_string().contains(&port.to_string()), "{error}");
        }
    }
}
