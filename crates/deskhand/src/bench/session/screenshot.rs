//! The screenshot tool, called within the process, against bare encoders.
//!
//! A call converts the decoder's picture, scales it to the budget where it is larger, encodes it and makes the
//! answer, by as many threads as the machine runs at once. A bare encoder gets the pixels of the file that came
//! out, finished, and makes a file of the same format on one thread, with nothing kept from the last one.

use super::desktop::{ADDRESS, Canvas, Stage};
use super::{BENCH, failed};
use crate::bench::compare::Figure;
use crate::bench::{BenchError, Options, Row, median, process, system};
use mcp::{CallOutcome, Gateway, GatewayConfig};
use policy::CallerKind;
use remote::{Connector, Frame, Size};
use serde_json::{Value, json};
use sessions::{FileSecrets, Sessions, SessionsConfig};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// With the level of compression that ours has.
pub(super) const BARE_PNG: &str = "png crate, level 1, on the scaled pixels";
/// The fastest encoder of PNG there is; its files are twice as large or more, so it is no measure for a budget.
const BARE_PNG_FAST: &str = "png crate, fast, on the scaled pixels";
/// With the same quality and as much colour.
pub(super) const BARE_JPEG: &str = "libjpeg-turbo, quality 85, on the scaled pixels";

/// Sizes of the display, as the names of cases end.
pub(super) const SIZES: [(&str, Size); 2] =
    [("1280x800", Size::new(1280, 800)), ("1920x1080", Size::new(1920, 1080))];

/// What a call finds, and how it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// Every line of text is another one.
    All(Format),
    /// One line of text is another one.
    Line,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Png,
    Jpeg,
}

const CHANGES: [(&str, Change); 4] = [
    ("png", Change::All(Format::Png)),
    ("jpeg", Change::All(Format::Jpeg)),
    ("png, one line changed", Change::Line),
    ("unchanged", Change::None),
];

#[cfg(test)]
pub(super) fn cases() -> impl Iterator<Item = String> {
    SIZES.into_iter().flat_map(|(size, _)| CHANGES.map(|(change, _)| name(change, size)))
}

fn name(change: &str, size: &str) -> String {
    format!("screenshot {change}, {size}")
}

pub(super) fn run(runtime: &Runtime, options: &Options, emit: &mut dyn FnMut(Row)) -> Result<(), BenchError> {
    for (size_name, size) in SIZES {
        for (change_name, change) in CHANGES {
            let case = name(change_name, size_name);
            if options.wants(BENCH.name, &case) {
                let mut caller = Caller::new(runtime, size)?;
                let (rows, cpu) = caller.measure(runtime, change, options)?;
                let all_threads = Figure::less(format!("{case}: all threads"), "ms of CPU", cpu);
                BENCH.rows(&Figure::less(case, "ms", 0.0), rows, emit);
                BENCH.rows(&all_threads, [(BENCH.name, cpu)], emit);
            }
        }
    }
    Ok(())
}

