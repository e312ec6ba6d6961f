//! Keeps the host registered with its server, and answers what the server asks of it.

use crate::config::{HostError, HostEvent, ServerConfig};
use crate::host::Shared;
use crate::paths;
use crate::place::Place;
use crate::transport::{Step, Transport, TransportError};
use bytes::Bytes;
use rand::Rng as _;
use session_proto::registration::{Channel, Event, Output, Registration, RegistrationConfig};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;

/// Between two tries to reach a server that is not there.
const RETRY: Duration = Duration::from_secs(3);
const SLOWEST_RETRY: Duration = Duration::from_secs(18);

/// Clients that can be met at the same time.
const MEETINGS: usize = 64;

/// The longest datagram or packet of a server.
const LONGEST: usize = 64 * 1024;

impl Place {
    /// From what the operator wrote.
    pub(crate) fn of(config: &ServerConfig) -> Result<Self, HostError> {
        Self::parse(config).ok_or_else(|| HostError::Server(config.address.clone()))
    }
}

/// Registers until the host ends.
pub(crate) async fn run(shared: Arc<Shared>, place: Place) {
    let cancel = shared.cancel();
    let place = Arc::new(place);
    let meetings = Arc::new(Semaphore::new(MEETINGS));
    let mut pause = RETRY;
    loop {
        let began = Instant::now();
        let registering = register(&shared, &place, &meetings);
        let reason = tokio::select! {
            () = cancel.cancelled() => return,
            result = registering => match result {
                Ok(()) => "the server ended the connection".to_owned(),
                Err(error) => error.to_string(),
            },
        };
        shared.report(HostEvent::Unregistered { reason });
        if began.elapsed() > SLOWEST_RETRY {
            pause = RETRY;
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(SLOWEST_RETRY);
    }
}

/// One socket's life.
async fn register(
    shared: &Arc<Shared>,
    place: &Arc<Place>,
    meetings: &Arc<Semaphore>,
) -> Result<(), TransportError> {
    let mut link = Link::open(place).await?;
    let channel = if matches!(link, Link::Datagrams { .. }) { Channel::Datagrams } else { Channel::Stream };
    let mut machine = Registration::new(configuration(shared, channel), Instant::now());
    loop {
        while let Some(output) = machine.poll_output() {
            match output {
                Output::Send(packet) => link.send(packet).await,
                Output::Resolve => link = Link::open(place).await?,
                Output::Disconnect => return Ok(()),
                Output::Event(event) => {
                    if let ControlFlow::Break(()) = happened(shared, place, meetings, machine.id(), event) {
                        return Ok(());
                    }
                }
            }
        }
        let deadline = machine.poll_timeout().unwrap_or_else(|| Instant::now() + RETRY);
        tokio::select! {
            packet = link.receive() => machine.handle_packet(&packet?, Instant::now()),
            () = tokio::time::sleep_until(deadline.into()) => machine.handle_timeout(Instant::now()),
        }
    }
}

fn configuration(shared: &Shared, channel: Channel) -> RegistrationConfig {
    let state = shared.state();
    RegistrationConfig {
        channel,
        id: state.id.clone(),
        id_is_chosen: shared.config.id.is_some(),
        uuid: state.uuid.clone().into(),
        public_key: Bytes::copy_from_slice(&state.identity.public().0),
        seed: rand::rng().random(),
    }
}

/// `Break`: this registration can not go on.
fn happened(
    shared: &Arc<Shared>,
    place: &Arc<Place>,
    meetings: &Arc<Semaphore>,
    id: &str,
    event: Event,
) -> ControlFlow<()> {
    match event {
        Event::Registered { .. } => shared.report(HostEvent::Registered { id: id.into() }),
        Event::Silent => {
            shared.report(HostEvent::Unregistered { reason: "the server does not answer".into() })
        }
        Event::IdTaken => shared.report(HostEvent::IdTaken { id: id.into() }),
        Event::IdReplaced { old, new } => {
            if let Err(error) = shared.state().set_id(&new) {
                shared.report(HostEvent::Unregistered { reason: error.to_string() });
                return ControlFlow::Break(());
            }
            shared.report(HostEvent::IdReplaced { old, new });
        }
        Event::Refused(why) => {
            shared.report(HostEvent::Unregistered { reason: format!("the server refuses: {why}") });
        }
        Event::Repeated => {
            shared.counters.repeated_pushes.fetch_add(1, Ordering::Relaxed);
        }
        Event::OtherServers(servers) => tracing::info!(?servers, "the server names others; kept"),
        Event::Push(push) => match meetings.clone().try_acquire_owned() {
            Ok(permit) => {
                let (host, place) = (shared.clone(), place.clone());
                let cancel = shared.cancel();
                shared.spawn(async move {
                    tokio::select! {
                        () = cancel.cancelled() => {}
                        () = paths::meet(&host, &place, push) => {}
                    }
                    drop(permit);
                });
            }
            Err(_) => {
                shared.counters.refused_pushes.fetch_add(1, Ordering::Relaxed);
            }
        },
    }
    ControlFlow::Continue(())
}

/// The way to the server.
enum Link {
    Datagrams { socket: UdpSocket, buffer: Vec<u8> },
    Stream(Transport),
}

impl Link {
    async fn open(place: &Place) -> Result<Self, TransportError> {
        if place.is_stream() {
            return Ok(Self::Stream(place.connect(LONGEST).await?));
        }
        let addr = place.resolve().await?;
        let any: SocketAddr = match addr {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).await?;
        // Only the server's own datagrams come in then.
        socket.connect(addr).await?;
        Ok(Self::Datagrams { socket, buffer: vec![0; LONGEST] })
    }

    /// What can not be sent is as good as lost on the way.
    async fn send(&mut self, packet: Bytes) {
        match self {
            Self::Datagrams { socket, .. } => {
                if let Err(error) = socket.send(&packet).await {
                    tracing::debug!(%error, "registration not sent");
                }
            }
            Self::Stream(transport) => transport.queue(packet, Instant::now()),
        }
    }

    /// Cancel safe.
    async fn receive(&mut self) -> Result<Bytes, TransportError> {
        match self {
            Self::Datagrams { socket, buffer } => loop {
                match socket.recv(buffer).await {
                    Ok(len) => return Ok(Bytes::copy_from_slice(&buffer[..len])),
                    // What an earlier datagram of ours met: the machine's own clock copes with that.
                    Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
                    Err(e) => return Err(e.into()),
                }
            },
            Self::Stream(transport) => loop {
                if let Step::Packet(packet) = transport.step().await? {
                    return Ok(packet);
                }
            },
        }
    }
}
