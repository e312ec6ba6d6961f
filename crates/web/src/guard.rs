//! Whom a request says it is for and from: `Host` and `Origin`.
//!
//! A page that somebody else serves can make a browser send requests here, under a name of its own that
//! suddenly resolves to this machine (DNS rebinding), or openly to our name (CSRF). The first is told by the
//! `Host`, the second by the `Origin`, which browsers do not let pages choose.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use reqwest::Url;
use std::sync::Arc;

/// The names under which this server may be called, and the pages that may call it.
#[derive(Debug, Clone)]
pub struct Guard {
    inner: Arc<Names>,
}

#[derive(Debug)]
struct Names {
    /// In lower case; with a port where only that one is meant.
    hosts: Vec<String>,
    /// `scheme://host[:port]`, of this server itself.
    own: String,
    /// Of others that may call.
    origins: Vec<String>,
}

/// What is wrong with the `Host` or the `Origin` of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Strange {
    #[error("the Host header is missing, doubled or no name")]
    NoHost,
    #[error("this server is not called by that Host")]
    Host,
    #[error("pages of that Origin may not call this server")]
    Origin,
}

impl Guard {
    /// For a server at `public_url`. The names of this machine itself are always accepted: no page has them.
    /// `hosts` are more names (`name` or `name:port`); `origins` are other sites whose pages may call
    /// (`https://name[:port]`).
    pub fn new(public_url: &Url, hosts: &[String], origins: &[String]) -> Self {
        let mut names: Vec<String> = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).into();
        names.extend(public_url.host_str().map(str::to_owned));
        names.extend(hosts.iter().map(|host| host.trim_end_matches('.').to_ascii_lowercase()));
        let own = public_url.origin().ascii_serialization();
        let origins =
            origins.iter().map(|origin| origin.trim_end_matches('/').to_ascii_lowercase()).collect();
        Self { inner: Arc::new(Names { hosts: names, own, origins }) }
    }

    /// Checks the name that the request is for.
    ///
    /// # Errors
    /// If it is not one of ours.
    pub fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Strange> {
        self.host(uri, headers).map(|_| ())
    }

    /// Checks the name, and the site whose page sent the request, if a page did.
    ///
    /// # Errors
    /// If the name is not ours, or the site is another and not allowed.
    pub fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Strange> {
        let host = self.host(uri, headers)?;
        match origin(headers)? {
            None => Ok(()),
            Some(origin) if self.is_own(&host, &origin) || self.inner.origins.contains(&origin) => Ok(()),
            Some(_) => Err(Strange::Origin),
        }
    }

    /// Whether a browser says that the request comes from one of our own pages. What is not said is not so.
    pub(crate) fn is_own_page(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        match (self.host(uri, headers), origin(headers)) {
            (Ok(host), Ok(Some(origin))) => self.is_own(&host, &origin),
            _ => false,
        }
    }

    /// Whether `origin` is this server, as the public URL has it or as the request calls it. By another name it
    /// is believed only with the scheme of the public URL: who can answer for http can not for https.
    fn is_own(&self, host: &Authority, origin: &str) -> bool {
        let scheme = self.inner.own.split("://").next();
        let same = origin.split_once("://").is_some_and(|(own, rest)| {
            let local = matches!(host.host(), "localhost" | "127.0.0.1" | "[::1]");
            let scheme = Some(own) == scheme || (local && own == "http");
            scheme && rest.eq_ignore_ascii_case(host.as_str())
        });
        same || origin == self.inner.own
    }

    fn host(&self, uri: &Uri, headers: &HeaderMap) -> Result<Authority, Strange> {
        let mut named = headers.get_all(header::HOST).iter();
        let host = match (named.next(), uri.authority()) {
            // HTTP/2 names it in the address.
            (None, Some(authority)) => authority.clone(),
            (Some(host), _) => Authority::try_from(host.as_bytes()).map_err(|_| Strange::NoHost)?,
            (None, None) => return Err(Strange::NoHost),
        };
        if named.next().is_some() || host.as_str().contains('@') {
            return Err(Strange::NoHost);
        }
        let name = host.host().trim_end_matches('.').to_ascii_lowercase();
        let with_port = host.port().map(|port| format!("{name}:{port}"));
        let ours = self.inner.hosts.iter().any(|own| *own == name || Some(own) == with_port.as_ref());
        if ours { Ok(host) } else { Err(Strange::Host) }
    }

    /// Lets only requests to our names, from our pages or from none, reach `router`.
    pub fn protect<S: Clone + Send + Sync + 'static>(&self, router: Router<S>) -> Router<S> {
        let guard = self.clone();
        router.layer(middleware::from_fn_with_state(
            guard,
            async |State(guard): State<Self>, request, next| {
                let checked = |request: &Request| guard.check(request.uri(), request.headers());
                pass(checked(&request), request, next).await
            },
        ))
    }

    /// Lets requests to our names reach `router`, from any page: for what needs no cookie and gives nothing to
    /// pages that anybody could not ask for.
    pub(crate) fn protect_host<S: Clone + Send + Sync + 'static>(&self, router: Router<S>) -> Router<S> {
        let guard = self.clone();
        router.layer(middleware::from_fn_with_state(
            guard,
            async |State(guard): State<Self>, request, next| {
                let checked = |request: &Request| guard.check_host(request.uri(), request.headers());
                pass(checked(&request), request, next).await
            },
        ))
    }
}

