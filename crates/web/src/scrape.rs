//! `/metrics`, for Prometheus, on a listener of its own.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;
use subtle::ConstantTimeEq as _;
use telemetry::Metrics;

struct Scrape {
    metrics: Arc<Metrics>,
    token: Option<String>,
}

/// Serves `metrics`, to those who show `token` where there is one.
pub fn router(metrics: Arc<Metrics>, token: Option<String>) -> Router {
    Router::new().route("/metrics", get(scrape)).with_state(Arc::new(Scrape { metrics, token }))
}

async fn scrape(State(scrape): State<Arc<Scrape>>, headers: HeaderMap) -> Response {
    if !scrape.token.as_deref().is_none_or(|token| shows(&headers, token)) {
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
        return (StatusCode::UNAUTHORIZED, challenge, "a bearer token is needed\n").into_response();
    }
    match scrape.metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, Metrics::content_type())], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics are inconsistent");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Whether the request carries this bearer token; takes as long for a wrong one as for the right one.
pub fn shows(headers: &HeaderMap, token: &str) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.split_once(' '));
    given.is_some_and(|(scheme, given)| {
        scheme.eq_ignore_ascii_case("bearer") && bool::from(given.trim().as_bytes().ct_eq(token.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt as _;

    async fn ask(router: &Router, authorization: Option<&str>) -> (StatusCode, String) {
        let mut request = Request::get("/metrics");
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 1_000_000).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_token_is_asked_for_where_there_is_one() {
        let metrics = Arc::new(Metrics::new("1").unwrap());
        let open = router(Arc::clone(&metrics), None);
        let (status, text) = ask(&open, None).await;
        assert_eq!(status, StatusCode::OK);
        assert!(text.contains("deskhand_build_info"), "{text}");

        let closed = router(metrics, Some("s3cret".to_owned()));
        for wrong in
            [None, Some("Bearer s3cre"), Some("Bearer s3crets"), Some("Basic s3cret"), Some("s3cret")]
        {
            let (status, text) = ask(&closed, wrong).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{wrong:?}");
            assert!(!text.contains("deskhand_"), "{text}");
        }
        assert_eq!(ask(&closed, Some("bearer s3cret")).await.0, StatusCode::OK);
    }
}
