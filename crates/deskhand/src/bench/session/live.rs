//! Our host with a test card and our client, each a process of its own, with our rendezvous and relay beside
//! the host.

use super::screenshot::call;
use super::{BENCH, failed};
use crate::bench::compare::Figure;
use crate::bench::process::{self, Server};
use crate::bench::{BenchError, Options, Row, median, system};
use crate::commands::host::with_defaults;
use client::RustDesk;
use hbbs::relay::{Bandwidth, RelayConfig};
use host::screen::TestCard;
use host::{Host, HostConfig, HostEvent};
use mcp::{Gateway, GatewayConfig};
use remote::{Connector, Desktop as _, DisplayId, Path, Secret, Session as _, Size, Target};
use serde_json::json;
use sessions::{FileSecrets, Sessions, SessionsConfig};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

pub(super) const BY_ADDRESS: &str = "connect to first picture, by address";
pub(super) const BY_ID: &str = "connect to first picture, by id";
pub(super) const RELAYED: &str = "connect to first picture, relayed";
pub(super) const IDLE_CPU: &str = "idle session: part of a core";
pub(super) const IDLE_SESSION: &str = "idle session: memory beside the gateway's own";
pub(super) const IDLE_GATEWAY: &str = "idle session: memory of the gateway with it";
pub(super) const MANY_CPU: &str = "100 idle sessions: part of a core";
pub(super) const MANY_MEMORY: &str = "100 idle sessions: memory of each beside the gateway's own";
#[cfg(test)]
pub(super) const CASES: [&str; 8] =
    [BY_ADDRESS, BY_ID, RELAYED, IDLE_CPU, IDLE_SESSION, IDLE_GATEWAY, MANY_CPU, MANY_MEMORY];

/// Live sessions of one gateway, to one host.
const MANY: usize = 100;

const SIZE: Size = Size::new(1280, 800);

/// Nothing here takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connections for each of [`Options::runs`].
const CONNECTIONS: usize = 4;

pub(super) fn run(runtime: &Runtime, options: &Options, emit: &mut dyn FnMut(Row)) -> Result<(), BenchError> {
    let wanted = |case: &str| options.wants(BENCH.name, case);
    let connecting = [(BY_ADDRESS, Path::Direct), (BY_ID, Path::Local), (RELAYED, Path::Relayed)];
    let idle = [IDLE_CPU, IDLE_SESSION, IDLE_GATEWAY];
    let many = [MANY_CPU, MANY_MEMORY];
    if !connecting.iter().any(|(case, _)| wanted(case)) && !idle.into_iter().chain(many).any(wanted) {
        return Ok(());
    }
    let password = hbb_common::password::readable(&rand::random::<[u8; 12]>());
    let site = Site::start(password)?;
    for (case, path) in connecting {
        if wanted(case) {
            for figure in site.connections(runtime, case, path, CONNECTIONS * options.runs.max(1))? {
                BENCH.rows(&figure, [(BENCH.name, figure.value)], emit);
            }
        }
    }
    if idle.into_iter().any(wanted) {
        // Twenty times that of other cases: there is little to see.
        let (cpu, memory, own) = site.idle(options.time * 20, 1)?;
        for figure in [
            Figure::less(IDLE_CPU, "%", cpu),
            Figure::less(IDLE_SESSION, "MB", memory - own),
            Figure::less(IDLE_GATEWAY, "MB", memory),
        ] {
            BENCH.rows(&figure, [(BENCH.name, figure.value)], emit);
        }
    }
    if many.into_iter().any(wanted) {
        let (cpu, memory, own) = site.idle(options.time * 20, MANY)?;
        for figure in
            [Figure::less(MANY_CPU, "%", cpu), Figure::less(MANY_MEMORY, "MB", (memory - own) / MANY as f64)]
        {
            BENCH.rows(&figure, [(BENCH.name, figure.value)], emit);
        }
    }
    Ok(())
}

/// The host's process and how to get there.
struct Site {
    host: Server,
    id: String,
    rendezvous: client::Server,
    password: String,
}

impl Site {
    fn start(password: String) -> Result<Self, BenchError> {
        let host = Server::start(&["bench", "--serve", "host", &password])?;
        let [id, address, key] = &host.said[..] else { return Err(BenchError::NoServer) };
        let (id, address, key) = (id.clone(), address.clone(), key.clone());
        Ok(Self { host, id, rendezvous: client::Server { address, key }, password })
    }

    /// The median of some connections, and how many came by another path than they should.
    fn connections(
        &self,
        runtime: &Runtime,
        case: &str,
        path: Path,
        count: usize,
    ) -> Result<Vec<Figure>, BenchError> {
        let (mut times, mut others) = (Vec::new(), Vec::new());
        while times.len() + others.len() < count {
            match runtime.block_on(self.first_picture(path))? {
                (took, came) if came == Some(path) => times.push(took.as_secs_f64() * 1e3),
                (_, came) => {
                    tracing::warn!(?path, ?came, "a connection came by another path");
                    others.push(came);
                }
            }
        }
        let elsewhere = others.len() as f64 / count as f64 * 100.0;
        let mut figures = vec![Figure::less(format!("{case}: came by another path"), "%", elsewhere)];
        if !times.is_empty() {
            figures.insert(0, Figure::less(case, "ms", median(times)));
        }
        Ok(figures)
    }

