//! Two TCP sides and the bytes between them.
//!
//! Sockets are watched edge-triggered, so what is known about them is kept here: whether reading and
//! writing would get on. Bytes are read only when the ones before are written; a side that does not take
//! its bytes stops the other side's, and nobody else's.

use super::{
    caps::{Caps, Throttle},
    pace::Pace,
    pipes::{Pipe, Pipes},
    shared::Live,
};
use nix::sys::epoll::EpollFlags;
use std::{
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

/// What one read asks for.
pub(super) const BUFFER: usize = 64 * 1024;
/// The least that one read asks for, whatever a cap has left.
const LEAST: usize = 4096;
/// A pair is put behind the others after this much in one turn.
const TURN: usize = 4 << 20;
const TURN_STEPS: usize = 32;
/// Reads from which splicing pays, and spliced pieces from which copying does.
const LARGE: usize = 32 * 1024;
const SMALL: usize = 16 * 1024;
/// So many of them in a row decide.
const STREAK: u8 = 4;
/// What one side may still send once the other has closed.
const FAREWELL: usize = 8 << 20;

/// What the pairs of a thread use in turn.
#[derive(Debug)]
pub(super) struct Tools {
    pub(super) buffer: Box<[u8]>,
    pub(super) pipes: Pipes,
    pub(super) pace: Pace,
    /// Bytes moved since they were last counted, by sender.
    pub(super) moved: [u64; 2],
}

/// Why a pair stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// Until an event tells more.
    Waiting,
    /// For others to get a turn.
    Yielding,
    /// It has used up what it may move, for this long.
    Throttled(Duration),
    /// Over: both sides are to be closed.
    Over,
}

#[derive(Debug)]
pub(super) struct Pair {
    sides: [TcpStream; 2],
    flows: [Flow; 2],
    pub(super) throttle: Throttle,
    pub(super) live: Live,
    /// In the queue of those that can get on.
    pub(super) queued: bool,
    /// Reads nothing before this.
    pub(super) paused: Option<Instant>,
    pub(super) moved_something: bool,
    farewell: usize,
}

/// The bytes of one side on their way to the other.
#[derive(Debug)]
struct Flow {
    held: Held,
    readable: bool,
    writable: bool,
    /// The sender has shut down, so a short read is not the last one.
    hung_up: bool,
    /// Nothing more will be read.
    ended: bool,
    /// Nothing more can be written.
    broken: bool,
    splicing: bool,
    streak: u8,
}

#[derive(Debug)]
enum Held {
    Nothing,
    Bytes { bytes: Box<[u8]>, at: usize },
    Pipe { pipe: Pipe, len: usize },
}

impl Held {
    fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }
}

enum Step {
    Moved(usize),
    Nothing,
    Throttled(Duration),
}

impl Pair {
    /// Both sockets must be watched for [`EVENTS`] and have had no event yet.
    pub(super) fn new(sides: [TcpStream; 2], throttle: Throttle, live: Live) -> Self {
        let flow = || Flow {
            held: Held::Nothing,
            readable: true,
            writable: true,
            hung_up: false,
            ended: false,
            broken: false,
            splicing: false,
            streak: 0,
        };
        Self {
            sides,
            flows: [flow(), flow()],
            throttle,
            live,
            queued: false,
            paused: None,
            moved_something: false,
            farewell: FAREWELL,
        }
    }

    pub(super) fn socket(&self, side: usize) -> &TcpStream {
        &self.sides[side]
    }

