//! What all threads and tasks of a relay share.

use super::{
    aged::Key,
    caps::{Caps, lock},
    config::{Limits, RelayConfig},
    counters::{Counters, Refusal, bump},
    port::Port,
    waiting::Waiting,
    web::Partner,
};
use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr, TcpStream},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) key: Option<String>,
    pub(super) request_timeout: Duration,
    pub(super) pairing_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) limits: Limits,
    pub(super) trusted_proxies: HashSet<IpAddr>,
    pub(super) counters: Counters,
    pub(super) caps: Caps,
    pub(super) waiting: Mutex<Waiting<Parked>>,
    pub(super) ports: Vec<Arc<Port>>,
    pub(super) stop: CancellationToken,
    /// Tells the WebSocket pairs that the lists have changed; the threads are told through their ports.
    pub(super) lists_changed: watch::Sender<()>,
    lists: RwLock<Lists>,
    places: Mutex<Places>,
    pairs: Mutex<HashMap<u64, Arc<PairRecord>>>,
    next_pair: AtomicU64,
}

#[derive(Debug)]
struct Lists {
    blocked: HashSet<IpAddr>,
    slow: HashSet<IpAddr>,
}

#[derive(Debug, Default)]
struct Places {
    taken: usize,
    per_ip: HashMap<IpAddr, usize>,
}

/// The right to be connected without a partner. Given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    shared: Arc<Shared>,
    ip: IpAddr,
}

/// A TCP side that has been accepted. What it sent behind its request is still in its socket.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) stream: TcpStream,
    pub(super) from: SocketAddr,
    /// Held for what its end does.
    pub(super) _place: Place,
    /// The port, by number, whose epoll watches the socket.
    pub(super) watched_by: Option<usize>,
}

/// A side that waits for its partner.
#[derive(Debug)]
pub(super) enum Parked {
    Tcp(Arrival),
    /// A task waits with the socket in its hand; it is told who came.
    Web(oneshot::Sender<Partner>),
}

/// What is known about a live pair.
#[derive(Debug)]
pub(super) struct PairRecord {
    sides: [SocketAddr; 2],
    web: bool,
    since: Instant,
    bytes: [AtomicU64; 2],
}

/// A pair in the list of those that live; dropping it takes it out.
#[derive(Debug)]
pub(super) struct Live {
    shared: Arc<Shared>,
    id: u64,
    record: Arc<PairRecord>,
}

/// A live pair, as [`RelayHandle::pairs`](super::RelayHandle::pairs) shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairInfo {
    /// Who asked first.
    pub first: SocketAddr,
    pub second: SocketAddr,
    /// One of the sides is on WebSocket.
    pub web: bool,
    pub age: Duration,
    /// Payload bytes from the first side to the second, and back.
    pub bytes_forward: u64,
    pub bytes_backward: u64,
}

impl Shared {
    pub(super) fn new(config: RelayConfig, ports: Vec<Arc<Port>>) -> Self {
        Self {
            waiting: Mutex::new(Waiting::new(config.pairing_timeout)),
            caps: Caps::new(&config.bandwidth, Instant::now()),
            key: config.key,
            request_timeout: config.request_timeout,
            pairing_timeout: config.pairing_timeout,
            idle_timeout: config.idle_timeout,
            limits: config.limits,
            trusted_proxies: config.trusted_proxies,
            counters: Counters::default(),
            ports,
            stop: CancellationToken::new(),
            lists_changed: watch::Sender::new(()),
            lists: RwLock::new(Lists { blocked: config.blocked, slow: config.slow }),
            places: Mutex::default(),
            pairs: Mutex::default(),
            next_pair: AtomicU64::new(0),
        }
    }

    pub(super) fn is_blocked(&self, ip: IpAddr) -> bool {
        self.lists.read().unwrap_or_else(PoisonError::into_inner).blocked.contains(&ip)
    }

    pub(super) fn is_slow(&self, sides: [SocketAddr; 2]) -> bool {
        let lists = self.lists.read().unwrap_or_else(PoisonError::into_inner);
        sides.iter().any(|side| lists.slow.contains(&side.ip()))
    }

