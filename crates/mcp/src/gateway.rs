//! The tools together, and the one way to call them.

use crate::outcome::{CallOutcome, Failure};
use crate::tool::{CallContext, ToolEntry};
use crate::{CallObserver, Called, Toolset, UnknownToolset, tools};
use policy::Caller;
use rmcp::model::Tool;
use serde_json::Value;
use sessions::Sessions;
use std::sync::Arc;
use tokio::time::Instant;

/// What a gateway offers.
#[derive(Clone, Default)]
pub struct GatewayConfig {
    /// Names of toolsets; none for the default ones, `all` for all.
    pub toolsets: Vec<String>,
    pub observer: Option<Arc<dyn CallObserver>>,
}

impl std::fmt::Debug for GatewayConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GatewayConfig").field("toolsets", &self.toolsets).finish_non_exhaustive()
    }
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
    sessions: Arc<Sessions>,
    tools: Vec<ToolEntry>,
    observer: Option<Arc<dyn CallObserver>>,
}

impl Gateway {
    pub fn new(sessions: impl Into<Arc<Sessions>>, config: GatewayConfig) -> Result<Self, GatewayError> {
        let toolsets = Toolset::parse(config.toolsets.iter().map(String::as_str))?;
        let mut tools = tools::all();
        tools.retain(|entry| toolsets.contains(&entry.toolset));
        Ok(Self { sessions: sessions.into(), tools, observer: config.observer })
    }

    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    /// What this caller is offered, always in the same order: the tools of his toolsets whose class he has.
    pub fn tools<'a>(&'a self, caller: &'a Arc<Caller>) -> impl Iterator<Item = &'a Tool> {
        let access = self.sessions.access(caller);
        let offered = self.known_to(caller).filter(move |entry| access.granted(entry.class).is_ok());
        offered.map(|entry| &entry.tool)
    }

    /// Calls a tool. `arguments` is a JSON object, or null for none. Dropping the future cancels the call:
    /// what was not sent by then is not sent.
    pub async fn call(
        &self,
        caller: &Arc<Caller>,
        tool: &str,
        arguments: Value,
    ) -> Result<CallOutcome, CallError> {
        let Some(entry) = self.known_to(caller).find(|entry| entry.tool.name == tool) else {
            let known = self.tools(caller).map(|tool| tool.name.to_string()).collect();
            return Err(CallError::UnknownTool { name: tool.chars().take(80).collect(), known });
        };
        let start = Instant::now();
        let outcome = self.run(entry, caller, arguments).await;
        tracing::debug!(tool, error = outcome.error_code(), "tool called");
        if let Some(observer) = &self.observer {
            let (tool, class, took) = (&*entry.tool.name, entry.class, start.elapsed());
            observer.called(&Called { caller, tool, class, outcome: &outcome, took });
        }
        Ok(outcome)
    }

    async fn run(&self, entry: &ToolEntry, caller: &Arc<Caller>, arguments: Value) -> CallOutcome {
        let access = self.sessions.access(caller).named(entry.tool.name.clone());
        let refused = |failure| CallOutcome::of::<()>(Err(failure));
        if let Err(error) = access.require(entry.class) {
            return refused(error.into());
        }
        let arguments = match arguments {
            Value::Object(arguments) => arguments,
            Value::Null => serde_json::Map::new(),
            _ => return refused(Failure::invalid("the arguments are no JSON object")),
        };
        (entry.run)(CallContext { access }, arguments).await
    }

    /// The tools of the caller's toolsets: those of his grant, where it names any, among those offered here.
    fn known_to(&self, caller: &Caller) -> impl Iterator<Item = &ToolEntry> {
        let own: Vec<Toolset> = caller.grant.toolsets.iter().flat_map(|name| Toolset::named(name)).collect();
        let limited = !caller.grant.toolsets.is_empty();
        self.tools.iter().filter(move |entry| !limited || own.contains(&entry.toolset))
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("tools", &self.tools.len()).finish_non_exhaustive()
    }
}
