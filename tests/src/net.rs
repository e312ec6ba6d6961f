//! Addresses and ports that no other test uses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

/// A loopback address of this test alone: all of 127.0.0.0/8 is local on Linux, so programs with fixed
/// ports (hbbs and hbbr) can run many times at once. Never 127.0.0.1, which stock servers treat as an
/// administrator.
pub fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let nth = NEXT.fetch_add(1, Ordering::Relaxed);
    // Neighbouring processes have neighbouring ids: 64 addresses for each of 65 536 processes.
    let within = (std::process::id() % 0x1_0000) * 64 + nth % 64;
    let [_, a, b, c] = (0x0040_0000 + within).to_be_bytes();
    Ipv4Addr::new(127, a, b, c)
}

/// A TCP port that is free at `ip` now.
pub fn free_tcp_port(ip: impl Into<IpAddr>) -> u16 {
    let socket = TcpListener::bind(SocketAddr::new(ip.into(), 0)).expect("a free port");
    socket.local_addr().expect("a bound socket has an address").port()
}

/// A UDP port that is free at `ip` now.
pub fn free_udp_port(ip: impl Into<IpAddr>) -> u16 {
    let socket = UdpSocket::bind(SocketAddr::new(ip.into(), 0)).expect("a free port");
    socket.local_addr().expect("a bound socket has an address").port()
}

/// Runs a test in a network namespace of its own, where it alone has `addresses`; without root, as long
/// as the kernel lets users make namespaces.
///
/// Call it first, with the test's path as the test binary lists it. The binary is started again inside
/// for that one test; the caller's run only passes the verdict on ([`Namespace::Done`]).
///
/// Where namespaces are not to be had (some containers), the answer is [`Namespace::Unavailable`]: the
/// test then uses [`own_address`].
pub fn in_namespace(test: &str, addresses: &[&str]) -> Namespace {
    const INSIDE: &str = "DESKHAND_TEST_NAMESPACE";
    if std::env::var_os(INSIDE).is_some() {
        return Namespace::Inside;
    }
    let unshare = |command: &[&str]| {
        let mut unshare = std::process::Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--net", "--"]).args(command);
        unshare
    };
    if !unshare(&["ip", "link", "set", "lo", "up"]).output().is_ok_and(|o| o.status.success()) {
        return Namespace::Unavailable;
    }
    let mut script = String::from("ip link set lo up");
    for address in addresses {
        script.push_str(&format!(" && ip addr add {address}/32 dev lo"));
    }
    script.push_str(" && exec \"$@\"");
    let binary = std::env::current_exe().expect("the test binary has a path");
    let inner = unshare(&["sh", "-c", &script, "sh"])
        .arg(binary)
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare worked a moment ago");
    let said = String::from_utf8_lossy(&inner.stdout);
    assert!(
        said.contains("1 passed"),
        "in the network namespace:\n{said}{}",
        String::from_utf8_lossy(&inner.stderr)
    );
    Namespace::Done
}

/// Where the caller of [`in_namespace`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// In the namespace: run the test.
    Inside,
    /// The test has run in a namespace and passed: return.
    Done,
    /// There are no namespaces here.
    Unavailable,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_differ_and_can_be_bound() {
        let (one, two) = (own_address(), own_address());
        assert_ne!(one, two);
        for ip in [one, two] {
            assert!(ip.is_loopback() && ip != Ipv4Addr::LOCALHOST);
            assert_ne!(free_tcp_port(ip), 0);
            assert_ne!(free_udp_port(ip), 0);
        }
    }

    #[test]
    fn a_namespace_has_the_addresses_asked_for_and_no_others() {
        let here = "net::tests::a_namespace_has_the_addresses_asked_for_and_no_others";
        if in_namespace(here, &["10.77.0.1"]) == Namespace::Inside {
            assert!(TcpListener::bind("10.77.0.1:21116").is_ok());
            assert!(TcpListener::bind("10.77.0.2:21116").is_err());
        }
    }
}
