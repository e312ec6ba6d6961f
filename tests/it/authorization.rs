//! Our authorisation server under the official suite, with a person in front of it.

use deskhand_tests::net::free_tcp_port;
use deskhand_tests::{Child, node, python, root};
use policy::Grant;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;
use store::{ClientRow, Store, UserRow};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use web::auth::{self, AuthConfig, AuthState, Issuer, hash_password};
use web::oauth::OAuthConfig;

const LIMIT: Duration = Duration::from_secs(60);
const PASSWORD: &str = "correct horse";

/// A server on loopback with one person, `alice`. Its thread ends with it.
struct Server {
    url: String,
    store: Store,
    runtime: Runtime,
    _state: TempDir,
}

impl Server {
    fn start() -> Self {
        let state = tempfile::tempdir().unwrap();
        let store = Store::open(state.path()).unwrap();
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let alice = UserRow {
            name: "alice".into(),
            password: hash_password(PASSWORD).unwrap(),
            grant: Grant::everything(),
            created_at: 0,
        };
        assert!(runtime.block_on(store.add_user(alice)).unwrap());
        let config = AuthConfig {
            issuer: Issuer::Own(Box::new(OAuthConfig { documents: false, ..OAuthConfig::default() })),
            ..AuthConfig::new(url.parse().unwrap())
        };
        let router = auth::router(&AuthState::new(store.clone(), config).unwrap());
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        runtime.spawn(async move { axum::serve(listener, service).await });
        Self { url, store, runtime, _state: state }
    }

    /// A client without a secret: the suite uses none wherever a server allows that.
    fn add_client(&self, id: &str) {
        let client = ClientRow {
            id: id.into(),
            secret: None,
            name: "the official suite".into(),
            redirect_uris: vec!["http://127.0.0.1/callback".into()],
            auth_method: "none".into(),
            created_at: 0,
            used_at: None,
        };
        assert!(self.runtime.block_on(self.store.add_client(client, 1, 10)).unwrap());
    }
}

#[test]
fn the_official_suite_gets_its_tokens() {
    let server = Server::start();
    server.add_client("suite");
    let mut suite = node::program("conformance");
    suite.args(["authorization", "--url", &server.url, "--client-id", "suite"]);
    suite.args(["--resource", &format!("{}/mcp", server.url)]);
    suite.args(["--port", &free_tcp_port(Ipv4Addr::LOCALHOST).to_string()]);
    let mut suite = Child::spawn(suite.env("NO_COLOR", "1"));
    let request = suite.wait_for("an address for a browser", LIMIT, |suite| {
        let out = suite.stdout();
        // A whole line.
        let (lines, _) = out.rsplit_once('\n')?;
        lines.lines().find(|line| line.contains("/authorize?")).map(|line| line.trim().to_owned())
    });
    let mut person = Command::new(python());
    person.arg(root().join("mcp/person.py")).args([&request, "alice", PASSWORD, "observe"]);
    let agreed = person.output().unwrap();
    assert!(agreed.status.success(), "{}", String::from_utf8_lossy(&agreed.stderr));
    let ended = suite.ended(LIMIT);
    let out = suite.stdout();
    assert!(ended.success() && out.contains(", 0 failed\n"), "{out}");
    for scenario in ["authorization-server-metadata-endpoint", "authorization-code-grant"] {
        assert!(out.contains(&format!("✓ {scenario}")), "{out}");
    }
}
