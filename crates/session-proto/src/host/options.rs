//! The client's options, each message a delta on the ones before (session §3.12).

use super::{Decoding, Event, Host};
use hbb_common::session::option_message::BoolOption;
use hbb_common::session::supported_decoding::PreferCodec;
use hbb_common::session::{ImageQuality, OptionMessage, SupportedDecoding};
use remote::VideoCodec;

/// The wire's numbers of the presets and the factors they stand for (session §3.4).
const LOW: f32 = 0.5;
const BALANCED: f32 = 0.67;
const BEST: f32 = 1.5;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Options {
    pub(super) ratio: f32,
    pub(super) fps: u32,
    /// What the client's decoder can take at the moment.
    pub(super) fps_now: Option<u32>,
    pub(super) decoding: Decoding,
    pub(super) show_pointer: bool,
    pub(super) follow_pointer: bool,
    pub(super) view_only: bool,
    pub(super) no_clipboard: bool,
    pub(super) lock_at_end: bool,
    pub(super) recording: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ratio: BALANCED,
            fps: 30,
            fps_now: None,
            decoding: Decoding { vp9: true, ..Decoding::default() },
            show_pointer: false,
            follow_pointer: false,
            view_only: false,
            no_clipboard: false,
            lock_at_end: false,
            recording: false,
        }
    }
}

impl Options {
    pub(super) fn fps_limit(&self) -> u32 {
        self.fps.min(self.fps_now.unwrap_or(self.fps))
    }

    fn apply(&mut self, delta: &OptionMessage) {
        let set = |value: i32, target: &mut bool| match BoolOption::try_from(value) {
            Ok(BoolOption::Yes) => *target = true,
            Ok(BoolOption::No) => *target = false,
            Ok(BoolOption::NotSet) | Err(_) => {}
        };
        set(delta.show_remote_cursor, &mut self.show_pointer);
        set(delta.follow_remote_cursor, &mut self.follow_pointer);
        set(delta.disable_keyboard, &mut self.view_only);
        set(delta.disable_clipboard, &mut self.no_clipboard);
        set(delta.lock_after_session_end, &mut self.lock_at_end);
        if let Some(ratio) = ratio(delta) {
            self.ratio = ratio;
        }
        if let Some(fps) = fps(delta.custom_fps) {
            self.fps = fps;
        }
        if let Some(decoding) = &delta.supported_decoding {
            self.decoding = decoding_of(decoding);
        }
    }
}

impl Host {
    pub(super) fn apply_options(&mut self, delta: &OptionMessage) {
        self.options.apply(delta);
        if self.options.view_only {
            self.release_all();
        }
        self.block_input(delta.block_input);
        self.update_view();
    }

    /// Real on Windows only; elsewhere there is an answer just for a client that may not (session §4.7).
    fn block_input(&mut self, wish: i32) {
        use hbb_common::session::back_notification::{BlockInputState, Union};
        use hbb_common::session::{BackNotification, misc};
        let state = match BoolOption::try_from(wish) {
            Ok(BoolOption::Yes) => BlockInputState::BlkOnFailed,
            Ok(BoolOption::No) => BlockInputState::BlkOffFailed,
            Ok(BoolOption::NotSet) | Err(_) => return,
        };
        self.refusals.unsupported += 1;
        if !self.context.permissions.allows(remote::Permission::BlockInput) {
            self.send_misc(misc::Union::BackNotification(BackNotification {
                union: Some(Union::BlockInputState(state as i32)),
                details: "No permission".into(),
                ..Default::default()
            }));
        }
    }

    pub(super) fn auto_adjust_fps(&mut self, wish: u32) {
        if let Some(limit) = i32::try_from(wish).ok().and_then(fps) {
            self.options.fps_now = Some(limit);
            self.update_view();
        }
    }

