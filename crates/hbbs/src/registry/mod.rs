//! Who is registered, from where and since when: the decisions of rendezvous §5.2 to §5.8, in memory.
//!
//! Every registered host is here, online or not, so that no question of a stranger reaches the database.
//! A record is meant to stay under 250 bytes, everything included. Nothing here does I/O; times come in
//! as [`Tick`]s.

mod id;
mod shard;

pub use id::{Id, IdError, can_be_chosen};

use crate::clock::Tick;
use hbb_common::defaults::ONLINE_TIMEOUT;
use shard::Shard;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Independent tables; a power of two.
const SHARDS: usize = 64;

/// Longest machine identity that is accepted; stock hosts send 32 or 36 bytes.
pub const MAX_UUID_LEN: usize = 128;

/// One TCP or WebSocket connection of this run; never 0.
pub type ConnectionId = u64;

/// How pushes reach a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// By datagrams from the socket and address of this number, which the host wrote to.
    Datagram { listener: u8, to: SocketAddr },
    /// Over the connection it registered on.
    Connection(ConnectionId),
}

/// Where a registration comes from. The address is normalized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    pub addr: SocketAddr,
    pub via: Via,
}

/// See [`Source`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    Listener(u8),
    Connection(ConnectionId),
}

/// A host as the registry knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub id: Id,
    pub pk: [u8; 32],
    /// Address of the last accepted registration, normalized. Its port is 0 if that was in an earlier run.
    pub addr: SocketAddr,
    /// `None` until it registers in this run, and after its connection has ended.
    pub route: Option<Route>,
    /// The last accepted registration or heartbeat; [`Tick::NEVER`] if none in this run.
    pub seen: Tick,
    /// [`hbb_common::version::number`] of what it last said that it runs. Hosts only say so when a client
    /// has asked for them.
    pub version: Option<u32>,
}

impl Peer {
    /// Registered less than 30 s ago and not known to have left.
    pub fn is_online(&self, now: Tick) -> bool {
        self.route.is_some() && self.seen.within(ONLINE_TIMEOUT, now)
    }
}

/// What is kept across restarts of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub id: String,
    pub uuid: Vec<u8>,
    pub pk: [u8; 32],
    pub ip: IpAddr,
}

/// A change to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A new host.
    Added(Row),
    /// Another key or address of a known one.
    Updated { id: String, pk: [u8; 32], ip: IpAddr },
    /// The host `from` is called `to` from now on.
    Renamed { from: String, to: String },
}

/// What a heartbeat came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heartbeat {
    Accepted,
    /// Unknown id, or it came from another IP address: the host must show its key again.
    KeyWanted,
}

/// What a host claims to be.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    pub id: &'a Id,
    pub uuid: &'a [u8],
    pub pk: &'a [u8; 32],
}

/// What became of a [`Claim`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// The id is the host's, and it is online; the change, if any, is to be kept.
    Yes(Option<Change>),
    /// The id is another machine's, or both the key and the address changed.
    Conflict,
    /// More claims of this id than allowed in their time.
    TooFrequent,
    /// A new id that can not be kept now.
    Unavailable,
}

/// What became of a wish for another id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renamed {
    Yes(Change),
    /// Nothing is known of the old id: nothing to move, and the new one is free.
    Unknown,
    Taken,
    /// The old id is another machine's.
    NotYours,
}

/// At most `count` per `window`, which begins anew when nothing was accepted for its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub count: u8,
    pub window: Duration,
}

/// One host, packed: 128 bytes here and 48 for the machine identity. What a heartbeat reads and writes
/// stands in one cache line, the first.
#[derive(Debug)]
#[repr(C, align(64))]
struct Record {
    id: Id,
    /// IPv4 as mapped addresses.
    ip: Ipv6Addr,
    /// 0 unless registered by connection.
    connection: ConnectionId,
    seen: Tick,
    claimed: Tick,
    port: u16,
    listener: u8,
    claims: u8,
    /// What it last said that it runs, as [`hbb_common::version::number`]; 0 if it never did.
    version: u32,
    pk: [u8; 32],
    uuid: Box<[u8]>,
    /// Signature over id and key, made when a client first asks.
    signature: Option<Box<[u8; 64]>>,
}

impl Record {
    fn new(id: Id, uuid: &[u8], pk: [u8; 32]) -> Self {
        Self {
            id,
            uuid: uuid.into(),
            pk,
            signature: None,
            ip: Ipv6Addr::UNSPECIFIED,
            connection: 0,
            seen: Tick::NEVER,
            claimed: Tick::NEVER,
            port: 0,
            listener: 0,
            claims: 0,
            version: 0,
        }
    }

    fn ip(&self) -> IpAddr {
        self.ip.to_ipv4_mapped().map_or(IpAddr::V6(self.ip), IpAddr::V4)
    }

