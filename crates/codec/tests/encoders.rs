//! What the host's encoders promise, as the decoders of this crate see it.

use codec::{
    BareDecoder, Decoder, Encoder, EncoderConfig, I420Buffer, Packet, Picture, bgrx_to_i420, encoders,
};
use remote::{Size, VideoCodec};

const LIMIT: u64 = 4096 * 4096;

fn config(codec: VideoCodec, size: Size, kbit_per_second: u32) -> EncoderConfig {
    EncoderConfig { codec, size, fps: 30, kbit_per_second }
}

/// A window with text-like rows on a coloured ground, its content moved by `step`.
fn screen(size: Size, step: u32) -> I420Buffer {
    let mut pixels = Vec::with_capacity(size.area() as usize * 4);
    for y in 0..size.height {
        for x in 0..size.width {
            let ink = (x.wrapping_mul(7) ^ (y / 12 + step).wrapping_mul(13)).is_multiple_of(5) && y % 12 < 8;
            let window = x > size.width / 8 && y > size.height / 8;
            let pixel = match (window, ink) {
                (true, true) => [20, 20, 20, 0],
                (true, false) => [240, 240, 240, 0],
                (false, _) => [160, (y * 255 / size.height) as u8, 40, 0],
            };
            pixels.extend_from_slice(&pixel);
        }
    }
    let mut buffer = I420Buffer::new();
    bgrx_to_i420(&pixels, size.width as usize * 4, size, &mut buffer).expect("pixels of this size");
    buffer
}

fn psnr(a: &Picture<'_>, b: &Picture<'_>) -> f64 {
    assert_eq!(a.size, b.size);
    let mut squares = 0.0;
    let mut count = 0.0;
    for plane in 0..3 {
        for (a, b) in a.rows(plane).zip(b.rows(plane)) {
            for (a, b) in a.iter().zip(b) {
                squares += f64::from(a.abs_diff(*b)).powi(2);
                count += 1.0;
            }
        }
    }
    10.0 * (255.0 * 255.0 * count / f64::max(squares, 1e-9)).log10()
}

/// Encodes and decodes `pictures`; returns the packets and the last picture's PSNR.
fn round_trip(encoder: &mut Encoder, decoder: &mut Decoder, pictures: &[I420Buffer]) -> (Vec<Packet>, f64) {
    let mut all = Vec::new();
    let mut last = 0.0;
    for (n, buffer) in pictures.iter().enumerate() {
        for packet in encoder.encode(buffer.planes(), n as i64 * 33, false).expect("an encoded picture") {
            assert!(decoder.decode(&packet.data).expect("a sound packet"));
            last = psnr(&decoder.picture().expect("a picture"), &buffer.picture());
            all.push(packet);
        }
    }
    (all, last)
}

#[test]
fn a_still_screen_comes_through_sharp_and_with_one_keyframe() {
    let size = Size::new(320, 240);
    for &codec in encoders() {
        let mut encoder = Encoder::new(&config(codec, size, 2000)).unwrap();
        let mut decoder = Decoder::new(codec, LIMIT).unwrap();
        let pictures = vec![screen(size, 0); 40];
        let (packets, quality) = round_trip(&mut encoder, &mut decoder, &pictures);
        let keys: Vec<bool> = packets.iter().map(|packet| packet.key).collect();
        assert!(keys[0] && keys[1..].iter().all(|key| !key), "{codec}: {keys:?}");
        assert!(quality > 36.0, "{codec}: {quality:.1} dB");
    }
}

#[test]
fn no_keyframe_comes_unasked_in_many_pictures_and_scene_changes() {
    let size = Size::new(64, 64);
    for &codec in encoders() {
        let mut encoder = Encoder::new(&config(codec, size, 500)).unwrap();
        let scenes = [screen(size, 0), screen(size, 77)];
        let mut keys = Vec::new();
        for n in 0..600usize {
            let force = n == 300;
            // The content is another one every 50 pictures.
            let packets = encoder.encode(scenes[n / 50 % 2].planes(), n as i64 * 33, force).unwrap();
            keys.extend(packets.iter().filter(|packet| packet.key).map(|_| n));
        }
        assert_eq!(keys, [0, 300], "{codec}");
    }
}

