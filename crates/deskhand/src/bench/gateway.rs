//! The gateway over HTTP on loopback: what a tool call costs beside the tool, for one client and for many, and
//! what a picture costs more than within the process. Clients and server share the process and its CPUs.

use super::compare::{Bench, Budget, Figure};
use super::session::desktop::{ADDRESS, Canvas, Stage};
use super::{BenchError, Options, Row, median, system};
use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use mcp::http::{HttpConfig, Limit};
use mcp::{Gateway, GatewayConfig};
use policy::{Caller, CallerKind};
use remote::{Connector, Frame, Size};
use serde_json::{Value, json};
use sessions::{FileSecrets, Sessions, SessionsConfig};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const ONE: &str = "call, one client";
const MANY: &str = "call, 200 clients";
const MANY_SLOWEST: &str = "call, 200 clients, 99th of 100";
const FULL: &str = "calls a second, 200 clients";
const PICTURE: &str = "screenshot, 1280x800";
const WITHIN: &str = "within the process";

const BENCH: Bench = Bench {
    name: "gateway",
    budgets: &[Budget::at_most(ONE, 1.0), Budget::at_most(MANY, 1.0), Budget::ratio(PICTURE, WITHIN, 0.77)],
};

const CLIENTS: u32 = 200;
const IDLE_SESSIONS: usize = 100;
const SIZE: Size = Size::new(1280, 800);

/// Of each client of many: models think longer between two calls.
const PAUSE: Duration = Duration::from_millis(200);

const VERSION: &str = "2026-07-28";

pub(crate) fn run(options: &Options, emit: &mut dyn FnMut(Row)) -> Result<(), BenchError> {
    let cases = [ONE, MANY, FULL, PICTURE];
    if !cases.iter().any(|case| options.wants(BENCH.name, case)) {
        return Ok(());
    }
    let runtime = tokio::runtime::Runtime::new().map_err(system("starting a runtime"))?;
    runtime.block_on(async {
        let server = Server::start().await?;
        let all = options.time * u32::try_from(options.runs.max(1)).unwrap_or(1);
        let mut own = |figure: Figure| BENCH.rows(&figure, [(BENCH.name, figure.value)], emit);
        if options.wants(BENCH.name, ONE) {
            own(Figure::less(ONE, "ms", middle(&calls(server.addr, all, None).await?)));
        }
        if options.wants(BENCH.name, MANY) {
            let mut times = many(server.addr, all.max(4 * PAUSE), Some(PAUSE)).await?;
            times.sort();
            let slowest = times.get(times.len() * 99 / 100).copied().unwrap_or_default();
            own(Figure::less(MANY, "ms", middle(&times)));
            own(Figure::less(MANY_SLOWEST, "ms", milliseconds(slowest)));
        }
        if options.wants(BENCH.name, FULL) {
            let count = many(server.addr, all, None).await?.len();
            own(Figure::more(FULL, "1/s", count as f64 / all.as_secs_f64()));
        }
        if options.wants(BENCH.name, PICTURE) {
            let rows = server.pictures(all).await?;
            BENCH.rows(&Figure::less(PICTURE, "ms", 0.0), rows, emit);
        }
        Ok(())
    })
}

