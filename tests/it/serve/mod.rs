//! `deskhand serve` as its operators start it.

mod attach;
mod doctor;
mod lifecycle;
mod scrape;
mod supervised;

use deskhand_tests::{Child, deskhand};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// Starting and stopping, on a machine that may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A running daemon, and the folder that it keeps its state in.
pub(crate) struct Served {
    pub(crate) child: Child,
    folder: TempDir,
}

/// A `deskhand` that knows nothing of the user's own files.
pub(crate) fn program(home: &Path) -> Command {
    let mut command = Command::new(deskhand());
    command.env_clear().env("HOME", home).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

impl Served {
    /// With this configuration and these options, on free ports.
    pub(crate) fn start(config: &str, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        let child = Self::spawn(folder.path(), options, |_| {});
        Self { child, folder }
    }

    fn spawn(folder: &Path, options: &[&str], change: impl FnOnce(&mut Command)) -> Child {
        let mut command = program(folder);
        command.arg("serve").arg("--config").arg(folder.join("config.toml"));
        command.arg("--state").arg(folder.join("state"));
        command.args(["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]).args(options);
        change(&mut command);
        let mut child = Child::spawn(&mut command);
        child.wait_for("ready", PATIENCE, |child| child.stdout().lines().any(|l| l == "ready").then_some(()));
        child
    }

    /// A new process over the same state.
    pub(crate) fn again(&mut self) {
        self.child = Self::spawn(self.folder.path(), &[], |_| {});
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub(crate) fn configure(&self, config: &str) {
        std::fs::write(self.folder.path().join("config.toml"), config).unwrap();
    }

    /// What follows `listening NAME url=`.
    pub(crate) fn url(&self, name: &str) -> String {
        let prefix = format!("listening {name} url=");
        let out = self.child.stdout();
        let line = out.lines().find_map(|line| line.strip_prefix(&prefix));
        line.unwrap_or_else(|| panic!("no {prefix} in {out}")).to_owned()
    }

    pub(crate) fn metrics(&self) -> String {
        let (status, text) = get(&self.url("metrics"), &[]);
        assert_eq!(status, 200, "{text}");
        text
    }

    /// The value of a metric, written as it stands in the text.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let text = self.metrics();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map(|value| value.parse().unwrap())
    }

    /// `deskhand mcp` at this daemon.
    pub(crate) fn client(&self) -> Stdio {
        let mut command = program(self.folder.path());
        command.arg("mcp").arg("--state").arg(self.state());
        Stdio { child: Child::spawn(&mut command), sent: 0 }
    }
}

/// A GET request to an `http://` address.
pub(crate) fn get(url: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let rest = url.strip_prefix("http://").unwrap();
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut request = format!("GET /{path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n");
    for (name, value) in headers {
        write!(request, "{name}: {value}\r\n").unwrap();
    }
    request.push_str("\r\n");
    let mut stream = TcpStream::connect(authority).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.unwrap_or_else(|| panic!("{answer:?}")), body.to_owned())
}

/// An MCP client over standard input and output.
pub(crate) struct Stdio {
    pub(crate) child: Child,
    sent: u64,
}

impl Stdio {
    pub(crate) fn send(&mut self, method: &str, params: &Value) -> u64 {
        self.sent += 1;
        let id = self.sent;
        self.child.say(
            &serde_json::json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string(),
        );
        id
    }

    /// The answer to a request.
    pub(crate) fn answer(&mut self, id: u64) -> Value {
        self.child.wait_for("an answer", PATIENCE, |child| {
            let out = child.stdout();
            let lines = out.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.into_iter().find(|message| message["id"] == id && message.get("method").is_none())
        })
    }

    pub(crate) fn ask(&mut self, method: &str, params: &Value) -> Value {
        let id = self.send(method, params);
        self.answer(id)
    }

    /// As clients of the revisions with sessions begin.
    pub(crate) fn initialize(&mut self) -> Value {
        let about = serde_json::json!({"name": "t", "version": "1"});
        let params =
            serde_json::json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": about});
        let answer = self.ask("initialize", &params);
        self.child.say(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        answer
    }

    /// A tool's structured result.
    pub(crate) fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        let answer = self.ask("tools/call", &serde_json::json!({"name": tool, "arguments": arguments}));
        assert!(answer.get("error").is_none(), "{tool}: {answer}");
        answer["result"]["structuredContent"].clone()
    }
}
