//! How people name a peer: `id`, `id/r`, `id@server?key=…`, an IP address, `domain:port`
//! (rendezvous §7.1).

use crate::addr;
use crate::defaults::{DIRECT_PORT, RENDEZVOUS_PORT};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The longest id: the width of the column in hbbs's database.
pub const MAX_ID_LEN: usize = 100;

/// hbbs refuses to register an id that is shorter (rendezvous §5.4).
pub const MIN_ID_LEN: usize = 6;

/// The server that `@public` means. Used only when somebody writes that.
pub const PUBLIC_SERVER: &str = "rs-ny.rustdesk.com";

/// The key of the public network; stock clients without a key of their own send it.
pub const PUBLIC_KEY: &str = "OeVuKk5nlHiXp+APNn0Y3pC1Iwpwn44JGqrQCsWqmBw=";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("empty; give an id, an IP address or domain:port")]
    Empty,
    #[error("{0:?} is no port number")]
    Port(String),
    #[error("{0:?} is no id: it has a character that ids can not have")]
    Character(String),
    #[error("the id has more than {MAX_ID_LEN} bytes")]
    TooLong,
    #[error("{0:?} is no server address")]
    Server(String),
}

/// Where a peer is to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerAddress {
    /// Known to a rendezvous server.
    Id(IdAddress),
    /// Reached by TCP, past any server; such a session is not encrypted by the protocol.
    Direct { host: String, port: u16 },
}

/// A peer by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdAddress {
    pub id: String,
    /// `/r`: through the relay, whatever the network allows.
    pub force_relay: bool,
    /// `@…`: this server in place of the configured one.
    pub server: Option<ServerAddress>,
}

/// The part behind `@`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    /// `host`, `host:port`, or a `ws://` or `wss://` address used as it is.
    pub address: String,
    /// `?key=…` as written; `None` where there is none, which on the wire is an empty key.
    pub key: Option<String>,
}

impl ServerAddress {
    /// Host and port, unless the address is a WebSocket one.
    pub fn host_port(&self) -> Option<(String, u16)> {
        addr::split_host_port(&self.address, RENDEZVOUS_PORT)
    }
}

impl FromStr for PeerAddress {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let text: String = text.chars().filter(|c| *c != ' ').collect();
        if text.is_empty() {
            return Err(ParseError::Empty);
        }
        let (peer, server) = match text.split_once('@') {
            Some((peer, server)) => (peer, Some(parse_server(server)?)),
            None => (&text[..], None),
        };
        if server.is_none()
            && let Some(direct) = parse_direct(peer)?
        {
            return Ok(direct);
        }
        let (id, force_relay) = match peer.strip_suffix("/r").or_else(|| peer.strip_suffix("\\r")) {
            Some(id) => (id, true),
            None => (peer, false),
        };
        Ok(Self::Id(IdAddress { id: check_id(id)?, force_relay, server }))
    }
}

/// An id if it can be one at all: upstream's own are decimal, chosen ones words.
fn check_id(id: &str) -> Result<String, ParseError> {
    if id.is_empty() {
        return Err(ParseError::Empty);
    }
    if id.len() > MAX_ID_LEN {
        return Err(ParseError::TooLong);
    }
    if !id.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-' || c == '.') {
        return Err(ParseError::Character(id.into()));
    }
    Ok(id.into())
}

/// Behind the first `@`; text after a second `@` or `?` is dropped, and values are not percent-decoded,
/// so that base64 passes through.
fn parse_server(text: &str) -> Result<ServerAddress, ParseError> {
    let text = text.split('@').next().unwrap_or_default();
    let mut parts = text.split('?');
    let address = parts.next().unwrap_or_default();
    let key = parts.next().and_then(|arguments| {
        arguments.split('&').find_map(|argument| {
            let (name, value) = argument.split_once('=')?;
            name.eq_ignore_ascii_case("key").then(|| value.to_owned())
        })
    });
    if address == "public" {
        return Ok(ServerAddress { address: PUBLIC_SERVER.into(), key: Some(PUBLIC_KEY.into()) });
    }
    let is_url = address.starts_with("ws://") || address.starts_with("wss://");
    if !is_url && addr::split_host_port(address, RENDEZVOUS_PORT).is_none() {
        return Err(ParseError::Server(address.into()));
    }
    Ok(ServerAddress { address: address.into(), key })
}

