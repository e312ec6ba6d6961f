//! Packets on a connection: length-prefixed on TCP, binary messages on WebSocket.

use crate::broker::Port;
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use hbb_common::addr::normalize_ip;
use hbb_common::packet::{Deframer, FrameError, header};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderMap;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

/// Longest packet that anybody may send. The longest usual one, a request with an access token, has about
/// two KiB.
pub(super) const PACKET_LIMIT: usize = 4 << 10;
/// Longest packet of those that hold one of few permits.
pub(super) const LONG_PACKET_LIMIT: usize = 64 << 10;

/// Read at a time.
const READ: usize = 2 << 10;

/// Why there is no further packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The other side has left, or the network has.
    Left,
    /// What came is no packet, or too long.
    Malformed,
}

/// A connection as packets.
pub(super) enum Wire {
    Tcp(Tcp),
    WebSocket(Box<WebSocketStream<TcpStream>>),
}

/// See [`Wire`].
pub(super) struct Tcp {
    socket: TcpStream,
    deframer: Deframer,
    long_packets: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Wire {
    /// The connection and whose it is, after a handshake if it takes one.
    pub(super) async fn open(
        socket: TcpStream,
        addr: SocketAddr,
        port: Port,
        trusted: &[IpAddr],
        long_packets: &Arc<Semaphore>,
    ) -> Option<(Self, SocketAddr)> {
        if port != Port::WebSocket {
            let deframer = Deframer::new(PACKET_LIMIT);
            let long_packets = Arc::clone(long_packets);
            return Some((Self::Tcp(Tcp { socket, deframer, long_packets, permit: None }), addr));
        }
        let mut addr = addr;
        #[expect(clippy::result_large_err, reason = "the library's signature")]
        let note_client = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
            if trusted.contains(&addr.ip())
                && let Some(client) = forwarded_for(request.headers(), trusted)
            {
                addr = SocketAddr::new(client, 0);
            }
            Ok(response)
        };
        let config = WebSocketConfig::default()
            .read_buffer_size(READ)
            .write_buffer_size(0)
            .max_write_buffer_size(LONG_PACKET_LIMIT)
            .max_message_size(Some(PACKET_LIMIT))
            .max_frame_size(Some(PACKET_LIMIT));
        let stream = accept_hdr_async_with_config(socket, note_client, Some(config)).await.ok()?;
        Some((Self::WebSocket(Box::new(stream)), addr))
    }

    /// The next packet. Nothing is lost if this is dropped before it is ready.
    pub(super) async fn next(&mut self) -> Result<Bytes, End> {
        match self {
            Self::Tcp(tcp) => tcp.next().await,
            Self::WebSocket(stream) => loop {
                match stream.next().await {
                    Some(Ok(Message::Binary(packet))) => return Ok(packet),
                    // The library answers pings; texts mean nothing here.
                    Some(Ok(Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                    Some(Ok(Message::Close(_))) | None => return Err(End::Left),
                    Some(Err(WebSocketError::Capacity(_) | WebSocketError::Protocol(_))) => {
                        return Err(End::Malformed);
                    }
                    Some(Err(_)) => return Err(End::Left),
                }
            },
        }
    }

    pub(super) async fn send(&mut self, packet: Bytes) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => {
                let (head, size) = header(packet.len());
                let framed = [&head[..size], &packet].concat();
                tcp.socket.write_all(&framed).await
            }
            Self::WebSocket(stream) => stream.send(Message::Binary(packet)).await.map_err(io::Error::other),
        }
    }

    /// Says that nothing more comes. Whether the other side hears it does not matter.
    pub(super) async fn close(&mut self) {
        match self {
            Self::Tcp(tcp) => drop(tcp.socket.shutdown().await),
            Self::WebSocket(stream) => drop(stream.close().await),
        }
    }
}

impl Tcp {
    async fn next(&mut self) -> Result<Bytes, End> {
        loop {
            match self.deframer.next_packet() {
                Ok(Some(packet)) => return Ok(packet),
                Ok(None) => {}
                Err(FrameError::TooLong { announced, .. }) => {
                    self.permit_long(announced)?;
                    continue;
                }
            }
            // No buffer while nothing comes: connections that say nothing cost little.
            self.socket.readable().await.map_err(|_| End::Left)?;
            let buffer = self.deframer.buffer();
            buffer.reserve(READ);
            match self.socket.try_read_buf(buffer) {
                Ok(0) => return Err(End::Left),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(End::Left),
            }
        }
    }

    fn permit_long(&mut self, announced: usize) -> Result<(), End> {
        if announced > LONG_PACKET_LIMIT || self.permit.is_some() {
            return Err(End::Malformed);
        }
        let permit = Arc::clone(&self.long_packets).try_acquire_owned().map_err(|_| End::Malformed)?;
        self.permit = Some(permit);
        self.deframer.set_limit(LONG_PACKET_LIMIT);
        Ok(())
    }
}

/// The client that a trusted proxy speaks for: `X-Real-IP`, or the last address in `X-Forwarded-For` that
/// is not a trusted proxy's, because the first ones are whatever the client claims.
fn forwarded_for(headers: &HeaderMap, trusted: &[IpAddr]) -> Option<IpAddr> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let parse = |text: &str| text.trim().parse().ok().map(normalize_ip);
    if let Some(real) = text("x-real-ip").and_then(parse) {
        return Some(real);
    }
    let mut hops = text("x-forwarded-for")?.rsplit(',').map_while(parse);
    hops.find(|hop| !trusted.contains(hop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_a_proxy_speaks_for() {
        let trusted: Vec<IpAddr> = vec!["10.0.0.9".parse().unwrap()];
        let client = |rows: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in rows {
                headers.insert(*name, value.parse().unwrap());
            }
            forwarded_for(&headers, &trusted).map(|ip| ip.to_string())
        };
        assert_eq!(client(&[]), None);
        assert_eq!(client(&[("x-real-ip", "192.0.2.1")]).as_deref(), Some("192.0.2.1"));
        assert_eq!(client(&[("x-real-ip", "::ffff:192.0.2.1")]).as_deref(), Some("192.0.2.1"));
        assert_eq!(
            client(&[("x-real-ip", "nonsense"), ("x-forwarded-for", "1.1.1.1, 192.0.2.2, 10.0.0.9")])
                .as_deref(),
            Some("192.0.2.2")
        );
        assert_eq!(client(&[("x-forwarded-for", "192.0.2.2, nonsense")]), None);
    }
}
