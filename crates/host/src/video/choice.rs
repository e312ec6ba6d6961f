//! Which codec all viewers get (session §3.1).

use super::{Decoding, Encoding};
use remote::VideoCodec;

impl Encoding {
    /// What is built in, without what has failed.
    pub(super) fn available(broken: &[VideoCodec]) -> Self {
        let has = |codec| codec::encoders().contains(&codec) && !broken.contains(&codec);
        Self {
            vp8: has(VideoCodec::Vp8),
            vp9: has(VideoCodec::Vp9),
            av1: has(VideoCodec::Av1),
            h264: has(VideoCodec::H264),
        }
    }

    fn has(&self, codec: VideoCodec) -> bool {
        match codec {
            VideoCodec::Vp8 => self.vp8,
            VideoCodec::Vp9 => self.vp9,
            VideoCodec::Av1 => self.av1,
            VideoCodec::H264 => self.h264,
            VideoCodec::H265 | VideoCodec::Raw => false,
        }
    }
}

impl Decoding {
    fn has(&self, codec: VideoCodec) -> bool {
        match codec {
            VideoCodec::Vp8 => self.vp8,
            VideoCodec::Vp9 => self.vp9,
            VideoCodec::Av1 => self.av1,
            VideoCodec::H264 => self.h264,
            VideoCodec::H265 | VideoCodec::Raw => false,
        }
    }
}

/// The codec that most viewers prefer among those that the host has and every viewer can decode. VP9 counts
/// always: every viewer is taken to decode it, and it is what is used where nobody prefers another.
pub(super) fn choose(encoding: &Encoding, viewers: &[Decoding]) -> VideoCodec {
    const ORDER: [VideoCodec; 4] = [VideoCodec::Vp9, VideoCodec::H264, VideoCodec::Av1, VideoCodec::Vp8];
    let usable = |codec| {
        codec == VideoCodec::Vp9 || encoding.has(codec) && viewers.iter().all(|viewer| viewer.has(codec))
    };
    let votes = |codec| viewers.iter().filter(|viewer| viewer.prefer == Some(codec)).count();
    ORDER
        .into_iter()
        .rev()
        .filter(|codec| usable(*codec) && votes(*codec) > 0)
        // The last of equals: the earliest of the order.
        .max_by_key(|codec| votes(*codec))
        .unwrap_or(VideoCodec::Vp9)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Encoding = Encoding { vp8: true, vp9: true, av1: true, h264: true };

    fn viewer(prefer: Option<VideoCodec>) -> Decoding {
        Decoding { vp8: true, vp9: true, av1: true, h264: true, prefer }
    }

    #[test]
    fn vp9_is_used_unless_somebody_prefers_another() {
        assert_eq!(choose(&ALL, &[]), VideoCodec::Vp9);
        assert_eq!(choose(&ALL, &[viewer(None), viewer(None)]), VideoCodec::Vp9);
        assert_eq!(choose(&ALL, &[viewer(None), viewer(Some(VideoCodec::Vp8))]), VideoCodec::Vp8);
    }

    #[test]
    fn the_most_frequent_preference_wins() {
        let votes = [VideoCodec::Vp8, VideoCodec::H264, VideoCodec::H264].map(|codec| viewer(Some(codec)));
        assert_eq!(choose(&ALL, &votes), VideoCodec::H264);
        let tie = [VideoCodec::Vp8, VideoCodec::Vp9].map(|codec| viewer(Some(codec)));
        assert_eq!(choose(&ALL, &tie), VideoCodec::Vp9);
    }

    #[test]
    fn a_codec_that_one_side_lacks_does_not_count() {
        let poor = Decoding { vp9: true, ..Decoding::default() };
        assert_eq!(choose(&ALL, &[viewer(Some(VideoCodec::H264)), poor]), VideoCodec::Vp9);
        let host = Encoding { h264: false, ..ALL };
        assert_eq!(choose(&host, &[viewer(Some(VideoCodec::H264))]), VideoCodec::Vp9);
        // No ability at all is VP9 only.
        assert_eq!(choose(&ALL, &[Decoding::default()]), VideoCodec::Vp9);
        assert_eq!(choose(&ALL, &[viewer(Some(VideoCodec::H265))]), VideoCodec::Vp9);
    }
}
