//! The port for direct-IP access.

use crate::config::{HostError, Path};
use crate::host::Shared;
use crate::session::FIRST_LIMIT;
use crate::transport::Transport;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

const BACKLOG: i32 = 128;

/// After a failed `accept` (no file descriptors left) it is tried again this much later.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) local_addr: SocketAddr,
    listener: TcpListener,
}

pub(crate) fn bind(addr: SocketAddr) -> Result<Listener, HostError> {
    let listen = || {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        if addr.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from_std(socket.into())?;
        Ok(Listener { local_addr: listener.local_addr()?, listener })
    };
    listen().map_err(|reason: io::Error| HostError::Listen { addr, reason })
}

pub(crate) async fn run(shared: Arc<Shared>, listener: Listener) {
    let cancel = shared.cancel();
    loop {
        let accepted = tokio::select! {
            () = cancel.cancelled() => return,
            accepted = listener.listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                shared.admit(|| Transport::tcp(stream, FIRST_LIMIT), from, Path::Direct, false);
            }
            Err(error) => {
                tracing::warn!(%error, "a client could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
