//! Sockets: to a name, from a given port, with or without a WebSocket on top.

use crate::link::Link;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// Connects to the first address of the name that answers. The local port can be used again for punching.
pub(crate) async fn connect(host: &str, port: u16, patience: Duration) -> io::Result<TcpStream> {
    let attempt = async {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in lookup_host((host, port)).await? {
            match socket(address)?.connect(address).await {
                Ok(stream) => return ready(stream),
                Err(e) => last = e,
            }
        }
        Err(last)
    };
    within(patience, attempt).await
}

/// Connects from a local address that another socket of ours uses or used.
pub(crate) async fn connect_from(
    local: SocketAddr,
    to: SocketAddr,
    patience: Duration,
) -> io::Result<TcpStream> {
    let attempt = async {
        let socket = socket(to)?;
        socket.bind(local)?;
        ready(socket.connect(to).await?)
    };
    within(patience, attempt).await
}

/// Speaks WebSocket over a new connection. TLS is not built in.
pub(crate) async fn connect_web_socket(url: &str, limit: usize, patience: Duration) -> io::Result<Link> {
    let bad = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{url}: {why}"));
    let rest = url.strip_prefix("ws://").ok_or_else(|| bad("only ws:// is built in"))?;
    let authority = rest.split('/').next().unwrap_or_default();
    let (host, port) =
        hbb_common::addr::split_host_port(authority, 80).ok_or_else(|| bad("no host and port"))?;
    let attempt = async {
        let stream = connect(&host, port, patience).await?;
        let config = WebSocketConfig::default().max_message_size(Some(limit)).max_frame_size(Some(limit));
        let (stream, _) = tokio_tungstenite::client_async_with_config(url, stream, Some(config))
            .await
            .map_err(io::Error::other)?;
        Ok(Link::web_socket(stream, limit))
    };
    within(patience, attempt).await
}

fn socket(to: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    #[cfg(unix)]
    socket.set_reuseport(true)?;
    Ok(socket)
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
