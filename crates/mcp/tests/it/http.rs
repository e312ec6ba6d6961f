//! Streamable HTTP, without sockets: requests go into the router, time is moved by hand.

use crate::client::{Desk, SCREEN};
use axum::Router;
use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use futures_util::StreamExt as _;
use mcp::http::{HttpConfig, Limit};
use policy::{Caller, CallerKind};
use remote::DisplayId;
use serde_json::{Value, json};
use sessions::testing::plain;
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt as _;

const MODERN: &str = "2026-07-28";
const OLDER: [&str; 3] = ["2025-03-26", "2025-06-18", "2025-11-25"];
const SESSION: &str = "mcp-session-id";

/// A desk behind HTTP.
struct Served {
    desk: Desk,
    config: HttpConfig,
    router: Router,
}

impl Served {
    fn new(config: HttpConfig) -> Self {
        let desk = Desk::ready();
        let router = mcp::http::router(Arc::clone(&desk.gateway), config.clone());
        Self { desk, config, router }
    }

    fn ready() -> Self {
        Self::new(HttpConfig::default())
    }

    /// Sends a request as that credential's.
    async fn send_as(&self, credential: &str, mut request: Request) -> Response {
        let mut caller = Caller::local("test", CallerKind::Model);
        caller.credential = credential.to_owned();
        request.extensions_mut().insert(Arc::new(caller));
        self.router.clone().oneshot(request).await.expect("the router does not fail")
    }

    async fn send(&self, request: Request) -> Response {
        self.send_as("one", request).await
    }

    /// A session of an older revision.
    async fn session(&self, credential: &str, version: &str) -> String {
        let client = json!({ "name": "test", "version": "1" });
        let params = json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": client });
        let response = self.send_as(credential, post(&message("initialize", params))).await;
        assert_eq!(response.status(), StatusCode::OK);
        let id = response.headers()[SESSION].to_str().expect("a session id in text").to_owned();
        let answer = json_of(response).await;
        assert_eq!(answer["result"]["protocolVersion"], version);
        let note = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        let accepted = self.send_as(credential, in_session(post(&note), &id, version)).await;
        assert_eq!(accepted.status(), StatusCode::ACCEPTED);
        id
    }

    /// Calls a tool in the newest revision; gives its result.
    async fn call(&self, tool: &str, arguments: Value) -> Value {
        let response = self.send(modern(tool, arguments)).await;
        assert_eq!(response.status(), StatusCode::OK);
        json_of(response).await["result"].clone()
    }
}

fn message(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
}

fn raw(body: impl Into<Body>) -> Request {
    Request::builder()
        .method(Method::POST)
        .uri("/mcp")
        .header(header::HOST, "localhost:8080")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json, text/event-stream")
        .body(body.into())
        .expect("a request")
}

fn post(message: &Value) -> Request {
    raw(message.to_string())
}

fn with(mut request: Request, name: &'static str, value: &str) -> Request {
    request.headers_mut().insert(name, value.parse().expect("a header's value"));
    request
}

fn in_session(request: Request, id: &str, version: &str) -> Request {
    with(with(request, SESSION, id), "mcp-protocol-version", version)
}

fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    })
}

/// A request of the newest revision.
fn modern_request(method: &str, mut params: Value) -> Request {
    if params["_meta"].is_null() {
        params["_meta"] = meta();
    }
    let request = with(post(&message(method, params.clone())), "mcp-protocol-version", MODERN);
    let request = with(request, "mcp-method", method);
    match params["name"].as_str() {
        Some(name) => with(request, "mcp-name", name),
        None => request,
    }
}

fn modern(tool: &str, arguments: Value) -> Request {
    modern_request("tools/call", json!({ "name": tool, "arguments": arguments }))
}

fn call(tool: &str, arguments: Value) -> Value {
    message("tools/call", json!({ "name": tool, "arguments": arguments }))
}

fn kind(headers: &HeaderMap) -> &str {
    headers.get(header::CONTENT_TYPE).map_or("", |value| value.to_str().expect("a type in text"))
}

async fn json_of(response: Response) -> Value {
    assert_eq!(kind(response.headers()), "application/json");
    let body = axum::body::to_bytes(response.into_body(), 16 << 20).await.expect("a whole body");
    serde_json::from_slice(&body).expect("JSON")
}

/// The code of an error, and the status it came with.
async fn refused(response: Response) -> (u16, i64) {
    let status = response.status().as_u16();
    let answer = json_of(response).await;
    assert!(answer["error"]["message"].as_str().is_some_and(|sentence| !sentence.is_empty()), "{answer}");
    (status, answer["error"]["code"].as_i64().expect("a code"))
}

