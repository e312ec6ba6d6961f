//! Finds a path to the peer and brings it up to the peer's first packet.

use crate::config::{Config, Server};
use crate::error::{dial_error, not_pinned, unreachable};
use crate::link::{Incoming, Link};
use crate::net;
use crate::pins::Pin;
use hbb_common::addr::split_host_port;
use hbb_common::defaults::{CONNECT_TIMEOUT, RELAY_PORT, RENDEZVOUS_PORT};
use hbb_common::key::PublicKey;
use hbb_common::peer_id::{IdAddress, PeerAddress};
use remote::{Path, RemoteError};
use session_proto::client::Security;
use session_proto::dial::{ConnId, Dial, Output, PeerKey, Request};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::time::{sleep_until, timeout};

/// The longest packet before the login.
const FIRST_LIMIT: usize = 256 << 10;

/// The longest packet of a server.
const SERVER_LIMIT: usize = 64 << 10;

/// A stream to a peer, and what is known of it.
#[derive(Debug)]
pub(crate) struct Dialled {
    pub(crate) link: Link,
    pub(crate) path: Path,
    /// What goes into `LoginRequest.username`.
    pub(crate) host_id: String,
    pub(crate) security: Security,
    /// The peer's key, if it is to prove one, and where to keep it.
    pub(crate) key: Option<PublicKey>,
    pub(crate) pin: Option<Pin>,
}

/// What one attempt starts from.
#[derive(Debug, Clone)]
pub(crate) struct Dialler {
    pub(crate) config: Arc<Config>,
    pub(crate) address: PeerAddress,
    pub(crate) allow_unencrypted: bool,
    /// The last connection went through the relay.
    pub(crate) was_relayed: bool,
}

impl Dialler {
    pub(crate) async fn dial(self) -> Result<Dialled, RemoteError> {
        match &self.address {
            PeerAddress::Direct { host, port } => direct(host, *port).await,
            PeerAddress::Id(id) => self.by_id(id).await,
        }
    }

    async fn by_id(&self, id: &IdAddress) -> Result<Dialled, RemoteError> {
        let server = self.server(id)?;
        let pin = Pin { server: server.address.clone(), id: id.id.clone() };
        let pinned = self.config.pins.get(&pin).map_err(|e| not_pinned(&e))?;
        let web_socket = is_web_socket(&server.address);
        let request = Request {
            id: id.id.clone(),
            key_text: server.key.clone(),
            server_key: PublicKey::from_base64(&server.key).ok(),
            pinned,
            force_relay: id.force_relay || web_socket,
            was_relayed: self.was_relayed,
            default_relay: default_relay(&server.address),
            uuids: std::array::from_fn(|_| uuid_text(rand::random())),
        };
        let mut attempt = Attempt { dial: Dial::new(request), server, locals: HashMap::new(), open: None };
        let (link, path, key) = attempt.run().await?;
        let (security, key) = self.security(id, key, pinned)?;
        Ok(Dialled { link, path, host_id: id.id.clone(), security, key, pin: Some(pin) })
    }

    fn server(&self, id: &IdAddress) -> Result<Server, RemoteError> {
        if let Some(server) = &id.server {
            let key = server.key.clone().unwrap_or_default();
            return Ok(Server { address: server.address.clone(), key });
        }
        self.config.server.clone().ok_or_else(|| {
            RemoteError::Invalid(format!("{} is an id, and no rendezvous server is configured", id.id))
        })
    }

    /// What the connection must prove, decided before anything is said on it.
    fn security(
        &self,
        id: &IdAddress,
        key: PeerKey,
        pinned: Option<PublicKey>,
    ) -> Result<(Security, Option<PublicKey>), RemoteError> {
        let key = match (key, pinned) {
            (PeerKey::Signed(offered), Some(pinned)) if offered != pinned => {
                return Err(RemoteError::PeerKeyChanged {
                    pinned: pinned.to_base64(),
                    offered: offered.to_base64(),
                });
            }
            (PeerKey::Signed(key) | PeerKey::Pinned(key), _) => key,
            (PeerKey::Unknown, _) if self.allow_unencrypted => return Ok((Security::Declined, None)),
            (PeerKey::Unknown, _) => return Err(RemoteError::NotEncrypted),
        };
        let (secret, session_key) = (rand::random(), rand::random());
        Ok((Security::Sealed { id: id.id.clone(), key, secret, session_key }, Some(key)))
    }
}

