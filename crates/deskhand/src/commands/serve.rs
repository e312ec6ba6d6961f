//! `deskhand serve`: everything that runs for many, in one program.

mod callers;
mod edge;
mod metrics;
mod service;

use crate::audit::KeptAudit;
use crate::cli::ServeArgs;
use crate::commands::gateway::{self, Parts};
use crate::config::{Config, Loaded};
use crate::daemon::{self, Daemon, DaemonFile, StateLock};
use crate::logging::Log;
use crate::{config, lifecycle, load_serve, probe};
use anyhow::Context as _;
use axum::Router;
use axum::middleware;
use edge::Edge;
use hbbs::relay::{Bandwidth, RelayConfig, RelayHandle};
use hbbs::{Handle, Server, ServerConfig};
use mcp::Gateway;
use service::Supervisor;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use store::Store;
use telemetry::Metrics;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use web::health::{self, Checks};
use web::listener::{Bound, Listener, ListenerConfig, TlsFiles};

/// Prometheus and a person or two.
const SCRAPERS: usize = 32;
/// Programs of this user on this machine.
const LOCAL_CONNECTIONS: usize = 256;

pub(crate) async fn run(args: ServeArgs, loaded: Loaded, log: Log) -> anyhow::Result<()> {
    let stop = lifecycle::stop_on_signal()?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut appliance = Appliance::start(&args, loaded, &log).await?;
    appliance.announce()?;
    let mut supervisor = Supervisor::new();
    supervisor.ready(&appliance.status());
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = supervisor.tick() => supervisor.alive(&appliance.status()),
            _ = hangup.recv() => {
                supervisor.reloading();
                appliance.reload(&args, &log).await;
                supervisor.ready(&appliance.status());
            }
        }
    }
    supervisor.stopping();
    appliance.stop().await;
    Ok(())
}

/// All that runs. Dropping it ends it; [`stop`](Self::stop) does so in order.
struct Appliance {
    loaded: Loaded,
    gateway: Arc<Gateway>,
    metrics: Arc<Metrics>,
    rendezvous: Option<Arc<Handle>>,
    http: Listener,
    local: Listener,
    scraping: Option<Listener>,
    stopping: CancellationToken,
    names: callers::Names,
    // Last: they go when nothing is served any more.
    daemon: DaemonFile,
    _state: StateLock,
}

/// The sockets, bound before anything else begins: a taken port ends the program while nothing has happened.
struct Sockets {
    http: Bound,
    local: Bound,
    scraping: Option<Bound>,
}

impl Sockets {
    async fn bind(config: &Config) -> anyhow::Result<Self> {
        let http = &config.http;
        let tls = match (&http.tls_cert, &http.tls_key) {
            (Some(certificate), Some(key)) => {
                Some(TlsFiles { certificate: certificate.clone(), key: key.clone() })
            }
            _ => None,
        };
        let bind = |address, tls, connections| Bound::bind(ListenerConfig { address, tls, connections });
        let loopback = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
        let scraping = match config.metrics.enable {
            true => Some(bind(config.metrics.listen, None, SCRAPERS).await.context("metrics.listen")?),
            false => None,
        };
        Ok(Self {
            http: bind(http.listen, tls, http.connections).await.context("http.listen")?,
            local: bind(loopback, None, LOCAL_CONNECTIONS).await?,
            scraping,
        })
    }
}

