//! The ceiling: a server that gives every datagram back and keeps nothing.

use crate::bench::{BenchError, process, system};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};
use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd as _;

/// Datagrams per call.
const BATCH: usize = 64;
const LONGEST: usize = 1024;

pub(super) fn serve() -> Result<(), BenchError> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(system("listening"))?;
    let addr = socket.local_addr().map_err(system("listening"))?;
    std::thread::spawn(move || run(&socket));
    process::announce(addr);
    Ok(())
}

fn run(socket: &UdpSocket) -> nix::Result<()> {
    let mut buffers = vec![[0; LONGEST]; BATCH];
    // Not the same for both: sending leaves addresses of its own in them.
    let mut incoming = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut outgoing = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    loop {
        let mut came = Vec::with_capacity(BATCH);
        {
            let mut slices: Vec<_> = buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
            match recvmmsg(socket.as_raw_fd(), &mut incoming, &mut slices, MsgFlags::MSG_WAITFORONE, None) {
                Ok(messages) => came.extend(messages.map(|message| (message.bytes, message.address))),
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error),
            }
        }
        let slices: Vec<_> =
            came.iter().zip(&buffers).map(|((length, _), b)| [IoSlice::new(&b[..*length])]).collect();
        let addresses: Vec<_> = came.iter().map(|(_, address)| *address).collect();
        // What can not be sent is lost, as datagrams are.
        sendmmsg(socket.as_raw_fd(), &mut outgoing, &slices, &addresses, [], MsgFlags::empty()).ok();
    }
}