/// The site whose page sent the request, in lower case.
fn origin(headers: &HeaderMap) -> Result<Option<String>, Strange> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else { return Ok(None) };
    let origin = origin.to_str().map_err(|_| Strange::Origin)?.to_ascii_lowercase();
    if origins.next().is_some() { Err(Strange::Origin) } else { Ok(Some(origin)) }
}

async fn pass(checked: Result<(), Strange>, request: Request, next: Next) -> Response {
    match checked {
        Ok(()) => next.run(request).await,
        Err(strange) => (StatusCode::FORBIDDEN, format!("{strange}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        let public = Url::parse("https://desk.example").unwrap();
        Guard::new(&public, &["Other.example:8443".into()], &["https://inspector.example".into()])
    }

    fn check(host: &[&str], origin: &[&str]) -> Result<(), Strange> {
        let mut headers = HeaderMap::new();
        for host in host {
            headers.append(header::HOST, host.parse().unwrap());
        }
        for origin in origin {
            headers.append(header::ORIGIN, origin.parse().unwrap());
        }
        guard().check(&Uri::from_static("/mcp"), &headers)
    }

    #[test]
    fn only_our_names_are_answered() {
        for ours in [
            "desk.example",
            "DESK.example.",
            "desk.example:443",
            "localhost:8080",
            "127.0.0.1:1",
            "[::1]:80",
            "other.example:8443",
        ] {
            assert_eq!(check(&[ours], &[]), Ok(()), "{ours}");
        }
        for other in
            ["evil.example", "other.example", "desk.example.evil.example", "127.0.0.2", "xdesk.example"]
        {
            assert_eq!(check(&[other], &[]), Err(Strange::Host), "{other}");
        }
        for none in [&[][..], &["desk.example", "evil.example"], &["user@desk.example"], &["a b"], &[""]] {
            assert_eq!(check(none, &[]), Err(Strange::NoHost), "{none:?}");
        }
    }

    #[test]
    fn only_our_pages_may_call() {
        for ours in ["https://desk.example", "https://DESK.example", "https://inspector.example"] {
            assert_eq!(check(&["desk.example"], &[ours]), Ok(()), "{ours}");
        }
        assert_eq!(check(&["localhost:8080"], &["http://localhost:8080"]), Ok(()));
        for other in [
            "null",
            "https://evil.example",
            "http://localhost:3000",
            "https://desk.example.evil.example",
            "file://",
        ] {
            assert_eq!(check(&["localhost:8080"], &[other]), Err(Strange::Origin), "{other}");
        }
        let two = ["https://desk.example", "https://evil.example"];
        assert_eq!(check(&["desk.example"], &two), Err(Strange::Origin));
        assert_eq!(check(&["desk.example"], &["http://desk.example"]), Err(Strange::Origin), "not encrypted");
        assert_eq!(check(&["evil.example"], &["http://evil.example"]), Err(Strange::Host), "rebinding");
    }

    #[test]
    fn pages_that_may_call_are_not_our_own() {
        let is_own = |origin: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "desk.example".parse().unwrap());
            headers.insert(header::ORIGIN, origin.parse().unwrap());
            guard().is_own_page(&Uri::from_static("/"), &headers)
        };
        assert!(is_own("https://desk.example"));
        assert!(!is_own("https://inspector.example") && !is_own("null"));
        assert!(!guard().is_own_page(&Uri::from_static("/"), &HeaderMap::new()));
    }

    #[test]
    fn http_2_names_the_host_in_the_address() {
        let check = |uri: &'static str| guard().check_host(&Uri::from_static(uri), &HeaderMap::new());
        assert_eq!(check("https://desk.example/mcp"), Ok(()));
        assert_eq!(check("https://evil.example/mcp"), Err(Strange::Host));
    }
}