fn failed(error: impl std::fmt::Display) -> BenchError {
    BenchError::Failed(error.to_string())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn middle(times: &[Duration]) -> f64 {
    median(times.iter().map(|time| milliseconds(*time)).collect())
}

/// A gateway with sessions that nobody uses, behind HTTP.
struct Server {
    addr: SocketAddr,
    gateway: Arc<Gateway>,
    caller: Arc<Caller>,
    stage: Stage,
    _serving: JoinSet<std::io::Result<()>>,
}

impl Server {
    async fn start() -> Result<Self, BenchError> {
        let stage = Stage::new(Canvas::new(SIZE, 1).frame());
        let connectors: Vec<Arc<dyn Connector>> = vec![Arc::new(stage.clone())];
        let config = SessionsConfig { limit: IDLE_SESSIONS + 1, ..SessionsConfig::default() };
        let sessions = Sessions::new(config, connectors, Vec::new(), Arc::new(FileSecrets::default()));
        let gateway = Arc::new(Gateway::new(sessions, GatewayConfig::default()).map_err(failed)?);
        let caller = Arc::new(Caller::local("bench", CallerKind::Script));
        let each = CLIENTS as usize;
        let config = HttpConfig { max_requests: Limit { each, all: each }, ..HttpConfig::default() };
        let calling = Arc::clone(&caller);
        let identify = move |mut request: Request, next: Next| {
            request.extensions_mut().insert(Arc::clone(&calling));
            next.run(request)
        };
        let router: Router =
            mcp::http::router(Arc::clone(&gateway), config).layer(middleware::from_fn(identify));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(system("listening"))?;
        let addr = listener.local_addr().map_err(system("listening"))?;
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await });
        let server = Self { addr, gateway, caller, stage, _serving: serving };
        for _ in 0..IDLE_SESSIONS {
            server.within("connect", json!({ "peer": ADDRESS })).await?;
        }
        Ok(server)
    }

    /// Calls a tool within the process.
    async fn within(&self, tool: &str, arguments: Value) -> Result<Value, BenchError> {
        let outcome = self.gateway.call(&self.caller, tool, arguments).await.map_err(failed)?;
        if outcome.is_error { Err(BenchError::WrongAnswer(outcome.text())) } else { Ok(outcome.structured) }
    }

    /// Median times of screenshots of a changing desktop: over HTTP, and within the process.
    async fn pictures(&self, time: Duration) -> Result<[(&'static str, f64); 2], BenchError> {
        let frames: Vec<Frame> = (1..=4).map(|seed| Canvas::new(SIZE, seed).frame()).collect();
        let connected = self.within("connect", json!({ "peer": ADDRESS })).await?;
        let arguments = json!({ "session": connected["session"], "format": "png" });
        let request = request("screenshot", &arguments);
        let mut client = Client::connect(self.addr).await?;
        let (mut over_http, mut within) = (Vec::new(), Vec::new());
        let end = Instant::now() + time;
        for turn in 0.. {
            self.stage.show(frames[turn % frames.len()].clone());
            let start = Instant::now();
            // In pairs, so that both see each picture.
            if turn % 2 == 0 {
                let answer = client.call(&request).await?;
                over_http.push(start.elapsed());
                if answer.len() < 50_000 {
                    return Err(BenchError::WrongAnswer(String::from_utf8_lossy(&answer).into_owned()));
                }
            } else {
                self.within("screenshot", arguments.clone()).await?;
                within.push(start.elapsed());
                if Instant::now() > end && turn > 6 {
                    break;
                }
            }
        }
        Ok([(BENCH.name, middle(&over_http)), (WITHIN, middle(&within))])
    }
}

/// A request for a call, headers and all.
fn request(tool: &str, arguments: &Value) -> Vec<u8> {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientInfo": { "name": "bench", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({ "name": tool, "arguments": arguments, "_meta": meta });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string();
    format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: {VERSION}\r\n\
         Mcp-Method: tools/call\r\nMcp-Name: {tool}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A connection that is kept.
struct Client(BufStream<TcpStream>);

impl Client {
    async fn connect(addr: SocketAddr) -> Result<Self, BenchError> {
        let stream = TcpStream::connect(addr).await.map_err(system("connecting"))?;
        stream.set_nodelay(true).map_err(system("connecting"))?;
        Ok(Self(BufStream::new(stream)))
    }

    /// Sends a request; gives the body of its answer, which has to be a success.
    async fn call(&mut self, request: &[u8]) -> Result<Vec<u8>, BenchError> {
        let asked = async {
            self.0.write_all(request).await?;
            self.0.flush().await?;
            let (mut length, mut ok, mut line) = (0, false, String::new());
            loop {
                line.clear();
                self.0.read_line(&mut line).await?;
                let head = line.trim_end().to_ascii_lowercase();
                ok |= head.starts_with("http/1.1 200");
                if let Some(value) = head.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap_or(0);
                }
                if head.is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            self.0.read_exact(&mut body).await?;
            Ok::<_, std::io::Error>((ok, body))
        };
        let (ok, body) = asked.await.map_err(system("calling a tool"))?;
        if ok { Ok(body) } else { Err(BenchError::WrongAnswer(String::from_utf8_lossy(&body).into_owned())) }
    }
}

/// How long calls of one client took, one after the other, with a pause after each.
async fn calls(
    addr: SocketAddr,
    time: Duration,
    pause: Option<Duration>,
) -> Result<Vec<Duration>, BenchError> {
    let request = request("target_list", &json!({}));
    let mut client = Client::connect(addr).await?;
    let mut times = Vec::new();
    let end = Instant::now() + time;
    // The first one sets up what later ones use again.
    client.call(&request).await?;
    while Instant::now() < end {
        let start = Instant::now();
        client.call(&request).await?;
        times.push(start.elapsed());
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
    }
    Ok(times)
}

/// The same of many clients at once, which begin one after the other.
async fn many(
    addr: SocketAddr,
    time: Duration,
    pause: Option<Duration>,
) -> Result<Vec<Duration>, BenchError> {
    let mut clients = JoinSet::new();
    for n in 0..CLIENTS {
        clients.spawn(async move {
            tokio::time::sleep(pause.unwrap_or_default() * n / CLIENTS).await;
            calls(addr, time, pause).await
        });
    }
    let mut times = Vec::new();
    while let Some(client) = clients.join_next().await {
        times.extend(client.map_err(|_| BenchError::Panicked)??);
    }
    Ok(times)
}
