//! A listener for an MCP router, and whoever calls it.

use axum::Router;
use axum::extract::Request;
use axum::http::header;
use axum::middleware::{self, Next};
use axum::response::Response;
use policy::{Caller, CallerKind};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A router on a port of its own. Dropping it closes the port.
#[derive(Debug)]
pub struct Served {
    pub address: SocketAddr,
    _stop: DropGuard,
}

impl Served {
    /// The endpoint.
    pub fn url(&self) -> String {
        format!("http://localhost:{}/mcp", self.address.port())
    }
}

/// Serves a router to everybody: whoever sends `Authorization: Bearer NAME` calls with the credential NAME,
/// anybody else with `anonymous`.
///
/// # Panics
/// If no port is free.
pub async fn serve(router: Router) -> Served {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = listener.local_addr().expect("a bound port");
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let router = router.layer(middleware::from_fn(identify));
    let serving = async move {
        tokio::select! {
            ended = axum::serve(listener, router) => ended,
            () = stopped.cancelled() => Ok(()),
        }
    };
    tokio::spawn(serving);
    Served { address, _stop: stop.drop_guard() }
}

async fn identify(mut request: Request, next: Next) -> Response {
    let said = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let credential = said.and_then(|said| said.strip_prefix("Bearer ")).unwrap_or("anonymous").to_owned();
    let caller = Caller { credential, ..Caller::local("test", CallerKind::Model) };
    request.extensions_mut().insert(Arc::new(caller));
    next.run(request).await
}
