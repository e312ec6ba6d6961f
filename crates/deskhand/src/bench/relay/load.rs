//! Sides that talk through the measured server.

use crate::bench::{BenchError, system};
use hbb_common::{
    packet,
    rendezvous::{RendezvousMessage, RequestRelay, rendezvous_message::Union},
};
use nix::sys::{
    epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
    socket::{MsgFlags, recv},
};
use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// How sides of a pair name each other.
#[derive(Debug, Clone, Copy)]
pub(super) enum Speech {
    /// Each asks with the same uuid.
    RustDesk,
    /// They connect one after the other.
    None,
}

/// A server that does not answer for this long has failed.
const PATIENCE: Duration = Duration::from_secs(10);

fn request(uuid: &str) -> Vec<u8> {
    let request = RequestRelay { uuid: uuid.into(), ..Default::default() };
    packet::encode_message(&RendezvousMessage { union: Some(Union::RequestRelay(request)) }).to_vec()
}

fn side(addr: SocketAddr) -> Result<TcpStream, BenchError> {
    let stream = TcpStream::connect(addr).map_err(system("connecting to the measured server"))?;
    stream.set_nodelay(true).map_err(system("connecting"))?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(system("connecting"))?;
    Ok(stream)
}

/// One pair, which has exchanged a byte. How long the second side waited for it.
fn join(addr: SocketAddr, speech: Speech) -> Result<((TcpStream, TcpStream), Duration), BenchError> {
    let (mut first, mut second) = (side(addr)?, side(addr)?);
    if let Speech::RustDesk = speech {
        let request = request(&rand::random::<u128>().to_string());
        first.write_all(&request).map_err(system("asking"))?;
        first.write_all(&[1]).map_err(system("asking"))?;
        let start = Instant::now();
        second.write_all(&request).map_err(system("asking"))?;
        second.read_exact(&mut [0]).map_err(system("waiting for the first byte"))?;
        return Ok(((first, second), start.elapsed()));
    }
    let start = Instant::now();
    first.write_all(&[1]).map_err(system("asking"))?;
    second.read_exact(&mut [0]).map_err(system("waiting for the first byte"))?;
    Ok(((first, second), start.elapsed()))
}

pub(super) fn connect(
    addr: SocketAddr,
    speech: Speech,
    pairs: usize,
) -> Result<Vec<(TcpStream, TcpStream)>, BenchError> {
    (0..pairs).map(|_| Ok(join(addr, speech)?.0)).collect()
}

/// Joins pairs one after the other. How many, and how long each waited.
pub(super) fn join_for(
    addr: SocketAddr,
    speech: Speech,
    time: Duration,
) -> Result<(usize, Vec<Duration>), BenchError> {
    let (start, mut waits) = (Instant::now(), Vec::new());
    while start.elapsed() < time {
        waits.push(join(addr, speech)?.1);
    }
    Ok((waits.len(), waits))
}

/// Pairs of which one side writes as fast as it can and the other takes everything.
pub(super) struct Bulk {
    sides: Vec<(TcpStream, TcpStream)>,
    received: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Bulk {
    pub(super) fn start(
        addr: SocketAddr,
        speech: Speech,
        pairs: usize,
        size: usize,
    ) -> Result<Self, BenchError> {
        let sides = connect(addr, speech, pairs)?;
        let received = Arc::new(AtomicU64::new(0));
        let mut threads = Vec::new();
        for (from, to) in &sides {
            let mut from = from.try_clone().map_err(system("a second handle of a socket"))?;
            let to = to.try_clone().map_err(system("a second handle of a socket"))?;
            let received = Arc::clone(&received);
            threads.push(std::thread::spawn(move || {
                let bytes = vec![7; size];
                while from.write_all(&bytes).is_ok() {}
            }));
            threads.push(std::thread::spawn(move || {
                // Thrown away in the kernel: what the load spends is not to limit the server.
                let mut bytes = vec![0; 1 << 20];
                while let Ok(n @ 1..) = recv(to.as_raw_fd(), &mut bytes, MsgFlags::MSG_TRUNC) {
                    received.fetch_add(n as u64, Relaxed);
                }
            }));
        }
        Ok(Self { sides, received, threads })
    }

    pub(super) fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    pub(super) fn stop(self) {
        for (from, to) in &self.sides {
            for side in [from, to] {
                side.shutdown(Shutdown::Both).ok();
            }
        }
        for thread in self.threads {
            thread.join().ok();
        }
    }
}

/// Pairs that each send messages of `size` bytes, `per_second` of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paced {
    pub(super) pairs: usize,
    pub(super) size: usize,
    pub(super) per_second: f64,
}

