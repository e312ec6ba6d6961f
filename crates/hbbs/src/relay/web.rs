//! WebSocket sides: the same requests and the same bytes in binary messages, one per packet (rendezvous
//! §2.4, §5.18). They are few and their packets have to be taken apart, so they live on tasks.

use super::{
    aged::Key,
    caps::{Throttle, lock},
    counters::{Refusal, bump},
    request,
    shared::{Arrival, Live, Parked, Place, Shared},
    waiting::Met,
};
use bytes::{Bytes, BytesMut};
use hbb_common::{addr, packet};
use std::{
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};
use tokio::{
    io::Interest,
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinSet,
    time::{sleep, sleep_until, timeout},
};
use tokio_tungstenite::{
    accept_hdr_async_with_config,
    tungstenite::{
        self, Message,
        handshake::server::{ErrorResponse, Request, Response},
        http::HeaderMap,
        protocol::{Role, WebSocketConfig, WebSocketContext},
    },
};

/// What one read asks for.
const READ: usize = 16 * 1024;
/// What a waiting side may send before it is read no further.
const EARLY: usize = 64 * 1024;
/// How long a listener rests when there are no descriptors or no memory for another connection.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// How long the last bytes of a pair may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// Who a waiting WebSocket side is told has come.
#[derive(Debug)]
pub(super) enum Partner {
    Tcp(Arrival),
    Web(Box<WebSide>),
}

/// A WebSocket side with its request read.
#[derive(Debug)]
pub(super) struct WebSide {
    end: WebEnd,
    from: SocketAddr,
    place: Place,
    /// What it sent behind its request.
    early: Vec<Bytes>,
}

/// Accepts WebSocket sides until the relay stops. Dropping the future ends them all.
pub(super) async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    let mut sides = JoinSet::new();
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => break,
            Some(_) = sides.join_next(), if !sides.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    bump(&shared.counters.accepted);
                    let shared = Arc::clone(&shared);
                    sides.spawn(async move { serve_side(shared, stream, addr::normalize(from)).await });
                }
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
                Err(error) => {
                    tracing::warn!(%error, "the relay rests before it accepts another WebSocket");
                    bump(&shared.counters.accept_backoffs);
                    sleep(ACCEPT_REST).await;
                }
            }
        }
    }
    sides.shutdown().await;
}

async fn serve_side(shared: Arc<Shared>, stream: TcpStream, from: SocketAddr) {
    let deadline = tokio::time::Instant::now() + shared.request_timeout;
    let asked = tokio::time::timeout_at(deadline, ask(&shared, stream, from)).await;
    match asked.unwrap_or(Err(Refusal::Silent)) {
        // The first half of this task needs much more room than the second, which may take hours.
        Ok((side, uuid)) => Box::pin(meet(shared, side, uuid)).await,
        Err(why) => shared.counters.refuse(why),
    }
}

/// Handshake and request.
async fn ask(
    shared: &Arc<Shared>,
    stream: TcpStream,
    from: SocketAddr,
) -> Result<(Box<WebSide>, String), Refusal> {
    // The address behind a proxy is known later, so the proxy itself only must not be blocked.
    let trusted = shared.trusted_proxies.contains(&from.ip());
    let mut place = if trusted { None } else { Some(shared.admit(from.ip())?) };
    if shared.is_blocked(from.ip()) {
        return Err(Refusal::Blocked);
    }
    stream.set_nodelay(true).map_err(|_| Refusal::LeftEarly)?;
    let limits = &shared.limits;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ)
        .write_buffer_size(0)
        .max_message_size(Some(limits.request))
        .max_frame_size(Some(limits.request));
    let mut behind = None;
    #[expect(clippy::result_large_err, reason = "the callback's type is tungstenite's")]
    let callback = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        behind = real_ip(request.headers());
        Ok(response)
    };
    let stream = Box::pin(accept_hdr_async_with_config(stream, callback, Some(config))).await;
    let stream = stream.map_err(|_| Refusal::NotWebSocket)?.into_inner();
    let from = match behind {
        Some(ip) if trusted => SocketAddr::new(ip, 0),
        _ => from,
    };
    let place = match place.take() {
        Some(place) => place,
        None => shared.admit(from.ip())?,
    };
    let web = WebSocketContext::new(Role::Server, Some(config));
    let mut end = WebEnd { stream, web, unflushed: false };
    let first = loop {
        match end.take() {
            Ok(Taken::Packet(packet)) => break packet,
            Ok(Taken::Other) => return Err(Refusal::OtherMessage),
            Ok(Taken::Nothing) => {
                end.stream.ready(end.interest(true)).await.map_err(|_| Refusal::LeftEarly)?;
                end.flush().map_err(|_| Refusal::LeftEarly)?;
            }
            Ok(Taken::End) => return Err(Refusal::LeftEarly),
            Err(tungstenite::Error::Capacity(_)) => return Err(Refusal::TooLong),
            Err(tungstenite::Error::Io(_)) => return Err(Refusal::LeftEarly),
            Err(_) => return Err(Refusal::NotWebSocket),
        }
    };
    let uuid = request::uuid(&first, shared.key.as_deref(), limits.uuid)?;
    let most = limits.web_message;
    end.web.set_config(|c| {
        *c = c.max_message_size(Some(most)).max_frame_size(Some(most));
    });
    Ok((Box::new(WebSide { end, from, place, early: Vec::new() }), uuid))
}

