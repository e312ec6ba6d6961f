//! Where servers and relays are: `host`, `host:port`, or a WebSocket address.

use hbb_common::addr::split_host_port;
use hbb_common::defaults::{RELAY_PORT, RENDEZVOUS_PORT};

/// WebSocket ports are this much above the TCP ones (rendezvous §2.4).
const WEB_OFFSET: u16 = 2;

/// The paths under which a reverse proxy has hbbs and hbbr (rendezvous §2.4).
const WEB_ID: &str = "/ws/id";
const WEB_RELAY: &str = "/ws/relay";

/// A WebSocket address: `ws://host[:port][/path]` or `wss://…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WebAddress {
    /// By TLS.
    pub(crate) secure: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) path: String,
}

impl WebAddress {
    /// `None`: this is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (secure, rest) = match text.strip_prefix("wss://") {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix("ws://")?),
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let (host, port) = split_host_port(authority, if secure { 443 } else { 80 })?;
        Some(Self { secure, host, port, path: path.into() })
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.secure { "wss" } else { "ws" };
        format!("{scheme}://{}{}", joined(&self.host, self.port), self.path)
    }
}

pub(crate) fn is_web_socket(address: &str) -> bool {
    address.starts_with("ws://") || address.starts_with("wss://")
}

/// Where the relay of a server is if nobody says: beside it (rendezvous §5.16).
pub(crate) fn default_relay(server: &str) -> String {
    if let Some(web) = WebAddress::parse(server) {
        return joined(&web.host, web.port.wrapping_sub(WEB_OFFSET).wrapping_add(1));
    }
    match split_host_port(server, RENDEZVOUS_PORT) {
        Some((host, port)) => joined(&host, port.wrapping_add(1)),
        None => String::new(),
    }
}

/// A relay as we reach it: that of a server spoken to over WebSocket has a door for that too. Behind a proxy
/// it is beside the server's, else two ports above its own.
pub(crate) fn relay_address(server: &str, relay: &str) -> String {
    let Some(server) = WebAddress::parse(server).filter(|_| !is_web_socket(relay)) else {
        return relay.into();
    };
    if let Some(base) = server.path.strip_suffix(WEB_ID) {
        return WebAddress { path: format!("{base}{WEB_RELAY}"), ..server }.url();
    }
    match split_host_port(relay, RELAY_PORT) {
        Some((host, port)) => {
            WebAddress { host, port: port.saturating_add(WEB_OFFSET), path: "/".into(), ..server }.url()
        }
        None => relay.into(),
    }
}

fn joined(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_relay_is_beside_the_server() {
        assert_eq!(default_relay("h.example"), "h.example:21117");
        assert_eq!(default_relay("10.0.0.1:2000"), "10.0.0.1:2001");
        assert_eq!(default_relay("[::1]:2000"), "[::1]:2001");
        assert_eq!(default_relay("ws://10.0.0.1:21118/"), "10.0.0.1:21117");
        assert_eq!(default_relay("wss://h.example:21118"), "h.example:21117");
    }

    #[test]
    fn a_relay_is_reached_as_its_server_is() {
        let table = [
            ("h.example", "r.example:7", "r.example:7"),
            ("ws://10.0.0.1:21118/", "10.0.0.2:21117", "ws://10.0.0.2:21119/"),
            ("ws://[::1]:21118", "[::1]:21117", "ws://[::1]:21119/"),
            ("wss://h.example:21118/", "10.0.0.2", "wss://10.0.0.2:21119/"),
            ("wss://h.example/ws/id", "10.0.0.2:21117", "wss://h.example:443/ws/relay"),
            ("ws://h.example:8080/desk/ws/id", "10.0.0.2:21117", "ws://h.example:8080/desk/ws/relay"),
            ("wss://h.example/ws/id", "wss://r.example/x", "wss://r.example/x"),
        ];
        for (server, relay, reached) in table {
            assert_eq!(relay_address(server, relay), reached, "{server} {relay}");
        }
    }

    #[test]
    fn web_addresses() {
        let parsed = |text| WebAddress::parse(text).map(|web| (web.secure, web.url()));
        assert_eq!(parsed("wss://h.example"), Some((true, "wss://h.example:443/".into())));
        assert_eq!(parsed("ws://[::1]:5/x/y"), Some((false, "ws://[::1]:5/x/y".into())));
        for none in ["h.example", "ws://", "wss://:1", "ws://h:99999"] {
            assert_eq!(parsed(none), None, "{none}");
        }
    }
}
