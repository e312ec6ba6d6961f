//! What hbbs makes of each message, without doing any I/O: a message and where it came from go in,
//! answers, pushes and closings come out.
//!
//! Shared by all threads; what has to be remembered stands in tables that lock for a moment each.
//!
//! # Where the answers differ from stock hbbs 1.1.17, and why
//!
//! | Question | Stock | Here | Why |
//! |---|---|---|---|
//! | RegisterPk that changes nothing | OK, but the host stays offline until its next heartbeat | OK and online | reachable at once after a restart |
//! | RegisterPeer of a host known from an earlier run | asks for the key | accepted from the same address | all hosts are in memory |
//! | RegisterPk over TCP or WebSocket | NOT_SUPPORT | OK with `keep_alive`; pushes go over that connection | hosts without UDP |
//! | RegisterPeer over TCP or WebSocket | closed | as over UDP | the same |
//! | RegisterPk with `old_id` | NOT_SUPPORT | the id changes, if the machine identity is that of `old_id` | a wish of the protocol |
//! | RegisterPk with an id that is too long or has white space | stored | INVALID_ID_FORMAT | it could not be typed |
//! | RegisterPk whose key has not 32 bytes | stored | NOT_SUPPORT | no client could verify it |
//! | RegisterPk of a new id while the database fails | OK | SERVER_ERROR | the host asks again later |
//! | OnlineRequest on P and P+2 | closed | answered | WebSocket clients have no other port |
//! | TestNatRequest over UDP | silence | answered | clients that punch with UDP ask |
//! | RequestRelay for an id that is unknown or offline, or without having shown the key | silence, or forwarded | RelayResponse with `refuse_reason` | the client need not wait 18 s |
//! | always-use-relay and both peers on one address | FetchLocalAddr, so direct | PunchHole with SYMMETRIC | the operator said always |
//! | answer of a host from another address, not echoing our push | forwarded and signed | dropped | §[`answer`] |
//! | clients behind a WebSocket proxy | filed under IP:0, so they overwrite each other | a number of their own in place of the port | answers reach who asked |
//! | RegisterPk with an id of less than 6 bytes | UUID_MISMATCH | the same | the one answer that makes the host take an id that can work |
//!
//! ConfigUpdate, SoftwareUpdate and the loopback consoles do not exist here; nothing calls home.

pub mod answer;
mod punch;
mod registration;
mod waiting;

use crate::clock::{Moment, Tick};
use crate::counters::Counters;
use crate::keys::ServerKey;
use crate::limits::{ClaimCounter, ClaimLimits, Fading, Network};
use crate::registry::{Change, ConnectionId, Id, Rate, Registry, Route, Source, Via};
use bytes::Bytes;
use hbb_common::handshake::sign_id;
use hbb_common::rendezvous::{OnlineResponse, RendezvousMessage, TestNatResponse, rendezvous_message::Union};
use prost::Message as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use waiting::Waiting;

/// Period of the empty packets to hosts that registered over a connection. Below the 30 s after which a
/// host counts as offline.
pub const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// A client that has named the right key may ask for relays without naming it again for this long,
/// because stock clients do not name it then.
const PROOF_HOLDS: Duration = Duration::from_secs(600);

/// Packets of one stream per [`STREAM_WINDOW`]; each can cost a push to a host.
const STREAM_PACKETS: u16 = 60;
const STREAM_WINDOW: Duration = Duration::from_secs(10);

/// Whether RequestRelay has to come with the server's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RelayKey {
    /// As stock: anybody may make any host dial any relay.
    Ignored,
    /// The key stands in the request, or the address has named it in a PunchHoleRequest in the last ten
    /// minutes, as every stock client does before.
    #[default]
    NamedBefore,
    /// The key stands in the request. Shuts out stock clients.
    Named,
}

/// A local network whose peers use another name for the relay than the rest of the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalNetwork {
    pub network: Ipv4Addr,
    pub prefix: u8,
    /// The relay as peers inside reach it.
    pub relay: String,
}

impl LocalNetwork {
    fn contains(&self, ip: IpAddr) -> bool {
        let IpAddr::V4(ip) = ip else { return false };
        let shift = 32 - u32::from(self.prefix.min(32));
        let cut = |ip: Ipv4Addr| u64::from(u32::from(ip)) >> shift;
        cut(ip) == cut(self.network)
    }
}

/// What the operator decides.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Peers never connect directly.
    pub always_use_relay: bool,
    pub local_network: Option<LocalNetwork>,
    pub relay_key: RelayKey,
    pub claim_limits: ClaimLimits,
}

/// Keeps changes of the registry. Must not block.
pub trait Journal: Send + Sync + std::fmt::Debug {
    /// Whether a new host can be kept now.
    fn keepable(&self) -> bool;
    fn keep(&self, change: Change);
}

