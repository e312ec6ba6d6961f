//! What a picture of 1080p costs to decode, against the library called with nothing around it.

use super::desktop::Canvas;
use super::{BENCH, failed};
use crate::bench::compare::Figure;
use crate::bench::{BenchError, Options, Row, process, system};
use bytes::Bytes;
use codec::{BareDecoder, Decoder, Encoder, EncoderConfig, I420Buffer};
use remote::{Size, VideoCodec};
use std::time::Duration;

const SIZE: Size = Size::new(1920, 1080);

/// libvpx, dav1d or openh264, given the same packets: no header is looked at and no picture described.
pub(super) const BARE: &str = "the library alone";
/// Ours and a copy of the planes, which is made when somebody asks for a picture.
const COPIED: &str = "with a copy of every picture";

/// Pictures of a stream: the first is whole, the others differ in a few lines of text.
const PICTURES: u32 = 30;

/// What this program can not encode itself: six pictures of the same kind by SVT-AV1, each behind its length
/// (four bytes, the lowest first).
const AV1: &[u8] = include_bytes!("text-1080p.av1");

pub(super) const CASES: [(&str, VideoCodec); 4] = [
    ("decode vp9, 1920x1080", VideoCodec::Vp9),
    ("decode vp8, 1920x1080", VideoCodec::Vp8),
    ("decode av1, 1920x1080", VideoCodec::Av1),
    ("decode h264, 1920x1080", VideoCodec::H264),
];

#[derive(Debug, Clone, Copy)]
enum Way {
    Ours,
    Bare,
    Copying,
}

pub(super) fn run(options: &Options, emit: &mut dyn FnMut(Row)) -> Result<(), BenchError> {
    for (case, codec) in CASES {
        if options.wants(BENCH.name, case) {
            let packets = if codec == VideoCodec::Av1 { packets_of(AV1) } else { stream(codec)? };
            let subjects = [(BENCH.name, Way::Ours), (BARE, Way::Bare), (COPIED, Way::Copying)];
            BENCH.compare(options, &subjects, emit, |way, time| {
                let cost = match way {
                    Way::Bare => {
                        let mut decoder = BareDecoder::new(codec).map_err(failed)?;
                        cost(&packets, time, |packet| Ok(decoder.decode(packet)))?
                    }
                    way => {
                        let limit = client::Config::default().pixel_limit;
                        let mut decoder = Decoder::new(codec, limit).map_err(failed)?;
                        cost(&packets, time, |packet| {
                            let shown = decoder.decode(packet).map_err(failed)?;
                            if let Some(picture) = decoder.picture().filter(|_| matches!(way, Way::Copying)) {
                                std::hint::black_box(picture.to_frame());
                            }
                            Ok(usize::from(shown))
                        })?
                    }
                };
                Ok(vec![Figure::less(case, "ms of CPU", cost)])
            })?;
        }
    }
    Ok(())
}

/// The packets of a file in which each stands behind its length.
fn packets_of(mut file: &'static [u8]) -> Vec<Bytes> {
    let mut packets = Vec::new();
    while let Some((length, rest)) = file.split_first_chunk() {
        let length = (u32::from_le_bytes(*length) as usize).min(rest.len());
        packets.push(Bytes::from_static(&rest[..length]));
        file = &rest[length..];
    }
    packets
}

/// Text that comes a few lines at a time.
fn stream(codec: VideoCodec) -> Result<Vec<Bytes>, BenchError> {
    let config = EncoderConfig { codec, size: SIZE, fps: 30, kbit_per_second: 4000 };
    let mut encoder = Encoder::new(&config).map_err(failed)?;
    let (mut canvas, mut planes) = (Canvas::new(SIZE, 1), I420Buffer::new());
    let mut packets = Vec::new();
    for picture in 0..PICTURES {
        for line in 0..3 {
            canvas.write(picture * 3 + line, picture + 2);
        }
        canvas.convert(&mut planes);
        let made = encoder.encode(planes.planes(), i64::from(picture) * 33, false).map_err(failed)?;
        packets.extend(made.into_iter().map(|packet| packet.data));
    }
    Ok(packets)
}

/// CPU time of all threads for each picture, in milliseconds. `decode` says how many a packet had.
fn cost(
    packets: &[Bytes],
    time: Duration,
    mut decode: impl FnMut(&[u8]) -> Result<usize, BenchError>,
) -> Result<f64, BenchError> {
    let (mut used, mut pictures) = (Duration::ZERO, 0);
    while used < time {
        let (start, before) = (process::own_cpu().map_err(system("the clock"))?, pictures);
        for packet in packets {
            pictures += decode(packet)?;
        }
        used += process::own_cpu().map_err(system("the clock"))? - start;
        if pictures == before {
            return Err(BenchError::WrongAnswer("a stream without a picture".to_owned()));
        }
    }
    Ok(used.as_secs_f64() * 1e3 / pictures as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kept_stream_has_six_pictures_of_its_size() {
        let mut decoder = Decoder::new(VideoCodec::Av1, SIZE.area()).expect("built in");
        let mut pictures = 0;
        for packet in packets_of(AV1) {
            if decoder.decode(&packet).expect("an undamaged packet") {
                assert_eq!(decoder.picture().map(|picture| picture.size), Some(SIZE));
                pictures += 1;
            }
        }
        assert_eq!(pictures, 6);
    }
}
