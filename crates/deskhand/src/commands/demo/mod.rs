//! `deskhand demo`: everything on this machine, shown at work.
//!
//! A rendezvous and relay with a fresh key, a virtual desktop with a window manager and a shell, a host that
//! shares it, and `deskhand mcp` as a child, which the demo then talks to as any MCP client would.

mod agent;
mod desktop;
mod proof;
mod steps;

use crate::cli::DemoArgs;
use crate::commands::host::with_defaults as host_defaults;
use crate::lifecycle;
use agent::{Agent, Picture};
use anyhow::{Context as _, bail};
use desktop::Desktop;
use hbbs::relay::{Bandwidth, RelayConfig};
use hbbs::{Server, ServerConfig};
use host::{Host, HostConfig, HostHandle};
use proof::Proof;
use rand::Rng as _;
use remote::Secret;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use steps::{Steps, say};
use tokio_util::sync::CancellationToken;

/// Nothing on loopback takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The whole set, in the order in which it is taken down.
struct Stage {
    agent: Agent,
    host: HostHandle,
    desktop: Desktop,
    rendezvous: hbbs::Handle,
    /// Keys, passwords and the configuration; gone with the demo.
    folder: tempfile::TempDir,
}

pub(crate) async fn run(args: DemoArgs) -> anyhow::Result<bool> {
    std::fs::create_dir_all(&args.out).with_context(|| format!("folder {}", args.out.display()))?;
    let out = args.out.canonicalize()?;
    let stop = lifecycle::stop_on_signal()?;
    let steps = Steps::new();
    let shown = tokio::select! {
        shown = show(&args, &out, &steps, &stop) => shown,
        () = stop.cancelled() => bail!("interrupted"),
    };
    let (stage, proved) = shown?;
    if !args.once && proved {
        invite(&stage)?;
        stop.cancelled().await;
    }
    stage.take_down().await;
    Ok(proved)
}

/// Sets up, drives, proves.
async fn show(
    args: &DemoArgs,
    out: &Path,
    steps: &Steps,
    stop: &CancellationToken,
) -> anyhow::Result<(Stage, bool)> {
    say("Deskhand: an MCP client operates a desktop through our own rendezvous and relay\n");
    let stage = Stage::set_up(args, steps).await?;
    let proved = drive(&stage, out, steps).await;
    let proved = match proved {
        Ok(()) => true,
        Err(error) if stop.is_cancelled() => return Err(error),
        Err(error) => {
            say(&format!("\nfailed: {error:#}"));
            // What the screen shows now says more than the error; it may be what is missing, though.
            if let Err(error) = picture(&stage.agent, out, "failed", steps).await {
                tracing::debug!(%error, "no picture of the failure");
            }
            false
        }
    };
    let verdict = if proved { "the typed text arrived and is in the picture" } else { "not proved" };
    say(&format!("\n{verdict} ({:.1} s)", steps.elapsed().as_secs_f64()));
    Ok((stage, proved))
}

impl Stage {
    async fn set_up(args: &DemoArgs, steps: &Steps) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("deskhand-demo-").tempdir()?;

        let step = steps.begin("rendezvous and relay");
        let rendezvous = Server::spawn(ServerConfig {
            listen: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            port: 0,
            state_dir: Some(folder.path().join("rendezvous")),
            relay: Some(RelayConfig { bandwidth: Bandwidth::stock(), ..RelayConfig::default() }),
            ..ServerConfig::default()
        })?;
        let server = rendezvous.addresses().rendezvous[0].to_string();
        let key = rendezvous.public_key().context("the rendezvous has no key")?.to_string();
        step.done(&format!("{server}, key {}…", &key[..8]));

        let step = steps.begin("desktop");
        let desktop = Desktop::start(args.virtual_size, &folder.path().join("home")).await?;
        step.done(&format!("X display {}, {}: openbox, xterm", desktop.display(), args.virtual_size));

        let step = steps.begin("host");
        let password = hbb_common::password::readable(&rand::random::<[u8; 12]>());
        let host = start_host(&desktop, &server, &key, &password, folder.path())?;
        registered(&rendezvous, &host).await?;
        step.done(&format!("registered as {}", host.id()));

        let step = steps.begin("MCP gateway");
        let config = write_config(folder.path(), &server, &key, &host.id(), &password)?;
        let program = std::env::current_exe().context("the path of this program")?;
        let agent = Agent::start(&program, &config, &folder.path().join("client")).await?;
        let (revision, tools) = agent.describe().await?;
        step.done(&format!("MCP {revision}, {tools} tools"));
        Ok(Self { agent, host, desktop, rendezvous, folder })
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("config.toml")
    }

    async fn take_down(self) {
        self.agent.stop().await;
        self.host.shutdown().await;
        drop(self.desktop);
        self.rendezvous.shutdown().await;
    }
}

