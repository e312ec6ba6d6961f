//! The datagram side of P: one thread and one socket per core and listen address, which takes and answers
//! datagrams by the batch.

mod batch;
mod pace;

use crate::broker::Broker;
use crate::clock::{Clock, Moment};
use crate::registry::{Source, Via};
use crate::stream::Blocklist;
use batch::Batch;
use hbb_common::addr::normalize;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg, setsockopt, sockopt};
use pace::Pace;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Room for datagrams that come while a thread rests; the system may grant less.
const RECEIVE_BUFFER: usize = 4 << 20;

/// The sockets of P, one group per listen address in its order.
#[derive(Debug)]
pub(crate) struct Sockets {
    groups: Vec<Group>,
    /// Ways that hosts came, by number: the first ones are the groups.
    ways: RwLock<Vec<Way>>,
}

#[derive(Debug)]
struct Group {
    sockets: Vec<UdpSocket>,
    is_v6: bool,
}

/// A group, and the address of ours where it serves several: a host behind a NAT hears only the address
/// that it wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Way {
    group: usize,
    local: Option<IpAddr>,
}

impl Sockets {
    /// Binds `per_address` sockets to each address. They share its port, so each is tried alone first: a
    /// port that another program has is an error.
    pub(crate) fn bind(addresses: &[SocketAddr], per_address: usize) -> io::Result<Self> {
        let groups = addresses.iter().map(|addr| {
            drop(open(*addr, false)?);
            let sockets = (0..per_address.max(1)).map(|_| open(*addr, true)).collect::<io::Result<_>>()?;
            Ok(Group { sockets, is_v6: addr.is_ipv6() })
        });
        let groups: Vec<Group> = groups.collect::<io::Result<_>>()?;
        let ways = (0..groups.len()).map(|group| Way { group, local: None }).collect();
        Ok(Self { groups, ways: RwLock::new(ways) })
    }

    /// The number of the way by which a datagram came to `local`.
    fn way(&self, group: usize, local: Option<IpAddr>) -> u8 {
        let wanted = Way { group, local };
        let find = |ways: &[Way]| ways.iter().position(|way| *way == wanted);
        let known = find(&self.ways.read().unwrap_or_else(PoisonError::into_inner));
        let place = known.or_else(|| {
            let mut ways = self.ways.write().unwrap_or_else(PoisonError::into_inner);
            // With more addresses than numbers, the system chooses which one pushes come from.
            find(&ways).or_else(|| {
                let place = ways.len();
                (place <= usize::from(u8::MAX)).then(|| ways.push(wanted))?;
                Some(place)
            })
        });
        u8::try_from(place.unwrap_or(group)).unwrap_or(0)
    }

    /// A datagram to a host, from the address that it wrote to. Never waits.
    pub(crate) fn send(&self, way: u8, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        let way = self.ways.read().unwrap_or_else(PoisonError::into_inner).get(usize::from(way)).copied();
        let Way { group, local } = way.ok_or(io::ErrorKind::NotFound)?;
        let group = &self.groups[group];
        let to = match (to.ip(), group.is_v6) {
            (IpAddr::V4(v4), true) => SocketAddr::new(v4.to_ipv6_mapped().into(), to.port()),
            _ => to,
        };
        let socket = group.sockets.first().ok_or(io::ErrorKind::NotFound)?.as_raw_fd();
        let (to, content) = (SockaddrStorage::from(to), [IoSlice::new(bytes)]);
        let send = |control: &[ControlMessage<'_>]| {
            sendmsg(socket, &content, control, MsgFlags::MSG_DONTWAIT, Some(&to))
        };
        match local {
            None => send(&[])?,
            Some(IpAddr::V4(ip)) => {
                let spec_dst = libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) };
                let addr = libc::in_addr { s_addr: 0 };
                let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: spec_dst, ipi_addr: addr };
                send(&[ControlMessage::Ipv4PacketInfo(&info)])?
            }
            Some(IpAddr::V6(ip)) => {
                let addr = libc::in6_addr { s6_addr: ip.octets() };
                let info = libc::in6_pktinfo { ipi6_addr: addr, ipi6_ifindex: 0 };
                send(&[ControlMessage::Ipv6PacketInfo(&info)])?
            }
        };
        Ok(())
    }
}

