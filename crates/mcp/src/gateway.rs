//! The tools together, and the one way to call them.

use crate::outcome::{CallOutcome, Failure};
use crate::tool::{CallContext, ToolEntry};
use crate::{Toolset, UnknownToolset, tools};
use rmcp::model::Tool;
use serde_json::Value;
use sessions::{Actor, Sessions};
use std::sync::Arc;

/// What a gateway offers.
#[derive(Debug, Clone, Default)]
pub struct GatewayConfig {
    /// Names of toolsets; none for the default ones, `all` for all.
    pub toolsets: Vec<String>,
    /// Who acts through this gateway, for the record; empty for `mcp`.
    pub actor: String,
}

/// Why a gateway can not be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GatewayError {
    #[error(transparent)]
    UnknownToolset(#[from] UnknownToolset),
}

/// Why a call reached no tool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    #[error("there is no tool {name:?}; there are: {}", .known.join(", "))]
    UnknownTool { name: String, known: Vec<String> },
}

/// The tools over a set of sessions.
pub struct Gateway {
    context: CallContext,
    tools: Vec<ToolEntry>,
}

impl Gateway {
    pub fn new(sessions: impl Into<Arc<Sessions>>, config: GatewayConfig) -> Result<Self, GatewayError> {
        let toolsets = Toolset::parse(config.toolsets.iter().map(String::as_str))?;
        let actor = Actor::new(if config.actor.is_empty() { "mcp" } else { &config.actor });
        let mut tools = tools::all();
        tools.retain(|entry| toolsets.contains(&entry.toolset));
        Ok(Self { context: CallContext { sessions: sessions.into(), actor }, tools })
    }

    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.context.sessions
    }

    /// What is offered, always in the same order.
    pub fn tools(&self) -> impl Iterator<Item = &Tool> {
        self.tools.iter().map(|entry| &entry.tool)
    }

    /// Calls a tool. `arguments` is a JSON object, or null for none. Dropping the future cancels the call:
    /// what was not sent by then is not sent.
    pub async fn call(&self, tool: &str, arguments: Value) -> Result<CallOutcome, CallError> {
        let Some(entry) = self.tools.iter().find(|entry| entry.tool.name == tool) else {
            let known = self.tools().map(|tool| tool.name.to_string()).collect();
            return Err(CallError::UnknownTool { name: tool.chars().take(80).collect(), known });
        };
        let arguments = match arguments {
            Value::Object(arguments) => arguments,
            Value::Null => serde_json::Map::new(),
            _ => return Ok(CallOutcome::of::<()>(Err(Failure::invalid("the arguments are no JSON object")))),
        };
        let outcome = (entry.run)(self.context.clone(), arguments).await;
        tracing::debug!(tool, error = outcome.error_code(), "tool called");
        Ok(outcome)
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("tools", &self.tools.len()).finish_non_exhaustive()
    }
}
