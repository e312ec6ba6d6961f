//! `deskhand mcp`: MCP over standard input and output, for the daemon of this machine or alone.

mod bridge;
mod exchange;
mod link;

pub(crate) use link::alive;

use crate::cli::McpArgs;
use crate::commands::gateway::{self, Parts};
use crate::config::{self, Loaded};
use crate::daemon::Daemon;
use crate::lifecycle;
use policy::{Caller, CallerKind};
use std::io::Write as _;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

pub(crate) async fn run(args: McpArgs, loaded: &Loaded) -> anyhow::Result<()> {
    let stop = lifecycle::stop_on_signal()?;
    let alone = args.alone || args.connection.says_what() || !args.toolsets.is_empty();
    let state = args.connection.state.as_deref();
    if !alone && let Some(daemon) = Daemon::find(state)? {
        if link::alive(&daemon).await {
            writeln!(std::io::stderr(), "deskhand mcp: attached to deskhand serve, process {}", daemon.pid)?;
            return bridge::run(daemon, state.map(Into::into), stop).await;
        }
        tracing::info!(pid = daemon.pid, "a daemon left its file behind; this process works alone");
    }
    work_alone(&args, loaded, stop).await
}

async fn work_alone(args: &McpArgs, loaded: &Loaded, stop: CancellationToken) -> anyhow::Result<()> {
    let pins = config::state_dir(args.connection.state.as_deref(), "client");
    let parts = Parts::alone("mcp", &pins, &args.toolsets);
    let gateway = Arc::new(gateway::build(&loaded.config, parts)?);
    let caller = Arc::new(Caller::local("deskhand mcp", CallerKind::Model));
    // Standard output belongs to the protocol.
    writeln!(std::io::stderr(), "deskhand mcp: ready, {} tools", gateway.tools(&caller).count())?;
    mcp::serve_stdio(Arc::clone(&gateway), caller, stop).await?;
    gateway.sessions().shutdown().await;
    Ok(())
}
