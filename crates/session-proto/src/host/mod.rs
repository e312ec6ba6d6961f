//! One connection as its host: key exchange, login, and then what the client asks and may do.
//!
//! A [`Host`] is fed the client's packets (unframed, as they arrived) and the time; after every call the
//! driver drains [`Host::poll_output`] and arms [`Host::poll_timeout`]. What the client wants comes out as
//! [`Event`]s in words of the desktop; pictures, pointer shapes and answers go in by the `send_*` methods.
//!
//! States: key exchange (only with an identity) → login (`Hash` sent; wrong passwords keep it) → live. A
//! login that is refused for good passes through a second in which the client can read why. A second
//! factor has its place between the password and [`Event::Authorised`].

mod attempts;
mod clipboard;
mod context;
mod desktop;
mod event;
mod input;
mod login;
mod options;
mod passwords;
mod probe;
mod send;

pub use attempts::{Attempts, Limit};
pub use context::{Announcement, ApproveMode, Encoding, HostContext, HostDisplay, HostRandom};
pub use event::{
    Authorisation, ClientInfo, ClipboardFormat, ClipboardItem, CloseCause, Decoding, Event, HostInput,
    InputKey, Output, Refusals, SessionKind, View,
};
pub use passwords::Passwords;
pub use send::CodedFrame;

use crate::client::bounds::is_modest;
use bytes::Bytes;
use desktop::Subscriptions;
use hbb_common::defaults::{CONNECT_TIMEOUT, SESSION_SILENCE};
use hbb_common::handshake::HostHandshake;
use hbb_common::password::readable;
use hbb_common::seal::Seal;
use hbb_common::session::{self, Message, Misc, TestDelay, message, misc};
use input::Held;
use options::Options;
use passwords::SessionKey;
use probe::Probe;
use prost::Message as _;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The longest packet from a client that is not logged in.
pub const LIMIT_BEFORE_LOGIN: usize = 64 * 1024;

/// The longest packet from a client that is: a clipboard with a picture in it.
pub const LIMIT_LIVE: usize = 8 * 1024 * 1024;

/// A client that is told why it may not come in gets this long to read it (session §2.6).
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The machine of one connection. See the [module](self).
#[derive(Debug)]
pub struct Host {
    context: HostContext,
    challenge: String,
    phase: Phase,
    seal: Option<Seal>,
    out: VecDeque<Output>,
    heard: Instant,
    probe: Probe,
    /// The newest login request; its options count once it is let in.
    request: Option<session::LoginRequest>,
    client: Option<ClientInfo>,
    /// As which it may come back, if a one-time password let it in.
    remembered: Option<SessionKey>,
    asked: bool,
    options: Options,
    subscriptions: Subscriptions,
    view: Option<View>,
    held: Held,
    clipboard: clipboard::Memory,
    pictures: send::Pictures,
    refusals: Refusals,
}

#[derive(Debug)]
enum Phase {
    /// Waits for the client's `PublicKey`.
    Exchange {
        handshake: HostHandshake,
        until: Instant,
    },
    /// `Hash` is sent.
    Login,
    Live,
    /// The client was told why it may not come in.
    LastWords {
        until: Instant,
    },
    Over,
}

impl Host {
    /// Starts with what a host says first: `SignedId` with an identity, `Hash` without.
    pub fn new(context: HostContext, random: HostRandom, now: Instant) -> Self {
        let mut host = Self {
            challenge: readable(&random.challenge),
            phase: Phase::Login,
            seal: None,
            out: VecDeque::new(),
            heard: now,
            probe: Probe::new(now),
            request: None,
            client: None,
            remembered: None,
            asked: false,
            options: Options::default(),
            subscriptions: Subscriptions::default(),
            view: None,
            held: Held::default(),
            clipboard: clipboard::Memory::default(),
            pictures: send::Pictures::default(),
            refusals: Refusals::default(),
            context,
        };
        match &host.context.identity {
            Some(identity) => {
                let (handshake, signed) = HostHandshake::new(identity, &host.context.id, random.secret);
                host.phase = Phase::Exchange { handshake, until: now + CONNECT_TIMEOUT };
                host.send(message::Union::SignedId(signed));
            }
            None => {
                host.out.push_back(Output::Event(Event::Secured { sealed: false }));
                host.greet(now);
            }
        }
        host
    }

