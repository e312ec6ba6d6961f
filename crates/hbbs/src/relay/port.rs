//! The side of a byte-moving thread that other threads see.

use super::{
    aged::Key,
    caps::lock,
    shared::{Arrival, Live},
};
use nix::{
    errno::Errno,
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags},
        eventfd::{EfdFlags, EventFd},
    },
};
use std::{
    net::TcpStream,
    os::fd::AsFd,
    sync::{
        Mutex,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{AcqRel, Relaxed},
        },
    },
};

/// Two sides that have found each other, on their way to the thread that will serve them.
#[derive(Debug)]
pub(super) struct NewPair {
    pub(super) first: Arrival,
    pub(super) second: Arrival,
    pub(super) live: Live,
}

#[derive(Debug)]
pub(super) struct Port {
    pub(super) epoll: Epoll,
    pub(super) wake: EventFd,
    /// Pairs that it serves or will.
    pub(super) pairs: AtomicUsize,
    inbox: Mutex<Vec<NewPair>>,
    review: AtomicBool,
}

/// What an event of a port's epoll is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    Wake,
    Listener(u32),
    Opening(Key),
    Parked(Key),
    /// Side 0 or 1 of a pair.
    Side(Key, usize),
}

impl Token {
    pub(super) fn pack(self) -> u64 {
        let (kind, key) = match self {
            Self::Wake => (0, Key { index: 0, generation: 0 }),
            Self::Listener(index) => (1, Key { index, generation: 0 }),
            Self::Opening(key) => (2, key),
            Self::Parked(key) => (3, key),
            Self::Side(key, side) => (4 + side as u64, key),
        };
        kind << 61 | u64::from(key.generation) << 32 | u64::from(key.index)
    }

    pub(super) fn unpack(packed: u64) -> Self {
        let key = Key { index: packed as u32, generation: (packed >> 32) as u32 & ((1 << 29) - 1) };
        match packed >> 61 {
            0 => Self::Wake,
            1 => Self::Listener(key.index),
            2 => Self::Opening(key),
            3 => Self::Parked(key),
            kind => Self::Side(key, kind as usize & 1),
        }
    }
}

impl Port {
    pub(super) fn new() -> nix::Result<Self> {
        let port = Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            wake: EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?,
            pairs: AtomicUsize::new(0),
            inbox: Mutex::default(),
            review: AtomicBool::new(false),
        };
        port.epoll.add(&port.wake, EpollEvent::new(EpollFlags::EPOLLIN, Token::Wake.pack()))?;
        Ok(port)
    }

    pub(super) fn watch(&self, socket: impl AsFd, flags: EpollFlags, token: Token) -> nix::Result<()> {
        self.epoll.add(socket, EpollEvent::new(flags, token.pack()))
    }

    pub(super) fn rewatch(&self, socket: impl AsFd, flags: EpollFlags, token: Token) -> nix::Result<()> {
        self.epoll.modify(socket, &mut EpollEvent::new(flags, token.pack()))
    }

    pub(super) fn unwatch(&self, socket: &TcpStream) {
        match self.epoll.delete(socket) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(error) => tracing::error!(%error, "a relay socket can not be taken out of epoll"),
        }
    }

    /// Gives it a pair to serve.
    pub(super) fn hand_over(&self, pair: NewPair) {
        lock(&self.inbox).push(pair);
        self.wake();
    }

    pub(super) fn take_inbox(&self) -> Vec<NewPair> {
        std::mem::take(&mut lock(&self.inbox))
    }

    pub(super) fn review(&self) {
        self.review.store(true, Relaxed);
        self.wake();
    }

    pub(super) fn take_review(&self) -> bool {
        self.review.swap(false, AcqRel)
    }

    pub(super) fn wake(&self) {
        // It can only fail because the count is full, and then the thread is awake already.
        self.wake.write(1).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back() {
        let key = Key { index: u32::MAX - 1, generation: (1 << 29) - 1 };
        let tokens = [
            Token::Wake,
            Token::Listener(3),
            Token::Opening(key),
            Token::Parked(key),
            Token::Side(key, 0),
            Token::Side(key, 1),
        ];
        for token in tokens {
            assert_eq!(Token::unpack(token.pack()), token);
        }
    }
}
