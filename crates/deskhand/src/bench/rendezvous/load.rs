//! Hosts that register and stay: sixteen at each address, as few as no server's limits mind.

use crate::bench::{BenchError, system};
use hbb_common::rendezvous::register_pk_response::Result as Verdict;
use hbb_common::rendezvous::rendezvous_message::Union;
use hbb_common::rendezvous::{RegisterPeer, RegisterPk, RendezvousMessage};
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, recvmsg, sendmmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;
use prost::Message as _;
use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

/// Hosts at one address, whose messages go out together. Stock servers take 30 registrations a minute from
/// one, ours 32.
const GROUP: u64 = 16;

/// Groups under way: 64 messages.
const UNDER_WAY: usize = 4;

/// Addresses of loopback that groups have, from here on.
const FIRST_ADDRESS: u32 = 0x7F01_0000;
const ADDRESSES: u64 = 1 << 23;
const FIRST_ID: u64 = 100_000_000;

/// An answer that takes longer is lost.
const PATIENCE: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Message {
    Registration,
    Heartbeat,
}

/// All hosts that there could be for one server. Those of another run are others.
pub(super) struct Fleet {
    server: SocketAddr,
    /// The first group that has not registered.
    next: AtomicU64,
    known: std::sync::OnceLock<Known>,
}

/// Hosts that have registered.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) groups: Range<u64>,
}

impl Fleet {
    pub(super) fn new(server: SocketAddr) -> Self {
        Self {
            server,
            next: AtomicU64::new(rand::random_range(0..ADDRESSES)),
            known: std::sync::OnceLock::new(),
        }
    }

    /// Registers new hosts one after the other; how many were answered.
    pub(super) fn register_for(&self, time: Duration) -> Result<u64, BenchError> {
        let end = Instant::now() + time;
        let fresh = std::iter::from_fn(|| (Instant::now() < end).then(|| self.next.fetch_add(1, Relaxed)));
        Ok(Exchange::new(self.server, Message::Registration).run(fresh)?.1)
    }

    /// Registers so many new hosts; how many were answered.
    pub(super) fn register(&self, hosts: u64) -> Result<u64, BenchError> {
        Ok(self.register_groups(hosts)?.1)
    }

    fn register_groups(&self, hosts: u64) -> Result<(Range<u64>, u64), BenchError> {
        let groups = hosts.div_ceil(GROUP);
        let first = self.next.fetch_add(groups, Relaxed);
        let (_, answered) = Exchange::new(self.server, Message::Registration).run(first..first + groups)?;
        Ok((first..first + groups, answered))
    }

    /// Hosts for heartbeats, registered when first asked for.
    pub(super) fn known(&self, hosts: u64) -> Result<Known, BenchError> {
        if let Some(known) = self.known.get() {
            return Ok(known.clone());
        }
        let (groups, _) = self.register_groups(hosts)?;
        Ok(self.known.get_or_init(|| Known { groups }).clone())
    }

    /// Messages of these groups in turn; how many were sent and how many answered.
    pub(super) fn exchange_for(
        &self,
        groups: Range<u64>,
        message: Message,
        time: Duration,
    ) -> Result<(u64, u64), BenchError> {
        let end = Instant::now() + time;
        Exchange::new(self.server, message).run(groups.cycle().take_while(|_| Instant::now() < end))
    }

    /// Heartbeats of one host, each after a pause; how long each answer took to arrive. The kernel notes when
    /// it did, so that a load that is busy itself does not count.
    pub(super) fn probe(
        &self,
        known: &Known,
        every: Duration,
        time: Duration,
    ) -> Result<Vec<Duration>, BenchError> {
        let group = known.groups.start;
        let socket = open(self.server, group)?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true).map_err(system("times of arrival"))?;
        let heartbeat = encode(Message::Heartbeat, group * GROUP);
        let (end, mut waits) = (Instant::now() + time, Vec::new());
        while Instant::now() < end {
            let sent = SystemTime::now();
            socket.send(&heartbeat).map_err(system("sending a heartbeat"))?;
            // One that is lost has taken as long as anybody waits.
            let arrived = arrival(&socket)?.unwrap_or(sent + PATIENCE);
            waits.push(arrived.duration_since(sent).unwrap_or_default());
            std::thread::sleep(every);
        }
        Ok(waits)
    }
}

/// When the next datagram arrived, which is taken out; `None` if none comes.
fn arrival(socket: &UdpSocket) -> Result<Option<SystemTime>, BenchError> {
    let mut bytes = [0; 64];
    let mut control = nix::cmsg_space!(TimeSpec);
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::empty();
    let message = match recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags) {
        Ok(message) => message,
        Err(Errno::EAGAIN) => return Ok(None),
        Err(error) => return Err(system("waiting for an answer")(error)),
    };
    let stamps = message.cmsgs().map_err(system("times of arrival"))?;
    let stamp = stamps.into_iter().find_map(|control| match control {
        ControlMessageOwned::ScmTimestampns(stamp) => Some(Duration::from(stamp)),
        _ => None,
    });
    Ok(Some(stamp.map_or_else(SystemTime::now, |stamp| SystemTime::UNIX_EPOCH + stamp)))
}

