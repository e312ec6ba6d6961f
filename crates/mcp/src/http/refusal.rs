//! Requests that no handler gets to see.

use super::HttpCounters;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the server is stopping")]
    Stopping,
    #[error("this server is not known by the name in Host; its operator can allow it")]
    Host,
    #[error("pages of this origin may not call this server; its operator can allow it")]
    Origin,
    #[error("no credential")]
    NoCaller,
    #[error("session not found")]
    NoSession,
    #[error("too many requests of this credential are being answered")]
    BusyCaller,
    #[error("too many requests are being answered")]
    Busy,
    #[error("the body is longer than this server takes")]
    TooLong,
    #[error("the body came too slowly")]
    TooSlow,
    #[error("the body could not be read")]
    Broken,
    #[error("the body has to be application/json")]
    NotJson,
    #[error("the body is not JSON, or nested too deeply")]
    Syntax,
    #[error("send one message at a time: batches are not part of the protocol")]
    Batch,
    #[error("the body is no JSON-RPC request, notification or response")]
    NoMessage,
    #[error("use POST, GET or DELETE")]
    Method,
}

impl Refusal {
    const fn status(self) -> StatusCode {
        match self {
            Self::Stopping | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Host | Self::Origin => StatusCode::FORBIDDEN,
            Self::NoCaller => StatusCode::UNAUTHORIZED,
            Self::NoSession => StatusCode::NOT_FOUND,
            Self::BusyCaller => StatusCode::TOO_MANY_REQUESTS,
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Broken | Self::Syntax | Self::Batch | Self::NoMessage => StatusCode::BAD_REQUEST,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    /// JSON-RPC's code; −32001 and −32000 as the official servers use them.
    const fn code(self) -> i32 {
        match self {
            Self::Syntax => -32700,
            Self::Batch | Self::NoMessage => -32600,
            Self::NoSession => -32001,
            _ => -32000,
        }
    }

    pub(super) fn count(self, counters: &HttpCounters) {
        counters.refused.add_one();
        match self {
            Self::Host | Self::Origin => counters.refused_names.add_one(),
            Self::Busy | Self::BusyCaller => counters.refused_busy.add_one(),
            Self::TooLong | Self::TooSlow => counters.refused_bodies.add_one(),
            Self::NoSession => counters.refused_sessions.add_one(),
            _ => {}
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = error(self.status(), self.code(), &self.to_string());
        let headers = response.headers_mut();
        match self {
            Self::Busy | Self::BusyCaller | Self::Stopping => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            // What is left of the body is not read.
            Self::TooLong | Self::TooSlow | Self::Broken => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Self::Method => {
                headers.insert(header::ALLOW, HeaderValue::from_static("GET, POST, DELETE"));
            }
            _ => {}
        }
        response
    }
}

/// An error that belongs to no request's id.
pub(super) fn error(status: StatusCode, code: i32, message: &str) -> Response {
    let body = json!({ "jsonrpc": "2.0", "id": null, "error": { "code": code, "message": message } });
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (status, kind, body.to_string()).into_response()
}
