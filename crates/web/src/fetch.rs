//! Requests that we make ourselves, to addresses that others name.
//!
//! A client can name itself by a URL, which we then fetch. So that nobody can make us fetch what only we can
//! reach: HTTPS alone, names alone (no addresses), the name is resolved once, every address that is not
//! public is dropped, and the connection goes to one of the others; no redirects, no proxy of the
//! environment; bounded in time and size. The issuer that an operator configures may be private.

use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Url, redirect};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// From the first packet to the last.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a document was not fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    #[error("only https addresses with a name are fetched")]
    Address,
    #[error("the name does not lead to a public address")]
    Private,
    #[error("the server answered with status {status}")]
    Status { status: u16 },
    #[error("the document is not JSON")]
    NotJson,
    #[error("the document is longer than {limit} bytes")]
    TooLong { limit: usize },
    #[error("the server can not be reached: {reason}")]
    Unreachable { reason: String },
}

/// What was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub body: Vec<u8>,
    /// Seconds for which the server says that it stays the same.
    pub max_age: Option<u64>,
}

/// Where documents come from: the network, or a table in tests.
pub trait Documents: Send + Sync + fmt::Debug {
    /// The JSON document at `url`, of at most `limit` bytes.
    fn get(&self, url: Url, limit: usize) -> BoxFuture<'static, Result<Document, FetchError>>;
}

/// Looks names up.
type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> + Send + Sync>;

/// Documents of the network.
#[derive(Debug, Clone)]
pub struct Network {
    client: Client,
    public_only: bool,
}

impl Network {
    /// For addresses that strangers name.
    ///
    /// # Errors
    /// If no TLS implementation was installed, or the system's certificates can not be used.
    pub fn public_only() -> Result<Self, crate::auth::AuthError> {
        Self::build(true, Arc::new(|name| Box::pin(system_lookup(name))))
    }

    /// For addresses that the operator names.
    ///
    /// # Errors
    /// As for [`public_only`](Self::public_only).
    pub fn any() -> Result<Self, crate::auth::AuthError> {
        Self::build(false, Arc::new(|name| Box::pin(system_lookup(name))))
    }

    fn build(public_only: bool, lookup: Lookup) -> Result<Self, crate::auth::AuthError> {
        use crate::auth::AuthError;
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(AuthError::NoTls);
        }
        let client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .timeout(PATIENCE)
            .dns_resolver(Arc::new(Resolver { public_only, lookup }))
            .user_agent(concat!("deskhand/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| AuthError::Http { reason: reason(&error) })?;
        Ok(Self { client, public_only })
    }
}

impl Documents for Network {
    fn get(&self, url: Url, limit: usize) -> BoxFuture<'static, Result<Document, FetchError>> {
        let this = self.clone();
        Box::pin(async move {
            if this.public_only && !is_public_url(&url) {
                return Err(FetchError::Address);
            }
            let request = this.client.get(url).header("accept", "application/json");
            let mut response = request.send().await.map_err(|error| unreachable(&error))?;
            let status = response.status().as_u16();
            if status != 200 {
                return Err(FetchError::Status { status });
            }
            let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
            if !header("content-type").is_some_and(is_json) {
                return Err(FetchError::NotJson);
            }
            let max_age = header("cache-control").and_then(max_age);
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(&error))? {
                if body.len() + chunk.len() > limit {
                    return Err(FetchError::TooLong { limit });
                }
                body.extend_from_slice(&chunk);
            }
            Ok(Document { body, max_age })
        })
    }
}

/// HTTPS with a name: an address would be connected to without being looked up.
pub(crate) fn is_public_url(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok();
    url.scheme() == "https"
        && !host.is_empty()
        && !address
        && url.username().is_empty()
        && url.password().is_none()
}

fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

fn max_age(cache_control: &str) -> Option<u64> {
    let directives = cache_control.split(',').map(|part| part.trim().to_ascii_lowercase());
    let mut found = None;
    for directive in directives {
        if matches!(directive.as_str(), "no-store" | "no-cache") {
            return Some(0);
        }
        found = found.or_else(|| directive.strip_prefix("max-age=")?.parse().ok());
    }
    found
}

fn unreachable(error: &reqwest::Error) -> FetchError {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.is::<NotPublic>() {
            return FetchError::Private;
        }
        cause = error.source();
    }
    FetchError::Unreachable { reason: reason(error) }
}

/// The innermost cause, without the address.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

struct Resolver {
    public_only: bool,
    lookup: Lookup,
}