/// Which of the server's ports a stream came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// P: everything.
    Main,
    /// P−1: NAT test and online query.
    NatTest,
    /// P+2: as P, in WebSocket messages.
    WebSocket,
}

/// A TCP or WebSocket connection as the broker knows it.
#[derive(Debug)]
pub struct Stream {
    pub connection: ConnectionId,
    /// Source address, normalized. The port is 0 where only a proxy knows it.
    pub addr: SocketAddr,
    pub port: Port,
    /// Where answers to this client's requests are filed.
    filed: Option<SocketAddr>,
    /// The host that registered on this connection.
    host: Option<Id>,
    window: Tick,
    packets: u16,
}

impl Stream {
    pub fn new(connection: ConnectionId, addr: SocketAddr, port: Port) -> Self {
        Self { connection, addr, port, filed: None, host: None, window: Tick::NEVER, packets: 0 }
    }

    /// Whether a host has registered on it, so that it is to be kept alive.
    pub fn is_host(&self) -> bool {
        self.host.is_some()
    }

    fn source(&self) -> Source {
        Source { addr: self.addr, via: Via::Connection(self.connection) }
    }

    fn within_rate(&mut self, now: Tick) -> bool {
        if !self.window.within(STREAM_WINDOW, now) {
            (self.window, self.packets) = (now, 0);
        }
        self.packets += 1;
        self.packets <= STREAM_PACKETS
    }
}

/// What is to be done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A packet back on the stream.
    Reply(Bytes),
    /// A packet to a host.
    Push(Route, Bytes),
    /// A packet to another connection, that of a waiting client.
    Pass(ConnectionId, Bytes),
    /// End the stream after what was said.
    Close,
}

/// The rendezvous server without its sockets.
#[derive(Debug)]
pub struct Broker {
    registry: Registry,
    key: ServerKey,
    policy: Policy,
    relays: Relays,
    journal: Arc<dyn Journal>,
    counters: Arc<Counters>,
    claims: Mutex<ClaimCounter>,
    proofs: Mutex<Fading<Network, Tick>>,
    waiting: Waiting,
}