/// IPv4 and IPv6 with and without port, `domain:port`, and `localhost:port`, which upstream takes for an
/// id that can not exist.
fn parse_direct(text: &str) -> Result<Option<PeerAddress>, ParseError> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(Some(PeerAddress::Direct { host: ip.to_string(), port: DIRECT_PORT }));
    }
    if !text.contains(':') {
        return Ok(None);
    }
    match addr::split_host_port(text, DIRECT_PORT) {
        Some((host, port)) if port != 0 => Ok(Some(PeerAddress::Direct { host, port })),
        _ => Err(ParseError::Port(text.rsplit(':').next().unwrap_or_default().into())),
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Direct { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Direct { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

impl fmt::Display for IdAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)?;
        if self.force_relay {
            f.write_str("/r")?;
        }
        if let Some(server) = &self.server {
            write!(f, "@{}", server.address)?;
            if let Some(key) = &server.key {
                write!(f, "?key={key}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<PeerAddress, ParseError> {
        text.parse()
    }

    fn id(
        id: &str,
        force_relay: bool,
        server: Option<(&str, Option<&str>)>,
    ) -> Result<PeerAddress, ParseError> {
        let server =
            server.map(|(address, key)| ServerAddress { address: address.into(), key: key.map(Into::into) });
        Ok(PeerAddress::Id(IdAddress { id: id.into(), force_relay, server }))
    }

    fn direct(host: &str, port: u16) -> Result<PeerAddress, ParseError> {
        Ok(PeerAddress::Direct { host: host.into(), port })
    }

    #[test]
    fn ids() {
        assert_eq!(parse("123456789"), id("123456789", false, None));
        assert_eq!(parse("123 456 789"), id("123456789", false, None));
        assert_eq!(parse("my-machine_1"), id("my-machine_1", false, None));
        assert_eq!(parse("123456789/r"), id("123456789", true, None));
        assert_eq!(parse("123456789\\r"), id("123456789", true, None));
    }

    #[test]
    fn ids_with_a_server() {
        let key = "OeVuKk5nlHiXp+APNn0Y3pC1Iwpwn44JGqrQCsWqmBw=";
        assert_eq!(parse("1234567@a.b"), id("1234567", false, Some(("a.b", None))));
        assert_eq!(parse("1234567@a.b:2116"), id("1234567", false, Some(("a.b:2116", None))));
        assert_eq!(
            parse(&format!("1234567/r@a.b?key={key}")),
            id("1234567", true, Some(("a.b", Some(key)))),
            "base64 passes unchanged"
        );
        assert_eq!(parse("1234567@a.b?x=1&KEY=k=&y"), id("1234567", false, Some(("a.b", Some("k=")))));
        assert_eq!(parse("1234567@a.b?key=k?key=z@c"), id("1234567", false, Some(("a.b", Some("k")))));
        assert_eq!(parse("1234567@public"), id("1234567", false, Some((PUBLIC_SERVER, Some(PUBLIC_KEY)))));
        assert_eq!(
            parse("1234567@wss://h.example/ws/id?key=k"),
            id("1234567", false, Some(("wss://h.example/ws/id", Some("k"))))
        );
    }

    #[test]
    fn addresses() {
        assert_eq!(parse("10.0.0.1"), direct("10.0.0.1", 21118));
        assert_eq!(parse("10.0.0.1:5"), direct("10.0.0.1", 5));
        assert_eq!(parse("2001:db8::1"), direct("2001:db8::1", 21118));
        assert_eq!(parse("::1"), direct("::1", 21118));
        assert_eq!(parse("[2001:db8::1]:7"), direct("2001:db8::1", 7));
        assert_eq!(parse("host.example:7"), direct("host.example", 7));
        assert_eq!(parse("localhost:7"), direct("localhost", 7));
    }

    #[test]
    fn what_is_neither() {
        assert_eq!(parse("  "), Err(ParseError::Empty));
        assert_eq!(parse("/r"), Err(ParseError::Empty));
        assert_eq!(parse("@a.b"), Err(ParseError::Empty));
        assert_eq!(parse("host.example:port"), Err(ParseError::Port("port".into())));
        assert_eq!(parse("10.0.0.1:0"), Err(ParseError::Port("0".into())));
        assert_eq!(parse("12345\n6"), Err(ParseError::Character("12345\n6".into())));
        assert_eq!(parse("1234567@"), Err(ParseError::Server(String::new())));
        assert_eq!(parse(&"1".repeat(101)), Err(ParseError::TooLong));
    }

    #[test]
    fn display_parses_back() {
        for text in ["123456789/r@a.b:1?key=k=", "123456789", "[::1]:21118", "10.0.0.1:21118"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_judged(text: String) {
            if let Ok(peer) = parse(&text) {
                proptest::prop_assert_eq!(parse(&peer.to_string()), Ok(peer));
            }
        }
    }
}