fn start_host(
    desktop: &Desktop,
    server: &str,
    key: &str,
    password: &str,
    folder: &Path,
) -> anyhow::Result<HostHandle> {
    Ok(Host::spawn(HostConfig {
        state_dir: folder.join("host"),
        password: Some(Secret::new(password)),
        server: Some(host::ServerConfig {
            address: server.into(),
            key: key.into(),
            relay: None,
            tcp: false,
            force_relay: false,
        }),
        username: "demo".into(),
        hostname: "deskhand-demo".into(),
        ..host_defaults(desktop.screen()?)
    })?)
}

async fn registered(server: &hbbs::Handle, host: &HostHandle) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !server.host(&host.id()).is_some_and(|known| known.online) {
        if Instant::now() > deadline {
            bail!("the host was not registered within {} s", PATIENCE.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// The configuration that the gateway starts with: one target, by id through the relay.
fn write_config(folder: &Path, server: &str, key: &str, id: &str, password: &str) -> anyhow::Result<PathBuf> {
    let secret = folder.join("password");
    std::fs::write(&secret, password)?;
    let config = folder.join("config.toml");
    std::fs::write(
        &config,
        format!(
            "[server]\naddress = \"{server}\"\nkey = \"{key}\"\n\n\
             [targets.demo]\naddress = \"{id}/r\"\npassword_file = {secret:?}\n\
             description = \"the demo's virtual desktop\"\n"
        ),
    )?;
    Ok(config)
}

/// Looks, clicks, types, looks again, and proves that it worked.
async fn drive(stage: &Stage, out: &Path, steps: &Steps) -> anyhow::Result<()> {
    let agent = &stage.agent;
    let proof = Proof::new(rand::rng().random(), stage.desktop.home());

    let step = steps.begin("connect, by id through the relay");
    agent.call("connect", json!({"target": "demo"})).await?;
    let status = agent.call("session_status", json!({})).await?;
    let status = status.structured_content.unwrap_or_default();
    let path = find(&status, "path").and_then(Value::as_str).unwrap_or_default().to_owned();
    if path != "relayed" {
        bail!("the session is {path:?}, not relayed: {status}");
    }
    step.done(&format!("{path}, encrypted: {}", find(&status, "encrypted").unwrap_or(&Value::Null)));

    let step = steps.begin("wait until the screen is still");
    agent.call("wait_for", json!({"condition": "still", "timeout_ms": 15_000})).await?;
    step.done("");

    let before = picture(agent, out, "1-before", steps).await?;

    let (x, y) = stage.desktop.xterm_centre();
    let step = steps.begin("click the xterm");
    agent.call("click", json!({"x": x, "y": y})).await?;
    step.done(&format!("at {x}, {y}"));

    let step = steps.begin("type a command");
    agent.call("type_text", json!({"text": format!("{}\n", proof.command())})).await?;
    step.done(&format!("{} characters and Enter", proof.command().chars().count()));

    let step = steps.begin("did it arrive?");
    proof.arrived(PATIENCE).await.map_err(anyhow::Error::msg)?;
    step.done(&format!("the shell wrote {:?}", proof.text()));

    let step = steps.begin("wait until the screen is still");
    agent.call("wait_for", json!({"condition": "still", "timeout_ms": 15_000})).await?;
    step.done("");

    let after = picture(agent, out, "2-after", steps).await?;
    let step = steps.begin("is it in the picture?");
    let pixels = proof.seen(&before.file, &after.file).map_err(anyhow::Error::msg)?;
    step.done(&format!("{pixels} pixels of the colour that the command printed"));

    agent.call("disconnect", json!({})).await?;
    Ok(())
}

async fn picture(agent: &Agent, out: &Path, name: &str, steps: &Steps) -> anyhow::Result<Picture> {
    let step = steps.begin("screenshot");
    let picture = agent.screenshot(json!({"format": "png"})).await?;
    if picture.mime != "image/png" {
        bail!("the picture is {}, not PNG: {}", picture.mime, picture.facts);
    }
    let path = out.join(format!("{name}.png"));
    std::fs::write(&path, &picture.file).with_context(|| format!("picture {}", path.display()))?;
    step.done(&path.display().to_string());
    Ok(picture)
}

/// The value of a key, wherever it stands in a result.
fn find<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Object(object) => object.get(key).or_else(|| object.values().find_map(|v| find(v, key))),
        Value::Array(array) => array.iter().find_map(|v| find(v, key)),
        _ => None,
    }
}

/// How to go on with one's own MCP client.
fn invite(stage: &Stage) -> anyhow::Result<()> {
    let program = std::env::current_exe()?;
    let config = stage.config();
    say(&format!(
        "\nThe desktop stays up until Ctrl+C. Attach your own MCP client:\n\n  \
         claude mcp add --transport stdio deskhand-demo -- {program} mcp --config {config}\n\n\
         or call tools from another shell:\n\n  \
         {program} call --config {config} connect '{{\"target\":\"demo\"}}' screenshot\n\n\
         Stock RustDesk: id {id}, password in {password}, server {server}, key {key}",
        program = program.display(),
        config = config.display(),
        id = stage.host.id(),
        password = stage.folder.path().join("password").display(),
        server = stage.rendezvous.addresses().rendezvous[0],
        key = stage.rendezvous.public_key().map(|key| key.to_string()).unwrap_or_default(),
    ));
    Ok(())
}
