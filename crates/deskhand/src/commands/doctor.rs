//! `deskhand doctor`: what is wrong, in one screen, with what to do.

mod files;
mod network;

use crate::cli::DoctorArgs;
use crate::config::{Config, Loaded, Settings};
use crate::daemon::Daemon;
use serde_json::json;
use std::io::{IsTerminal as _, Write as _};

/// How a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Good,
    /// Works, but asks for attention.
    Doubtful,
    Broken,
    /// Not in use here.
    Unused,
}

/// One line of the report.
#[derive(Debug)]
struct Finding {
    part: String,
    state: State,
    /// What was found; for what is broken or doubtful also what to do.
    what: String,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Doubtful => "check",
            Self::Broken => "broken",
            Self::Unused => "-",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Self::Good => "\x1b[32m",
            Self::Doubtful => "\x1b[33m",
            Self::Broken => "\x1b[31m",
            Self::Unused => "\x1b[2m",
        }
    }
}

/// All lines, in the order in which they are told.
#[derive(Debug, Default)]
struct Report(Vec<Finding>);

impl Report {
    fn add(&mut self, part: impl Into<String>, state: State, what: impl Into<String>) {
        self.0.push(Finding { part: part.into(), state, what: what.into() });
    }

    fn good(&mut self, part: impl Into<String>, what: impl Into<String>) {
        self.add(part, State::Good, what);
    }

    fn doubtful(&mut self, part: impl Into<String>, what: impl Into<String>) {
        self.add(part, State::Doubtful, what);
    }

    fn broken(&mut self, part: impl Into<String>, what: impl Into<String>) {
        self.add(part, State::Broken, what);
    }

    fn is_broken(&self) -> bool {
        self.0.iter().any(|finding| finding.state == State::Broken)
    }
}

/// Exit status 1 if something is broken.
pub(crate) async fn run(args: DoctorArgs) -> anyhow::Result<bool> {
    let mut report = Report::default();
    match Config::load(&args.connection, Settings::default()) {
        Ok(loaded) => examine(&args, &loaded, &mut report).await,
        Err(problems) => {
            for problem in problems.0 {
                report.broken("configuration", problem.to_string());
            }
        }
    }
    if args.json {
        print_json(&report)?
    } else {
        print(&report)?
    }
    Ok(!report.is_broken())
}

async fn examine(args: &DoctorArgs, loaded: &Loaded, report: &mut Report) {
    match &loaded.file {
        Some(file) => report.good("configuration", file.display().to_string()),
        None => report.add("configuration", State::Unused, "no file; `deskhand config example` prints one"),
    }
    let config = &loaded.config;
    let state = args.connection.state.as_deref();
    files::state(&crate::config::state_root(state), report);
    files::secrets(config, report);
    files::certificate(config, report);
    files::clock(report);
    let running = daemon(state, report).await;
    network::ports(config, running, report);
    network::server(config, report).await;
    files::display(report);
}

/// Whether `deskhand serve` runs here.
async fn daemon(state: Option<&std::path::Path>, report: &mut Report) -> bool {
    match Daemon::find(state) {
        Ok(Some(daemon)) if super::mcp::alive(&daemon).await => {
            report.good("daemon", format!("deskhand serve runs as process {}", daemon.pid));
            true
        }
        Ok(Some(daemon)) => {
            let what = format!("process {} left its file behind; start deskhand serve again", daemon.pid);
            report.doubtful("daemon", what);
            false
        }
        Ok(None) => {
            report.add("daemon", State::Unused, "deskhand serve does not run for this user");
            false
        }
        Err(error) => {
            report.broken("daemon", format!("{error:#}"));
            false
        }
    }
}

fn print(report: &Report) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let colours = std::io::stdout().is_terminal();
    let width = report.0.iter().map(|finding| finding.part.chars().count()).max().unwrap_or(0);
    for Finding { part, state, what } in &report.0 {
        let (on, off) = if colours { (state.colour(), "\x1b[0m") } else { ("", "") };
        writeln!(out, "{on}{:<6}{off}  {part:<width$}  {what}", state.word())?;
    }
    let broken = report.0.iter().filter(|finding| finding.state == State::Broken).count();
    match broken {
        0 => writeln!(out, "\nnothing is broken")?,
        1 => writeln!(out, "\n1 thing is broken")?,
        several => writeln!(out, "\n{several} things are broken")?,
    }
    out.flush()
}

fn print_json(report: &Report) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for Finding { part, state, what } in &report.0 {
        writeln!(out, "{}", json!({"part": part, "state": state.word(), "what": what}))?;
    }
    out.flush()
}
