//! A relay to test, and sides that connect to it.

use hbb_common::{
    packet,
    rendezvous::{RendezvousMessage, RequestRelay, rendezvous_message::Union},
};
use hbbs::relay::{Relay, RelayConfig, RelayHandle};
use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;

/// Far longer than anything here takes: a test that waits this long has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct TestRelay {
    pub(crate) handle: RelayHandle,
    pub(crate) runtime: Runtime,
}

impl TestRelay {
    /// Two threads, so that what crosses threads is tested on every machine.
    pub(crate) fn config() -> RelayConfig {
        RelayConfig { threads: 2.try_into().ok(), ..RelayConfig::on(Ipv4Addr::LOCALHOST.into(), 0) }
    }

    pub(crate) fn start(config: RelayConfig) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let handle = {
            let _guard = runtime.enter();
            Relay::spawn(config).unwrap()
        };
        Self { handle, runtime }
    }

    pub(crate) fn default() -> Self {
        Self::start(Self::config())
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.handle.tcp_addrs()[0]
    }

    pub(crate) fn connect(&self) -> TcpStream {
        side(TcpStream::connect(self.addr()).unwrap())
    }

    /// Connects from one of the loopback network's many addresses.
    pub(crate) fn connect_from(&self, from: IpAddr) -> TcpStream {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
        socket.connect(&self.addr().into()).unwrap();
        side(socket.into())
    }

    /// Connects and asks for a uuid.
    pub(crate) fn ask(&self, uuid: &str) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(&request(uuid, "")).unwrap();
        stream
    }

    pub(crate) fn pair(&self, uuid: &str) -> (TcpStream, TcpStream) {
        let first = self.ask(uuid);
        self.wait_for("the first side to be parked", |r| r.waiting() > 0);
        let second = self.ask(uuid);
        let mut pair = (first, second);
        exchange(&mut pair.0, &mut pair.1, b"are you there");
        exchange(&mut pair.1, &mut pair.0, b"I am");
        pair
    }

    pub(crate) fn wait_for(&self, what: &str, done: impl Fn(&RelayHandle) -> bool) {
        let end = Instant::now() + DEADLINE;
        while !done(&self.handle) {
            assert!(Instant::now() < end, "still waiting for {what}: {:?}", self.handle.counters());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn stop(self) {
        self.runtime.block_on(self.handle.shutdown());
    }
}

fn side(stream: TcpStream) -> TcpStream {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// The message a side begins with.
pub(crate) fn message(uuid: &str, key: &str) -> RendezvousMessage {
    let request = RequestRelay { uuid: uuid.into(), licence_key: key.into(), ..Default::default() };
    RendezvousMessage { union: Some(Union::RequestRelay(request)) }
}

/// The same as a TCP packet.
pub(crate) fn request(uuid: &str, key: &str) -> Vec<u8> {
    packet::encode_message(&message(uuid, key)).to_vec()
}

/// What one side sends is what the other gets.
pub(crate) fn exchange(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    from.write_all(bytes).unwrap();
    assert_eq!(read(to, bytes.len()), bytes);
}

pub(crate) fn read(from: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    from.read_exact(&mut bytes).unwrap();
    bytes
}

/// Everything until the connection ends, however it does.
pub(crate) fn rest(from: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return bytes,
            Ok(n) => bytes.extend_from_slice(&piece[..n]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return bytes,
            Err(error) => panic!("not closed: {error}"),
        }
    }
}

/// Bytes of which no two stretches are alike, so that a lost or doubled piece shows.
pub(crate) struct Pattern(u64);

impl Pattern {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            piece.copy_from_slice(&self.0.to_le_bytes()[..piece.len()]);
        }
    }
}