/// Median times in milliseconds by what was timed, and the median CPU time of a call.
type Measured = (Vec<(&'static str, f64)>, f64);

/// A gateway with one session, to a desktop that shows two pictures by turns.
struct Caller {
    gateway: Gateway,
    stage: Stage,
    pictures: [Frame; 2],
    with_other_line: [Frame; 2],
    turn: usize,
}

impl Caller {
    fn new(runtime: &Runtime, size: Size) -> Result<Self, BenchError> {
        let canvas = Canvas::new(size, 1);
        let pictures = [canvas.frame(), Canvas::new(size, 2).frame()];
        let line = |seed| {
            let mut canvas = canvas.clone();
            canvas.write(9, seed);
            canvas.frame()
        };
        let stage = Stage::new(pictures[0].clone());
        let connectors: Vec<Arc<dyn Connector>> = vec![Arc::new(stage.clone())];
        let gateway = runtime.block_on(async {
            let secrets = Arc::new(FileSecrets::default());
            let sessions = Sessions::new(SessionsConfig::default(), connectors, Vec::new(), secrets);
            let gateway = Gateway::new(sessions, GatewayConfig::default()).map_err(failed)?;
            call(&gateway, "connect", json!({ "peer": ADDRESS })).await?;
            Ok::<_, BenchError>(gateway)
        })?;
        Ok(Self { gateway, stage, pictures, with_other_line: [line(10), line(11)], turn: 0 })
    }

    /// What a call costs, and bare encoders where all of the picture is encoded.
    fn measure(
        &mut self,
        runtime: &Runtime,
        change: Change,
        options: &Options,
    ) -> Result<Measured, BenchError> {
        let format = if change == Change::All(Format::Jpeg) { Format::Jpeg } else { Format::Png };
        let arguments = match format {
            Format::Png => json!({ "format": "png" }),
            Format::Jpeg => json!({ "format": "jpeg" }),
        };
        let time = options.time * u32::try_from(options.runs.max(1)).unwrap_or(1);
        let (mut called, mut used) = (Vec::new(), Vec::new());
        let bare_encoders = change.bare_encoders();
        let mut bare = vec![Vec::new(); bare_encoders.len()];
        let end = Instant::now() + time;
        // The first call sets up what later ones use again.
        runtime.block_on(call(&self.gateway, "screenshot", arguments.clone()))?;
        while called.len() < 3 || Instant::now() < end {
            self.turn = 1 - self.turn;
            match change {
                Change::All(_) => self.stage.show(self.pictures[self.turn].clone()),
                Change::Line => self.stage.show(self.with_other_line[self.turn].clone()),
                Change::None => {}
            }
            let (start, cpu) = (Instant::now(), process::own_cpu().map_err(system("the clock"))?);
            let outcome = runtime.block_on(call(&self.gateway, "screenshot", arguments.clone()))?;
            let took = start.elapsed();
            used.push(process::own_cpu().map_err(system("the clock"))? - cpu);
            if outcome.images.is_empty() != (change == Change::None) {
                return Err(BenchError::WrongAnswer(outcome.structured.to_string()));
            }
            called.push(took);
            if let Some(image) = outcome.images.first() {
                for ((_, encoder), times) in bare_encoders.iter().zip(&mut bare) {
                    times.push(encode(*encoder, &image.data)?);
                }
            }
        }
        let milliseconds =
            |times: Vec<Duration>| median(times.iter().map(|time| time.as_secs_f64() * 1e3).collect());
        let mut rows = vec![(BENCH.name, milliseconds(called))];
        rows.extend(bare_encoders.iter().zip(bare).map(|((name, _), times)| (*name, milliseconds(times))));
        Ok((rows, milliseconds(used)))
    }
}

/// A bare encoder.
#[derive(Debug, Clone, Copy)]
enum Encoder {
    Png(png::DeflateCompression),
    Jpeg,
}

impl Change {
    /// What a call is compared with: encoders keep nothing, so only where it encodes everything.
    fn bare_encoders(self) -> &'static [(&'static str, Encoder)] {
        const FAST: Encoder = Encoder::Png(png::DeflateCompression::FdeflateUltraFast);
        const LEVEL: Encoder = Encoder::Png(png::DeflateCompression::Level(1));
        match self {
            Self::All(Format::Png) => &[(BARE_PNG, LEVEL), (BARE_PNG_FAST, FAST)],
            Self::All(Format::Jpeg) => &[(BARE_JPEG, Encoder::Jpeg)],
            Self::Line | Self::None => &[],
        }
    }
}

/// How long the bare encoder takes for the pixels of a file.
fn encode(encoder: Encoder, file: &[u8]) -> Result<Duration, BenchError> {
    match encoder {
        Encoder::Png(compression) => {
            let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().map_err(failed)?;
            let mut rgb = vec![0; reader.output_buffer_size().unwrap_or_default()];
            let info = reader.next_frame(&mut rgb).map_err(failed)?;
            let start = Instant::now();
            let mut encoder = png::Encoder::new(Vec::new(), info.width, info.height);
            encoder.set_color(info.color_type);
            encoder.set_depth(info.bit_depth);
            encoder.set_deflate_compression(compression);
            encoder.set_filter(png::Filter::Adaptive);
            let mut writer = encoder.write_header().map_err(failed)?;
            writer.write_image_data(&rgb).map_err(failed)?;
            writer.finish().map_err(failed)?;
            Ok(start.elapsed())
        }
        Encoder::Jpeg => {
            let header = turbojpeg::read_header(file).map_err(failed)?;
            let image = turbojpeg::decompress(file, turbojpeg::PixelFormat::RGB).map_err(failed)?;
            let start = Instant::now();
            turbojpeg::compress(image.as_deref(), 85, header.subsamp).map_err(failed)?;
            Ok(start.elapsed())
        }
    }
}

/// Calls a tool, which must succeed.
pub(super) async fn call(gateway: &Gateway, tool: &str, arguments: Value) -> Result<CallOutcome, BenchError> {
    let caller = Arc::new(policy::Caller::local("bench", CallerKind::Script));
    let outcome = gateway.call(&caller, tool, arguments).await.map_err(failed)?;
    if outcome.is_error {
        return Err(BenchError::WrongAnswer(outcome.structured.to_string()));
    }
    Ok(outcome)
}
