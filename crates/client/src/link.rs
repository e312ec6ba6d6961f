//! One stream to a peer or a server, in packets.

use bytes::{Bytes, BytesMut};
use futures_util::{Sink, Stream};
use hbb_common::packet::{self, Deframer};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error as WsError, Message as WsMessage};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// What is asked of the system for a read, at least.
const READ_SIZE: usize = 16 << 10;

/// A peer that takes nothing while this much waits for it is gone.
const MAX_UNSENT: usize = 32 << 20;

type Web = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How long a farewell may take.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// What happened on the stream.
#[derive(Debug)]
pub(crate) enum Incoming {
    Packet(Bytes),
    /// More of what was queued was handed to the network.
    Flushed,
    Ended(String),
}

/// A stream that reads and writes at the same time, so that neither side can block the other.
#[derive(Debug)]
pub(crate) struct Link {
    stream: Packets,
    /// Packets read ahead.
    unread: VecDeque<Bytes>,
    /// What was queued and what was handed to the network, since the start; in bytes on TCP, in packets on
    /// WebSocket.
    queued: u64,
    flushed: u64,
}

#[derive(Debug)]
enum Packets {
    Tcp { stream: TcpStream, deframer: Deframer, out: BytesMut },
    WebSocket { stream: Box<Web>, out: VecDeque<Bytes>, bytes: usize, limit: usize },
}

impl Link {
    /// `limit`: the longest packet accepted.
    pub(crate) fn tcp(stream: TcpStream, limit: usize) -> Self {
        Self::new(Packets::Tcp { stream, deframer: Deframer::new(limit), out: BytesMut::new() })
    }

    pub(crate) fn web_socket(stream: Web, limit: usize) -> Self {
        let stream = Box::new(stream);
        Self::new(Packets::WebSocket { stream, out: VecDeque::new(), bytes: 0, limit })
    }

    fn new(stream: Packets) -> Self {
        Self { stream, unread: VecDeque::new(), queued: 0, flushed: 0 }
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.stream {
            Packets::Tcp { stream, .. } => stream.local_addr(),
            Packets::WebSocket { stream, .. } => match stream.get_ref() {
                MaybeTlsStream::Plain(stream) => stream.local_addr(),
                MaybeTlsStream::Rustls(stream) => stream.get_ref().0.local_addr(),
                _ => Err(io::ErrorKind::Unsupported.into()),
            },
        }
    }

    pub(crate) fn set_limit(&mut self, to: usize) {
        match &mut self.stream {
            Packets::Tcp { deframer, .. } => deframer.set_limit(to),
            Packets::WebSocket { limit, .. } => *limit = to,
        }
    }

    /// Queues a packet; [`next`](Self::next) sends it.
    pub(crate) fn queue(&mut self, payload: &Bytes) {
        match &mut self.stream {
            Packets::Tcp { out, .. } => {
                let before = out.len();
                packet::encode(payload, out);
                self.queued += (out.len() - before) as u64;
            }
            Packets::WebSocket { out, bytes, .. } => {
                out.push_back(payload.clone());
                *bytes += payload.len();
                self.queued += 1;
            }
        }
    }

    /// Where the queue ends now; reached when [`flushed`](Self::flushed) is at least that.
    pub(crate) fn mark(&self) -> u64 {
        self.queued
    }

    pub(crate) fn flushed(&self) -> u64 {
        self.flushed
    }

    /// Gives a packet back, to be the next one.
    pub(crate) fn unread(&mut self, packet: Bytes) {
        self.unread.push_front(packet);
    }

    /// Reads and writes until something is to be told. Cancel safe.
    pub(crate) async fn next(&mut self) -> Incoming {
        if let Some(packet) = self.unread.pop_front() {
            return Incoming::Packet(packet);
        }
        match &mut self.stream {
            Packets::Tcp { stream, deframer, out } => {
                tcp_next(stream, deframer, out, &mut self.flushed).await
            }
            Packets::WebSocket { stream, out, bytes, limit } => {
                let flushed = &mut self.flushed;
                std::future::poll_fn(|cx| web_socket_next(cx, stream, out, bytes, *limit, flushed)).await
            }
        }
    }

