//! Clients that wait for the answer of a host, by the address that the host echoes.

use super::Stream;
use crate::clock::Moment;
use crate::registry::{ConnectionId, Id};
use bytes::Bytes;
use hbb_common::addr::mangle;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

const SHARDS: usize = 16;

/// A request that a host is to answer.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub connection: ConnectionId,
    pub target: Id,
    /// The client's mangled address as pushed. For IPv4 it has 32 random bits that only the host saw.
    pub pushed: Bytes,
}

/// Bounded by the number of connections: each has one entry at most.
#[derive(Debug, Default)]
pub(super) struct Waiting([Mutex<HashMap<SocketAddr, Asked>>; SHARDS]);

impl Waiting {
    /// Files the client's request for `target`; gives its mangled address for the push.
    pub(super) fn file(&self, stream: &mut Stream, target: &Id, at: Moment) -> Bytes {
        let mut addr = stream.filed.unwrap_or(stream.addr);
        // A client whose port nobody knows, or that shares it with another of our ports, gets a number of
        // its own in place of the port. It can not be dialled there, but WebSocket clients never are.
        if addr.port() == 0 || stream.port == super::Port::WebSocket {
            addr = self.unused(addr, stream.connection, at.random);
        }
        let pushed = Bytes::from(mangle(addr, at.random));
        let asked = Asked { connection: stream.connection, target: target.clone(), pushed: pushed.clone() };
        self.shard(addr).insert(addr, asked);
        stream.filed = Some(addr);
        pushed
    }

    pub(super) fn get(&self, addr: SocketAddr) -> Option<Asked> {
        self.shard(addr).get(&addr).cloned()
    }

    /// Takes the entry out, if it is (still) that of `connection`.
    pub(super) fn forget(&self, addr: SocketAddr, connection: ConnectionId) -> bool {
        let mut shard = self.shard(addr);
        let is_its = shard.get(&addr).is_some_and(|asked| asked.connection == connection);
        is_its && shard.remove(&addr).is_some()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    fn unused(&self, mut addr: SocketAddr, connection: ConnectionId, random: u32) -> SocketAddr {
        let mut port = if addr.port() == 0 { random as u16 | 1 } else { addr.port() };
        // 60 000 clients of one address would have to wait at once before this gives up.
        for _ in 0..u16::MAX {
            addr.set_port(port);
            if self.shard(addr).get(&addr).is_none_or(|asked| asked.connection == connection) {
                break;
            }
            port = port.checked_add(1).unwrap_or(1);
        }
        addr
    }

    fn shard(&self, addr: SocketAddr) -> MutexGuard<'_, HashMap<SocketAddr, Asked>> {
        let mut hasher = DefaultHasher::new();
        addr.hash(&mut hasher);
        self.0[hasher.finish() as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
