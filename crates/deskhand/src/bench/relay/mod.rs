//! The relay: bytes and messages per CPU-second, joining, and what an idle pair weighs; against bare
//! loops that do nothing but move bytes, and against another hbbr if there is one.

mod bare;
mod load;

use super::compare::{Bench, Better, Budget, Figure};
use super::{BenchError, Options, Row, process, process::Server, system};
use bare::Loop;
use hbbs::relay::{Limits, Relay, RelayConfig};
use load::{Bulk, Paced, Speech};
use std::{net::Ipv4Addr, num::NonZeroUsize, time::Duration};

const OURS: &str = "relay";

/// A server that all cases are run against.
struct Subject {
    server: Server,
    speech: Speech,
}

const SPLICE: &str = "bare splice loop";
const COPY: &str = "bare copy loop, 64 KiB";
/// Stock hbbr reads 8 KiB at a time; a bare loop that does costs what stock costs.
const COPY_8K: &str = "bare copy loop, 8 KiB";
const TARGET: &str = "target";

const BENCH: Bench = Bench {
    name: OURS,
    budgets: &[
        Budget::ratio("bulk 64 KiB", SPLICE, 0.9),
        Budget::ratio("bulk 64 KiB", COPY_8K, 4.0),
        Budget::ratio("bulk 16 KiB", COPY_8K, 2.0),
        Budget::ratio("bulk 1 KiB", COPY_8K, 1.0),
        Budget::ratio("paced 20 x 64 KiB", COPY_8K, 1.0),
        Budget::ratio("paced 100 x 16 KiB", COPY_8K, 1.0),
        Budget::ratio("paced 400 x 1 KiB", COPY_8K, 1.0),
        Budget::ratio("paced 400 x 1 KiB, busy", COPY_8K, 1.5),
        Budget::ratio("bulk 64 KiB", TARGET, 4.0),
        Budget::ratio("bulk 16 KiB", TARGET, 2.0),
        Budget::ratio("bulk 1 KiB", TARGET, 1.0),
        Budget::ratio("paced 20 x 64 KiB", TARGET, 1.0),
        Budget::ratio("paced 100 x 16 KiB", TARGET, 1.0),
        Budget::ratio("paced 400 x 1 KiB", TARGET, 1.0),
        Budget::ratio("paced 400 x 1 KiB, busy", TARGET, 2.0),
        Budget::ratio("joins", TARGET, 1.0),
        Budget::at_most("idle pair", 2048.0),
    ],
};

/// Runs the cases and gives one row for each figure and comparison.
pub(crate) fn run(options: &Options, emit: &mut dyn FnMut(Row)) -> Result<(), BenchError> {
    process::pin(process::LOAD_CPU);
    let start = |name, args: &[&str], speech| Ok((name, Subject { server: Server::start(args)?, speech }));
    let mut subjects = vec![
        start(OURS, &["bench", "--serve", "relay"], Speech::RustDesk)?,
        start(SPLICE, &["bench", "--serve", "splice"], Speech::None)?,
        start(COPY, &["bench", "--serve", "copy", "65536"], Speech::None)?,
        start(COPY_8K, &["bench", "--serve", "copy", "8192"], Speech::None)?,
    ];
    if let Some(target) = options.target {
        let server = Server::running(target);
        subjects.push((TARGET, Subject { server, speech: Speech::RustDesk }));
    }
    let wanted = |name: &str| options.wants(OURS, name);

    for size in [64 * 1024, 16 * 1024, 1024] {
        let name = format!("bulk {} KiB", size / 1024);
        if wanted(&name) {
            BENCH.compare(options, &subjects, emit, |s, time| bulk(s, &name, size, time))?;
        }
    }
    let paced_cases = [
        ("paced 20 x 64 KiB", Paced { pairs: 20, size: 65_536, per_second: 32.0 }),
        ("paced 100 x 16 KiB", Paced { pairs: 100, size: 16_384, per_second: 16.0 }),
        ("paced 400 x 1 KiB", Paced { pairs: 400, size: 1024, per_second: 61.0 }),
        ("paced 400 x 1 KiB, busy", Paced { pairs: 400, size: 1024, per_second: 150.0 }),
    ];
    for (name, case) in paced_cases {
        if wanted(name) {
            BENCH.compare(options, &subjects, emit, |s, time| paced(s, name, case, time))?;
        }
    }
    if wanted("joins") {
        BENCH.compare(options, &subjects, emit, joins)?;
    }
    if wanted("idle") {
        BENCH.compare(options, &subjects, emit, idle)?;
    }
    Ok(())
}