    fn addr(&self) -> SocketAddr {
        SocketAddr::new(self.ip(), self.port)
    }

    fn seen_at(&mut self, source: Source, now: Tick) {
        self.ip = pack(source.addr.ip());
        self.port = source.addr.port();
        self.seen = now;
        match source.via {
            Via::Listener(number) => (self.connection, self.listener) = (0, number),
            Via::Connection(number) => self.connection = number,
        }
    }

    fn peer(&self) -> Peer {
        let route = match (self.connection, self.port) {
            (0, 0) => None,
            (0, _) => Some(Route::Datagram { listener: self.listener, to: self.addr() }),
            (number, _) => Some(Route::Connection(number)),
        };
        let version = (self.version != 0).then_some(self.version);
        Peer { id: self.id.clone(), pk: self.pk, addr: self.addr(), route, seen: self.seen, version }
    }

    fn is_online(&self, now: Tick) -> bool {
        (self.connection != 0 || self.port != 0) && self.seen.within(ONLINE_TIMEOUT, now)
    }

    /// Counts a claim, unless there were too many.
    fn admit(&mut self, rate: Rate, now: Tick) -> bool {
        if !self.claimed.within(rate.window, now) {
            self.claims = 0;
        }
        if self.claims >= rate.count {
            return false;
        }
        self.claims += 1;
        self.claimed = now;
        true
    }
}

