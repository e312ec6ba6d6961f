//! The rendezvous server: registrations and heartbeats per CPU-second, what a host weighs, and whether
//! heartbeats are answered while new hosts come; against a bare UDP echo, and against another hbbs if there
//! is one.

mod echo;
mod load;

use super::compare::{Bench, Budget, Figure};
use super::{BenchError, Options, Row, process, process::Server, system};
use hbb_common::key::{KeyOption, SigningKey};
use load::{Fleet, Message};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const ECHO: &str = "bare UDP echo, 64 per call";
const TARGET: &str = "target";

const REGISTRATIONS: &str = "first registrations";
const HEARTBEATS: &str = "heartbeats";
const PROBE_P99: &str = "heartbeat while hosts register: p99";
const HOST: &str = "registered host";

const NAME: &str = "rendezvous";

/// What our own figures are held to in any run.
const PROBE_BUDGET: Budget = Budget::at_most(PROBE_P99, 2.0);
const HOST_BUDGET: Budget = Budget::at_most(HOST, 250.0);

/// Without another hbbs the echo stands for it: it answers 2.56 times as many heartbeats as a stock hbbs, and
/// 73.5 times as many messages as a stock hbbs with its database on disk takes in new hosts. The ratios to it
/// are those at which ours does twice and twenty times the work of stock.
const ALONE: Bench = Bench {
    name: NAME,
    budgets: &[
        Budget::ratio(REGISTRATIONS, ECHO, 0.27),
        Budget::ratio(HEARTBEATS, ECHO, 0.78),
        PROBE_BUDGET,
        HOST_BUDGET,
    ],
};

/// Beside another hbbs its own figures count.
const BESIDE: Bench = Bench {
    name: NAME,
    budgets: &[
        Budget::ratio(REGISTRATIONS, TARGET, 20.0),
        Budget::ratio(HEARTBEATS, TARGET, 2.0),
        Budget::ratio(HOST, TARGET, 1.0),
        PROBE_BUDGET,
        HOST_BUDGET,
    ],
};

/// Hosts whose heartbeats are measured.
const KNOWN: u64 = 20_000;

/// Hosts that are weighed.
const WEIGHED: u64 = 100_000;

/// Between two heartbeats of one host while others register.
const PROBE_EVERY: Duration = Duration::from_millis(1);

/// A server under measurement and the hosts it knows.
struct Subject {
    kind: Kind,
    server: Server,
    /// Hosts that no server has seen yet come from here.
    fleet: Fleet,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Ours,
    Echo,
    Target,
}

/// Runs the cases and gives one row for each figure and comparison.
pub(crate) fn run(options: &Options, emit: &mut dyn FnMut(Row)) -> Result<(), BenchError> {
    let wanted = |case: &str| options.wants(NAME, case);
    if ![REGISTRATIONS, HEARTBEATS, PROBE_P99, HOST].into_iter().any(wanted) {
        return Ok(());
    }
    process::pin(process::LOAD_CPU);
    let bench = if options.target.is_some() { BESIDE } else { ALONE };
    let state = state_dir()?;
    let state = state.path().to_string_lossy();
    let subject = |kind, server: Server| Subject { kind, fleet: Fleet::new(server.addr), server };
    let mut subjects = vec![
        (NAME, subject(Kind::Ours, Server::start(&["bench", "--serve", "hbbs", &state])?)),
        (ECHO, subject(Kind::Echo, Server::start(&["bench", "--serve", "echo"])?)),
    ];
    if let Some(target) = options.target {
        subjects.push((TARGET, subject(Kind::Target, Server::running(target))));
    }
    if wanted(REGISTRATIONS) {
        bench.compare(options, &subjects, emit, registrations)?;
    }
    if wanted(HEARTBEATS) {
        bench.compare(options, &subjects, emit, heartbeats)?;
    }
    if wanted(PROBE_P99) {
        bench.compare(options, &subjects, emit, heartbeats_amid_registrations)?;
    }
    if wanted(HOST) {
        bench.compare(options, &subjects, emit, |subject, _| weight(subject))?;
    }
    Ok(())
}

/// A folder on a disk: where temporary files that outlive a restart go, since others may be memory.
fn state_dir() -> Result<tempfile::TempDir, BenchError> {
    let mut folder = tempfile::Builder::new();
    let folder = folder.prefix("deskhand-bench-");
    folder.tempdir_in("/var/tmp").or_else(|_| folder.tempdir()).map_err(system("a folder for the database"))
}

