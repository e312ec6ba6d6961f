//! Does what the dialling machine wants until there is a path that the peer has spoken on.

use crate::dialer::FIRST_LIMIT;
use crate::error::dial_error;
use crate::link::{Incoming, Link};
use crate::net;
use crate::place::relay_address;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, select_all};
use hbb_common::defaults::{CONNECT_TIMEOUT, RELAY_PORT, RENDEZVOUS_PORT};
use hbb_common::rendezvous::NatType;
use remote::{Path, RemoteError};
use session_proto::dial::{ConnId, Dial, Output, PeerKey};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;
use tokio::time::sleep_until;

/// The longest packet of a server.
const SERVER_LIMIT: usize = 64 << 10;

/// One try to reach a peer by its id.
pub(crate) struct Attempt {
    dial: Dial,
    /// hbbs, as configured.
    server: String,
    /// Local addresses that connections have or had.
    locals: HashMap<ConnId, SocketAddr>,
    /// Being made; dropping one stops it.
    connecting: Vec<(ConnId, BoxFuture<'static, io::Result<Link>>)>,
    open: Vec<(ConnId, Open)>,
}

struct Open {
    link: Link,
    /// The packet last handed to the machine.
    last: Option<Bytes>,
}

/// What came about.
enum Happened {
    Connected(ConnId, io::Result<Link>),
    Incoming(ConnId, Incoming),
    Nat(NatType),
    Due,
}

impl Attempt {
    pub(crate) fn new(dial: Dial, server: String) -> Self {
        Self { dial, server, locals: HashMap::new(), connecting: Vec::new(), open: Vec::new() }
    }

    /// `nat` finds out meanwhile what our own NAT is, where that is not known.
    pub(crate) async fn run(
        mut self,
        nat: Option<impl Future<Output = NatType> + Send>,
    ) -> Result<(Link, Path, PeerKey), RemoteError> {
        let nat = async {
            match nat {
                Some(test) => test.await,
                None => std::future::pending().await,
            }
        };
        let mut nat = std::pin::pin!(nat.fuse());
        self.dial.start(Instant::now());
        loop {
            while let Some(output) = self.dial.poll_output() {
                if let Some(found) = self.output(output)? {
                    return Ok(found);
                }
            }
            let due = until(self.dial.poll_timeout());
            let happened = tokio::select! {
                happened = self.next() => happened,
                nat = &mut nat => Happened::Nat(nat),
                () = due => Happened::Due,
            };
            self.happened(happened);
        }
    }

    /// Waits for something to happen on any connection. Cancel safe.
    async fn next(&mut self) -> Happened {
        let connecting = self.connecting.iter_mut().map(|(conn, work)| {
            let conn = *conn;
            async move { Happened::Connected(conn, work.await) }.boxed()
        });
        let open = self.open.iter_mut().map(|(conn, open)| {
            let conn = *conn;
            async move { Happened::Incoming(conn, open.link.next().await) }.boxed()
        });
        let all: Vec<_> = connecting.chain(open).collect();
        if all.is_empty() {
            return std::future::pending().await;
        }
        select_all(all).await.0
    }

    fn happened(&mut self, happened: Happened) {
        let now = Instant::now();
        match happened {
            Happened::Connected(conn, link) => {
                self.connecting.retain(|(other, _)| *other != conn);
                match link {
                    Ok(link) => {
                        if let Ok(local) = link.local_addr() {
                            self.locals.insert(conn, local);
                        }
                        self.open.push((conn, Open { link, last: None }));
                        self.dial.handle_connected(conn, now);
                    }
                    Err(e) => {
                        tracing::debug!(conn = conn.0, error = %e, "a connection can not be made");
                        self.dial.handle_connect_failed(conn, &e.to_string());
                    }
                }
            }
            Happened::Incoming(conn, Incoming::Packet(packet)) => {
                if let Some((_, open)) = self.open.iter_mut().find(|(other, _)| *other == conn) {
                    open.last = Some(packet.clone());
                }
                self.dial.handle_packet(conn, packet, now);
            }
            Happened::Incoming(_, Incoming::Flushed) => {}
            Happened::Incoming(conn, Incoming::Ended(reason)) => {
                tracing::debug!(conn = conn.0, reason, "a connection ended");
                self.open.retain(|(other, _)| *other != conn);
                self.dial.handle_closed(conn);
            }
            Happened::Nat(nat) => self.dial.learn_nat(nat),
            Happened::Due => self.dial.handle_timeout(now),
        }
    }

    fn output(&mut self, output: Output) -> Result<Option<(Link, Path, PeerKey)>, RemoteError> {
        match output {
            Output::ConnectServer { conn } => {
                let server = self.server.clone();
                self.connect(conn, async move {
                    net::connect_to(&server, RENDEZVOUS_PORT, SERVER_LIMIT, CONNECT_TIMEOUT).await
                });
            }
            Output::ConnectPeer { conn, to, like } => {
                let local = self.locals.get(&like).copied();
                self.connect(conn, async move {
                    let stream = match local {
                        Some(local) => net::connect_from(local, to, CONNECT_TIMEOUT).await?,
                        None => net::connect(&to.ip().to_string(), to.port(), CONNECT_TIMEOUT).await?,
                    };
                    Ok(Link::tcp(stream, FIRST_LIMIT))
                });
            }
            Output::ConnectRelay { conn, relay } => {
                let relay = relay_address(&self.server, &relay);
                self.connect(conn, async move {
                    net::connect_to(&relay, RELAY_PORT, FIRST_LIMIT, CONNECT_TIMEOUT).await
                });
            }
            Output::Send { conn, packet } => {
                if let Some((_, open)) = self.open.iter_mut().find(|(other, _)| *other == conn) {
                    open.link.queue(&packet);
                }
            }
            Output::Close { conn } => {
                self.connecting.retain(|(other, _)| *other != conn);
                self.open.retain(|(other, _)| *other != conn);
            }
            Output::Done { conn, path, key } => {
                let found = self.open.iter().position(|(other, _)| *other == conn);
                let Some((_, mut open)) = found.map(|at| self.open.swap_remove(at)) else {
                    return Err(RemoteError::Unreachable {
                        address: self.server.clone(),
                        reason: "the path ended as it was found".into(),
                    });
                };
                if let Some(first) = open.last {
                    open.link.unread(first);
                }
                return Ok(Some((open.link, path, key)));
            }
            Output::Failed(error) => return Err(dial_error(error, &self.server, self.dial.id())),
        }
        Ok(None)
    }

    fn connect(&mut self, conn: ConnId, work: impl Future<Output = io::Result<Link>> + Send + 'static) {
        self.connecting.push((conn, work.boxed()));
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