async fn direct(host: &str, port: u16) -> Result<Dialled, RemoteError> {
    let typed = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let stream =
        net::connect(host, port, CONNECT_TIMEOUT).await.map_err(|e| unreachable(typed.clone(), &e))?;
    Ok(Dialled {
        link: Link::tcp(stream, FIRST_LIMIT),
        path: Path::Direct,
        host_id: typed,
        security: Security::Plain,
        key: None,
        pin: None,
    })
}

/// Does what the machine wants until there is a path that the peer has spoken on.
struct Attempt {
    dial: Dial,
    server: Server,
    /// Local addresses of connections to hbbs.
    locals: HashMap<ConnId, SocketAddr>,
    /// The one connection that is open.
    open: Option<(ConnId, Link)>,
}

impl Attempt {
    async fn run(&mut self) -> Result<(Link, Path, PeerKey), RemoteError> {
        self.dial.start(Instant::now());
        loop {
            while let Some(output) = self.dial.poll_output() {
                if let Some(found) = self.output(output).await? {
                    return Ok(found);
                }
            }
            self.wait().await;
        }
    }

    /// Something happens on the connection, or time passes.
    async fn wait(&mut self) {
        let due = self.dial.poll_timeout();
        let due = async {
            match due {
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let Some((conn, link)) = &mut self.open else {
            due.await;
            return self.dial.handle_timeout(Instant::now());
        };
        let conn = *conn;
        tokio::select! {
            incoming = link.next() => match incoming {
                Incoming::Packet(packet) => self.dial.handle_packet(conn, packet, Instant::now()),
                Incoming::Flushed => {}
                Incoming::Ended(_) => {
                    self.open = None;
                    self.dial.handle_closed(conn);
                }
            },
            () = due => self.dial.handle_timeout(Instant::now()),
        }
    }

    async fn output(&mut self, output: Output) -> Result<Option<(Link, Path, PeerKey)>, RemoteError> {
        match output {
            Output::ConnectServer { conn } => {
                let link = connect(&self.server.address, RENDEZVOUS_PORT, SERVER_LIMIT).await;
                self.connected(conn, link);
            }
            Output::ConnectPeer { conn, to, like, patience } => {
                let link = match self.locals.get(&like) {
                    Some(local) => net::connect_from(*local, to, patience).await,
                    None => net::connect(&to.ip().to_string(), to.port(), patience).await,
                };
                self.connected(conn, link.map(|stream| Link::tcp(stream, FIRST_LIMIT)));
            }
            Output::ConnectRelay { conn, relay } => {
                let relay = self.relay_endpoint(&relay);
                let link = connect(&relay, RELAY_PORT, FIRST_LIMIT).await;
                self.connected(conn, link);
            }
            Output::Send { conn, packet } => {
                if let Some((_, link)) = self.open.as_mut().filter(|(open, _)| *open == conn) {
                    link.queue(&packet);
                }
            }
            Output::Close { conn } => {
                self.open.take_if(|(open, _)| *open == conn);
            }
            Output::Done { conn, path, key } => {
                let Some((_, link)) = self.open.take_if(|(open, _)| *open == conn) else {
                    return Err(RemoteError::Unreachable {
                        address: self.server.address.clone(),
                        reason: "the path ended as it was found".into(),
                    });
                };
                return match first_packet(link).await {
                    Ok(link) => Ok(Some((link, path, key))),
                    Err(reason) if path == Path::Relayed => {
                        tracing::debug!(reason, "the relay ended before the peer's first byte");
                        self.dial.handle_relay_cut();
                        Ok(None)
                    }
                    Err(reason) => {
                        Err(RemoteError::Unreachable { address: self.server.address.clone(), reason })
                    }
                };
            }
            Output::Failed(error) => return Err(dial_error(error, &self.server.address, self.dial.id())),
        }
        Ok(None)
    }

    fn connected(&mut self, conn: ConnId, link: io::Result<Link>) {
        match link {
            Ok(link) => {
                if let Ok(local) = link.local_addr() {
                    self.locals.insert(conn, local);
                }
                self.open = Some((conn, link));
                self.dial.handle_connected(conn, Instant::now());
            }
            Err(e) => self.dial.handle_connect_failed(conn, &e.to_string()),
        }
    }

    /// A server spoken to over WebSocket has its relay there too (rendezvous §2.4).
    fn relay_endpoint(&self, relay: &str) -> String {
        if !is_web_socket(&self.server.address) || is_web_socket(relay) {
            return relay.into();
        }
        match split_host_port(relay, RELAY_PORT) {
            Some((host, port)) if host.contains(':') => format!("ws://[{host}]:{}/", port.saturating_add(2)),
            Some((host, port)) => format!("ws://{host}:{}/", port.saturating_add(2)),
            None => relay.into(),
        }
    }
}

/// The peer speaks first, whatever the path: waits for that, so that a dead path is noticed here.
async fn first_packet(mut link: Link) -> Result<Link, String> {
    let waiting = async {
        loop {
            match link.next().await {
                Incoming::Packet(packet) => {
                    link.unread(packet);
                    return Ok(());
                }
                Incoming::Flushed => {}
                Incoming::Ended(reason) => return Err(reason),
            }
        }
    };
    match timeout(CONNECT_TIMEOUT, waiting).await {
        Ok(Ok(())) => Ok(link),
        Ok(Err(reason)) => Err(reason),
        Err(_) => Err("the peer did not begin".into()),
    }
}

async fn connect(address: &str, default_port: u16, limit: usize) -> io::Result<Link> {
    if is_web_socket(address) {
        return net::connect_web_socket(address, limit, CONNECT_TIMEOUT).await;
    }
    let (host, port) = split_host_port(address, default_port).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{address:?} is no host and port"))
    })?;
    Ok(Link::tcp(net::connect(&host, port, CONNECT_TIMEOUT).await?, limit))
}

