//! A connection that carries packets: framed TCP, or binary WebSocket messages.
//!
//! Reading and writing are one step of one task, so that a client that is slow to read can still act, and
//! nothing has to be shared between tasks.

use bytes::{Bytes, BytesMut};
use futures_util::{Sink as _, Stream as _};
use hbb_common::packet::{self, Deframer};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, Message, protocol::WebSocketConfig};

/// What waits to be sent may not take longer than this (session §3.6).
pub(crate) const SEND_TIMEOUT: Duration = Duration::from_secs(12);

/// With this much unsent, nothing more is read: whoever does not take his answers gets no new ones.
const MOST_UNSENT: usize = 1 << 20;

const READ_AHEAD: usize = 16 * 1024;

/// Payloads up to this length travel behind their header in one piece.
const GLUED: usize = 1024;

/// Pieces handed to the kernel at once.
const GATHERED: usize = 16;

#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    #[error("the other side closed the connection")]
    Closed,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] packet::FrameError),
    #[error(transparent)]
    WebSocket(#[from] Box<tungstenite::Error>),
}

/// What a step came to.
#[derive(Debug)]
pub(crate) enum Step {
    Packet(Bytes),
    /// Everything queued is with the kernel.
    Sent,
}

#[derive(Debug)]
pub(crate) struct Transport {
    link: Link,
    out: VecDeque<Bytes>,
    unsent: usize,
    sending_since: Option<Instant>,
}

#[derive(Debug)]
enum Link {
    Tcp { stream: TcpStream, deframer: Deframer },
    Web(Box<WebSocketStream<TcpStream>>),
}

impl Transport {
    /// Packets over `limit` bytes end it.
    pub(crate) fn tcp(stream: TcpStream, limit: usize) -> Self {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "small packets of this connection may wait");
        }
        Self::new(Link::Tcp { stream, deframer: Deframer::new(limit) })
    }

    pub(crate) fn web(stream: WebSocketStream<TcpStream>) -> Self {
        Self::new(Link::Web(Box::new(stream)))
    }

    fn new(link: Link) -> Self {
        Self { link, out: VecDeque::new(), unsent: 0, sending_since: None }
    }

    /// The limit from now on. WebSocket messages keep the limit they were configured with.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        if let Link::Tcp { deframer, .. } = &mut self.link {
            deframer.set_limit(limit);
        }
    }

    /// Takes a payload to be sent; [`step`](Self::step) sends it.
    pub(crate) fn queue(&mut self, payload: Bytes, now: Instant) {
        self.sending_since.get_or_insert(now);
        match &self.link {
            Link::Tcp { .. } if payload.len() <= GLUED => {
                let mut glued = BytesMut::new();
                packet::encode(&payload, &mut glued);
                self.push(glued.freeze());
            }
            Link::Tcp { .. } => {
                let (header, size) = packet::header(payload.len());
                self.push(Bytes::copy_from_slice(&header[..size]));
                self.push(payload);
            }
            Link::Web(_) => self.push(payload),
        }
    }

    fn push(&mut self, piece: Bytes) {
        self.unsent += piece.len();
        self.out.push_back(piece);
    }

    /// Whether all of it is with the kernel.
    pub(crate) fn is_sent(&self) -> bool {
        self.sending_since.is_none()
    }

    /// When the other side has been too slow to read.
    pub(crate) fn send_deadline(&self) -> Option<Instant> {
        self.sending_since.map(|since| since + SEND_TIMEOUT)
    }

    /// Sends what is queued and waits for a packet. Cancel safe.
    pub(crate) async fn step(&mut self) -> Result<Step, TransportError> {
        let Self { link, out, unsent, sending_since } = self;
        match link {
            Link::Tcp { stream, deframer } => step_tcp(stream, deframer, out, unsent, sending_since).await,
            Link::Web(stream) => poll_fn(|cx| step_web(stream, out, unsent, sending_since, cx)).await,
        }
    }

    /// Sends what is queued, reading nothing. Cancel safe.
    pub(crate) async fn finish(&mut self) -> Result<(), TransportError> {
        let Self { link, out, unsent, sending_since } = self;
        match link {
            Link::Tcp { stream, .. } => {
                while !out.is_empty() {
                    stream.writable().await?;
                    write_some(stream, out, unsent)?;
                }
                *sending_since = None;
                Ok(())
            }
            Link::Web(stream) => {
                poll_fn(|cx| flush_web(stream, out, unsent, cx)).await?;
                *sending_since = None;
                poll_fn(|cx| Pin::new(&mut **stream).poll_close(cx)).await.map_err(Box::new)?;
                Ok(())
            }
        }
    }
}

