//! The server that the official MCP conformance suite calls: its tools, resources and prompts, behind the
//! product's own router.
//!
//! What each does is the suite's contract: a scenario of `@modelcontextprotocol/conformance` names it and
//! describes its results. Nothing of this is in the shipped program.

#![expect(deprecated, reason = "sessions of the older revisions have logging and sampling")]

mod catalogue;
mod dialogue;

use dialogue::Dialogue;
use rmcp::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, CompleteRequestParams,
    CompleteResult, CreateMessageRequestParams, ElicitRequestParams, ErrorData, GetPromptRequestParams,
    GetPromptResponse, GetPromptResult, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult,
    ListToolsResult, LoggingLevel, LoggingMessageNotificationParam, PaginatedRequestParams,
    ProgressNotificationParam, ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult,
    ServerConfig, SetLevelRequestParams, SubscribeRequestParams, SubscriptionFilter, Tool,
    UnsubscribeRequestParams,
};
use rmcp::service::{RequestContext, RoleServer, ServiceError, SubscriptionContext};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast;

/// Between the steps of tools that work for a while.
const STEP: Duration = Duration::from_millis(50);

/// What all sessions and requests share.
#[derive(Debug, Clone)]
pub struct Fixtures {
    changes: broadcast::Sender<Change>,
    dialogue: Arc<Dialogue>,
}

/// A list that is said to have changed.
#[derive(Debug, Clone, Copy)]
enum Change {
    Tools,
    Prompts,
}

impl Default for Fixtures {
    fn default() -> Self {
        Self { changes: broadcast::Sender::new(16), dialogue: Arc::default() }
    }
}

impl Fixtures {
    /// The server for one session, or for one request without.
    pub fn handler(&self) -> Handler {
        Handler { shared: self.clone(), least: Mutex::new(LoggingLevel::Debug) }
    }
}

/// Answers one session, or one request without.
#[derive(Debug)]
pub struct Handler {
    shared: Fixtures,
    /// The least severe log message that the client wants.
    least: Mutex<LoggingLevel>,
}

