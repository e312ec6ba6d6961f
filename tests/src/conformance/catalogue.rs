//! The suite's fixed names and values.

use rmcp::model::{Implementation, ServerCapabilities};
use serde_json::{Value, json};

/// One red pixel.
const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC";

/// No sound at all, 8 kHz, 8 bits.
const WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA=";

pub(super) fn capabilities() -> ServerCapabilities {
    let capabilities = json!({
        "tools": { "listChanged": true },
        "prompts": { "listChanged": true },
        "resources": { "subscribe": true, "listChanged": true },
        "completions": {},
        "logging": {},
    });
    serde_json::from_value(capabilities).unwrap_or_default()
}

pub(super) fn about() -> Implementation {
    Implementation::new("deskhand-conformance", env!("CARGO_PKG_VERSION"))
}

fn tool(name: &str, description: &str, properties: Value, required: &[&str]) -> Value {
    let schema = json!({ "type": "object", "properties": properties, "required": required });
    json!({ "name": name, "description": description, "inputSchema": schema })
}

pub(super) fn tools() -> Vec<Value> {
    let plain = |name: &str, description: &str| tool(name, description, json!({}), &[]);
    let word = json!({ "type": "string" });
    let region = json!({ "type": "string", "x-mcp-header": "Region" });
    let mut tools = vec![
        plain("test_simple_text", "Answers with a sentence"),
        plain("test_image_content", "Answers with a picture"),
        plain("test_audio_content", "Answers with a sound"),
        plain("test_embedded_resource", "Answers with a resource"),
        plain("test_multiple_content_types", "Answers with a sentence, a picture and a resource"),
        plain("test_tool_with_logging", "Logs three messages"),
        plain("test_logging_tool", "Logs three messages if asked to"),
        plain("test_error_handling", "Fails"),
        plain("test_tool_with_progress", "Tells its progress three times"),
        plain("test_missing_capability", "Needs a client that can sample"),
        plain("test_streaming_elicitation", "Needs to know a name"),
        plain("test_trigger_tool_change", "Says that the tools changed"),
        plain("test_trigger_prompt_change", "Says that the prompts changed"),
        tool("test_sampling", "Asks the client's model", json!({ "prompt": word }), &["prompt"]),
        tool("test_elicitation", "Asks the client's user", json!({ "message": word }), &["message"]),
        plain("test_elicitation_sep1034_defaults", "Asks with defaults"),
        plain("test_elicitation_sep1330_enums", "Asks for choices"),
        tool("test_x_mcp_header", "Repeats an argument of a header", json!({ "region": region }), &[]),
        json!({
            "name": "json_schema_2020_12_tool",
            "description": "Tool with JSON Schema 2020-12 features",
            "inputSchema": rich_schema(),
        }),
    ];
    let asking = [
        "elicitation",
        "sampling",
        "list_roots",
        "request_state",
        "multiple_inputs",
        "multi_round",
        "tampered_state",
        "capabilities",
    ];
    let asking =
        asking.map(|kind| plain(&format!("test_input_required_result_{kind}"), "Asks before it answers"));
    tools.extend(asking);
    tools
}

fn rich_schema() -> Value {
    let word = json!({ "type": "string" });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": { "street": word, "city": word },
            },
        },
        "properties": {
            "name": word,
            "address": { "$ref": "#/$defs/address" },
            "contactMethod": { "type": "string", "enum": ["phone", "email"] },
            "phone": word,
            "email": word,
        },
        "allOf": [{ "anyOf": [{ "required": ["phone"] }, { "required": ["email"] }] }],
        "if": { "properties": { "contactMethod": { "const": "phone" } }, "required": ["contactMethod"] },
        "then": { "required": ["phone"] },
        "else": { "required": ["email"] },
        "additionalProperties": false,
    })
}

/// What the tools answer that always answer the same.
pub(super) fn content(tool: &str) -> Option<Value> {
    let image = json!({ "type": "image", "data": PNG, "mimeType": "image/png" });
    let content = match tool {
        "test_simple_text" => super::text("This is a simple text response for testing."),
        "test_image_content" => json!([image]),
        "test_audio_content" => json!([{ "type": "audio", "data": WAV, "mimeType": "audio/wav" }]),
        "test_embedded_resource" => json!([embedded(
            "test://embedded-resource",
            "text/plain",
            "This is an embedded resource content."
        )]),
        "test_multiple_content_types" => json!([
            { "type": "text", "text": "Multiple content types test:" },
            image,
            embedded("test://mixed-content-resource", "application/json", "{\"test\":\"data\",\"value\":123}"),
        ]),
        "json_schema_2020_12_tool" => super::text("Tool with JSON Schema 2020-12 features"),
        _ => return None,
    };
    Some(content)
}

fn embedded(uri: &str, mime_type: &str, text: &str) -> Value {
    json!({ "type": "resource", "resource": { "uri": uri, "mimeType": mime_type, "text": text } })
}

