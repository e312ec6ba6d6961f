//! Answers to clients, and how their requests are read.

use axum::Json;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use std::time::Duration;

/// For the whole body: a client that sends byte by byte waits for nobody.
const PATIENCE: Duration = Duration::from_secs(10);

/// An error of a token, registration or revocation request (RFC 6749 §5.2, RFC 7591 §3.2.2).
#[derive(Debug)]
pub(crate) struct ErrorReply {
    pub(crate) status: StatusCode,
    pub(crate) error: &'static str,
    pub(crate) description: String,
}

impl ErrorReply {
    pub(crate) fn bad(error: &'static str, description: impl ToString) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error, description: description.to_string() }
    }

    pub(crate) fn unavailable(error: &store::StoreError) -> Self {
        tracing::error!(kind = error.kind(), %error, "an OAuth request could not be answered");
        let description = "the server can not keep its state now".to_owned();
        Self { status: StatusCode::SERVICE_UNAVAILABLE, error: "temporarily_unavailable", description }
    }
}

impl IntoResponse for ErrorReply {
    fn into_response(self) -> Response {
        let body = Json(json!({ "error": self.error, "error_description": self.description }));
        let mut response = (self.status, body).into_response();
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            let basic = HeaderValue::from_static("Basic realm=\"deskhand\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, basic);
        }
        response
    }
}

/// A JSON answer that nobody keeps.
pub(crate) fn fresh(status: StatusCode, body: &impl Serialize) -> Response {
    let mut response = (status, Json(body)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The whole body, if it is of this type, comes in time and is not too large.
pub(crate) async fn read(request: Request, content_type: &str) -> Result<(Parts, Vec<u8>), ErrorReply> {
    let (parts, body) = request.into_parts();
    let given = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = given.and_then(|text| text.split(';').next()).map(|kind| kind.trim().to_ascii_lowercase());
    if kind.as_deref() != Some(content_type) {
        let description = format!("the body has to be {content_type}");
        return Err(ErrorReply {
            status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
            error: "invalid_request",
            description,
        });
    }
    let refused = |status, description: &str| ErrorReply {
        status,
        error: "invalid_request",
        description: description.to_owned(),
    };
    match tokio::time::timeout(PATIENCE, to_bytes(body, super::LARGEST)).await {
        Ok(Ok(bytes)) => Ok((parts, bytes.into())),
        Ok(Err(_)) => Err(refused(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large or was cut")),
        Err(_) => Err(refused(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")),
    }
}

/// The content type of forms.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";