/// A value in rmcp's types, of the JSON that the suite's descriptions show.
fn typed<T: DeserializeOwned>(value: Value) -> Result<T, ErrorData> {
    serde_json::from_value(value).map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

/// A whole result. rmcp leaves out the type of it where the revision has none.
fn whole<T: DeserializeOwned>(mut result: Value) -> Result<T, ErrorData> {
    result["resultType"] = json!("complete");
    typed(result)
}

fn text(text: impl Into<String>) -> Value {
    json!([{ "type": "text", "text": text.into() }])
}

fn completed(content: Value) -> Result<CallToolResponse, ErrorData> {
    Ok(whole::<CallToolResult>(json!({ "content": content }))?.into())
}

fn failed(error: &ServiceError) -> ErrorData {
    ErrorData::internal_error(format!("the client did not answer: {error}"), None)
}

impl Handler {
    /// Sends a log message if the client wants it.
    async fn log(&self, context: &RequestContext<RoleServer>, message: &str) -> Result<(), ErrorData> {
        let modern = context.meta.protocol_version().is_some();
        let info = severity(LoggingLevel::Info);
        let least = if modern {
            context.meta.log_level().map(severity)
        } else {
            Some(severity(*self.least.lock().unwrap_or_else(PoisonError::into_inner)))
        };
        if least.is_some_and(|least| info >= least) {
            let note = LoggingMessageNotificationParam::new(LoggingLevel::Info, json!(message));
            context.peer.notify_logging_message(note).await.map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    async fn with_logging(
        &self,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        self.log(context, "Tool execution started").await?;
        tokio::time::sleep(STEP).await;
        self.log(context, "Tool processing data").await?;
        tokio::time::sleep(STEP).await;
        self.log(context, "Tool execution completed").await?;
        completed(text("Tool with logging executed successfully"))
    }

    /// Asks for what only older revisions let a server ask for in the middle of a call.
    async fn ask(
        &self,
        context: &RequestContext<RoleServer>,
        tool: &str,
        arguments: &Value,
    ) -> Result<CallToolResponse, ErrorData> {
        if tool == "test_sampling" {
            let content = json!({ "type": "text", "text": arguments["prompt"] });
            let messages = json!([{ "role": "user", "content": content }]);
            let params: CreateMessageRequestParams =
                typed(json!({ "messages": messages, "maxTokens": 100 }))?;
            let answer = context.peer.create_message(params).await.map_err(|error| failed(&error))?;
            let answer = json!(answer);
            let said = answer["content"]["text"].as_str().or(answer["content"][0]["text"].as_str());
            return completed(text(format!("LLM response: {}", said.unwrap_or_default())));
        }
        let (message, schema, said) = catalogue::elicitation(tool, arguments);
        let params: ElicitRequestParams =
            typed(json!({ "mode": "form", "message": message, "requestedSchema": schema }))?;
        let answer = context.peer.create_elicitation(params).await.map_err(|error| failed(&error))?;
        let answer = json!(answer);
        let (action, content) = (answer["action"].as_str().unwrap_or_default(), &answer["content"]);
        completed(text(format!("{said}: action={action}, content={content}")))
    }
}

fn severity(level: LoggingLevel) -> usize {
    use LoggingLevel as L;
    let order = [L::Debug, L::Info, L::Notice, L::Warning, L::Error, L::Critical, L::Alert, L::Emergency];
    order.iter().position(|known| *known == level).unwrap_or_default()
}

async fn with_progress(context: &RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
    for progress in [0.0, 50.0, 100.0] {
        if let Some(token) = context.meta.get_progress_token() {
            let note = ProgressNotificationParam::new(token, progress).with_total(100.0);
            context.peer.notify_progress(note).await.map_err(|error| failed(&error))?;
        }
        tokio::time::sleep(STEP).await;
    }
    completed(text("Tool with progress executed successfully"))
}

/// Works only for clients that can sample.
fn needs_sampling(context: &RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
    let can = context.client_capabilities().is_some_and(|can| can.sampling.is_some());
    if can {
        return completed(text("The client can sample"));
    }
    let needed: ClientCapabilities = typed(json!({ "sampling": {} }))?;
    Err(ErrorData::missing_required_client_capability(needed))
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(catalogue::capabilities()).with_server_info(catalogue::about())
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        whole(json!({ "tools": catalogue::tools() }))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        let tool = catalogue::tools().into_iter().find(|tool| tool["name"] == name)?;
        serde_json::from_value(tool).ok()
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.clone().map_or(Value::Null, Value::Object);
        let tool = &*request.name;
        if let Some(content) = catalogue::content(tool) {
            return completed(content);
        }
        match tool {
            "test_error_handling" => {
                let content = text("This tool intentionally returns an error for testing");
                Ok(whole::<CallToolResult>(json!({ "content": content, "isError": true }))?.into())
            }
            "test_tool_with_logging" | "test_logging_tool" => self.with_logging(&context).await,
            "test_tool_with_progress" => with_progress(&context).await,
            "test_missing_capability" => needs_sampling(&context),
            "test_trigger_tool_change" | "test_trigger_prompt_change" => {
                let change = if tool == "test_trigger_tool_change" { Change::Tools } else { Change::Prompts };
                let heard = self.shared.changes.send(change).unwrap_or(0);
                completed(text(format!("{heard} listeners are told")))
            }
            "test_x_mcp_header" => completed(text(format!("region: {}", arguments["region"]))),
            "test_sampling"
            | "test_elicitation"
            | "test_elicitation_sep1034_defaults"
            | "test_elicitation_sep1330_enums" => self.ask(&context, tool, &arguments).await,
            "test_streaming_elicitation" => {
                self.shared.dialogue.tool("test_input_required_result_elicitation", &request, &context)
            }
            _ if tool.starts_with("test_input_required_result_") => {
                self.shared.dialogue.tool(tool, &request, &context)
            }
            _ => Err(ErrorData::invalid_params(format!("there is no tool {tool:?}"), None)),
        }
    }

    async fn list_resources(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        whole(json!({ "resources": catalogue::resources() }))
    }

    async fn list_resource_templates(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        whole(json!({ "resourceTemplates": catalogue::templates() }))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        match catalogue::resource(&request.uri) {
            Some(contents) => Ok(whole::<ReadResourceResult>(json!({ "contents": [contents] }))?.into()),
            None => {
                let data = Some(json!({ "uri": request.uri }));
                Err(ErrorData::resource_not_found("there is no such resource", data))
            }
        }
    }

    async fn list_prompts(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        whole(json!({ "prompts": catalogue::prompts() }))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        if request.name == "test_input_required_result_prompt" {
            return self.shared.dialogue.prompt(&request);
        }
        let arguments = request.arguments.map_or(Value::Null, Value::Object);
        match catalogue::prompt(&request.name, &arguments) {
            Some(messages) => Ok(whole::<GetPromptResult>(json!({ "messages": messages }))?.into()),
            None => Err(ErrorData::invalid_params(format!("there is no prompt {:?}", request.name), None)),
        }
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let matching = ["paris", "park", "party"].into_iter();
        let matching: Vec<_> = matching.filter(|word| word.starts_with(&request.argument.value)).collect();
        let total = matching.len();
        whole(json!({ "completion": { "values": matching, "total": total, "hasMore": false } }))
    }

    async fn set_level(
        &self,
        request: SetLevelRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        *self.least.lock().unwrap_or_else(PoisonError::into_inner) = request.level;
        Ok(())
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        tracing::debug!(uri = request.uri, "subscribed");
        Ok(())
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        tracing::debug!(uri = request.uri, "unsubscribed");
        Ok(())
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, subscription: SubscriptionContext) -> Result<(), ErrorData> {
        let mut changes = self.shared.changes.subscribe();
        loop {
            let change = tokio::select! {
                change = changes.recv() => change,
                () = subscription.cancelled() => return Ok(()),
            };
            let accepted = subscription.accepted();
            let told = match change {
                Ok(Change::Tools) if accepted.tools_list_changed == Some(true) => {
                    subscription.sink().notify_tool_list_changed().await
                }
                Ok(Change::Prompts) if accepted.prompts_list_changed == Some(true) => {
                    subscription.sink().notify_prompt_list_changed().await
                }
                _ => Ok(()),
            };
            if told.is_err() {
                return Ok(());
            }
        }
    }
}
