//! What a client that is logged in asks of the desktop: displays, pictures, resolution, chat.

use super::{Event, Host, HostDisplay, Phase};
use hbb_common::session::back_notification::{PrivacyModeState, Union as Notification};
use hbb_common::session::{
    BackNotification, CaptureDisplays, DisplayInfo, Features, PeerInfo, Resolution, SupportedEncoding,
    SupportedResolutions, SwitchDisplay, TogglePrivacyMode, VoiceCallResponse, message, misc,
};
use hbb_common::version;
use remote::{Permission, Size};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// Clients before this have one display at a time (session §11.2).
const KNOWS_SUBSCRIPTIONS: i64 = 1_002_040;

/// Chat lines are cut here.
const LONGEST_CHAT: usize = 16 * 1024;

/// Which displays the client gets pictures of.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// The login is over and options are in.
    pub(super) ready: bool,
    pub(super) current: usize,
    wanted: BTreeSet<usize>,
    /// Subscribed, but no keyframe passed yet: what comes before one is of no use to the client.
    pub(super) before_key: BTreeSet<usize>,
    /// Display → the newest request's `sid`.
    pub(super) screenshots: BTreeMap<usize, String>,
    /// The display last named by `follow_current_display`.
    pub(super) followed: Option<usize>,
}

impl Subscriptions {
    pub(super) fn displays(&self) -> Vec<usize> {
        self.wanted.iter().copied().collect()
    }

    pub(super) fn has(&self, display: usize) -> bool {
        self.wanted.contains(&display)
    }

    fn set(&mut self, wanted: BTreeSet<usize>) {
        let added: Vec<usize> = wanted.difference(&self.wanted).copied().collect();
        self.before_key.extend(added);
        self.before_key.retain(|display| wanted.contains(display));
        self.wanted = wanted;
    }
}

impl Host {
    pub(super) fn live(&mut self, union: message::Union, now: Instant) {
        use message::Union;
        match union {
            Union::MouseEvent(event) => self.mouse(&event, now),
            Union::KeyEvent(event) => self.key(event, now),
            Union::Clipboard(clipboard) => self.clipboard(vec![clipboard]),
            Union::MultiClipboards(all) => self.clipboard(all.clipboards),
            Union::Misc(misc) => match misc.union {
                Some(union) => self.misc(union),
                None => self.refusals.unsupported += 1,
            },
            Union::ScreenshotRequest(request) => match self.display(request.display) {
                Some(display) if self.subscriptions.has(display) => {
                    self.subscriptions.screenshots.insert(display, request.sid);
                    self.event(Event::Screenshot { display });
                }
                _ => self.refusals.unsupported += 1,
            },
            Union::VoiceCallRequest(request) => {
                self.refusals.unsupported += 1;
                if request.is_connect {
                    self.send(Union::VoiceCallResponse(VoiceCallResponse {
                        accepted: false,
                        req_timestamp: request.req_timestamp,
                        ack_timestamp: 0,
                    }));
                }
            }
            _ => self.refusals.unsupported += 1,
        }
    }

    fn misc(&mut self, union: misc::Union) {
        use misc::Union;
        match union {
            Union::ChatMessage(chat) => {
                let text: String = chat.text.chars().take(LONGEST_CHAT).collect();
                self.event(Event::Chat(text));
            }
            Union::Option(option) => self.apply_options(&option),
            Union::RefreshVideo(true) => self.event(Event::Refresh(None)),
            Union::RefreshVideo(false) => {}
            Union::RefreshVideoDisplay(display) => match self.display(display) {
                Some(display) => self.event(Event::Refresh(Some(display))),
                None => self.refusals.unsupported += 1,
            },
            Union::VideoReceived(_) => self.pictures.acknowledged(),
            Union::AutoAdjustFps(wish) => self.auto_adjust_fps(wish),
            Union::ClientRecordStatus(on) => {
                self.options.recording = on;
                self.update_view();
            }
            Union::CaptureDisplays(wish) => self.capture(&wish),
            Union::SwitchDisplay(wish) => self.switch(&wish),
            Union::MessageQuery(query) => match self.display(query.switch_display) {
                Some(display) => self.send_geometry(display),
                None => self.refusals.unsupported += 1,
            },
            Union::ChangeDisplayResolution(wish) => match (self.display(wish.display), wish.resolution) {
                (Some(display), Some(size)) => self.resize(display, size.width, size.height),
                _ => self.refusals.unsupported += 1,
            },
            Union::ChangeResolution(size) => self.resize(self.subscriptions.current, size.width, size.height),
            Union::TogglePrivacyMode(wish) => self.privacy(wish),
            Union::RestartRemoteDevice(_) if self.context.permissions.allows(Permission::Restart) => {
                self.event(Event::Restart);
            }
            _ => self.refusals.unsupported += 1,
        }
    }

