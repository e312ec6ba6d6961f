//! MCP as others speak it: the official conformance suite, the official clients and the inspector, over HTTP
//! and over stdio, against a host that shows the test card.

use client::{Config, RustDesk};
use deskhand_tests::conformance::Fixtures;
use deskhand_tests::mcp_http::{Served, serve};
use deskhand_tests::{Child, deskhand, node, python, root};
use mcp::http::{HttpConfig, router, router_for};
use mcp::{Gateway, GatewayConfig};
use remote::{Connector, Secret, Target};
use serde_json::{Value, json};
use sessions::{FileSecrets, SecretRef, Sessions, SessionsConfig, TargetEntry};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(120);
const PASSWORD: &str = "correct horse";

/// A host with the test card, and a folder for whatever belongs to it.
struct Card {
    port: String,
    folder: TempDir,
    _host: Child,
}

impl Card {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let password = folder.path().join("password");
        std::fs::write(&password, PASSWORD).unwrap();
        let mut command = Command::new(deskhand());
        command.args(["host", "--screen", "test-card", "--direct-port", "0"]);
        command.arg("--password-file").arg(&password).arg("--state").arg(folder.path().join("host"));
        let mut host = Child::spawn(&mut command);
        let word = "listening direct tcp ";
        let line = host.wait_for(word, LIMIT, |host| {
            let out = host.stdout();
            out.lines().find_map(|line| line.strip_prefix(word)).map(str::to_owned)
        });
        let port = line.trim().rsplit(':').next().unwrap().to_owned();
        Self { port, folder, _host: host }
    }

    /// The product's gateway behind HTTP, with the host as target `card`.
    async fn over_http(&self) -> Served {
        let connectors: Vec<Arc<dyn Connector>> = vec![Arc::new(RustDesk::new(Config::default()))];
        let target = Target {
            name: "card".into(),
            address: format!("127.0.0.1:{}", self.port),
            allow_unencrypted: true,
            ..Target::default()
        };
        let password = Some(SecretRef::Inline(Secret::new(PASSWORD)));
        let targets = vec![TargetEntry { target, password, ..TargetEntry::default() }];
        let secrets = Arc::new(FileSecrets::default());
        let sessions = Sessions::new(SessionsConfig::default(), connectors, targets, secrets);
        let gateway = Gateway::new(sessions, GatewayConfig::default()).unwrap();
        serve(router(Arc::new(gateway), HttpConfig::default())).await
    }

    /// The program's arguments for the same over stdio.
    fn over_stdio(&self) -> Vec<String> {
        let config = self.folder.path().join("config.toml");
        let password = self.folder.path().join("password");
        let text = format!(
            "[targets.card]\naddress = \"127.0.0.1:{}\"\npassword_file = {password:?}\nallow_unencrypted = true\n",
            self.port
        );
        std::fs::write(&config, text).unwrap();
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        let state = self.folder.path().join("mcp");
        ["mcp".to_owned(), "--config".into(), path(&config), "--state".into(), path(&state)].to_vec()
    }
}

