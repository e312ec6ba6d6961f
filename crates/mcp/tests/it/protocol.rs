use crate::client::{Desk, size_of_png};
use base64::Engine as _;
use serde_json::{Value, json};
use std::time::Duration;

const TOOLS: [&str; 13] = [
    "target_list",
    "connect",
    "disconnect",
    "session_list",
    "session_status",
    "screenshot",
    "wait_for",
    "move_mouse",
    "click",
    "drag",
    "scroll",
    "type_text",
    "press_key",
];

#[tokio::test(start_paused = true)]
async fn every_revision_with_a_handshake_is_spoken_as_asked() {
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let desk = Desk::ready();
        let mut client = desk.attach();
        let greeting = client.initialize(version).await;
        let result = &greeting["result"];
        assert_eq!(result["protocolVersion"], version);
        assert_eq!(result["serverInfo"]["name"], "deskhand");
        assert!(result["capabilities"]["tools"].is_object());
        assert!(result["instructions"].as_str().unwrap().contains("untrusted"));
        client.notify("notifications/initialized", json!({})).await;
        let tools = client.request("tools/list", json!({})).await;
        assert_eq!(tools["result"]["tools"].as_array().unwrap().len(), TOOLS.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_revision_nobody_knows_is_answered_with_one_that_is_spoken() {
    let desk = Desk::ready();
    let greeting = desk.attach().initialize("1999-12-31").await;
    assert_eq!(greeting["result"]["protocolVersion"], "2025-11-25");
}

#[tokio::test(start_paused = true)]
async fn the_revision_without_a_handshake_is_spoken_too() {
    let desk = Desk::ready();
    let mut client = desk.attach();
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let about = client.request("server/discover", json!({ "_meta": meta })).await;
    let versions = about["result"]["supportedVersions"].as_array().expect("a list of revisions");
    assert!(versions.contains(&json!("2026-07-28")), "{about}");
    let tools = client.request("tools/list", json!({ "_meta": meta })).await;
    assert_eq!(tools["result"]["tools"].as_array().unwrap().len(), TOOLS.len(), "{tools}");
    let call = json!({ "name": "session_list", "arguments": {}, "_meta": meta });
    let answer = client.request("tools/call", call).await;
    assert_eq!(answer["result"]["structuredContent"], json!({ "sessions": [] }), "{answer}");
    assert_eq!(answer["result"]["resultType"], "complete");
}

#[tokio::test(start_paused = true)]
async fn the_tools_are_these_and_each_tells_all_about_itself() {
    let desk = Desk::ready();
    let mut client = desk.client("2025-11-25").await;
    let tools = client.request("tools/list", json!({})).await["result"]["tools"].clone();
    let tools = tools.as_array().unwrap();
    let names: Vec<_> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, TOOLS);
    for tool in tools {
        let name = &tool["name"];
        assert!(tool["description"].as_str().unwrap().len() > 15, "{name}");
        assert!(!tool["title"].as_str().unwrap().is_empty(), "{name}");
        let hints = &tool["annotations"];
        for hint in ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"] {
            assert!(hints[hint].is_boolean(), "{name} {hint}");
        }
        assert_eq!(tool["inputSchema"]["type"], "object", "{name}");
        assert_eq!(
            tool["inputSchema"]["additionalProperties"], false,
            "{name}: unknown arguments are refused"
        );
        assert!(tool["inputSchema"]["properties"].is_object(), "{name}");
        assert_eq!(tool["outputSchema"]["type"], "object", "{name}");
        let result = tool["outputSchema"]["properties"].as_object().unwrap();
        assert!(result.contains_key("try_next"), "{name}: failures fit too");
        let required: Vec<_> = tool["outputSchema"]["anyOf"].as_array().unwrap().iter().collect();
        assert_eq!(required.len(), 2, "{name}");
        for member in required.iter().flat_map(|either| either["required"].as_array().unwrap()) {
            assert!(result.contains_key(member.as_str().unwrap()), "{name}: {member}");
        }
        check_schema(&tool["inputSchema"], name);
        check_schema(&tool["outputSchema"], name);
    }
    let read_only = |name: &str| {
        let tool = tools.iter().find(|tool| tool["name"] == name).unwrap();
        tool["annotations"]["readOnlyHint"] == true
    };
    assert!(read_only("screenshot") && read_only("wait_for"));
    assert!(!read_only("click") && !read_only("connect"));
}