#[test]
fn a_stream_can_be_joined_at_a_forced_keyframe() {
    let size = Size::new(128, 96);
    for &codec in encoders() {
        let mut encoder = Encoder::new(&config(codec, size, 1000)).unwrap();
        for n in 0..5 {
            encoder.encode(screen(size, n).planes(), i64::from(n) * 33, false).unwrap();
        }
        let buffer = screen(size, 5);
        let packets = encoder.encode(buffer.planes(), 165, true).unwrap();
        assert!(packets[0].key, "{codec}");
        let mut decoder = Decoder::new(codec, LIMIT).unwrap();
        assert!(decoder.decode(&packets[0].data).unwrap());
        let quality = psnr(&decoder.picture().unwrap(), &buffer.picture());
        assert!(quality > 24.0, "{codec}: {quality:.1} dB");
    }
}

#[test]
fn sizes_from_one_pixel_on_keep_their_size() {
    for codec in [VideoCodec::Vp8, VideoCodec::Vp9] {
        for (width, height) in
            [(1, 1), (2, 1), (1, 9), (3, 5), (15, 17), (16, 16), (33, 8), (255, 3), (97, 65)]
        {
            let size = Size::new(width, height);
            let mut encoder = Encoder::new(&config(codec, size, 500)).unwrap();
            let mut decoder = Decoder::new(codec, LIMIT).unwrap();
            let (packets, quality) = round_trip(&mut encoder, &mut decoder, &vec![screen(size, 1); 6]);
            assert!(!packets.is_empty());
            assert_eq!(decoder.picture().map(|p| p.size), Some(size), "{codec} {size}");
            assert!(quality > 25.0, "{codec} {size}: {quality:.1} dB");
        }
    }
}

#[test]
fn h264_takes_even_sizes_and_says_which() {
    for (width, height) in [(16, 16), (18, 34), (130, 66)] {
        let size = Size::new(width, height);
        let mut encoder = Encoder::new(&config(VideoCodec::H264, size, 500)).unwrap();
        let mut decoder = Decoder::new(VideoCodec::H264, LIMIT).unwrap();
        let (_, quality) = round_trip(&mut encoder, &mut decoder, &vec![screen(size, 1); 6]);
        assert_eq!(decoder.picture().map(|p| p.size), Some(size));
        assert!(quality > 25.0, "{size}: {quality:.1} dB");
    }
    for (width, height) in [(17, 16), (16, 17), (14, 16), (1, 1), (3842, 16), (3000, 3000), (0, 16)] {
        let refused = Encoder::new(&config(VideoCodec::H264, Size::new(width, height), 500));
        assert!(refused.is_err(), "{width}x{height}");
    }
}

#[test]
fn h264_parameter_sets_stand_before_each_keyframe_in_annex_b() {
    let size = Size::new(64, 48);
    let mut encoder = Encoder::new(&config(VideoCodec::H264, size, 500)).unwrap();
    for n in 0..4i64 {
        let packets = encoder.encode(screen(size, 0).planes(), n * 33, n == 2).unwrap();
        let data = &packets[0].data;
        assert_eq!(data[..4], [0, 0, 0, 1]);
        let kinds: Vec<u8> = data.windows(4).filter(|w| w[..3] == [0, 0, 1]).map(|w| w[3] & 0x1f).collect();
        let expected: &[u8] = if n % 2 == 0 { &[7, 8, 5] } else { &[1] };
        assert_eq!(kinds, expected, "picture {n}");
    }
}

#[test]
fn a_changed_rate_changes_the_bytes_and_makes_no_keyframe() {
    let size = Size::new(320, 240);
    for &codec in encoders() {
        let mut encoder = Encoder::new(&config(codec, size, 1500)).unwrap();
        let mut decoder = Decoder::new(codec, LIMIT).unwrap();
        let mut bytes = [0, 0];
        for n in 0..180u32 {
            if n == 90 {
                encoder.set_rate(60, 30).unwrap();
                assert_eq!(encoder.config().kbit_per_second, 60);
            }
            for packet in encoder.encode(screen(size, n).planes(), i64::from(n) * 33, false).unwrap() {
                assert_eq!(packet.key, n == 0, "{codec}: picture {n}");
                assert!(decoder.decode(&packet.data).unwrap());
                // The first pictures of either rate are still paid for by the one before.
                if n % 90 >= 30 {
                    bytes[n as usize / 90] += packet.data.len();
                }
            }
        }
        assert!(bytes[0] > 2 * bytes[1], "{codec}: {bytes:?}");
        encoder.set_rate(4000, 60).unwrap();
        let packets = encoder.encode(screen(size, 9).planes(), 180 * 33, false).unwrap();
        assert!(packets.iter().all(|packet| !packet.key), "{codec}");
    }
}

