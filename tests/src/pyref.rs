//! The independent peer in Python (`tests/pyref`): the other end that shares no misreading with us.

use crate::net::free_tcp_port;
use crate::process::Child;
use crate::{protos, python, root};
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// The programs compile the message definitions first, on a machine that may be busy.
pub const START: Duration = Duration::from_secs(60);

/// A command for one of the programs, ready for [`Child::spawn`].
pub fn command(program: &str) -> Command {
    let mut command = Command::new(python());
    command
        .arg(root().join("pyref").join(program))
        .env("RUSTDESK_PROTOS", protos())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONUNBUFFERED", "1");
    command
}

/// A running `host.py`.
#[derive(Debug)]
pub struct Host {
    child: Child,
    /// Where it listens for direct access, if started with [`listen`](Self::listen).
    pub direct: Option<SocketAddr>,
}

impl Host {
    /// Listens for direct access on a free port. `arguments`: for example
    /// `["--id", "555000111", "--password", "pw"]`. Ready when this returns.
    pub fn listen(arguments: &[&str]) -> Self {
        let port = free_tcp_port(Ipv4Addr::UNSPECIFIED);
        let mut host = Self::start(&[&["--listen", &port.to_string()], arguments].concat());
        host.direct = Some((Ipv4Addr::LOCALHOST, port).into());
        host
    }

    /// Registers with hbbs: `["--rendezvous", "127.64.0.1:21116", "--relay", "127.64.0.1", "--key", …]`.
    /// Registered when this returns.
    pub fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let mut command = command("host.py");
        command.args(arguments);
        command.arg("--ready").arg(folder.path().join("ready"));
        command.arg("--events").arg(folder.path().join("events"));
        let mut child = Child::spawn_in(&mut command, folder);
        let ready = child.folder().join("ready");
        child.wait_for_file(&ready, START);
        Self { child, direct: None }
    }

    /// Everything that has arrived so far: `--events` of `host.py`, one object each.
    pub fn events(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.child.folder().join("events")).unwrap_or_default();
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).expect("an event in JSON")).collect()
    }

    /// Waits until `wanted` holds for one of the events, and gives it.
    pub fn event(&mut self, what: &str, limit: Duration, wanted: impl Fn(&Value) -> bool) -> Value {
        let events = self.child.folder().join("events");
        self.child.wait_for(what, limit, |_| {
            let text = std::fs::read_to_string(&events).unwrap_or_default();
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            let mut found = whole.lines().filter_map(|line| serde_json::from_str(line).ok());
            found.find(|event| wanted(event))
        })
    }

    /// Acts as the local user: `clipboard TEXT`, `permission Keyboard off`, `resize 800x600`, `drop`, …
    pub fn say(&mut self, line: &str) {
        self.child.say(line);
    }

    /// The process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }
}

/// A running `client.py` with one scenario.
#[derive(Debug)]
pub struct Client {
    child: Child,
}

/// How a scenario of `client.py` went.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// All expectations of the scenario held.
    pub ok: bool,
    /// `{scenario, result, path, truth}`; `Null` if it did not come to that.
    pub report: Value,
}

impl Client {
    /// `arguments`: for example `["--direct", "127.0.0.1:21118", "--id", …, "--password", …]`.
    pub fn start(scenario: &str, arguments: &[&str]) -> Self {
        let child = Child::spawn(command("client.py").args(arguments).arg(scenario));
        Self { child }
    }

    /// Waits for the end of the scenario; blocks the thread, so use [`outcome_async`](Self::outcome_async)
    /// where the host under test runs on the same one.
    pub fn outcome(mut self, limit: Duration) -> Outcome {
        let status = self.child.ended(limit);
        self.report(status.success())
    }

    /// See [`outcome`](Self::outcome).
    pub async fn outcome_async(mut self, limit: Duration) -> Outcome {
        let status = self.child.ended_async(limit).await;
        self.report(status.success())
    }

    fn report(&self, ok: bool) -> Outcome {
        let stdout = self.child.stdout();
        let last = stdout.lines().last().unwrap_or_default();
        let mut report = serde_json::from_str(last).unwrap_or(Value::Null);
        if !ok && report.is_null() {
            report = Value::String(self.child.stderr());
        }
        Outcome { ok, report }
    }
}

/// Runs `hbbs_probe.py` against `hbbs` and `hbbr` with the recorded answers of stock servers as
/// expectation, and gives one object a scenario: `{scenario, result, different}`. `arguments`: at least
/// `--hbbs`, `--hbbr`, `--server`, `--key`, `--a`, `--b`.
pub async fn probe(scenarios: &[&str], arguments: &[&str], limit: Duration) -> Vec<Value> {
    let mut command = command("hbbs_probe.py");
    command.args(arguments).arg("--expect").arg(crate::recordings().join("hbbs")).args(scenarios);
    let mut child = Child::spawn(&mut command);
    child.ended_async(limit).await;
    let rows: Vec<Value> =
        child.stdout().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(rows.len(), scenarios.len(), "{}", child.stderr());
    rows
}

/// Runs a program of `tests/pyref` to its end and gives its output.
///
/// # Panics
/// If it fails.
pub fn run(program: &str, arguments: &[&str], limit: Duration) -> String {
    let mut child =
        Child::spawn_in(command(program).args(arguments), TempDir::new().expect("a scratch folder"));
    let status = child.ended(limit);
    assert!(status.success(), "{program} {arguments:?}: {status}");
    child.stdout()
}
