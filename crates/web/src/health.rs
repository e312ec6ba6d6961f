//! `/health`: the process lives. `/ready`: what it is for works.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::future::{BoxFuture, join_all};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// An answer serves every probe for this long, so that nobody can make us work by asking.
const FRESH: Duration = Duration::from_secs(1);
/// A part that has not answered by then does not work.
const PATIENCE: Duration = Duration::from_secs(2);

type Probe = Box<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// What `/ready` tests. An error is one sentence, told to anybody who asks: no secrets, no paths.
#[derive(Default)]
pub struct Checks(Vec<(&'static str, Probe)>);

impl Checks {
    /// Adds a part that has to work.
    #[must_use]
    pub fn with<F, Fut>(mut self, name: &'static str, probe: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.0.push((name, Box::new(move || Box::pin(probe()))));
        self
    }
}

impl std::fmt::Debug for Checks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

struct Health {
    checks: Checks,
    stopping: CancellationToken,
    last: Mutex<Option<(Instant, Verdict)>>,
}

#[derive(Clone)]
struct Verdict {
    ready: bool,
    parts: Value,
}

/// `/health` and `/ready`. While `stopping` is cancelled nothing is ready, so that no new work is sent here.
pub fn router(checks: Checks, stopping: CancellationToken) -> Router {
    let health = Arc::new(Health { checks, stopping, last: Mutex::default() });
    Router::new().route("/health", get(live)).route("/ready", get(ready)).with_state(health)
}

async fn live() -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(json!({"status": "ok"}))).into_response()
}

async fn ready(State(health): State<Arc<Health>>) -> Response {
    let verdict = health.verdict().await;
    let (code, status) = match (health.stopping.is_cancelled(), verdict.ready) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        (_, false) => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
        _ => (StatusCode::OK, "ready"),
    };
    let body = Json(json!({"status": status, "checks": verdict.parts}));
    (code, [(header::CACHE_CONTROL, "no-store")], body).into_response()
}

impl Health {
    /// Held over the probes, so that those who ask meanwhile get the same answer.
    async fn verdict(&self) -> Verdict {
        let mut last = self.last.lock().await;
        if let Some((when, verdict)) = &*last
            && when.elapsed() < FRESH
        {
            return verdict.clone();
        }
        let probes = self.checks.0.iter().map(|(name, probe)| async move {
            let outcome = tokio::time::timeout(PATIENCE, probe()).await;
            (*name, outcome.unwrap_or_else(|_| Err("no answer in time".to_owned())))
        });
        let mut ready = true;
        let mut parts = serde_json::Map::new();
        for (name, outcome) in join_all(probes).await {
            ready &= outcome.is_ok();
            if let Err(reason) = &outcome {
                tracing::warn!(check = name, reason, "not ready");
            }
            parts.insert(name.to_owned(), Value::String(outcome.err().unwrap_or_else(|| "ok".to_owned())));
        }
        let verdict = Verdict { ready, parts: Value::Object(parts) };
        *last = Some((Instant::now(), verdict.clone()));
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tower::ServiceExt as _;

    async fn ask(router: &Router, path: &str) -> (StatusCode, Value) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 10_000).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn ready_names_the_part_that_does_not_work_and_live_does_not_mind() {
        let checks = Checks::default()
            .with("database", || async { Err("it can not be written".to_owned()) })
            .with("rendezvous", || async { Ok(()) })
            .with("relay", std::future::pending);
        let router = router(checks, CancellationToken::new());
        assert_eq!(ask(&router, "/health").await, (StatusCode::OK, json!({"status": "ok"})));
        let (status, body) = ask(&router, "/ready").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        let parts = json!({
            "database": "it can not be written",
            "rendezvous": "ok",
            "relay": "no answer in time",
        });
        assert_eq!(body, json!({"status": "not_ready", "checks": parts}));
    }

    #[tokio::test(start_paused = true)]
    async fn probes_run_once_however_many_ask() {
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&runs);
        let checks = Checks::default().with("part", move || {
            counted.fetch_add(1, Ordering::Relaxed);
            async { Ok(()) }
        });
        let router = router(checks, CancellationToken::new());
        for _ in 0..20 {
            assert_eq!(ask(&router, "/ready").await.0, StatusCode::OK);
        }
        assert_eq!(runs.load(Ordering::Relaxed), 1);
        tokio::time::advance(FRESH * 2).await;
        ask(&router, "/ready").await;
        assert_eq!(runs.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn who_is_stopping_is_not_ready() {
        let stopping = CancellationToken::new();
        let router = router(Checks::default(), stopping.clone());
        assert_eq!(ask(&router, "/ready").await.0, StatusCode::OK);
        stopping.cancel();
        let (status, body) = ask(&router, "/ready").await;
        assert_eq!((status, &body["status"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("stopping")));
    }
}
