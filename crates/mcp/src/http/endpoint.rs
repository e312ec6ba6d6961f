//! The endpoint: what is asked of a request before rmcp answers it.

use super::answer;
use super::body;
use super::cors;
use super::limits::{Memory, Requests};
use super::names::Names;
use super::presence::Presence;
use super::refusal::Refusal;
use super::sessions::{AnswerSlot, OwnedSessions};
use super::{ClientGone, HttpConfig};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use futures_util::FutureExt as _;
use policy::Caller;
use rmcp::ServerHandler;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::{CancellationToken, DropGuard};

const SESSION: &str = "mcp-session-id";

/// Request bodies that are held at once, in all.
const BODIES: usize = 64 << 20;

struct Endpoint<H> {
    service: StreamableHttpService<H, OwnedSessions>,
    sessions: Arc<OwnedSessions>,
    names: Names,
    requests: Arc<Requests>,
    /// Streams that only listen, of which a session has one.
    listeners: Arc<Requests>,
    memory: Arc<Memory>,
    config: HttpConfig,
    /// Ends rmcp's sessions with the last router.
    _end: DropGuard,
}

pub(super) fn router<H: ServerHandler>(
    make: impl Fn() -> H + Send + Sync + 'static,
    config: HttpConfig,
) -> Router {
    let sessions = OwnedSessions::new(&config);
    let end = CancellationToken::new();
    let served = StreamableHttpServerConfig::default()
        .with_json_response(true)
        .with_sse_keep_alive(Some(config.keep_alive))
        .with_sse_retry(None)
        .with_max_request_body_bytes(config.max_body)
        .with_cancellation_token(end.clone())
        // Both are checked before the body is read.
        .disable_allowed_hosts()
        .disable_allowed_origins();
    let endpoint = Endpoint {
        service: StreamableHttpService::new(move || Ok(make()), Arc::clone(&sessions), served),
        sessions,
        names: Names::new(&config.allowed_hosts, &config.allowed_origins),
        requests: Requests::new(config.max_requests),
        listeners: Requests::new(config.max_sessions),
        memory: Arc::new(Memory::new(BODIES.max(config.max_body))),
        config,
        _end: end.drop_guard(),
    };
    Router::new().route("/mcp", any(serve::<H>)).with_state(Arc::new(endpoint))
}

async fn serve<H: ServerHandler>(State(endpoint): State<Arc<Endpoint<H>>>, request: Request) -> Response {
    let counters = &endpoint.config.counters;
    counters.requests.add_one();
    let origin = endpoint.names.named_origin(request.headers());
    let answered = match *request.method() {
        Method::POST => Arc::clone(&endpoint).post(request).await,
        Method::GET => endpoint.get(request).await,
        Method::DELETE => endpoint.delete(request).await,
        Method::OPTIONS if origin.is_some() => {
            endpoint.names.check(request.uri(), request.headers()).map(|()| cors::preflight())
        }
        _ => endpoint.admit(&request).and(Err(Refusal::Method)),
    };
    let response = answered.unwrap_or_else(|refusal| {
        refusal.count(counters);
        refusal.into_response()
    });
    match origin {
        Some(origin) => cors::allow(response, origin),
        None => response,
    }
}

impl<H: ServerHandler> Endpoint<H> {
    /// Who calls, if the request may be looked at any further.
    fn admit(&self, request: &Request) -> Result<Arc<Caller>, Refusal> {
        if self.config.stop.is_cancelled() {
            return Err(Refusal::Stopping);
        }
        self.names.check(request.uri(), request.headers())?;
        let caller = request.extensions().get::<Arc<Caller>>().cloned().ok_or(Refusal::NoCaller)?;
        if let Some(id) = request.headers().get(SESSION) {
            let own = |id| self.sessions.belongs(id, &caller.credential);
            if !id.to_str().is_ok_and(own) {
                return Err(Refusal::NoSession);
            }
        }
        Ok(caller)
    }

    async fn post(self: Arc<Self>, request: Request) -> Result<Response, Refusal> {
        let caller = self.admit(&request)?;
        if !body::is_json(request.headers()) {
            return Err(Refusal::NotJson);
        }
        let permit = self.requests.admit(&caller.credential)?;
        let (mut parts, body) = request.into_parts();
        let config = &self.config;
        let (body, room) =
            body::read(body, &parts.headers, config.max_body, config.body_timeout, &self.memory).await?;
        let presence = Presence::of_caller(permit, Arc::clone(&config.counters));
        let slot = AnswerSlot::default();
        parts.extensions.insert(slot.clone());
        parts.extensions.insert(ClientGone(presence.gone()));
        let endpoint = Arc::clone(&self);
        let answering = async move {
            let answer = endpoint.answer(parts, body).await;
            drop(room);
            answer
        };
        Ok(answer::shape(answering.boxed(), slot, config, presence).await)
    }

    /// What rmcp answers, with what it says of bodies without a message put right.
    async fn answer(&self, parts: Parts, body: Bytes) -> Response {
        let response = self.service.handle(Request::from_parts(parts, Body::from(body.clone()))).await;
        // The content type was right.
        if response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE {
            let refusal = body::fault(&body);
            refusal.count(&self.config.counters);
            return refusal.into_response();
        }
        response.map(Body::new)
    }

    async fn get(&self, request: Request) -> Result<Response, Refusal> {
        let caller = self.admit(&request)?;
        let permit = self.listeners.admit(&caller.credential)?;
        let response = self.service.handle(request).await.map(Body::new);
        let response = answer::clear(response).await;
        Ok(answer::until_stopped(response, &self.config, Duration::ZERO, Presence::of_listener(permit)))
    }

    async fn delete(&self, request: Request) -> Result<Response, Refusal> {
        self.admit(&request)?;
        let response = self.service.handle(request).await.map(Body::new);
        // rmcp says 202, which the official Python client takes for a failure.
        if response.status().is_success() {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        Ok(answer::clear(response).await)
    }
}
