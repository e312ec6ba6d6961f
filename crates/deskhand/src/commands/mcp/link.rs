//! HTTP to the daemon on loopback.

use super::exchange::Message;
use crate::daemon::Daemon;
use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::time::Duration;

const SESSION: &str = "mcp-session-id";
/// A daemon on this machine takes a connection at once, or never.
const CONNECT: Duration = Duration::from_secs(2);

/// The way to one daemon, and what was agreed with it.
#[derive(Debug, Clone)]
pub(super) struct Link {
    daemon: Daemon,
    client: Client<HttpConnector, Body>,
    /// Of an MCP session, in revisions that have them.
    pub(super) session: Option<String>,
    pub(super) version: Option<String>,
    /// Which of the links of this process it is.
    pub(super) number: u64,
}

/// What came back.
#[derive(Debug)]
pub(super) enum Reply {
    /// One JSON document.
    Whole(BodyDataStream),
    Events(BodyDataStream),
    Nothing,
}

/// Why nothing came back.
#[derive(Debug)]
pub(super) enum Lost {
    /// The message was not taken: it can be sent again.
    NotTaken,
    /// It may have been taken.
    Unknown,
    /// The daemon refuses it and would again.
    Refused(String),
}

/// Whether the daemon that left a file is there and takes its token.
pub(crate) async fn alive(daemon: &Daemon) -> bool {
    let link = Link::new(daemon.clone(), 0);
    let Ok(request) = link.request(Method::GET, "/local").body(Body::empty()) else { return false };
    let asked = link.client.request(request);
    matches!(tokio::time::timeout(CONNECT, asked).await, Ok(Ok(response)) if response.status().is_success())
}

impl Link {
    pub(super) fn new(daemon: Daemon, number: u64) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Self { daemon, client, session: None, version: None, number }
    }

    pub(super) fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    fn request(&self, method: Method, path: &str) -> axum::http::request::Builder {
        Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.daemon.address))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.daemon.token))
    }

    /// Sends a message; the headers of the answer come with what it is.
    pub(super) async fn post(&self, message: &Message) -> Result<(HeaderMap, Reply), Lost> {
        let mut request = self
            .request(Method::POST, "/mcp")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, text/event-stream");
        if let Some(session) = &self.session {
            request = request.header(SESSION, session);
        }
        if let Some(headers) = request.headers_mut() {
            headers.extend(message.headers(self.version.as_deref()));
        }
        let request = request.body(Body::from(message.text.clone()));
        let request = request.map_err(|error| Lost::Refused(error.to_string()))?;
        let response = match self.client.request(request).await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Err(Lost::NotTaken),
            Err(_) => return Err(Lost::Unknown),
        };
        let (parts, body) = response.into_parts();
        let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let kind = kind.unwrap_or_default();
        let body = Body::new(body).into_data_stream();
        match parts.status {
            // Another daemon than the one whose token we have, one that knows nothing of our session, or one
            // that stops.
            StatusCode::UNAUTHORIZED | StatusCode::SERVICE_UNAVAILABLE => Err(Lost::NotTaken),
            StatusCode::NOT_FOUND if self.session.is_some() => Err(Lost::NotTaken),
            StatusCode::ACCEPTED | StatusCode::NO_CONTENT => Ok((parts.headers, Reply::Nothing)),
            _ if kind.starts_with("text/event-stream") => Ok((parts.headers, Reply::Events(body))),
            _ if kind.starts_with("application/json") => Ok((parts.headers, Reply::Whole(body))),
            status if status.is_success() => Ok((parts.headers, Reply::Nothing)),
            status => Err(Lost::Refused(format!("the daemon answers with {status}"))),
        }
    }

    /// Remembers what the answer to `initialize` agreed on.
    pub(super) fn agreed(&mut self, headers: &HeaderMap, version: Option<&str>) {
        let session = headers.get(SESSION).and_then(|value| value.to_str().ok());
        self.session = session.map(str::to_owned);
        self.version = version.map(str::to_owned);
    }

    /// Ends the MCP session, if there is one.
    pub(super) async fn close(&self) {
        let Some(session) = &self.session else { return };
        let request = self.request(Method::DELETE, "/mcp").header(SESSION, session).body(Body::empty());
        if let Ok(request) = request {
            // It ends by itself, too.
            let _ended = tokio::time::timeout(CONNECT, self.client.request(request)).await;
        }
    }
}
