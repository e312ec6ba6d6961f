//! How a host keeps itself known to hbbs (rendezvous §5.3–5.7), and what hbbs asks of it (§5.16).
//!
//! One machine for both ways of registering: datagrams, where the host repeats itself every 15 s, and a
//! stream (TCP or WebSocket), where the connection itself says that the host is there.

use bytes::Bytes;
use hbb_common::addr::demangle;
use hbb_common::defaults::{REGISTER_INTERVAL, REGISTER_REPLY_TIMEOUT};
use hbb_common::rendezvous::{
    NatType, RegisterPeer, RegisterPk, RendezvousMessage, register_pk_response::Result as PkResult,
    rendezvous_message::Union,
};
use prost::Message as _;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The configuration serial that stock hosts start from.
const SERIAL: i32 = 3;

/// Unanswered registrations after which the name is resolved anew, and how often at most.
const FAILS_BEFORE_RESOLVING: u32 = 4;
const RESOLVE_INTERVAL: Duration = Duration::from_secs(60);

/// A server that stays silent is asked less often, down to this.
const SLOWEST_RETRY: Duration = Duration::from_secs(15);

/// hbbs takes three `RegisterPk` in six seconds (rendezvous §5.6).
const PK_INTERVAL: Duration = Duration::from_secs(3);

/// Until another try when the server refused for a reason of its own.
const REFUSED_PAUSE: Duration = Duration::from_secs(15);
const NOT_DEPLOYED_PAUSE: Duration = Duration::from_secs(30);
const ID_TAKEN_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

/// Ids tried at once, one after the other, before taking a rest.
const REPLACEMENTS: u32 = 3;

/// A stream is dead after one and a half of these without a packet, unless the server names another.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
const LONGEST_KEEP_ALIVE: Duration = Duration::from_secs(3600);

/// A push about the same client as the last one of its class is a repetition within this time.
const REPEATED: Duration = Duration::from_millis(100);

/// How the host reaches its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Every packet is a datagram, which may be lost.
    Datagrams,
    /// Every packet is a frame or a WebSocket message.
    Stream,
}

#[derive(Debug, Clone)]
pub struct RegistrationConfig {
    pub channel: Channel,
    pub id: String,
    /// Whether a person chose the id. One that was only picked at random is given up when another machine
    /// has it.
    pub id_is_chosen: bool,
    /// What hbbs knows the machine by.
    pub uuid: Bytes,
    pub public_key: Bytes,
    /// Where replacement ids come from.
    pub seed: u64,
}

/// One thing for the driver to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    Send(Bytes),
    /// Resolve the server's name and go on from a new socket. Datagrams only.
    Resolve,
    /// The stream is dead, or of no use: close it and, after a while, open another with a new machine.
    Disconnect,
    Event(Event),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// hbbs knows this host from now on, after this round trip.
    Registered { round_trip: Duration },
    /// hbbs has not answered for a while.
    Silent,
    /// Another machine has the chosen id.
    IdTaken,
    /// Another machine had the random id; this is the new one, to be remembered.
    IdReplaced { old: String, new: String },
    /// hbbs refused, by its own word.
    Refused(&'static str),
    /// A client wants to come.
    Push(Push),
    /// A repetition of the last push was dropped.
    Repeated,
    /// hbbs names other servers; a configured one is not left for that.
    OtherServers(Vec<String>),
}

/// A client at hbbs that wants to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    pub kind: PushKind,
    /// The client's address as hbbs sees it.
    pub client: SocketAddr,
    /// The same as it was sent, to be sent back.
    pub client_mangled: Bytes,
    /// hbbs's choice of a relay, often empty.
    pub relay: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushKind {
    /// Punch a hole for it; `relay_only` if that can not work from its side.
    Punch { relay_only: bool },
    /// It is in the same network: tell a local address.
    Local,
    /// Meet it at the relay under this name.
    Relay { uuid: String, secure: bool },
}

/// The machine. See the [module](self).
#[derive(Debug)]
pub struct Registration {
    config: RegistrationConfig,
    out: VecDeque<Output>,
    /// The server has the public key.
    confirmed: bool,
    /// What was asked, and when.
    pending: Option<(Asked, Instant)>,
    /// When to ask next, if nothing is pending.
    next: Instant,
    last_pk: Option<Instant>,
    unanswered: u32,
    resolved: Instant,
    online: bool,
    pause: Duration,
    replacements: u32,
    heard: Instant,
    keep_alive: Duration,
    last_punch: Option<(SocketAddr, Instant)>,
    last_relay: Option<(SocketAddr, Instant)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Peer,
    Pk,
}

