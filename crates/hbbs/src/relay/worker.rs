//! The threads that move bytes: one epoll loop each, from accepting a TCP side to the end of its pair.
//!
//! All threads share the listeners and the table of those who wait. A connection is watched by the thread
//! that accepted it until it is half of a pair; then both sockets go to one thread.

use super::{
    aged::{Aged, Key},
    caps::{Throttle, lock},
    counters::{Refusal, bump},
    pace::{self, Pace},
    pair::{self, After, Pair, Tools},
    port::{NewPair, Port, Token},
    request,
    shared::{Arrival, Parked, Shared},
    waiting::Met,
    web::Partner,
};
use crate::system::{self, Crowd};
use hbb_common::addr;
use nix::{
    errno::Errno,
    sys::{
        epoll::{EpollEvent, EpollFlags, EpollTimeout},
        signal::{SigSet, Signal},
    },
};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    io::{self, ErrorKind, Read},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

/// Events taken at a time.
const EVENTS: usize = 256;
/// Connections accepted before the others get a turn.
const ACCEPTS: usize = 64;
/// How long a listener rests when there are no descriptors or no memory for another connection.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// A side that has not asked yet.
#[derive(Debug)]
struct Opening(Arrival);

#[derive(Debug)]
pub(super) struct Worker {
    shared: Arc<Shared>,
    number: usize,
    port: Arc<Port>,
    listeners: Arc<[TcpListener]>,
    opening: Aged<Opening>,
    pairs: Aged<Pair>,
    /// Pairs that can get on.
    ready: VecDeque<Key>,
    /// Pairs that may get on at a time.
    paused: BinaryHeap<Reverse<(Instant, Key)>>,
    /// When to listen again, if not now.
    listen_again: Option<Instant>,
    /// When to look whether somebody has waited too long.
    expire_parked: Option<Instant>,
    tools: Tools,
    now: Instant,
    crowd: Crowd,
    crowd_has_gone: bool,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, number: usize, listeners: Arc<[TcpListener]>) -> Self {
        let now = Instant::now();
        Self {
            number,
            port: Arc::clone(&shared.ports[number]),
            shared,
            listeners,
            opening: Aged::default(),
            pairs: Aged::default(),
            ready: VecDeque::new(),
            paused: BinaryHeap::new(),
            listen_again: None,
            expire_parked: None,
            tools: Tools {
                buffer: vec![0; pair::BUFFER].into(),
                pipes: super::pipes::Pipes::default(),
                pace: Pace::new(now),
                moved: [0; 2],
            },
            now,
            crowd: Crowd::default(),
            crowd_has_gone: false,
        }
    }

    /// Serves until the relay is stopped.
    pub(super) fn run(mut self) {
        self.serve();
        // Those that wait belong to nobody's thread; whoever of us is last lets the last ones go.
        let left = lock(&self.shared.waiting).clear();
        drop(left);
    }

    fn serve(&mut self) {
        // To splice into a closed socket raises it, and there is no flag against that.
        let mut pipe_signal = SigSet::empty();
        pipe_signal.add(Signal::SIGPIPE);
        pipe_signal.thread_block().ok();
        self.tools.pace = Pace::new(Instant::now());
        self.listen();
        let mut events = [EpollEvent::empty(); EVENTS];
        while !self.shared.stop.is_cancelled() {
            let waits_from = Instant::now();
            let timeout = self.timeout(waits_from);
            let n = match self.port.epoll.wait(&mut events, timeout) {
                Ok(n) => n,
                Err(Errno::EINTR) => 0,
                Err(error) => {
                    tracing::error!(%error, "a relay thread can not wait for events and ends");
                    return;
                }
            };
            self.now = Instant::now();
            self.tools.pace.waited(self.now.saturating_duration_since(waits_from));
            for event in &events[..n] {
                self.event(Token::unpack(event.data()), event.events());
            }
            self.time_passes();
            self.pump_ready();
            let rest = self.tools.pace.end_round(self.now);
            self.count_moved();
            if rest && self.ready.is_empty() {
                let rests_from = Instant::now();
                std::thread::sleep(pace::REST);
                self.tools.pace.waited(rests_from.elapsed());
            }
            if std::mem::take(&mut self.crowd_has_gone) {
                system::give_memory_back();
            }
        }
    }

    fn event(&mut self, token: Token, flags: EpollFlags) {
        match token {
            Token::Wake => self.woken(),
            Token::Listener(index) => self.accept(index as usize),
            Token::Opening(key) => self.opening_event(key, flags),
            // Nothing is watched but its leaving.
            Token::Parked(key) => self.shared.unpark(key, Refusal::LeftWaiting),
            Token::Side(key, side) => {
                if let Some(pair) = self.pairs.get_mut(key)
                    && pair.event(side, flags)
                    && !std::mem::replace(&mut pair.queued, true)
                {
                    self.ready.push_back(key);
                }
            }
        }
    }

    fn woken(&mut self) {
        self.port.wake.read().ok();
        for pair in self.port.take_inbox() {
            self.adopt(pair);
        }
        if self.port.take_review() {
            self.review();
        }
    }

    /// Lists or caps have changed.
    fn review(&mut self) {
        for key in self.pairs.keys().collect::<Vec<_>>() {
            let Some(pair) = self.pairs.get_mut(key) else { continue };
            if pair.live.is_blocked() {
                self.close(key);
                continue;
            }
            pair.throttle.slow = self.shared.is_slow(pair.live.sides());
            pair.paused = None;
            if !std::mem::replace(&mut pair.queued, true) {
                self.ready.push_back(key);
            }
        }
        self.paused.clear();
    }

    // Connections on their way to a pair.

    /// Watches the listeners. Of several threads that wait, one is woken for a connection.
    fn listen(&mut self) {
        for (index, listener) in self.listeners.iter().enumerate() {
            let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLEXCLUSIVE;
            match self.port.watch(listener, flags, Token::Listener(index as u32)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(error) => {
                    tracing::warn!(%error, "a relay listener can not be watched yet");
                    self.listen_again = Some(self.now + ACCEPT_REST);
                }
            }
        }
    }

    fn accept(&mut self, index: usize) {
        for _ in 0..ACCEPTS {
            match self.listeners[index].accept() {
                Ok((stream, from)) => self.arrive(stream, from),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if out_of_something(&error) => {
                    tracing::warn!(%error, "the relay rests before it accepts another connection");
                    bump(&self.shared.counters.accept_backoffs);
                    for listener in self.listeners.iter() {
                        self.port.epoll.delete(listener).ok();
                    }
                    self.listen_again = Some(self.now + ACCEPT_REST);
                    return;
                }
                // The connection was gone before it was taken.
                Err(_) => {}
            }
        }
    }

    fn arrive(&mut self, stream: TcpStream, from: SocketAddr) {
        let from = addr::normalize(from);
        bump(&self.shared.counters.accepted);
        let place = match self.shared.admit(from.ip()) {
            Ok(place) => place,
            Err(why) => return self.shared.counters.refuse(why),
        };
        if stream.set_nonblocking(true).is_err() || stream.set_nodelay(true).is_err() {
            return self.shared.counters.refuse(Refusal::LeftEarly);
        }
        let mut arrival = Arrival { stream, from, _place: place, watched_by: None };
        match read_request(&arrival.stream, &mut self.tools.buffer, &self.shared) {
            Ok(Some(uuid)) => self.meet(&uuid, arrival),
            Ok(None) => {
                arrival.watched_by = Some(self.number);
                let key = self.opening.insert(Opening(arrival), self.now);
                let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
                if let Some(Opening(arrival)) = self.opening.get_mut(key)
                    && self.port.watch(&arrival.stream, flags, Token::Opening(key)).is_err()
                {
                    self.opening.remove(key);
                    self.shared.counters.refuse(Refusal::TooManyWaiting);
                }
            }
            Err(why) => self.shared.counters.refuse(why),
        }
    }

    fn opening_event(&mut self, key: Key, flags: EpollFlags) {
        let Some(Opening(arrival)) = self.opening.get_mut(key) else { return };
        let request = read_request(&arrival.stream, &mut self.tools.buffer, &self.shared);
        let gone = EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
        let why = match request {
            Ok(Some(uuid)) => {
                if let Some(Opening(arrival)) = self.opening.remove(key) {
                    self.meet(&uuid, arrival);
                }
                return;
            }
            Ok(None) if flags.intersects(gone) => Refusal::LeftEarly,
            Ok(None) => return,
            Err(why) => why,
        };
        self.opening.remove(key);
        self.shared.counters.refuse(why);
    }

    fn meet(&mut self, uuid: &str, mut side: Arrival) {
        loop {
            let mut table = lock(&self.shared.waiting);
            match table.meet(uuid, Parked::Tcp(side), self.now) {
                Met::Parked(key) => {
                    // Under the lock, so that a partner can not take and close the socket meanwhile.
                    if let Some(Parked::Tcp(side)) = table.get(key)
                        && self.watch_parked(side, key).is_err()
                    {
                        table.leave(key);
                        return self.shared.counters.refuse(Refusal::TooManyWaiting);
                    }
                    drop(table);
                    bump(&self.shared.counters.parked);
                    self.expire_parked.get_or_insert(self.now + self.shared.pairing_timeout);
                    return;
                }
                Met::Partner { first, second: Parked::Tcp(second) } => {
                    drop(table);
                    match first {
                        Parked::Tcp(first) => return self.pair_up(first, second),
                        Parked::Web(waits) => {
                            if let Some(port) = second.watched_by {
                                self.shared.ports[port].unwatch(&second.stream);
                            }
                            let second = Arrival { watched_by: None, ..second };
                            match waits.send(Partner::Tcp(second)) {
                                Ok(()) => return,
                                // It left in this moment: as if it had before.
                                Err(Partner::Tcp(back)) => side = back,
                                Err(Partner::Web(_)) => return,
                            }
                        }
                    }
                }
                Met::Partner { second: Parked::Web(_), .. } => return,
            }
        }
    }

    /// Watches for nothing but that the side leaves.
    fn watch_parked(&self, side: &mut Arrival, key: Key) -> nix::Result<()> {
        let flags = EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        if side.watched_by.replace(self.number).is_some() {
            self.port.rewatch(&side.stream, flags, Token::Parked(key))
        } else {
            self.port.watch(&side.stream, flags, Token::Parked(key))
        }
    }

    fn pair_up(&mut self, first: Arrival, second: Arrival) {
        let live = match self.shared.open_pair([first.from, second.from], false) {
            Ok(live) => live,
            Err(why) => {
                self.shared.counters.refuse(why);
                return self.shared.counters.refuse(why);
            }
        };
        let pair = NewPair { first, second, live };
        let ports = &self.shared.ports;
        let own = self.port.pairs.load(Relaxed);
        let least = ports.iter().enumerate().min_by_key(|(_, p)| p.pairs.load(Relaxed));
        match least {
            // To go to another thread costs a wake-up, so a small difference is let be.
            Some((number, port)) if number != self.number && port.pairs.load(Relaxed) + 1 < own => {
                port.pairs.fetch_add(1, Relaxed);
                for side in [&pair.first, &pair.second] {
                    if let Some(watcher) = side.watched_by {
                        ports[watcher].unwatch(&side.stream);
                    }
                }
                let side = |side| Arrival { watched_by: None, ..side };
                port.hand_over(NewPair { first: side(pair.first), second: side(pair.second), ..pair });
            }
            _ => {
                self.port.pairs.fetch_add(1, Relaxed);
                self.adopt(pair);
            }
        }
    }

    // Pairs.

    fn adopt(&mut self, NewPair { first, second, live }: NewPair) {
        let sides = live.sides();
        let watched = [first.watched_by, second.watched_by];
        let throttle = Throttle::new(sides, self.shared.is_slow(sides), self.now);
        let sockets = [first.stream, second.stream];
        let key = self.pairs.insert(Pair::new(sockets, throttle, live), self.now);
        self.crowd.has_gone(self.port.pairs.load(Relaxed));
        let Some(pair) = self.pairs.get_mut(key) else { return };
        for (side, watcher) in watched.into_iter().enumerate() {
            let token = Token::Side(key, side);
            let socket = pair.socket(side);
            let done = if watcher == Some(self.number) {
                self.port.rewatch(socket, pair::EVENTS, token)
            } else {
                if let Some(other) = watcher {
                    self.shared.ports[other].unwatch(socket);
                }
                self.port.watch(socket, pair::EVENTS, token)
            };
            if let Err(error) = done {
                tracing::warn!(%error, "a pair can not be watched and is closed");
                return self.close(key);
            }
        }
    }

    fn pump_ready(&mut self) {
        for _ in 0..self.ready.len() {
            let Some(key) = self.ready.pop_front() else { return };
            let Some(pair) = self.pairs.get_mut(key) else { continue };
            pair.queued = false;
            let after = pair.pump(&mut self.tools, &self.shared.caps);
            let moved = std::mem::take(&mut pair.moved_something);
            match after {
                After::Waiting => {}
                After::Yielding => {
                    pair.queued = true;
                    self.ready.push_back(key);
                }
                After::Throttled(wait) => {
                    if pair.paused.is_none() {
                        let until = self.now + wait;
                        pair.paused = Some(until);
                        self.paused.push(Reverse((until, key)));
                    }
                }
                After::Over => {
                    self.close(key);
                    continue;
                }
            }
            if moved {
                self.alive(key);
            }
        }
    }

    /// Something moved in a pair. It is enough to note that once per slack of its timeout.
    fn alive(&mut self, key: Key) {
        let Some(seen) = self.pairs.seen(key) else { return };
        if self.now.saturating_duration_since(seen) < self.idle_slack() {
            return;
        }
        self.pairs.touch(key, self.now);
        if let Some(pair) = self.pairs.get_mut(key)
            && !pair.throttle.downgraded
        {
            pair.throttle.downgraded = pair.live.downgrades(self.now);
        }
    }

    fn idle_slack(&self) -> Duration {
        self.shared.idle_timeout / 16
    }

    fn close(&mut self, key: Key) {
        if self.pairs.remove(key).is_some() {
            let before = self.port.pairs.fetch_sub(1, Relaxed);
            self.crowd_has_gone |= self.crowd.has_gone(before.saturating_sub(1));
        }
    }

    // Time.

    fn time_passes(&mut self) {
        while let Some((key, since)) = self.opening.oldest()
            && self.now >= since + self.shared.request_timeout
        {
            self.opening.remove(key);
            self.shared.counters.refuse(Refusal::Silent);
        }
        while let Some((key, since)) = self.pairs.oldest()
            && self.now >= since + self.shared.idle_timeout + self.idle_slack()
        {
            self.close(key);
            bump(&self.shared.counters.pairs_idle);
        }
        if self.expire_parked.is_some_and(|at| self.now >= at) {
            let mut table = lock(&self.shared.waiting);
            let mut expired = Vec::new();
            while let Some(side) = table.expire(self.now) {
                expired.push(side);
            }
            self.expire_parked = table.deadline();
            drop(table);
            let count = expired.len();
            drop(expired);
            for _ in 0..count {
                self.shared.counters.refuse(Refusal::NoPartner);
            }
        }
        if self.listen_again.is_some_and(|at| self.now >= at) {
            self.listen_again = None;
            self.listen();
        }
        while let Some(&Reverse((until, key))) = self.paused.peek()
            && self.now >= until
        {
            self.paused.pop();
            if let Some(pair) = self.pairs.get_mut(key)
                && pair.paused == Some(until)
            {
                pair.paused = None;
                if !std::mem::replace(&mut pair.queued, true) {
                    self.ready.push_back(key);
                }
            }
        }
    }

    /// How long nothing will happen by itself.
    fn timeout(&self, now: Instant) -> EpollTimeout {
        if !self.ready.is_empty() {
            return EpollTimeout::ZERO;
        }
        let deadlines = [
            self.opening.oldest().map(|(_, since)| since + self.shared.request_timeout),
            self.pairs.oldest().map(|(_, since)| since + self.shared.idle_timeout + self.idle_slack()),
            self.expire_parked,
            self.listen_again,
            self.paused.peek().map(|Reverse((until, _))| *until),
        ];
        let Some(next) = deadlines.into_iter().flatten().min() else { return EpollTimeout::NONE };
        let wait = next.saturating_duration_since(now);
        // Rounded up: to wake before the time would be for nothing.
        let millis = wait.as_nanos().div_ceil(1_000_000).min(60_000);
        EpollTimeout::try_from(millis).unwrap_or(EpollTimeout::ZERO)
    }

    fn count_moved(&mut self) {
        let counters = &self.shared.counters;
        for (total, n) in
            [&counters.bytes_forward, &counters.bytes_backward].into_iter().zip(&mut self.tools.moved)
        {
            if *n > 0 {
                total.fetch_add(std::mem::take(n), Relaxed);
            }
        }
    }
}

