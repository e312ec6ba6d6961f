//! A span around every request, with the trace that it belongs to.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use telemetry::TraceContext;
use tracing::Instrument as _;
use tracing::field::Empty;

/// Middleware: log lines written meanwhile carry method, path and trace id; the [`TraceContext`] of a
/// `traceparent` header goes with the request as an extension. The query is not logged: it may hold codes.
pub async fn layer(mut request: Request, next: Next) -> Response {
    let span = tracing::info_span!(
        "http",
        method = %request.method(),
        path = request.uri().path(),
        trace_id = Empty,
        parent_id = Empty,
    );
    let header = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
    if let Some(context) = header.and_then(TraceContext::parse) {
        span.record("trace_id", context.trace_id());
        span.record("parent_id", context.parent_id());
        request.extensions_mut().insert(context);
    }
    async {
        let start = tokio::time::Instant::now();
        let response = next.run(request).await;
        let (status, ms) = (response.status().as_u16(), start.elapsed().as_millis());
        tracing::debug!(status, ms, "request");
        response
    }
    .instrument(span)
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use axum::routing::get;
    use axum::{Extension, Router, middleware};
    use tower::ServiceExt as _;

    #[tokio::test]
    async fn a_request_carries_the_trace_of_its_header() {
        let told = |context: Option<Extension<TraceContext>>| async move {
            context.map_or("none".to_owned(), |Extension(context)| context.trace_id())
        };
        let router = Router::new().route("/", get(told)).layer(middleware::from_fn(layer));
        for (header, expected) in [
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "0af7651916cd43dd8448eb211c80319c"),
            ("nonsense", "none"),
        ] {
            let request = Request::get("/").header("traceparent", header).body(Body::empty()).unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            let body = to_bytes(response.into_body(), 100).await.unwrap();
            assert_eq!(body, expected, "{header}");
        }
    }
}