/// A socket at the address of a group, which hears this server only.
fn open(server: SocketAddr, group: u64) -> Result<UdpSocket, BenchError> {
    let ip = Ipv4Addr::from(FIRST_ADDRESS + (group % ADDRESSES) as u32);
    let socket = UdpSocket::bind((ip, 0)).map_err(system("an address for hosts"))?;
    socket.connect(server).map_err(system("an address for hosts"))?;
    socket.set_read_timeout(Some(PATIENCE)).map_err(system("an address for hosts"))?;
    Ok(socket)
}

fn encode(message: Message, host: u64) -> Vec<u8> {
    let id = (FIRST_ID + host % (ADDRESSES * GROUP)).to_string();
    let union = match message {
        Message::Heartbeat => Union::RegisterPeer(RegisterPeer { id, serial: 3 }),
        Message::Registration => Union::RegisterPk(RegisterPk {
            uuid: format!("{host:032x}").into_bytes().into(),
            pk: host.to_le_bytes().repeat(4).into(),
            id,
            ..RegisterPk::default()
        }),
    };
    RendezvousMessage { union: Some(union) }.encode_to_vec()
}

/// An answer must be one, and a good one: to refuse costs less. An echo has nothing else to say.
fn check(answer: &[u8], question: Message) -> Result<(), BenchError> {
    let wrong = |what: &dyn std::fmt::Debug| Err(BenchError::WrongAnswer(format!("{question:?}: {what:?}")));
    let union = match RendezvousMessage::decode(answer) {
        Ok(message) => message.union,
        Err(error) => return wrong(&error),
    };
    match (question, &union) {
        (Message::Registration, Some(Union::RegisterPk(_)))
        | (Message::Heartbeat, Some(Union::RegisterPeer(_))) => Ok(()),
        (Message::Registration, Some(Union::RegisterPkResponse(r))) if r.result() == Verdict::Ok => Ok(()),
        (Message::Heartbeat, Some(Union::RegisterPeerResponse(r))) if !r.request_pk => Ok(()),
        _ => wrong(&union),
    }
}

/// Questions and answers of many groups, some of them under way at a time.
struct Exchange {
    server: SocketAddr,
    message: Message,
    outgoing: MultiHeaders<SockaddrIn>,
    incoming: MultiHeaders<SockaddrIn>,
    buffers: Vec<[u8; 256]>,
}

impl Exchange {
    fn new(server: SocketAddr, message: Message) -> Self {
        let headers = || MultiHeaders::preallocate(GROUP as usize, None);
        let buffers = vec![[0; 256]; GROUP as usize];
        Self { server, message, outgoing: headers(), incoming: headers(), buffers }
    }

    /// How many messages were sent and how many answered.
    fn run(mut self, groups: impl IntoIterator<Item = u64>) -> Result<(u64, u64), BenchError> {
        let (mut sent, mut answered) = (0, 0);
        let mut under_way = VecDeque::with_capacity(UNDER_WAY);
        for group in groups {
            if under_way.len() == UNDER_WAY
                && let Some(oldest) = under_way.pop_front()
            {
                answered += self.receive(&oldest)?;
            }
            let socket = open(self.server, group)?;
            self.send(&socket, group)?;
            sent += GROUP;
            under_way.push_back(socket);
        }
        for socket in under_way {
            answered += self.receive(&socket)?;
        }
        Ok((sent, answered))
    }

    fn send(&mut self, socket: &UdpSocket, group: u64) -> Result<(), BenchError> {
        let messages: Vec<_> = (0..GROUP).map(|host| encode(self.message, group * GROUP + host)).collect();
        let slices: Vec<_> = messages.iter().map(|message| [IoSlice::new(message)]).collect();
        let nowhere_else = [None; GROUP as usize];
        let flags = MsgFlags::empty();
        sendmmsg(socket.as_raw_fd(), &mut self.outgoing, &slices, nowhere_else, [], flags)
            .map_err(system("sending messages"))?;
        Ok(())
    }

    /// Waits for the answers to a group, without sleeping: to wake a sleeper is work of whoever sends, which
    /// a server whose peers are elsewhere does not have.
    fn receive(&mut self, socket: &UdpSocket) -> Result<u64, BenchError> {
        let (start, mut answered) = (Instant::now(), 0);
        while answered < GROUP && start.elapsed() < PATIENCE {
            let mut slices: Vec<_> = self.buffers[answered as usize..]
                .iter_mut()
                .map(|buffer| [IoSliceMut::new(buffer)])
                .collect();
            let flags = MsgFlags::MSG_DONTWAIT;
            let lengths: Vec<usize> =
                match recvmmsg(socket.as_raw_fd(), &mut self.incoming, &mut slices, flags, None) {
                    Ok(messages) => messages.map(|message| message.bytes).collect(),
                    Err(Errno::EAGAIN | Errno::EINTR) => continue,
                    Err(error) => return Err(system("waiting for answers")(error)),
                };
            if answered == 0
                && let Some(length) = lengths.first()
            {
                check(&self.buffers[0][..*length], self.message)?;
            }
            answered += lengths.len() as u64;
        }
        Ok(answered)
    }
}
