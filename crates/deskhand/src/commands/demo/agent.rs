//! The demo's MCP client: starts `deskhand mcp` as any MCP client would, and calls its tools.

use base64::Engine as _;
use rmcp::model::{CallToolRequestParams, CallToolResult, ContentBlock};
use rmcp::service::{RoleClient, RunningService, ServiceExt as _};
use rmcp::transport::TokioChildProcess;
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// No tool of the demo takes longer.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub(crate) enum AgentError {
    #[error("the gateway can not be started: {0}")]
    Start(String),
    #[error("{tool}: {reason}")]
    Call { tool: String, reason: String },
    #[error("{tool} gave no answer in {} s", CALL_TIMEOUT.as_secs())]
    Silent { tool: String },
    #[error("{tool} gave no picture")]
    NoPicture { tool: String },
}

/// A connected MCP client.
pub(crate) struct Agent {
    service: RunningService<RoleClient, ()>,
}

/// A picture as the tools return it.
pub(crate) struct Picture {
    pub(crate) file: Vec<u8>,
    /// `image/png` or `image/jpeg`.
    pub(crate) mime: String,
    /// What stands beside it.
    pub(crate) facts: Value,
}

impl Agent {
    /// Starts `program mcp --config config` and makes the protocol's handshake.
    pub(crate) async fn start(program: &Path, config: &Path, state: &Path) -> Result<Self, AgentError> {
        let mut command = tokio::process::Command::new(program);
        command.arg("mcp").arg("--config").arg(config).arg("--state").arg(state);
        let (transport, _) = TokioChildProcess::builder(command)
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| AgentError::Start(format!("{}: {e}", program.display())))?;
        let service = ().serve(transport).await.map_err(|e| AgentError::Start(e.to_string()))?;
        Ok(Self { service })
    }

    /// The newest protocol revision both sides speak, and the number of tools.
    pub(crate) async fn describe(&self) -> Result<(String, usize), AgentError> {
        let tools = self.service.list_all_tools().await.map_err(|e| AgentError::Start(e.to_string()))?;
        let revision = self.service.peer_info().map(|info| info.protocol_version.to_string());
        Ok((revision.unwrap_or_default(), tools.len()))
    }

    /// Calls a tool; an error result is an error here.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Result<CallToolResult, AgentError> {
        let failed = |reason: String| AgentError::Call { tool: tool.into(), reason };
        let Value::Object(arguments) = arguments else {
            return Err(failed("arguments are no object".into()));
        };
        let request = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let result = tokio::time::timeout(CALL_TIMEOUT, self.service.call_tool(request))
            .await
            .map_err(|_| AgentError::Silent { tool: tool.into() })?
            .map_err(|e| failed(e.to_string()))?;
        if result.is_error == Some(true) {
            return Err(failed(text_of(&result)));
        }
        Ok(result)
    }

    /// Takes a picture.
    pub(crate) async fn screenshot(&self, arguments: Value) -> Result<Picture, AgentError> {
        let tool = "screenshot";
        let result = self.call(tool, arguments).await?;
        let missing = || AgentError::NoPicture { tool: tool.into() };
        let image = result
            .content
            .iter()
            .find_map(|block| match block {
                ContentBlock::Image(image) => Some(image),
                _ => None,
            })
            .ok_or_else(missing)?;
        let file = base64::engine::general_purpose::STANDARD.decode(&image.data).map_err(|_| missing())?;
        let facts = result.structured_content.clone().unwrap_or_default();
        Ok(Picture { file, mime: image.mime_type.clone(), facts })
    }

    /// Ends the session and the gateway.
    pub(crate) async fn stop(self) {
        if let Err(error) = self.service.cancel().await {
            tracing::warn!(%error, "the gateway did not end cleanly");
        }
    }
}

/// The text blocks of a result, one below the other.
pub(crate) fn text_of(result: &CallToolResult) -> String {
    let texts = result.content.iter().filter_map(|block| match block {
        ContentBlock::Text(text) => Some(text.text.as_str()),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}
