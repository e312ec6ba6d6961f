//! Pipes to splice through, shared by all pairs of a thread: a pair has one only while bytes are in it.

use nix::{
    fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice},
    unistd::pipe2,
};
use std::{io, net::TcpStream, os::fd::OwnedFd, sync::Arc};

/// What one splice asks for, and the size of a pipe.
const CHUNK: usize = 1 << 20;
/// Pipes of one thread. Users without privileges share 64 MiB of them.
const MOST: usize = 32;
/// Empty pipes that are kept.
const SPARE: usize = 8;

#[derive(Debug)]
pub(super) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    /// Counts the pipes that exist.
    _one_of: Arc<()>,
}

#[derive(Debug, Default)]
pub(super) struct Pipes {
    spare: Vec<Pipe>,
    existing: Arc<()>,
}

impl Pipes {
    /// An empty pipe, `None` when there are enough of them or no descriptors for another.
    pub(super) fn take(&mut self) -> Option<Pipe> {
        if let Some(pipe) = self.spare.pop() {
            return Some(pipe);
        }
        if Arc::strong_count(&self.existing) > MOST {
            return None;
        }
        let (read, write) = pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).ok()?;
        // A smaller pipe moves less per call, and that is all.
        fcntl(&write, FcntlArg::F_SETPIPE_SZ(CHUNK as i32)).ok();
        Some(Pipe { read, write, _one_of: Arc::clone(&self.existing) })
    }

    /// Takes back a pipe that is empty again.
    pub(super) fn give_back(&mut self, pipe: Pipe) {
        if self.spare.len() < SPARE {
            self.spare.push(pipe);
        }
    }

    /// Whether pairs that can not get rid of their bytes should hold them elsewhere.
    pub(super) fn scarce(&self) -> bool {
        Arc::strong_count(&self.existing) > MOST / 4 * 3
    }
}

impl Pipe {
    /// Moves up to `most` bytes from a socket into the pipe, which must be empty: so `WouldBlock` can only
    /// mean that the socket is.
    pub(super) fn fill(&self, from: &TcpStream, most: usize) -> io::Result<usize> {
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
        Ok(splice(from, None, &self.write, None, most.min(CHUNK), flags)?)
    }

    /// Moves up to `len` bytes, which must be in the pipe, into a socket.
    pub(super) fn drain(&self, to: &TcpStream, len: usize) -> io::Result<usize> {
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
        Ok(splice(&self.read, None, to, None, len, flags)?)
    }

    /// Takes the `len` bytes out that are in the pipe.
    pub(super) fn empty(&self, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        let mut at = 0;
        while at < len {
            match nix::unistd::read(&self.read, &mut bytes[at..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => at += n,
            }
        }
        Ok(bytes)
    }
}
