//! How a client finds a path to a peer: hbbs, punching, relay (rendezvous §7.2, §7.3).
//!
//! [`Dial`] says which connection to make and what to send on it; its driver reports what became of that.
//! Connections have numbers that are never used again.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use hbb_common::addr::demangle;
use hbb_common::defaults::{CONNECT_TIMEOUT, VERSION};
use hbb_common::handshake::{HandshakeError, open_signed_id};
use hbb_common::key::PublicKey;
use hbb_common::rendezvous::rendezvous_message::Union;
use hbb_common::rendezvous::{
    NatType, PunchHoleRequest, PunchHoleResponse, RelayResponse, RendezvousMessage, RequestRelay,
    punch_hole_response, relay_response,
};
use prost::Message as _;
use remote::Path;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long an answer to each sending of the request is waited for.
const PUNCH_WAITS: [Duration; 3] = [Duration::from_secs(3), Duration::from_secs(6), Duration::from_secs(9)];

/// Attempts at a relay that we ask for, each with a connection and a uuid of its own.
const RELAY_ATTEMPTS: u8 = 3;

/// The shortest time that a direct connection gets.
const SHORT: Duration = Duration::from_secs(1);

/// Longer names of relays are not believed.
const MAX_RELAY_NAME: usize = 255;

/// Texts of the server are cut to this many bytes.
const MAX_TEXT: usize = 1000;

/// Which peer, and what is known of the server and of it.
#[derive(Debug, Clone)]
pub struct Request {
    pub id: String,
    /// The server's key as configured, sent as it is.
    pub key_text: String,
    /// The same as a key, if it is one: the server's word for the peer's key is checked with it.
    pub server_key: Option<PublicKey>,
    /// The key that the peer had before.
    pub pinned: Option<PublicKey>,
    /// Through the relay, whatever the network allows.
    pub force_relay: bool,
    /// The last session went through the relay: a direct try gets less time.
    pub was_relayed: bool,
    /// The relay to use where nobody names one.
    pub default_relay: String,
    /// Random UUIDs as text, one for each attempt at a relay.
    pub uuids: [String; 4],
}

/// A connection asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u32);

/// What the driver has to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Connect to hbbs.
    ConnectServer {
        conn: ConnId,
    },
    /// Connect to the peer from the local address that `like` has or had.
    ConnectPeer {
        conn: ConnId,
        to: SocketAddr,
        like: ConnId,
        patience: Duration,
    },
    /// Connect to the relay, `host` or `host:port`.
    ConnectRelay {
        conn: ConnId,
        relay: String,
    },
    Send {
        conn: ConnId,
        packet: Bytes,
    },
    /// Close it, or stop connecting.
    Close {
        conn: ConnId,
    },
    /// The path is there. The peer speaks first on it; if a relayed one ends before, see
    /// [`Dial::handle_relay_cut`].
    Done {
        conn: ConnId,
        path: Path,
        key: PeerKey,
    },
    /// There is no path. Nothing follows.
    Failed(DialError),
}

/// What is known of the peer's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerKey {
    /// Signed by the server just now, for the id that was dialled.
    Signed(PublicKey),
    /// The server vouched for none, but the peer had this one before.
    Pinned(PublicKey),
    /// Nothing: the peer can not be verified.
    Unknown,
}

/// Why there is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    #[error("the server does not know the id")]
    UnknownId,
    #[error("the peer is offline")]
    Offline,
    #[error("the server has another key")]
    KeyMismatch,
    #[error("the server's licence is exhausted")]
    Overuse,
    /// In the server's or the peer's words.
    #[error("{0}")]
    Refused(String),
    #[error("the server's word for the peer's key is not good: {0}")]
    NotVerified(HandshakeError),
    #[error("the server can not be reached: {0}")]
    NoServer(String),
    #[error("the server ended the connection")]
    ServerLeft,
    #[error("the peer did not answer the server")]
    NoAnswer,
    #[error("no path: {0}")]
    NoPath(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    New,
    /// Waiting for the connection to hbbs on which to ask for the peer.
    Reaching(ConnId),
    /// Asked `sent` times.
    Asking {
        conn: ConnId,
        sent: usize,
        until: Instant,
    },
    /// Trying the peer's address, while hbbs may still be connected.
    Punching {
        conn: ConnId,
        path: Path,
    },
    /// Waiting for the connection to hbbs on which to ask for a relay.
    ReachingForRelay {
        conn: ConnId,
        uuid: String,
    },
    AskingForRelay {
        conn: ConnId,
        uuid: String,
        until: Instant,
    },
    Relaying {
        conn: ConnId,
        uuid: String,
    },
    Up(ConnId),
    Over,
}