    /// The number of a display that exists.
    fn display(&self, wire: i32) -> Option<usize> {
        usize::try_from(wire).ok().filter(|n| *n < self.context.announce.displays.len())
    }

    /// The present subscriptions as the wire lists them; what does not exist is left out.
    fn existing(&self, wire: &[i32]) -> BTreeSet<usize> {
        wire.iter().filter_map(|n| self.display(*n)).collect()
    }

    pub(super) fn subscribe_primary(&mut self) {
        let displays = &self.context.announce.displays;
        self.subscriptions.current = displays.iter().position(|d| d.primary).unwrap_or(0);
        let wanted = (!displays.is_empty()).then_some(self.subscriptions.current);
        self.subscriptions.set(wanted.into_iter().collect());
        self.subscriptions.ready = true;
        self.update_view();
    }

    /// session §3.5: exactly one of the lists counts, and `sub` means "of these only".
    fn capture(&mut self, wish: &CaptureDisplays) {
        let now = self.subscriptions.wanted.clone();
        let wanted = if !wish.add.is_empty() {
            now.union(&self.existing(&wish.add)).copied().collect()
        } else if !wish.sub.is_empty() {
            now.intersection(&self.existing(&wish.sub)).copied().collect()
        } else {
            self.existing(&wish.set)
        };
        self.subscriptions.set(wanted);
        self.update_view();
    }

    fn switch(&mut self, wish: &SwitchDisplay) {
        let Some(display) = self.display(wish.display) else {
            self.refusals.unsupported += 1;
            return;
        };
        if display != self.subscriptions.current {
            self.subscriptions.current = display;
            let old = self.client.as_ref().is_none_or(|c| version::number(&c.version) < KNOWS_SUBSCRIPTIONS);
            let mut wanted = if old { BTreeSet::new() } else { self.subscriptions.wanted.clone() };
            wanted.insert(display);
            self.subscriptions.set(wanted);
            self.send_geometry(display);
            self.update_view();
        }
        if wish.width != 0 && wish.height != 0 {
            self.resize(display, wish.width, wish.height);
        }
    }

    fn resize(&mut self, display: usize, width: i32, height: i32) {
        let (Ok(width), Ok(height)) = (u32::try_from(width), u32::try_from(height)) else { return };
        let size = Size::new(width, height);
        let known = self.context.announce.displays.get(display).is_some_and(|d| d.modes.contains(&size));
        if known && self.context.permissions.allows(Permission::Keyboard) {
            self.event(Event::SetSize { display, size });
        } else {
            self.refusals.unsupported += 1;
        }
    }

    fn privacy(&mut self, wish: TogglePrivacyMode) {
        self.refusals.unsupported += 1;
        let allowed = self.context.permissions.allows(Permission::PrivacyMode);
        let (state, details) = if allowed {
            (PrivacyModeState::PrvNotSupported, "this host has no privacy mode")
        } else {
            (PrivacyModeState::PrvOnFailedDenied, "")
        };
        self.send_misc(misc::Union::BackNotification(BackNotification {
            union: Some(Notification::PrivacyModeState(state as i32)),
            details: details.into(),
            impl_key: wish.impl_key,
        }));
    }

    /// Whether input counts (session §4).
    pub(super) fn may_control(&self) -> bool {
        self.context.permissions.allows(Permission::Keyboard) && !self.options.view_only
    }

