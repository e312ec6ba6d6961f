//! `deskhand host`: this machine's screen for RustDesk clients.

mod ask;

use crate::cli::{Approve, HostArgs, ScreenArgs};
use crate::{config, lifecycle};
use anyhow::{Context as _, bail};
use ask::Ask;
use host::screen::test_card::DEFAULT_SIZE;
use host::screen::{Screen, TestCard, VirtualDisplay, X11Screen};
use host::{ApproveMode, Host, HostConfig, HostEvent, HostHandle, OneTime, ServerConfig};
use sessions::{FileSecrets, SecretRef, SecretSource as _};
use std::io::Write as _;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use tokio::sync::broadcast::error::RecvError;

pub(crate) async fn run(args: HostArgs) -> anyhow::Result<()> {
    let secrets = FileSecrets::default();
    let password = args.password_file.map(|file| secrets.read(&SecretRef::File(file))).transpose()?;
    let approve = match args.approve {
        Approve::Password => ApproveMode::Password,
        Approve::Click => ApproveMode::Click,
        Approve::Both => ApproveMode::Both,
    };
    let mut ask = Ask::new(approve != ApproveMode::Password, args.ask)?;
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
        password,
        one_time: args.one_time_password.map(|length| OneTime { length: length.into(), digits: args.digits }),
        approve,
        server,
        direct: args.direct_port.map(|port| SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)),
        ..with_defaults(screen)
    })?;
    if approve == ApproveMode::Password && !host.has_password() {
        bail!("no client could come in: give --password-file, --one-time-password or --approve click");
    }
    let outcome = watch(&host, &mut ask, &stop).await;
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

/// Says what happens, and asks, until told to stop or the screen is gone.
async fn watch(
    host: &HostHandle,
    ask: &mut Ask,
    stop: &tokio_util::sync::CancellationToken,
) -> anyhow::Result<()> {
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
            (session, yes) = ask.answer() => {
                let known = if yes { host.accept(session) } else { host.refuse(session) };
                tracing::info!(?session, yes, known, "answered");
                continue;
            }
        };
        match event {
            Ok(event) => tell(host, ask, event)?,
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "events came faster than they were told");
            }
            Err(RecvError::Closed) => bail!("the host ended"),
        }
    }
}

/// What the person at this machine is to know, and what goes to the log.
fn tell(host: &HostHandle, ask: &mut Ask, event: HostEvent) -> anyhow::Result<()> {
    tracing::info!(?event, "host");
    match event {
        HostEvent::Registered { id } => writeln!(std::io::stdout().lock(), "registered {id}")?,
        HostEvent::OneTimePassword(password) => {
            writeln!(std::io::stdout().lock(), "one-time password {}", password.reveal())?;
        }
        HostEvent::ApprovalWanted { session } => {
            if let Some(info) = host.sessions().into_iter().find(|info| info.id == session) {
                ask.ask(&info)?;
            }
        }
        HostEvent::Authorised { session, .. } | HostEvent::Disconnected { session, .. } => {
            ask.settled(session);
        }
        HostEvent::ScreenGone { reason } => bail!("the screen is gone: {reason}"),
        _ => {}
    }
    Ok(())
}