    pub(super) fn set_lists(&self, blocked: Option<HashSet<IpAddr>>, slow: Option<HashSet<IpAddr>>) {
        let mut lists = self.lists.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(blocked) = blocked {
            lists.blocked = blocked;
        }
        if let Some(slow) = slow {
            lists.slow = slow;
        }
        drop(lists);
        self.lists_changed.send_replace(());
        self.review();
    }

    /// Has every thread look again at lists and caps.
    pub(super) fn review(&self) {
        for port in &self.ports {
            port.review();
        }
    }

    /// Lets a connection in, to be without a partner.
    pub(super) fn admit(self: &Arc<Self>, ip: IpAddr) -> Result<Place, Refusal> {
        if self.is_blocked(ip) {
            return Err(Refusal::Blocked);
        }
        let mut places = lock(&self.places);
        if places.taken >= self.limits.waiting {
            return Err(Refusal::TooManyWaiting);
        }
        let of_ip = places.per_ip.entry(ip).or_default();
        if *of_ip >= self.limits.waiting_per_ip {
            return Err(Refusal::TooManyFromAddress);
        }
        *of_ip += 1;
        places.taken += 1;
        Ok(Place { shared: Arc::clone(self), ip })
    }

    /// Enters a pair into the list of those that live.
    pub(super) fn open_pair(self: &Arc<Self>, sides: [SocketAddr; 2], web: bool) -> Result<Live, Refusal> {
        let mut pairs = lock(&self.pairs);
        if pairs.len() >= self.limits.pairs {
            return Err(Refusal::TooManyPairs);
        }
        let id = self.next_pair.fetch_add(1, Relaxed);
        let record = PairRecord { sides, web, since: Instant::now(), bytes: Default::default() };
        let record = Arc::new(record);
        pairs.insert(id, Arc::clone(&record));
        bump(&self.counters.pairs_opened);
        Ok(Live { shared: Arc::clone(self), id, record })
    }

    pub(super) fn pairs(&self) -> Vec<PairInfo> {
        let pairs = lock(&self.pairs);
        pairs.values().map(|p| p.info()).collect()
    }

    pub(super) fn pairs_open(&self) -> usize {
        lock(&self.pairs).len()
    }

    /// Connections without a partner now.
    pub(super) fn places_taken(&self) -> usize {
        lock(&self.places).taken
    }

    /// A side left, or waited too long.
    pub(super) fn unpark(&self, key: Key, why: Refusal) {
        let gone = lock(&self.waiting).leave(key);
        if gone.is_some() {
            self.counters.refuse(why);
        }
    }
}

impl PairRecord {
    fn info(&self) -> PairInfo {
        PairInfo {
            first: self.sides[0],
            second: self.sides[1],
            web: self.web,
            age: self.since.elapsed(),
            bytes_forward: self.bytes[0].load(Relaxed),
            bytes_backward: self.bytes[1].load(Relaxed),
        }
    }
}

impl Live {
    pub(super) fn sides(&self) -> [SocketAddr; 2] {
        self.record.sides
    }

    /// Counts bytes that side `from` sent.
    pub(super) fn moved(&self, from: usize, bytes: usize) {
        self.record.bytes[from].fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.record.sides.iter().any(|side| self.shared.is_blocked(side.ip()))
    }

    /// Whether the rule about long and heavy use applies to it.
    pub(super) fn downgrades(&self, now: Instant) -> bool {
        let bytes = self.record.bytes.iter().map(|b| b.load(Relaxed)).sum();
        self.shared.caps.downgrades(now.saturating_duration_since(self.record.since), bytes)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let mut pairs = lock(&self.shared.pairs);
        pairs.remove(&self.id);
        if pairs.capacity() > 1024 && pairs.len() < pairs.capacity() / 8 {
            pairs.shrink_to_fit();
        }
        bump(&self.shared.counters.pairs_closed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = lock(&self.shared.places);
        places.taken -= 1;
        if let Some(n) = places.per_ip.get_mut(&self.ip) {
            *n -= 1;
            if *n == 0 {
                places.per_ip.remove(&self.ip);
            }
        }
    }
}