    /// Sends what is queued, ends the stream and waits for the other side to do the same, for a second at
    /// most.
    pub(crate) async fn close(mut self) {
        let farewell = async {
            while self.flushed < self.queued {
                if let Incoming::Ended(_) = self.next().await {
                    return;
                }
            }
            let ended = match &mut self.stream {
                Packets::Tcp { stream, .. } => stream.shutdown().await.is_err(),
                Packets::WebSocket { stream, .. } => stream.close(None).await.is_err(),
            };
            if ended {
                return;
            }
            while !matches!(self.next().await, Incoming::Ended(_)) {}
        };
        if timeout(CLOSE_PATIENCE, farewell).await.is_err() {
            tracing::debug!("the peer did not end its side of the stream");
        }
    }
}

async fn tcp_next(
    stream: &mut TcpStream,
    deframer: &mut Deframer,
    out: &mut BytesMut,
    flushed: &mut u64,
) -> Incoming {
    loop {
        match deframer.next_packet() {
            Ok(Some(packet)) => return Incoming::Packet(packet),
            Ok(None) => {}
            Err(e) => return Incoming::Ended(e.to_string()),
        }
        if out.len() > MAX_UNSENT {
            return Incoming::Ended("the peer reads nothing".into());
        }
        let (mut reader, mut writer) = stream.split();
        deframer.buffer().reserve(READ_SIZE);
        tokio::select! {
            read = reader.read_buf(deframer.buffer()) => match read {
                Ok(0) => return Incoming::Ended("the peer closed it".into()),
                Ok(_) => {}
                Err(e) => return Incoming::Ended(e.to_string()),
            },
            written = writer.write_buf(out), if !out.is_empty() => match written {
                Ok(n) => {
                    *flushed += n as u64;
                    return Incoming::Flushed;
                }
                Err(e) => return Incoming::Ended(e.to_string()),
            },
        }
    }
}

fn web_socket_next(
    cx: &mut Context<'_>,
    stream: &mut Web,
    out: &mut VecDeque<Bytes>,
    bytes: &mut usize,
    limit: usize,
    flushed: &mut u64,
) -> Poll<Incoming> {
    let ended = |e: WsError| Poll::Ready(Incoming::Ended(e.to_string()));
    if *bytes > MAX_UNSENT {
        return Poll::Ready(Incoming::Ended("the peer reads nothing".into()));
    }
    let mut stream = Pin::new(stream);
    let mut handed_over = 0;
    while !out.is_empty() {
        match stream.as_mut().poll_ready(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(e)) => return ended(e),
            Poll::Pending => break,
        }
        let Some(packet) = out.pop_front() else { break };
        *bytes -= packet.len();
        if let Err(e) = stream.as_mut().start_send(WsMessage::Binary(packet)) {
            return ended(e);
        }
        handed_over += 1;
    }
    match stream.as_mut().poll_flush(cx) {
        Poll::Ready(Err(e)) => return ended(e),
        Poll::Ready(Ok(())) | Poll::Pending => {}
    }
    if handed_over > 0 {
        *flushed += handed_over;
        return Poll::Ready(Incoming::Flushed);
    }
    loop {
        return match stream.as_mut().poll_next(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => Poll::Ready(Incoming::Ended("the peer closed it".into())),
            Poll::Ready(Some(Err(e))) => ended(e),
            Poll::Ready(Some(Ok(WsMessage::Binary(packet)))) if packet.len() > limit => Poll::Ready(
                Incoming::Ended(format!("packet of {} bytes is over the limit of {limit}", packet.len())),
            ),
            Poll::Ready(Some(Ok(WsMessage::Binary(packet)))) => Poll::Ready(Incoming::Packet(packet)),
            Poll::Ready(Some(Ok(_))) => continue,
        };
    }
}
