//! What hosts and strangers cost in memory, counted by an allocator.

#![expect(clippy::unwrap_used, reason = "in a test, also in the functions beside it, a panic is the report")]

use bytes::Bytes;
use deskhand_tests::net::own_address;
use hbb_common::key::{KeyOption, SigningKey};
use hbb_common::rendezvous::{
    PunchHoleRequest, PunchHoleSent, RegisterPk, RendezvousMessage, rendezvous_message::Union,
};
use hbbs::broker::{Broker, Output, Policy, Port, Stream};
use hbbs::clock::{Clock, Moment};
use hbbs::keys::ServerKey;
use hbbs::limits::ClaimLimits;
use hbbs::registry::{Claim, Id, Rate, Registry, Source, Via};
use hbbs::store::Forgetful;
use hbbs::{Server, ServerConfig};
use prost::Message as _;
use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

/// Counts what is in use as a malloc hands it out: with a header of 8 bytes, in steps of 16.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

fn cost(size: usize) -> usize {
    (size + 8).next_multiple_of(16).max(32)
}

// SAFETY: everything is the system's allocator's; only numbers are kept beside.
#[expect(unsafe_code, reason = "an allocator can only be written so")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(cost(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(cost(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The counts are the process's: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Remembered at a time; small, so that the tables are soon full.
const ADDRESSES: usize = 4096;

const RATE: Rate = Rate { count: 3, window: Duration::from_secs(6) };

fn source(n: u32) -> Source {
    let ip = Ipv4Addr::from(0x0A00_0000 + n);
    Source { addr: SocketAddr::new(ip.into(), 5000), via: Via::Listener(0) }
}

#[test]
fn a_host_costs_at_most_250_bytes() {
    let _alone = ALONE.lock().unwrap();
    let clock = Clock::new(Instant::now(), SystemTime::now());
    // 50 000 is just above a step of the tables' growth, where they are emptiest.
    for hosts in [50_000, 100_000] {
        let before = IN_USE.load(Ordering::Relaxed);
        let registry = Registry::new(RATE);
        for n in 0..hosts {
            let id = Id::new(&format!("{}", 100_000_000 + n)).unwrap();
            let uuid = format!("{n:032x}");
            let claim = Claim { id: &id, uuid: uuid.as_bytes(), pk: &[7; 32] };
            registry.claim(claim, source(n), clock.tick(Instant::now()), || true);
        }
        let each = (IN_USE.load(Ordering::Relaxed) - before) as f64 / f64::from(hosts);
        println!("{each:.0} bytes a host of {hosts}");
        assert_eq!(registry.count(), hosts as usize);
        assert!(each <= 250.0, "{each} bytes a host");
    }
}

struct World {
    broker: Broker,
    clock: Clock,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let claim_limits = ClaimLimits { addresses: ADDRESSES, ..ClaimLimits::default() };
        let policy = Policy { claim_limits, ..Policy::default() };
        let option = KeyOption::Secret(Box::new(SigningKey::from_seed(&[1; 32])));
        let key = ServerKey::resolve(&option, None, || [0; 32]).unwrap();
        let broker = Broker::new(key, policy, RATE, Arc::new(Forgetful), Arc::default());
        let now = Instant::now();
        Self { broker, clock: Clock::new(now, SystemTime::now()), now }
    }

    fn moment(&self) -> Moment {
        Moment { tick: self.clock.tick(self.now), random: 7 }
    }

    fn register(&self, n: u32, id: &str) {
        let (uuid, pk) = (Bytes::from_static(b"machine"), vec![9; 32].into());
        let m = RegisterPk { id: id.into(), uuid, pk, ..Default::default() };
        let bytes = RendezvousMessage { union: Some(Union::RegisterPk(m)) }.encode_to_vec();
        self.broker.datagram(source(n), &bytes, self.moment(), &mut Vec::new());
    }

    /// A client asks, the host answers, both leave.
    fn reach(&self, n: u32, id: &str, host: SocketAddr) {
        let licence_key = self.broker.key().required().unwrap().into();
        let m = PunchHoleRequest { id: id.into(), licence_key, ..Default::default() };
        let mut client = Stream::new(u64::from(n) * 2 + 1, source(n).addr, Port::Main);
        let mut out = Vec::new();
        let say = |stream: &mut Stream, union, out: &mut Vec<Output>| {
            let packet = RendezvousMessage { union: Some(union) }.encode_to_vec().into();
            self.broker.packet(stream, packet, self.moment(), out);
        };
        say(&mut client, Union::PunchHoleRequest(m), &mut out);
        let Some(Output::Push(_, packet)) = out.pop() else { panic!("no push") };
        let Some(Union::PunchHole(push)) = RendezvousMessage::decode(packet).unwrap().union else { panic!() };
        let mut answer = Stream::new(u64::from(n) * 2 + 2, host, Port::Main);
        let socket_addr = push.socket_addr;
        let m = PunchHoleSent { socket_addr, id: id.into(), version: "1".into(), ..Default::default() };
        say(&mut answer, Union::PunchHoleSent(m), &mut out);
        assert!(matches!(out[0], Output::Pass(..)));
        self.broker.ended(&answer);
        self.broker.ended(&client);
    }
}