impl Registration {
    /// Sends the first registration at once.
    pub fn new(config: RegistrationConfig, now: Instant) -> Self {
        let mut machine = Self {
            config,
            out: VecDeque::new(),
            confirmed: false,
            pending: None,
            next: now,
            last_pk: None,
            unanswered: 0,
            resolved: now,
            online: false,
            pause: REFUSED_PAUSE,
            replacements: 0,
            heard: now,
            keep_alive: KEEP_ALIVE,
            last_punch: None,
            last_relay: None,
        };
        machine.ask(now);
        machine
    }

    pub fn id(&self) -> &str {
        &self.config.id
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let asking = match self.pending {
            Some((_, since)) => since + self.reply_timeout(),
            None if self.settled() => return Some(self.dead_at()),
            None => self.next,
        };
        Some(if self.is_stream() { asking.min(self.dead_at()) } else { asking })
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        if self.is_stream() && now >= self.dead_at() {
            return self.out.push_back(Output::Disconnect);
        }
        match self.pending {
            Some((_, since)) if now >= since + self.reply_timeout() => self.unanswered(now),
            None if now >= self.next && !self.settled() => self.ask(now),
            _ => {}
        }
    }

    /// A packet from the server.
    pub fn handle_packet(&mut self, packet: &[u8], now: Instant) {
        self.heard = now;
        if packet.is_empty() {
            if self.is_stream() {
                self.out.push_back(Output::Send(Bytes::new()));
            }
            return;
        }
        let Ok(RendezvousMessage { union: Some(union) }) = RendezvousMessage::decode(packet) else { return };
        match union {
            Union::RegisterPeerResponse(response) if !self.is_stream() => {
                self.peer_answered(response.request_pk, now);
            }
            Union::RegisterPkResponse(response) => {
                if let Ok(seconds @ 1..) = u64::try_from(response.keep_alive) {
                    self.keep_alive = Duration::from_secs(seconds).min(LONGEST_KEEP_ALIVE);
                }
                self.pk_answered(PkResult::try_from(response.result), now);
            }
            Union::PunchHole(push) => {
                let relay_only = push.nat_type == NatType::Symmetric as i32 || push.force_relay;
                self.push(PushKind::Punch { relay_only }, push.socket_addr, push.relay_server, now);
            }
            Union::FetchLocalAddr(push) => {
                self.push(PushKind::Local, push.socket_addr, push.relay_server, now);
            }
            Union::RequestRelay(push) if !push.uuid.is_empty() => {
                let kind = PushKind::Relay { uuid: push.uuid, secure: push.secure };
                self.push(kind, push.socket_addr, push.relay_server, now);
            }
            Union::ConfigureUpdate(update) => {
                self.event(Event::OtherServers(update.rendezvous_servers));
            }
            _ => {}
        }
    }

    fn is_stream(&self) -> bool {
        self.config.channel == Channel::Stream
    }

    /// Nothing more to say on a stream.
    fn settled(&self) -> bool {
        self.is_stream() && self.confirmed
    }

    fn dead_at(&self) -> Instant {
        self.heard + self.keep_alive * 3 / 2
    }

    fn reply_timeout(&self) -> Duration {
        if self.is_stream() {
            return REGISTER_INTERVAL;
        }
        let patience = self.unanswered.saturating_sub(FAILS_BEFORE_RESOLVING - 1).max(1);
        (REGISTER_REPLY_TIMEOUT * patience).min(SLOWEST_RETRY)
    }