/// The client's address as a reverse proxy tells it: one address alone, else it is not believed.
fn real_ip(headers: &HeaderMap) -> Option<IpAddr> {
    let header = headers.get("x-real-ip").or_else(|| headers.get("x-forwarded-for"))?;
    let ip: IpAddr = header.to_str().ok()?.trim().parse().ok()?;
    Some(addr::normalize_ip(ip))
}

/// Finds the partner or waits for it, and then serves the pair.
async fn meet(shared: Arc<Shared>, mut side: Box<WebSide>, uuid: String) {
    loop {
        let (tell, told) = oneshot::channel();
        let met = lock(&shared.waiting).meet(&uuid, Parked::Web(tell), Instant::now());
        match met {
            Met::Parked(key) => {
                bump(&shared.counters.parked);
                if let Some(partner) = wait(&shared, &mut side, key, told).await {
                    serve_pair(&shared, Partner::Web(side), partner).await;
                }
                return;
            }
            Met::Partner { first: Parked::Tcp(first), .. } => {
                if let Some(port) = first.watched_by {
                    shared.ports[port].unwatch(&first.stream);
                }
                return serve_pair(&shared, Partner::Tcp(first), Partner::Web(side)).await;
            }
            Met::Partner { first: Parked::Web(waits), .. } => match waits.send(Partner::Web(side)) {
                Ok(()) => return,
                // It left in this moment: as if it had before.
                Err(Partner::Web(back)) => side = back,
                Err(Partner::Tcp(_)) => return,
            },
        }
    }
}

/// Waits for the partner and reads what comes meanwhile: on a WebSocket even a farewell must be read.
async fn wait(
    shared: &Shared,
    side: &mut WebSide,
    key: Key,
    mut told: oneshot::Receiver<Partner>,
) -> Option<Partner> {
    let deadline = tokio::time::Instant::now() + shared.pairing_timeout;
    let mut held = 0;
    let why = loop {
        tokio::select! {
            biased;
            // An error: whoever let it expire has counted that.
            partner = &mut told => return partner.ok(),
            () = shared.stop.cancelled() => return None,
            () = sleep_until(deadline) => break Refusal::NoPartner,
            ready = side.end.stream.ready(side.end.interest(true)), if held < EARLY => {
                if ready.is_err() || side.end.flush().is_err() {
                    break Refusal::LeftWaiting;
                }
            }
        }
        let left = loop {
            match side.end.take() {
                Ok(Taken::Packet(packet)) => {
                    held += packet.len();
                    side.early.push(packet);
                }
                Ok(Taken::Other) => held += 1,
                Ok(Taken::Nothing) => break false,
                Ok(Taken::End) | Err(_) => break true,
            }
            if held >= EARLY {
                break false;
            }
        };
        if left {
            break Refusal::LeftWaiting;
        }
    };
    shared.unpark(key, why);
    // A partner that came in this very moment may be on its way.
    told.close();
    told.try_recv().ok().filter(|_| why == Refusal::NoPartner)
}

async fn serve_pair(shared: &Arc<Shared>, first: Partner, second: Partner) {
    let Ok(first) = Side::new(first, shared.limits.web_message) else { return };
    let Ok(second) = Side::new(second, shared.limits.web_message) else { return };
    let addrs = [first.from, second.from];
    match shared.open_pair(addrs, true) {
        Ok(live) => {
            let throttle = Throttle::new(addrs, shared.is_slow(addrs), Instant::now());
            Bridge { shared, sides: [first, second], live, throttle, last: Instant::now(), paused: None }
                .run()
                .await;
        }
        Err(why) => {
            shared.counters.refuse(why);
            shared.counters.refuse(why);
        }
    }
}

/// What a look at a side gave.
enum Taken {
    Packet(Bytes),
    /// Something that is not forwarded but is a sign of life: an empty packet, text, a ping.
    Other,
    Nothing,
    End,
}

/// A WebSocket without an opinion about when to read and write.
#[derive(Debug)]
struct WebEnd {
    stream: TcpStream,
    web: WebSocketContext,
    unflushed: bool,
}

