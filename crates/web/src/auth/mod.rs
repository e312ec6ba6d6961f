//! Who calls: credentials become an `Arc<policy::Caller>` in the request's extensions.
//!
//! Three kinds of credential: bearer tokens that an operator made ([`tokens`]), tokens that our own
//! authorisation server issued ([`crate::oauth`]) or an external one ([`crate::oidc`]), and, for pages, a
//! browser in which a person signed in. [`protect`] guards a router for clients, [`protect_browser`] one for
//! pages, too. [`router`] has what belongs to getting a credential: metadata, sign-in, consent, tokens.

mod address;
mod bearer;
pub(crate) mod browser;
mod counters;
pub(crate) mod limits;
mod password;
mod secret;
pub mod tokens;

pub use bearer::{protect, protect_browser, require};
pub use browser::Person;
pub use counters::{AuthCounters, Counter};
pub use password::{PasswordError, hash_password};
pub use secret::{Secret, SecretKind};

pub(crate) use address::address;
pub(crate) use password::verify as verify_password;
pub(crate) use secret::{derived, parse_as, public_id};

use crate::Clock;
use crate::guard::Guard;
use crate::oauth::OAuth;
use crate::oidc::Oidc;
use axum::Router;
use limits::Limit;
use policy::Classes;
use reqwest::Url;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use store::{Seconds, Store};

/// Who hands out tokens for this server.
#[derive(Debug, Default)]
pub enum Issuer {
    /// The operator alone: `deskhand token create`.
    #[default]
    Operator,
    /// Our own authorisation server, too.
    Own(Box<crate::oauth::OAuthConfig>),
    /// Another one, too; people do not sign in here.
    External(Box<crate::oidc::OidcConfig>),
}

/// What has to be known to tell callers apart.
#[derive(Debug)]
pub struct AuthConfig {
    /// Where clients reach this server: `https://name[:port]`, or `http` on loopback. The issuer of our tokens.
    pub public_url: Url,
    /// The path that clients call, `/mcp`: with the URL before it, the resource that tokens are for (RFC 8707).
    pub resource_path: String,
    pub issuer: Issuer,
    /// More names of this server: `name` or `name:port`.
    pub hosts: Vec<String>,
    /// Other sites whose pages may call.
    pub origins: Vec<String>,
    /// Reverse proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// What clients are told to ask for, and the most that they get through consent.
    pub offered: Classes,
    pub clock: Clock,
}

impl AuthConfig {
    /// For a server at `public_url`, with what is usual for the rest: tokens by the operator alone.
    pub fn new(public_url: Url) -> Self {
        Self {
            public_url,
            resource_path: "/mcp".into(),
            issuer: Issuer::default(),
            hosts: Vec::new(),
            origins: Vec::new(),
            trusted_proxies: Vec::new(),
            offered: Classes::ALL.without(Classes::of(&[policy::Class::Admin])),
            clock: Clock::system(),
        }
    }
}

/// What in an [`AuthConfig`] can not be.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error("the public URL {url} has to be a scheme and a name alone, like https://desk.example.com")]
    PublicUrl { url: Url },
    #[error("the public URL {url} has to begin with https: people's passwords and tokens go through it")]
    Insecure { url: Url },
    #[error("the redirect address {uri:?} of the client {client:?} is no absolute URL")]
    Redirect { client: String, uri: String },
    #[error("the issuer {url:?} has to be an https address")]
    IssuerUrl { url: String },
    #[error("no TLS implementation was installed before the server started")]
    NoTls,
    #[error("outgoing requests can not be made: {reason}")]
    Http { reason: String },
}

/// Everything that the layers and the routers share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AuthState {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) guard: Guard,
    pub(crate) public_url: Url,
    /// The origin of `public_url`, without a slash.
    pub(crate) issuer: String,
    pub(crate) resource: String,
    resource_path: String,
    pub(crate) offered: Classes,
    proxies: Vec<IpAddr>,
    pub(crate) oauth: Option<OAuth>,
    oidc: Option<Oidc>,
    counters: AuthCounters,
    /// Wrong credentials, by network.
    wrong: Limit<IpAddr>,
    pub(crate) sign_in_address: Limit<IpAddr>,
    pub(crate) sign_in_name: Limit<String>,
    pub(crate) registrations: Limit<IpAddr>,
}

