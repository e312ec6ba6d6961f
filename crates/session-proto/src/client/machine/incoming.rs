//! What the host sends.

use super::{Client, MAX_NONSENSE, MEASURE_EVERY, Phase};
use crate::client::bounds::is_modest;
use crate::client::login::{Answer, judge};
use crate::client::screen::{Change, Platform, Screen};
use crate::client::{ClipboardItem, Event, Security, VideoPacket, VideoPackets, options};
use bytes::Bytes;
use hbb_common::defaults::VERSION;
use hbb_common::handshake::client_handshake;
use hbb_common::password::PasswordHash;
use hbb_common::seal::Seal;
use hbb_common::session::{
    CaptureDisplays, Clipboard, EncodedVideoFrames, Hash, LoginRequest, LoginResponse, Message, Misc,
    OptionMessage, PeerInfo, PermissionInfo, ScreenshotResponse, SignedId, SwitchDisplay, TestDelay,
    VideoFrame, login_response, message, misc, permission_info, video_frame,
};
use prost::Message as _;
use remote::{DisplayId, PeerDetails, Permission, RemoteError, SessionState, VideoCodec};
use std::time::{Duration, Instant};

/// The most bytes of a clipboard that are kept.
const MAX_CLIPBOARD: usize = 16 << 20;

/// Probes of ours that wait for their answer.
const MAX_PROBES: usize = 16;

/// The longest text handed on of what a host says to people.
const MAX_TEXT: usize = 4000;

impl Client {
    /// A packet came, without its frame.
    pub fn handle_packet(&mut self, packet: Bytes, now: Instant) {
        if self.phase == Phase::Closed {
            return;
        }
        self.last_heard = now;
        if self.slow_periods > 0 {
            self.slow_periods = 0;
            self.set_live_state();
        }
        let plain = match &mut self.seal {
            None => packet,
            Some(seal) => match seal.open(packet) {
                Ok(plain) => plain,
                Err(e) => return self.end(RemoteError::SessionClosed(e.to_string()), true),
            },
        };
        if plain.is_empty() {
            return;
        }
        if !is_modest(&plain) {
            self.refused.oversized += 1;
            return self.limit_nonsense();
        }
        match Message::decode(plain.clone()) {
            Ok(message) => self.handle_message(message, &plain, now),
            Err(_) if self.phase == Phase::Handshake => self.not_proved("its first packet is no message"),
            Err(_) => {
                self.refused.undecodable += 1;
                self.limit_nonsense();
            }
        }
    }

    fn limit_nonsense(&mut self) {
        if self.refused.undecodable + self.refused.oversized > MAX_NONSENSE {
            self.end(RemoteError::SessionClosed("the peer does not speak the protocol".into()), false);
        }
    }

    fn handle_message(&mut self, message: Message, plain: &Bytes, now: Instant) {
        let Some(union) = message.union else { return };
        if self.phase == Phase::Handshake {
            return match union {
                message::Union::SignedId(signed) => self.handshake(&signed),
                _ => self.not_proved("its first packet is not its signed id"),
            };
        }
        match union {
            message::Union::TestDelay(probe) => self.probe_came(&probe, plain, now),
            message::Union::Hash(hash) if self.phase == Phase::Hash => self.hash(hash, now),
            message::Union::LoginResponse(answer) if self.phase != Phase::Live => {
                self.login_answer(answer, now)
            }
            message::Union::Misc(Misc { union: Some(misc) }) => self.misc(misc),
            message::Union::MessageBox(message) => {
                // A host on Wayland asks its user for the screen before it answers.
                if self.phase == Phase::Login && self.state == SessionState::Connecting {
                    self.set_state(SessionState::AwaitingApproval);
                }
                let (title, text) = (clip(message.title), clip(message.text));
                self.event(Event::Message { title, text });
            }
            other if self.phase == Phase::Live => self.live(other),
            _ => {}
        }
    }

    fn handshake(&mut self, signed: &SignedId) {
        let Security::Sealed { id, key, secret, session_key } = &self.config.security else { return };
        match client_handshake(signed, key, id, secret, *session_key) {
            Ok((answer, session_key)) => {
                let key = *key;
                self.send(message::Union::PublicKey(answer));
                self.seal = Some(Seal::new(session_key));
                self.phase = Phase::Hash;
                self.event(Event::Verified(key));
            }
            Err(e) => self.not_proved(&e.to_string()),
        }
    }

    fn not_proved(&mut self, why: &str) {
        self.end(RemoteError::PeerNotVerified(why.into()), false);
    }

    /// The host's probe goes back byte for byte; our own gives the round trip (session §3.6).
    fn probe_came(&mut self, probe: &TestDelay, plain: &Bytes, now: Instant) {
        if !probe.from_client {
            self.send_plain(plain.clone());
            let due = self.probed.is_some_and(|last| now >= last + MEASURE_EVERY);
            if due {
                self.measure(now);
            }
        } else if let Some(at) = self.probes.iter().position(|(_, time)| *time == probe.time) {
            let number = self.probes[at].0;
            self.probes.drain(..=at);
            let sent = Duration::from_micros(u64::try_from(probe.time).unwrap_or_default());
            let took = now.saturating_duration_since(self.started).saturating_sub(sent);
            self.event(Event::RoundTrip { probe: number, took });
        }
    }