    /// From nothing to the first picture, decoded, and the path it came by.
    async fn first_picture(&self, path: Path) -> Result<(Duration, Option<Path>), BenchError> {
        let address = match path {
            Path::Direct => self.host.addr.to_string(),
            Path::Relayed => format!("{}/r", self.id),
            Path::Punched | Path::Local => self.id.clone(),
        };
        let connector = RustDesk::new(client::Config {
            server: Some(self.rendezvous.clone()),
            ..client::Config::default()
        });
        let target = Target {
            address,
            password: Some(Secret::new(&*self.password)),
            // By address, the protocol has no encryption.
            allow_unencrypted: path == Path::Direct,
            ..Target::default()
        };
        let start = Instant::now();
        let session = connector.open_session(target).map_err(failed)?;
        let first = tokio::time::timeout(PATIENCE, session.frame(DisplayId(0)));
        let (info, _) = first.await.map_err(failed)?.map_err(failed)?;
        let took = start.elapsed();
        let came = session.peer().path;
        session.close().await;
        if info.size != SIZE {
            return Err(BenchError::WrongAnswer(format!("a picture of {}", info.size)));
        }
        Ok((took, came))
    }

    /// A gateway with sessions that showed a picture and then nobody asked, beside one without: its CPU time
    /// in percent of a core, its memory and that of the other in megabytes.
    fn idle(&self, time: Duration, sessions: usize) -> Result<(f64, f64, f64), BenchError> {
        let (address, sessions) = (self.host.addr.to_string(), sessions.to_string());
        let empty = Server::start(&["bench", "--serve", "gateway"])?;
        let full = Server::start(&["bench", "--serve", "gateway", &address, &self.password, &sessions])?;
        let cpu = full.cpu()?;
        let start = Instant::now();
        std::thread::sleep(time);
        let (used, took) = (full.cpu()? - cpu, start.elapsed());
        let part = used.as_secs_f64() / took.as_secs_f64() * 100.0;
        Ok((part, full.resident()? / 1e6, empty.resident()? / 1e6))
    }
}

/// The host, with rendezvous and relay: its own address, its id, and the server's address and key are said.
pub(super) fn serve_host(runtime: &Runtime, password: &str) -> Result<(), BenchError> {
    let state = tempfile::tempdir().map_err(system("a folder for the host"))?;
    let (rendezvous, host, server, key) = runtime.block_on(async {
        let rendezvous = hbbs::Server::spawn(hbbs::ServerConfig {
            listen: vec![Ipv4Addr::LOCALHOST.into()],
            port: 0,
            state_dir: Some(state.path().join("rendezvous")),
            relay: Some(RelayConfig { bandwidth: Bandwidth::stock(), ..RelayConfig::default() }),
            ..hbbs::ServerConfig::default()
        })
        .map_err(failed)?;
        let server = rendezvous.addresses().rendezvous[0].to_string();
        let key = rendezvous.public_key().map(|key| key.to_string()).unwrap_or_default();
        let config = with_defaults(Arc::new(TestCard::new(SIZE)));
        let host = Host::spawn(HostConfig {
            state_dir: state.path().join("host"),
            password: Some(Secret::new(password)),
            server: Some(host::ServerConfig {
                address: server.clone(),
                key: key.clone(),
                relay: None,
                tcp: false,
                force_relay: false,
            }),
            direct: Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)),
            // All connections come from one address, and there are more of them than a host takes.
            limits: host::Limits { sessions: MANY * 2, burst_per_address: u32::MAX, ..config.limits },
            ..config
        })
        .map_err(failed)?;
        let mut events = host.events();
        let registered = async {
            while rendezvous.host(&host.id()).is_none_or(|known| !known.online) {
                match events.recv().await.map_err(failed)? {
                    HostEvent::ScreenGone { reason } => return Err(BenchError::Failed(reason)),
                    event => tracing::debug!(?event, "host"),
                }
            }
            Ok(())
        };
        tokio::time::timeout(PATIENCE, registered).await.map_err(failed)??;
        Ok::<_, BenchError>((rendezvous, host, server, key))
    })?;
    let direct = host.direct_addr().ok_or(BenchError::NoServer)?;
    process::announce_with(direct, &[&host.id(), &server, &key]);
    runtime.block_on(async {
        host.shutdown().await;
        rendezvous.shutdown().await;
    });
    Ok(())
}

/// What `deskhand mcp` keeps, without its standard input; with sessions, each has shown a picture.
pub(super) fn serve_gateway(
    runtime: &Runtime,
    to: Option<(&str, &str)>,
    count: usize,
) -> Result<(), BenchError> {
    let gateway = runtime.block_on(async {
        let connectors: Vec<Arc<dyn Connector>> = vec![Arc::new(RustDesk::new(client::Config::default()))];
        // A target has one session: there are as many of them, all the same machine.
        let targets = to.into_iter().flat_map(|(address, password)| {
            (0..count).map(move |n| sessions::TargetEntry {
                target: Target {
                    name: format!("host{n}"),
                    address: address.into(),
                    allow_unencrypted: true,
                    ..Target::default()
                },
                protocol: None,
                password: Some(sessions::SecretRef::Inline(Secret::new(password))),
                description: String::new(),
            })
        });
        let targets = targets.collect();
        let config = SessionsConfig::default();
        let config = SessionsConfig { limit: config.limit.max(count), ..config };
        let sessions = Sessions::new(config, connectors, targets, Arc::new(FileSecrets::default()));
        let gateway = Gateway::new(sessions, GatewayConfig::default()).map_err(failed)?;
        let mut open = Vec::new();
        for n in 0..count {
            let target = format!("host{n}");
            let connected = call(&gateway, "connect", json!({ "target": target })).await?.structured;
            let session = connected["session"].clone();
            call(&gateway, "screenshot", json!({ "session": session })).await?;
            open.push(session);
        }
        for session in open {
            // The peer may sharpen what it sent first.
            call(&gateway, "wait_for", json!({ "session": session, "condition": "still" })).await?;
        }
        Ok::<_, BenchError>(gateway)
    })?;
    let nowhere = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
    process::announce(nowhere);
    runtime.block_on(gateway.sessions().shutdown());
    Ok(())
}