/// No references that clients fail to follow, no formats that they warn about.
fn check_schema(schema: &Value, name: &Value) {
    match schema {
        Value::Object(members) => {
            assert!(!members.contains_key("$ref") && !members.contains_key("$defs"), "{name}");
            let is_keyword = members.get("format").is_some_and(Value::is_string);
            assert!(!is_keyword, "{name}: {schema}");
            members.values().for_each(|member| check_schema(member, name));
        }
        Value::Array(items) => items.iter().for_each(|item| check_schema(item, name)),
        _ => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_result_has_structured_content_its_text_and_pictures() {
    let desk = Desk::ready();
    let mut client = desk.client("2025-06-18").await;
    let connected = client.call("connect", json!({ "target": "kiosk" })).await;
    assert_eq!(connected["isError"], false);
    assert_eq!(connected["structuredContent"]["state"], "ready");

    let shot = client.call("screenshot", json!({})).await;
    let content = shot["content"].as_array().unwrap();
    assert_eq!(content.len(), 2);
    let text: Value = serde_json::from_str(content[0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(text, shot["structuredContent"]);
    assert_eq!(
        (content[1]["type"].as_str(), content[1]["mimeType"].as_str()),
        (Some("image"), Some("image/png"))
    );
    let file =
        base64::engine::general_purpose::STANDARD.decode(content[1]["data"].as_str().unwrap()).unwrap();
    let size = size_of_png(&file);
    assert_eq!(shot["structuredContent"]["size"], json!({ "width": size.width, "height": size.height }));
    assert!(shot.get("resultType").is_none(), "older revisions do not know it");
}

#[tokio::test(start_paused = true)]
async fn mistakes_in_a_call_are_results_and_mistakes_in_the_protocol_are_errors() {
    let desk = Desk::ready();
    let mut client = desk.client("2025-11-25").await;
    let refused = client.call("click", json!({ "x": 1, "y": 2, "buttom": "left" })).await;
    assert_eq!(refused["isError"], true);
    assert_eq!(refused["structuredContent"]["code"], "invalid_argument");
    assert!(refused["structuredContent"]["message"].as_str().unwrap().contains("buttom"));

    let unknown = client.request("tools/call", json!({ "name": "clack", "arguments": {} })).await;
    assert_eq!(unknown["error"]["code"], -32602);
    assert!(unknown["error"]["message"].as_str().unwrap().contains("click"));
    let method = client.request("tools/clack", json!({})).await;
    assert_eq!(method["error"]["code"], -32601);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_call_tells_that_it_is_alive_to_those_who_asked() {
    let desk = Desk::ready();
    let mut client = desk.client("2025-11-25").await;
    client.call("connect", json!({ "target": "kiosk" })).await;
    let wait = json!({
        "name": "wait_for",
        "arguments": { "condition": "change", "timeout_ms": 3500 },
        "_meta": { "progressToken": "mine" },
    });
    let answer = client.request("tools/call", wait).await;
    assert_eq!(answer["result"]["structuredContent"]["met"], false);
    let progress: Vec<f64> = client
        .notes
        .iter()
        .filter(|note| {
            note["method"] == "notifications/progress" && note["params"]["progressToken"] == "mine"
        })
        .map(|note| note["params"]["progress"].as_f64().unwrap())
        .collect();
    assert_eq!(progress.len(), 3, "{:?}", client.notes);
    assert!(progress.is_sorted());

    client.notes.clear();
    client.call("wait_for", json!({ "condition": "change", "timeout_ms": 2500 })).await;
    assert!(client.notes.is_empty(), "who did not ask is not told");
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_stops_and_the_next_one_is_served() {
    let desk = Desk::ready();
    let mut client = desk.client("2025-11-25").await;
    client.call("connect", json!({ "target": "kiosk" })).await;
    let text = "a".repeat(5000);
    let typing = json!({ "name": "type_text", "arguments": { "text": text } });
    let id = client.begin("tools/call", typing).await;
    let peer = desk.peer();
    let typing = async {
        while peer.typed().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), typing).await.expect("the first run arrives");
    client.notify("notifications/cancelled", json!({ "requestId": id })).await;
    let next = client.call("press_key", json!({ "key": "b", "settle": false })).await;
    assert_eq!(next["isError"], false);
    let typed = peer.typed().len();
    assert!(typed < 5000, "{typed}");
    client.call("press_key", json!({ "key": "c" })).await;
    assert_eq!(peer.typed().len(), typed, "what was not sent by then is never sent");
}

#[tokio::test(start_paused = true)]
async fn serving_ends_with_the_client_and_with_the_token() {
    let desk = Desk::ready();
    desk.client("2025-11-25").await.leave().await.unwrap();
    desk.attach().leave().await.unwrap();

    let client = desk.client("2025-11-25").await;
    client.stop.cancel();
    client.server.await.unwrap().unwrap();

    let silent = desk.attach();
    silent.stop.cancel();
    silent.server.await.unwrap().unwrap();
}
