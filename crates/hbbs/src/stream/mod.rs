//! The TCP and WebSocket sides of P, P−1 and P+2: a task per connection, which hands packets to the broker
//! and does what it says.

mod gate;
mod listen;
mod wire;

pub(crate) use gate::{Blocklist, Gate};
pub(crate) use listen::{bind, serve};

use crate::broker::{Broker, KEEP_ALIVE, Output, Port, Stream};
use crate::clock::{Clock, Moment};
use crate::links::Links;
use crate::registry::{ConnectionId, Route};
use crate::udp::Sockets;
use bytes::Bytes;
use gate::Ticket;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep_until, timeout};
use wire::{End, Wire};

/// Connections that take nothing for this long are given up.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections at a time that may send packets over [`wire::PACKET_LIMIT`], up to
/// [`wire::LONG_PACKET_LIMIT`]: online queries of long address books.
const LONG_PACKETS: usize = 64;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Edge {
    pub(crate) broker: Arc<Broker>,
    pub(crate) clock: Clock,
    sockets: Arc<Sockets>,
    links: Links,
    gate: Arc<Gate>,
    blocklist: Arc<Blocklist>,
    trusted_proxies: Vec<IpAddr>,
    silence: Duration,
    next: AtomicU64,
    long_packets: Arc<Semaphore>,
}

impl Edge {
    pub(crate) fn new(
        broker: Arc<Broker>,
        clock: Clock,
        sockets: Arc<Sockets>,
        gate: Gate,
        blocklist: Arc<Blocklist>,
        trusted_proxies: Vec<IpAddr>,
        silence: Duration,
    ) -> Self {
        Self {
            broker,
            clock,
            sockets,
            links: Links::default(),
            gate: Arc::new(gate),
            blocklist,
            trusted_proxies,
            silence,
            next: AtomicU64::new(1),
            long_packets: Arc::new(Semaphore::new(LONG_PACKETS)),
        }
    }

    pub(crate) fn open_connections(&self) -> usize {
        self.gate.open()
    }

    fn moment(&self) -> Moment {
        Moment { tick: self.clock.tick(std::time::Instant::now()), random: rand::random() }
    }

    fn push(&self, route: Route, packet: Bytes) {
        let sent = match route {
            Route::Datagram { listener, to } => self.sockets.send(listener, to, &packet).is_ok(),
            Route::Connection(connection) => self.links.send(connection, packet),
        };
        if !sent {
            self.broker.counters().datagrams_unsent.one();
        }
    }

    /// One connection from its first byte to its end.
    async fn run(self: Arc<Self>, socket: TcpStream, addr: SocketAddr, port: Port, ticket: Ticket) {
        let deadline = Instant::now() + self.silence;
        let opening = Wire::open(socket, addr, port, &self.trusted_proxies, &self.long_packets);
        let (wire, addr) = match tokio::time::timeout_at(deadline, opening).await {
            Ok(Some(opened)) => opened,
            Ok(None) => return self.broker.counters().connections_malformed.one(),
            Err(_) => return self.broker.counters().connections_timed_out.one(),
        };
        if port == Port::WebSocket {
            self.broker.counters().websockets.one();
        }
        if self.blocklist.contains(addr.ip()) {
            return self.broker.counters().connections_blocked.one();
        }
        let connection = self.next.fetch_add(1, Ordering::Relaxed);
        let stream = Stream::new(connection, addr, port);
        let mut session = Session { edge: self, stream, link: None, wire, _ticket: ticket };
        session.run(deadline).await;
    }
}

/// One open connection. Dropping it takes it out of every table.
struct Session {
    edge: Arc<Edge>,
    stream: Stream,
    link: Option<Receiver<Bytes>>,
    wire: Wire,
    _ticket: Ticket,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.edge.broker.ended(&self.stream);
        if self.link.is_some() {
            self.edge.links.close(self.stream.connection);
        }
    }
}

impl Session {
    async fn run(&mut self, mut deadline: Instant) {
        let edge = Arc::clone(&self.edge);
        let counters = edge.broker.counters();
        // Only hosts are asked whether they live.
        let mut ping = deadline;
        loop {
            tokio::select! {
                packet = self.wire.next() => match packet {
                    Ok(packet) => {
                        if !self.handle(packet).await {
                            return self.wire.close().await;
                        }
                        // Bytes that make no packet do not count as a sign of life.
                        let (silence, is_host) = (self.edge.silence, self.stream.is_host());
                        deadline = Instant::now() + if is_host { silence.max(KEEP_ALIVE * 2) } else { silence };
                        ping = if is_host { Instant::now() + KEEP_ALIVE } else { deadline };
                    }
                    Err(End::Left) => return,
                    Err(End::Malformed) => return counters.connections_malformed.one(),
                },
                packet = received(&mut self.link) => {
                    if !self.send(packet).await {
                        return;
                    }
                }
                () = sleep_until(deadline.min(ping)) => {
                    if ping < deadline {
                        ping += KEEP_ALIVE;
                        if !self.send(Bytes::new()).await {
                            return;
                        }
                    } else {
                        counters.connections_timed_out.one();
                        return self.wire.close().await;
                    }
                }
            }
        }
    }

    /// Whether the connection goes on.
    async fn handle(&mut self, packet: Bytes) -> bool {
        let mut outputs = Vec::new();
        self.edge.broker.packet(&mut self.stream, packet, self.edge.moment(), &mut outputs);
        let answered_here = |o: &Output| matches!(o, Output::Push(..));
        if self.link.is_none() && (self.stream.is_host() || outputs.iter().any(answered_here)) {
            // Before anything is pushed: the answer may be quick.
            self.link = Some(self.edge.links.open(self.stream.connection));
        }
        for output in outputs {
            match output {
                Output::Reply(packet) => {
                    if !self.send(packet).await {
                        return false;
                    }
                }
                Output::Push(route, packet) => self.edge.push(route, packet),
                Output::Pass(connection, packet) => self.pass(connection, packet),
                Output::Close => return false,
            }
        }
        true
    }

    fn pass(&self, connection: ConnectionId, packet: Bytes) {
        if !self.edge.links.send(connection, packet) {
            self.edge.broker.counters().answers_unexpected.one();
        }
    }

    async fn send(&mut self, packet: Bytes) -> bool {
        matches!(timeout(SEND_TIMEOUT, self.wire.send(packet)).await, Ok(Ok(())))
    }
}

async fn received(link: &mut Option<Receiver<Bytes>>) -> Bytes {
    let packet = match link {
        Some(link) => link.recv().await,
        None => None,
    };
    match packet {
        Some(packet) => packet,
        // Nothing will ever come.
        None => std::future::pending().await,
    }
}