/// Runs the suite's frozen set for a revision; every scored check has to pass.
async fn conforms(revision: &str, url: &str) {
    let mut command = node::program("conformance");
    command.args(["server", "--requirements", revision, "--url", url]);
    let (ok, output) = node::run(command, LIMIT).await;
    assert!(ok, "{output}");
    assert!(output.contains("✓ tools-call-simple-text"), "it tested something: {output}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_suite_passes_in_full_for_the_newest_session_based_revision() {
    let fixtures = Fixtures::default();
    let served = serve(router_for(move || fixtures.handler(), HttpConfig::default())).await;
    conforms("2025-11-25", &served.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_suite_passes_in_full_for_the_revision_without_sessions() {
    let fixtures = Fixtures::default();
    let served = serve(router_for(move || fixtures.handler(), HttpConfig::default())).await;
    conforms("2026-07-28", &served.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scenarios_that_ask_for_no_fixture_pass_against_the_product_itself() {
    let card = Card::new();
    let served = card.over_http().await;
    let older = ["server-initialize", "server-session-lifecycle", "ping", "tools-list"];
    let newest =
        ["tools-list", "server-sse-multiple-streams", "dns-rebinding-protection", "http-header-validation"];
    let older = older.iter().map(|scenario| ("2025-11-25", scenario));
    for (revision, scenario) in older.chain(newest.iter().map(|scenario| ("2026-07-28", scenario))) {
        let mut command = node::program("conformance");
        command.args(["server", "--scenario", scenario, "--spec-version", revision, "--url", &served.url()]);
        let (ok, output) = node::run(command, LIMIT).await;
        assert!(ok, "{scenario} in {revision}: {output}");
    }
}

/// What a walk has to have seen.
fn check(seen: &Value, revision: &str) {
    assert_eq!(seen["revision"], revision, "{seen:#}");
    assert!(seen["tools"].as_array().unwrap().contains(&json!("screenshot")), "{seen:#}");
    assert_eq!(seen["targets"], json!(["card"]));
    assert_eq!(seen["state"], "ready");
    assert_eq!(seen["picture"], json!(["image/png", "89504e470d0a1a0a"]));
    assert_eq!(seen["clicked"], true);
    assert_eq!(seen["wrong"], json!([true, "invalid_argument"]));
    assert_eq!(seen["beyond"], json!([true, "out_of_bounds"]));
    assert_eq!(seen["unknown"], -32602);
    assert_eq!(seen["progress"], true);
    assert_eq!(seen["disconnected"], true);
}

/// Lets a client walk over HTTP and over stdio, in the newest revision and in one with sessions.
async fn walks(client: impl Fn() -> Command) {
    let card = Card::new();
    let served = card.over_http().await;
    for (mode, revision) in [("auto", "2026-07-28"), ("legacy", "2025-11-25")] {
        let mut over_http = client();
        over_http.args([mode, &served.url(), "walker"]);
        let mut over_stdio = client();
        over_stdio.arg(mode).arg(deskhand()).args(card.over_stdio());
        for command in [over_http, over_stdio] {
            let shown = format!("{command:?}");
            let (ok, output) = node::run(command, LIMIT).await;
            assert!(ok, "{shown}: {output}");
            check(&serde_json::from_str(&output).expect(&output), revision);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_python_client_walks_through_the_tools() {
    walks(|| {
        let mut command = Command::new(python());
        command.arg(root().join("mcp/walk.py")).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_typescript_client_walks_through_the_tools() {
    walks(|| node::script("walk.mjs")).await;
}

/// The inspector, for one method. A command to talk to comes last, after `--`: its options are not the
/// inspector's.
async fn inspect(target: &[String], method: &[&str]) -> Value {
    let mut command = node::program("inspector");
    command.arg("--cli").args(method).args(target);
    let (ok, output) = node::run(command, LIMIT).await;
    let start = output.find('{').unwrap_or_else(|| panic!("{ok}: {output}"));
    serde_json::from_str(&output[start..]).unwrap_or_else(|error| panic!("{ok}, {error}: {output}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_inspector_lists_and_calls_over_http_and_stdio() {
    let card = Card::new();
    let served = card.over_http().await;
    let http = ["--transport", "http", "--server-url", &served.url()].map(str::to_owned).to_vec();
    let stdio = [vec!["--".to_owned(), deskhand().to_str().unwrap().to_owned()], card.over_stdio()].concat();
    for target in [&http, &stdio] {
        let tools = inspect(target, &["--method", "tools/list"]).await;
        assert!(tools["tools"].as_array().unwrap().len() > 10, "{tools}");
        let call = ["--method", "tools/call", "--tool-name", "target_list"];
        let listed = inspect(target, &call).await;
        assert_eq!(listed["structuredContent"]["targets"][0]["name"], "card", "{listed}");
    }
    let connect = ["--method", "tools/call", "--tool-name", "connect", "--tool-arg", "target=card"];
    let connected = inspect(&http, &connect).await;
    assert_eq!(connected["structuredContent"]["state"], "ready", "{connected}");
    // Another process, the same credential: the handle is what counts.
    let shot = inspect(&http, &["--method", "tools/call", "--tool-name", "screenshot"]).await;
    assert_eq!(shot["content"][1]["mimeType"], "image/png", "{}", shot["structuredContent"]);
}
