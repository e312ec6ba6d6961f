//! What a picture of 1080p costs to decode, with the copy that is made when somebody asks for it.

use super::desktop::Canvas;
use super::{BENCH, failed};
use crate::bench::compare::Figure;
use crate::bench::{BenchError, Options, Row, process, system};
use codec::{Decoder, Encoder, EncoderConfig, I420Buffer};
use remote::{Size, VideoCodec};
use std::time::Duration;

const SIZE: Size = Size::new(1920, 1080);
pub(super) const BARE: &str = "the decoder without the copy";
/// Pictures of a stream: the first is whole, the others differ in a few lines of text.
const PICTURES: u32 = 30;

pub(super) const CASES: [(&str, VideoCodec); 3] = [
    ("decode vp9, 1920x1080", VideoCodec::Vp9),
    ("decode vp8, 1920x1080", VideoCodec::Vp8),
    ("decode h264, 1920x1080", VideoCodec::H264),
];

pub(super) fn run(options: &Options, emit: &mut dyn FnMut(Row)) -> Result<(), BenchError> {
    for (case, codec) in CASES {
        if options.wants(BENCH.name, case) {
            let packets = stream(codec)?;
            let subjects = [(BENCH.name, true), (BARE, false)];
            BENCH.compare(options, &subjects, emit, |copies, time| {
                Ok(vec![Figure::less(case, "ms of CPU", decode(codec, &packets, *copies, time)?)])
            })?;
        }
    }
    Ok(())
}

/// Text that comes a few lines at a time.
fn stream(codec: VideoCodec) -> Result<Vec<bytes::Bytes>, BenchError> {
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

/// CPU time of all threads for each picture, in milliseconds.
fn decode(
    codec: VideoCodec,
    packets: &[bytes::Bytes],
    copies: bool,
    time: Duration,
) -> Result<f64, BenchError> {
    let limit = client::Config::default().pixel_limit;
    let mut decoder = Decoder::new(codec, limit).map_err(failed)?;
    let (mut used, mut pictures) = (Duration::ZERO, 0u32);
    while used < time {
        let start = process::own_cpu().map_err(system("the clock"))?;
        for packet in packets {
            if decoder.decode(packet).map_err(failed)? {
                pictures += 1;
                if let Some(picture) = decoder.picture().filter(|_| copies) {
                    std::hint::black_box(picture.to_frame());
                }
            }
        }
        used += process::own_cpu().map_err(system("the clock"))? - start;
    }
    Ok(used.as_secs_f64() * 1e3 / f64::from(pictures.max(1)))
}
