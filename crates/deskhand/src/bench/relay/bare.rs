//! The ceilings: relays without limits, timers or protocol. The first two connections are a pair, and so
//! on; one thread moves their bytes and knows nothing else.

use crate::bench::{BenchError, process, system};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice},
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
    unistd::pipe2,
};
use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::fd::OwnedFd,
};

/// How bytes are moved.
#[derive(Debug, Clone, Copy)]
pub(super) enum Loop {
    Splice,
    /// Through a buffer of this size.
    Copy(usize),
}

struct Pair {
    sides: [TcpStream; 2],
    flows: [Flow; 2],
}

struct Flow {
    pipe: Option<(OwnedFd, OwnedFd)>,
    in_pipe: usize,
    held: Vec<u8>,
}

/// Whether a flow may have more to do.
#[derive(PartialEq)]
enum Moved {
    Blocked,
    Ended,
}

const LISTENER: u64 = u64::MAX;
const PIPE: usize = 1 << 20;

pub(super) fn serve(how: Loop) -> Result<(), BenchError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(system("listening"))?;
    listener.set_nonblocking(true).map_err(system("listening"))?;
    let addr = listener.local_addr().map_err(system("listening"))?;
    std::thread::spawn(move || run(&listener, how));
    process::announce(addr);
    Ok(())
}

fn run(listener: &TcpListener, how: Loop) -> nix::Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::empty())?;
    epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut pairs: Vec<Option<Pair>> = Vec::new();
    let mut free = Vec::new();
    let mut first: Option<TcpStream> = None;
    let mut buffer = vec![0; if let Loop::Copy(size) = how { size } else { 0 }];
    let mut events = [EpollEvent::empty(); 256];
    loop {
        let n = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            other => other?,
        };
        for event in &events[..n] {
            if event.data() == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true).ok();
                    stream.set_nodelay(true).ok();
                    let Some(before) = first.take() else {
                        first = Some(stream);
                        continue;
                    };
                    let index = free.pop().unwrap_or_else(|| {
                        pairs.push(None);
                        pairs.len() - 1
                    });
                    let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
                    epoll.add(&before, EpollEvent::new(flags, index as u64))?;
                    epoll.add(&stream, EpollEvent::new(flags, index as u64))?;
                    let flow = || Flow { pipe: None, in_pipe: 0, held: Vec::new() };
                    pairs[index] = Some(Pair { sides: [before, stream], flows: [flow(), flow()] });
                }
                continue;
            }
            let index = event.data() as usize;
            let Some(pair) = &mut pairs[index] else { continue };
            let mut ended = false;
            for from in 0..2 {
                let (source, sink) = (&pair.sides[from], &pair.sides[1 - from]);
                ended |= match how {
                    Loop::Splice => pair.flows[from].splice(source, sink),
                    Loop::Copy(_) => pair.flows[from].copy(source, sink, &mut buffer),
                } == Moved::Ended;
            }
            if ended {
                pairs[index] = None;
                free.push(index);
            }
        }
    }
}

impl Flow {
    fn splice(&mut self, source: &TcpStream, sink: &TcpStream) -> Moved {
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
        if self.pipe.is_none() {
            let Ok(pipe) = pipe2(OFlag::O_NONBLOCK) else { return Moved::Ended };
            fcntl(&pipe.1, FcntlArg::F_SETPIPE_SZ(PIPE as i32)).ok();
            self.pipe = Some(pipe);
        }
        let Some((read, write)) = &self.pipe else { return Moved::Ended };
        loop {
            if self.in_pipe == 0 {
                match splice(source, None, write, None, PIPE, flags) {
                    Ok(0) => return Moved::Ended,
                    Ok(n) => self.in_pipe = n,
                    Err(Errno::EAGAIN) => return Moved::Blocked,
                    Err(_) => return Moved::Ended,
                }
            }
            match splice(read, None, sink, None, self.in_pipe, flags) {
                Ok(n) => self.in_pipe -= n,
                Err(Errno::EAGAIN) => return Moved::Blocked,
                Err(_) => return Moved::Ended,
            }
        }
    }

    fn copy(&mut self, mut source: &TcpStream, mut sink: &TcpStream, buffer: &mut [u8]) -> Moved {
        loop {
            while !self.held.is_empty() {
                match sink.write(&self.held) {
                    Ok(n) => drop(self.held.drain(..n)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Moved::Blocked,
                    Err(_) => return Moved::Ended,
                }
            }
            let n = match source.read(buffer) {
                Ok(0) => return Moved::Ended,
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Moved::Blocked,
                Err(_) => return Moved::Ended,
            };
            match sink.write(&buffer[..n]) {
                Ok(written) => self.held.extend_from_slice(&buffer[written..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.held.extend_from_slice(&buffer[..n]);
                    return Moved::Blocked;
                }
                Err(_) => return Moved::Ended,
            }
        }
    }
}
