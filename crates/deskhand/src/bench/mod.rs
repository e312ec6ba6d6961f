//! `deskhand bench`: what a part costs, against what the same machine allows in the same run.

pub(crate) mod compare;
pub(crate) mod gateway;
pub(crate) mod host;
pub(crate) mod process;
pub(crate) mod relay;
pub(crate) mod rendezvous;
pub(crate) mod session;

use anyhow::Context as _;
use clap::Args;
use std::{net::SocketAddr, time::Duration};

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Only the cases whose name contains this, "relay: bulk" or "session: connect" for example.
    pub(crate) name: Option<String>,

    /// Fail if a budget is missed.
    #[arg(long)]
    pub(crate) check: bool,

    /// Another server to measure beside ours: an hbbs with `rendezvous` as the name, an hbbr with `relay`. It
    /// should run on CPU 0 and ask for no key.
    #[arg(long, requires_all = ["pid", "name"], value_name = "HOST:PORT")]
    pub(crate) target: Option<SocketAddr>,

    /// The process of the other server.
    #[arg(long, requires = "target", value_name = "PID")]
    pub(crate) pid: Option<i32>,

    /// How long each case is measured, in seconds.
    #[arg(long, default_value_t = 0.5, value_name = "SECONDS")]
    pub(crate) time: f64,

    /// How often each case is measured; the median counts.
    #[arg(long, default_value_t = 3, value_name = "TIMES")]
    pub(crate) runs: usize,

    /// Be the measured server instead: what the measuring process starts.
    #[arg(long, hide = true, num_args = 1.., value_name = "WHAT")]
    pub(crate) serve: Option<Vec<String>>,
}

/// Measures, one line of JSON for each figure. `false` if a budget was to be checked and missed.
pub(crate) fn run(args: &BenchArgs) -> anyhow::Result<bool> {
    if let Some(what) = &args.serve {
        match what.first().map(String::as_str) {
            Some("hbbs" | "echo") => rendezvous::serve(what)?,
            Some("host" | "gateway") => session::serve(what)?,
            _ => relay::serve(what)?,
        }
        return Ok(true);
    }
    let options = Options {
        target: args.target.zip(args.pid).map(|(addr, pid)| Target { addr, pid }),
        time: Duration::try_from_secs_f64(args.time).context("the time of a case")?,
        runs: args.runs,
        only: args.name.clone(),
    };
    let mut met = true;
    let mut emit = |row: Row| {
        met &= row.ok;
        print(&row);
    };
    for bench in [session::run, host::run, gateway::run, rendezvous::run, relay::run] {
        // On a thread of its own, because a bench may bind its thread to a CPU.
        std::thread::scope(|scope| {
            let emit: &mut (dyn FnMut(Row) + Send) = &mut emit;
            scope.spawn(|| bench(&options, emit)).join().unwrap_or(Err(BenchError::Panicked))
        })?;
    }
    Ok(met || !args.check)
}

#[expect(clippy::print_stdout, reason = "the result of the command")]
fn print(row: &Row) {
    if let Ok(line) = serde_json::to_string(row) {
        println!("{line}");
    }
}

/// What to measure against, and how long.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) target: Option<Target>,
    /// How long each case is measured.
    pub(crate) time: Duration,
    /// Runs of a case, of which the median counts.
    pub(crate) runs: usize,
    /// Only cases whose name, with its bench in front (`relay: joins`), contains this.
    pub(crate) only: Option<String>,
}

impl Options {
    /// Whether a case is to be measured.
    pub(crate) fn wants(&self, bench: &str, case: &str) -> bool {
        self.only.as_deref().is_none_or(|only| format!("{bench}: {case}").contains(only))
    }
}

/// A server that runs already.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    pub(crate) pid: i32,
}

/// One line of the result.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Row {
    pub(crate) bench: &'static str,
    pub(crate) case: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// What `ratio` compares with: measured in the same run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) against: Option<String>,
    /// How many times better than that; over 1 is better whatever the unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ratio: Option<f64>,
    /// What the ratio, or else the value, is held to, in words: `>= 0.9`, `<= 2048`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) budget: Option<String>,
    pub(crate) ok: bool,
}

/// Why a bench could not be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error("{what}: {source}")]
    System { what: &'static str, source: std::io::Error },
    #[error("the measured server did not say where it listens")]
    NoServer,
    #[error("the measured server, process {pid}, has gone")]
    ServerGone { pid: i32 },
    #[error("not what was asked for: {0}")]
    WrongAnswer(String),
    #[error("{0}")]
    Failed(String),
    #[error("the bench panicked")]
    Panicked,
}

/// Names an I/O error.
pub(crate) fn system<E: Into<std::io::Error>>(what: &'static str) -> impl FnOnce(E) -> BenchError {
    move |error| BenchError::System { what, source: error.into() }
}

/// The middle value; 0 of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
