//! What is served over HTTP, to whom.

use crate::config::Config;
use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::IntoResponse as _;
use axum::routing::get;
use mcp::Gateway;
use mcp::http::{HttpConfig, HttpCounters};
use policy::{Caller, CallerKind};
use std::sync::Arc;
use std::time::Duration;
use telemetry::Metrics;
use telemetry::metrics::{Family, Kind};
use tokio_util::sync::CancellationToken;
use web::auth::{self, AuthState};
use web::viewer;

/// The gateway behind its two doors.
pub(super) struct Edge {
    gateway: Arc<Gateway>,
    http: HttpConfig,
}

impl Edge {
    pub(super) fn new(
        config: &Config,
        gateway: &Arc<Gateway>,
        hosts: Vec<String>,
        stopping: &CancellationToken,
    ) -> Self {
        let http = HttpConfig {
            allowed_hosts: hosts,
            allowed_origins: config.http.allowed_origins.clone(),
            stop: stopping.clone(),
            grace: Duration::from_secs(config.http.drain_seconds),
            ..HttpConfig::default()
        };
        Self { gateway: Arc::clone(gateway), http }
    }

    /// For clients anywhere, which show a credential.
    pub(super) fn public(&self, state: &AuthState) -> Router {
        let mcp = mcp::http::router(Arc::clone(&self.gateway), self.http.clone());
        let viewer = viewer::router(state, Arc::clone(self.gateway.sessions()));
        auth::protect(mcp, state).merge(auth::router(state)).merge(viewer)
    }

    /// For programs of this user, which read the token from the daemon's file: MCP, and `/local` to see that
    /// it is the right one.
    pub(super) fn local(&self, token: String) -> Router {
        let config =
            HttpConfig { allowed_hosts: Vec::new(), allowed_origins: Vec::new(), ..self.http.clone() };
        let caller = Arc::new(Caller::local("deskhand mcp", CallerKind::Model));
        let token: Arc<str> = token.into();
        let admit = move |mut request: Request, next: Next| {
            let (token, caller) = (Arc::clone(&token), Arc::clone(&caller));
            async move {
                if !web::scrape::shows(request.headers(), &token) {
                    return StatusCode::UNAUTHORIZED.into_response();
                }
                request.extensions_mut().insert(caller);
                next.run(request).await
            }
        };
        Router::new()
            .route("/local", get(|| async { StatusCode::NO_CONTENT }))
            .merge(mcp::http::router(Arc::clone(&self.gateway), config))
            .layer(middleware::from_fn(admit))
    }

    /// Has both doors' counts read at each scrape.
    pub(super) fn count(&self, metrics: &Metrics, state: &AuthState) {
        let (counters, state) = (Arc::clone(&self.http.counters), state.clone());
        metrics.read(move || {
            let mut families = super::callers::families(state.counters());
            families.extend(requests(&counters));
            families
        });
    }
}

fn requests(counters: &HttpCounters) -> Vec<Family> {
    let single = |name, help, value| Family::single(Kind::Counter, name, help, value);
    let refused =
        Family::new(Kind::Counter, "mcp_refused_total", "Requests refused before any tool, by reason.");
    let by_reason = [
        ("names", &counters.refused_names),
        ("busy", &counters.refused_busy),
        ("body", &counters.refused_bodies),
        ("session", &counters.refused_sessions),
    ];
    let named: u64 = by_reason.iter().map(|(_, counter)| counter.get()).sum();
    let refused =
        by_reason.iter().fold(refused, |family, (why, counter)| family.with("reason", why, counter.get()));
    vec![
        single("mcp_requests_total", "HTTP requests to /mcp.", counters.requests.get()),
        refused.with("reason", "other", counters.refused.get().saturating_sub(named)),
        single(
            "mcp_abandoned_total",
            "Clients that went away before their answer.",
            counters.abandoned.get(),
        ),
        single("mcp_streams_total", "Answers begun as a stream of events.", counters.streams.get()),
        single("mcp_sessions_opened_total", "MCP sessions opened.", counters.sessions_opened.get()),
        single(
            "mcp_sessions_displaced_total",
            "MCP sessions that had to make room for another.",
            counters.sessions_displaced.get(),
        ),
    ]
}