async fn step_tcp(
    stream: &mut TcpStream,
    deframer: &mut Deframer,
    out: &mut VecDeque<Bytes>,
    unsent: &mut usize,
    sending_since: &mut Option<Instant>,
) -> Result<Step, TransportError> {
    loop {
        if let Some(packet) = deframer.next_packet()? {
            return Ok(Step::Packet(packet));
        }
        let reads = *unsent <= MOST_UNSENT;
        let interest = match (reads, out.is_empty()) {
            (_, true) => Interest::READABLE,
            (true, false) => Interest::READABLE | Interest::WRITABLE,
            (false, false) => Interest::WRITABLE,
        };
        let ready = stream.ready(interest).await?;
        if ready.is_writable() && !out.is_empty() {
            write_some(stream, out, unsent)?;
            if out.is_empty() {
                *sending_since = None;
                return Ok(Step::Sent);
            }
        }
        if reads && ready.is_readable() {
            deframer.buffer().reserve(READ_AHEAD);
            match stream.try_read_buf(deframer.buffer()) {
                Ok(0) => return Err(TransportError::Closed),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}

/// Gives the kernel what it takes.
fn write_some(stream: &TcpStream, out: &mut VecDeque<Bytes>, unsent: &mut usize) -> io::Result<()> {
    while !out.is_empty() {
        let pieces: Vec<IoSlice<'_>> = out.iter().take(GATHERED).map(|piece| IoSlice::new(piece)).collect();
        let mut written = match stream.try_write_vectored(&pieces) {
            Ok(written) => written,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e),
        };
        *unsent -= written;
        while let Some(first) = out.front_mut() {
            if written < first.len() {
                bytes::Buf::advance(first, written);
                break;
            }
            written -= first.len();
            out.pop_front();
        }
    }
    Ok(())
}

fn step_web(
    stream: &mut WebSocketStream<TcpStream>,
    out: &mut VecDeque<Bytes>,
    unsent: &mut usize,
    sending_since: &mut Option<Instant>,
    cx: &mut Context<'_>,
) -> Poll<Result<Step, TransportError>> {
    if sending_since.is_some() && flush_web(stream, out, unsent, cx)?.is_ready() {
        *sending_since = None;
        return Poll::Ready(Ok(Step::Sent));
    }
    if *unsent > MOST_UNSENT {
        return Poll::Pending;
    }
    loop {
        match ready!(Pin::new(&mut *stream).poll_next(cx)) {
            Some(Ok(Message::Binary(bytes))) => return Poll::Ready(Ok(Step::Packet(bytes))),
            Some(Ok(Message::Text(text))) => return Poll::Ready(Ok(Step::Packet(text.into()))),
            Some(Ok(Message::Close(_))) | None => return Poll::Ready(Err(TransportError::Closed)),
            // Pings are answered by the library with the next write.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Err(error)) => return Poll::Ready(Err(Box::new(error).into())),
        }
    }
}

fn flush_web(
    stream: &mut WebSocketStream<TcpStream>,
    out: &mut VecDeque<Bytes>,
    unsent: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<Result<(), TransportError>> {
    while !out.is_empty() {
        ready!(Pin::new(&mut *stream).poll_ready(cx)).map_err(Box::new)?;
        if let Some(payload) = out.pop_front() {
            *unsent -= payload.len();
            Pin::new(&mut *stream).start_send(Message::Binary(payload)).map_err(Box::new)?;
        }
    }
    Pin::new(&mut *stream).poll_flush(cx).map_err(|e| Box::new(e).into())
}

/// Connects a WebSocket over `stream`; messages over `limit` bytes end it.
pub(crate) async fn connect_web(
    url: &str,
    stream: TcpStream,
    limit: usize,
) -> Result<WebSocketStream<TcpStream>, TransportError> {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_AHEAD)
        .max_message_size(Some(limit))
        .max_frame_size(Some(limit));
    let connected = tokio_tungstenite::client_async_with_config(url, stream, Some(config)).await;
    Ok(connected.map_err(Box::new)?.0)
}
