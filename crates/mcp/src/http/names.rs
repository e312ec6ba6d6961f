//! The names under which this server is reached, and the pages that may call it.

use super::refusal::Refusal;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

/// Names of this machine that nobody else can give to a page of theirs.
const OWN: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// What may stand in `Host` and `Origin`.
#[derive(Debug)]
pub(super) struct Names {
    hosts: Vec<Place>,
    any_host: bool,
    origins: Vec<String>,
}

/// A name, on one port or on any.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    host: String,
    port: Option<u16>,
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        let authority: Authority = text.parse().ok()?;
        // A name with a user is none.
        (!text.contains('@')).then(|| Self {
            host: authority.host().trim_end_matches('.').to_ascii_lowercase(),
            port: authority.port_u16(),
        })
    }
}

impl Names {
    pub(super) fn new(hosts: &[String], origins: &[String]) -> Self {
        let own = OWN.iter().map(|name| (*name).to_owned());
        let all = own.chain(hosts.iter().map(|host| host.trim().to_owned()));
        Self {
            hosts: all.filter_map(|host| Place::parse(&host)).collect(),
            any_host: hosts.iter().any(|host| host.trim() == "*"),
            origins: origins.iter().map(|origin| normal(origin)).collect(),
        }
    }

    /// Checks where a request says it goes to and comes from.
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        // HTTP/2 has it in the target instead.
        let said = match only(headers, &header::HOST)? {
            Some(host) => host,
            None => uri.authority().map(Authority::as_str).ok_or(Refusal::Host)?,
        };
        let place = Place::parse(said).ok_or(Refusal::Host)?;
        let known = |allowed: &Place| {
            allowed.host == place.host && (allowed.port.is_none() || allowed.port == place.port)
        };
        if !self.any_host && !self.hosts.iter().any(known) {
            return Err(Refusal::Host);
        }
        let Some(origin) = only(headers, &header::ORIGIN).map_err(|_| Refusal::Origin)? else {
            return Ok(());
        };
        let origin = normal(origin);
        let own = ["http", "https"].iter().any(|scheme| origin == normal(&format!("{scheme}://{said}")));
        if own || self.origins.contains(&origin) { Ok(()) } else { Err(Refusal::Origin) }
    }

    /// The origin of the request, where it is one of those that were named.
    pub(super) fn named_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        origin.to_str().is_ok_and(|text| self.origins.contains(&normal(text))).then(|| origin.clone())
    }
}

/// A header that may stand there once, in text.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().map(|value| value.to_str().map_err(|_| Refusal::Host)).transpose()?;
    if values.next().is_some() { Err(Refusal::Host) } else { Ok(first) }
}

/// An origin as browsers write it: in small letters, without the scheme's own port.
fn normal(origin: &str) -> String {
    let origin = origin.trim().trim_end_matches('/').to_ascii_lowercase();
    let own_port = match origin.split_once("://") {
        Some(("http", _)) => ":80",
        Some(("https", _)) => ":443",
        _ => return origin,
    };
    origin.strip_suffix(own_port).map(str::to_owned).unwrap_or(origin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn check(names: &Names, host: &str, origin: Option<&str>) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        names.check(&Uri::from_static("/mcp"), &headers)
    }

    #[test]
    fn this_machines_own_names_are_known_on_every_port() {
        let names = Names::new(&[], &[]);
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:65535", "localhost."] {
            assert_eq!(check(&names, host, None), Ok(()), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "", ":80", "a b"] {
            assert_eq!(check(&names, host, None), Err(Refusal::Host), "{host}");
        }
    }

    #[test]
    fn a_configured_name_holds_on_its_port_only() {
        let names = Names::new(&["desk.example:8443".to_owned(), "desk.lan".to_owned()], &[]);
        assert_eq!(check(&names, "Desk.Example:8443", None), Ok(()));
        assert_eq!(check(&names, "desk.example", None), Err(Refusal::Host));
        assert_eq!(check(&names, "desk.lan:1234", None), Ok(()));
        let any = Names::new(&["*".to_owned()], &[]);
        assert_eq!(check(&any, "whatever.example:1", None), Ok(()));
    }

    #[test]
    fn pages_of_this_server_and_of_the_named_origins_may_call() {
        let origins = ["https://desk.example".to_owned(), "http://localhost:6274/".to_owned()];
        let names = Names::new(&[], &origins);
        for origin in [
            "http://localhost:8080",
            "https://desk.example:443",
            "HTTPS://DESK.EXAMPLE",
            "http://localhost:6274",
        ] {
            assert_eq!(check(&names, "localhost:8080", Some(origin)), Ok(()), "{origin}");
        }
        for origin in [
            "http://evil.example",
            "null",
            "http://localhost:9999",
            "http://desk.example",
            "",
            "https://desk.example.evil.example",
        ] {
            assert_eq!(check(&names, "localhost:8080", Some(origin)), Err(Refusal::Origin), "{origin}");
        }
    }

    #[test]
    fn two_hosts_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, HeaderValue::from_static("localhost"));
        headers.append(header::HOST, HeaderValue::from_static("evil.example"));
        let names = Names::new(&[], &[]);
        assert_eq!(names.check(&Uri::from_static("/mcp"), &headers), Err(Refusal::Host));
        assert_eq!(names.check(&Uri::from_static("/mcp"), &HeaderMap::new()), Err(Refusal::Host));
        let target = Uri::from_static("https://localhost:8443/mcp");
        assert_eq!(names.check(&target, &HeaderMap::new()), Ok(()));
    }
}