pub(super) struct PacedLoad {
    case: Paced,
    sides: Vec<(TcpStream, TcpStream)>,
    /// When each message that has not arrived whole yet was sent, by pair, and how much of it has come.
    under_way: Vec<(std::collections::VecDeque<Instant>, usize)>,
    epoll: Epoll,
}

pub(super) struct PacedResult {
    latencies: Vec<Duration>,
}

impl PacedResult {
    pub(super) fn messages(&self) -> usize {
        self.latencies.len()
    }

    pub(super) fn latency(&self, part: f64) -> Duration {
        let place = (self.latencies.len() as f64 * part) as usize;
        self.latencies.get(place.min(self.latencies.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

impl Paced {
    pub(super) fn connect(self, addr: SocketAddr, speech: Speech) -> Result<PacedLoad, BenchError> {
        let sides = connect(addr, speech, self.pairs)?;
        let epoll = Epoll::new(EpollCreateFlags::empty()).map_err(system("epoll"))?;
        for (n, (_, to)) in sides.iter().enumerate() {
            to.set_nonblocking(true).map_err(system("a receiving side"))?;
            epoll.add(to, EpollEvent::new(EpollFlags::EPOLLIN, n as u64)).map_err(system("epoll"))?;
        }
        let under_way = sides.iter().map(|_| Default::default()).collect();
        Ok(PacedLoad { case: self, sides, under_way, epoll })
    }
}

impl PacedLoad {
    pub(super) fn run(&mut self, time: Duration) -> Result<PacedResult, BenchError> {
        let bytes = vec![5; self.case.size];
        let gap = Duration::from_secs_f64(1.0 / self.case.per_second / self.case.pairs as f64);
        let start = Instant::now();
        let (mut next, mut pair) = (start, 0);
        let mut latencies = Vec::new();
        let mut events = [EpollEvent::empty(); 256];
        let mut piece = vec![0; 256 * 1024];
        loop {
            let now = Instant::now();
            let over = now.duration_since(start) >= time;
            if over && (self.under_way.iter().all(|u| u.0.is_empty()) || now > start + time + PATIENCE) {
                break;
            }
            while !over && next <= Instant::now() {
                self.under_way[pair].0.push_back(Instant::now());
                self.sides[pair].0.write_all(&bytes).map_err(system("sending a message"))?;
                pair = (pair + 1) % self.case.pairs;
                next += gap;
                if self.under_way[pair].0.len() > 64 {
                    break;
                }
            }
            let wait = if over { Duration::from_millis(1) } else { next.saturating_duration_since(now) };
            // Short waits are spun, or the load's own wake-ups are measured.
            let wait = EpollTimeout::try_from(wait.as_millis()).unwrap_or(EpollTimeout::ZERO);
            let n = self.epoll.wait(&mut events, wait).unwrap_or(0);
            for event in &events[..n] {
                self.receive(event.data() as usize, &mut piece, &mut latencies)?;
            }
        }
        latencies.sort_unstable();
        Ok(PacedResult { latencies })
    }

    fn receive(&mut self, n: usize, piece: &mut [u8], to: &mut Vec<Duration>) -> Result<(), BenchError> {
        let got = match self.sides[n].1.read(piece) {
            Ok(got) => got,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(system("receiving a message")(error)),
        };
        let (sent, have) = &mut self.under_way[n];
        *have += got;
        while *have >= self.case.size
            && let Some(at) = sent.pop_front()
        {
            *have -= self.case.size;
            to.push(at.elapsed());
        }
        Ok(())
    }
}
