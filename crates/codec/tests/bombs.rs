//! Headers that announce more than the limit cost nothing. In a program of its own, whose memory nothing
//! else uses; all in one test, because the measure is the whole program's.

#![cfg(target_os = "linux")]

use codec::{CodecError, Decoder, Encoder, EncoderConfig, I420Buffer, bgrx_to_i420};
use remote::{Size, VideoCodec};

/// The side that every bomb announces.
const SIDE: u32 = 16_384;
const LIMIT: u64 = 7680 * 4320;

/// Writes bits from the most significant one down.
#[derive(Default)]
struct Bits(Vec<u8>, usize);

impl Bits {
    fn put(&mut self, value: u64, count: u32) -> &mut Self {
        for bit in (0..count).rev() {
            if self.1.is_multiple_of(8) {
                self.0.push(0);
            }
            let last = self.0.len() - 1;
            self.0[last] |= ((value >> bit & 1) as u8) << (7 - self.1 % 8);
            self.1 += 1;
        }
        self
    }

    fn golomb(&mut self, value: u64) -> &mut Self {
        let bits = 64 - (value + 1).leading_zeros();
        self.put(0, bits - 1).put(value + 1, bits)
    }
}

/// A keyframe of a small picture.
fn small_keyframe(codec: VideoCodec) -> Vec<u8> {
    let size = Size::new(64, 64);
    let config = EncoderConfig { codec, size, fps: 30, kbit_per_second: 500 };
    let mut buffer = I420Buffer::new();
    bgrx_to_i420(&[90; 64 * 64 * 4], 256, size, &mut buffer).expect("pixels of this size");
    let packets = Encoder::new(&config).and_then(|mut encoder| encoder.encode(buffer.planes(), 0, true));
    packets.expect("a keyframe")[0].data.to_vec()
}

fn vp8() -> Vec<u8> {
    let mut packet = small_keyframe(VideoCodec::Vp8);
    packet[6..10].copy_from_slice(&[0xff, 0x3f, 0xff, 0x3f]);
    packet
}

/// A VP9 keyframe whose header is written here.
fn vp9() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.put(0b1000_0010, 8).put(0x49_83_42, 24).put(1, 3).put(0, 1);
    bits.put(u64::from(SIDE) - 1, 16).put(u64::from(SIDE) - 1, 16).put(0, 60);
    bits.0.extend([0x55; 64]);
    bits.0
}

/// A frame that takes its size from no reference, behind a small keyframe.
fn vp9_inter() -> Vec<u8> {
    let mut bits = Bits::default();
    // Not a keyframe, shown; nothing to reset; refreshes all; three references, none of the same size.
    bits.put(0b1000_0110, 8).put(0, 2).put(0xff, 8).put(0, 12).put(0, 3);
    bits.put(u64::from(SIDE) - 1, 16).put(u64::from(SIDE) - 1, 16).put(0, 60);
    bits.0.extend([0x55; 64]);
    bits.0
}

fn vp9_superframe(frames: &[&[u8]]) -> Vec<u8> {
    let mut packet = frames.concat();
    let marker = 0xd8 | (frames.len() - 1) as u8;
    packet.push(marker);
    frames.iter().for_each(|frame| packet.extend((frame.len() as u32).to_le_bytes()));
    packet.push(marker);
    packet
}

fn h264() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.put(0x0000_0001, 32).put(0x67, 8).put(66, 8).put(0, 8).put(52, 8);
    bits.golomb(0).golomb(0).golomb(2).golomb(1).put(0, 1);
    bits.golomb(u64::from(SIDE) / 16 - 1).golomb(u64::from(SIDE) / 16 - 1);
    bits.put(1, 1).put(0, 1).put(0, 1).put(0, 1).put(1, 1);
    bits.0
}

/// A still picture in AV1's shortest form.
fn av1() -> Vec<u8> {
    let mut sequence = Bits::default();
    sequence.put(0, 3).put(1, 1).put(1, 1).put(16, 5);
    sequence.put(15, 4).put(15, 4).put(u64::from(SIDE) - 1, 16).put(u64::from(SIDE) - 1, 16);
    sequence
        .put(0, 3)
        .put(0, 3)
        .put(0, 1)
        .put(0, 1)
        .put(0, 1)
        .put(0, 1)
        .put(0, 2)
        .put(0, 1)
        .put(0, 1)
        .put(1, 1);
    let mut packet = vec![0x12, 0, 0x0a, sequence.0.len() as u8];
    packet.extend(sequence.0);
    // One tile of all its columns and rows.
    let mut frame = Bits::default();
    frame.put(0, 1).put(0, 1).put(0, 1).put(1, 1).0.extend([0; 24]);
    packet.extend([0x32, frame.0.len() as u8]);
    packet.extend(frame.0);
    packet
}

/// The most memory that the program ever had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a /proc");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("the peak");
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
}

#[test]
fn announced_sizes_over_the_limit_are_refused_before_they_cost_memory() {
    let small = small_keyframe(VideoCodec::Vp9);
    let bombs = [
        (VideoCodec::Vp8, vec![vp8()]),
        (VideoCodec::Vp9, vec![vp9()]),
        (VideoCodec::Vp9, vec![small.clone(), vp9_inter()]),
        (VideoCodec::Vp9, vec![vp9_superframe(&[&small, &vp9()])]),
        (VideoCodec::H264, vec![h264()]),
        (VideoCodec::H264, vec![[small_keyframe(VideoCodec::H264), h264()].concat()]),
        (VideoCodec::Av1, vec![av1()]),
    ];
    // What the libraries need at all.
    for &codec in codec::decoders() {
        Decoder::new(codec, LIMIT).unwrap();
    }
    let before = peak();
    for (codec, packets) in bombs {
        let mut decoder = Decoder::new(codec, LIMIT).unwrap();
        let (bomb, harmless) = packets.split_last().unwrap();
        harmless.iter().for_each(|packet| assert!(decoder.decode(packet).unwrap()));
        let refused = decoder.decode(bomb);
        let Err(CodecError::TooLarge(size)) = refused else { panic!("{codec}: {refused:?}") };
        assert!(size.area() > LIMIT, "{codec}: {size}");
        assert!(decoder.picture().is_none());
    }
    // Behind a frame that is small nothing is looked at: libvpx would decode it as one more frame.
    let mut decoder = Decoder::new(VideoCodec::Vp9, LIMIT).unwrap();
    assert!(decoder.decode(&[small.clone(), vp9()].concat()).unwrap());
    assert_eq!(decoder.picture().map(|picture| picture.size), Some(Size::new(64, 64)));
    let grown = peak() - before;
    assert!(grown < 24 * 1024, "{grown} KiB more");
}