/// Reads a stream of events.
struct Events(BodyDataStream);

impl Events {
    fn of(response: Response) -> Self {
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(kind(response.headers()), "text/event-stream");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        Self(response.into_body().into_data_stream())
    }

    async fn next(&mut self) -> Option<Bytes> {
        Some(self.0.next().await?.expect("a whole stream"))
    }

    /// The next message, and how many comments came before it.
    async fn message(&mut self) -> Option<(Value, usize)> {
        let mut comments = 0;
        loop {
            let event = self.next().await?;
            let event = std::str::from_utf8(&event).expect("events in text");
            match event.lines().find_map(|line| line.strip_prefix("data:")) {
                Some(data) => return Some((serde_json::from_str(data.trim()).expect("JSON"), comments)),
                None => comments += 1,
            }
        }
    }
}

/// Waits in real or paused time until something holds.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait)
        .await
        .unwrap_or_else(|_| panic!("not in time: {what}"));
}

#[tokio::test(start_paused = true)]
async fn the_newest_revision_needs_no_session() {
    let served = Served::ready();
    let about = served.send(modern_request("server/discover", json!({}))).await;
    assert!(about.headers().get(SESSION).is_none());
    let about = json_of(about).await;
    assert!(about["result"]["supportedVersions"].as_array().unwrap().contains(&json!(MODERN)));
    let tools = json_of(served.send(modern_request("tools/list", json!({}))).await).await;
    assert!(tools["result"]["tools"].as_array().unwrap().len() > 10, "{tools}");

    let connected = served.call("connect", json!({ "target": "kiosk" })).await;
    let session = connected["structuredContent"]["session"].as_str().unwrap();
    let shot = served.call("screenshot", json!({ "session": session })).await;
    assert_eq!(shot["content"][1]["mimeType"], "image/png");
    let unknown = served.send(modern_request("tools/clack", json!({}))).await;
    assert_eq!(refused(unknown).await, (404, -32601));
}

