//! Accepting connections.

use super::Edge;
use crate::broker::Port;
use hbb_common::addr::normalize;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Connections that may wait to be accepted. With stock's 128, a burst of more stalls for a second.
const BACKLOG: i32 = 4096;

/// Pause after accepting failed for want of something (descriptors, memory). The listener stays, and with
/// it those who wait in its queue.
const BACK_OFF: Duration = Duration::from_millis(50);

/// A listener; a wildcard IPv6 address serves IPv4 too.
pub(crate) fn bind(addr: SocketAddr) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(!addr.ip().is_unspecified())?;
    }
    // A restart must not wait for connections of the last run to fade.
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Serves the listener's connections until dropped, which ends them all.
pub(crate) async fn serve(edge: Arc<Edge>, listener: TcpListener, port: Port) {
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, addr)) => admit(&edge, socket, normalize(addr), port, &mut sessions),
                Err(error) => {
                    edge.broker.counters().accept_failures.one();
                    if !is_of_one_connection(&error) {
                        tracing::warn!(%error, "connections can not be accepted");
                        tokio::time::sleep(BACK_OFF).await;
                    }
                }
            },
            Some(ended) = sessions.join_next(), if !sessions.is_empty() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a connection's task has failed");
                }
            }
        }
    }
}

fn admit(edge: &Arc<Edge>, socket: TcpStream, addr: SocketAddr, port: Port, sessions: &mut JoinSet<()>) {
    let counters = edge.broker.counters();
    counters.connections.one();
    if edge.blocklist.contains(addr.ip()) {
        return counters.connections_blocked.one();
    }
    let shared = port == Port::WebSocket && edge.trusted_proxies.contains(&addr.ip());
    let Some(ticket) = edge.gate.enter(addr.ip(), shared) else {
        return counters.connections_over_limit.one();
    };
    // Fails only for a connection that has ended already.
    let _no_delay = socket.set_nodelay(true);
    sessions.spawn(Arc::clone(edge).run(socket, addr, port, ticket));
}

/// Whether the error belongs to the connection that was to be accepted, so that the next may work.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stock's queue holds 128, and the next one waits a second.
    #[test]
    fn a_burst_of_connections_finds_room_before_anybody_is_accepted() {
        let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let addr = listener.local_addr().unwrap();
        let count = most.trim().parse::<usize>().unwrap().min(1000);
        let connect = |_| std::net::TcpStream::connect_timeout(&addr, Duration::from_millis(900)).unwrap();
        let held: Vec<_> = (0..count).map(connect).collect();
        assert_eq!(held.len(), count);
    }
}
