//! Recorded pictures of a stock host come out as a reference decoder has them, bit by bit.

use bytes::Bytes;
use codec::{Decoder, Picture};
use deskhand_tests::{recording::Recording, recordings};
use hbb_common::session::{Message, VideoFrame, message, video_frame};
use prost::Message as _;
use remote::VideoCodec;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Pixels of 8K, more than any recording has.
const LIMIT: u64 = 7680 * 4320;

/// The codec and the packets of a message.
fn packets(frame: VideoFrame) -> Option<(VideoCodec, Vec<Bytes>)> {
    let (codec, frames) = match frame.union? {
        video_frame::Union::Vp9s(frames) => (VideoCodec::Vp9, frames),
        video_frame::Union::Vp8s(frames) => (VideoCodec::Vp8, frames),
        video_frame::Union::Av1s(frames) => (VideoCodec::Av1, frames),
        video_frame::Union::H264s(frames) => (VideoCodec::H264, frames),
        _ => return None,
    };
    Some((codec, frames.frames.into_iter().map(|frame| frame.data).collect()))
}

fn digest(picture: &Picture<'_>) -> String {
    let mut hash = Sha256::new();
    for plane in 0..3 {
        picture.rows(plane).for_each(|row| hash.update(row));
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One row of `truth.pictures_decoded`: entry, display, width, height, SHA-256 of the planes.
type Row = (usize, i32, u32, u32, String);

fn decoder_of(codec: VideoCodec) -> Decoder {
    Decoder::new(codec, LIMIT).expect("a codec that is built in")
}

/// Decodes every picture of a recording, each display by a decoder of its own that follows the codec of the
/// message; hands each to `see`.
pub(crate) fn decode_all(recording: &Recording, mut see: impl FnMut(usize, i32, VideoCodec, &Picture<'_>)) {
    let mut decoders: BTreeMap<i32, Decoder> = BTreeMap::new();
    for (index, entry) in recording.entries.iter().enumerate().filter(|(_, e)| e.direction == 1) {
        let Ok(message) = Message::decode(entry.bytes.clone()) else { continue };
        let Some(message::Union::VideoFrame(frame)) = message.union else { continue };
        let display = frame.display;
        let Some((codec, packets)) = packets(frame) else { continue };
        let decoder = decoders.entry(display).or_insert_with(|| decoder_of(codec));
        if decoder.codec() != codec {
            *decoder = decoder_of(codec);
        }
        for packet in packets {
            if decoder.decode(&packet).expect("a sound packet") {
                see(index, display, codec, &decoder.picture().expect("a picture"));
            }
        }
    }
}

#[test]
fn every_recorded_picture_decodes_to_the_same_samples_as_in_a_reference_decoder() {
    let mut seen = BTreeMap::new();
    let mut recordings_with_pictures = 0;
    for file in std::fs::read_dir(recordings().join("session")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|e| e != "rdrec") {
            continue;
        }
        let recording = Recording::read(&path);
        let truth = &recording.sidecar["truth"]["pictures_decoded"];
        if truth.is_null() {
            continue;
        }
        let expected: Vec<Row> = serde_json::from_value(truth["rows"].clone()).unwrap();
        let full_chroma = truth["pixel_format"] == "yuv444p";
        let mut decoded: Vec<Row> = Vec::new();
        decode_all(&recording, |index, display, codec, picture| {
            assert_eq!(picture.chroma == codec::Chroma::I444, full_chroma);
            decoded.push((index, display, picture.size.width, picture.size.height, digest(picture)));
            *seen.entry((codec.name(), full_chroma)).or_insert(0) += 1;
        });
        assert_eq!(decoded, expected, "{}", path.display());
        recordings_with_pictures += 1;
    }
    assert!(recordings_with_pictures >= 12, "only {recordings_with_pictures} recordings have pictures");
    let kinds: Vec<_> = seen.keys().copied().collect();
    assert_eq!(kinds, [("av1", false), ("av1", true), ("vp8", false), ("vp9", false), ("vp9", true)]);
}

#[test]
fn a_frame_outlives_the_decoder_with_the_same_samples() {
    for name in ["video-vp9", "video-av1-i444"] {
        let recording = Recording::load(&format!("session/{name}.rdrec"));
        let mut frames = Vec::new();
        decode_all(&recording, |_, _, _, picture| frames.push((picture.to_frame(), digest(picture))));
        let (frame, expected) = frames.pop().unwrap();
        let (remote::Pixels::I420(planes) | remote::Pixels::I444(planes)) = frame.pixels else {
            panic!("pixels of a decoder are planes")
        };
        let mut hash = Sha256::new();
        planes.iter().for_each(|plane| hash.update(&plane.data));
        let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, expected, "{name}");
    }
}

/// The packets of a recording of one codec.
fn stream(name: &str) -> (VideoCodec, Vec<Bytes>) {
    let recording = Recording::load(&format!("session/{name}.rdrec"));
    let mut all = Vec::new();
    let mut kind = None;
    for entry in recording.entries.iter().filter(|e| e.direction == 1) {
        let Ok(Message { union: Some(message::Union::VideoFrame(frame)) }) =
            Message::decode(entry.bytes.clone())
        else {
            continue;
        };
        let (codec, packets) = packets(frame).expect("a codec that we know");
        kind = Some(codec);
        all.extend(packets);
    }
    (kind.expect("pictures"), all)
}

#[test]
fn a_damaged_packet_is_refused_and_the_next_keyframe_makes_it_good() {
    for name in ["video-vp9", "video-vp8", "video-av1", "video-vp9-i444", "video-av1-i444"] {
        let (codec, packets) = stream(name);
        let mut decoder = Decoder::new(codec, LIMIT).unwrap();
        assert!(decoder.decode(&packets[0]).unwrap());
        let first = digest(&decoder.picture().unwrap());
        let cut = &packets[1][..packets[1].len() / 3];
        let refused = decoder.decode(cut).is_err();
        // VP8 has no check within a frame: half of one is a picture of sorts.
        assert!(refused || codec == VideoCodec::Vp8, "{name}");
        if refused {
            assert!(decoder.picture().is_none());
            let next = decoder.decode(&packets[2]).unwrap_err();
            assert!(next.to_string().contains("keyframe"), "{name}: {next}");
        }
        assert!(decoder.decode(&packets[0]).unwrap(), "{name}");
        assert_eq!(digest(&decoder.picture().unwrap()), first, "{name}");
        assert!(decoder.decode(&packets[1]).unwrap(), "{name}");
    }
}

#[test]
fn no_byte_of_a_real_stream_that_is_wrong_crashes_a_decoder() {
    for name in ["video-vp9", "video-vp8", "video-av1"] {
        let (codec, packets) = stream(name);
        let mut decoder = Decoder::new(codec, LIMIT).unwrap();
        let mut refused = 0;
        for (round, packet) in packets.iter().enumerate().take(24) {
            let mut wrong = packet.to_vec();
            let at = round * 7919 % wrong.len().min(64);
            wrong[at] ^= 0x55;
            refused += usize::from(decoder.decode(&packets[0]).is_err());
            refused += usize::from(decoder.decode(&wrong).is_err());
        }
        assert!(refused < 48, "{name}: not even keyframes decode");
        assert!(decoder.decode(&packets[0]).unwrap());
    }
}

#[test]
fn pictures_over_the_limit_are_refused_by_every_decoder() {
    for name in ["video-vp9", "video-vp8", "video-av1"] {
        let (codec, packets) = stream(name);
        let mut decoder = Decoder::new(codec, 1280 * 800 - 1).unwrap();
        let refused = decoder.decode(&packets[0]).unwrap_err();
        assert_eq!(refused, codec::CodecError::TooLarge(remote::Size::new(1280, 800)), "{name}");
        assert!(decoder.decode(&packets[1]).is_err());
        let mut decoder = Decoder::new(codec, 1280 * 800).unwrap();
        assert!(decoder.decode(&packets[0]).unwrap(), "{name}");
    }
}
