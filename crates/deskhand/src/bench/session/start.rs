//! How soon `deskhand mcp` answers its first request.

use super::{BENCH, failed};
use crate::bench::compare::Figure;
use crate::bench::{BenchError, Options, Row, median, system};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub(super) const MCP: &str = "start of mcp to its first answer";

/// Starts for each of [`Options::runs`].
const STARTS: usize = 5;

pub(super) fn run(options: &Options, emit: &mut dyn FnMut(Row)) -> Result<(), BenchError> {
    if options.wants(BENCH.name, MCP) {
        let starts = STARTS * options.runs.max(1);
        let times = (0..starts).map(|_| first_answer()).collect::<Result<Vec<_>, _>>()?;
        let time = median(times.iter().map(|time| time.as_secs_f64() * 1e3).collect());
        BENCH.rows(&Figure::less(MCP, "ms", time), [(BENCH.name, time)], emit);
    }
    Ok(())
}

/// From before the process is there to its answer to `initialize`, without a configuration.
fn first_answer() -> Result<Duration, BenchError> {
    let home = tempfile::tempdir().map_err(system("a folder for a program"))?;
    let exe = std::env::current_exe().map_err(system("finding this program"))?;
    let request = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": { "name": "bench", "version": "1" },
        },
    });
    let start = Instant::now();
    let mut child = Command::new(exe)
        .arg("mcp")
        .env("XDG_CONFIG_HOME", home.path())
        .env("XDG_STATE_HOME", home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(system("starting a program"))?;
    let (mut input, output) = (child.stdin.take(), child.stdout.take());
    let mut line = String::new();
    let answered = (|| {
        let (Some(input), Some(output)) = (&mut input, output) else { return Ok(()) };
        writeln!(input, "{request}")?;
        BufReader::new(output).read_line(&mut line).map(|_| ())
    })();
    let took = start.elapsed();
    drop(input);
    child.wait().map_err(system("waiting for a program"))?;
    answered.map_err(system("talking to a program"))?;
    let answer: Value = serde_json::from_str(&line).map_err(failed)?;
    if answer["result"]["serverInfo"]["name"].is_null() {
        return Err(BenchError::WrongAnswer(answer.to_string()));
    }
    Ok(took)
}
