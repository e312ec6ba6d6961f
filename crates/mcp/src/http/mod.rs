//! Streamable HTTP: the tools for clients elsewhere.
//!
//! [`router`] answers at `/mcp`. It speaks the revision without sessions (2026-07-28) and the older ones with
//! them; rmcp does the protocol, this module what rmcp leaves open: who may open, use and end an MCP session,
//! how much one caller may hold, when an answer is one JSON document and when a stream of events, and what a
//! refusal looks like.
//!
//! Who calls is decided before: a layer around the router puts an `Arc<policy::Caller>` into the request's
//! extensions. A request without one is refused with 401.
//!
//! **Answers.** A call that is answered within [`HttpConfig::patience`] and says nothing before its answer is
//! answered with JSON, which costs clients least; any other becomes a stream of events with comments to keep
//! it alive. Streams carry no event ids, so they can not be resumed: when a client goes away, in every
//! revision, its call is dropped as if it had been cancelled. A remote machine is not operated for nobody.
//!
//! **Stopping.** Once [`HttpConfig::stop`] is cancelled, new requests are refused with 503, streams that only
//! listen end, and calls have [`HttpConfig::grace`] to finish. Dropping the router ends every MCP session.

mod answer;
mod body;
mod cors;
mod endpoint;
mod limits;
mod names;
mod presence;
mod refusal;
mod sessions;

use crate::Gateway;
use crate::server::Handler;
use axum::Router;
use rmcp::ServerHandler;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How HTTP is served. The defaults suit one server that people and their models use.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Names under which clients reach this server, with or without a port, beside `localhost`, `127.0.0.1`
    /// and `[::1]`; `*` for whatever they say. Others are refused, because a browser that was led here by a
    /// name of somebody else's (DNS rebinding) sends that name.
    pub allowed_hosts: Vec<String>,
    /// Origins (`https://desk.example`, `http://localhost:6274`) whose pages may call, beside pages of this
    /// server itself. Clients that are no browsers send none. Browsers ask first, with `OPTIONS` and without
    /// a credential; the layer that identifies callers has to let that through.
    pub allowed_origins: Vec<String>,
    /// Cancelled when the program wants to end.
    pub stop: CancellationToken,
    /// How long calls may go on after that.
    pub grace: Duration,
    /// How long an answer is waited for before a stream of events is begun in its place.
    pub patience: Duration,
    /// How often a silent stream says that it is alive.
    pub keep_alive: Duration,
    /// The longest request body in bytes.
    pub max_body: usize,
    /// How long a client may take to send it.
    pub body_timeout: Duration,
    /// How long an MCP session lasts that nobody uses.
    pub session_idle: Duration,
    /// MCP sessions, of one credential and of all. A further one ends the one that was not used for longest.
    pub max_sessions: Limit,
    /// Requests that are being answered, of one credential and of all. A further one is refused with 429, or
    /// 503 where others are the reason.
    pub max_requests: Limit,
    pub counters: Arc<HttpCounters>,
}

/// How many of something there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Of one credential.
    pub each: usize,
    /// Of all together.
    pub all: usize,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            stop: CancellationToken::new(),
            grace: Duration::from_secs(10),
            patience: Duration::from_secs(5),
            keep_alive: Duration::from_secs(15),
            max_body: 4 << 20,
            body_timeout: Duration::from_secs(30),
            session_idle: Duration::from_secs(12 * 60 * 60),
            max_sessions: Limit { each: 256, all: 1024 },
            max_requests: Limit { each: 256, all: 1024 },
            counters: Arc::default(),
        }
    }
}

/// What happened so far. They only grow.
#[derive(Debug, Default)]
pub struct HttpCounters {
    /// Requests, refused ones included.
    pub requests: Counter,
    /// Requests refused before any handler saw them, for whatever reason.
    pub refused: Counter,
    /// Of those: for the name in `Host`, and for the `Origin`.
    pub refused_names: Counter,
    /// Of those: because too much was going on.
    pub refused_busy: Counter,
    /// Of those: bodies too long or too slow.
    pub refused_bodies: Counter,
    /// Of those: for an MCP session that does not exist or is another credential's.
    pub refused_sessions: Counter,
    /// Clients that went away before their answer.
    pub abandoned: Counter,
    /// Answers that were begun as a stream of events.
    pub streams: Counter,
    pub sessions_opened: Counter,
    /// MCP sessions that had to make room for another.
    pub sessions_displaced: Counter,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The tools of a gateway at `/mcp`.
pub fn router(gateway: Arc<Gateway>, config: HttpConfig) -> Router {
    router_for(move || Handler::of_requests(Arc::clone(&gateway)), config)
}

/// Any MCP server at `/mcp`, served as the tools are. `make` is called for every MCP session, and for every
/// request that belongs to none.
pub fn router_for<H: ServerHandler>(
    make: impl Fn() -> H + Send + Sync + 'static,
    config: HttpConfig,
) -> Router {
    endpoint::router(make, config)
}

/// Cancelled when the client of a request is gone; in the request's extensions.
#[derive(Debug, Clone)]
pub(crate) struct ClientGone(pub(crate) CancellationToken);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
