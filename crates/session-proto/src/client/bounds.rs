//! Judges a packet before memory is spent on decoding it.
//!
//! Two bytes on the wire make an empty element of a repeated field, which costs fifty to a hundred bytes
//! when decoded. So the number of elements is counted first, without allocating.

use prost::encoding::{WireType, decode_key, decode_varint};

/// The longest packet of a host that has logged us in: a screenshot of a large display as PNG.
pub(super) const MAX_PACKET: usize = 64 << 20;

/// The longest packet before that: a `PeerInfo` with many displays and modes.
pub(super) const MAX_LOGIN_PACKET: usize = 256 << 10;

/// The longest member that is neither video, sound, a clipboard nor a screenshot.
const MAX_MEMBER: usize = 256 << 10;

const MAX_MEMBERS: usize = 16;
const MAX_VIDEO_PACKETS: usize = 1024;
const MAX_CLIPBOARD_ITEMS: usize = 64;

/// Numbers of `Message`'s members (session §1.2).
const VIDEO_FRAME: u32 = 6;
const AUDIO_FRAME: u32 = 11;
const CLIPBOARD: u32 = 16;
const MULTI_CLIPBOARDS: u32 = 28;
const SCREENSHOT_RESPONSE: u32 = 30;

/// Whether decoding `packet` as a `Message` costs memory in proportion to its length.
pub(crate) fn is_modest(packet: &[u8]) -> bool {
    let mut members = 0;
    let mut video = 0;
    let mut items = 0;
    for (number, value) in Fields(packet) {
        members += 1;
        match number {
            VIDEO_FRAME => {
                video += Fields(value)
                    .map(|(_, packets)| 1 + Fields(packets).take(MAX_VIDEO_PACKETS).count())
                    .sum::<usize>();
            }
            MULTI_CLIPBOARDS => items += Fields(value).count(),
            AUDIO_FRAME | CLIPBOARD | SCREENSHOT_RESPONSE => {}
            _ if value.len() > MAX_MEMBER => return false,
            _ => {}
        }
        if members > MAX_MEMBERS || video > MAX_VIDEO_PACKETS || items > MAX_CLIPBOARD_ITEMS {
            return false;
        }
    }
    true
}

/// The fields of a message in order; ends at the first malformed one, as decoding does.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u32, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &mut self.0;
        if rest.is_empty() {
            return None;
        }
        let (number, wire_type) = decode_key(rest).ok()?;
        let length = match wire_type {
            WireType::Varint => {
                decode_varint(rest).ok()?;
                0
            }
            WireType::LengthDelimited => usize::try_from(decode_varint(rest).ok()?).ok()?,
            WireType::ThirtyTwoBit => 4,
            WireType::SixtyFourBit => 8,
            WireType::StartGroup | WireType::EndGroup => return None,
        };
        let (value, after) = rest.split_at_checked(length)?;
        *rest = after;
        Some((number, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hbb_common::session::{
        EncodedVideoFrame, EncodedVideoFrames, Message, MultiClipboards, PeerInfo, VideoFrame, message,
        video_frame,
    };
    use prost::Message as _;

    fn encoded(union: message::Union) -> Vec<u8> {
        Message { union: Some(union) }.encode_to_vec()
    }

    fn video(packets: usize, size: usize) -> Vec<u8> {
        let frame = EncodedVideoFrame { data: vec![1; size].into(), key: true, pts: 1 };
        let union = video_frame::Union::Vp9s(EncodedVideoFrames { frames: vec![frame; packets] });
        encoded(message::Union::VideoFrame(VideoFrame { union: Some(union), display: 0 }))
    }

    #[test]
    fn honest_messages_pass() {
        assert!(is_modest(&video(1, 8 << 20)));
        assert!(is_modest(&video(1000, 10)));
        assert!(is_modest(&encoded(message::Union::PeerInfo(PeerInfo::default()))));
        assert!(is_modest(b""));
    }

    #[test]
    fn many_empty_elements_do_not() {
        assert!(!is_modest(&video(2000, 0)));
        let items = MultiClipboards { clipboards: vec![Default::default(); 65] };
        assert!(!is_modest(&encoded(message::Union::MultiClipboards(items))));
        let twice = [video(600, 0), video(600, 0)].concat();
        assert!(!is_modest(&twice), "members of one kind are merged when decoded");
        let peer = PeerInfo { displays: vec![Default::default(); 200_000], ..Default::default() };
        assert!(!is_modest(&encoded(message::Union::PeerInfo(peer))));
    }

    proptest::proptest! {
        #[test]
        fn garbage_is_judged(bytes in proptest::collection::vec(0u8.., 0..300)) {
            is_modest(&bytes);
        }
    }
}
