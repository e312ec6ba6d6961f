//! How a client that the server announced comes to this host (rendezvous §5.16, §5.21).

use crate::config::Path;
use crate::host::Shared;
use crate::place::{Place, shared_socket};
use crate::session::FIRST_LIMIT;
use crate::transport::{Step, Transport, TransportError};
use bytes::Bytes;
use hbb_common::addr::mangle;
use hbb_common::defaults::{CONNECT_TIMEOUT, RELAY_TIMEOUT, VERSION};
use hbb_common::rendezvous::{
    LocalAddr, PunchHoleSent, RelayResponse, RendezvousMessage, RequestRelay, relay_response,
    rendezvous_message::Union,
};
use prost::Message as _;
use session_proto::registration::{Push, PushKind};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::net::{TcpListener, TcpStream};

/// The packet that opens a NAT for the client is not waited for longer.
const POKE: Duration = Duration::from_millis(30);

/// Connections taken on a punched port; one is expected, and anybody can come first.
const CALLERS: usize = 4;

/// Longest packet of a server on a connection that it has nothing to say on.
const SMALL: usize = 4096;

/// Answers a push, and takes the client in if it comes.
pub(crate) async fn meet(shared: &Arc<Shared>, place: &Place, push: Push) {
    let client = push.client;
    let done = match &push.kind {
        PushKind::Punch { relay_only } => {
            if *relay_only || place.force_relay || place.is_web() {
                relay_by_host(shared, place, &push).await
            } else {
                punch(shared, place, &push).await
            }
        }
        PushKind::Local => {
            if place.force_relay || place.is_web() {
                relay_by_host(shared, place, &push).await
            } else {
                match local(shared, place, &push).await {
                    Err(error) => {
                        tracing::debug!(%client, %error, "no local path; trying the relay");
                        relay_by_host(shared, place, &push).await
                    }
                    done => done,
                }
            }
        }
        PushKind::Relay { uuid, secure } => relay_by_client(shared, place, &push, uuid, *secure).await,
    };
    if let Err(error) = done {
        tracing::info!(%client, %error, "a client could not be met");
    }
}

/// Opens a hole: from one local port to the server, to the client (whose NAT drops it; ours remembers),
/// and listening.
async fn punch(shared: &Arc<Shared>, place: &Place, push: &Push) -> Result<(), TransportError> {
    let server = place.connect_shared().await?;
    let local = server.local_addr()?;
    // A client may come as soon as the server has our answer, so the port is open before.
    let listener = listen(local)?;
    if let Ok(socket) = shared_socket(local)
        && let Ok(Ok(_)) = tokio::time::timeout(POKE, socket.connect(push.client)).await
    {
        tracing::debug!(client = %push.client, "the client's port was open");
    }
    let answer = PunchHoleSent {
        socket_addr: push.client_mangled.clone(),
        id: shared.state().id.clone(),
        relay_server: place.relay(&push.relay).to_string(),
        version: VERSION.into(),
        ..Default::default()
    };
    let server = tell(server, Union::PunchHoleSent(answer)).await?;
    accept(shared, &listener, push.client, Path::Punched, server).await
}

/// Tells the client where this machine is in the network that both share.
async fn local(shared: &Arc<Shared>, place: &Place, push: &Push) -> Result<(), TransportError> {
    let server = place.connect_shared().await?;
    let local = server.local_addr()?;
    if !local.is_ipv4() {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "the server was reached by IPv6").into());
    }
    let listener = listen(local)?;
    let answer = LocalAddr {
        socket_addr: push.client_mangled.clone(),
        local_addr: mangle(local, clock()).into(),
        relay_server: place.relay(&push.relay).to_string(),
        id: shared.state().id.clone(),
        version: VERSION.into(),
        ..Default::default()
    };
    let server = tell(server, Union::LocalAddr(answer)).await?;
    accept(shared, &listener, push.client, Path::Local, server).await
}