    /// Notes what an event says about one side. Whether the pair should be looked at.
    pub(super) fn event(&mut self, side: usize, flags: EpollFlags) -> bool {
        let broken = flags.intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR);
        let hung_up = broken || flags.contains(EpollFlags::EPOLLRDHUP);
        let (from, to) = if side == 0 {
            let [a, b] = &mut self.flows;
            (a, b)
        } else {
            let [a, b] = &mut self.flows;
            (b, a)
        };
        from.readable |= hung_up || flags.contains(EpollFlags::EPOLLIN);
        from.hung_up |= hung_up;
        let stuck = !to.writable && !to.held.is_nothing();
        to.writable |= broken || flags.contains(EpollFlags::EPOLLOUT);
        self.paused.is_none() || hung_up || stuck
    }

    /// Moves what can be moved.
    pub(super) fn pump(&mut self, tools: &mut Tools, caps: &Caps) -> After {
        let mut turn = 0;
        for _ in 0..TURN_STEPS {
            let mut got_on = false;
            let mut throttled: Option<Duration> = None;
            for from in 0..2 {
                match self.step(from, tools, caps) {
                    Step::Moved(n) => {
                        got_on = true;
                        turn += n;
                    }
                    Step::Nothing => {}
                    Step::Throttled(wait) => throttled = Some(throttled.map_or(wait, |w| w.min(wait))),
                }
            }
            if self.is_over() {
                return After::Over;
            }
            if !got_on {
                return throttled.map_or(After::Waiting, After::Throttled);
            }
            if turn >= TURN {
                break;
            }
        }
        After::Yielding
    }

    /// Flushes or reads and writes once, in one direction.
    fn step(&mut self, from: usize, tools: &mut Tools, caps: &Caps) -> Step {
        let flow = &mut self.flows[from];
        if !flow.held.is_nothing() {
            let moved = flow.writable && flow.flush(&self.sides[1 - from], &mut tools.pipes);
            return if moved { Step::Moved(0) } else { Step::Nothing };
        }
        if !flow.readable || flow.ended {
            return Step::Nothing;
        }
        let most = match self.throttle.look(caps, Instant::now) {
            // A debt is cheaper than crumbs.
            Ok(most) => most.max(LEAST),
            Err(wait) => return Step::Throttled(wait),
        };
        let n = flow.carry(&self.sides[from], &self.sides[1 - from], most, tools);
        if n == 0 {
            return Step::Nothing;
        }
        self.throttle.spend(caps, n);
        self.live.moved(from, n);
        self.moved_something = true;
        tools.moved[from] += n as u64;
        tools.pace.read(n);
        if self.flows.iter().any(|f| f.ended || f.broken) {
            self.farewell = self.farewell.saturating_sub(n);
        }
        Step::Moved(n)
    }

    /// A side that has closed ends the pair, but what is on its way arrives first: its last bytes, and
    /// those that the other side had sent by then. To close a socket with unread bytes would reset it,
    /// and a reset can overtake what was written before.
    fn is_over(&self) -> bool {
        let done = |f: &Flow| (f.ended || f.broken) && f.held.is_nothing();
        let resting = |f: &Flow| done(f) || (f.held.is_nothing() && !f.readable);
        let [a, b] = &self.flows;
        (done(a) && resting(b)) || (done(b) && resting(a)) || self.farewell == 0
    }
}

/// What the sockets of a pair are watched for.
pub(super) const EVENTS: EpollFlags =
    EpollFlags::EPOLLIN.union(EpollFlags::EPOLLOUT).union(EpollFlags::EPOLLRDHUP).union(EpollFlags::EPOLLET);

impl Flow {
    /// Reads up to `most` bytes and writes them. How many were read; 0 if there was nothing.
    fn carry(&mut self, from: &TcpStream, to: &TcpStream, most: usize, tools: &mut Tools) -> usize {
        if self.splicing
            && let Some(pipe) = tools.pipes.take()
        {
            return self.splice(from, to, most, pipe, &mut tools.pipes);
        }
        self.copy(from, to, most, &mut tools.buffer)
    }

    fn copy(&mut self, mut from: &TcpStream, to: &TcpStream, most: usize, buffer: &mut [u8]) -> usize {
        let most = most.min(buffer.len());
        let n = match from.read(&mut buffer[..most]) {
            Ok(n) => n,
            Err(error) => return self.no_bytes(&error),
        };
        if n == 0 {
            self.ended = true;
            return 0;
        }
        // A stream that gave less than was asked for is empty, unless its end is still to be read.
        if n < most && !self.hung_up {
            self.readable = false;
        }
        self.streak = if n >= LARGE { self.streak + 1 } else { 0 };
        if self.streak >= STREAK {
            (self.splicing, self.streak) = (true, 0);
        }
        let written = if self.writable { self.write(to, &buffer[..n]) } else { 0 };
        if written < n && !self.broken {
            self.held = Held::Bytes { bytes: buffer[written..n].into(), at: 0 };
        }
        n
    }