    /// The next thing to do, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) has to be called, if nothing comes before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let silence = self.heard + SESSION_SILENCE;
        match &self.phase {
            Phase::Exchange { until, .. } => Some(*until),
            Phase::LastWords { until } => Some(*until),
            Phase::Over => None,
            Phase::Login | Phase::Live => {
                let others = [self.held.next_release(), self.pictures.ack_until()];
                others.into_iter().flatten().chain([silence, self.probe.next()]).min()
            }
        }
    }

    /// The longest packet that the client may send now.
    pub fn packet_limit(&self) -> usize {
        let limit = if matches!(self.phase, Phase::Live) { LIMIT_LIVE } else { LIMIT_BEFORE_LOGIN };
        limit + hbb_common::seal::OVERHEAD
    }

    /// What the client was refused so far.
    pub fn refusals(&self) -> Refusals {
        self.refusals
    }

    pub fn client(&self) -> Option<&ClientInfo> {
        self.client.as_ref()
    }

    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live)
    }

    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// A packet of the client, unframed, as it arrived.
    pub fn handle_packet(&mut self, packet: Bytes, now: Instant) {
        if self.is_over() {
            return;
        }
        if packet.len() > self.packet_limit() {
            return self.end(CloseCause::TooLong(packet.len()));
        }
        self.heard = now;
        if let Some(key) = &self.remembered {
            self.context.passwords.heard(key, now);
        }
        let plain = match self.seal.as_mut().map(|seal| seal.open(packet.clone())) {
            None => packet,
            Some(Ok(plain)) => plain,
            Some(Err(_)) => return self.end(CloseCause::Tampered),
        };
        if matches!(self.phase, Phase::Exchange { .. }) {
            return self.finish_exchange(&plain, now);
        }
        let message = is_modest(&plain).then(|| Message::decode(plain.clone()));
        let Some(Ok(message)) = message else {
            self.refusals.undecodable += 1;
            return;
        };
        let Some(union) = message.union else { return };
        match (&self.phase, union) {
            (Phase::LastWords { .. } | Phase::Over | Phase::Exchange { .. }, _) => {}
            (_, message::Union::TestDelay(probe)) => self.test_delay(&probe, plain, now),
            (_, message::Union::Misc(Misc { union: Some(misc::Union::CloseReason(text)) })) => {
                self.forget();
                self.end(CloseCause::ByClient(text));
            }
            (Phase::Login, message::Union::LoginRequest(request)) => self.login_request(request, now),
            (Phase::Login, _) => self.refusals.before_login += 1,
            (Phase::Live, message::Union::LoginRequest(_)) => self.refusals.unsupported += 1,
            (Phase::Live, union) => self.live(union, now),
        }
    }

    /// The time that [`poll_timeout`](Self::poll_timeout) named has come; earlier is harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        match &self.phase {
            Phase::Over => {}
            Phase::Exchange { until, .. } => {
                if now >= *until {
                    self.end(CloseCause::Silence);
                }
            }
            Phase::LastWords { until } => {
                if now >= *until {
                    self.end(CloseCause::LoginRefused);
                }
            }
            Phase::Login | Phase::Live => {
                if now >= self.heard + SESSION_SILENCE {
                    return self.end(CloseCause::Silence);
                }
                self.probe(now);
                self.pictures.give_up_ack(now);
                for input in self.held.release_stuck(now) {
                    self.event(Event::Input(input));
                }
            }
        }
    }

    /// The local user lets the client in. Does nothing unless a client waits.
    pub fn accept(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Login) && self.asked {
            self.authorise(Authorisation::LocalUser, now);
        }
    }

    /// The local user turns the client away.
    pub fn refuse(&mut self) {
        if matches!(self.phase, Phase::Login) && self.asked {
            self.close("Closed manually by the peer");
        }
    }

    /// Ends the session with a text for the client. Stock clients do not come back after
    /// "Closed manually by the peer" (session §10.6).
    pub fn close(&mut self, reason: &str) {
        if matches!(self.phase, Phase::Over) {
            return;
        }
        if matches!(self.phase, Phase::Login | Phase::Live) {
            self.send_misc(misc::Union::CloseReason(reason.into()));
        }
        self.forget();
        self.end(CloseCause::ByHost(reason.into()));
    }

    /// The connection broke: gives back what the client held, without a word to it.
    pub fn lost(&mut self) {
        if !self.is_over() {
            self.release_all();
            self.lock_if_asked();
            self.phase = Phase::Over;
        }
    }

    fn test_delay(&mut self, probe: &TestDelay, plain: Bytes, now: Instant) {
        if probe.from_client {
            self.send_plain(&plain);
        } else if let Some(delay) = self.probe.answered(now)
            && self.is_live()
        {
            self.event(Event::Delay(delay));
        }
    }

    fn probe(&mut self, now: Instant) {
        if self.probe.take_due(now) {
            let last_delay = self.probe.last_ms();
            let target_bitrate = self.pictures.bitrate;
            self.send(message::Union::TestDelay(TestDelay {
                time: 0,
                from_client: false,
                last_delay,
                target_bitrate,
            }));
        } else if let Some(waited) = self.probe.take_overdue(now)
            && self.is_live()
        {
            self.event(Event::Delay(waited));
        }
    }

    fn event(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    fn send(&mut self, union: message::Union) {
        let plain = Message { union: Some(union) }.encode_to_vec();
        match &mut self.seal {
            Some(seal) => {
                let sealed = seal.seal(&plain);
                self.out.push_back(Output::Send(sealed));
            }
            None => self.out.push_back(Output::Send(plain.into())),
        }
    }

    /// Sends the bytes of a message as they are.
    fn send_plain(&mut self, plain: &Bytes) {
        let payload = self.seal.as_mut().map_or_else(|| plain.clone(), |seal| seal.seal(plain));
        self.out.push_back(Output::Send(payload));
    }

    fn send_misc(&mut self, union: misc::Union) {
        self.send(message::Union::Misc(Misc { union: Some(union) }));
    }

    fn end(&mut self, cause: CloseCause) {
        self.release_all();
        self.lock_if_asked();
        self.phase = Phase::Over;
        self.event(Event::Closed(cause));
        self.out.push_back(Output::Close);
    }

    /// Who left or was sent away needs the present password to come back (session §2.11).
    fn forget(&mut self) {
        if let Some(key) = self.remembered.take() {
            self.context.passwords.forget(&key);
        }
    }

    fn release_all(&mut self) {
        for input in self.held.release_all() {
            self.event(Event::Input(input));
        }
    }

    fn lock_if_asked(&mut self) {
        let may = self.context.permissions.allows(remote::Permission::Keyboard);
        if self.is_live() && self.options.lock_at_end && may {
            self.event(Event::LockScreen);
        }
    }
}

#[cfg(test)]
mod tests;