fn bulk(subject: &Subject, name: &str, size: usize, time: Duration) -> Result<Vec<Figure>, BenchError> {
    let load = Bulk::start(subject.server.addr, subject.speech, 8, size)?;
    // Until the pairs have found their pace.
    std::thread::sleep(Duration::from_millis(300));
    let (before, cpu) = (load.received(), subject.server.cpu()?);
    std::thread::sleep(time);
    let (bytes, cpu) = (load.received() - before, subject.server.cpu()? - cpu);
    load.stop();
    let figure = |name: String, unit, value| Figure { name, unit, better: Better::More, value };
    let bytes = bytes as f64;
    Ok(vec![
        figure(name.into(), "GB/cpu-s", process::per_cpu(bytes / 1e9, cpu)),
        figure(format!("{name}: throughput"), "Gbit/s", bytes * 8.0 / 1e9 / time.as_secs_f64()),
    ])
}

fn paced(subject: &Subject, name: &str, case: Paced, time: Duration) -> Result<Vec<Figure>, BenchError> {
    let mut load = case.connect(subject.server.addr, subject.speech)?;
    load.run(Duration::from_millis(300))?;
    let cpu = subject.server.cpu()?;
    let result = load.run(time)?;
    let cpu = subject.server.cpu()? - cpu;
    let latency = |part: f64, of: &str| Figure {
        name: format!("{name}: {of}"),
        unit: "µs",
        better: Better::Less,
        value: result.latency(part).as_secs_f64() * 1e6,
    };
    let messages = Figure {
        name: name.into(),
        unit: "messages/cpu-s",
        better: Better::More,
        value: process::per_cpu(result.messages() as f64, cpu),
    };
    Ok(vec![messages, latency(0.5, "p50"), latency(0.99, "p99")])
}

fn joins(subject: &Subject, time: Duration) -> Result<Vec<Figure>, BenchError> {
    let cpu = subject.server.cpu()?;
    let (joined, mut waits) = load::join_for(subject.server.addr, subject.speech, time)?;
    let cpu = subject.server.cpu()? - cpu;
    waits.sort_unstable();
    let p50 = waits.get(waits.len() / 2).copied().unwrap_or_default();
    let figure = |name: &str, unit, better, value| Figure { name: name.into(), unit, better, value };
    Ok(vec![
        figure("joins", "pairs/cpu-s", Better::More, process::per_cpu(joined as f64, cpu)),
        figure("joins: request to first byte, p50", "µs", Better::Less, p50.as_secs_f64() * 1e6),
    ])
}

fn idle(subject: &Subject, time: Duration) -> Result<Vec<Figure>, BenchError> {
    const PAIRS: usize = 2000;
    let before = subject.server.resident()?;
    let pairs = load::connect(subject.server.addr, subject.speech, PAIRS)?;
    let cpu = subject.server.cpu()?;
    std::thread::sleep(time);
    let used = subject.server.cpu()? - cpu;
    let held = subject.server.resident()?;
    drop(pairs);
    // Until the server has closed its halves.
    std::thread::sleep(Duration::from_millis(500));
    let after = subject.server.resident()?;
    let figure =
        |name: &str, unit, value: f64| Figure { name: name.into(), unit, better: Better::Less, value };
    Ok(vec![
        figure("idle pair", "bytes", (held - before).max(0.0) / PAIRS as f64),
        figure("idle pair: kept after it has ended", "bytes", (after - before).max(0.0) / PAIRS as f64),
        figure("idle: part of a core per 1000 pairs", "%", {
            used.as_secs_f64() / time.as_secs_f64() * 100.0 / (PAIRS as f64 / 1000.0)
        }),
    ])
}

/// The process that is measured: `relay`, `splice`, or `copy SIZE`. Returns when its parent lets go of it.
pub(crate) fn serve(args: &[String]) -> Result<(), BenchError> {
    process::pin(process::SERVER_CPU);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["splice"] => bare::serve(Loop::Splice),
        ["copy", size] => bare::serve(Loop::Copy(size.parse().unwrap_or(65_536))),
        _ => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(system("starting a runtime"))?;
            let config = RelayConfig {
                threads: NonZeroUsize::new(1),
                web: Vec::new(),
                limits: Limits { waiting_per_ip: 10_000, ..Limits::default() },
                ..RelayConfig::on(Ipv4Addr::LOCALHOST.into(), 0)
            };
            let relay = {
                let _guard = runtime.enter();
                Relay::spawn(config).map_err(|e| system("starting the relay")(std::io::Error::other(e)))?
            };
            process::announce(relay.tcp_addrs()[0]);
            runtime.block_on(relay.shutdown());
            Ok(())
        }
    }
}