/// A UDP socket, blocking: only receiving must not wait. A wildcard IPv6 address serves IPv4 too; wildcard
/// sockets tell which address a datagram came to.
fn open(addr: SocketAddr, shared: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(!addr.ip().is_unspecified())?;
    }
    if addr.ip().is_unspecified() {
        match addr {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
        }
    }
    socket.set_reuse_port(shared)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// The threads; they end when this is dropped, and have ended after [`Threads::join`].
#[derive(Debug)]
pub(crate) struct Threads {
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Stop {
    event: EventFd,
    stopping: AtomicBool,
}

impl Threads {
    pub(crate) fn start(
        sockets: &Arc<Sockets>,
        broker: &Arc<Broker>,
        blocklist: &Arc<Blocklist>,
        clock: Clock,
    ) -> io::Result<Self> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let stop = Arc::new(Stop { event, stopping: AtomicBool::new(false) });
        let mut threads = Self { stop, threads: Vec::new() };
        for (listener, group) in sockets.groups.iter().enumerate() {
            for number in 0..group.sockets.len() {
                let worker = Worker {
                    sockets: Arc::clone(sockets),
                    place: (listener, number),
                    broker: Arc::clone(broker),
                    blocklist: Arc::clone(blocklist),
                    clock,
                    stop: Arc::clone(&threads.stop),
                };
                let name = format!("hbbs-udp-{listener}-{number}");
                threads.threads.push(std::thread::Builder::new().name(name).spawn(move || worker.run())?);
            }
        }
        Ok(threads)
    }

    /// Ends the threads and waits for them.
    pub(crate) fn join(mut self) {
        self.stop();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread for datagrams has panicked");
            }
        }
    }

    fn stop(&self) {
        self.stop.stopping.store(true, Ordering::Release);
        // Can only fail if the counter is full, and then the event is raised.
        let _raised = self.stop.event.write(1);
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Worker {
    sockets: Arc<Sockets>,
    place: (usize, usize),
    broker: Arc<Broker>,
    blocklist: Arc<Blocklist>,
    clock: Clock,
    stop: Arc<Stop>,
}

impl Worker {
    fn run(self) {
        let (listener, number) = self.place;
        let socket = &self.sockets.groups[listener].sockets[number];
        let (mut batch, mut pace) = (Batch::new(), Pace::new(Instant::now()));
        // Nearly all datagrams come to the same address.
        let mut latest = (None, self.sockets.way(listener, None));
        let mut random = rand::random::<u32>();
        while !self.stop.stopping.load(Ordering::Acquire) {
            let received = match batch.receive(socket) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => {
                    if error.kind() != io::ErrorKind::Interrupted {
                        // Want of memory, for example: it will not be better at once.
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    continue;
                }
            };
            let now = Instant::now();
            let tick = self.clock.tick(now);
            batch.answer_each(|datagram, out| {
                random = random.wrapping_mul(0x915F_77F5).wrapping_add(0x9E37_79B9);
                if datagram.local != latest.0 {
                    latest = (datagram.local, self.sockets.way(listener, datagram.local));
                }
                let source = Source { addr: normalize(datagram.source), via: Via::Listener(latest.1) };
                if self.blocklist.contains(source.addr.ip()) {
                    return;
                }
                self.broker.datagram(source, datagram.bytes, Moment { tick, random }, out);
            });
            let unsent = batch.send(socket);
            if unsent > 0 {
                self.broker.counters().datagrams_unsent.add(unsent as u64);
            }
            match pace.after(received, now) {
                pace::Next::Receive => {}
                pace::Next::Wait => self.wait(socket),
                pace::Next::Rest(span) => std::thread::sleep(span),
            }
        }
    }

    /// Until there are datagrams or it is time to stop.
    fn wait(&self, socket: &UdpSocket) {
        let mut fds = [
            PollFd::new(socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.stop.event.as_fd(), PollFlags::POLLIN),
        ];
        // An interruption by a signal is as good as a datagram: the loop looks again.
        let _woken = poll(&mut fds, PollTimeout::NONE);
    }
}