/// CPU time used by the time the server has written down what it had put off.
fn cpu_at_rest(server: &Server) -> Result<Duration, BenchError> {
    const PAUSE: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(5);
    let (start, mut before) = (Instant::now(), server.cpu()?);
    loop {
        std::thread::sleep(PAUSE);
        let now = server.cpu()?;
        if now.saturating_sub(before) < PAUSE / 50 || start.elapsed() > LONGEST {
            return Ok(now);
        }
        before = now;
    }
}

fn registrations(subject: &Subject, time: Duration) -> Result<Vec<Figure>, BenchError> {
    let cpu = cpu_at_rest(&subject.server)?;
    let start = Instant::now();
    let answered = subject.fleet.register_for(time)?;
    let took = start.elapsed();
    let cpu = cpu_at_rest(&subject.server)? - cpu;
    Ok(vec![
        Figure::more(REGISTRATIONS, "answers/cpu-s", process::per_cpu(answered as f64, cpu)),
        Figure::more("first registrations: rate", "answers/s", answered as f64 / took.as_secs_f64()),
    ])
}

fn heartbeats(subject: &Subject, time: Duration) -> Result<Vec<Figure>, BenchError> {
    let known = subject.fleet.known(KNOWN)?;
    let cpu = cpu_at_rest(&subject.server)?;
    let start = Instant::now();
    let (sent, answered) = subject.fleet.exchange_for(known.groups, Message::Heartbeat, time)?;
    let took = start.elapsed();
    let cpu = subject.server.cpu()? - cpu;
    Ok(vec![
        Figure::more(HEARTBEATS, "answers/cpu-s", process::per_cpu(answered as f64, cpu)),
        Figure::more("heartbeats: rate", "answers/s", answered as f64 / took.as_secs_f64()),
        Figure::less("heartbeats: lost", "%", (sent - answered) as f64 / (sent as f64).max(1.0) * 100.0),
    ])
}

fn heartbeats_amid_registrations(subject: &Subject, time: Duration) -> Result<Vec<Figure>, BenchError> {
    let known = subject.fleet.known(KNOWN)?;
    let (registered, waits) = std::thread::scope(|scope| {
        let registering = scope.spawn(|| subject.fleet.register_for(time));
        let waits = subject.fleet.probe(&known, PROBE_EVERY, time);
        (registering.join().unwrap_or(Err(BenchError::Panicked)), waits)
    });
    registered?;
    let mut waits = waits?;
    waits.sort_unstable();
    let part = |part: f64| {
        let place = (waits.len() as f64 * part) as usize;
        waits.get(place.min(waits.len().saturating_sub(1))).copied().unwrap_or_default().as_secs_f64() * 1e3
    };
    Ok(vec![
        Figure::less(PROBE_P99, "ms", part(0.99)),
        Figure::less("heartbeat while hosts register: p50", "ms", part(0.5)),
    ])
}

/// What a host adds to the server's memory. Ours is a fresh one, without a database.
fn weight(subject: &Subject) -> Result<Vec<Figure>, BenchError> {
    let fresh;
    let (server, fleet) = match subject.kind {
        Kind::Echo => return Ok(Vec::new()),
        Kind::Target => (&subject.server, &subject.fleet),
        Kind::Ours => {
            let server = Server::start(&["bench", "--serve", "hbbs"])?;
            let fleet = Fleet::new(server.addr);
            fresh = (server, fleet);
            (&fresh.0, &fresh.1)
        }
    };
    let before = server.resident()?;
    let registered = fleet.register(WEIGHED)?;
    let grown = server.resident()? - before;
    Ok(vec![Figure::less(HOST, "bytes", grown.max(0.0) / (registered as f64).max(1.0))])
}

/// The process that is measured: `hbbs [STATE_DIR]`, or `echo`. Returns when its parent lets go of it.
pub(crate) fn serve(args: &[String]) -> Result<(), BenchError> {
    process::pin(process::SERVER_CPU);
    if args.first().is_some_and(|what| what == "echo") {
        return echo::serve();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(system("starting a runtime"))?;
    let state_dir = args.get(1).map(PathBuf::from);
    let config = hbbs::ServerConfig {
        listen: vec![Ipv4Addr::LOCALHOST.into()],
        port: 0,
        key: match state_dir {
            Some(_) => KeyOption::Unchecked,
            None => KeyOption::Secret(Box::new(SigningKey::from_seed(&rand::random()))),
        },
        state_dir,
        udp_threads: Some(1),
        ..hbbs::ServerConfig::default()
    };
    let server = {
        let _guard = runtime.enter();
        hbbs::Server::spawn(config).map_err(|error| BenchError::Failed(error.to_string()))?
    };
    process::announce(server.addresses().rendezvous[0]);
    runtime.block_on(server.shutdown());
    Ok(())
}
