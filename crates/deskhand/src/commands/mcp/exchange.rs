//! One message of a client's, as it goes to the daemon over HTTP, and what comes back.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

const VERSION: &str = "io.modelcontextprotocol/protocolVersion";

/// A message of the client's.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) text: String,
    value: Value,
}

impl Message {
    /// # Errors
    /// The answer to something that is no JSON.
    pub(super) fn parse(text: String) -> Result<Self, String> {
        match serde_json::from_str(&text) {
            Ok(value) => Ok(Self { text, value }),
            Err(error) => Err(failure(&Value::Null, -32700, &format!("this is no JSON: {error}"))),
        }
    }

    pub(super) fn method(&self) -> Option<&str> {
        self.value["method"].as_str()
    }

    /// The id under which an answer is waited for.
    pub(super) fn awaits(&self) -> Option<&Value> {
        self.method().and(self.value.get("id")).filter(|id| !id.is_null())
    }

    /// The request that this message cancels.
    pub(super) fn cancels(&self) -> Option<&Value> {
        let cancels = self.method() == Some("notifications/cancelled");
        cancels.then(|| self.value["params"].get("requestId")).flatten()
    }

    /// Whether this message opens an MCP session, as revisions before 2026-07-28 do.
    pub(super) fn opens_session(&self) -> bool {
        self.method() == Some("initialize")
    }

    /// The revision that the message names for itself, as those from 2026-07-28 do.
    fn own_version(&self) -> Option<&str> {
        self.value["params"]["_meta"][VERSION].as_str()
    }

    /// What the headers of its request say: the same as the body, for those on the way (2026-07-28,
    /// transports).
    pub(super) fn headers(&self, negotiated: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut put = |name: &'static str, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        if let Some(version) = self.own_version().or(negotiated) {
            put("mcp-protocol-version", version);
        }
        if let Some(method) = self.method() {
            put("mcp-method", method);
            let key = match method {
                "tools/call" | "prompts/get" => "name",
                "resources/read" | "resources/subscribe" | "resources/unsubscribe" => "uri",
                "tasks/get" | "tasks/update" | "tasks/cancel" => "taskId",
                _ => "",
            };
            if let Some(name) = self.value["params"][key].as_str() {
                put("mcp-name", &header_text(name));
            }
        }
        headers
    }

    /// The answer that tells the client why there is none.
    pub(super) fn refusal(&self, why: &str) -> Option<String> {
        self.awaits().map(|id| failure(id, -32000, why))
    }
}

/// A JSON-RPC error.
fn failure(id: &Value, code: i32, message: &str) -> String {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}}).to_string()
}

/// Text that is not plain goes in base64 (2026-07-28, transports).
fn header_text(text: &str) -> String {
    let plain = text.bytes().all(|byte| (0x20..=0x7E).contains(&byte)) && text.trim() == text;
    if plain && !text.starts_with("=?base64?") {
        return text.to_owned();
    }
    format!("=?base64?{}?=", STANDARD.encode(text))
}

/// Takes the messages out of a stream of events (HTML, server-sent events).
#[derive(Debug, Default)]
pub(super) struct Events {
    line: Vec<u8>,
    data: String,
}

impl Events {
    /// The messages that are complete now.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut messages = Vec::new();
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches('\r');
            if let Some(data) = line.strip_prefix("data:") {
                self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
            } else if line.is_empty() && !self.data.is_empty() {
                messages.push(std::mem::take(&mut self.data));
            }
        }
        messages
    }

    /// How much is held of what is not complete.
    pub(super) fn pending(&self) -> usize {
        self.line.len() + self.data.len()
    }
}

/// A message as one line.
pub(super) fn one_line(message: String) -> String {
    if !message.contains(['\n', '\r']) {
        return message;
    }
    // Outside of strings, where JSON has no line breaks, they mean nothing.
    message.replace(['\n', '\r'], " ")
}

/// Whether a line that comes back is the answer to the request of this id.
pub(super) fn answers(line: &str, id: &Value) -> bool {
    #[derive(serde::Deserialize)]
    struct Head {
        #[serde(default)]
        id: Value,
        #[serde(default)]
        method: Option<serde::de::IgnoredAny>,
    }
    serde_json::from_str::<Head>(line).is_ok_and(|head| head.method.is_none() && head.id == *id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(value: &Value) -> Message {
        Message::parse(value.to_string()).unwrap()
    }

    #[test]
    fn headers_say_what_the_body_says() {
        let call = message(&json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": "click", "_meta": {VERSION: "2026-07-28"}},
        }));
        let headers = call.headers(Some("2025-11-25"));
        assert_eq!(headers["mcp-protocol-version"], "2026-07-28");
        assert_eq!(
            (&headers["mcp-method"], &headers["mcp-name"]),
            (&"tools/call".parse().unwrap(), &"click".parse().unwrap())
        );
        let odd = message(&json!({"id": 1, "method": "tools/call", "params": {"name": "klick ü"}}));
        assert_eq!(odd.headers(None)["mcp-name"], "=?base64?a2xpY2sgw7w=?=");
        assert_eq!(odd.headers(Some("2025-11-25"))["mcp-protocol-version"], "2025-11-25");
    }

    #[test]
    fn requests_notifications_and_answers_are_told_apart() {
        let request = message(&json!({"id": "a", "method": "tools/list"}));
        assert_eq!(request.awaits(), Some(&json!("a")));
        assert!(request.refusal("gone").unwrap().contains("\"gone\""));
        let cancel = message(&json!({"method": "notifications/cancelled", "params": {"requestId": 7}}));
        assert_eq!((cancel.awaits(), cancel.cancels()), (None, Some(&json!(7))));
        let answer = message(&json!({"id": 3, "result": {}}));
        assert_eq!((answer.awaits(), answer.refusal("x")), (None, None));
        assert!(answers(r#"{"jsonrpc":"2.0","id":3,"result":{}}"#, &json!(3)));
        assert!(!answers(r#"{"jsonrpc":"2.0","id":3,"method":"ping"}"#, &json!(3)));
        assert!(Message::parse("{".to_owned()).unwrap_err().contains("-32700"));
    }

    #[test]
    fn events_are_taken_from_any_pieces() {
        let stream =
            b": alive\n\nevent: message\ndata: {\"a\":\ndata: 1}\n\nid: 5\r\ndata:{}\r\n\r\ndata: half";
        for size in [1, 2, 7, stream.len()] {
            let mut events = Events::default();
            let messages: Vec<_> = stream.chunks(size).flat_map(|piece| events.take(piece)).collect();
            assert_eq!(messages, ["{\"a\":1}", "{}"], "pieces of {size}");
            assert!(events.pending() > 0);
        }
    }
}
