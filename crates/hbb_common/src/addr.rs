//! Mangled addresses: how `socket_addr` and its kin carry an address and a port (rendezvous §5.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// IPv4-mapped (`::ffff:a.b.c.d`) and IPv4-compatible (`::a.b.c.d`, `::` among them) addresses become
/// IPv4; `::1` stays. hbbs sees the mapped form on its dual-stack listeners.
pub fn normalize(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(normalize_ip(addr.ip()), addr.port())
}

/// See [`normalize`].
pub fn normalize_ip(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) if v6 != Ipv6Addr::LOCALHOST => v6.to_ipv4().map_or(ip, IpAddr::V4),
        _ => ip,
    }
}

/// The address as bytes. `t` blurs an IPv4 address against NATs that rewrite what looks like one;
/// upstream takes the low 32 bits of the Unix time in microseconds.
pub fn mangle(addr: SocketAddr, t: u32) -> Vec<u8> {
    match normalize(addr) {
        SocketAddr::V4(v4) => {
            let ip = u128::from(u32::from_le_bytes(v4.ip().octets()));
            let t = u128::from(t);
            let port = u128::from(v4.port());
            let n = ((ip + t) << 49) | (t << 17) | (port + (t & 0xFFFF));
            let bytes = n.to_le_bytes();
            let used = bytes.iter().rposition(|&b| b != 0).map_or(0, |i| i + 1);
            bytes[..used].to_vec()
        }
        SocketAddr::V6(v6) => {
            let mut out = v6.ip().octets().to_vec();
            out.extend_from_slice(&v6.port().to_le_bytes());
            out
        }
    }
}

/// The address in mangled bytes. Never fails: port 0 is how every user of it says "absent", and that is
/// what bytes of a wrong length give.
pub fn demangle(bytes: &[u8]) -> SocketAddr {
    if bytes.len() > 16 {
        let Ok(bytes) = <[u8; 18]>::try_from(bytes) else {
            return SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
        };
        let [ip @ .., low, high] = bytes;
        return SocketAddr::new(Ipv6Addr::from(ip).into(), u16::from_le_bytes([low, high]));
    }
    let mut padded = [0; 16];
    padded[..bytes.len()].copy_from_slice(bytes);
    let n = u128::from_le_bytes(padded);
    let t = (n >> 17) as u32;
    let ip = ((n >> 49) as u32).wrapping_sub(t);
    let port = (n as u16).wrapping_sub(t as u16);
    SocketAddr::new(Ipv4Addr::from(ip.to_le_bytes()).into(), port)
}

/// Splits `host`, `host:port`, `v6` or `[v6]:port`.
pub fn split_host_port(text: &str, default_port: u16) -> Option<(String, u16)> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some((ip.to_string(), default_port));
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (ip, rest) = rest.split_once(']')?;
        let ip: Ipv6Addr = ip.parse().ok()?;
        let port = match rest.strip_prefix(':') {
            Some(port) => port.parse().ok()?,
            None if rest.is_empty() => default_port,
            None => return None,
        };
        return Some((ip.to_string(), port));
    }
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !host.contains(':') => {
            Some((host.into(), port.parse().ok()?))
        }
        Some(_) => None,
        None if text.is_empty() => None,
        None => Some((text.into(), default_port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        text.split_whitespace().map(|b| u8::from_str_radix(b, 16).unwrap()).collect()
    }

    #[test]
    fn worked_addresses() {
        let table = [
            ("203.0.113.7:50000", 0x1234_5678, "c8 19 f1 ac 68 24 86 ae 4a 33"),
            ("192.168.16.32:21116", 0x1234_5678, "f4 a8 f0 ac 68 24 70 fe 89 64"),
            ("203.0.113.7:50000", 0, "50 c3 00 00 00 00 96 01 e2 0e"),
            ("255.255.255.255:65535", 0xffff_ffff, "fe ff ff ff ff ff fd ff ff ff 03"),
            ("[2001:db8::1]:8080", 0, "20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01 90 1f"),
            ("[::1]:8080", 7, "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01 90 1f"),
        ];
        for (addr, t, bytes) in table {
            let addr: SocketAddr = addr.parse().unwrap();
            assert_eq!(mangle(addr, t), hex(bytes), "{addr}");
            assert_eq!(demangle(&hex(bytes)), addr);
        }
    }

    #[test]
    fn a_mapped_address_travels_as_ipv4() {
        let mapped: SocketAddr = "[::ffff:127.0.0.1]:8080".parse().unwrap();
        let bytes = mangle(mapped, 0x1234_5678);
        assert_eq!(bytes, hex("08 76 f0 ac 68 24 ee ad 68 26"));
        assert_eq!(demangle(&bytes), "127.0.0.1:8080".parse().unwrap());
    }

    #[test]
    fn absent_and_wrong_lengths() {
        assert_eq!(demangle(&[]), "0.0.0.0:0".parse().unwrap());
        assert_eq!(demangle(&[1; 17]), "[::]:0".parse().unwrap());
        assert_eq!(demangle(&[1; 19]), "[::]:0".parse().unwrap());
    }

    #[test]
    fn hosts_and_ports() {
        let split = |text| split_host_port(text, 21116);
        assert_eq!(split("a.b"), Some(("a.b".into(), 21116)));
        assert_eq!(split("a.b:1"), Some(("a.b".into(), 1)));
        assert_eq!(split("::1"), Some(("::1".into(), 21116)));
        assert_eq!(split("[::1]:5"), Some(("::1".into(), 5)));
        assert_eq!(split("[::1]"), Some(("::1".into(), 21116)));
        for wrong in ["", ":1", "a:b:c", "a:99999", "[::1", "[x]:1", "[::1]x"] {
            assert_eq!(split(wrong), None, "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_ipv4_address_comes_back(ip: u32, port: u16, t: u32) {
            let addr = SocketAddr::new(Ipv4Addr::from(ip).into(), port);
            proptest::prop_assert_eq!(demangle(&mangle(addr, t)), addr);
        }

        #[test]
        fn any_bytes_are_some_address(bytes in proptest::collection::vec(0u8.., 0..24)) {
            demangle(&bytes);
        }
    }
}
