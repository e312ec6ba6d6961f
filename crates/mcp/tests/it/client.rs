//! An MCP client that knows nothing but JSON lines, and a desk to use it on.

use mcp::{CallOutcome, Gateway, GatewayConfig};
use policy::{Caller, CallerKind};
use remote::{Connector, Secret, Size, Target};
use serde_json::{Value, json};
use sessions::testing::{FakeConnector, FakePeer};
use sessions::{FileSecrets, SecretRef, Sessions, SessionsConfig, TargetEntry};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, ReadHalf, WriteHalf};
use tokio_util::sync::CancellationToken;

pub(crate) const SCREEN: Size = Size::new(1280, 800);

/// A gateway with the targets `kiosk` and `office`, whose peers a test scripts.
pub(crate) struct Desk {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) caller: Arc<Caller>,
    connector: Arc<FakeConnector>,
}

impl Desk {
    pub(crate) fn ready() -> Self {
        Self::new(|_| FakePeer::ready(SCREEN))
    }

    pub(crate) fn new(make: impl Fn(&Target) -> FakePeer + Send + Sync + 'static) -> Self {
        Self::with(SessionsConfig::default(), make)
    }

    pub(crate) fn with(
        config: SessionsConfig,
        make: impl Fn(&Target) -> FakePeer + Send + Sync + 'static,
    ) -> Self {
        let connector = FakeConnector::new(make);
        let entry = |name: &str| TargetEntry {
            target: Target {
                name: name.to_owned(),
                address: format!("{name}.example"),
                tags: vec!["lab".to_owned()],
                ..Target::default()
            },
            password: Some(SecretRef::Inline(Secret::new("hunter2"))),
            description: format!("the {name}"),
            ..TargetEntry::default()
        };
        let connectors: Vec<Arc<dyn Connector>> = vec![Arc::clone(&connector) as _];
        let targets = vec![entry("kiosk"), entry("office")];
        let sessions = Sessions::new(config, connectors, targets, Arc::new(FileSecrets::default()));
        let gateway =
            Gateway::new(Arc::new(sessions), GatewayConfig::default()).expect("the default toolsets exist");
        let caller = Arc::new(Caller::local("test", CallerKind::Model));
        Self { gateway: Arc::new(gateway), caller, connector }
    }

    /// Calls a tool within the process; whatever comes of it has to fit the tool's output schema.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> CallOutcome {
        let outcome = self.gateway.call(&self.caller, tool, arguments).await.expect("the tool exists");
        let about =
            self.gateway.tools(&self.caller).find(|about| about.name == tool).expect("the tool is listed");
        let schema = Value::Object(about.output_schema.as_deref().expect("every tool has one").clone());
        check_shape(&schema, &outcome.structured, tool);
        outcome
    }

    /// Calls a tool that has to succeed.
    pub(crate) async fn ok(&self, tool: &str, arguments: Value) -> Value {
        let outcome = self.call(tool, arguments).await;
        assert!(!outcome.is_error, "{tool}: {}", outcome.text());
        outcome.structured
    }

    /// Calls a tool that has to fail; gives the failure, whose form is checked.
    pub(crate) async fn fail(&self, tool: &str, arguments: Value) -> Value {
        let outcome = self.call(tool, arguments).await;
        assert!(outcome.is_error, "{tool}: {}", outcome.text());
        for member in ["code", "message", "try_next"] {
            let text = outcome.structured[member].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{member} is missing: {}", outcome.text());
        }
        assert!(outcome.images.is_empty());
        outcome.structured
    }

    pub(crate) async fn connect(&self, target: &str) -> String {
        let connected = self.ok("connect", json!({ "target": target })).await;
        connected["session"].as_str().expect("a handle").to_owned()
    }

    /// The peer of the session opened last.
    pub(crate) fn peer(&self) -> FakePeer {
        self.connector.opened().pop().expect("a session was opened")
    }

    /// A client on the other end of a pipe, before any handshake.
    pub(crate) fn attach(&self) -> Client {
        let (near, far) = tokio::io::duplex(4 << 20);
        let (read, write) = tokio::io::split(far);
        let stop = CancellationToken::new();
        let server = tokio::spawn(mcp::serve(
            Arc::clone(&self.gateway),
            Arc::clone(&self.caller),
            read,
            write,
            stop.clone(),
        ));
        let (read, write) = tokio::io::split(near);
        Client { read: BufReader::new(read), write, next_id: 0, notes: Vec::new(), server, stop }
    }

    /// A client that made the handshake of that revision.
    pub(crate) async fn client(&self, version: &str) -> Client {
        let mut client = self.attach();
        let greeting = client.initialize(version).await;
        assert_eq!(greeting["result"]["protocolVersion"], version);
        client.notify("notifications/initialized", json!({})).await;
        client
    }
}