    fn splice(
        &mut self,
        from: &TcpStream,
        to: &TcpStream,
        most: usize,
        pipe: Pipe,
        pipes: &mut Pipes,
    ) -> usize {
        let n = match pipe.fill(from, most) {
            Ok(n) => n,
            Err(error) => {
                pipes.give_back(pipe);
                return self.no_bytes(&error);
            }
        };
        if n == 0 {
            pipes.give_back(pipe);
            self.ended = true;
            return 0;
        }
        self.streak = if n < SMALL { self.streak + 1 } else { 0 };
        if self.streak >= STREAK {
            (self.splicing, self.streak) = (false, 0);
        }
        self.held = Held::Pipe { pipe, len: n };
        if self.writable || self.broken {
            self.flush(to, pipes);
        }
        n
    }

    /// A read that failed: nothing there, or nothing any more.
    fn no_bytes(&mut self, error: &io::Error) -> usize {
        match error.kind() {
            ErrorKind::WouldBlock => self.readable = false,
            ErrorKind::Interrupted => {}
            _ => self.ended = true,
        }
        0
    }

    /// Writes what is held. Whether anything changed.
    fn flush(&mut self, to: &TcpStream, pipes: &mut Pipes) -> bool {
        match std::mem::replace(&mut self.held, Held::Nothing) {
            Held::Nothing => false,
            Held::Bytes { bytes, at } => {
                let n = self.write(to, &bytes[at..]);
                if at + n < bytes.len() && !self.broken {
                    self.held = Held::Bytes { bytes, at: at + n };
                }
                n > 0 || self.broken
            }
            Held::Pipe { pipe, len } => {
                let mut left = len;
                while left > 0 && self.writable && !self.broken {
                    left -= self.try_write(|| pipe.drain(to, left));
                }
                if left == 0 {
                    pipes.give_back(pipe);
                } else if !self.broken {
                    self.hold(pipe, left, pipes);
                }
                left < len || self.broken
            }
        }
    }

    /// Keeps bytes that the receiver does not take; elsewhere than in a pipe if these are needed.
    fn hold(&mut self, pipe: Pipe, len: usize, pipes: &mut Pipes) {
        self.held = if pipes.scarce() {
            match pipe.empty(len) {
                Ok(bytes) => {
                    pipes.give_back(pipe);
                    (self.splicing, self.streak) = (false, 0);
                    Held::Bytes { bytes: bytes.into(), at: 0 }
                }
                Err(_) => {
                    self.broken = true;
                    Held::Nothing
                }
            }
        } else {
            Held::Pipe { pipe, len }
        };
    }

    /// Writes until the receiver takes no more. How much it took.
    fn write(&mut self, mut to: &TcpStream, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() && self.writable && !self.broken {
            at += self.try_write(|| to.write(&bytes[at..]));
        }
        at
    }

    fn try_write(&mut self, write: impl FnOnce() -> io::Result<usize>) -> usize {
        match write() {
            Ok(0) => self.broken = true,
            Ok(n) => return n,
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => self.writable = false,
                ErrorKind::Interrupted => {}
                _ => self.broken = true,
            },
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::size_of;

    /// What stays of a pair that says nothing: no buffer, no pipe, no task, no timer. The bench measures
    /// the rest, which is the allocator's and the tables'.
    #[test]
    fn an_idle_pair_is_small() {
        assert!(size_of::<Pair>() <= 512, "{} bytes", size_of::<Pair>());
    }

    #[test]
    fn an_unpaused_pair_is_looked_at_for_every_event() {
        let relay = crate::relay::shared::Shared::new(crate::relay::RelayConfig::default(), Vec::new());
        let relay = std::sync::Arc::new(relay);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let sides = [TcpStream::connect(addr).unwrap(), listener.accept().unwrap().0];
        let live = relay.open_pair([addr, addr], false).unwrap();
        let mut pair = Pair::new(sides, Throttle::new([addr, addr], false, Instant::now()), live);
        assert!(pair.event(0, EpollFlags::EPOLLIN));
        // One at its limit is not, for bytes that it may not read yet; but for what ends or unblocks it.
        pair.paused = Some(Instant::now());
        assert!(!pair.event(0, EpollFlags::EPOLLIN));
        assert!(!pair.event(0, EpollFlags::EPOLLOUT));
        assert!(pair.event(0, EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP));
        pair.flows[1].held = Held::Bytes { bytes: vec![1].into(), at: 0 };
        pair.flows[1].writable = false;
        assert!(pair.event(0, EpollFlags::EPOLLOUT));
    }
}