    /// Sends a probe; gives its number, or that of the newest one where too many are on their way.
    pub(super) fn measure(&mut self, now: Instant) -> u64 {
        if self.probes.len() >= MAX_PROBES {
            return self.probes_sent;
        }
        let time = i64::try_from(now.saturating_duration_since(self.started).as_micros()).unwrap_or(i64::MAX);
        let time = time.max(self.last_probe.saturating_add(1));
        (self.last_probe, self.probed) = (time, Some(now));
        self.probes_sent += 1;
        self.probes.push_back((self.probes_sent, time));
        self.send(message::Union::TestDelay(TestDelay { time, from_client: true, ..Default::default() }));
        self.probes_sent
    }

    fn hash(&mut self, hash: Hash, now: Instant) {
        self.hash = Some((hash.salt, hash.challenge));
        self.phase = Phase::Login;
        self.log_in(now);
    }

    /// Asks to be let in, with the password if there is one (session §2.5).
    pub(super) fn log_in(&mut self, now: Instant) {
        let Some((salt, challenge)) = &self.hash else { return };
        let password = self.config.password.as_ref().filter(|p| !p.is_empty());
        let proof = password.map(|p| PasswordHash::new(p.reveal(), salt).proof(challenge));
        let asked_for_person = proof.is_none();
        let request = LoginRequest {
            username: self.config.host_id.clone(),
            password: proof.map(|p| Bytes::copy_from_slice(&p)).unwrap_or_default(),
            my_id: self.config.my_id.clone(),
            my_name: self.config.my_name.clone(),
            option: Some(options::at_login(&self.config)),
            session_id: self.config.session_id,
            version: VERSION.into(),
            my_platform: "Linux".into(),
            ..Default::default()
        };
        self.send(message::Union::LoginRequest(request));
        if asked_for_person {
            self.login_sent = None;
            self.set_state(SessionState::AwaitingApproval);
        } else {
            self.login_sent = Some(now);
            self.set_state(SessionState::Connecting);
        }
    }

    fn login_answer(&mut self, answer: LoginResponse, now: Instant) {
        match answer.union {
            Some(login_response::Union::PeerInfo(info)) if self.phase == Phase::Login => {
                self.logged_in(info, now)
            }
            Some(login_response::Union::Error(text)) => {
                self.login_sent = None;
                let text = clip(text);
                match judge(&text, &self.config.host_id) {
                    Answer::WrongPassword => self.set_state(SessionState::AwaitingPassword { wrong: true }),
                    Answer::SecondFactor { wrong } => self.set_state(SessionState::Awaiting2fa { wrong }),
                    Answer::Approval => self.set_state(SessionState::AwaitingApproval),
                    Answer::OsLogin => self.set_state(SessionState::AwaitingOsLogin { message: text }),
                    Answer::Final(error) => self.end(error, false),
                }
            }
            _ => {}
        }
    }

    fn logged_in(&mut self, info: PeerInfo, now: Instant) {
        self.phase = Phase::Live;
        self.login_sent = None;
        self.screen = Screen::new(&info);
        if let Some(sessions) = info.windows_sessions.as_ref().filter(|s| !s.sessions.is_empty()) {
            self.send_misc(misc::Union::SelectedSid(sessions.current_sid));
        }
        if let Some(fps) = self.config.fps {
            let option = OptionMessage { custom_fps: fps.clamp(1, 120) as i32, ..Default::default() };
            self.send_misc(misc::Union::Option(option));
        }
        self.measure(now);
        self.event(Event::Peer(PeerDetails {
            hostname: clip(info.hostname),
            username: clip(info.username),
            platform: clip(info.platform),
            version: clip(info.version),
            encrypted: self.seal.is_some(),
            types_ascii_only: self.screen.types_ascii_only(),
            ..Default::default()
        }));
        self.announce_displays();
        self.set_live_state();
    }

    fn misc(&mut self, misc: misc::Union) {
        match misc {
            misc::Union::CloseReason(text) => self.end_by_text(&clip(text)),
            misc::Union::PermissionInfo(info) => self.permission(&info),
            _ if self.phase != Phase::Live => {}
            misc::Union::SwitchDisplay(to) => self.geometry(&to),
            misc::Union::Uac(covers) => self.secure_desktop = covers,
            misc::Union::ForegroundWindowElevated(elevated) => self.elevated_window = elevated,
            misc::Union::PortableServiceRunning(true) => {
                (self.secure_desktop, self.elevated_window) = (false, false)
            }
            misc::Union::ChatMessage(chat) => self.event(Event::Chat(clip(chat.text))),
            _ => {}
        }
    }