#[tokio::test(start_paused = true)]
async fn older_revisions_have_sessions_that_end_when_told_to() {
    for version in OLDER {
        let served = Served::ready();
        let id = served.session("one", version).await;
        assert!(id.len() >= 32, "nobody guesses {id}");
        let list = message("tools/list", json!({}));
        let tools = json_of(served.send(in_session(post(&list), &id, version)).await).await;
        assert!(tools["result"]["tools"].as_array().unwrap().len() > 10, "{tools}");

        let bare = Request::builder().uri("/mcp").header(header::HOST, "localhost");
        let end = bare.method(Method::DELETE).body(Body::empty()).unwrap();
        assert_eq!(refused(served.send(with(end, SESSION, "unknown")).await).await, (404, -32001));
        let bare = Request::builder().uri("/mcp").header(header::HOST, "localhost");
        let end = bare.method(Method::DELETE).body(Body::empty()).unwrap();
        let ended = served.send(in_session(end, &id, version)).await;
        assert_eq!(ended.status(), StatusCode::NO_CONTENT);
        let after = served.send(in_session(post(&list), &id, version)).await;
        assert_eq!(refused(after).await, (404, -32001));
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_is_unknown_to_other_credentials() {
    let served = Served::ready();
    let id = served.session("one", "2025-11-25").await;
    let list = message("tools/list", json!({}));
    let request = |id: &str| in_session(post(&list), id, "2025-11-25");
    let foreign = json_of(served.send_as("two", request(&id)).await).await;
    let unknown = json_of(served.send_as("two", request("0000")).await).await;
    assert_eq!(foreign, unknown, "nothing tells that it exists");
    let bare = || Request::builder().uri("/mcp").header(header::HOST, "localhost");
    for method in [Method::GET, Method::DELETE] {
        let request = bare().method(method).header(header::ACCEPT, "text/event-stream");
        let request = in_session(request.body(Body::empty()).unwrap(), &id, "2025-11-25");
        assert_eq!(refused(served.send_as("two", request).await).await, (404, -32001));
    }
    assert_eq!(served.send(request(&id)).await.status(), StatusCode::OK);
    assert_eq!(served.config.counters.refused_sessions.get(), 4);
}

#[tokio::test(start_paused = true)]
async fn nobody_calls_without_a_caller_or_by_another_name() {
    let served = Served::ready();
    let ping = message("tools/list", json!({}));
    let anonymous = served.router.clone().oneshot(post(&ping)).await.unwrap();
    assert_eq!(refused(anonymous).await.0, 401);
    let table = [
        ("host", "evil.example"),
        ("host", "localhost.evil.example:8080"),
        ("origin", "http://evil.example"),
        ("origin", "null"),
    ];
    for (name, value) in table {
        let response = served.send(with(post(&ping), name, value)).await;
        assert_eq!(refused(response).await.0, 403, "{name}: {value}");
    }
    assert_eq!(served.config.counters.refused_names.get(), 4);
    let own = with(modern_request("tools/list", json!({})), "origin", "http://localhost:8080");
    assert_eq!(served.send(own).await.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn pages_of_a_named_origin_may_call_and_read() {
    let origin = "https://app.example";
    let allowed_origins = vec![origin.to_owned()];
    let served = Served::new(HttpConfig { allowed_origins, ..HttpConfig::default() });
    let ask = |origin: &str| {
        let ask = Request::builder().method(Method::OPTIONS).uri("/mcp").header(header::HOST, "localhost");
        ask.header(header::ORIGIN, origin).body(Body::empty()).unwrap()
    };
    // Browsers ask without a credential.
    let allowed = served.router.clone().oneshot(ask(origin)).await.unwrap();
    assert_eq!(allowed.status(), StatusCode::NO_CONTENT);
    assert_eq!(allowed.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], origin);
    let sent = allowed.headers()[header::ACCESS_CONTROL_ALLOW_HEADERS].to_str().unwrap();
    assert!(sent.contains("authorization") && sent.contains(SESSION), "{sent}");
    let listed = served.send(with(modern_request("tools/list", json!({})), "origin", origin)).await;
    assert_eq!(listed.status(), StatusCode::OK);
    assert_eq!(listed.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], origin);

    let other = served.router.clone().oneshot(ask("https://evil.example")).await.unwrap();
    assert!(other.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN).is_none());
    assert_eq!(refused(other).await.0, 403);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_no_message_is_told_what_it_is() {
    let served = Served::ready();
    let batch = Value::Array(vec![message("tools/list", json!({})); 10_000]).to_string();
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let deep_in = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{deep}}}");
    let table: [(Vec<u8>, (u16, i64)); 9] = [
        (Vec::new(), (400, -32700)),
        (b"{\"jsonrpc\":\"2.0\",".to_vec(), (400, -32700)),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\xfe\"}".to_vec(), (400, -32700)),
        (deep.into_bytes(), (400, -32700)),
        (deep_in.into_bytes(), (400, -32700)),
        (batch.into_bytes(), (400, -32600)),
        (b"\"tools/list\"".to_vec(), (400, -32600)),
        (b"{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"ping\"}".to_vec(), (400, -32600)),
        (vec![b' '; (4 << 20) + 1], (413, -32000)),
    ];
    for (body, expected) in table {
        let start = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        assert_eq!(refused(served.send(raw(body)).await).await, expected, "{start}");
    }
    for (name, value, status) in [
        ("content-type", "text/plain", 415),
        ("content-type", "application/x-www-form-urlencoded", 415),
        ("accept", "text/html", 406),
        ("mcp-protocol-version", "1999-12-31", 400),
    ] {
        let request = with(post(&message("tools/list", json!({}))), name, value);
        assert_eq!(refused(served.send(request).await).await.0, status, "{name}: {value}");
    }
    let put = Request::builder().method(Method::PUT).uri("/mcp").header(header::HOST, "localhost");
    assert_eq!(refused(served.send(put.body(Body::empty()).unwrap()).await).await.0, 405);
    let list = served.send(modern_request("tools/list", json!({}))).await;
    assert_eq!(list.status(), StatusCode::OK, "it is still there");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_too_slowly_is_given_up() {
    let served = Served::ready();
    let drops = futures_util::stream::unfold(0, async |n| {
        tokio::time::sleep(Duration::from_secs(5)).await;
        Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), n + 1))
    });
    let response = served.send(raw(Body::from_stream(drops))).await;
    assert_eq!(response.headers()[header::CONNECTION], "close");
    assert_eq!(refused(response).await.0, 408);
    assert_eq!(served.config.counters.refused_bodies.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn progress_is_told_in_both_eras_to_those_who_asked() {
    let served = Served::ready();
    let connected = served.call("connect", json!({ "target": "kiosk" })).await;
    assert_eq!(connected["isError"], false, "{connected}");
    let arguments = json!({ "condition": "change", "timeout_ms": 3500 });
    let params = |meta: Value| json!({ "name": "wait_for", "arguments": arguments, "_meta": meta });
    let mut newest = meta();
    newest["progressToken"] = json!("mine");
    let id = served.session("one", "2025-11-25").await;
    let older = message("tools/call", params(json!({ "progressToken": "mine" })));
    let requests =
        [modern_request("tools/call", params(newest)), in_session(post(&older), &id, "2025-11-25")];
    for request in requests {
        let mut events = Events::of(served.send(request).await);
        for n in 1..=3 {
            let (note, _) = events.message().await.unwrap();
            assert_eq!(note["method"], "notifications/progress", "{note}");
            assert_eq!(note["params"]["progressToken"], "mine");
            assert!(note["params"]["progress"].as_f64().unwrap() >= f64::from(n));
        }
        let (answer, _) = events.message().await.unwrap();
        assert_eq!(answer["result"]["structuredContent"]["met"], false);
        assert!(events.next().await.is_none(), "the answer is the last event");
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_silent_call_becomes_a_stream_that_shows_it_is_alive() {
    let served = Served::ready();
    served.call("connect", json!({ "target": "kiosk" })).await;
    let arguments = json!({ "condition": "change", "timeout_ms": 50_000 });
    let id = served.session("one", "2025-06-18").await;
    let older = in_session(post(&call("wait_for", arguments.clone())), &id, "2025-06-18");
    for request in [modern("wait_for", arguments.clone()), older] {
        let start = tokio::time::Instant::now();
        let mut events = Events::of(served.send(request).await);
        assert!(start.elapsed() <= served.config.patience + Duration::from_millis(10));
        let (answer, comments) = events.message().await.unwrap();
        assert_eq!(answer["result"]["structuredContent"]["met"], false, "{answer}");
        assert_eq!(comments, 3);
        assert!(events.next().await.is_none());
    }
    assert_eq!(served.config.counters.abandoned.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_is_dropped_when_its_client_goes_away() {
    let served = Served::ready();
    served.call("connect", json!({ "target": "kiosk" })).await;
    let peer = served.desk.peer();
    let typing = json!({ "text": "a".repeat(5000) });
    let id = served.session("one", "2025-11-25").await;
    let older = || in_session(post(&call("type_text", typing.clone())), &id, "2025-11-25");
    for request in [modern("type_text", typing.clone()), older()] {
        let before = peer.typed().len();
        let abandoned = served.config.counters.abandoned.get();
        tokio::select! {
            response = served.send(request) => panic!("answered: {}", response.status()),
            () = until("the first characters", || peer.typed().len() > before) => {}
        }
        assert_eq!(served.config.counters.abandoned.get(), abandoned + 1);
        // The same key works at once, because nothing is typed any more.
        let next = served.call("press_key", json!({ "key": "b" })).await;
        assert_eq!(next["isError"], false, "{next}");
        let typed = peer.typed().len();
        assert!(typed - before < 5000, "{typed}");
        served.call("press_key", json!({ "key": "c" })).await;
        assert_eq!(peer.typed().len(), typed, "what was not sent by then is never sent");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_read_any_more_drops_its_call() {
    let served = Served::ready();
    served.call("connect", json!({ "target": "kiosk" })).await;
    let wait = json!({ "condition": "change", "timeout_ms": 60_000 });
    let events = Events::of(served.send(modern("wait_for", wait)).await);
    drop(events);
    assert_eq!(served.config.counters.abandoned.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_session_cancels_a_call_by_its_id() {
    let served = Served::ready();
    served.call("connect", json!({ "target": "kiosk" })).await;
    let peer = served.desk.peer();
    let id = served.session("one", "2025-11-25").await;
    let typing = call("type_text", json!({ "text": "a".repeat(5000) }));
    let running = served.send(in_session(post(&typing), &id, "2025-11-25"));
    let cancel = async {
        until("the first characters", || !peer.typed().is_empty()).await;
        let params = json!({ "requestId": 1, "reason": "enough" });
        let note = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params });
        served.send(in_session(post(&note), &id, "2025-11-25")).await
    };
    let (answer, accepted) = tokio::join!(running, cancel);
    assert_eq!(accepted.status(), StatusCode::ACCEPTED);
    assert!(Events::of(answer).next().await.is_none(), "a cancelled call has no answer");
    served.call("press_key", json!({ "key": "b" })).await;
    assert!(peer.typed().len() < 5000);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_session_takes_its_calls_with_it() {
    let served = Served::ready();
    served.call("connect", json!({ "target": "kiosk" })).await;
    let peer = served.desk.peer();
    let id = served.session("one", "2025-11-25").await;
    let typing = call("type_text", json!({ "text": "a".repeat(5000) }));
    let running = served.send(in_session(post(&typing), &id, "2025-11-25"));
    let delete = async {
        until("the first characters", || !peer.typed().is_empty()).await;
        let bare = Request::builder().method(Method::DELETE).uri("/mcp").header(header::HOST, "localhost");
        served.send(in_session(bare.body(Body::empty()).unwrap(), &id, "2025-11-25")).await
    };
    let (answer, deleted) = tokio::join!(running, delete);
    assert!(deleted.status().is_success());
    assert!(Events::of(answer).next().await.is_none());
    served.call("press_key", json!({ "key": "b" })).await;
    assert!(peer.typed().len() < 5000);
}

#[tokio::test(start_paused = true)]
async fn stopping_lets_calls_finish_and_ends_what_only_listens() {
    let served = Served::ready();
    served.call("connect", json!({ "target": "kiosk" })).await;
    let peer = served.desk.peer();
    let id = served.session("one", "2025-11-25").await;
    let listen = Request::builder().uri("/mcp").header(header::HOST, "localhost");
    let listen = listen.header(header::ACCEPT, "text/event-stream").body(Body::empty()).unwrap();
    let mut listening = Events::of(served.send(in_session(listen, &id, "2025-11-25")).await);
    let wait = json!({ "condition": "change", "timeout_ms": 60_000 });
    let waiting = served.send(modern("wait_for", wait));
    let stop = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        served.config.stop.cancel();
        assert!(listening.next().await.is_none());
        let refused_now = served.send(modern_request("tools/list", json!({}))).await;
        assert_eq!(refused_now.headers()[header::RETRY_AFTER], "1");
        assert_eq!(refused(refused_now).await.0, 503);
        peer.show(DisplayId(0), plain(SCREEN, [200, 30, 30]));
    };
    let (answer, ()) = tokio::join!(waiting, stop);
    assert_eq!(json_of(answer).await["result"]["structuredContent"]["met"], true);
}

#[tokio::test(start_paused = true)]
async fn stopping_does_not_wait_for_ever() {
    let served = Served::ready();
    served.call("connect", json!({ "target": "kiosk" })).await;
    let wait = json!({ "condition": "change", "timeout_ms": 60_000 });
    let mut events = Events::of(served.send(modern("wait_for", wait)).await);
    served.config.stop.cancel();
    let start = tokio::time::Instant::now();
    while events.next().await.is_some() {}
    assert_eq!(start.elapsed().as_secs(), served.config.grace.as_secs());
}

#[tokio::test(start_paused = true)]
async fn dropping_the_router_ends_its_sessions() {
    let served = Served::ready();
    let id = served.session("one", "2025-11-25").await;
    let listen = Request::builder().uri("/mcp").header(header::HOST, "localhost");
    let listen = listen.header(header::ACCEPT, "text/event-stream").body(Body::empty()).unwrap();
    let mut listening = Events::of(served.send(in_session(listen, &id, "2025-11-25")).await);
    drop(served);
    assert!(listening.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn one_caller_may_hold_only_so_much() {
    let max_requests = Limit { each: 2, all: 3 };
    let max_sessions = Limit { each: 2, all: 8 };
    let served = Served::new(HttpConfig { max_requests, max_sessions, ..HttpConfig::default() });
    served.call("connect", json!({ "target": "kiosk" })).await;
    let wait = || modern("wait_for", json!({ "condition": "change", "timeout_ms": 60_000 }));
    let held = [served.send(wait()).await, served.send(wait()).await];
    let busy = served.send(wait()).await;
    assert_eq!(busy.headers()[header::RETRY_AFTER], "1");
    assert_eq!(refused(busy).await.0, 429);
    let connected = served.send_as("two", modern("connect", json!({ "target": "office" }))).await;
    assert_eq!(json_of(connected).await["result"]["isError"], false);
    let third = served.send_as("two", wait()).await;
    assert_eq!(refused(served.send_as("three", wait()).await).await.0, 503);
    drop((held, third));
    assert_eq!(served.config.counters.refused_busy.get(), 2);

    let first = served.session("one", "2025-11-25").await;
    let _second = served.session("one", "2025-11-25").await;
    let _third = served.session("one", "2025-11-25").await;
    let list = in_session(post(&message("tools/list", json!({}))), &first, "2025-11-25");
    assert_eq!(refused(served.send(list).await).await, (404, -32001), "it made room");
    assert_eq!(served.config.counters.sessions_displaced.get(), 1);
}
