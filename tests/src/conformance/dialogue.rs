//! Calls that need something of the client first, in the way of 2026-07-28: the answer says what, the client
//! calls again with it and with a state that only we can have written.

use super::{completed, text, typed, whole};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ErrorData, GetPromptRequestParams, GetPromptResponse,
    GetPromptResult, InputRequest, InputRequiredResult, InputResponses, RequestStateCodec,
};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Seals the states.
#[derive(Debug)]
pub(super) struct Dialogue {
    seal: RequestStateCodec,
}

impl Default for Dialogue {
    fn default() -> Self {
        Self { seal: RequestStateCodec::new_unchecked(rand::random::<[u8; 32]>()) }
    }
}

/// A question for the client's user.
fn form(message: &str, member: &str, kind: &str) -> Value {
    let schema =
        json!({ "type": "object", "properties": { member: { "type": kind } }, "required": [member] });
    json!({ "method": "elicitation/create", "params": { "message": message, "requestedSchema": schema } })
}

/// A question for the client's model.
fn sample(question: &str, tokens: u32) -> Value {
    let content = json!({ "type": "text", "text": question });
    let messages = json!([{ "role": "user", "content": content }]);
    json!({ "method": "sampling/createMessage", "params": { "messages": messages, "maxTokens": tokens } })
}

fn roots() -> Value {
    json!({ "method": "roots/list", "params": {} })
}

/// Says what is needed.
fn required(
    questions: impl IntoIterator<Item = (&'static str, Value)>,
    state: Option<String>,
) -> Result<InputRequiredResult, ErrorData> {
    let questions = questions.into_iter();
    let questions: Result<BTreeMap<_, _>, _> =
        questions.map(|(key, question)| Ok((key.to_owned(), typed::<InputRequest>(question)?))).collect();
    Ok(InputRequiredResult::new(Some(questions?), state))
}

/// What a user entered; `None` if he did not, or if it is no answer at all.
fn entered<'a>(responses: &'a InputResponses, key: &str, member: &str) -> Option<&'a Value> {
    let response = responses.get(key)?;
    let accepted = response["action"] == "accept";
    response["content"].get(member).filter(|_| accepted)
}

fn sampled<'a>(responses: &'a InputResponses, key: &str) -> Option<&'a str> {
    let content = &responses.get(key)?["content"];
    content["text"].as_str().or_else(|| content[0]["text"].as_str())
}

fn listed(responses: &InputResponses, key: &str) -> Option<Vec<String>> {
    let roots = responses.get(key)?["roots"].as_array()?;
    Some(roots.iter().map(|root| root["uri"].as_str().unwrap_or_default().to_owned()).collect())
}

impl Dialogue {
    pub(super) fn tool(
        &self,
        tool: &str,
        request: &CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let none = InputResponses::new();
        let said = request.input_responses.as_ref().unwrap_or(&none);
        let state = self.opened(request.request_state.as_deref())?;
        match tool.strip_prefix("test_input_required_result_").unwrap_or_default() {
            "elicitation" => match entered(said, "user_name", "name").and_then(Value::as_str) {
                Some(name) => completed(text(format!("Hello, {name}!"))),
                None => {
                    Ok(required([("user_name", form("What is your name?", "name", "string"))], None)?.into())
                }
            },
            "sampling" => match sampled(said, "capital_question") {
                Some(answer) => completed(text(answer)),
                None => {
                    let question = sample("What is the capital of France?", 100);
                    Ok(required([("capital_question", question)], None)?.into())
                }
            },
            "list_roots" => match listed(said, "client_roots") {
                Some(roots) => completed(text(format!("Roots: {}", roots.join(", ")))),
                None => Ok(required([("client_roots", roots())], None)?.into()),
            },
            kind @ ("request_state" | "tampered_state") => match (entered(said, "confirm", "ok"), state) {
                (Some(_), Some(state)) if state == kind => completed(text("state-ok")),
                _ => {
                    let question = form("Please confirm", "ok", "boolean");
                    Ok(required([("confirm", question)], self.sealed(kind))?.into())
                }
            },
            "multiple_inputs" => self.several(said, state),
            "multi_round" => self.rounds(said, state),
            "capabilities" => Ok(required(within_capabilities(context), None)?.into()),
            _ => Err(ErrorData::invalid_params(format!("there is no tool {tool:?}"), None)),
        }
    }

