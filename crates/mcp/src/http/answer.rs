//! Responses: one JSON document where that is all there is to say, else a stream of events.

use super::HttpConfig;
use super::presence::Presence;
use super::refusal::{self, Refusal};
use super::sessions::AnswerSlot;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::{self, BoxStream, StreamExt as _};
use rmcp::model::ServerJsonRpcMessage;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Errors of rmcp's own are sentences; longer than this they are none.
const LONGEST_SENTENCE: usize = 4096;

type Messages = BoxStream<'static, Arc<ServerJsonRpcMessage>>;

/// Makes a response of what rmcp answers and of what a session left in the slot.
pub(super) async fn shape(
    mut answering: BoxFuture<'static, Response>,
    slot: AnswerSlot,
    config: &HttpConfig,
    presence: Presence,
) -> Response {
    let started = tokio::time::timeout(config.patience, &mut answering).await;
    let response = match started {
        Ok(response) => match slot.take() {
            Some(messages) => of_session(response, messages, config).await,
            None => clear(response).await,
        },
        Err(_) => {
            let late = answering.then(move |response| late(response, slot));
            events(stream::once(late).flatten().boxed(), config)
        }
    };
    if is(&response, &EVENTS) {
        return until_stopped(response, config, config.grace, presence);
    }
    presence.done();
    response
}

/// The response to a request in a session. rmcp's own has the headers.
async fn of_session(response: Response, mut messages: Messages, config: &HttpConfig) -> Response {
    let mut shaped = match tokio::time::timeout(config.patience, messages.next()).await {
        Ok(Some(message)) if is_last(&message) => match serde_json::to_vec(&message) {
            Ok(body) => ([(header::CONTENT_TYPE, JSON)], body).into_response(),
            Err(error) => internal(&error),
        },
        Ok(first) => {
            events(stream::iter(first).chain(messages).map(|message| event(&message)).boxed(), config)
        }
        Err(_) => events(messages.map(|message| event(&message)).boxed(), config),
    };
    let own = [header::CONTENT_TYPE, header::CACHE_CONTROL, HeaderName::from_static("x-accel-buffering")];
    for (name, value) in response.headers() {
        if !own.contains(name) {
            shaped.headers_mut().insert(name.clone(), value.clone());
        }
    }
    shaped
}

const fn is_last(message: &ServerJsonRpcMessage) -> bool {
    matches!(message, ServerJsonRpcMessage::Response(_) | ServerJsonRpcMessage::Error(_))
}

/// The events of a response that came after its stream had been begun.
async fn late(response: Response, slot: AnswerSlot) -> BoxStream<'static, Bytes> {
    if let Some(messages) = slot.take() {
        return messages.map(|message| event(&message)).boxed();
    }
    if is(&response, &EVENTS) {
        return response.into_body().into_data_stream().filter_map(async |chunk| chunk.ok()).boxed();
    }
    let response = clear(response).await;
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap_or_default();
    stream::iter((!body.is_empty()).then(|| framed(&body))).boxed()
}

/// A stream of events, with comments when there is none for long.
fn events(events: BoxStream<'static, Bytes>, config: &HttpConfig) -> Response {
    config.counters.streams.add_one();
    let keep_alive = config.keep_alive;
    let stream = stream::unfold(events, move |mut events| async move {
        let next = tokio::time::timeout(keep_alive, events.next()).await;
        let event = next.unwrap_or(Some(Bytes::from_static(b":\n\n")))?;
        Some((Ok::<_, Infallible>(event), events))
    });
    let headers = [
        (header::CONTENT_TYPE, EVENTS),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        // Proxies that would collect the stream do not.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, Body::from_stream(stream)).into_response()
}

fn event(message: &ServerJsonRpcMessage) -> Bytes {
    serde_json::to_vec(message).map(|json| framed(&json)).unwrap_or_else(|error| {
        tracing::error!(%error, "a message can not be written");
        Bytes::new()
    })
}

/// JSON of one line as an event.
fn framed(json: &[u8]) -> Bytes {
    [b"data: ".as_slice(), json, b"\n\n"].concat().into()
}

/// Ends a stream that long after the program wants to stop.
pub(super) fn until_stopped(
    response: Response,
    config: &HttpConfig,
    grace: Duration,
    presence: Presence,
) -> Response {
    let stop = config.stop.clone();
    let end = async move {
        stop.cancelled().await;
        tokio::time::sleep(grace).await;
    };
    response.map(|body| {
        let chunks = body.into_data_stream().take_until(Box::pin(end));
        let watched = stream::unfold((chunks, presence), |(mut chunks, presence)| async {
            match chunks.next().await {
                Some(chunk) => Some((chunk, (chunks, presence))),
                None => {
                    presence.done();
                    None
                }
            }
        });
        Body::from_stream(watched)
    })
}

/// Puts a sentence of rmcp's into the form of an error, and keeps what failed within to ourselves.
pub(super) async fn clear(response: Response) -> Response {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) || is(&response, &JSON) {
        return response;
    }
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, LONGEST_SENTENCE).await.unwrap_or_default();
    let sentence = String::from_utf8_lossy(&body);
    let mut cleared = match status {
        StatusCode::NOT_FOUND => Refusal::NoSession.into_response(),
        StatusCode::METHOD_NOT_ALLOWED => Refusal::Method.into_response(),
        status if status.is_server_error() => internal(&sentence),
        status => {
            let message = sentence.split_once(": ").map_or(&*sentence, |(_, message)| message);
            refusal::error(status, -32000, message)
        }
    };
    if let Some(allow) = parts.headers.get(header::ALLOW) {
        cleared.headers_mut().insert(header::ALLOW, allow.clone());
    }
    cleared
}

fn internal(error: &dyn std::fmt::Display) -> Response {
    tracing::error!(%error, "a request failed");
    refusal::error(StatusCode::INTERNAL_SERVER_ERROR, -32603, "internal error")
}

/// Whether the response is of that type.
fn is(response: &Response, kind: &HeaderValue) -> bool {
    content_type(response.headers()) == kind.to_str().ok()
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE)?.to_str().ok()?.split(';').next().map(str::trim)
}
