//! What the driver asks of the host.

use super::{Client, Phase};
use crate::client::input::is_key;
use crate::client::screen::Platform;
use crate::client::{Output, options};
use hbb_common::session::{Auth2Fa, OptionMessage, ScreenshotRequest, SwitchDisplay, message, misc};
use remote::{DisplayId, Input, Permission, RemoteError, Secret, SessionState, Size, VideoCodec};
use std::time::Instant;

/// Hosts from this version on know displays by number, and screenshots from the other one on (session §11.2).
const NUMBERED_DISPLAYS: i64 = 1_002_040;
const SCREENSHOTS: i64 = 1_004_000;

impl Client {
    /// Tries this password, on the same connection. Possible while the host waits for one or for a person.
    pub fn password(&mut self, password: Secret, now: Instant) -> Result<(), RemoteError> {
        match self.state {
            SessionState::AwaitingPassword { .. }
            | SessionState::AwaitingApproval
            | SessionState::AwaitingOsLogin { .. }
                if self.phase == Phase::Login =>
            {
                self.config.password = Some(password);
                self.log_in(now);
                Ok(())
            }
            _ => Err(self.not_asked("a password")),
        }
    }

    /// Answers the host's question for its second factor.
    pub fn second_factor(&mut self, code: &Secret, now: Instant) -> Result<(), RemoteError> {
        if self.phase != Phase::Login || !matches!(self.state, SessionState::Awaiting2fa { .. }) {
            return Err(self.not_asked("a second factor"));
        }
        self.send(message::Union::Auth2fa(Auth2Fa {
            code: code.reveal().trim().into(),
            ..Default::default()
        }));
        self.login_sent = Some(now);
        self.set_state(SessionState::Connecting);
        Ok(())
    }

    fn not_asked(&self, what: &str) -> RemoteError {
        RemoteError::Invalid(format!(
            "the peer does not ask for {what} now; the session is {}",
            self.state.name()
        ))
    }

    /// Sends all of the inputs in order, or none and says why.
    pub fn input(&mut self, inputs: &[Input]) -> Result<(), RemoteError> {
        self.check_live()?;
        if !self.permissions.allows(Permission::Keyboard) {
            return Err(RemoteError::PermissionDenied(Permission::Keyboard));
        }
        let copies = inputs.iter().any(|input| matches!(input, Input::Clipboard(_)));
        if copies && !self.permissions.allows(Permission::Clipboard) {
            return Err(RemoteError::PermissionDenied(Permission::Clipboard));
        }
        if self.secure_desktop || self.elevated_window && inputs.iter().any(is_key) {
            return Err(RemoteError::ElevatedWindow);
        }
        let encoded = self.hands.encode(inputs, &self.screen)?;
        let mut switches = encoded.switches.into_iter().peekable();
        for (n, message) in encoded.messages.iter().enumerate() {
            while let Some((_, display)) = switches.next_if(|(before, _)| *before <= n) {
                self.switch_display(display);
            }
            self.send_message(message);
        }
        if let Some((display, to)) = encoded.pointer {
            self.pointer.moved(display, to);
            self.announce_cursor();
        }
        Ok(())
    }

    /// Asks the host for a sign that it has read everything sent so far; the number comes back in
    /// [`Event::RoundTrip`](crate::client::Event::RoundTrip), in it or in a later one (session §3.6).
    pub fn probe(&mut self, now: Instant) -> Result<u64, RemoteError> {
        self.check_live()?;
        Ok(self.measure(now))
    }

    /// Asks for a complete new picture. It restarts the host's encoder, so not too often.
    pub fn refresh(&mut self, display: DisplayId) -> Result<(), RemoteError> {
        self.check_live()?;
        self.screen.check(display)?;
        let misc = if self.screen.version >= NUMBERED_DISPLAYS {
            misc::Union::RefreshVideoDisplay(display.0 as i32)
        } else {
            misc::Union::RefreshVideo(true)
        };
        self.send_misc(misc);
        Ok(())
    }

