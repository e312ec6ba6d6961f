//! Our own OAuth 2.1 authorisation server, for MCP clients.
//!
//! A client finds the metadata (`metadata`), makes itself known (registers, names itself by a URL, or is
//! built in: `client`), and sends its person here (`authorize`). The person signs in and *always* sees who
//! asks for what, and chooses: scopes, machines, mode, time. Nothing approves itself. The client exchanges the
//! code (`token`) for a short access token and a refresh token that changes with every use.

mod account;
mod authorize;
mod client;
mod consent;
mod metadata;
mod register;
mod reply;
mod request;
mod sign_in;
mod token;

pub use client::PresetClient;
pub(crate) use client::Vouched;

use crate::auth::{AuthError, AuthState};
use crate::fetch::{Documents, Network};
use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use client::DocumentCache;
use policy::Classes;
use std::fmt;
use std::sync::Arc;
use store::Seconds;

/// Names of machines to choose from on the consent page.
pub type MachineNames = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// How our authorisation server behaves.
pub struct OAuthConfig {
    /// Clients that need no registration. [`PresetClient::claude`] is one.
    pub clients: Vec<PresetClient>,
    /// Redirect addresses that are accepted besides https and loopback, each exactly: those of programs with
    /// a scheme of their own.
    pub extra_redirects: Vec<String>,
    /// Whether clients can register themselves (RFC 7591).
    pub registration: bool,
    /// Clients that can be registered at a time.
    pub most_clients: usize,
    /// Whether clients can name themselves by the URL of a document about them.
    pub documents: bool,
    pub access_lifetime: Seconds,
    /// Of a refresh token that is not used.
    pub refresh_lifetime: Seconds,
    pub code_lifetime: Seconds,
    /// Ticked on the consent page when a client asks for them; the others a person ticks.
    pub preselected: Classes,
    pub machines: MachineNames,
    /// Where documents about clients come from; the network if none.
    pub source: Option<Arc<dyn Documents>>,
}

impl Default for OAuthConfig {
    fn default() -> Self {
        use policy::Class::{Clipboard, FilesRead, Interact, Observe};
        Self {
            clients: vec![PresetClient::claude()],
            extra_redirects: Vec::new(),
            registration: true,
            most_clients: 1000,
            documents: true,
            access_lifetime: 15 * 60,
            refresh_lifetime: 30 * 24 * 3600,
            code_lifetime: 60,
            preselected: Classes::of(&[Observe, Interact, Clipboard, FilesRead]),
            machines: Arc::new(Vec::new),
            source: None,
        }
    }
}

impl fmt::Debug for OAuthConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuthConfig")
            .field("clients", &self.clients)
            .field("registration", &self.registration)
            .field("documents", &self.documents)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub(crate) struct OAuth {
    pub(crate) config: OAuthConfig,
    documents: Option<DocumentCache>,
}

impl OAuth {
    pub(crate) fn new(config: OAuthConfig) -> Result<Self, AuthError> {
        for client in &config.clients {
            for uri in &client.redirect_uris {
                let (client, uri) = (client.id.clone(), uri.clone());
                reqwest::Url::parse(&uri).map_err(|_| AuthError::Redirect { client, uri })?;
            }
        }
        let source: Option<Arc<dyn Documents>> = match (&config.source, config.documents) {
            (_, false) => None,
            (Some(source), true) => Some(Arc::clone(source)),
            (None, true) => Some(Arc::new(Network::public_only()?)),
        };
        Ok(Self { config, documents: source.map(DocumentCache::new) })
    }
}

/// The largest body of a form or a registration, in bytes.
const LARGEST: usize = 64 * 1024;

/// See [`crate::auth::router`].
pub(crate) fn router(state: &AuthState) -> Router {
    let guard = state.guard();
    let metadata = Router::new()
        .route("/.well-known/oauth-protected-resource", get(metadata::resource))
        .route("/.well-known/oauth-protected-resource/{*path}", get(metadata::resource_at));
    if state.inner.oauth.is_none() {
        return open_to_pages(guard.protect_host(metadata)).with_state(state.clone());
    }
    let mut machines = metadata
        .route("/.well-known/oauth-authorization-server", get(metadata::server))
        .route("/.well-known/openid-configuration", get(metadata::server))
        .route("/token", post(token::token))
        .route("/revoke", post(token::revoke));
    if state.inner.oauth.as_ref().is_some_and(|oauth| oauth.config.registration) {
        machines = machines.route("/register", post(register::register));
    }
    let pages = Router::new()
        .route("/authorize", get(authorize::ask).post(authorize::answer))
        .route("/sign-in", get(sign_in::page).post(sign_in::sign_in))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/account", get(account::page))
        .route("/account/revoke", post(account::revoke));
    open_to_pages(guard.protect_host(machines)).merge(guard.protect(pages)).with_state(state.clone())
}

/// Lets pages of other sites read the answers (CORS): clients that run in browsers. None of it looks at
/// cookies.
fn open_to_pages<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router.layer(middleware::from_fn(async |request: axum::extract::Request, next: Next| {
        let preflight = request.method() == Method::OPTIONS;
        let mut response: Response = if preflight { ().into_response() } else { next.run(request).await };
        let mut allow = |name: HeaderName, value: &'static str| {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        };
        allow(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
        if preflight {
            allow(header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST");
            allow(header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type, mcp-protocol-version");
            allow(header::ACCESS_CONTROL_MAX_AGE, "3600");
        }
        response
    }))
}