    pub(super) fn prompt(&self, request: &GetPromptRequestParams) -> Result<GetPromptResponse, ErrorData> {
        let none = InputResponses::new();
        let said = request.input_responses.as_ref().unwrap_or(&none);
        let Some(subject) = entered(said, "user_context", "context").and_then(Value::as_str) else {
            let question = form("What context should the prompt use?", "context", "string");
            return Ok(required([("user_context", question)], None)?.into());
        };
        let content = json!({ "type": "text", "text": format!("Use this context: {subject}") });
        let messages = json!([{ "role": "user", "content": content }]);
        Ok(whole::<GetPromptResult>(json!({ "messages": messages }))?.into())
    }

    fn several(&self, said: &InputResponses, state: Option<String>) -> Result<CallToolResponse, ErrorData> {
        let name = entered(said, "user_name", "name").and_then(Value::as_str);
        let greeting = sampled(said, "greeting");
        let places = listed(said, "client_roots");
        if let (Some(name), Some(greeting), Some(places), Some(_)) = (name, greeting, places, state) {
            return completed(text(format!("{greeting} {name}, with {} roots", places.len())));
        }
        let questions = [
            ("user_name", form("What is your name?", "name", "string")),
            ("greeting", sample("Generate a greeting", 50)),
            ("client_roots", roots()),
        ];
        Ok(required(questions, self.sealed("multiple_inputs"))?.into())
    }

    /// The state says how far it went, and what was said.
    fn rounds(&self, said: &InputResponses, state: Option<String>) -> Result<CallToolResponse, ErrorData> {
        let name = entered(said, "step1", "name").and_then(Value::as_str);
        let colour = entered(said, "step2", "color").and_then(Value::as_str);
        let round: Value = state.and_then(|state| serde_json::from_str(&state).ok()).unwrap_or_default();
        match (round["round"].as_u64(), name, colour) {
            (Some(1), Some(name), _) => {
                let question = form("Step 2: What is your favorite color?", "color", "string");
                let next = json!({ "round": 2, "name": name }).to_string();
                Ok(required([("step2", question)], self.sealed(&next))?.into())
            }
            (Some(2), _, Some(colour)) => {
                let name = round["name"].as_str().unwrap_or_default();
                completed(text(format!("{name} likes {colour}")))
            }
            _ => {
                let question = form("Step 1: What is your name?", "name", "string");
                let first = json!({ "round": 1 }).to_string();
                Ok(required([("step1", question)], self.sealed(&first))?.into())
            }
        }
    }

    fn sealed(&self, state: &str) -> Option<String> {
        Some(self.seal.seal(state.as_bytes()))
    }

    /// A state that came back; an error if it is not as we wrote it.
    fn opened(&self, state: Option<&str>) -> Result<Option<String>, ErrorData> {
        let Some(state) = state else { return Ok(None) };
        let forged = || ErrorData::invalid_params("this requestState was not given by this server", None);
        let opened = self.seal.open(state).map_err(|_| forged())?;
        Ok(Some(String::from_utf8(opened).map_err(|_| forged())?))
    }
}

/// Questions of those kinds that the client can answer.
fn within_capabilities(context: &RequestContext<RoleServer>) -> Vec<(&'static str, Value)> {
    let can = context.client_capabilities().unwrap_or_default();
    let mut questions = Vec::new();
    if can.sampling.is_some() {
        questions.push(("opinion", sample("What do you think?", 50)));
    }
    if can.elicitation.is_some() {
        questions.push(("name", form("What is your name?", "name", "string")));
    }
    questions
}
