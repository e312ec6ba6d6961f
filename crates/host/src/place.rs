//! Where the server and its relay are, and how to connect there.

use crate::config::ServerConfig;
use crate::transport::{Transport, TransportError, connect_web};
use hbb_common::addr::split_host_port;
use hbb_common::defaults::{CONNECT_TIMEOUT, RELAY_PORT, RENDEZVOUS_PORT};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::net::{TcpSocket, TcpStream};

/// WebSocket ports are this much above the TCP ones (rendezvous §3).
const WEB_OFFSET: u16 = 2;

/// A server as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    server: Endpoint,
    /// The relay to use whatever the server says.
    relay: Option<Endpoint>,
    tcp: bool,
    pub(crate) key: String,
    pub(crate) force_relay: bool,
}

/// One address to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The path of a WebSocket address; `None` for plain TCP.
    web: Option<String>,
}

impl Endpoint {
    /// `host`, `host:port` or `ws://host[:port][/path]`.
    fn parse(text: &str, default_port: u16) -> Option<Self> {
        let Some(rest) = text.strip_prefix("ws://") else {
            let (host, port) = split_host_port(text, default_port)?;
            return Some(Self { host, port, web: None });
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let (host, port) = split_host_port(authority, 80)?;
        Some(Self { host, port, web: Some(path.into()) })
    }

    async fn resolve(&self) -> io::Result<SocketAddr> {
        let mut found = tokio::net::lookup_host((&self.host[..], self.port)).await?;
        found.next().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))
    }

    /// Packets over `limit` bytes end the connection.
    pub(crate) async fn connect(&self, limit: usize) -> Result<Transport, TransportError> {
        let connecting = async {
            let stream = TcpStream::connect(self.resolve().await?).await?;
            match &self.web {
                None => Ok(Transport::tcp(stream, limit)),
                Some(path) => {
                    let host =
                        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
                    let url = format!("ws://{host}:{}{path}", self.port);
                    Ok(Transport::web(connect_web(&url, stream, limit).await?))
                }
            }
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(done) => done,
            Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match &self.web {
            None => write!(f, "{host}:{}", self.port),
            Some(path) => write!(f, "ws://{host}:{}{path}", self.port),
        }
    }
}

impl Place {
    pub(crate) fn parse(config: &ServerConfig) -> Option<Self> {
        let relay = match &config.relay {
            Some(text) => Some(Endpoint::parse(text, RELAY_PORT)?),
            None => None,
        };
        Some(Self {
            server: Endpoint::parse(&config.address, RENDEZVOUS_PORT)?,
            relay,
            tcp: config.tcp,
            key: config.key.clone(),
            force_relay: config.force_relay,
        })
    }

    pub(crate) fn is_web(&self) -> bool {
        self.server.web.is_some()
    }

    /// Whether registration is a connection in place of datagrams.
    pub(crate) fn is_stream(&self) -> bool {
        self.tcp || self.is_web()
    }

    pub(crate) async fn resolve(&self) -> io::Result<SocketAddr> {
        self.server.resolve().await
    }

    pub(crate) async fn connect(&self, limit: usize) -> Result<Transport, TransportError> {
        self.server.connect(limit).await
    }

    /// Connects to the server by TCP from a port that can be listened on at the same time.
    pub(crate) async fn connect_shared(&self) -> io::Result<TcpStream> {
        let addr = self.resolve().await?;
        let any: IpAddr =
            if addr.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = own_port_socket(any)?;
        match tokio::time::timeout(CONNECT_TIMEOUT, socket.connect(addr)).await {
            Ok(connected) => connected,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Which relay to meet a client at: the configured one, else the one that was named, else the one
    /// beside the server (rendezvous §5.16).
    pub(crate) fn relay(&self, named: &str) -> Endpoint {
        if let Some(relay) = &self.relay {
            return relay.clone();
        }
        let beside = || Endpoint { host: self.server.host.clone(), port: self.beside_port(), web: None };
        let relay = Endpoint::parse(named, RELAY_PORT).unwrap_or_else(beside);
        if self.is_web() && relay.web.is_none() { self.web_relay(relay) } else { relay }
    }

    fn beside_port(&self) -> u16 {
        let web = if self.is_web() { WEB_OFFSET } else { 0 };
        self.server.port.wrapping_sub(web).wrapping_add(1)
    }

    /// The WebSocket door of a relay: behind a proxy beside the server's, else two ports up.
    fn web_relay(&self, relay: Endpoint) -> Endpoint {
        match self.server.web.as_deref() {
            Some(path) if path != "/" => {
                let path = path
                    .strip_suffix("/id")
                    .map_or_else(|| "/ws/relay".into(), |base| format!("{base}/relay"));
                Endpoint { host: self.server.host.clone(), port: self.server.port, web: Some(path) }
            }
            _ => Endpoint { port: relay.port.wrapping_add(WEB_OFFSET), web: Some("/".into()), ..relay },
        }
    }
}

/// A TCP socket on a port that no other socket has, and that others may be bound to from now on. With the
/// options set before, the kernel could give a port that another punch is using.
fn own_port_socket(ip: IpAddr) -> io::Result<TcpSocket> {
    let addr = SocketAddr::new(ip, 0);
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    Ok(TcpSocket::from_std_stream(socket.into()))
}

/// A TCP socket bound so that others can be bound to the same port.
pub(crate) fn shared_socket(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(TcpSocket::from_std_stream(socket.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(address: &str, relay: Option<&str>) -> Place {
        let config = ServerConfig {
            address: address.into(),
            key: "k".into(),
            relay: relay.map(Into::into),
            tcp: false,
            force_relay: false,
        };
        Place::parse(&config).unwrap()
    }

    #[test]
    fn relays_are_chosen_by_option_then_by_name_then_beside_the_server() {
        let relay = |server, option, named| place(server, option).relay(named).to_string();
        assert_eq!(relay("h.example", None, ""), "h.example:21117");
        assert_eq!(relay("h.example:5000", None, ""), "h.example:5001");
        assert_eq!(relay("h.example", None, "r.example"), "r.example:21117");
        assert_eq!(relay("h.example", None, "r.example:7"), "r.example:7");
        assert_eq!(relay("h.example", Some("own.example"), "r.example:7"), "own.example:21117");
        assert_eq!(relay("[::1]:21116", None, ""), "[::1]:21117");
    }

    #[test]
    fn web_servers_have_web_relays() {
        let relay = |server, option, named| place(server, option).relay(named).to_string();
        assert_eq!(relay("ws://10.0.0.1:21118", None, ""), "ws://10.0.0.1:21119/");
        assert_eq!(relay("ws://10.0.0.1:21118", None, "10.0.0.2:21117"), "ws://10.0.0.2:21119/");
        assert_eq!(relay("ws://h.example/ws/id", None, "10.0.0.2:21117"), "ws://h.example:80/ws/relay");
        assert_eq!(relay("ws://h.example", Some("ws://r.example:8000/x"), ""), "ws://r.example:8000/x");
        assert!(place("ws://h.example", None).is_stream());
    }

    #[test]
    fn addresses_that_are_none() {
        for text in ["", "a:b:c", "h:99999", "ws://", "ws://:1"] {
            assert_eq!(Endpoint::parse(text, 1), None, "{text}");
        }
    }
}