#[test]
fn a_rate_can_be_set_before_the_first_picture() {
    let size = Size::new(64, 64);
    for &codec in encoders() {
        let mut encoder = Encoder::new(&config(codec, size, 1500)).unwrap();
        encoder.set_rate(300, 10).unwrap();
        assert!(encoder.encode(screen(size, 0).planes(), 0, false).unwrap()[0].key, "{codec}");
    }
}

#[test]
fn time_that_stands_still_or_goes_back_is_no_error() {
    let size = Size::new(64, 64);
    for &codec in encoders() {
        let mut encoder = Encoder::new(&config(codec, size, 500)).unwrap();
        for pts in [1_000, 1_000, 5, -7, i64::from(u32::MAX), 0] {
            encoder.encode(screen(size, 0).planes(), pts, false).unwrap();
        }
    }
}

#[test]
fn planes_that_are_too_small_are_refused() {
    let size = Size::new(64, 48);
    let (y, c) = (vec![0u8; 64 * 48], vec![0u8; 32 * 24]);
    for &codec in encoders() {
        let mut encoder = Encoder::new(&config(codec, size, 500)).unwrap();
        let right = [(&y[..], 64), (&c[..], 32), (&c[..], 32)];
        let mut wrong = [right; 5];
        wrong[0][0].0 = &y[1..];
        wrong[1][0].1 = 63;
        wrong[2][1].0 = &c[..100];
        wrong[3][2].1 = usize::MAX;
        wrong[4][1].1 = 0;
        for planes in wrong {
            let refused = encoder.encode(planes, 0, false).unwrap_err();
            assert!(matches!(refused, codec::CodecError::Encode { .. }), "{refused}");
        }
        assert!(!encoder.encode(right, 0, false).unwrap().is_empty(), "{codec}");
    }
}

#[test]
fn codecs_that_are_not_built_in_are_refused() {
    for codec in [VideoCodec::H265, VideoCodec::Raw] {
        assert!(Decoder::new(codec, LIMIT).is_err());
        assert!(Encoder::new(&config(codec, Size::new(64, 64), 500)).is_err());
    }
    assert!(Encoder::new(&config(VideoCodec::Av1, Size::new(64, 64), 500)).is_err());
    assert!(Decoder::new(VideoCodec::Av1, LIMIT).is_ok());
}

#[test]
fn a_still_picture_loses_its_blur() {
    let size = Size::new(1280, 800);
    let pictures = [screen(size, 0), screen(size, 5)];
    for codec in encoders() {
        let mut encoder = Encoder::new(&config(*codec, size, 700)).expect("an encoder");
        let mut decoder = Decoder::new(*codec, LIMIT).expect("a decoder");
        let (_, blurred) = round_trip(&mut encoder, &mut decoder, &pictures);
        let picture = &pictures[1];
        let mut sharp = blurred;
        for pass in 0..encoder.passes() {
            let packets = encoder.sharpen(picture.planes(), 200 + i64::from(pass) * 40).expect("a pass");
            for packet in packets {
                assert!(!packet.key && decoder.decode(&packet.data).expect("a sound packet"));
                sharp = psnr(&decoder.picture().expect("a picture"), &picture.picture());
            }
        }
        println!("{codec}: {blurred:.1} dB, sharpened {sharp:.1} dB");
        let gain = if *codec == VideoCodec::H264 { 0.5 } else { 3.0 };
        assert!(
            sharp >= blurred + gain || encoder.passes() == 0,
            "{codec}: {blurred:.1} dB, then {sharp:.1}"
        );
        assert_eq!(encoder.config(), &config(*codec, size, 700), "and goes on at the normal rate");
    }
}

#[test]
fn a_limit_of_exactly_the_picture_takes_it_in_whole_macroblocks_too() {
    let size = Size::new(1920, 1080);
    let mut buffer = I420Buffer::new();
    bgrx_to_i420(&vec![90; size.area() as usize * 4], 1920 * 4, size, &mut buffer).unwrap();
    for &codec in codec::encoders() {
        let config = EncoderConfig { codec, size, fps: 30, kbit_per_second: 500 };
        let packets = Encoder::new(&config).unwrap().encode(buffer.planes(), 0, true).unwrap();
        let mut decoder = Decoder::new(codec, size.area()).unwrap();
        assert_eq!(decoder.decode(&packets[0].data), Ok(true), "{codec}");
        assert_eq!(decoder.picture().map(|picture| picture.size), Some(size), "{codec}");
        let refused = Decoder::new(codec, size.area() - 1).unwrap().decode(&packets[0].data);
        assert_eq!(refused, Err(codec::CodecError::TooLarge(size)), "{codec}");
        assert_eq!(BareDecoder::new(codec).unwrap().decode(&packets[0].data), 1, "{codec}");
    }
}
