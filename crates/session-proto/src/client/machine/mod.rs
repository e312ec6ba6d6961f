//! The machine of one connection.

mod commands;
mod incoming;
#[cfg(test)]
mod tests;

use super::bounds::{MAX_LOGIN_PACKET, MAX_PACKET};
use super::cursor::Pointer;
use super::input::Hands;
use super::login::may_come_back;
use super::screen::Screen;
use super::{Config, Event, Output, Refused, Security};
use bytes::Bytes;
use hbb_common::defaults::{CONNECT_TIMEOUT, SESSION_SILENCE};
use hbb_common::seal::Seal;
use hbb_common::session::{Message, message, misc};
use prost::Message as _;
use remote::{Display, Permissions, RemoteError, SessionState};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// A host that said nothing for this long is called slow, and again after each further period; an honest
/// one sends a probe every second.
const SLOW: Duration = Duration::from_secs(3);

/// No answer to a login with a password for this long: a person at the host has to do something.
const LOGIN_PATIENCE: Duration = Duration::from_secs(18);

/// The round trip is measured again this long after the last time, when the host's next packet comes.
const MEASURE_EVERY: Duration = Duration::from_secs(15);

/// A host with more packets that make no sense than this is none.
const MAX_NONSENSE: u64 = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Waiting for `SignedId`.
    Handshake,
    /// Waiting for `Hash`, the first message of a session.
    Hash,
    /// Waiting to be let in.
    Login,
    Live,
    Closed,
}

/// The controlling side of one connection. See the [module](super).
#[derive(Debug)]
pub struct Client {
    config: Config,
    phase: Phase,
    seal: Option<Seal>,
    outputs: VecDeque<Output>,
    state: SessionState,
    started: Instant,
    last_heard: Instant,
    /// How many periods of silence were reported.
    slow_periods: u32,
    /// When a login with a password was sent that has no answer yet.
    login_sent: Option<Instant>,
    /// Salt and challenge of this connection.
    hash: Option<(String, String)>,
    /// Our probes that are on their way: the number and the time sent in each, which no two share.
    probes: VecDeque<(u64, i64)>,
    probes_sent: u64,
    last_probe: i64,
    probed: Option<Instant>,
    screen: Screen,
    pointer: Pointer,
    hands: Hands,
    permissions: Permissions,
    /// Windows: the secure desktop covers the screen; a window of higher rights has the focus.
    secure_desktop: bool,
    elevated_window: bool,
    /// Display → number of the screenshot asked for.
    screenshots: BTreeMap<u32, u64>,
    screenshots_asked: u64,
    refused: Refused,
}

impl Client {
    /// The stream is connected now. Outputs may be waiting already.
    pub fn new(config: Config, now: Instant) -> Self {
        let phase =
            if matches!(config.security, Security::Sealed { .. }) { Phase::Handshake } else { Phase::Hash };
        let mut client = Self {
            phase,
            seal: None,
            outputs: VecDeque::new(),
            state: SessionState::Connecting,
            started: now,
            last_heard: now,
            slow_periods: 0,
            login_sent: None,
            hash: None,
            probes: VecDeque::new(),
            probes_sent: 0,
            last_probe: -1,
            probed: None,
            screen: Screen::default(),
            pointer: Pointer::default(),
            hands: Hands::default(),
            permissions: Permissions::default(),
            secure_desktop: false,
            elevated_window: false,
            screenshots: BTreeMap::new(),
            screenshots_asked: 0,
            refused: Refused::default(),
            config,
        };
        if matches!(client.config.security, Security::Declined) {
            client.outputs.push_back(Output::Send(Bytes::new()));
        }
        client
    }

