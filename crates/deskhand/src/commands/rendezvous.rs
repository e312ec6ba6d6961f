//! `deskhand rendezvous`: hbbs and hbbr alone.

use crate::cli::RendezvousArgs;
use crate::{config, lifecycle};
use anyhow::Context as _;
use hbbs::relay::{Bandwidth, RelayConfig};
use hbbs::{Handle, Server, ServerConfig};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

pub(crate) async fn run(args: RendezvousArgs) -> anyhow::Result<()> {
    let state: PathBuf = config::state_dir(args.state.as_deref(), "rendezvous");
    std::fs::create_dir_all(&state).with_context(|| format!("state directory {}", state.display()))?;
    let stop = lifecycle::stop_on_signal()?;
    let server = Server::spawn(ServerConfig {
        listen: args.listen,
        port: args.port,
        key_file: args.key,
        state_dir: Some(state),
        relay: Some(RelayConfig { bandwidth: Bandwidth::stock(), ..RelayConfig::default() }),
        relays: args.relay,
        ..ServerConfig::default()
    })?;
    announce(&server)?;
    stop.cancelled().await;
    server.shutdown().await;
    Ok(())
}

/// The key, a line for each socket, and that it is ready.
fn announce(server: &Handle) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if let Some(key) = server.public_key() {
        writeln!(out, "key {key}")?;
    }
    let addresses = server.addresses();
    let mut listening = |what: &str, transport: &str, addrs: &[SocketAddr]| {
        addrs.iter().try_for_each(|addr| writeln!(out, "listening {what} {transport} {addr}"))
    };
    listening("rendezvous", "udp", &addresses.rendezvous)?;
    listening("rendezvous", "tcp", &addresses.rendezvous)?;
    listening("nat-test", "tcp", &addresses.nat_test)?;
    listening("rendezvous", "ws", &addresses.websocket)?;
    if let Some(relay) = server.relay() {
        listening("relay", "tcp", relay.tcp_addrs())?;
        listening("relay", "ws", relay.web_addrs())?;
    }
    writeln!(out, "ready")?;
    out.flush()
}
