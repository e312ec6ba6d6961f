//! Encoded video.

use super::{joined, pieces};
use crate::recording::Recording;
use codec::Decoder;
use hbb_common::session::{Message, message, video_frame};
use prost::Message as _;
use remote::VideoCodec;

/// Pixels of 1024 by 1024: more than the seeds have, little enough to be quick.
const LIMIT: u64 = 1 << 20;

/// Longer seeds teach nothing more.
const LONGEST: usize = 12_000;

const CODECS: [VideoCodec; 4] = [VideoCodec::Vp8, VideoCodec::Vp9, VideoCodec::Av1, VideoCodec::H264];

/// No picture is over the limit, none reaches outside its planes, and one that is announced is there.
pub(super) fn video(data: &[u8]) {
    decode(data);
}

/// Gives the number of pictures.
fn decode(data: &[u8]) -> usize {
    let Some((&codec, packets)) = data.split_first() else { return 0 };
    let mut pictures = 0;
    let codec = CODECS[usize::from(codec) % CODECS.len()];
    let mut decoder = Decoder::new(codec, LIMIT).expect("built in");
    for packet in pieces(packets) {
        let shown = decoder.decode(packet);
        let picture = decoder.picture();
        if shown == Ok(true) {
            assert!(picture.is_some(), "a picture was announced");
            pictures += 1;
        }
        if let Some(picture) = picture {
            let frame = picture.to_frame();
            assert!(frame.size.area() <= LIMIT, "{}", frame.size);
            let bytes: usize = (0..3).flat_map(|plane| picture.rows(plane)).map(<[u8]>::len).sum();
            assert!(bytes >= usize::try_from(picture.size.area()).expect("within the limit"));
        }
    }
    pictures
}

/// The first packets of every recorded codec.
pub(super) fn streams() -> Vec<Vec<u8>> {
    let files = ["login-vp8", "login-vp9", "login-av1", "login-vp9-i444", "codec-change"];
    let mut seeds = Vec::new();
    for file in files {
        let recording = Recording::load(&format!("client/{file}.rdrec"));
        let mut packets: [Vec<Vec<u8>>; CODECS.len()] = Default::default();
        for entry in recording.entries {
            let Ok(Message { union: Some(message::Union::VideoFrame(video)) }) = Message::decode(entry.bytes)
            else {
                continue;
            };
            let (codec, frames) = match video.union {
                Some(video_frame::Union::Vp8s(frames)) => (0, frames),
                Some(video_frame::Union::Vp9s(frames)) => (1, frames),
                Some(video_frame::Union::Av1s(frames)) => (2, frames),
                Some(video_frame::Union::H264s(frames)) => (3, frames),
                _ => continue,
            };
            packets[codec].extend(frames.frames.into_iter().map(|frame| Vec::from(frame.data)));
        }
        for (codec, packets) in (0u8..).zip(packets) {
            if !packets.is_empty() {
                let stream = joined(packets.iter().take(4).map(Vec::as_slice), LONGEST);
                seeds.push([vec![codec], stream].concat());
            }
        }
    }
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recorded_stream_has_pictures_and_three_codecs_are_among_them() {
        let streams = streams();
        for stream in &streams {
            assert!(decode(stream) > 0, "codec {}", stream[0]);
        }
        let codecs: std::collections::BTreeSet<u8> = streams.iter().map(|stream| stream[0]).collect();
        assert_eq!(codecs.len(), 3, "{codecs:?}");
    }
}
