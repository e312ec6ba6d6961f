//! Peers of the server under test, on real sockets.

use bytes::Bytes;
use deskhand_tests::net::own_address;
use hbb_common::packet::{Deframer, encode_message};
use hbb_common::rendezvous::{
    NatType, PunchHoleRequest, RegisterPeer, RegisterPk, RendezvousMessage, TestNatRequest,
    register_pk_response, rendezvous_message::Union,
};
use hbbs::{Handle, Server, ServerConfig};
use prost::Message as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// For what must come; far longer than it takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A configuration on an address of this test alone, on free ports, without a disk.
pub(crate) fn config() -> ServerConfig {
    ServerConfig {
        listen: vec![own_address().into()],
        port: 0,
        key: hbb_common::key::KeyOption::Secret(Box::new(hbb_common::key::SigningKey::from_seed(&[1; 32]))),
        udp_threads: Some(2),
        ..ServerConfig::default()
    }
}

pub(crate) fn start(config: ServerConfig) -> Handle {
    Server::spawn(config).unwrap()
}

pub(crate) fn main_addr(server: &Handle) -> SocketAddr {
    server.addresses().rendezvous[0]
}

pub(crate) fn nat_addr(server: &Handle) -> SocketAddr {
    server.addresses().nat_test[0]
}

/// A host's datagrams.
pub(crate) struct Datagrams(UdpSocket);

impl Datagrams {
    pub(crate) fn new(from: IpAddr, to: SocketAddr) -> Self {
        let socket = UdpSocket::bind((from, 0)).unwrap();
        // What comes from elsewhere is not heard: pushes must come from where the host registered.
        socket.connect(to).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        Self(socket)
    }

    pub(crate) fn send(&self, union: Union) {
        self.0.send(&RendezvousMessage { union: Some(union) }.encode_to_vec()).unwrap();
    }

    pub(crate) fn send_bytes(&self, bytes: &[u8]) {
        self.0.send(bytes).unwrap();
    }

    pub(crate) fn receive(&self) -> Union {
        let mut buffer = [0; 2048];
        let length = self.0.recv(&mut buffer).unwrap();
        RendezvousMessage::decode(&buffer[..length]).unwrap().union.unwrap()
    }

    pub(crate) fn ask(&self, union: Union) -> Union {
        self.send(union);
        self.receive()
    }

    pub(crate) fn claim(&self, id: &str) -> register_pk_response::Result {
        match self.ask(register_pk(id)) {
            Union::RegisterPkResponse(m) => m.result(),
            other => panic!("{other:?}"),
        }
    }

    /// Whether the server takes the heartbeat; else it wants the key.
    pub(crate) fn heartbeat(&self, id: &str) -> bool {
        match self.ask(Union::RegisterPeer(RegisterPeer { id: id.into(), serial: 3 })) {
            Union::RegisterPeerResponse(m) => !m.request_pk,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }
}

/// A TCP connection in packets.
pub(crate) struct Connection {
    pub(crate) socket: TcpStream,
    deframer: Deframer,
}

impl Connection {
    pub(crate) fn open(to: SocketAddr) -> Self {
        Self::from_socket(TcpStream::connect(to).unwrap())
    }

    pub(crate) fn open_from(from: IpAddr, to: SocketAddr) -> Self {
        let domain = socket2::Domain::for_address(to);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
        socket.connect(&to.into()).unwrap();
        Self::from_socket(socket.into())
    }

    fn from_socket(socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        Self { socket, deframer: Deframer::new(1 << 20) }
    }

    /// A server that hangs up meanwhile is found out by the next read.
    pub(crate) fn send(&mut self, union: Union) {
        match self.socket.write_all(&encode_message(&RendezvousMessage { union: Some(union) })) {
            Err(error) if !matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                panic!("{error}")
            }
            _ => {}
        }
    }

    /// The next packet; `None` at the end.
    pub(crate) fn packet(&mut self) -> Option<Bytes> {
        loop {
            if let Some(packet) = self.deframer.next_packet().unwrap() {
                return Some(packet);
            }
            let mut buffer = [0; 4096];
            match self.socket.read(&mut buffer) {
                Ok(0) => return None,
                Ok(length) => self.deframer.extend(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("neither a packet nor an end: {error}"),
            }
        }
    }

    pub(crate) fn receive(&mut self) -> Union {
        let packet = self.packet().expect("a packet before the end");
        RendezvousMessage::decode(packet).unwrap().union.unwrap()
    }

    pub(crate) fn ask(&mut self, union: Union) -> Union {
        self.send(union);
        self.receive()
    }

    pub(crate) fn ends(&mut self) -> bool {
        self.packet().is_none()
    }
}

pub(crate) fn register_pk(id: &str) -> Union {
    let (uuid, pk) = (Bytes::from_static(b"machine"), vec![9; 32].into());
    Union::RegisterPk(RegisterPk { id: id.into(), uuid, pk, ..Default::default() })
}

pub(crate) fn punch(server: &Handle, id: &str) -> Union {
    Union::PunchHoleRequest(PunchHoleRequest {
        id: id.into(),
        nat_type: NatType::Asymmetric.into(),
        licence_key: server.required_key().unwrap_or_default().into(),
        ..Default::default()
    })
}

pub(crate) fn test_nat() -> Union {
    Union::TestNatRequest(TestNatRequest { serial: 0 })
}

/// The port that the server sees.
pub(crate) fn seen_port(union: Union) -> u16 {
    match union {
        Union::TestNatResponse(m) => m.port.try_into().unwrap(),
        other => panic!("{other:?}"),
    }
}