/// Finds a path to one peer. See the [module](self).
#[derive(Debug)]
pub struct Dial {
    request: Request,
    step: Step,
    outputs: VecDeque<Output>,
    next_conn: u32,
    started: Option<Instant>,
    /// Taken from the answer.
    key: PeerKey,
    relay: String,
    relay_attempts: u8,
    uuids_used: usize,
}

impl Dial {
    pub fn new(request: Request) -> Self {
        Self {
            key: request.pinned.map_or(PeerKey::Unknown, PeerKey::Pinned),
            relay: request.default_relay.clone(),
            request,
            step: Step::New,
            outputs: VecDeque::new(),
            next_conn: 0,
            started: None,
            relay_attempts: 0,
            uuids_used: 0,
        }
    }

    /// The peer's id.
    pub fn id(&self) -> &str {
        &self.request.id
    }

    /// Begins.
    pub fn start(&mut self, now: Instant) {
        if self.step == Step::New {
            self.started = Some(now);
            let conn = self.new_conn();
            self.step = Step::Reaching(conn);
            self.outputs.push_back(Output::ConnectServer { conn });
        }
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.step {
            Step::Asking { until, .. } | Step::AskingForRelay { until, .. } => Some(*until),
            _ => None,
        }
    }

    /// A connection asked for is there.
    pub fn handle_connected(&mut self, conn: ConnId, now: Instant) {
        match self.step.clone() {
            Step::Reaching(ours) if ours == conn => self.ask(conn, 0, now),
            Step::Punching { conn: ours, path } if ours == conn => self.done(conn, path),
            Step::ReachingForRelay { conn: ours, uuid } if ours == conn => {
                let request = RequestRelay {
                    id: self.request.id.clone(),
                    uuid: uuid.clone(),
                    relay_server: self.relay.clone(),
                    secure: self.key != PeerKey::Unknown,
                    ..Default::default()
                };
                self.send(conn, Union::RequestRelay(request));
                self.step = Step::AskingForRelay { conn, uuid, until: now + CONNECT_TIMEOUT };
            }
            Step::Relaying { conn: ours, uuid } if ours == conn => {
                let request = RequestRelay {
                    id: self.request.id.clone(),
                    uuid,
                    licence_key: self.request.key_text.clone(),
                    ..Default::default()
                };
                self.send(conn, Union::RequestRelay(request));
                self.done(conn, Path::Relayed);
            }
            _ => self.outputs.push_back(Output::Close { conn }),
        }
    }

    /// A connection asked for can not be made.
    pub fn handle_connect_failed(&mut self, conn: ConnId, reason: &str) {
        match &self.step {
            Step::Reaching(ours) if *ours == conn => self.fail(DialError::NoServer(reason.into())),
            Step::Punching { conn: ours, .. } | Step::ReachingForRelay { conn: ours, .. }
                if *ours == conn =>
            {
                self.ask_for_relay(reason);
            }
            Step::Relaying { conn: ours, .. } if *ours == conn => self.ask_for_relay(reason),
            _ => {}
        }
    }

    /// A connection to hbbs or, before [`Output::Done`], another one ended.
    pub fn handle_closed(&mut self, conn: ConnId) {
        match &self.step {
            Step::Asking { conn: ours, .. } if *ours == conn => self.fail(DialError::ServerLeft),
            Step::AskingForRelay { conn: ours, .. } if *ours == conn => {
                self.ask_for_relay("the server ended the connection");
            }
            _ => {}
        }
    }