    /// The local user switches a permission. Announced and enforced at once.
    pub fn set_permission(&mut self, permission: Permission, allowed: bool) {
        if self.context.permissions.allows(permission) == allowed {
            return;
        }
        let denied = &mut self.context.permissions.denied;
        if allowed {
            denied.retain(|p| *p != permission);
        } else {
            denied.push(permission);
        }
        if permission == Permission::Keyboard && !allowed {
            self.release_all();
        }
        if matches!(self.phase, Phase::Login | Phase::Live) {
            self.announce(permission, allowed);
        }
        self.update_view();
    }

    /// The displays changed; the client is told before the first picture that shows it.
    pub fn set_displays(&mut self, displays: Vec<HostDisplay>) {
        let before = std::mem::replace(&mut self.context.announce.displays, displays);
        if !self.is_live() || before == self.context.announce.displays {
            return;
        }
        let displays = &self.context.announce.displays;
        let place = |d: &HostDisplay| (d.name.clone(), d.origin);
        let rearranged = !before.iter().map(place).eq(displays.iter().map(place));
        let count = displays.len();
        if rearranged {
            let displays = displays.iter().map(display_info).collect();
            let peer_info = PeerInfo { displays, ..Default::default() };
            self.send(message::Union::PeerInfo(peer_info));
        }
        let subscribed = self.subscriptions.wanted.clone();
        let kept: BTreeSet<usize> = subscribed.iter().copied().filter(|n| *n < count).collect();
        if self.subscriptions.current >= count || (kept.is_empty() && !subscribed.is_empty()) {
            self.subscriptions.set(BTreeSet::new());
            self.subscribe_primary();
        } else {
            self.subscriptions.set(kept);
        }
        let current = self.subscriptions.current;
        for display in 0..count {
            let changed = before.get(display) != self.context.announce.displays.get(display);
            let concerned = display == current || self.subscriptions.has(display);
            if concerned && (changed || (rearranged && display == current)) {
                self.send_geometry(display);
            }
        }
        self.update_view();
    }

    /// The encoders of this machine changed.
    pub fn set_encoding(&mut self, encoding: super::Encoding) {
        if std::mem::replace(&mut self.context.announce.encoding, encoding) != encoding && self.is_live() {
            self.send_misc(misc::Union::SupportedEncoding(encoding_of(encoding)));
        }
    }

    fn send_geometry(&mut self, number: usize) {
        let Some(display) = self.context.announce.displays.get(number) else { return };
        let geometry = SwitchDisplay {
            display: number as i32,
            x: display.origin.x,
            y: display.origin.y,
            width: display.size.width as i32,
            height: display.size.height as i32,
            cursor_embedded: false,
            resolutions: Some(resolutions(display)),
            original_resolution: display.original.map(resolution),
        };
        self.send_misc(misc::Union::SwitchDisplay(geometry));
    }

    pub(super) fn peer_info(&self) -> PeerInfo {
        let announce = &self.context.announce;
        let current = announce.displays.iter().position(|d| d.primary).unwrap_or(0);
        PeerInfo {
            username: announce.username.clone(),
            hostname: announce.hostname.clone(),
            platform: announce.platform.clone(),
            displays: announce.displays.iter().map(display_info).collect(),
            current_display: current as i32,
            sas_enabled: false,
            version: announce.version.clone(),
            features: Some(Features { privacy_mode: false, terminal: false }),
            encoding: Some(encoding_of(announce.encoding)),
            resolutions: announce.displays.get(current).map(resolutions),
            platform_additions: announce.platform_additions.clone(),
            windows_sessions: None,
        }
    }
}

fn encoding_of(encoding: super::Encoding) -> SupportedEncoding {
    SupportedEncoding {
        h264: encoding.h264,
        h265: encoding.h265,
        vp8: encoding.vp8,
        av1: encoding.av1,
        i444: None,
    }
}

fn display_info(display: &HostDisplay) -> DisplayInfo {
    DisplayInfo {
        x: display.origin.x,
        y: display.origin.y,
        width: display.size.width as i32,
        height: display.size.height as i32,
        name: display.name.clone(),
        online: true,
        cursor_embedded: false,
        original_resolution: display.original.map(resolution),
        scale: 1.0,
    }
}

fn resolution(size: Size) -> Resolution {
    Resolution { width: size.width as i32, height: size.height as i32 }
}

fn resolutions(display: &HostDisplay) -> SupportedResolutions {
    SupportedResolutions { resolutions: display.modes.iter().copied().map(resolution).collect() }
}