    fn permission(&mut self, info: &PermissionInfo) {
        use permission_info::Permission as Wire;
        let permission = match Wire::try_from(info.permission) {
            Ok(Wire::Keyboard) => Permission::Keyboard,
            Ok(Wire::Clipboard) => Permission::Clipboard,
            Ok(Wire::Audio) => Permission::Audio,
            Ok(Wire::File) => Permission::File,
            Ok(Wire::Restart) => Permission::Restart,
            Ok(Wire::Recording) => Permission::Recording,
            Ok(Wire::BlockInput) => Permission::BlockInput,
            Ok(Wire::PrivacyMode) => Permission::PrivacyMode,
            Err(_) => return,
        };
        if self.permissions.allows(permission) == info.enabled {
            return;
        }
        if info.enabled {
            self.permissions.denied.retain(|p| *p != permission);
        } else {
            self.permissions.denied.push(permission);
        }
        let permissions = self.permissions.clone();
        self.event(Event::Permissions(permissions));
    }

    fn live(&mut self, union: message::Union) {
        match union {
            message::Union::VideoFrame(frame) => self.video(frame),
            message::Union::PeerInfo(info) => self.peer_changed(&info),
            message::Union::CursorData(data) => {
                // XFixes gives colours that carry their alpha.
                match self.pointer.learn(&data, self.screen.platform == Platform::Linux) {
                    Ok(()) => self.announce_cursor(),
                    Err(_) => self.refused.bad_cursors += 1,
                }
            }
            message::Union::CursorId(id) => self.cursor_again(id),
            message::Union::CursorPosition(position) => {
                self.pointer.moved_by_host(&position, &self.screen);
                self.announce_cursor();
            }
            message::Union::ScreenshotResponse(answer) => self.screenshot_answer(answer),
            message::Union::Clipboard(item) => self.clipboard(vec![item]),
            message::Union::MultiClipboards(items) => self.clipboard(items.clipboards),
            _ => {}
        }
    }

    fn geometry(&mut self, to: &SwitchDisplay) {
        if self.screen.switch(to) {
            self.announce_displays();
        }
    }

    fn cursor_again(&mut self, id: u64) {
        if self.pointer.recall(id) {
            self.announce_cursor();
        }
    }

    pub(super) fn announce_cursor(&mut self) {
        let cursor = self.pointer.cursor().clone();
        self.event(Event::Cursor(cursor));
    }

    fn video(&mut self, frame: VideoFrame) {
        let display = usize::try_from(frame.display).ok().filter(|n| *n < self.screen.len());
        let packets = frame.union.and_then(|union| match union {
            video_frame::Union::Vp8s(packets) => Some((VideoCodec::Vp8, packets)),
            video_frame::Union::Vp9s(packets) => Some((VideoCodec::Vp9, packets)),
            video_frame::Union::Av1s(packets) => Some((VideoCodec::Av1, packets)),
            video_frame::Union::H264s(packets) => Some((VideoCodec::H264, packets)),
            video_frame::Union::H265s(packets) => Some((VideoCodec::H265, packets)),
            video_frame::Union::Rgb(_) | video_frame::Union::Yuv(_) => None,
        });
        let (Some(display), Some((codec, EncodedVideoFrames { frames }))) = (display, packets) else {
            self.refused.unexpected_video += 1;
            return;
        };
        if frames.is_empty() {
            return;
        }
        let packet = |f: hbb_common::session::EncodedVideoFrame| VideoPacket {
            data: f.data,
            key: f.key,
            pts_ms: f.pts,
        };
        let packets = frames.into_iter().map(packet).collect();
        self.event(Event::Video(VideoPackets { display: DisplayId(display as u32), codec, packets }));
    }

    fn peer_changed(&mut self, info: &PeerInfo) {
        let change = self.screen.update(info);
        if change == Change::Nothing {
            return;
        }
        if change == Change::List && self.screen.len() > 0 {
            self.subscribe_again();
        }
        self.announce_displays();
        self.set_live_state();
    }

    pub(super) fn subscribe_again(&mut self) {
        let set = self.screen.subscribed.iter().map(|n| *n as i32).collect();
        self.send_misc(misc::Union::CaptureDisplays(CaptureDisplays { set, ..Default::default() }));
    }

    fn screenshot_answer(&mut self, answer: ScreenshotResponse) {
        let request = super::commands::screenshot_number(self.config.session_id, &answer.sid);
        let Some((&display, &request)) = self.screenshots.iter().find(|(_, asked)| Some(**asked) == request)
        else {
            return;
        };
        self.screenshots.remove(&display);
        let png = if answer.msg.is_empty() {
            Ok(answer.data)
        } else {
            Err(RemoteError::UnsupportedByPeer(clip(answer.msg)))
        };
        self.event(Event::Screenshot { request, png });
    }

    fn clipboard(&mut self, items: Vec<Clipboard>) {
        if items.iter().map(|i| i.content.len()).sum::<usize>() > MAX_CLIPBOARD {
            self.refused.clipboards += 1;
            return;
        }
        let item =
            |c: Clipboard| ClipboardItem { format: c.format, compressed: c.compress, content: c.content };
        self.event(Event::Clipboard(items.into_iter().map(item).collect()));
    }
}

/// Text of the host, of a length that can be shown.
fn clip(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_TEXT) {
        text.truncate(end);
    }
    text
}