/// The uuid a side asks for, once its whole request is there. What follows the request stays in the socket:
/// there it costs us nothing, and holds back a sender that goes on and on.
fn read_request(
    mut stream: &TcpStream,
    buffer: &mut [u8],
    shared: &Shared,
) -> Result<Option<String>, Refusal> {
    let limits = &shared.limits;
    let most = (limits.request + 4).min(buffer.len());
    let buffer = &mut buffer[..most];
    let seen = match stream.peek(buffer) {
        Ok(0) => return Err(Refusal::LeftEarly),
        Ok(n) => n,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
        Err(_) => return Err(Refusal::LeftEarly),
    };
    let asked = match request::first_packet(&buffer[..seen], limits.request) {
        Ok(None) => return Ok(None),
        Ok(Some((payload, size))) => {
            request::uuid(&payload, shared.key.as_deref(), limits.uuid).map(|uuid| (uuid, size))
        }
        Err(why) => Err(why),
    };
    // Of a refused request everything is read: bytes left unread would make the close a reset.
    let size = asked.as_ref().map_or(seen, |(_, size)| *size);
    stream.read_exact(&mut buffer[..size]).map_err(|_| Refusal::LeftEarly)?;
    asked.map(|(uuid, _)| Some(uuid))
}

/// Whether a failed accept is the process's trouble, not the connection's.
fn out_of_something(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM))
}
