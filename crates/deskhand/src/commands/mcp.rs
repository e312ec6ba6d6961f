//! `deskhand mcp`: MCP over standard input and output.

use crate::cli::McpArgs;
use crate::{commands::gateway, lifecycle};
use std::sync::Arc;

pub(crate) async fn run(args: McpArgs) -> anyhow::Result<()> {
    let gateway = Arc::new(gateway::build(&args.connection, &args.toolsets, "mcp")?);
    let stop = lifecycle::stop_on_signal()?;
    tracing::info!(tools = gateway.tools().count(), "ready on standard input");
    mcp::serve_stdio(Arc::clone(&gateway), stop).await?;
    gateway.sessions().shutdown().await;
    Ok(())
}
