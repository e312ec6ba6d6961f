//! `deskhand host`: this machine's screen for RustDesk clients.

use crate::cli::{HostArgs, ScreenArgs};
use crate::{config, lifecycle};
use anyhow::{Context as _, bail};
use host::screen::test_card::DEFAULT_SIZE;
use host::screen::{Screen, TestCard, VirtualDisplay, X11Screen};
use host::{Host, HostConfig, HostEvent, HostHandle, ServerConfig};
use sessions::{FileSecrets, SecretRef, SecretSource as _};
use std::io::Write as _;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use tokio::sync::broadcast::error::RecvError;

pub(crate) async fn run(args: HostArgs) -> anyhow::Result<()> {
    let password = FileSecrets::default().read(&SecretRef::File(args.password_file.clone()))?;
    // The virtual display lives as long as this value.
    let (screen, _virtual_display) = open_screen(&args.screen)?;
    let server = args.server.map(|address| ServerConfig {
        address,
        key: args.key.unwrap_or_default(),
        relay: args.relay,
        tcp: false,
        force_relay: false,
    });
    let stop = lifecycle::stop_on_signal()?;
    let host = Host::spawn(HostConfig {
        state_dir: config::state_dir(args.state.as_deref(), "host"),
        id: args.id,
        password: Some(password),
        server,
        direct: args.direct_port.map(|port| SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)),
        ..with_defaults(screen)
    })?;
    let outcome = watch(&host, &stop).await;
    host.shutdown().await;
    outcome
}

/// A host that registers nowhere yet, for this user on this machine.
pub(crate) fn with_defaults(screen: Arc<dyn Screen>) -> HostConfig {
    let hostname = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
    HostConfig {
        username: std::env::var("USER").unwrap_or_else(|_| "user".into()),
        hostname: hostname.unwrap_or_default(),
        ..HostConfig::new(screen)
    }
}

/// The screen that the flags name, and what must live as long.
fn open_screen(args: &ScreenArgs) -> anyhow::Result<(Arc<dyn Screen>, Option<VirtualDisplay>)> {
    if args.screen.is_some() {
        return Ok((Arc::new(TestCard::new(DEFAULT_SIZE)), None));
    }
    if let Some(size) = args.r#virtual {
        let display = VirtualDisplay::start(size)?;
        let screen = display.screen()?;
        return Ok((screen, Some(display)));
    }
    let asked = args.display.clone().or_else(|| std::env::var("DISPLAY").ok());
    let Some(display) = asked else {
        bail!("no X display: give --display :N, --virtual 1280x800 to start one, or --screen test-card");
    };
    let screen = X11Screen::open(Some(&display)).with_context(|| format!("display {display}"))?;
    Ok((screen, None))
}

/// Says what happens until told to stop or the screen is gone.
async fn watch(host: &HostHandle, stop: &tokio_util::sync::CancellationToken) -> anyhow::Result<()> {
    let mut events = host.events();
    {
        let mut out = std::io::stdout().lock();
        writeln!(out, "id {}", host.id())?;
        writeln!(out, "key {}", host.public_key())?;
        if let Some(addr) = host.direct_addr() {
            writeln!(out, "listening direct tcp {addr}")?;
        }
        writeln!(out, "ready")?;
        out.flush()?;
    }
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            event = events.recv() => event,
        };
        match event {
            Ok(HostEvent::Registered { id }) => writeln!(std::io::stdout().lock(), "registered {id}")?,
            Ok(HostEvent::ScreenGone { reason }) => bail!("the screen is gone: {reason}"),
            Ok(event) => tracing::info!(?event, "host"),
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "events came faster than they were told")
            }
            Err(RecvError::Closed) => bail!("the host ended"),
        }
    }
}
