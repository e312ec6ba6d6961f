//! The machine of one attempt: the question to hbbs, then the race of the direct path and the relay.

use super::{ConnId, DialError, Output, PeerKey, Request};
use bytes::Bytes;
use hbb_common::addr::demangle;
use hbb_common::defaults::{CONNECT_TIMEOUT, VERSION};
use hbb_common::handshake::open_signed_id;
use hbb_common::rendezvous::rendezvous_message::Union;
use hbb_common::rendezvous::{
    NatType, PunchHoleRequest, PunchHoleResponse, RelayResponse, RendezvousMessage, RequestRelay,
    punch_hole_response, relay_response,
};
use prost::Message as _;
use remote::Path;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long an answer to each sending of the request is waited for.
const PUNCH_WAITS: [Duration; 3] = [Duration::from_secs(3), Duration::from_secs(6), Duration::from_secs(9)];

/// Attempts at a relay that we ask for, each with a connection and a uuid of its own.
const RELAY_ATTEMPTS: u8 = 3;

/// The shortest and the longest start that a direct path gets over the relay. Stock clients wait for it up to
/// 18 s before they try the relay; here both go on side by side.
pub(super) const SHORT: Duration = Duration::from_secs(1);
pub(super) const LONG: Duration = Duration::from_secs(3);

/// The start of a direct path whose connection is up: only the peer's first word is missing, and over the
/// relay a peer that is that slow would not be quicker.
pub(super) const SPEAK: Duration = Duration::from_secs(5);

/// A relay that is first waits this long for a direct path that is connected.
pub(super) const GRACE: Duration = Duration::from_millis(300);

/// Longer names of relays are not believed.
const MAX_RELAY_NAME: usize = 255;

/// Texts of the server are cut to this many bytes.
const MAX_TEXT: usize = 1000;

/// The question to hbbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    New,
    /// Waiting for the connection on which to ask for the peer.
    Reaching(ConnId),
    /// Asked `sent` times.
    Asked {
        conn: ConnId,
        sent: usize,
        until: Instant,
    },
    Answered,
}

/// The connection to the peer itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Direct {
    conn: ConnId,
    path: Path,
    connected: bool,
    until: Instant,
    /// When the relay joins the race, if it has not yet.
    relay_at: Option<Instant>,
}

/// The way through a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Relayed {
    conn: ConnId,
    step: RelayStep,
    /// `None`: the connection being made tells by itself.
    until: Option<Instant>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum RelayStep {
    /// Waiting for the connection to hbbs on which to ask for a relay.
    Reaching {
        uuid: String,
    },
    Asked {
        uuid: String,
    },
    Connecting {
        uuid: String,
    },
    /// Connected, and asked for the pair.
    Silent,
    /// The peer is there.
    Spoke,
}

