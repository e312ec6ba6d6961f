//! Packets that no encoder made: no decoder crashes, none is out of order afterwards.

use codec::{CodecError, Decoder, Encoder, EncoderConfig, I420Buffer, bgrx_to_i420, decoders};
use proptest::prelude::*;
use remote::{Size, VideoCodec};
use std::sync::LazyLock;

const SIZE: Size = Size::new(96, 64);
const LIMIT: u64 = 640 * 480;

/// Packets of codecs that can be encoded here; the first is a keyframe.
static STREAMS: LazyLock<Vec<(VideoCodec, Vec<Vec<u8>>)>> = LazyLock::new(|| {
    [VideoCodec::Vp8, VideoCodec::Vp9, VideoCodec::H264].map(|codec| (codec, stream(codec))).to_vec()
});

fn stream(codec: VideoCodec) -> Vec<Vec<u8>> {
    let config = EncoderConfig { codec, size: SIZE, fps: 30, kbit_per_second: 800 };
    let mut encoder = Encoder::new(&config).expect("an encoder");
    let mut buffer = I420Buffer::new();
    let mut packets = Vec::new();
    for n in 0..6u32 {
        // A quarter changes; of more H.264 would make keyframes.
        let moved = |at: u32| if at < SIZE.area() as u32 { n * 40 } else { 0 };
        let pixels: Vec<u8> = (0..SIZE.area() as u32 * 4).map(|at| (at * 7 / 3 + moved(at)) as u8).collect();
        bgrx_to_i420(&pixels, SIZE.width as usize * 4, SIZE, &mut buffer).expect("pixels of this size");
        let encoded = encoder.encode(buffer.planes(), i64::from(n) * 33, false).expect("a packet");
        packets.extend(encoded.into_iter().map(|packet| packet.data.to_vec()));
    }
    packets
}

/// Whatever happened before, a keyframe decodes.
fn still_works(decoder: &mut Decoder, key: &[u8]) {
    assert!(decoder.decode(key).expect("a sound keyframe"));
    assert_eq!(decoder.picture().map(|picture| picture.size), Some(SIZE));
}

/// Feeds a packet and reads what comes out of it to the last sample.
fn feed(decoder: &mut Decoder, packet: &[u8]) {
    if decoder.decode(packet).is_ok_and(|new| new) {
        let picture = decoder.picture().expect("the new picture");
        assert!(picture.size.area() <= LIMIT);
        std::hint::black_box(picture.to_frame());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_crash_no_decoder(packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..6)) {
        for &codec in decoders() {
            let mut decoder = Decoder::new(codec, LIMIT).unwrap();
            packets.iter().for_each(|packet| feed(&mut decoder, packet));
        }
    }

    #[test]
    fn random_units_of_av1_crash_nothing(
        units in prop::collection::vec((1u8..9, prop::collection::vec(any::<u8>(), 0..60)), 1..6),
    ) {
        let mut packet = vec![0x12, 0];
        for (kind, body) in units {
            packet.extend([kind << 3 | 2, body.len() as u8]);
            packet.extend(body);
        }
        let mut decoder = Decoder::new(VideoCodec::Av1, LIMIT).unwrap();
        feed(&mut decoder, &packet);
        feed(&mut decoder, &packet);
    }

    #[test]
    fn broken_packets_crash_nothing_and_the_next_keyframe_decodes(
        which in 0usize..3,
        at in 0usize..6,
        cut in any::<prop::sample::Index>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let (codec, packets) = &STREAMS[which];
        let mut decoder = Decoder::new(*codec, LIMIT).unwrap();
        let at = at % packets.len();
        packets[..at].iter().for_each(|packet| feed(&mut decoder, packet));
        let mut broken = packets[at].clone();
        if flips.is_empty() {
            broken.truncate(cut.index(broken.len()));
        }
        for (place, value) in flips {
            let place = place.index(broken.len());
            broken[place] ^= value;
        }
        feed(&mut decoder, &broken);
        packets[at..].iter().for_each(|packet| feed(&mut decoder, packet));
        still_works(&mut decoder, &packets[0]);
    }

    #[test]
    fn packets_of_another_codec_are_refused_or_shown_as_nothing(which in 0usize..3, other in 0usize..4) {
        let (codec, packets) = &STREAMS[which];
        let other = decoders()[other];
        prop_assume!(other != *codec);
        let mut decoder = Decoder::new(other, LIMIT).unwrap();
        packets.iter().for_each(|packet| feed(&mut decoder, packet));
    }
}

#[test]
fn an_empty_packet_is_damage() {
    for &codec in decoders() {
        let mut decoder = Decoder::new(codec, LIMIT).unwrap();
        assert!(matches!(decoder.decode(&[]), Err(CodecError::Damaged { .. })), "{codec}");
    }
}

#[test]
fn a_stream_that_begins_in_the_middle_waits_for_its_keyframe() {
    for (codec, packets) in STREAMS.iter() {
        let mut decoder = Decoder::new(*codec, LIMIT).unwrap();
        for packet in &packets[1..] {
            assert!(!matches!(decoder.decode(packet), Ok(true)), "{codec}");
        }
        assert!(decoder.picture().is_none(), "{codec}");
        still_works(&mut decoder, &packets[0]);
    }
}