fn pack(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

/// All hosts. Shared by every thread; each operation locks one or two of its tables for a moment.
#[derive(Debug)]
pub struct Registry {
    shards: Box<[Mutex<Shard>]>,
    /// Keyed, so that nobody can choose ids that collide.
    hasher: RandomState,
    rate: Rate,
}

impl Registry {
    /// `rate`: accepted claims of one id.
    pub fn new(rate: Rate) -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hasher: RandomState::new(), rate }
    }

    /// A host from an earlier run: known, offline. A row whose id can not be registered is left out and
    /// gives `false`.
    pub fn load(&self, row: &Row) -> bool {
        let Ok(id) = Id::new(&row.id) else { return false };
        let hash = self.hash(id.as_str());
        let mut shard = self.shard(hash);
        if shard.get(hash, id.as_str()).is_some() {
            return false;
        }
        let mut record = Record::new(id, &row.uuid, row.pk);
        record.ip = pack(row.ip);
        shard.insert(hash, record, |id| self.hash(id.as_str()));
        true
    }

    /// A heartbeat: refreshes a host whose IP address is the one it registered with (rendezvous §5.3).
    pub fn heartbeat(&self, id: &str, source: Source, now: Tick) -> Heartbeat {
        let hash = self.hash(id);
        let mut shard = self.shard(hash);
        match shard.get_mut(hash, id) {
            Some(record) if record.ip() == source.addr.ip() => {
                record.seen_at(source, now);
                Heartbeat::Accepted
            }
            _ => Heartbeat::KeyWanted,
        }
    }

    /// A host shows its key (rendezvous §5.4, rows 4 to 7). `keepable`: whether a new id can be kept,
    /// asked only for one.
    pub fn claim(
        &self,
        claim: Claim<'_>,
        source: Source,
        now: Tick,
        keepable: impl FnOnce() -> bool,
    ) -> Claimed {
        let hash = self.hash(claim.id.as_str());
        let mut shard = self.shard(hash);
        let ip = source.addr.ip();
        if let Some(record) = shard.get_mut(hash, claim.id.as_str()) {
            let (moved, rekeyed) = (record.ip() != ip, record.pk != *claim.pk);
            if *record.uuid != *claim.uuid || (moved && rekeyed) {
                return Claimed::Conflict;
            }
            if !record.admit(self.rate, now) {
                return Claimed::TooFrequent;
            }
            record.seen_at(source, now);
            if rekeyed {
                (record.pk, record.signature) = (*claim.pk, None);
            }
            let change =
                (moved || rekeyed).then(|| Change::Updated { id: claim.id.to_string(), pk: *claim.pk, ip });
            return Claimed::Yes(change);
        }
        if !keepable() {
            return Claimed::Unavailable;
        }
        let mut record = Record::new(claim.id.clone(), claim.uuid, *claim.pk);
        record.admit(self.rate, now);
        record.seen_at(source, now);
        shard.insert(hash, record, |id| self.hash(id.as_str()));
        let row = Row { id: claim.id.to_string(), uuid: claim.uuid.to_vec(), pk: *claim.pk, ip };
        Claimed::Yes(Some(Change::Added(row)))
    }

    /// Whether the id is registered.
    pub fn contains(&self, id: &str) -> bool {
        let hash = self.hash(id);
        self.shard(hash).get(hash, id).is_some()
    }

    /// What is known of an id.
    pub fn get(&self, id: &str) -> Option<Peer> {
        let hash = self.hash(id);
        self.shard(hash).get(hash, id).map(Record::peer)
    }

    /// Whether the host is online, without the cost of [`get`](Self::get).
    pub fn is_online(&self, id: &str, now: Tick) -> bool {
        let hash = self.hash(id);
        let shard = self.shard(hash);
        shard.get(hash, id).is_some_and(|record| record.is_online(now))
    }

    /// The key of `id` and the server's signature over both, made by `sign` the first time it is wanted.
    pub fn signature(
        &self,
        id: &str,
        sign: impl FnOnce(&[u8; 32]) -> [u8; 64],
    ) -> Option<([u8; 32], [u8; 64])> {
        let hash = self.hash(id);
        let pk = {
            let shard = self.shard(hash);
            let record = shard.get(hash, id)?;
            if let Some(signature) = &record.signature {
                return Some((record.pk, **signature));
            }
            record.pk
        };
        // Signing takes longer than everything else here, so nobody waits for it.
        let signature = sign(&pk);
        if let Some(record) = self.shard(hash).get_mut(hash, id).filter(|r| r.pk == pk) {
            record.signature = Some(Box::new(signature));
        }
        Some((pk, signature))
    }

    /// What `view` makes of a host and its machine identity, if there is one.
    pub fn view<T>(&self, id: &str, view: impl FnOnce(Peer, &[u8]) -> T) -> Option<T> {
        let hash = self.hash(id);
        self.shard(hash).get(hash, id).map(|record| view(record.peer(), &record.uuid))
    }

    /// A host says what it runs.
    pub fn runs(&self, id: &str, version: u32) {
        let hash = self.hash(id);
        if let Some(record) = self.shard(hash).get_mut(hash, id) {
            record.version = version;
        }
    }

    /// The connection that a host registered on says that it lives.
    pub fn alive(&self, id: &str, connection: ConnectionId, now: Tick) {
        let hash = self.hash(id);
        if let Some(record) = self.shard(hash).get_mut(hash, id).filter(|r| r.connection == connection) {
            record.seen = now;
        }
    }

    /// The connection that a host registered on has ended: offline, if it has no other by now.
    pub fn left(&self, id: &str, connection: ConnectionId) {
        let hash = self.hash(id);
        if let Some(record) = self.shard(hash).get_mut(hash, id).filter(|r| r.connection == connection) {
            (record.connection, record.port) = (0, 0);
        }
    }

    /// Another id for the host `from`, if `uuid` is its machine's (rendezvous §5.8).
    pub fn rename(&self, from: &str, to: &Id, uuid: &[u8]) -> Renamed {
        let (old, new) = (self.hash(from), self.hash(to.as_str()));
        let rehash = |id: &Id| self.hash(id.as_str());
        if self.contains(to.as_str()) {
            return Renamed::Taken;
        }
        let taken_out = {
            let mut shard = self.shard(old);
            match shard.get(old, from) {
                Some(record) if *record.uuid != *uuid => return Renamed::NotYours,
                _ => shard.remove(old, from, rehash),
            }
        };
        let Some(mut record) = taken_out else { return Renamed::Unknown };
        // One table at a time; whoever claims the new id in between has been quicker.
        let mut shard = self.shard(new);
        if shard.get(new, to.as_str()).is_some() {
            drop(shard);
            self.shard(old).insert(old, record, rehash);
            return Renamed::Taken;
        }
        (record.id, record.signature) = (to.clone(), None);
        // It registers again under its new id.
        (record.connection, record.port, record.seen) = (0, 0, Tick::NEVER);
        shard.insert(new, record, rehash);
        Renamed::Yes(Change::Renamed { from: from.into(), to: to.to_string() })
    }

    /// Calls `each` with every host and its machine identity, in no order. Hosts that change meanwhile may
    /// be old or new. Some of the hosts wait while it is called, so it should take little time.
    pub fn for_each(&self, mut each: impl FnMut(Peer, &[u8])) {
        for number in 0..self.shards.len() {
            self.lock(number).iter().for_each(|record| each(record.peer(), &record.uuid));
        }
    }

    /// Hosts that are online.
    pub fn count_online(&self, now: Tick) -> usize {
        let online = |shard: &Shard| shard.iter().filter(|record| record.is_online(now)).count();
        (0..self.shards.len()).map(|number| online(&self.lock(number))).sum()
    }

    /// Registered hosts, online or not.
    pub fn count(&self) -> usize {
        (0..self.shards.len()).map(|number| self.lock(number).len()).sum()
    }

    fn hash(&self, id: &str) -> u64 {
        self.hasher.hash_one(id.as_bytes())
    }

    fn number(&self, hash: u64) -> usize {
        // The index of a shard uses the low bits.
        (hash >> 32) as usize & (self.shards.len() - 1)
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        self.lock(self.number(hash))
    }

    fn lock(&self, number: usize) -> MutexGuard<'_, Shard> {
        self.shards[number].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
