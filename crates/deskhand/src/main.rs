//! See and operate any remote machine: for AI models, people and scripts.
//!
//! The composition root: parses the command line, reads the environment and the configuration, and wires
//! the other crates together. Everything else is theirs.

mod audit;
mod bench;
mod cli;
mod commands;
mod config;
mod daemon;
mod lifecycle;
mod logging;
mod probe;

use clap::Parser as _;
use cli::{Cli, Command, ConnectionArgs, ServeArgs};
use config::{Config, Loaded, Problems, Settings};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Config(command) => commands::config::run(command),
        command => prepare_and_run(command, cli.log.as_deref(), cli.log_format),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => fail(&error),
    }
}

fn prepare_and_run(
    command: Command,
    filter: Option<&str>,
    format: Option<config::LogFormat>,
) -> anyhow::Result<bool> {
    let loaded = configuration(&command)?;
    let service = matches!(command, Command::Serve(_) | Command::Rendezvous(_));
    let log = logging::start(loaded.as_ref().map(|loaded| &loaded.config.log), filter, format, service)?;
    // TLS, here and to others, asks for the process's one provider of cryptography.
    let _again = rustls::crypto::ring::default_provider().install_default();
    run(command, loaded.unwrap_or_default(), log)
}

/// What the command is configured with, if it is configured at all.
fn configuration(command: &Command) -> Result<Option<Loaded>, Problems> {
    match command {
        Command::Serve(args) => load_serve(args).map(Some),
        Command::Mcp(args) => load(&args.connection).map(Some),
        Command::Call(args) => load(&args.connection).map(Some),
        _ => Ok(None),
    }
}

fn load(args: &ConnectionArgs) -> Result<Loaded, Problems> {
    Config::load(args, Settings::default())
}

fn load_serve(args: &ServeArgs) -> Result<Loaded, Problems> {
    let mut settings = Settings::default();
    settings.option("--listen", "http.listen", args.listen);
    settings.option("--metrics-listen", "metrics.listen", args.metrics_listen);
    settings.option("--toolsets", "mcp.toolsets", args.toolsets.as_ref());
    Config::load(&args.connection, settings)
}

/// `false` is a failure that has been told already.
fn run(command: Command, loaded: Loaded, log: logging::Log) -> anyhow::Result<bool> {
    if let Command::Bench(args) = command {
        return bench::run(&args);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        match command {
            Command::Demo(args) => commands::demo::run(args).await,
            Command::Serve(args) => commands::serve::run(args, loaded, log).await.map(|()| true),
            Command::Mcp(args) => commands::mcp::run(args, &loaded).await.map(|()| true),
            Command::Call(args) => commands::call::run(args, &loaded).await,
            Command::Peer(args) => commands::peer::run(&args).map(|()| true),
            Command::Host(args) => commands::host::run(args).await.map(|()| true),
            Command::Rendezvous(args) => commands::rendezvous::run(args).await.map(|()| true),
            Command::Doctor(args) => commands::doctor::run(args).await,
            Command::Token(command) => commands::token::run(command).await,
            Command::User(command) => commands::user::run(command).await,
            Command::Bench(_) | Command::Config(_) => Ok(true),
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