impl Appliance {
    async fn start(args: &ServeArgs, loaded: Loaded, log: &Log) -> anyhow::Result<Self> {
        let config = &loaded.config;
        let state = args.connection.state.as_deref();
        let root = config::state_root(state);
        make_private(&root).with_context(|| format!("state directory {}", root.display()))?;
        let lock = StateLock::take(&root)?;
        let sockets = Sockets::bind(config).await?;
        let store = Store::open(&root)?;
        let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"))?);
        let rendezvous = start_rendezvous(config, &root)?.map(Arc::new);
        let pins = root.join("client");
        let gateway = Arc::new(gateway::build(
            config,
            Parts {
                pins: &pins,
                name: "serve",
                toolsets: &[],
                audit: Arc::new(KeptAudit::new(store.clone(), Arc::clone(&metrics))),
                observer: Some(Arc::new(metrics::Calls(Arc::clone(&metrics)))),
                server: rendezvous.as_deref().and_then(embedded_server),
            },
        )?);
        let names = callers::Names::default();
        let auth = callers::state(config, sockets.http.address(), store.clone(), &names)?;
        let stopping = CancellationToken::new();
        let edge = Edge::new(config, &gateway, callers::hosts(config, sockets.http.address())?, &stopping);
        metrics::read(&metrics, &gateway, rendezvous.as_ref(), log);
        edge.count(&metrics, &auth);

        let daemon = Daemon::new(sockets.local.address());
        let checks = checks(&store, rendezvous.as_ref());
        let public = edge.public(&auth).merge(health::router(checks, stopping.clone()));
        let local = edge.local(daemon.token.clone());
        let http = sockets.http.serve(traced(public))?;
        let local = sockets.local.serve(traced(local))?;
        let scraping = sockets.scraping.map(|bound| serve_metrics(config, &metrics, bound)).transpose()?;
        let daemon = DaemonFile::write(&daemon::folder(state), daemon)?;
        let appliance = Self {
            loaded,
            gateway,
            metrics,
            rendezvous,
            http,
            local,
            scraping,
            stopping,
            names,
            daemon,
            _state: lock,
        };
        appliance.tell_names();
        Ok(appliance)
    }

    /// The consent page shows the machines that there are.
    fn tell_names(&self) {
        let names = self.loaded.config.targets.keys().cloned().collect();
        *self.names.write().unwrap_or_else(PoisonError::into_inner) = names;
    }

    /// One line for each socket, for whoever started us.
    fn announce(&self) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "listening http url={}", self.http.url())?;
        if let Some(scraping) = &self.scraping {
            writeln!(out, "listening metrics url={}/metrics", scraping.url())?;
        }
        if let Some(rendezvous) = &self.rendezvous {
            let addresses = rendezvous.addresses();
            for address in &addresses.rendezvous {
                writeln!(out, "listening rendezvous url=rendezvous://{address}")?;
            }
            for address in rendezvous.relay().map(RelayHandle::tcp_addrs).unwrap_or_default() {
                writeln!(out, "listening relay url=relay://{address}")?;
            }
            if let Some(key) = rendezvous.public_key() {
                writeln!(out, "key {key}")?;
            }
        }
        writeln!(out, "ready")?;
        out.flush()
    }

    /// One line on how things stand, for `systemctl status`.
    fn status(&self) -> String {
        let states = self.gateway.sessions().states();
        let open: usize = states.values().sum::<usize>() - states.get("closed").copied().unwrap_or(0);
        let mut status = format!("{} · {open} sessions", self.http.url());
        if let Some(rendezvous) = &self.rendezvous {
            let pairs = rendezvous.relay().map_or(0, |relay| relay.pairs().len());
            status.push_str(&format!(" · {} peers known · {pairs} relayed", rendezvous.host_count()));
        }
        status
    }

    /// Reads the configuration again and takes what can be taken while running. A configuration with
    /// problems changes nothing.
    async fn reload(&mut self, args: &ServeArgs, log: &Log) {
        let loaded = match load_serve(args) {
            Ok(loaded) => loaded,
            Err(problems) => {
                self.metrics.reload(false);
                tracing::error!("the configuration was not taken: {problems}");
                return;
            }
        };
        let sessions = self.gateway.sessions();
        sessions.set_targets(loaded.config.targets());
        sessions.set_policy(loaded.config.policy());
        let mut taken = true;
        if let Err(error) = log.adopt(&loaded.config.log) {
            taken = false;
            tracing::error!(%error, "the log filter was not taken");
        }
        if let Err(error) = self.http.reload_tls().await {
            taken = false;
            tracing::error!(%error, "the certificate was not taken; the old one is still used");
        }
        for key in loaded.config.needing_restart(&self.loaded.config) {
            tracing::warn!(key, "this changed in the configuration; it takes effect at the next start");
        }
        self.metrics.reload(taken);
        tracing::info!(targets = loaded.config.targets.len(), "the configuration was read again");
        self.loaded = loaded;
        self.tell_names();
    }

    /// Takes nothing new, lets what is under way end, says good-bye to the peers.
    async fn stop(self) {
        let Self { loaded, gateway, rendezvous, http, local, scraping, stopping, daemon, .. } = self;
        stopping.cancel();
        // Nobody shall find us any more.
        drop(daemon);
        let grace = Duration::from_secs(loaded.config.http.drain_seconds);
        tokio::join!(http.drain(grace), local.drain(grace), async {
            if let Some(scraping) = scraping {
                scraping.drain(Duration::ZERO).await;
            }
        });
        gateway.sessions().shutdown().await;
        if let Some(rendezvous) = rendezvous.and_then(Arc::into_inner) {
            rendezvous.shutdown().await;
        }
    }
}