    /// What to do next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due, if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let silence = self.last_heard + SESSION_SILENCE;
        let due = match self.phase {
            Phase::Closed => return None,
            Phase::Handshake | Phase::Hash => self.started + CONNECT_TIMEOUT,
            Phase::Login => self.login_sent.map_or(silence, |sent| sent + LOGIN_PATIENCE),
            Phase::Live => self.last_heard + SLOW * (self.slow_periods + 1),
        };
        Some(due.min(silence))
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        let silent = now.saturating_duration_since(self.last_heard);
        match self.phase {
            Phase::Closed => {}
            _ if silent >= SESSION_SILENCE => {
                let error =
                    RemoteError::SessionClosed(format!("nothing was heard for {} s", silent.as_secs()));
                self.end(error, true);
            }
            Phase::Handshake | Phase::Hash if now >= self.started + CONNECT_TIMEOUT => {
                self.end(RemoteError::TimedOut("the host did not begin a session".into()), true);
            }
            Phase::Login if self.login_sent.is_some_and(|sent| now >= sent + LOGIN_PATIENCE) => {
                self.login_sent = None;
                self.set_state(SessionState::AwaitingApproval);
            }
            Phase::Live if silent >= SLOW * (self.slow_periods + 1) => {
                self.slow_periods = (silent.as_secs() / SLOW.as_secs()) as u32;
                self.set_state(SessionState::Degraded { silent_for: SLOW * self.slow_periods });
            }
            _ => {}
        }
    }

    /// The stream ended without a word from the host, or broke.
    pub fn handle_end(&mut self, reason: &str) {
        if self.phase != Phase::Closed {
            let error = if self.phase == Phase::Live {
                RemoteError::SessionClosed(format!("the connection was lost: {reason}"))
            } else {
                RemoteError::SessionClosed(format!(
                    "the connection was lost before the login was done: {reason}"
                ))
            };
            self.end(error, true);
        }
    }

    /// The longest packet to accept now.
    pub fn packet_limit(&self) -> usize {
        if self.phase == Phase::Live { MAX_PACKET } else { MAX_LOGIN_PACKET }
    }

    pub fn state(&self) -> &SessionState {
        &self.state
    }

    pub fn displays(&self) -> Vec<Display> {
        self.screen.displays()
    }

    pub fn refused(&self) -> Refused {
        self.refused
    }

    /// Whether the host let us in on this connection.
    pub fn is_live(&self) -> bool {
        self.phase == Phase::Live
    }

    fn set_state(&mut self, state: SessionState) {
        if self.state != state {
            self.state = state.clone();
            self.event(Event::State(state));
        }
    }

    /// What a live session without trouble is.
    fn set_live_state(&mut self) {
        let state = if self.screen.len() == 0 { SessionState::NoDisplay } else { SessionState::Ready };
        self.set_state(state);
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn announce_displays(&mut self) {
        let displays = self.screen.displays();
        self.event(Event::Displays(displays));
    }

    fn send(&mut self, union: message::Union) {
        self.send_message(&Message { union: Some(union) });
    }

    fn send_misc(&mut self, union: misc::Union) {
        self.send(message::Union::Misc(hbb_common::session::Misc { union: Some(union) }));
    }

    fn send_message(&mut self, message: &Message) {
        self.send_plain(message.encode_to_vec().into());
    }

    fn send_plain(&mut self, plain: Bytes) {
        let packet = match &mut self.seal {
            Some(seal) => seal.seal(&plain),
            None => plain,
        };
        self.outputs.push_back(Output::Send(packet));
    }

    /// Ends for a reason given by the host as text.
    fn end_by_text(&mut self, text: &str) {
        let error = match self.phase {
            Phase::Live => RemoteError::SessionClosed(text.into()),
            _ => RemoteError::Refused(text.into()),
        };
        self.end(error, may_come_back(text));
    }

    fn end(&mut self, error: RemoteError, retry: bool) {
        if self.phase == Phase::Closed {
            return;
        }
        self.phase = Phase::Closed;
        for request in std::mem::take(&mut self.screenshots).into_values() {
            self.event(Event::Screenshot { request, png: Err(error.clone()) });
        }
        self.event(Event::Ended { error, retry });
        self.outputs.push_back(Output::Close);
    }
}