#[derive(Debug, thiserror::Error)]
#[error("the name does not lead to a public address")]
struct NotPublic;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (lookup, public_only) = (Arc::clone(&self.lookup), self.public_only);
        Box::pin(async move {
            let mut found = lookup(name.as_str().to_owned()).await?;
            if public_only {
                found.retain(|ip| is_public(*ip));
                if found.is_empty() {
                    return Err(NotPublic.into());
                }
            }
            let addresses: Addrs = Box::new(found.into_iter().map(|ip| SocketAddr::new(ip, 0)));
            Ok(addresses)
        })
    }
}

async fn system_lookup(name: String) -> std::io::Result<Vec<IpAddr>> {
    Ok(tokio::net::lookup_host((name, 0)).await?.map(|found| found.ip()).collect())
}

/// Whether an address is one that anybody can reach: none of this machine, this network, or a special purpose
/// (the registries of RFC 6890).
pub(crate) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !matches!(
        (a, b, c),
        (0 | 10 | 127 | 224.., _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 31, 196)
            | (192, 52, 193)
            | (192, 88, 99)
            | (192, 168, _)
            | (192, 175, 48)
            | (198, 18..=19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    )
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    if let Some(v4) = ip.to_ipv4_mapped() {
        return is_public_v4(v4);
    }
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let embedded = |high: u16, low: u16| {
        let ([w, x], [y, z]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(w, x, y, z))
    };
    match (a, b) {
        // NAT64 and 6to4 lead on to an IPv4 address.
        (0x64, 0xff9b) => c == 0 && d == 0 && e == 0 && f == 0 && embedded(g, h),
        (0x2002, _) => embedded(b, c),
        // Teredo, benchmarking, ORCHID and others of the IETF; documentation.
        (0x2001, 0..=0x1ff | 0xdb8) | (0x3fff, 0..=0xfff) => false,
        // Global unicast.
        (0x2000..=0x3fff, _) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use std::sync::Mutex;

    #[test]
    fn special_addresses_are_not_public() {
        for public in
            ["1.1.1.1", "8.8.8.8", "172.15.0.1", "172.32.0.1", "100.63.0.1", "192.0.1.1", "2606:4700::1111"]
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for special in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "100::1",
        ] {
            assert!(!is_public(special.parse().unwrap()), "{special}");
        }
        assert!(is_public("64:ff9b::808:808".parse().unwrap()));
    }

    #[test]
    fn only_https_names_are_fetched() {
        for ok in ["https://client.example/id.json", "https://client.example:8443/", "https://localhost/"] {
            assert!(is_public_url(&Url::parse(ok).unwrap()), "{ok}");
        }
        for bad in [
            "http://client.example/",
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://[::1]/",
            "https://user@client.example/",
            "https://:pass@client.example/",
            "ftp://client.example/",
            "file:///etc/passwd",
        ] {
            assert!(!is_public_url(&Url::parse(bad).unwrap()), "{bad}");
        }
    }

    #[test]
    fn answers_say_how_long_they_last() {
        assert_eq!(max_age("public, max-age=300"), Some(300));
        assert_eq!(max_age("Max-Age=5"), Some(5));
        assert_eq!(max_age("max-age=5, no-store"), Some(0));
        assert_eq!(max_age("private"), None);
        assert!(is_json("application/json; charset=utf-8") && is_json("application/ld+json"));
        assert!(!is_json("text/html") && !is_json("text/json+html"));
    }

    fn network(lookup: impl Fn(String) -> Vec<IpAddr> + Send + Sync + 'static) -> Network {
        // Another test may have been first.
        drop(rustls::crypto::ring::default_provider().install_default());
        let lookup: Lookup = Arc::new(move |name| {
            let found = lookup(name);
            Box::pin(async move { Ok(found) })
        });
        Network::build(true, lookup).unwrap()
    }

    async fn error(network: &Network, url: &str) -> FetchError {
        network.get(Url::parse(url).unwrap(), 1000).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_not_connected_to() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let inside = network(|_| vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()]);
        assert_eq!(error(&inside, &format!("https://evil.example:{port}/")).await, FetchError::Private);
        assert_eq!(error(&inside, &format!("https://127.0.0.1:{port}/")).await, FetchError::Address);
        assert_eq!(error(&inside, &format!("http://evil.example:{port}/")).await, FetchError::Address);
        assert!(listener.accept().now_or_never().is_none(), "somebody connected");
    }

    #[tokio::test]
    async fn a_name_is_looked_up_once() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let network = network(move |name| {
            seen.lock().unwrap().push(name);
            vec!["169.254.169.254".parse().unwrap()]
        });
        assert_eq!(error(&network, "https://evil.example/").await, FetchError::Private);
        assert_eq!(*asked.lock().unwrap(), ["evil.example"]);
    }
}