fn traced(router: Router) -> Router {
    router.layer(middleware::from_fn(web::trace::layer))
}

fn serve_metrics(config: &Config, metrics: &Arc<Metrics>, bound: Bound) -> anyhow::Result<Listener> {
    let token = metrics_token(config)?;
    if token.is_none() && !bound.address().ip().is_loopback() {
        tracing::warn!(address = %bound.address(), "metrics are served to everybody who asks");
    }
    Ok(bound.serve(web::scrape::router(Arc::clone(metrics), token))?)
}

/// What `/ready` looks at.
fn checks(store: &Store, rendezvous: Option<&Arc<Handle>>) -> Checks {
    let store = store.clone();
    let mut checks = Checks::default().with("database", move || {
        let store = store.clone();
        async move {
            // The reason names a path, which is for the log.
            store.probe().await.map_err(|error| {
                tracing::warn!(%error, "the database does not work");
                format!("it can not be written ({})", error.kind())
            })
        }
    });
    if let Some(rendezvous) = rendezvous {
        let reachable = |address: &SocketAddr| match address.ip().is_unspecified() {
            true => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()),
            false => *address,
        };
        let server = rendezvous.addresses().rendezvous.first().map(reachable);
        let key = rendezvous.required_key().unwrap_or_default().to_owned();
        checks = checks.with("rendezvous", move || {
            let key = key.clone();
            async move {
                let Some(address) = server else { return Err("it listens nowhere".to_owned()) };
                let (host, port) = (address.ip().to_string(), address.port());
                let answer = probe::rendezvous(probe::Server { host: &host, port }, &key).await;
                answer.map(drop).map_err(|error| error.to_string())
            }
        });
    }
    checks
}

fn start_rendezvous(config: &Config, root: &Path) -> anyhow::Result<Option<Handle>> {
    let section = &config.rendezvous;
    if !section.enable {
        return Ok(None);
    }
    let state: PathBuf = root.join("rendezvous");
    make_private(&state).with_context(|| format!("state directory {}", state.display()))?;
    let running = Server::spawn(ServerConfig {
        listen: section.listen.clone(),
        port: section.port,
        key_file: section.key_file.clone(),
        state_dir: Some(state),
        relay: Some(RelayConfig { bandwidth: Bandwidth::stock(), ..RelayConfig::default() }),
        relays: section.relays.clone(),
        ..ServerConfig::default()
    });
    running.context("rendezvous").map(Some)
}

/// How our own sessions find peers at the embedded server.
fn embedded_server(rendezvous: &Handle) -> Option<client::Server> {
    let address = rendezvous.addresses().rendezvous.first()?;
    let ip = match address.ip().is_unspecified() {
        true => Ipv4Addr::LOCALHOST.into(),
        false => address.ip(),
    };
    Some(client::Server {
        address: SocketAddr::new(ip, address.port()).to_string(),
        key: rendezvous.public_key().map(|key| key.to_string()).unwrap_or_default(),
    })
}

fn metrics_token(config: &Config) -> anyhow::Result<Option<String>> {
    use sessions::{FileSecrets, SecretRef, SecretSource as _};
    let Some(path) = &config.metrics.token_file else { return Ok(None) };
    let secret = FileSecrets::default().read(&SecretRef::File(path.clone())).context("metrics.token_file")?;
    Ok(Some(secret.reveal().to_owned()))
}

/// A folder that only its owner can look into.
fn make_private(folder: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}