    /// The relayed path of [`Output::Done`] ended before the peer's first byte: two sides that ask a relay
    /// at the same moment may be lost to each other (rendezvous §5.18), so another one is tried.
    pub fn handle_relay_cut(&mut self) {
        if matches!(self.step, Step::Up(_)) {
            self.ask_for_relay("the relay ended the connection");
        }
    }

    /// hbbs answered.
    pub fn handle_packet(&mut self, conn: ConnId, packet: Bytes, now: Instant) {
        // What is no message, and what is none of ours, leaves the time running.
        let Some(union) = RendezvousMessage::decode(packet).ok().and_then(|m| m.union) else { return };
        match (self.step.clone(), union) {
            (Step::Asking { conn: ours, .. }, Union::PunchHoleResponse(answer)) if ours == conn => {
                self.punch_answer(conn, &answer, now);
            }
            (Step::Asking { conn: ours, .. }, Union::RelayResponse(answer)) if ours == conn => {
                self.relay_by_peer(conn, &answer);
            }
            (Step::AskingForRelay { conn: ours, uuid, .. }, Union::RelayResponse(answer)) if ours == conn => {
                self.outputs.push_back(Output::Close { conn });
                if answer.refuse_reason.is_empty() {
                    self.connect_relay(uuid);
                } else {
                    self.fail(DialError::Refused(clip(&answer.refuse_reason)));
                }
            }
            _ => {}
        }
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        match self.step.clone() {
            Step::Asking { conn, sent, until } if now >= until => {
                if sent < PUNCH_WAITS.len() {
                    self.ask(conn, sent, now);
                } else {
                    self.outputs.push_back(Output::Close { conn });
                    self.fail(DialError::NoAnswer);
                }
            }
            Step::AskingForRelay { conn, until, .. } if now >= until => {
                self.outputs.push_back(Output::Close { conn });
                self.ask_for_relay("the peer did not answer");
            }
            _ => {}
        }
    }

    fn ask(&mut self, conn: ConnId, sent: usize, now: Instant) {
        let nat_type = if self.request.force_relay { NatType::Symmetric } else { NatType::UnknownNat };
        let request = PunchHoleRequest {
            id: self.request.id.clone(),
            nat_type: nat_type as i32,
            licence_key: self.request.key_text.clone(),
            version: VERSION.into(),
            force_relay: self.request.force_relay,
            ..Default::default()
        };
        self.send(conn, Union::PunchHoleRequest(request));
        self.step = Step::Asking { conn, sent: sent + 1, until: now + PUNCH_WAITS[sent] };
    }

    fn punch_answer(&mut self, conn: ConnId, answer: &PunchHoleResponse, now: Instant) {
        self.outputs.push_back(Output::Close { conn });
        let to = demangle(&answer.socket_addr);
        if to.port() == 0 {
            return self.fail(failure(answer));
        }
        if !self.learn_key(&answer.pk) {
            return;
        }
        self.learn_relay(&answer.relay_server);
        if self.request.force_relay || answer.is_udp {
            return self.ask_for_relay("a direct path was not tried");
        }
        let is_local = answer.union == Some(punch_hole_response::Union::IsLocal(true));
        let path = if is_local { Path::Local } else { Path::Punched };
        let patience = self.patience(answer, is_local, now);
        let peer = self.new_conn();
        self.step = Step::Punching { conn: peer, path };
        self.outputs.push_back(Output::ConnectPeer { conn: peer, to, like: conn, patience });
    }

    /// How long a direct connection is worth waiting for (rendezvous §7.3); our own NAT is not known.
    fn patience(&self, answer: &PunchHoleResponse, is_local: bool, now: Instant) -> Duration {
        let symmetric = punch_hole_response::Union::NatType(NatType::Symmetric as i32);
        if is_local || answer.union == Some(symmetric) {
            return SHORT;
        }
        if self.relay.is_empty() {
            return CONNECT_TIMEOUT;
        }
        let asked = self.started.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let factor = if self.request.was_relayed { 3 } else { 6 };
        (asked * factor).clamp(SHORT, CONNECT_TIMEOUT)
    }