    /// Makes sure that the display's pictures are sent. Gives whether that had to be asked for.
    pub fn subscribe(&mut self, display: DisplayId) -> Result<bool, RemoteError> {
        self.check_live()?;
        self.screen.check(display)?;
        if self.screen.subscribed.contains(&display.0) {
            return Ok(false);
        }
        if self.screen.version < NUMBERED_DISPLAYS {
            self.screen.subscribed.clear();
            self.screen.subscribed.insert(display.0);
            self.switch_display(display.0);
            return Ok(true);
        }
        self.screen.subscribed.insert(display.0);
        self.subscribe_again();
        Ok(true)
    }

    /// Asks for a picture without loss; the number comes back in [`Event::Screenshot`](crate::client::Event::Screenshot). A later request for
    /// the same display shares the answer of the one that is pending.
    pub fn screenshot(&mut self, display: DisplayId) -> Result<u64, RemoteError> {
        self.check_live()?;
        if self.screen.version < SCREENSHOTS {
            return Err(RemoteError::UnsupportedByPeer("its release has no screenshots".into()));
        }
        self.subscribe(display)?;
        if let Some(pending) = self.screenshots.get(&display.0) {
            return Ok(*pending);
        }
        self.screenshots_asked += 1;
        let number = self.screenshots_asked;
        self.screenshots.insert(display.0, number);
        let sid = format!("{:x}-{number}", self.config.session_id);
        self.send(message::Union::ScreenshotRequest(ScreenshotRequest { display: display.0 as i32, sid }));
        Ok(number)
    }

    /// Nobody waits for this screenshot any more; the next request is a new one.
    pub fn forget_screenshot(&mut self, request: u64) {
        self.screenshots.retain(|_, pending| *pending != request);
    }

    /// From now on the codec can not be decoded. VP9 stays announced: hosts fall back to it anyway.
    pub fn give_up_codec(&mut self, codec: VideoCodec) {
        if codec == VideoCodec::Vp9 || !self.config.decoders.contains(&codec) {
            return;
        }
        self.config.decoders.retain(|c| *c != codec);
        if self.config.prefer == Some(codec) {
            self.config.prefer = None;
        }
        if self.phase == Phase::Live {
            let supported_decoding = Some(options::decoding(&self.config));
            self.send_misc(misc::Union::Option(OptionMessage { supported_decoding, ..Default::default() }));
        }
    }

    /// The size of the pictures that were decoded: what inputs are given in.
    pub fn picture_size(&mut self, display: DisplayId, size: Size) {
        if self.phase != Phase::Closed && self.screen.picture(display, size) {
            self.announce_displays();
        }
    }

    /// The video can not be used; ends the session.
    pub fn give_up(&mut self, error: RemoteError) {
        if self.phase != Phase::Closed {
            self.say_good_bye();
            self.end(error, false);
        }
    }

    /// Leaves: the host forgets the session (session §10.6).
    pub fn close(&mut self) {
        if self.phase != Phase::Closed {
            self.say_good_bye();
            self.phase = Phase::Closed;
            self.outputs.push_back(Output::Close);
        }
    }

    fn say_good_bye(&mut self) {
        if matches!(self.phase, Phase::Login | Phase::Live) {
            self.send_misc(misc::Union::CloseReason(String::new()));
        }
    }

    fn switch_display(&mut self, display: u32) {
        self.screen.current = display;
        let switch = SwitchDisplay { display: display as i32, ..Default::default() };
        self.send_misc(misc::Union::SwitchDisplay(switch));
        // Hosts keep the old display subscribed; what we want is said anew for all (session §3.5).
        if self.screen.platform == Platform::MacOs && self.screen.subscribed.insert(display) {
            self.subscribe_again();
        }
    }

    fn check_live(&self) -> Result<(), RemoteError> {
        match self.phase {
            Phase::Live => Ok(()),
            _ => Err(RemoteError::SessionClosed(format!("it is {}", self.state.name()))),
        }
    }
}

/// The number in the text that names a screenshot request of ours.
pub(super) fn screenshot_number(session_id: u64, sid: &str) -> Option<u64> {
    let (session, number) = sid.split_once('-')?;
    (session == format!("{session_id:x}")).then(|| number.parse().ok()).flatten()
}
