//! Ports of ours, and servers of others.

use super::Report;
use crate::config::Config;
use crate::probe::{self, ProbeError, Server};
use hbb_common::addr::split_host_port;
use hbb_common::defaults::RENDEZVOUS_PORT;
use std::io;
use std::net::{SocketAddr, TcpListener};

/// Whether the sockets of `deskhand serve` could be had, or it has them.
pub(super) fn ports(config: &Config, running: bool, report: &mut Report) {
    let mut wanted = vec![("port http", config.http.listen, "http.listen")];
    if config.metrics.enable {
        wanted.push(("port metrics", config.metrics.listen, "metrics.listen"));
    }
    for (part, address, key) in wanted {
        match TcpListener::bind(address) {
            Ok(_) => report.good(part, format!("{address} is free")),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && running => {
                report.good(part, format!("{address} is in use, by the running daemon as it seems"));
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                report.broken(part, format!("{address} is taken by another program; stop it, or set {key}"));
            }
            Err(error) => report.broken(part, format!("{address}: {error}; set {key}")),
        }
    }
    if config.rendezvous.enable && !running && config.rendezvous.port != 0 {
        rendezvous_ports(config, report);
    }
}

/// NAT test, rendezvous, relay and the two for WebSocket stand side by side.
fn rendezvous_ports(config: &Config, report: &mut Report) {
    let base = config.rendezvous.port;
    let taken: Vec<String> = (base.saturating_sub(1)..=base.saturating_add(3))
        .filter(|port| {
            let any = SocketAddr::new(std::net::Ipv4Addr::UNSPECIFIED.into(), *port);
            let address = config.rendezvous.listen.first().map_or(any, |ip| SocketAddr::new(*ip, *port));
            TcpListener::bind(address).is_err()
        })
        .map(|port| port.to_string())
        .collect();
    if taken.is_empty() {
        report.good("ports rendezvous", format!("{}–{} are free", base - 1, base + 3));
    } else {
        let what =
            format!("{} are taken: another hbbs or hbbr? stop it, or set rendezvous.port", taken.join(", "));
        report.broken("ports rendezvous", what);
    }
}

/// Whether the configured rendezvous server and its relay do what they are for.
pub(super) async fn server(config: &Config, report: &mut Report) {
    let Some(section) = &config.server else {
        if !config.rendezvous.enable {
            report.add("server", super::State::Unused, "no [server]: machines are reached by address alone");
        }
        return;
    };
    if section.address.starts_with("ws://") || section.address.starts_with("wss://") {
        report.add("server", super::State::Unused, "a WebSocket address is not tried");
        return;
    }
    let Some((host, port)) = split_host_port(&section.address, RENDEZVOUS_PORT) else {
        report.broken("server", format!("{:?} is no host or host:port", section.address));
        return;
    };
    let key = section.key.as_deref().unwrap_or_default();
    let server = Server { host: &host, port };
    match probe::rendezvous(server, key).await {
        Ok(took) => report.good("server", format!("{host}:{port} answers in {} ms", took.as_millis())),
        Err(error) => report.broken("server", format!("{error}; {}", advice(&error))),
    }
    if key.is_empty() {
        report
            .doubtful("server key", "no key: peers can not be verified; set server.key to what hbbs prints");
    }
    let relay = Server { host: &host, port: port.saturating_add(1) };
    match probe::relay(relay, key).await {
        Ok(took) => {
            let what = format!("{host}:{} passes packets on, in {} ms", relay.port, took.as_millis());
            report.good("relay", what);
        }
        // A server may announce a relay elsewhere, which only a session learns.
        Err(error) => report.doubtful("relay", format!("{error}; {}", advice(&error))),
    }
}

fn advice(error: &ProbeError) -> &'static str {
    match error {
        ProbeError::NoAddress { .. } => "check the name and this machine's DNS",
        ProbeError::Unreachable { .. } => "is it running, and is the port open in its firewall?",
        ProbeError::Silent { .. } => "is something between here and there holding packets back?",
        ProbeError::Strange { .. } => "is the port that of hbbs (21116)?",
        ProbeError::WrongKey { .. } => "set server.key to the line that the server prints, id_ed25519.pub",
        ProbeError::NotRelaying { .. } => "is it an hbbr with the same key?",
    }
}
