//! `deskhand rendezvous`: hbbs and hbbr alone.

use crate::cli::RendezvousArgs;
use crate::{config, lifecycle};
use anyhow::Context as _;
use hbbs::relay::{Bandwidth, Relay, RelayConfig, RelayHandle};
use hbbs::{Handle, Server, ServerConfig};
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// A running rendezvous server with its relay.
pub(crate) struct Rendezvous {
    pub(crate) server: Handle,
    pub(crate) relay: RelayHandle,
}

impl Rendezvous {
    /// Starts both; the relay asks for the same key as the server.
    ///
    /// `port` 0 takes free ports, and then the relay's address is announced to peers, who could not guess it.
    pub(crate) fn start(config: ServerConfig) -> anyhow::Result<Self> {
        let port = config.port;
        let listen = config.listen.clone();
        let announced = !config.relays.is_empty();
        let server = Server::spawn(config)?;
        let relay = Self::relay(&server, &listen, port)?;
        if port == 0 && !announced {
            let reachable = relay.tcp_addrs().first().map(|addr| addr.to_string());
            server.set_relays(reachable.into_iter().collect());
        }
        Ok(Self { server, relay })
    }

    fn relay(server: &Handle, listen: &[IpAddr], port: u16) -> anyhow::Result<RelayHandle> {
        let relay_port = if port == 0 { 0 } else { port.checked_add(1).context("port is too high")? };
        let web_port = if port == 0 { 0 } else { port.checked_add(3).context("port is too high")? };
        // The addresses that the server found, so that both listen on the same ones.
        let ips: Vec<IpAddr> = match listen {
            [] => server.addresses().rendezvous.iter().map(SocketAddr::ip).collect(),
            given => given.to_vec(),
        };
        let at = |port| ips.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
        Ok(Relay::spawn(RelayConfig {
            tcp: at(relay_port),
            web: at(web_port),
            key: server.required_key().map(str::to_owned),
            bandwidth: Bandwidth::stock(),
            ..RelayConfig::default()
        })?)
    }

    /// Ends both, the database written.
    pub(crate) async fn shutdown(self) {
        self.relay.shutdown().await;
        self.server.shutdown().await;
    }
}

pub(crate) async fn run(args: RendezvousArgs) -> anyhow::Result<()> {
    let state: PathBuf = config::state_dir(args.state.as_deref(), "rendezvous");
    std::fs::create_dir_all(&state).with_context(|| format!("state directory {}", state.display()))?;
    let stop = lifecycle::stop_on_signal()?;
    let rendezvous = Rendezvous::start(ServerConfig {
        listen: args.listen,
        port: args.port,
        key_file: args.key,
        state_dir: Some(state),
        relays: args.relay,
        ..ServerConfig::default()
    })?;
    announce(&rendezvous)?;
    stop.cancelled().await;
    rendezvous.shutdown().await;
    Ok(())
}

/// The key, a line for each socket, and that it is ready.
fn announce(rendezvous: &Rendezvous) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if let Some(key) = rendezvous.server.public_key() {
        writeln!(out, "key {key}")?;
    }
    let addresses = rendezvous.server.addresses();
    let mut listening = |what: &str, transport: &str, addrs: &[SocketAddr]| {
        addrs.iter().try_for_each(|addr| writeln!(out, "listening {what} {transport} {addr}"))
    };
    listening("rendezvous", "udp", &addresses.rendezvous)?;
    listening("rendezvous", "tcp", &addresses.rendezvous)?;
    listening("nat-test", "tcp", &addresses.nat_test)?;
    listening("rendezvous", "ws", &addresses.websocket)?;
    listening("relay", "tcp", rendezvous.relay.tcp_addrs())?;
    listening("relay", "ws", rendezvous.relay.web_addrs())?;
    writeln!(out, "ready")?;
    out.flush()
}
