//! The core that `mcp` and `call` share: connectors, sessions and tools, from the configuration.

use crate::cli::ConnectionArgs;
use crate::config::{self, Config};
use anyhow::Context as _;
use client::{FilePins, RustDesk, Server};
use mcp::{Gateway, GatewayConfig};
use remote::Connector;
use sessions::{FileSecrets, Sessions, SessionsConfig};
use std::sync::Arc;

/// Builds the tools over everything that the configuration names. `toolsets` from the command line win
/// over those of the file.
pub(crate) fn build(args: &ConnectionArgs, toolsets: &[String], actor: &str) -> anyhow::Result<Gateway> {
    let config = Config::load(args)?;
    let state = config::state_dir(args.state.as_deref(), "client");
    std::fs::create_dir_all(&state).with_context(|| format!("state directory {}", state.display()))?;
    let server = config.server.as_ref().map(|section| Server {
        address: section.address.clone(),
        key: section.key.clone().unwrap_or_default(),
    });
    let rustdesk = RustDesk::new(client::Config {
        server,
        pins: Arc::new(FilePins::new(state)),
        my_name: format!("Deskhand ({actor})"),
        ..client::Config::default()
    });
    let connectors: Vec<Arc<dyn Connector>> = vec![Arc::new(rustdesk)];
    let sessions_config =
        SessionsConfig { allow_passwords: config.mcp.allow_password_argument, ..SessionsConfig::default() };
    let secrets = FileSecrets {
        folder: std::env::var_os("CREDENTIALS_DIRECTORY").map(Into::into),
        named: config.named_secrets(),
    };
    let sessions = Sessions::new(sessions_config, connectors, config.targets(), Arc::new(secrets));
    let toolsets = if toolsets.is_empty() { config.mcp.toolsets.clone() } else { toolsets.to_vec() };
    Ok(Gateway::new(sessions, GatewayConfig { toolsets })?)
}