/// Meets the client at the relay, under a name that this host chooses.
async fn relay_by_host(shared: &Arc<Shared>, place: &Place, push: &Push) -> Result<(), TransportError> {
    let relay = place.relay(&push.relay);
    let uuid = uuid::Uuid::new_v4().to_string();
    let answer = RelayResponse {
        socket_addr: push.client_mangled.clone(),
        uuid: uuid.clone(),
        relay_server: relay.to_string(),
        version: VERSION.into(),
        union: Some(relay_response::Union::Id(shared.state().id.clone())),
        ..Default::default()
    };
    let server = place.connect(SMALL).await?;
    let server = tell_transport(server, Union::RelayResponse(answer)).await?;
    relayed(shared, place, push, uuid, true, server).await
}

/// Meets the client at the relay, under the name that it chose.
async fn relay_by_client(
    shared: &Arc<Shared>,
    place: &Place,
    push: &Push,
    uuid: &str,
    secure: bool,
) -> Result<(), TransportError> {
    let answer = RelayResponse {
        socket_addr: push.client_mangled.clone(),
        version: VERSION.into(),
        ..Default::default()
    };
    let server = place.connect(SMALL).await?;
    let server = tell_transport(server, Union::RelayResponse(answer)).await?;
    relayed(shared, place, push, uuid.to_owned(), secure, server).await
}

async fn relayed(
    shared: &Arc<Shared>,
    place: &Place,
    push: &Push,
    uuid: String,
    secure: bool,
    server: Transport,
) -> Result<(), TransportError> {
    if !secure && !shared.config.allow_plain {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the client wants no encryption").into());
    }
    let request = RequestRelay { uuid, licence_key: place.key.clone(), ..Default::default() };
    let mut relay = place.relay(&push.relay).connect(FIRST_LIMIT).await?;
    // The relay answers nothing: what follows is the client.
    relay.queue(encode(Union::RequestRelay(request)), Instant::now());
    shared.admit(|| relay, push.client, Path::Relayed, secure);
    wait_for_end(server).await;
    Ok(())
}

fn listen(local: SocketAddr) -> io::Result<TcpListener> {
    shared_socket(local)?.listen(CALLERS as u32)
}

/// Takes callers in until the client itself was among them or it is too late.
async fn accept(
    shared: &Arc<Shared>,
    listener: &TcpListener,
    client: SocketAddr,
    path: Path,
    server: Transport,
) -> Result<(), TransportError> {
    let deadline = tokio::time::Instant::now() + CONNECT_TIMEOUT;
    // The server's end of the punched port is left alone until the client is here.
    let quiet = wait_for_end(server);
    tokio::pin!(quiet);
    let mut ended = false;
    let mut callers = 0;
    while callers < CALLERS {
        tokio::select! {
            () = &mut quiet, if !ended => ended = true,
            accepted = tokio::time::timeout_at(deadline, listener.accept()) => {
                let Ok(accepted) = accepted else {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "the client did not come").into());
                };
                let (stream, from) = accepted?;
                callers += 1;
                shared.admit(|| Transport::tcp(stream, FIRST_LIMIT), from, path, true);
                if path == Path::Local || from.ip() == client.ip() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Reads a connection on which nothing more is expected, until the server closes it.
async fn wait_for_end(mut server: Transport) {
    let reading = async { while server.step().await.is_ok() {} };
    if tokio::time::timeout(RELAY_TIMEOUT, reading).await.is_err() {
        tracing::debug!("the server keeps a connection open that is of no use");
    }
}

async fn tell(server: TcpStream, union: Union) -> Result<Transport, TransportError> {
    tell_transport(Transport::tcp(server, SMALL), union).await
}

async fn tell_transport(mut server: Transport, union: Union) -> Result<Transport, TransportError> {
    server.queue(encode(union), Instant::now());
    let telling = async {
        loop {
            match server.step().await {
                Ok(Step::Sent) => return Ok(()),
                // A key exchange that some servers offer; this connection has no secrets.
                Ok(Step::Packet(_)) => {}
                Err(error) => return Err(error),
            }
        }
    };
    match tokio::time::timeout(CONNECT_TIMEOUT, telling).await {
        Ok(done) => done?,
        Err(_) => return Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
    Ok(server)
}

fn encode(union: Union) -> Bytes {
    RendezvousMessage { union: Some(union) }.encode_to_vec().into()
}

/// What blurs a mangled address: the low bits of the clock.
fn clock() -> u32 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |t| t.as_micros() as u32)
}
