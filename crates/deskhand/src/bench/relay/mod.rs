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
    /// What starts another one like it, if that is ours to do.
    restart: Option<&'static [&'static str]>,
}

const IDLE: &str = "idle pair";
const KEPT: &str = "idle pair: kept after it has ended";

const SPLICE: &str = "bare splice loop";
const COPY: &str = "bare copy loop, 64 KiB";
/// Stock hbbr reads 8 KiB at a time; a bare loop that does costs what stock costs.
const COPY_8K: &str = "bare copy loop, 8 KiB";
const TARGET: &str = "target";

/// What our own figures are held to in any run.
const IDLE_BUDGET: Budget = Budget::at_most(IDLE, 2048.0);
const KEPT_BUDGET: Budget = Budget::at_most(KEPT, 256.0);

/// Without another relay the loops stand for it. Measured beside each other, a stock hbbr moves half as many
/// bytes for its time as the loop that copies 8 KiB, and three quarters as many small messages: so these are
/// four times stock in bulk, and twice stock on a busy core.
const ALONE: Bench = Bench {
    name: OURS,
    budgets: &[
        Budget::ratio("bulk 64 KiB", SPLICE, 0.9),
        Budget::ratio("bulk 64 KiB", COPY_8K, 2.0),
        Budget::ratio("bulk 16 KiB", COPY_8K, 2.0),
        Budget::ratio("bulk 1 KiB", COPY_8K, 1.0),
        Budget::ratio("paced 20 x 64 KiB", COPY_8K, 1.0),
        Budget::ratio("paced 100 x 16 KiB", COPY_8K, 1.0),
        Budget::ratio("paced 400 x 1 KiB", COPY_8K, 1.0),
        Budget::ratio("paced 400 x 1 KiB, busy", COPY_8K, 1.5),
        IDLE_BUDGET,
        KEPT_BUDGET,
    ],
};

/// Beside another hbbr its own figures count.
const BESIDE: Bench = Bench {
    name: OURS,
    budgets: &[
        Budget::ratio("bulk 64 KiB", TARGET, 4.0),
        Budget::ratio("bulk 16 KiB", TARGET, 2.0),
        Budget::ratio("bulk 1 KiB", TARGET, 1.0),
        Budget::ratio("paced 20 x 64 KiB", TARGET, 1.0),
        Budget::ratio("paced 100 x 16 KiB", TARGET, 1.0),
        Budget::ratio("paced 400 x 1 KiB", TARGET, 1.0),
        Budget::ratio("paced 400 x 1 KiB, busy", TARGET, 2.0),
        Budget::ratio("joins", TARGET, 1.0),
        IDLE_BUDGET,
        KEPT_BUDGET,
    ],
};

/// Runs the cases and gives one row for each figure and comparison.
pub(crate) fn run(options: &Options, emit: &mut dyn FnMut(Row)) -> Result<(), BenchError> {
    process::pin(process::LOAD_CPU);
    let bench = if options.target.is_some() { BESIDE } else { ALONE };
    let start = |name, args: &'static [&str], speech| {
        Ok((name, Subject { server: Server::start(args)?, speech, restart: Some(args) }))
    };
    let mut subjects = vec![
        start(OURS, &["bench", "--serve", "relay"], Speech::RustDesk)?,
        start(SPLICE, &["bench", "--serve", "splice"], Speech::None)?,
        start(COPY, &["bench", "--serve", "copy", "65536"], Speech::None)?,
        start(COPY_8K, &["bench", "--serve", "copy", "8192"], Speech::None)?,
    ];
    if let Some(target) = options.target {
        let server = Server::running(target);
        subjects.push((TARGET, Subject { server, speech: Speech::RustDesk, restart: None }));
    }
    let wanted = |name: &str| options.wants(OURS, name);

    for size in [64 * 1024, 16 * 1024, 1024] {
        let name = format!("bulk {} KiB", size / 1024);
        if wanted(&name) {
            bench.compare(options, &subjects, emit, |s, time| bulk(s, &name, size, time))?;
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
            bench.compare(options, &subjects, emit, |s, time| paced(s, name, case, time))?;
        }
    }
    if wanted("joins") {
        bench.compare(options, &subjects, emit, joins)?;
    }
    if wanted("idle") {
        bench.compare(options, &subjects, emit, idle)?;
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

/// What pairs that say nothing weigh. A server that has had a crowd before has their memory still, so ours is
/// a fresh one each time. Another one is measured as it is, and its first time counts.
fn idle(subject: &Subject, time: Duration) -> Result<Vec<Figure>, BenchError> {
    const PAIRS: usize = 2000;
    let fresh = match &subject.restart {
        Some(args) => Some(Server::start(args)?),
        None => None,
    };
    let server = fresh.as_ref().unwrap_or(&subject.server);
    // What is made once for all is made now.
    drop(load::connect(server.addr, subject.speech, 1)?);
    let before = server.resident()?;
    let pairs = load::connect(server.addr, subject.speech, PAIRS)?;
    let cpu = server.cpu()?;
    std::thread::sleep(time);
    let used = server.cpu()? - cpu;
    let held = server.resident()?;
    drop(pairs);
    // Until the server has closed its halves.
    std::thread::sleep(Duration::from_millis(500));
    let after = server.resident()?;
    let each = |bytes: f64| bytes.max(0.0) / PAIRS as f64;
    Ok(vec![
        Figure::less(IDLE, "bytes", each(held - before)),
        Figure::less(KEPT, "bytes", each(after - before)),
        Figure::less(
            "idle: part of a core per 1000 pairs",
            "%",
            used.as_secs_f64() / time.as_secs_f64() * 100.0 / (PAIRS as f64 / 1000.0),
        ),
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
