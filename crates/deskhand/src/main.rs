//! See and operate any remote machine: for AI models, people and scripts.
//!
//! The composition root: parses the command line, reads the environment and the configuration, and wires
//! the other crates together. Everything else is theirs.

mod bench;
mod cli;
mod commands;
mod config;
mod lifecycle;

use clap::Parser as _;
use cli::{Cli, Command, LogFormat};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let format = match cli.log_format {
        LogFormat::Human => telemetry::LogFormat::Human,
        LogFormat::Json => telemetry::LogFormat::Json,
    };
    if let Err(error) = telemetry::init(&cli.log, format) {
        return fail(&error.into());
    }
    match run(cli.command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => fail(&error),
    }
}

/// `false` is a failure that has been told already.
fn run(command: Command) -> anyhow::Result<bool> {
    if let Command::Bench(args) = command {
        return bench::run(&args);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        match command {
            Command::Demo(args) => commands::demo::run(args).await,
            Command::Mcp(args) => commands::mcp::run(args).await.map(|()| true),
            Command::Call(args) => commands::call::run(args).await,
            Command::Peer(args) => commands::peer::run(&args).map(|()| true),
            Command::Host(args) => commands::host::run(args).await.map(|()| true),
            Command::Rendezvous(args) => commands::rendezvous::run(args).await.map(|()| true),
            Command::Bench(_) => Ok(true),
        }
    });
    // Standard input is read by a thread that nothing can interrupt.
    runtime.shutdown_background();
    outcome
}

/// One sentence on standard error.
#[expect(clippy::print_stderr, reason = "this is where the program's own errors go")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("deskhand: {error:#}");
    ExitCode::from(2)
}