    /// The peer chose a relay and waits there.
    fn relay_by_peer(&mut self, conn: ConnId, answer: &RelayResponse) {
        if !answer.refuse_reason.is_empty() {
            self.outputs.push_back(Output::Close { conn });
            return self.fail(DialError::Refused(clip(&answer.refuse_reason)));
        }
        if answer.uuid.is_empty() || answer.uuid.len() > MAX_RELAY_NAME {
            return;
        }
        self.outputs.push_back(Output::Close { conn });
        let pk = match &answer.union {
            Some(relay_response::Union::Pk(pk)) => pk.clone(),
            Some(relay_response::Union::Id(_)) | None => Bytes::new(),
        };
        if !self.learn_key(&pk) {
            return;
        }
        self.learn_relay(&answer.relay_server);
        self.connect_relay(answer.uuid.clone());
    }

    /// Asks the peer, through hbbs, to meet us at a relay.
    fn ask_for_relay(&mut self, because: &str) {
        let uuid = self.request.uuids.get(self.uuids_used).cloned();
        let Some(uuid) = uuid.filter(|_| self.relay_attempts < RELAY_ATTEMPTS && !self.relay.is_empty())
        else {
            return self.fail(DialError::NoPath(because.into()));
        };
        self.uuids_used += 1;
        self.relay_attempts += 1;
        let conn = self.new_conn();
        self.step = Step::ReachingForRelay { conn, uuid };
        self.outputs.push_back(Output::ConnectServer { conn });
    }

    fn connect_relay(&mut self, uuid: String) {
        let conn = self.new_conn();
        self.step = Step::Relaying { conn, uuid };
        self.outputs.push_back(Output::ConnectRelay { conn, relay: self.relay.clone() });
    }

    /// Takes the server's word for the peer's key; `false` if it is no good, which ends the attempt.
    fn learn_key(&mut self, signed: &[u8]) -> bool {
        let Some(server) = self.request.server_key.filter(|_| !signed.is_empty()) else { return true };
        match open_signed_id(signed, &server, &self.request.id) {
            Ok(key) => {
                self.key = PeerKey::Signed(key);
                true
            }
            Err(e) => {
                self.fail(DialError::NotVerified(e));
                false
            }
        }
    }

    fn learn_relay(&mut self, name: &str) {
        if !name.is_empty() && name.len() <= MAX_RELAY_NAME {
            self.relay = name.into();
        }
    }

    fn done(&mut self, conn: ConnId, path: Path) {
        self.step = Step::Up(conn);
        self.outputs.push_back(Output::Done { conn, path, key: self.key });
    }

    fn fail(&mut self, error: DialError) {
        self.step = Step::Over;
        self.outputs.push_back(Output::Failed(error));
    }

    fn send(&mut self, conn: ConnId, union: Union) {
        let packet = RendezvousMessage { union: Some(union) }.encode_to_vec().into();
        self.outputs.push_back(Output::Send { conn, packet });
    }

    fn new_conn(&mut self) -> ConnId {
        self.next_conn += 1;
        ConnId(self.next_conn)
    }
}

/// What an answer without an address says.
fn failure(answer: &PunchHoleResponse) -> DialError {
    use punch_hole_response::Failure;
    if !answer.other_failure.is_empty() {
        return DialError::Refused(clip(&answer.other_failure));
    }
    match Failure::try_from(answer.failure) {
        Ok(Failure::IdNotExist) => DialError::UnknownId,
        Ok(Failure::Offline) => DialError::Offline,
        Ok(Failure::LicenseMismatch) => DialError::KeyMismatch,
        Ok(Failure::LicenseOveruse) => DialError::Overuse,
        Err(_) => DialError::Refused(format!("failure {}", answer.failure)),
    }
}

fn clip(text: &str) -> String {
    let end = (0..=text.len().min(MAX_TEXT)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    text[..end].into()
}