    fn event(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    fn ask(&mut self, now: Instant) {
        let id = self.config.id.clone();
        let (asked, union) = if self.confirmed {
            (Asked::Peer, Union::RegisterPeer(RegisterPeer { id, serial: SERIAL }))
        } else {
            self.last_pk = Some(now);
            let request = RegisterPk {
                id,
                uuid: self.config.uuid.clone(),
                pk: self.config.public_key.clone(),
                ..Default::default()
            };
            (Asked::Pk, Union::RegisterPk(request))
        };
        self.pending = Some((asked, now));
        self.out.push_back(Output::Send(RendezvousMessage { union: Some(union) }.encode_to_vec().into()));
    }

    fn unanswered(&mut self, now: Instant) {
        self.unanswered += 1;
        if self.unanswered == FAILS_BEFORE_RESOLVING {
            self.online = false;
            self.event(Event::Silent);
        }
        let due = self.unanswered >= FAILS_BEFORE_RESOLVING && now >= self.resolved + RESOLVE_INTERVAL;
        if due && !self.is_stream() {
            self.resolved = now;
            self.out.push_back(Output::Resolve);
        }
        self.ask(now);
    }

    /// Takes an answer in; how long it took, if it was waited for.
    fn answered(&mut self, now: Instant) -> Option<Duration> {
        self.unanswered = 0;
        self.next = now + REGISTER_INTERVAL;
        self.pending.take().map(|(_, since)| now.saturating_duration_since(since))
    }

    fn peer_answered(&mut self, request_pk: bool, now: Instant) {
        let round_trip = self.answered(now);
        if request_pk {
            self.confirmed = false;
            self.online = false;
            self.ask_for_pk(now);
        } else if let Some(round_trip) = round_trip {
            self.registered(round_trip);
        }
    }

    /// At once, but not more often than hbbs takes it.
    fn ask_for_pk(&mut self, now: Instant) {
        let earliest = self.last_pk.map_or(now, |last| last + PK_INTERVAL);
        if now >= earliest {
            self.ask(now);
        } else {
            self.next = earliest;
        }
    }

    fn registered(&mut self, round_trip: Duration) {
        self.pause = REFUSED_PAUSE;
        self.replacements = 0;
        if !std::mem::replace(&mut self.online, true) {
            self.event(Event::Registered { round_trip });
        }
    }

    fn pk_answered(&mut self, result: Result<PkResult, prost::UnknownEnumValue>, now: Instant) {
        let round_trip = self.answered(now);
        if round_trip.is_none() {
            return;
        }
        match result {
            Ok(PkResult::Ok) => {
                self.confirmed = true;
                if self.is_stream() {
                    self.registered(round_trip.unwrap_or_default());
                } else {
                    // An OK for what hbbs knew already does not make a host reachable; RegisterPeer does.
                    self.ask(now);
                }
            }
            Ok(PkResult::UuidMismatch | PkResult::IdExists) if self.config.id_is_chosen => {
                self.refused(Event::IdTaken, ID_TAKEN_PAUSE, now);
            }
            Ok(PkResult::UuidMismatch | PkResult::IdExists) => self.replace_id(now),
            Ok(PkResult::NotDeployed) => {
                self.refused(Event::Refused("not deployed"), NOT_DEPLOYED_PAUSE, now);
            }
            Ok(PkResult::TooFrequent) => {
                let pause = self.pause;
                self.pause = (pause * 2).min(LONGEST_PAUSE);
                self.refused(Event::Refused("too many registrations"), pause, now);
            }
            Ok(PkResult::NotSupport) => {
                self.refused(Event::Refused("not supported"), REFUSED_PAUSE, now);
                if self.is_stream() {
                    self.out.push_back(Output::Disconnect);
                }
            }
            Ok(PkResult::InvalidIdFormat) => {
                self.refused(
                    Event::Refused("the id has a form that the server refuses"),
                    ID_TAKEN_PAUSE,
                    now,
                );
            }
            Ok(PkResult::ServerError) | Err(_) => {
                self.refused(Event::Refused("server error"), REFUSED_PAUSE, now);
            }
        }
    }

    fn refused(&mut self, event: Event, pause: Duration, now: Instant) {
        self.confirmed = false;
        self.online = false;
        self.next = now + pause;
        self.event(event);
    }

    fn replace_id(&mut self, now: Instant) {
        let new = self.random_id();
        let old = std::mem::replace(&mut self.config.id, new.clone());
        self.confirmed = false;
        self.online = false;
        self.event(Event::IdReplaced { old, new });
        self.replacements += 1;
        if self.replacements <= REPLACEMENTS {
            self.ask(now);
        } else {
            self.next = now + REFUSED_PAUSE;
        }
    }

    /// Ten digits, as stock hosts choose them (rendezvous §5.5). The generator is SplitMix64.
    fn random_id(&mut self) -> String {
        self.config.seed = self.config.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut n = self.config.seed;
        n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        n ^= n >> 31;
        (1_000_000_000 + n % 1_000_000_000).to_string()
    }

    fn push(&mut self, kind: PushKind, mangled: Bytes, relay: String, now: Instant) {
        let client = demangle(&mangled);
        let last = match kind {
            PushKind::Relay { .. } => &mut self.last_relay,
            PushKind::Punch { .. } | PushKind::Local => &mut self.last_punch,
        };
        let repeated = last.is_some_and(|(addr, at)| addr == client && now < at + REPEATED);
        *last = Some((client, now));
        self.event(if repeated {
            Event::Repeated
        } else {
            Event::Push(Push { kind, client, client_mangled: mangled, relay })
        });
    }
}

#[cfg(test)]
mod tests;