const fn at_once(n: u32) -> NonZeroU32 {
    match NonZeroU32::new(n) {
        Some(n) => n,
        None => NonZeroU32::MIN,
    }
}

impl AuthState {
    /// # Errors
    /// If the configuration can not work. A TLS implementation has to be installed first where an external
    /// issuer is named or clients may be named by URL.
    pub fn new(store: Store, config: AuthConfig) -> Result<Self, AuthError> {
        let url = config.public_url;
        let plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let named = url.has_host() && url.username().is_empty() && url.password().is_none();
        if !(plain && named && matches!(url.scheme(), "http" | "https")) {
            return Err(AuthError::PublicUrl { url });
        }
        let (oauth, oidc) = match config.issuer {
            Issuer::Operator => (None, None),
            Issuer::Own(_) if !is_secure(&url) => return Err(AuthError::Insecure { url }),
            Issuer::Own(config) => (Some(OAuth::new(*config)?), None),
            Issuer::External(config) => (None, Some(Oidc::new(*config)?)),
        };
        let issuer = url.origin().ascii_serialization();
        let inner = Inner {
            store,
            clock: config.clock,
            guard: Guard::new(&url, &config.hosts, &config.origins),
            resource: format!("{issuer}{}", config.resource_path),
            resource_path: config.resource_path,
            issuer,
            public_url: url,
            offered: config.offered,
            proxies: config.trusted_proxies.iter().map(IpAddr::to_canonical).collect(),
            oauth,
            oidc,
            counters: AuthCounters::default(),
            wrong: Limit::new(at_once(30), Duration::from_secs(2)),
            sign_in_address: Limit::new(at_once(10), Duration::from_secs(10)),
            sign_in_name: Limit::new(at_once(20), Duration::from_secs(30)),
            registrations: Limit::new(at_once(20), Duration::from_secs(60)),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The names of this server, for other routers.
    pub fn guard(&self) -> &Guard {
        &self.inner.guard
    }

    pub fn counters(&self) -> &AuthCounters {
        &self.inner.counters
    }

    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    pub(crate) fn now(&self) -> Seconds {
        self.inner.clock.now()
    }

    /// The URL of the protected resource's metadata (RFC 9728 §3.1).
    pub(crate) fn resource_metadata(&self) -> String {
        format!("{}/.well-known/oauth-protected-resource{}", self.inner.issuer, self.inner.resource_path)
    }

    pub(crate) fn oidc(&self) -> Option<&Oidc> {
        self.inner.oidc.as_ref()
    }

    /// The one name of the resource, if `text` is a name of it: its URL, or the server's, with or without a
    /// slash at the end.
    pub(crate) fn resource_named(&self, text: &str) -> Option<&str> {
        let url = Url::parse(text).ok()?;
        let same = url.origin() == self.inner.public_url.origin();
        let bare = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        let path = url.path().trim_end_matches('/');
        (same && bare && (path.is_empty() || path == self.inner.resource_path))
            .then_some(self.inner.resource.as_str())
    }
}

/// Everything that belongs to getting a credential: metadata always, sign-in, consent and tokens where the
/// authorisation server is our own. Checks `Host` and `Origin` itself.
pub fn router(state: &AuthState) -> Router {
    crate::oauth::router(state)
}

/// HTTPS, or this machine itself.
pub(crate) fn is_secure(url: &Url) -> bool {
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url))
}

/// Whether the URL names this machine itself.
pub(crate) fn is_loopback(url: &Url) -> bool {
    // `Host` gives addresses in brackets, in their shortest form.
    matches!(url.host_str(), Some("localhost" | "[::1]"))
        || url
            .host_str()
            .and_then(|host| host.parse::<std::net::Ipv4Addr>().ok())
            .is_some_and(|ip| ip.is_loopback())
}