fn is_web_socket(address: &str) -> bool {
    address.starts_with("ws://") || address.starts_with("wss://")
}

/// Where the relay of a server is if nobody says: beside it (rendezvous §5.16).
fn default_relay(server: &str) -> String {
    if let Some(rest) = server.strip_prefix("ws://") {
        let authority = rest.split('/').next().unwrap_or_default();
        // hbbs's WebSocket port is two above its own, hbbr's one above that.
        return match split_host_port(authority, RENDEZVOUS_PORT + 2) {
            Some((host, port)) => joined(&host, port.saturating_sub(1)),
            None => String::new(),
        };
    }
    match split_host_port(server, RENDEZVOUS_PORT) {
        Some((host, port)) => joined(&host, port.saturating_add(1)),
        None => String::new(),
    }
}

fn joined(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// A version 4 UUID.
fn uuid_text(mut random: [u8; 16]) -> String {
    random[6] = random[6] & 0x0F | 0x40;
    random[8] = random[8] & 0x3F | 0x80;
    let hex: String = random.iter().map(|b| format!("{b:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_of_version_4() {
        assert_eq!(uuid_text([0xFF; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uuid_text([0; 16]), "00000000-0000-4000-8000-000000000000");
    }

    #[test]
    fn the_relay_is_beside_the_server() {
        assert_eq!(default_relay("h.example"), "h.example:21117");
        assert_eq!(default_relay("10.0.0.1:2000"), "10.0.0.1:2001");
        assert_eq!(default_relay("[::1]:2000"), "[::1]:2001");
        assert_eq!(default_relay("ws://10.0.0.1:21118/"), "10.0.0.1:21117");
    }
}
