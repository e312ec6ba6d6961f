//! The core that `serve`, `mcp` and `call` share: connectors, sessions and tools, from the configuration.

use crate::config::Config;
use anyhow::Context as _;
use client::{FilePins, RustDesk, Server};
use mcp::{CallObserver, Gateway, GatewayConfig};
use remote::Connector;
use sessions::audit::{AuditLog, JsonLines};
use sessions::{Sessions, SessionsConfig};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What a core is made of besides the configuration.
pub(crate) struct Parts<'a> {
    /// Where pinned peer keys are kept; made if it is not there.
    pub(crate) pins: &'a Path,
    /// How peers see us.
    pub(crate) name: &'a str,
    /// Toolsets of the command line, which win over the configured ones.
    pub(crate) toolsets: &'a [String],
    /// Where it is kept what was done.
    pub(crate) audit: Arc<dyn AuditLog>,
    /// Who counts calls.
    pub(crate) observer: Option<Arc<dyn CallObserver>>,
    /// Where ids are looked up if the configuration names no server.
    pub(crate) server: Option<Server>,
}

impl<'a> Parts<'a> {
    /// Those of a program that serves whoever started it: the record is a file beside the pins.
    pub(crate) fn alone(name: &'a str, pins: &'a Path, toolsets: &'a [String]) -> Self {
        let audit = Arc::new(JsonLines::new(pins.join("audit.jsonl")));
        Self { pins, name, toolsets, audit, observer: None, server: None }
    }
}

/// Builds the tools over everything that the configuration names.
pub(crate) fn build(config: &Config, parts: Parts<'_>) -> anyhow::Result<Gateway> {
    let pins = parts.pins;
    std::fs::create_dir_all(pins).with_context(|| format!("state directory {}", pins.display()))?;
    let configured = config.server.as_ref().map(|section| Server {
        address: section.address.clone(),
        key: section.key.clone().unwrap_or_default(),
    });
    let rustdesk = RustDesk::new(client::Config {
        server: configured.or(parts.server),
        pins: Arc::new(FilePins::new(pins)),
        my_name: format!("Deskhand ({})", parts.name),
        ..client::Config::default()
    });
    let connectors: Vec<Arc<dyn Connector>> = vec![Arc::new(rustdesk)];
    let secrets = config.secret_source();
    let sessions = Sessions::new(sessions_config(config), connectors, config.targets(), Arc::new(secrets))
        .with_policy(config.policy())
        .with_audit(parts.audit);
    let toolsets =
        if parts.toolsets.is_empty() { config.mcp.toolsets.clone() } else { parts.toolsets.to_vec() };
    Ok(Gateway::new(sessions, GatewayConfig { toolsets, observer: parts.observer })?)
}

fn sessions_config(config: &Config) -> SessionsConfig {
    let section = &config.sessions;
    SessionsConfig {
        limit: section.limit,
        idle: (section.idle_minutes > 0).then(|| Duration::from_secs(section.idle_minutes * 60)),
        allow_addresses: section.allow_addresses,
        allow_passwords: config.mcp.allow_password_argument,
        ..SessionsConfig::default()
    }
}