    /// Tells the driver what the client wants to see, if that changed.
    pub(super) fn update_view(&mut self) {
        if !self.is_live() {
            return;
        }
        let view = super::View {
            displays: self.subscriptions.displays(),
            decoding: self.options.decoding,
            fps: self.options.fps_limit(),
            ratio: self.options.ratio,
            cursor: self.may_control() || self.options.show_pointer,
            pointer: self.options.show_pointer,
            recording: self.options.recording,
        };
        if self.subscriptions.ready && self.view.as_ref() != Some(&view) {
            self.view = Some(view.clone());
            self.event(Event::View(view));
        }
    }
}

/// The factor on the bit rate that a message asks for. Custom percentages are shifted left by eight;
/// small numbers that are not are taken for presets, as stock hosts do.
fn ratio(delta: &OptionMessage) -> Option<f32> {
    let preset = |n: i32| match ImageQuality::try_from(n) {
        Ok(ImageQuality::Low) => Some(LOW),
        Ok(ImageQuality::Balanced) => Some(BALANCED),
        Ok(ImageQuality::Best) => Some(BEST),
        Ok(ImageQuality::NotSet) | Err(_) => None,
    };
    if delta.image_quality != 0 {
        return preset(delta.image_quality);
    }
    let custom = delta.custom_image_quality;
    if custom <= 0 {
        return None;
    }
    let percent = (custom >> 8 & 0xFFF) as f32;
    preset(custom).or(Some((percent * 2.0 / 100.0).clamp(0.2, 40.0)))
}

fn fps(wish: i32) -> Option<u32> {
    u32::try_from(wish).ok().filter(|fps| (1..=120).contains(fps))
}

fn decoding_of(wire: &SupportedDecoding) -> Decoding {
    let prefer = match PreferCodec::try_from(wire.prefer) {
        Ok(PreferCodec::Vp9) => Some(VideoCodec::Vp9),
        Ok(PreferCodec::H264) => Some(VideoCodec::H264),
        Ok(PreferCodec::H265) => Some(VideoCodec::H265),
        Ok(PreferCodec::Vp8) => Some(VideoCodec::Vp8),
        Ok(PreferCodec::Av1) => Some(VideoCodec::Av1),
        Ok(PreferCodec::Auto) | Err(_) => None,
    };
    Decoding {
        vp8: wire.ability_vp8 > 0,
        // Never evaluated: VP9 is the fallback of everybody (session §3.1).
        vp9: true,
        av1: wire.ability_av1 > 0,
        h264: wire.ability_h264 > 0,
        h265: wire.ability_h265 > 0,
        prefer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qualities() {
        let of = |image_quality, custom_image_quality| {
            ratio(&OptionMessage { image_quality, custom_image_quality, ..Default::default() })
        };
        assert_eq!([of(2, 0), of(3, 0), of(4, 0)], [Some(0.5), Some(0.67), Some(1.5)]);
        assert_eq!([of(0, 0), of(1, 0), of(99, 0), of(0, -5)], [None; 4]);
        assert_eq!([of(0, 50 << 8), of(0, 40 << 8)], [Some(1.0), Some(0.8)]);
        assert_eq!([of(0, 3), of(0, 60)], [Some(0.67), Some(0.2)], "not shifted");
        assert_eq!(of(0, 0xFFF << 8), Some(40.0));
        assert_eq!(of(2, 50 << 8), Some(0.5), "a preset wins");
    }

    #[test]
    fn deltas_leave_the_rest_alone() {
        let mut options = Options::default();
        let yes = BoolOption::Yes as i32;
        options.apply(&OptionMessage { disable_keyboard: yes, custom_fps: 12, ..Default::default() });
        options.apply(&OptionMessage { show_remote_cursor: yes, custom_fps: 500, ..Default::default() });
        assert!(options.view_only && options.show_pointer);
        assert_eq!(options.fps_limit(), 12, "what is out of range is not taken");
        options.apply(&OptionMessage { disable_keyboard: BoolOption::No as i32, ..Default::default() });
        assert!(!options.view_only && options.show_pointer);
        options.fps_now = Some(5);
        assert_eq!(options.fps_limit(), 5);
        options.fps_now = Some(60);
        assert_eq!(options.fps_limit(), 12);
    }
}