#[test]
fn requests_leave_nothing_behind() {
    let _alone = ALONE.lock().unwrap();
    let world = World::new();
    let hosts: Vec<String> = (0..100).map(|n| format!("{}", 100_000_000 + n)).collect();
    for (n, id) in (0..).zip(&hosts) {
        world.register(n, id);
    }
    let round = |clients: std::ops::Range<u32>| {
        for n in clients {
            let host = n % 100;
            world.reach(1000 + n, &hosts[host as usize], source(host).addr);
        }
    };
    // Enough for the bounded tables to be as full as they get.
    round(0..5_000);
    let full = IN_USE.load(Ordering::Relaxed);
    round(5_000..15_000);
    let after = IN_USE.load(Ordering::Relaxed);
    println!("{full} bytes, then {after}");
    assert!(after < full + (64 << 10), "{} bytes more", after - full);
}

#[test]
fn strangers_who_are_refused_fill_no_table() {
    let _alone = ALONE.lock().unwrap();
    let world = World::new();
    world.register(0, "123456789");
    let before = IN_USE.load(Ordering::Relaxed);
    // Another machine's id, from ten times the addresses that are remembered.
    for n in 1..40_000 {
        let (uuid, pk) = (Bytes::from_static(b"other"), vec![9; 32].into());
        let m = RegisterPk { id: "123456789".into(), uuid, pk, ..Default::default() };
        let bytes = RendezvousMessage { union: Some(Union::RegisterPk(m)) }.encode_to_vec();
        world.broker.datagram(source(n), &bytes, world.moment(), &mut Vec::new());
    }
    let grown = IN_USE.load(Ordering::Relaxed) - before;
    println!("{grown} bytes");
    assert!(grown < 512 << 10, "{grown} bytes");
    assert_eq!(world.broker.registry().count(), 1);
}

/// Stock keeps what comes of a frame said to have 16 MiB, and keeps the memory when its senders have gone.
#[test]
fn half_sent_frames_cost_little_and_leave_nothing_behind() {
    const CONNECTIONS: usize = 300;
    let _alone = ALONE.lock().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut config = ServerConfig {
        listen: vec![own_address().into()],
        port: 0,
        key: KeyOption::Secret(Box::new(SigningKey::from_seed(&[1; 32]))),
        udp_threads: Some(1),
        ..ServerConfig::default()
    };
    config.connections.silence = Duration::from_secs(2);
    let server = {
        let _entered = runtime.enter();
        Server::spawn(config).unwrap()
    };
    let at = server.addresses().rendezvous[0];
    let attack = |announced: u32| {
        let before = server.counts();
        let bytes = [&(announced << 2 | 3).to_le_bytes()[..], &[0; 3900]].concat();
        let attackers: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let mut socket = TcpStream::connect(at).unwrap();
                // It may have been closed for its length already.
                socket.write_all(&bytes).ok();
                socket
            })
            .collect();
        let mut most = 0;
        let deadline = Instant::now() + Duration::from_secs(30);
        let all = before.connections + CONNECTIONS as u64;
        while server.open_connections() > 0 || server.counts().connections < all {
            most = most.max(IN_USE.load(Ordering::Relaxed));
            assert!(Instant::now() < deadline, "{} are open", server.open_connections());
            std::thread::yield_now();
        }
        drop(attackers);
        (most, server.counts().connections_timed_out - before.connections_timed_out)
    };
    // What is made once for all is made now.
    attack(4000);
    let before = IN_USE.load(Ordering::Relaxed);
    let (most, timed_out) = attack(4000);
    let (each, left) = ((most - before) / CONNECTIONS, IN_USE.load(Ordering::Relaxed).saturating_sub(before));
    println!("{each} bytes each, {left} left");
    assert_eq!(timed_out, CONNECTIONS as u64, "they were held all the while");
    assert!(each < 16 << 10, "{each} bytes each");
    assert!(left < 64 << 10, "{left} bytes left");
    let (most, timed_out) = attack(16 << 20);
    assert_eq!(timed_out, 0, "too long to be waited for");
    assert!(most < before + CONNECTIONS * (16 << 10), "{} bytes", most.saturating_sub(before));
    runtime.block_on(server.shutdown());
}
