//! Sockets: to a name, from a given port, with or without a WebSocket on top.

use crate::link::Link;
use crate::place::WebAddress;
use crate::tls;
use hbb_common::addr::split_host_port;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_tungstenite::client_async_tls_with_config;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// Connects to a server: `host`, `host:port`, or a WebSocket address. Packets over `limit` bytes end it.
pub(crate) async fn connect_to(
    address: &str,
    default_port: u16,
    limit: usize,
    patience: Duration,
) -> io::Result<Link> {
    if let Some(web) = WebAddress::parse(address) {
        return connect_web_socket(&web, limit, patience).await;
    }
    let (host, port) = split_host_port(address, default_port).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{address:?} is no host and port"))
    })?;
    Ok(Link::tcp(connect(&host, port, patience).await?, limit))
}

/// Connects to the first address of the name that answers. The local port is this connection's alone, and
/// can be used again for punching.
pub(crate) async fn connect(host: &str, port: u16, patience: Duration) -> io::Result<TcpStream> {
    let attempt = async {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in lookup_host((host, port)).await? {
            match own_port_socket(address)?.connect(address).await {
                Ok(stream) => return ready(stream),
                Err(e) => last = e,
            }
        }
        Err(last)
    };
    within(patience, attempt).await
}

/// Connects from the local address of another socket that [`connect`] made.
pub(crate) async fn connect_from(
    local: SocketAddr,
    to: SocketAddr,
    patience: Duration,
) -> io::Result<TcpStream> {
    let attempt = async {
        let socket = socket(to)?;
        share(&socket)?;
        socket.bind(&local.into())?;
        ready(TcpSocket::from_std_stream(socket.into()).connect(to).await?)
    };
    within(patience, attempt).await
}

/// Speaks WebSocket over a new connection.
async fn connect_web_socket(web: &WebAddress, limit: usize, patience: Duration) -> io::Result<Link> {
    let attempt = async {
        let connector = tls::connector(web.secure)?;
        let stream = connect(&web.host, web.port, patience).await?;
        let config = WebSocketConfig::default().max_message_size(Some(limit)).max_frame_size(Some(limit));
        let handshake = client_async_tls_with_config(web.url(), stream, Some(config), Some(connector));
        let (stream, _) = Box::pin(handshake).await.map_err(io::Error::other)?;
        Ok(Link::web_socket(stream, limit))
    };
    within(patience, attempt).await
}

fn socket(to: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A socket on a port that no other socket has. A port chosen by `connect` may also be that of a foreign
/// connection to somewhere else, and then nothing more can be bound to it: on a machine with many
/// connections every other punch failed that way.
fn own_port_socket(to: SocketAddr) -> io::Result<TcpSocket> {
    let socket = socket(to)?;
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    socket.bind(&SocketAddr::new(any, 0).into())?;
    share(&socket)?;
    Ok(TcpSocket::from_std_stream(socket.into()))
}

/// Lets other sockets of ours have the same port.
fn share(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    Ok(())
}

fn ready(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn within<T>(patience: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match timeout(patience, work).await {
        Ok(result) => result,
        Err(_) => {
            let why = format!("no answer within {} ms", patience.as_millis());
            Err(io::Error::new(io::ErrorKind::TimedOut, why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Most ports that the kernel gives to connections are taken by foreign ones; sharing a port with such
    /// a one was how the direct path got lost.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_port_can_be_used_again_among_many_foreign_connections() {
        let foreign = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = foreign.local_addr().unwrap();
        let held: Vec<_> = (0..400)
            .map(|_| (std::net::TcpStream::connect(to).unwrap(), foreign.accept().unwrap()))
            .collect();
        let (server, peer) =
            (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let port = server.local_addr().unwrap().port();
        for _ in 0..100 {
            let first = connect("127.0.0.1", port, PATIENCE).await.unwrap();
            let local = first.local_addr().unwrap();
            let clashes = held.iter().filter(|(held, _)| held.local_addr().unwrap() == local).count();
            assert_eq!(clashes, 0);
            let second = connect_from(local, peer.local_addr().unwrap(), PATIENCE).await.unwrap();
            assert_eq!(second.local_addr().unwrap(), local);
        }
    }
}
