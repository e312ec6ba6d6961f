//! `deskhand mcp`: MCP over standard input and output.

use crate::cli::McpArgs;
use crate::{commands::gateway, lifecycle};
use policy::{Caller, CallerKind};
use std::io::Write as _;
use std::sync::Arc;

pub(crate) async fn run(args: McpArgs) -> anyhow::Result<()> {
    let gateway = Arc::new(gateway::build(&args.connection, &args.toolsets, "mcp")?);
    let caller = Arc::new(Caller::local("deskhand mcp", CallerKind::Model));
    let stop = lifecycle::stop_on_signal()?;
    // Standard output belongs to the protocol.
    writeln!(std::io::stderr(), "deskhand mcp: ready, {} tools", gateway.tools(&caller).count())?;
    mcp::serve_stdio(Arc::clone(&gateway), caller, stop).await?;
    gateway.sessions().shutdown().await;
    Ok(())
}