/// The message, the form and the begin of the answer of a tool that asks the client's user.
pub(super) fn elicitation(tool: &str, arguments: &Value) -> (String, Value, &'static str) {
    let of = |properties: Value, required: &[&str]| json!({ "type": "object", "properties": properties, "required": required });
    match tool {
        "test_elicitation_sep1034_defaults" => {
            let statuses = ["active", "inactive", "pending"];
            let form = json!({
                "name": { "type": "string", "default": "John Doe" },
                "age": { "type": "integer", "default": 30 },
                "score": { "type": "number", "default": 95.5 },
                "status": { "type": "string", "enum": statuses, "default": "active" },
                "verified": { "type": "boolean", "default": true },
            });
            ("Review the values".to_owned(), of(form, &[]), "Elicitation completed")
        }
        "test_elicitation_sep1330_enums" => {
            ("Choose".to_owned(), of(choices(), &[]), "Elicitation completed")
        }
        _ => {
            let form = json!({
                "username": { "type": "string", "description": "User's response" },
                "email": { "type": "string", "description": "User's email address" },
            });
            let message = arguments["message"].as_str().unwrap_or_default().to_owned();
            (message, of(form, &["username", "email"]), "User response")
        }
    }
}

fn choices() -> Value {
    let titled = |value: &str, title: &str| json!({ "const": value, "title": title });
    let titles = json!([
        titled("value1", "First Option"),
        titled("value2", "Second Option"),
        titled("value3", "Third Option")
    ]);
    let several = json!([
        titled("value1", "First Choice"),
        titled("value2", "Second Choice"),
        titled("value3", "Third Choice")
    ]);
    let plain = ["option1", "option2", "option3"];
    json!({
        "untitledSingle": { "type": "string", "enum": plain },
        "titledSingle": { "type": "string", "oneOf": titles },
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": { "type": "array", "items": { "type": "string", "enum": plain } },
        "titledMulti": { "type": "array", "items": { "anyOf": several } },
    })
}

pub(super) fn resources() -> Vec<Value> {
    let resource = |uri: &str, name: &str, mime_type: &str| json!({ "uri": uri, "name": name, "description": format!("The {name}"), "mimeType": mime_type });
    vec![
        resource("test://static-text", "static text", "text/plain"),
        resource("test://static-binary", "static picture", "image/png"),
        resource("test://watched-resource", "watched resource", "text/plain"),
    ]
}

pub(super) fn templates() -> Vec<Value> {
    vec![json!({
        "uriTemplate": "test://template/{id}/data",
        "name": "templated data",
        "description": "Data by number",
        "mimeType": "application/json",
    })]
}

/// The contents of a resource.
pub(super) fn resource(uri: &str) -> Option<Value> {
    let text = |mime_type: &str, text: String| json!({ "uri": uri, "mimeType": mime_type, "text": text });
    match uri {
        "test://static-text" => {
            Some(text("text/plain", "This is the content of the static text resource.".to_owned()))
        }
        "test://static-binary" => Some(json!({ "uri": uri, "mimeType": "image/png", "blob": PNG })),
        "test://watched-resource" => Some(text("text/plain", "It never changes.".to_owned())),
        _ => {
            let id = uri.strip_prefix("test://template/")?.strip_suffix("/data")?;
            let data = json!({ "id": id, "templateTest": true, "data": format!("Data for ID: {id}") });
            Some(text("application/json", data.to_string()))
        }
    }
}

pub(super) fn prompts() -> Vec<Value> {
    let argument =
        |name: &str| json!({ "name": name, "description": format!("The {name}"), "required": true });
    let prompt = |name: &str, arguments: &[&str]| {
        let arguments: Vec<_> = arguments.iter().map(|name| argument(name)).collect();
        json!({ "name": name, "description": format!("The prompt {name}"), "arguments": arguments })
    };
    vec![
        prompt("test_simple_prompt", &[]),
        prompt("test_prompt_with_arguments", &["arg1", "arg2"]),
        prompt("test_prompt_with_embedded_resource", &["resourceUri"]),
        prompt("test_prompt_with_image", &[]),
        prompt("test_input_required_result_prompt", &[]),
    ]
}

/// The messages of a prompt.
pub(super) fn prompt(name: &str, arguments: &Value) -> Option<Value> {
    let user = |content: Value| json!({ "role": "user", "content": content });
    let says = |text: String| user(json!({ "type": "text", "text": text }));
    let argument = |name: &str| arguments[name].as_str().unwrap_or_default();
    let messages = match name {
        "test_simple_prompt" => json!([says("This is a simple prompt for testing.".to_owned())]),
        "test_prompt_with_arguments" => {
            let (first, second) = (argument("arg1"), argument("arg2"));
            json!([says(format!("Prompt with arguments: arg1='{first}', arg2='{second}'"))])
        }
        "test_prompt_with_embedded_resource" => json!([
            user(embedded(argument("resourceUri"), "text/plain", "Embedded resource content for testing.")),
            says("Please process the embedded resource above.".to_owned()),
        ]),
        "test_prompt_with_image" => json!([
            user(json!({ "type": "image", "data": PNG, "mimeType": "image/png" })),
            says("Please analyze the image above.".to_owned()),
        ]),
        _ => return None,
    };
    Some(messages)
}