impl Broker {
    /// `id_rate`: accepted claims of one id.
    pub fn new(
        key: ServerKey,
        policy: Policy,
        id_rate: Rate,
        journal: Arc<dyn Journal>,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            registry: Registry::new(id_rate),
            claims: Mutex::new(ClaimCounter::new(policy.claim_limits)),
            proofs: Mutex::new(Fading::new(PROOF_HOLDS, policy.claim_limits.addresses)),
            waiting: Waiting::default(),
            relays: Relays::default(),
            key,
            policy,
            journal,
            counters,
        }
    }

    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    pub fn key(&self) -> &ServerKey {
        &self.key
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub fn relays(&self) -> &Relays {
        &self.relays
    }

    /// A datagram on P. Whatever it asks for, the answer goes to `reply` and is at most three times as
    /// long, so that nobody gains by naming somebody else's address as the source.
    pub fn datagram(&self, source: Source, bytes: &[u8], at: Moment, reply: &mut Vec<u8>) {
        self.counters.datagrams.one();
        if let Some(id) = registration::quick_register_peer(bytes) {
            return write(reply, self.register_peer(id, source, at.tick));
        }
        if let Some(shown) = registration::quick_register_pk(bytes) {
            if let Some(result) = self.register_pk(shown, source, at.tick) {
                write(reply, registration::answer(result, None));
            }
            return;
        }
        let message = RendezvousMessage::decode(bytes).unwrap_or_default();
        match message.union {
            Some(Union::RegisterPeer(m)) if !m.id.is_empty() => {
                write(reply, self.register_peer(&m.id, source, at.tick));
            }
            Some(Union::RegisterPk(m)) if m.old_id.is_empty() => {
                if let Some(result) = self.register_pk((&m).into(), source, at.tick) {
                    write(reply, registration::answer(result, None));
                }
            }
            Some(Union::TestNatRequest(_)) => write(reply, self.test_nat(source.addr)),
            _ => self.counters.datagrams_ignored.one(),
        }
    }

    /// A packet on a stream; an empty one is a heartbeat.
    pub fn packet(&self, stream: &mut Stream, packet: Bytes, at: Moment, out: &mut Vec<Output>) {
        if !stream.within_rate(at.tick) {
            self.counters.connections_malformed.one();
            return out.push(Output::Close);
        }
        if packet.is_empty() {
            match &stream.host {
                Some(id) => self.registry.alive(id.as_str(), stream.connection, at.tick),
                None => out.push(Output::Close),
            }
            return;
        }
        let Ok(message) = RendezvousMessage::decode(packet.clone()) else {
            self.counters.connections_malformed.one();
            return out.push(Output::Close);
        };
        let main = stream.port != Port::NatTest;
        match message.union {
            Some(Union::TestNatRequest(_)) => {
                out.extend([Output::Reply(encode(self.test_nat(stream.addr))), Output::Close]);
            }
            Some(Union::OnlineRequest(m)) => {
                out.extend([Output::Reply(encode(self.online(&m.peers, at.tick))), Output::Close]);
            }
            Some(Union::PunchHoleRequest(m)) if main => self.punch_request(stream, &m, at, out),
            Some(Union::RequestRelay(m)) if main => self.relay_request(stream, &m, &packet, at, out),
            Some(Union::RegisterPeer(m)) if main => self.stream_register_peer(stream, &m, at, out),
            Some(Union::RegisterPk(m)) if main => self.stream_register_pk(stream, &m, at, out),
            Some(Union::PunchHoleSent(m)) if main => self.punch_hole_sent(stream, m, at, out),
            Some(Union::LocalAddr(m)) if main => self.local_addr(stream, m, out),
            Some(Union::RelayResponse(m)) if main => self.relay_response(stream, &m, &packet, out),
            _ => out.push(Output::Close),
        }
    }

    /// The stream is gone: nothing is filed under it any more, and a host on it is offline.
    pub fn ended(&self, stream: &Stream) {
        if let Some(addr) = stream.filed {
            self.waiting.forget(addr, stream.connection);
        }
        if let Some(id) = &stream.host {
            self.registry.left(id.as_str(), stream.connection);
        }
    }

    /// The port that the asker has on our side of its NAT (rendezvous §5.9).
    fn test_nat(&self, from: SocketAddr) -> Union {
        self.counters.nat_tests.one();
        Union::TestNatResponse(TestNatResponse { port: from.port().into(), cu: None })
    }

    /// One bit per id, the first one in the highest bit (rendezvous §5.11).
    fn online(&self, ids: &[String], now: Tick) -> Union {
        self.counters.online_queries.one();
        let mut states = vec![0_u8; ids.len().div_ceil(8)];
        for (i, id) in ids.iter().enumerate() {
            if self.registry.is_online(id, now) {
                states[i / 8] |= 0x80 >> (i % 8);
            }
        }
        Union::OnlineResponse(OnlineResponse { states: states.into() })
    }

    /// The server's word for the key of `id`; empty if it has no key of its own to give it with.
    fn vouch(&self, id: &str) -> Bytes {
        let Some(signing) = self.key.signing() else { return Bytes::new() };
        let sign = |pk: &[u8; 32]| {
            let signed = sign_id(signing, id, pk);
            *signed.first_chunk().expect("a signature stands in front of what it signs")
        };
        let Some((pk, signature)) = self.registry.signature(id, sign) else { return Bytes::new() };
        let content = hbb_common::session::IdPk { id: id.into(), pk: Bytes::copy_from_slice(&pk) };
        let mut signed = Vec::with_capacity(signature.len() + content.encoded_len());
        signed.extend_from_slice(&signature);
        content.encode_raw(&mut signed);
        signed.into()
    }

    fn claims(&self) -> MutexGuard<'_, ClaimCounter> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn proofs(&self) -> MutexGuard<'_, Fading<Network, Tick>> {
        self.proofs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The relays that peers are told to use, in turn.
#[derive(Debug, Default)]
pub struct Relays {
    lists: RwLock<RelayLists>,
    next: AtomicUsize,
}

#[derive(Debug, Default)]
struct RelayLists {
    all: Vec<String>,
    /// Those that answered when last tried; all of them if none did, because then the fault is nearer.
    usable: Vec<String>,
}

impl Relays {
    /// From now on these. With none, peers use the rendezvous server's host, one port up.
    pub fn set(&self, names: Vec<String>) {
        let usable = names.clone();
        *self.lists.write().unwrap_or_else(PoisonError::into_inner) = RelayLists { all: names, usable };
    }

    /// All of them, reachable or not.
    pub fn all(&self) -> Vec<String> {
        self.lists.read().unwrap_or_else(PoisonError::into_inner).all.clone()
    }

    /// What came of trying `tried`. Ignored if the list has been replaced meanwhile.
    pub fn set_reachable(&self, tried: &[String], reachable: &[String]) {
        let mut lists = self.lists.write().unwrap_or_else(PoisonError::into_inner);
        if lists.all == tried {
            let usable = if reachable.is_empty() { tried } else { reachable };
            lists.usable = usable.to_vec();
        }
    }

    fn pick(&self) -> String {
        let lists = self.lists.read().unwrap_or_else(PoisonError::into_inner);
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        turn.checked_rem(lists.usable.len()).map(|at| lists.usable[at].clone()).unwrap_or_default()
    }
}

fn encode(union: Union) -> Bytes {
    RendezvousMessage { union: Some(union) }.encode_to_vec().into()
}

fn write(out: &mut Vec<u8>, union: Union) {
    RendezvousMessage { union: Some(union) }.encode_raw(out);
}

#[cfg(test)]
mod tests;
