//! Asks a rendezvous server and a relay whether they do what they are for.

use bytes::BytesMut;
use hbb_common::packet::{Deframer, encode, encode_message};
use hbb_common::rendezvous::punch_hole_response::Failure;
use hbb_common::rendezvous::rendezvous_message::Union;
use hbb_common::rendezvous::{PunchHoleRequest, RendezvousMessage, RequestRelay};
use prost::Message as _;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

/// No answer takes longer on a way that can be used.
const PATIENCE: Duration = Duration::from_secs(5);
/// Answers are a few dozen bytes.
const LONGEST: usize = 4096;
/// No host can have this id: it is shorter than any.
const NOBODY: &str = "0";

/// Why a server does not do what it is for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeError {
    #[error("the name {host} has no address: {source}")]
    NoAddress { host: String, source: io::Error },
    #[error("{host}:{port} can not be reached: {source}")]
    Unreachable { host: String, port: u16, source: io::Error },
    #[error("{host}:{port} takes connections, but does not answer within {} s", PATIENCE.as_secs())]
    Silent { host: String, port: u16 },
    #[error("{host}:{port} answers something else than such a server")]
    Strange { host: String, port: u16 },
    #[error("{host}:{port} wants another key")]
    WrongKey { host: String, port: u16 },
    #[error("{host}:{port} passes nothing on")]
    NotRelaying { host: String, port: u16 },
}

/// A server by name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Server<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
}

impl Server<'_> {
    fn silent(self) -> ProbeError {
        ProbeError::Silent { host: self.host.to_owned(), port: self.port }
    }

    fn strange(self) -> ProbeError {
        ProbeError::Strange { host: self.host.to_owned(), port: self.port }
    }

    async fn connect(self) -> Result<TcpStream, ProbeError> {
        let (host, port) = (self.host.to_owned(), self.port);
        let addresses = match timeout(PATIENCE, lookup_host((self.host, port))).await {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(source)) => return Err(ProbeError::NoAddress { host, source }),
            Err(_) => {
                let source = io::Error::new(io::ErrorKind::TimedOut, "the name server does not answer");
                return Err(ProbeError::NoAddress { host, source });
            }
        };
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match timeout(PATIENCE, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, "nothing comes back"),
            }
        }
        Err(ProbeError::Unreachable { host, port, source: last })
    }
}

/// Asks for a host that can not exist: the answer says whether the server works and whether `key` is its own
/// (rendezvous §4.3: the key is looked at before the id). Tells how long the answer took.
pub(crate) async fn rendezvous(server: Server<'_>, key: &str) -> Result<Duration, ProbeError> {
    let mut stream = server.connect().await?;
    let start = Instant::now();
    let request = PunchHoleRequest {
        id: NOBODY.to_owned(),
        licence_key: key.to_owned(),
        ..PunchHoleRequest::default()
    };
    send(&mut stream, Union::PunchHoleRequest(request)).await.map_err(|_| server.strange())?;
    let answer = async {
        let mut deframer = Deframer::new(LONGEST);
        loop {
            let message = receive(&mut stream, &mut deframer).await.ok_or_else(|| server.strange())?;
            match message.union {
                // Some servers begin with one; it asks for nothing (rendezvous §6.4).
                Some(Union::KeyExchange(_)) => {}
                Some(Union::PunchHoleResponse(response)) => return Ok(response),
                _ => return Err(server.strange()),
            }
        }
    };
    let response = timeout(PATIENCE, answer).await.map_err(|_| server.silent())??;
    if response.failure() == Failure::LicenseMismatch {
        return Err(ProbeError::WrongKey { host: server.host.to_owned(), port: server.port });
    }
    Ok(start.elapsed())
}

/// Has a relay pair two connections and pass a packet from one to the other. Tells how long that took.
pub(crate) async fn relay(server: Server<'_>, key: &str) -> Result<Duration, ProbeError> {
    let not_relaying = || ProbeError::NotRelaying { host: server.host.to_owned(), port: server.port };
    let start = Instant::now();
    let attempt = async {
        let uuid = hbb_common::password::readable(&rand::random::<[u8; 24]>());
        let mut first = server.connect().await?;
        let mut second = server.connect().await?;
        for stream in [&mut first, &mut second] {
            let request =
                RequestRelay { uuid: uuid.clone(), licence_key: key.to_owned(), ..RequestRelay::default() };
            send(stream, Union::RequestRelay(request)).await.map_err(|_| not_relaying())?;
        }
        let mut packet = BytesMut::new();
        encode(uuid.as_bytes(), &mut packet);
        second.write_all(&packet).await.map_err(|_| not_relaying())?;
        let mut passed = vec![0; packet.len()];
        first.read_exact(&mut passed).await.map_err(|_| not_relaying())?;
        if passed == packet { Ok(start.elapsed()) } else { Err(not_relaying()) }
    };
    timeout(PATIENCE, attempt).await.map_err(|_| server.silent())?
}

async fn send(stream: &mut TcpStream, union: Union) -> io::Result<()> {
    stream.write_all(&encode_message(&RendezvousMessage { union: Some(union) })).await
}

/// The next message; `None` where there is none, or something else.
async fn receive(stream: &mut TcpStream, deframer: &mut Deframer) -> Option<RendezvousMessage> {
    loop {
        if let Some(packet) = deframer.next_packet().ok()? {
            return RendezvousMessage::decode(packet).ok();
        }
        if stream.read_buf(deframer.buffer()).await.ok()? == 0 {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hbbs::ServerConfig;
    use hbbs::relay::RelayConfig;
    use std::net::{Ipv4Addr, TcpListener};

    fn start(folder: &std::path::Path) -> hbbs::Handle {
        hbbs::Server::spawn(ServerConfig {
            listen: vec![Ipv4Addr::LOCALHOST.into()],
            port: 0,
            state_dir: Some(folder.to_owned()),
            relay: Some(RelayConfig::default()),
            ..ServerConfig::default()
        })
        .unwrap()
    }

    #[tokio::test]
    async fn a_server_and_its_relay_answer_to_their_key_alone() {
        let folder = tempfile::tempdir().unwrap();
        let running = start(folder.path());
        let key = running.public_key().unwrap().to_string();
        let hbbs = Server { host: "127.0.0.1", port: running.addresses().rendezvous[0].port() };
        let hbbr = Server { host: "127.0.0.1", port: running.relay().unwrap().tcp_addrs()[0].port() };
        rendezvous(hbbs, &key).await.unwrap();
        relay(hbbr, &key).await.unwrap();
        assert!(matches!(rendezvous(hbbs, "wrong").await, Err(ProbeError::WrongKey { .. })));
        assert!(matches!(relay(hbbr, "wrong").await, Err(ProbeError::NotRelaying { .. })));
        running.shutdown().await;
    }

    #[tokio::test]
    async fn what_is_not_there_or_something_else_is_told_apart() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let gone = Server { host: "127.0.0.1", port: closed };
        assert!(matches!(rendezvous(gone, "").await, Err(ProbeError::Unreachable { .. })));
        let nowhere = Server { host: "nowhere.invalid", port: 1 };
        assert!(matches!(rendezvous(nowhere, "").await, Err(ProbeError::NoAddress { .. })));

        let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = other.local_addr().unwrap().port();
        let web = tokio::spawn(async move {
            let (mut stream, _) = other.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        });
        let answer = rendezvous(Server { host: "127.0.0.1", port }, "").await;
        assert!(matches!(answer, Err(ProbeError::Strange { .. })), "{answer:?}");
        web.await.unwrap();
    }
}