/// Finds a path to one peer. See the [module](super).
#[derive(Debug)]
pub struct Dial {
    request: Request,
    question: Question,
    direct: Option<Direct>,
    relayed: Option<Relayed>,
    over: bool,
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
            question: Question::New,
            direct: None,
            relayed: None,
            over: false,
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
        if self.question == Question::New {
            self.started = Some(now);
            let conn = self.new_conn();
            self.question = Question::Reaching(conn);
            self.outputs.push_back(Output::ConnectServer { conn });
        }
    }

    /// Our own NAT was found out; what is asked and decided from now on goes by it.
    pub fn learn_nat(&mut self, nat: NatType) {
        self.request.nat = nat;
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.over {
            return None;
        }
        let question = match self.question {
            Question::Asked { until, .. } => Some(until),
            _ => None,
        };
        let direct =
            self.direct.map(|direct| direct.relay_at.map_or(direct.until, |at| at.min(direct.until)));
        let relayed = self.relayed.as_ref().and_then(|relayed| relayed.until);
        [question, direct, relayed].into_iter().flatten().min()
    }

    /// A connection asked for is there.
    pub fn handle_connected(&mut self, conn: ConnId, now: Instant) {
        if self.over {
            return;
        }
        if self.question == Question::Reaching(conn) {
            return self.ask(conn, 0, now);
        }
        if let Some(direct) = self.direct.as_mut().filter(|direct| direct.conn == conn) {
            direct.connected = true;
            direct.until = now + CONNECT_TIMEOUT;
            if let Some(at) = &mut direct.relay_at {
                *at = (*at).max(now + SPEAK);
            }
            return;
        }
        let Some(step) = self.relay_step(conn).cloned() else {
            return self.outputs.push_back(Output::Close { conn });
        };
        let mut request = RequestRelay { id: self.request.id.clone(), ..Default::default() };
        let next = match step {
            RelayStep::Reaching { uuid } => {
                request.uuid.clone_from(&uuid);
                request.relay_server = self.relay.clone();
                request.secure = self.key != PeerKey::Unknown;
                RelayStep::Asked { uuid }
            }
            RelayStep::Connecting { uuid } => {
                request.uuid = uuid;
                request.licence_key = self.request.key_text.clone();
                RelayStep::Silent
            }
            RelayStep::Asked { .. } | RelayStep::Silent | RelayStep::Spoke => return,
        };
        self.send(conn, Union::RequestRelay(request));
        self.relayed = Some(Relayed { conn, step: next, until: Some(now + CONNECT_TIMEOUT) });
    }

    /// A connection asked for can not be made.
    pub fn handle_connect_failed(&mut self, conn: ConnId, reason: &str) {
        if self.over {
            return;
        }
        if self.question == Question::Reaching(conn) {
            self.fail(DialError::NoServer(reason.into()));
        } else {
            self.lost(conn, reason);
        }
    }

    /// A connection that was there ended.
    pub fn handle_closed(&mut self, conn: ConnId) {
        if self.over {
            return;
        }
        if matches!(self.question, Question::Asked { conn: ours, .. } if ours == conn) {
            return self.fail(DialError::ServerLeft);
        }
        let reason = match self.relay_step(conn) {
            Some(RelayStep::Reaching { .. } | RelayStep::Asked { .. }) => "the server ended the connection",
            // Two sides that ask a relay at the same moment may be lost to each other (rendezvous §5.18).
            Some(_) => "the relay ended the connection",
            None => "the peer ended the connection before its first word",
        };
        self.lost(conn, reason);
    }

    /// hbbs answered, or the peer spoke.
    pub fn handle_packet(&mut self, conn: ConnId, packet: Bytes, now: Instant) {
        if self.over {
            return;
        }
        if let Some(direct) = self.direct.filter(|direct| direct.conn == conn) {
            return self.done(conn, direct.path);
        }
        if self.relay_step(conn) == Some(&RelayStep::Silent) {
            if self.direct.is_some_and(|direct| direct.connected) {
                self.relayed = Some(Relayed { conn, step: RelayStep::Spoke, until: Some(now + GRACE) });
                return;
            }
            return self.done(conn, Path::Relayed);
        }
        // What is no message, and what is none of ours, leaves the time running.
        let Some(union) = RendezvousMessage::decode(packet).ok().and_then(|m| m.union) else { return };
        let asked = matches!(self.question, Question::Asked { conn: ours, .. } if ours == conn);
        match union {
            Union::PunchHoleResponse(answer) if asked => self.punch_answer(conn, &answer, now),
            Union::RelayResponse(answer) if asked => self.relay_by_peer(conn, &answer),
            Union::RelayResponse(answer) => self.relay_answer(conn, &answer),
            _ => {}
        }
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        if self.over {
            return;
        }
        if let Question::Asked { conn, sent, until } = self.question
            && now >= until
        {
            if sent < PUNCH_WAITS.len() {
                self.ask(conn, sent, now);
            } else {
                self.outputs.push_back(Output::Close { conn });
                return self.fail(DialError::NoAnswer);
            }
        }
        if let Some(direct) = self.direct {
            if now >= direct.until {
                self.outputs.push_back(Output::Close { conn: direct.conn });
                self.lost(direct.conn, "the peer did not answer there");
            } else if direct.relay_at.is_some_and(|at| now >= at) {
                self.ask_for_relay("the direct path is slow");
            }
        }
        if let Some(Relayed { conn, step, until: Some(until) }) = self.relayed.clone()
            && now >= until
        {
            if step == RelayStep::Spoke {
                return self.done(conn, Path::Relayed);
            }
            self.outputs.push_back(Output::Close { conn });
            self.lost(conn, "the peer did not answer");
        }
    }

    fn ask(&mut self, conn: ConnId, sent: usize, now: Instant) {
        let nat_type = if self.request.force_relay { NatType::Symmetric } else { self.request.nat };
        let request = PunchHoleRequest {
            id: self.request.id.clone(),
            nat_type: nat_type as i32,
            licence_key: self.request.key_text.clone(),
            version: VERSION.into(),
            force_relay: self.request.force_relay,
            ..Default::default()
        };
        self.send(conn, Union::PunchHoleRequest(request));
        self.question = Question::Asked { conn, sent: sent + 1, until: now + PUNCH_WAITS[sent] };
    }

    fn punch_answer(&mut self, conn: ConnId, answer: &PunchHoleResponse, now: Instant) {
        self.answered(conn);
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
        let relay_at = (!self.relay.is_empty()).then(|| now + self.start_of_direct(answer, is_local, now));
        let peer = self.new_conn();
        let until = now + CONNECT_TIMEOUT;
        self.direct = Some(Direct { conn: peer, path, connected: false, until, relay_at });
        self.outputs.push_back(Output::ConnectPeer { conn: peer, to, like: conn });
    }

    /// After how long the relay joins the race: rendezvous §7.3, but for [`LONG`].
    fn start_of_direct(&self, answer: &PunchHoleResponse, is_local: bool, now: Instant) -> Duration {
        let theirs = match answer.union {
            Some(punch_hole_response::Union::NatType(nat)) => {
                NatType::try_from(nat).unwrap_or(NatType::UnknownNat)
            }
            _ => NatType::UnknownNat,
        };
        let asked = self.started.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let start = match (theirs, self.request.nat, self.request.was_relayed) {
            _ if is_local => SHORT,
            (NatType::Symmetric, _, _) | (NatType::Asymmetric, NatType::Symmetric, _) => SHORT,
            (NatType::Asymmetric, NatType::Asymmetric, false) => LONG,
            (NatType::Asymmetric, NatType::Asymmetric, true) | (_, _, false) => asked * 6,
            (_, _, true) => asked * 3,
        };
        start.clamp(SHORT, LONG)
    }

    /// The peer chose a relay and waits there.
    fn relay_by_peer(&mut self, conn: ConnId, answer: &RelayResponse) {
        if !answer.refuse_reason.is_empty() {
            self.answered(conn);
            return self.fail(DialError::Refused(clip(&answer.refuse_reason)));
        }
        if answer.uuid.is_empty() || answer.uuid.len() > MAX_RELAY_NAME {
            return;
        }
        self.answered(conn);
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

    /// The peer comes to the relay that we asked for, or does not want to.
    fn relay_answer(&mut self, conn: ConnId, answer: &RelayResponse) {
        let Some(RelayStep::Asked { uuid }) = self.relay_step(conn).cloned() else { return };
        self.outputs.push_back(Output::Close { conn });
        if answer.refuse_reason.is_empty() {
            return self.connect_relay(uuid);
        }
        self.relayed = None;
        self.relay_attempts = RELAY_ATTEMPTS;
        if self.direct.is_none() {
            self.fail(DialError::Refused(clip(&answer.refuse_reason)));
        }
    }

    fn answered(&mut self, conn: ConnId) {
        self.outputs.push_back(Output::Close { conn });
        self.question = Question::Answered;
    }

    fn relay_step(&self, conn: ConnId) -> Option<&RelayStep> {
        self.relayed.as_ref().filter(|relayed| relayed.conn == conn).map(|relayed| &relayed.step)
    }

    /// A runner of the race is out.
    fn lost(&mut self, conn: ConnId, reason: &str) {
        if self.direct.is_some_and(|direct| direct.conn == conn) {
            self.direct = None;
            match &self.relayed {
                None => self.ask_for_relay(reason),
                Some(Relayed { conn, step: RelayStep::Spoke, .. }) => self.done(*conn, Path::Relayed),
                Some(_) => {}
            }
        } else if self.relay_step(conn).is_some() {
            self.relayed = None;
            self.ask_for_relay(reason);
        }
    }

    /// Asks the peer, through hbbs, to meet us at a relay.
    fn ask_for_relay(&mut self, because: &str) {
        if let Some(direct) = &mut self.direct {
            direct.relay_at = None;
        }
        let uuid = self.request.uuids.get(self.uuids_used).cloned();
        let Some(uuid) = uuid.filter(|_| self.relay_attempts < RELAY_ATTEMPTS && !self.relay.is_empty())
        else {
            if self.direct.is_none() {
                self.fail(DialError::NoPath(because.into()));
            }
            return;
        };
        self.uuids_used += 1;
        self.relay_attempts += 1;
        let conn = self.new_conn();
        self.relayed = Some(Relayed { conn, step: RelayStep::Reaching { uuid }, until: None });
        self.outputs.push_back(Output::ConnectServer { conn });
    }

    fn connect_relay(&mut self, uuid: String) {
        let conn = self.new_conn();
        self.relayed = Some(Relayed { conn, step: RelayStep::Connecting { uuid }, until: None });
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
        self.end(Some(conn));
        self.outputs.push_back(Output::Done { conn, path, key: self.key });
    }

    fn fail(&mut self, error: DialError) {
        self.end(None);
        self.outputs.push_back(Output::Failed(error));
    }

    /// Closes all runners but this one.
    fn end(&mut self, winner: Option<ConnId>) {
        let direct = self.direct.take().map(|direct| direct.conn);
        let relayed = self.relayed.take().map(|relayed| relayed.conn);
        for conn in [direct, relayed].into_iter().flatten().filter(|conn| Some(*conn) != winner) {
            self.outputs.push_back(Output::Close { conn });
        }
        self.over = true;
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