pub(crate) struct Client {
    read: BufReader<ReadHalf<DuplexStream>>,
    write: WriteHalf<DuplexStream>,
    next_id: u64,
    /// Notifications that came while waiting for answers.
    pub(crate) notes: Vec<Value>,
    pub(crate) server: tokio::task::JoinHandle<Result<(), mcp::ServeError>>,
    pub(crate) stop: CancellationToken,
}

impl Client {
    /// Hangs up; gives how the server took it.
    pub(crate) async fn leave(self) -> Result<(), mcp::ServeError> {
        let Self { read, write, server, .. } = self;
        drop((read, write));
        server.await.expect("the server does not panic")
    }

    pub(crate) async fn initialize(&mut self, version: &str) -> Value {
        let client = json!({ "name": "test", "version": "1" });
        self.request(
            "initialize",
            json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": client }),
        )
        .await
    }

    pub(crate) async fn send(&mut self, message: &Value) {
        let line = format!("{message}\n");
        self.write.write_all(line.as_bytes()).await.expect("the server listens");
    }

    pub(crate) async fn notify(&mut self, method: &str, params: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params })).await;
    }

    /// Sends a request without waiting; gives its id.
    pub(crate) async fn begin(&mut self, method: &str, params: Value) -> u64 {
        self.next_id += 1;
        let id = self.next_id;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })).await;
        id
    }

    /// The next message; every line has to be one.
    pub(crate) async fn receive(&mut self) -> Value {
        let mut line = String::new();
        let read = tokio::time::timeout(Duration::from_secs(120), self.read.read_line(&mut line)).await;
        read.expect("an answer in time").expect("a readable pipe");
        let message: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        assert_eq!(message["jsonrpc"], "2.0");
        message
    }

    pub(crate) async fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.begin(method, params).await;
        loop {
            let message = self.receive().await;
            if message["id"] == id {
                return message;
            }
            self.notes.push(message);
        }
    }

    /// Calls a tool; gives the result member.
    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let answer = self.request("tools/call", json!({ "name": tool, "arguments": arguments })).await;
        assert!(answer.get("error").is_none(), "{answer}");
        answer["result"].clone()
    }
}

/// What an image's bytes say it is.
pub(crate) fn size_of_png(file: &[u8]) -> Size {
    assert_eq!(&file[..8], b"\x89PNG\r\n\x1a\n");
    let side = |at: usize| u32::from_be_bytes(file[at..at + 4].try_into().expect("four bytes"));
    Size::new(side(16), side(20))
}

/// Checks what clients check: members are known and of the right type, the required ones are there.
fn check_shape(schema: &Value, value: &Value, path: &str) {
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let fits = |name: &&str| match *name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        _ => false,
    };
    assert!(types.is_empty() || types.iter().any(fits), "{path}: {value} is none of {types:?}");
    if let Some(either) = schema["anyOf"].as_array().filter(|_| schema["type"] == "object") {
        assert!(either.iter().any(|one| has_required(one, value)), "{path}: {value} fits neither form");
    }
    assert!(has_required(schema, value), "{path}: {value} lacks a required member");
    if let (Some(members), Some(known)) = (value.as_object(), schema["properties"].as_object()) {
        for (name, member) in members {
            let inner = known.get(name).unwrap_or_else(|| panic!("{path}: {name} is not in the schema"));
            check_shape(inner, member, &format!("{path}.{name}"));
        }
    }
    for item in value.as_array().into_iter().flatten() {
        check_shape(&schema["items"], item, &format!("{path}[]"));
    }
}

fn has_required(schema: &Value, value: &Value) -> bool {
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    required.into_iter().all(|name| value.get(name).is_some())
}
