//! hbbr: pairs two connections that name the same uuid and moves their bytes.
//!
//! ```text
//!             TCP, one epoll loop per core                      WebSocket, tasks
//!  listeners ─► opening ─► waiting (one table) ◄──────────────── handshake, request
//!                             │ partner found                        │
//!                  TCP–TCP    ▼                                      ▼  any WebSocket
//!                    pair: verbatim, copied or spliced             bridge: packet by packet
//! ```
//!
//! The relay never sends a byte of its own (rendezvous §5.18). What a side sends before its partner is
//! there stays in its socket; so do the bytes behind its request.

mod aged;
mod budget;
mod caps;
mod config;
mod counters;
mod pace;
mod pair;
mod pipes;
mod port;
mod request;
mod shared;
mod waiting;
mod web;
mod worker;

pub use config::{Bandwidth, Downgrade, Limits, MEGABIT, RelayConfig, StartError};
pub use counters::{Counters, Figures, Refusal};
pub use shared::PairInfo;

use port::Port;
use shared::Shared;
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    collections::HashSet,
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    num::NonZeroUsize,
    sync::Arc,
    thread::JoinHandle,
    time::Instant,
};
use tokio::task::JoinSet;
use worker::Worker;

/// The connections that the kernel holds until they are accepted. Stock's 128 make the next one wait a
/// second.
const BACKLOG: i32 = 4096;

/// The relay server.
#[derive(Debug)]
pub struct Relay(());

/// A running relay. Dropping it stops the relay and closes every connection; [`shutdown`](Self::shutdown)
/// also waits until that is done.
#[derive(Debug)]
pub struct RelayHandle {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    web: JoinSet<()>,
    tcp_addrs: Vec<SocketAddr>,
    web_addrs: Vec<SocketAddr>,
}

impl Relay {
    /// Binds and starts serving.
    ///
    /// # Panics
    /// Outside a tokio runtime, on which the WebSocket sides are served.
    pub fn spawn(mut config: RelayConfig) -> Result<RelayHandle, StartError> {
        let mut listeners = Vec::new();
        for &addr in &config.tcp {
            listeners.push(listen(addr).map_err(|source| StartError::Listen { addr, source })?);
        }
        let mut web = Vec::new();
        for &addr in &config.web {
            let listener =
                listen(addr).and_then(|l| Ok((l.local_addr()?, tokio::net::TcpListener::from_std(l)?)));
            web.push(listener.map_err(|source| StartError::Listen { addr, source })?);
        }
        let threads = config.threads.or_else(|| std::thread::available_parallelism().ok());
        let threads = threads.map_or(1, NonZeroUsize::get);
        let ports = (0..threads).map(|_| Ok(Arc::new(Port::new()?))).collect::<nix::Result<Vec<_>>>();
        let ports = ports.map_err(|errno| StartError::Thread(errno.into()))?;

        for ips in [&mut config.blocked, &mut config.slow, &mut config.trusted_proxies] {
            *ips = normalized(std::mem::take(ips));
        }
        let shared = Arc::new(Shared::new(config, ports));
        let tcp_addrs = listeners.iter().filter_map(|l| l.local_addr().ok()).collect();
        let listeners: Arc<[TcpListener]> = listeners.into();
        let mut handle = RelayHandle {
            shared: Arc::clone(&shared),
            threads: Vec::new(),
            web: JoinSet::new(),
            tcp_addrs,
            web_addrs: web.iter().map(|(addr, _)| *addr).collect(),
        };
        for number in 0..threads {
            let worker = Worker::new(Arc::clone(&shared), number, Arc::clone(&listeners));
            let thread = std::thread::Builder::new().name(format!("relay-{number}"));
            // What was started before an error ends with the handle.
            handle.threads.push(thread.spawn(|| worker.run()).map_err(StartError::Thread)?);
        }
        for (_, listener) in web {
            handle.web.spawn(web::serve(Arc::clone(&shared), listener));
        }
        Ok(handle)
    }
}

impl RelayHandle {
    /// Where TCP peers are served, in the order of the configuration.
    pub fn tcp_addrs(&self) -> &[SocketAddr] {
        &self.tcp_addrs
    }

    /// Where WebSocket peers are served.
    pub fn web_addrs(&self) -> &[SocketAddr] {
        &self.web_addrs
    }

    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// All counters, and what the relay holds now.
    pub fn figures(&self) -> Figures {
        let (pairs_open, waiting) = (self.shared.pairs_open(), self.waiting());
        Figures { pairs_open, waiting, ..self.counters().figures() }
    }

    /// The pairs that are open now, in no order.
    pub fn pairs(&self) -> Vec<PairInfo> {
        self.shared.pairs()
    }

    /// Connections that have no partner now: those that have not asked yet and those that wait.
    pub fn waiting(&self) -> usize {
        self.shared.places_taken()
    }

    /// Replaces the list of addresses that are not served. Their pairs are closed.
    pub fn set_blocked(&self, ips: HashSet<IpAddr>) {
        self.shared.set_lists(Some(normalized(ips)), None);
    }

    /// Replaces the list of addresses whose pairs are slowed down.
    pub fn set_slow(&self, ips: HashSet<IpAddr>) {
        self.shared.set_lists(None, Some(normalized(ips)));
    }

    /// Replaces all bandwidth caps. Open pairs follow at once.
    pub fn set_bandwidth(&self, bandwidth: Bandwidth) {
        self.shared.caps.set(&bandwidth, Instant::now());
        self.shared.review();
    }

    /// Closes everything and waits until all threads and tasks have ended.
    pub async fn shutdown(mut self) {
        self.stop();
        let threads = std::mem::take(&mut self.threads);
        let joined = tokio::task::spawn_blocking(|| {
            for thread in threads {
                // A thread that panicked has ended too.
                thread.join().ok();
            }
        });
        joined.await.ok();
        while self.web.join_next().await.is_some() {}
    }

    fn stop(&self) {
        self.shared.stop.cancel();
        for port in &self.shared.ports {
            port.wake();
        }
    }
}

impl Drop for RelayHandle {
    fn drop(&mut self) {
        self.stop();
    }
}

fn normalized(ips: HashSet<IpAddr>) -> HashSet<IpAddr> {
    ips.into_iter().map(hbb_common::addr::normalize_ip).collect()
}

/// A listener, nonblocking; `[::]` serves IPv4 too where the system can.
fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if let SocketAddr::V6(v6) = addr {
        socket.set_only_v6(!v6.ip().is_unspecified())?;
    }
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{net::TcpStream, time::Duration};

    /// Stock's queue holds 128, and the next one waits a second.
    #[test]
    fn a_burst_of_connections_finds_room_before_anybody_is_accepted() {
        let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let addr = listener.local_addr().unwrap();
        let count = most.trim().parse::<usize>().unwrap().min(1000);
        let connect = |_| TcpStream::connect_timeout(&addr, Duration::from_millis(900)).unwrap();
        let held: Vec<_> = (0..count).map(connect).collect();
        assert_eq!(held.len(), count);
    }
}
