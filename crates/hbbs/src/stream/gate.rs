//! How many connections may be open, and from where.

use crate::limits::Network;
use crate::system::{self, Crowd};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// Counts open connections.
#[derive(Debug)]
pub(crate) struct Gate {
    total: usize,
    per_address: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_network: HashMap<Network, usize>,
    crowd: Crowd,
}

impl Gate {
    pub(crate) fn new(total: usize, per_address: usize) -> Self {
        Self { total, per_address, open: Mutex::default() }
    }

    /// A place for one connection, if there is one. `shared`: the address is that of a proxy, with many
    /// clients behind it.
    pub(crate) fn enter(self: &Arc<Self>, ip: IpAddr, shared: bool) -> Option<Ticket> {
        let network = Network::from(ip);
        let mut open = self.lock();
        if open.total >= self.total {
            return None;
        }
        let here = open.by_network.entry(network).or_default();
        if *here >= self.per_address && !shared {
            return None;
        }
        *here += 1;
        open.total += 1;
        let now = open.total;
        open.crowd.has_gone(now);
        Some(Ticket { gate: Arc::clone(self), network })
    }

    pub(crate) fn open(&self) -> usize {
        self.lock().total
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open connection's place, given back when dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    gate: Arc<Gate>,
    network: Network,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut open = self.gate.lock();
        open.total -= 1;
        if let Some(here) = open.by_network.get_mut(&self.network) {
            *here -= 1;
            if *here == 0 {
                open.by_network.remove(&self.network);
            }
        }
        let now = open.total;
        let crowd_has_gone = open.crowd.has_gone(now);
        drop(open);
        if crowd_has_gone {
            system::give_memory_back();
        }
    }
}

/// Addresses that are not served.
#[derive(Debug, Default)]
pub(crate) struct Blocklist {
    addresses: RwLock<HashSet<IpAddr>>,
    /// Spares the common case the lock.
    any: AtomicBool,
}

impl Blocklist {
    pub(crate) fn set(&self, addresses: HashSet<IpAddr>) {
        self.any.store(!addresses.is_empty(), Ordering::Release);
        *self.addresses.write().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        self.any.load(Ordering::Acquire)
            && self.addresses.read().unwrap_or_else(PoisonError::into_inner).contains(&ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_and_given_back() {
        let gate = Arc::new(Gate::new(3, 2));
        let (a, b): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let first = gate.enter(a, false).unwrap();
        let _second = gate.enter(a, false).unwrap();
        assert!(gate.enter(a, false).is_none(), "two from one address");
        let third = gate.enter(a, true).unwrap();
        assert!(gate.enter(b, false).is_none(), "three in all");
        drop((first, third));
        assert_eq!(gate.open(), 1);
        let _fourth = gate.enter(b, false).unwrap();
        let _fifth = gate.enter(a, false).unwrap();
    }
}
