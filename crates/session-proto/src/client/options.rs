//! The wishes of a session in RustDesk's numbers (session §3.1, §3.4, §13).

use super::Config;
use hbb_common::session::option_message::BoolOption;
use hbb_common::session::supported_decoding::PreferCodec;
use hbb_common::session::{Chroma, CodecAbility, ImageQuality, OptionMessage, SupportedDecoding};
use remote::VideoCodec;
use remote::target::Quality;

/// What goes with the login.
pub(super) fn at_login(config: &Config) -> OptionMessage {
    let quality = match config.quality {
        Quality::Low => ImageQuality::Low,
        Quality::Balanced => ImageQuality::NotSet,
        Quality::Best => ImageQuality::Best,
    };
    OptionMessage {
        image_quality: quality as i32,
        show_remote_cursor: BoolOption::Yes as i32,
        disable_audio: BoolOption::Yes as i32,
        supported_decoding: Some(decoding(config)),
        ..Default::default()
    }
}

/// What can be decoded. Full colour is asked for with the best quality only: it costs the host a lot.
pub(super) fn decoding(config: &Config) -> SupportedDecoding {
    let able = |codec| i32::from(config.decoders.contains(&codec));
    let prefer = match config.prefer {
        Some(VideoCodec::Vp9) => PreferCodec::Vp9,
        Some(VideoCodec::H264) => PreferCodec::H264,
        Some(VideoCodec::H265) => PreferCodec::H265,
        Some(VideoCodec::Vp8) => PreferCodec::Vp8,
        Some(VideoCodec::Av1) => PreferCodec::Av1,
        None | Some(VideoCodec::Raw) => PreferCodec::Auto,
    };
    let chroma = if config.quality == Quality::Best { Chroma::I444 } else { Chroma::I420 };
    SupportedDecoding {
        ability_vp9: able(VideoCodec::Vp9),
        ability_h264: able(VideoCodec::H264),
        ability_h265: able(VideoCodec::H265),
        ability_vp8: able(VideoCodec::Vp8),
        ability_av1: able(VideoCodec::Av1),
        prefer: prefer as i32,
        i444: Some(CodecAbility {
            vp9: config.decoders.contains(&VideoCodec::Vp9),
            av1: config.decoders.contains(&VideoCodec::Av1),
            ..Default::default()
        }),
        prefer_chroma: chroma as i32,
    }
}