/// Reads and writes what gets on without waiting.
struct Ready<'a>(&'a TcpStream);

impl Read for Ready<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Ready<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl WebEnd {
    fn take(&mut self) -> tungstenite::Result<Taken> {
        match self.web.read(&mut Ready(&self.stream)) {
            Ok(Message::Binary(bytes)) if !bytes.is_empty() => Ok(Taken::Packet(bytes)),
            Ok(Message::Close(_)) => Ok(Taken::End),
            Ok(_) => {
                // A ping has been answered, perhaps not to the last byte.
                self.unflushed = true;
                Ok(Taken::Other)
            }
            Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => Ok(Taken::Nothing),
            Err(tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed) => Ok(Taken::End),
            Err(error) => Err(error),
        }
    }

    fn put(&mut self, packet: Bytes) -> tungstenite::Result<()> {
        self.unflushed = true;
        match self.web.write(&mut Ready(&self.stream), Message::Binary(packet)) {
            Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
            Ok(()) => self.flush(),
        }
    }

    fn flush(&mut self) -> tungstenite::Result<()> {
        if !self.unflushed {
            return Ok(());
        }
        match self.web.flush(&mut Ready(&self.stream)) {
            Ok(()) => self.unflushed = false,
            Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn interest(&self, read: bool) -> Interest {
        interest(read, self.unflushed)
    }
}

fn interest(read: bool, write: bool) -> Interest {
    match (read, write) {
        (true, true) => Interest::READABLE | Interest::WRITABLE,
        (false, true) => Interest::WRITABLE,
        // Nothing to wait for but that it breaks.
        (false, false) => Interest::ERROR,
        (true, false) => Interest::READABLE,
    }
}

/// The TCP side of a pair with a WebSocket: packets here too.
#[derive(Debug)]
struct TcpEnd {
    stream: TcpStream,
    deframer: packet::Deframer,
    out: BytesMut,
}

impl TcpEnd {
    fn take(&mut self) -> io::Result<Taken> {
        loop {
            match self.deframer.next_packet() {
                Ok(Some(packet)) if packet.is_empty() => return Ok(Taken::Other),
                Ok(Some(packet)) => return Ok(Taken::Packet(packet)),
                Ok(None) => {}
                Err(error) => return Err(io::Error::new(ErrorKind::InvalidData, error)),
            }
            let buffer = self.deframer.buffer();
            buffer.reserve(READ);
            match self.stream.try_read_buf(buffer) {
                Ok(0) => return Ok(Taken::End),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Taken::Nothing),
                Err(error) => return Err(error),
            }
        }
    }

    fn put(&mut self, packet: &[u8]) -> io::Result<()> {
        packet::encode(packet, &mut self.out);
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.out.is_empty() {
            match self.stream.try_write(&self.out) {
                Ok(n) => bytes::Buf::advance(&mut self.out, n),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        // A buffer that one large packet has stretched is not kept for the small ones.
        if self.out.capacity() > READ {
            self.out = BytesMut::new();
        }
        Ok(())
    }
}

#[derive(Debug)]
enum End {
    Tcp(TcpEnd),
    Web(WebEnd),
}

/// One side of a pair.
#[derive(Debug)]
struct Side {
    end: End,
    from: SocketAddr,
    /// What it sent while it waited, the last first.
    early: Vec<Bytes>,
    ended: bool,
}

/// The pair is over: a side broke its connection or its framing.
struct Broken;

impl Side {
    fn new(partner: Partner, longest: usize) -> io::Result<Self> {
        Ok(match partner {
            Partner::Tcp(Arrival { stream, from, .. }) => {
                let stream = TcpStream::from_std(stream)?;
                let deframer = packet::Deframer::new(longest);
                let end = End::Tcp(TcpEnd { stream, deframer, out: BytesMut::new() });
                Self { end, from, early: Vec::new(), ended: false }
            }
            Partner::Web(side) => {
                let WebSide { end, from, place, mut early } = *side;
                drop(place);
                early.reverse();
                Self { end: End::Web(end), from, early, ended: false }
            }
        })
    }

    fn take(&mut self) -> Result<Taken, Broken> {
        if let Some(packet) = self.early.pop() {
            return Ok(Taken::Packet(packet));
        }
        match &mut self.end {
            End::Tcp(end) => end.take().map_err(|_| Broken),
            End::Web(end) => end.take().map_err(|_| Broken),
        }
    }

    fn put(&mut self, packet: Bytes) -> Result<(), Broken> {
        match &mut self.end {
            End::Tcp(end) => end.put(&packet).map_err(|_| Broken),
            End::Web(end) => end.put(packet).map_err(|_| Broken),
        }
    }

    fn flush(&mut self) -> Result<(), Broken> {
        match &mut self.end {
            End::Tcp(end) => end.flush().map_err(|_| Broken),
            End::Web(end) => end.flush().map_err(|_| Broken),
        }
    }

    /// Has not taken everything yet.
    fn busy(&self) -> bool {
        match &self.end {
            End::Tcp(end) => !end.out.is_empty(),
            End::Web(end) => end.unflushed,
        }
    }

    async fn ready(&self, read: bool) {
        let (End::Tcp(TcpEnd { stream, .. }) | End::Web(WebEnd { stream, .. })) = &self.end;
        // An error shows again when the stream is used.
        stream.ready(interest(read, self.busy())).await.ok();
    }

    /// Says goodbye where the protocol has a word for it.
    fn farewell(&mut self) {
        if let End::Web(end) = &mut self.end {
            // A side that has gone already need not hear it.
            end.web.close(&mut Ready(&end.stream), None).ok();
            end.unflushed = true;
            end.flush().ok();
        }
    }
}

/// A pair of which at least one side is on WebSocket.
struct Bridge<'a> {
    shared: &'a Arc<Shared>,
    sides: [Side; 2],
    live: Live,
    throttle: Throttle,
    last: Instant,
    paused: Option<Instant>,
}

enum After {
    Waiting,
    Yielding,
    Over,
}

/// Packets moved each way before other tasks get a turn.
const TURN: usize = 64;

impl Bridge<'_> {
    async fn run(mut self) {
        let mut changed = self.shared.lists_changed.subscribe();
        while let Ok(after) = self.pump() {
            match after {
                After::Waiting => {}
                After::Yielding => {
                    tokio::task::yield_now().await;
                    continue;
                }
                After::Over => break,
            }
            let idle = self.last + self.shared.idle_timeout + self.shared.idle_timeout / 16;
            let paused = self.paused;
            let [a, b] = &self.sides;
            tokio::select! {
                () = self.shared.stop.cancelled() => return,
                () = a.ready(paused.is_none() && !b.busy() && !a.ended) => {}
                () = b.ready(paused.is_none() && !a.busy() && !b.ended) => {}
                () = sleep_until(paused.unwrap_or(idle).min(idle).into()) => {
                    if Instant::now() >= idle {
                        bump(&self.shared.counters.pairs_idle);
                        return;
                    }
                }
                _ = changed.changed() => {
                    if self.live.is_blocked() {
                        return;
                    }
                    self.throttle.slow = self.shared.is_slow(self.live.sides());
                }
            }
        }
        self.farewell().await;
    }

    /// Moves what can be moved. It is over when a side has ended and all it sent has been taken.
    fn pump(&mut self) -> Result<After, Broken> {
        self.paused = None;
        for _ in 0..TURN {
            let mut got_on = false;
            for from in 0..2 {
                self.sides[1 - from].flush()?;
                if !self.sides[1 - from].busy() && !self.sides[from].ended {
                    got_on |= self.carry(from)?;
                }
            }
            let [a, b] = &self.sides;
            if (a.ended && !b.busy()) || (b.ended && !a.busy()) {
                return Ok(After::Over);
            }
            if !got_on {
                return Ok(After::Waiting);
            }
        }
        Ok(After::Yielding)
    }

    fn carry(&mut self, from: usize) -> Result<bool, Broken> {
        if let Err(wait) = self.throttle.look(&self.shared.caps, Instant::now) {
            let until = Instant::now() + wait;
            self.paused = Some(self.paused.map_or(until, |p| p.min(until)));
            return Ok(false);
        }
        match self.sides[from].take()? {
            Taken::Packet(packet) => {
                let n = packet.len();
                self.throttle.spend(&self.shared.caps, n);
                self.live.moved(from, n);
                let counters = &self.shared.counters;
                [&counters.bytes_forward, &counters.bytes_backward][from].fetch_add(n as u64, Relaxed);
                self.sides[1 - from].put(packet)?;
            }
            Taken::Other => {}
            Taken::Nothing => return Ok(false),
            Taken::End => {
                self.sides[from].ended = true;
                return Ok(false);
            }
        }
        self.last = Instant::now();
        if !self.throttle.downgraded {
            self.throttle.downgraded = self.live.downgrades(self.last);
        }
        Ok(true)
    }

    /// Lets both sides have what is theirs, and closes.
    async fn farewell(&mut self) {
        let flushed = async {
            for side in &mut self.sides {
                if !side.busy() {
                    side.farewell();
                }
                while side.busy() && side.flush().is_ok() {
                    side.ready(false).await;
                }
            }
        };
        // Who does not take the last bytes in time goes without.
        timeout(FAREWELL, flushed).await.ok();
    }
}
