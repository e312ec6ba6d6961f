//! Our client by id: our hbbs and hbbr, the independent host behind them, each kind of path.

use client::{Config, MemoryPins, Pin, Pins as _, RustDesk, RustDeskSession, Server};
use deskhand_tests::net::own_address;
use deskhand_tests::pyref::Host;
use hbb_common::key::{KeyOption, SigningKey};
use hbbs::relay::{Relay, RelayConfig, RelayHandle};
use hbbs::{Handle, ServerConfig};
use remote::{Desktop as _, DisplayId, Path, RemoteError, Secret, Session as _, SessionState, Target};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(40);
const ID: &str = "555000111";

/// hbbs and hbbr at an address of their own, with a host that registered there.
struct Site {
    address: Ipv4Addr,
    key: String,
    host: Host,
    _hbbs: Handle,
    _hbbr: RelayHandle,
}

impl Site {
    /// `host`: further arguments of the host.
    async fn new(host: &[&str]) -> Self {
        let address = own_address();
        let signing = SigningKey::from_seed(&[7; 32]);
        let key = signing.public().to_base64();
        let hbbs = hbbs::Server::spawn(ServerConfig {
            listen: vec![address.into()],
            key: KeyOption::Secret(Box::new(signing)),
            relays: vec![format!("{address}:21117")],
            ..ServerConfig::default()
        })
        .unwrap();
        let mut relay = RelayConfig::on(address.into(), 21117);
        relay.key = Some(key.clone());
        let hbbr = Relay::spawn(relay).unwrap();
        let (rendezvous, relay) = (format!("{address}:21116"), format!("{address}:21117"));
        let mut arguments: Vec<String> =
            ["--rendezvous", &rendezvous, "--relay", &relay, "--key", &key].map(Into::into).to_vec();
        arguments.extend(["--id", ID, "--password", "beacon"].map(Into::into));
        arguments.extend(host.iter().map(|a| (*a).into()));
        let host = tokio::task::spawn_blocking(move || {
            Host::start(&arguments.iter().map(|a| &a[..]).collect::<Vec<_>>())
        });
        Self { address, key, host: host.await.unwrap(), _hbbs: hbbs, _hbbr: hbbr }
    }

    fn server(&self) -> Server {
        Server { address: format!("{}:21116", self.address), key: self.key.clone() }
    }

    fn config(&self) -> Config {
        Config { server: Some(self.server()), ..Config::default() }
    }

    fn host_key(&self) -> String {
        let events = self.host.events();
        let ready = events.iter().find(|e| e["event"] == "ready").expect("it is ready");
        ready["public_key"].as_str().unwrap().into()
    }
}

fn open(config: Config, address: &str) -> RustDeskSession {
    let target =
        Target { address: address.into(), password: Some(Secret::new("beacon")), ..Target::default() };
    RustDesk::new(config).open_session(target).unwrap()
}

async fn end(session: &RustDeskSession) -> RemoteError {
    let mut state = session.state();
    loop {
        if let SessionState::Closed(error) = state {
            return error;
        }
        let seen = state.clone();
        state = match tokio::time::timeout(LIMIT, session.state_after(&seen)).await {
            Ok(state) => state,
            Err(_) => panic!("the state stayed {seen:?}"),
        };
    }
}

/// The session shows a picture over a sealed path of this kind.
async fn shows(session: &RustDeskSession, path: Path, site: &Site) {
    let shown = tokio::time::timeout(LIMIT, session.frame(DisplayId(0))).await.expect("a picture in time");
    assert_eq!(shown.unwrap().1.size, remote::Size::new(640, 480));
    let peer = session.peer();
    assert_eq!((peer.path, peer.encrypted), (Some(path), true));
    assert_eq!(peer.key, Some(site.host_key()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_on_our_address_is_reached_locally_and_its_key_is_kept() {
    let site = Site::new(&[]).await;
    let pins = Arc::new(MemoryPins::default());
    let session = open(Config { pins: pins.clone(), ..site.config() }, ID);
    shows(&session, Path::Local, &site).await;
    let pin = Pin { server: site.server().address, id: ID.into() };
    assert_eq!(pins.get(&pin).unwrap().map(|k| k.to_base64()), Some(site.host_key()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_elsewhere_is_punched_to() {
    let elsewhere = own_address().to_string();
    let site = Site::new(&["--source", &elsewhere]).await;
    shows(&open(site.config(), ID), Path::Punched, &site).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forced_relay_is_used_and_a_server_in_the_address_too() {
    let site = Site::new(&[]).await;
    let session = open(Config::default(), &format!("{ID}/r@{}?key={}", site.address, site.key));
    shows(&session, Path::Relayed, &site).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_websocket_everything_is_relayed() {
    let site = Site::new(&[]).await;
    let server = Server { address: format!("ws://{}:21118/", site.address), key: site.key.clone() };
    let session = open(Config { server: Some(server), ..Config::default() }, ID);
    shows(&session, Path::Relayed, &site).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_with_another_key_than_before_gets_no_password() {
    let site = Site::new(&[]).await;
    let pins = Arc::new(MemoryPins::default());
    let old = SigningKey::from_seed(&[99; 32]).public();
    pins.pin(&Pin { server: site.server().address, id: ID.into() }, old).unwrap();
    let session = open(Config { pins, ..site.config() }, ID);
    let want =
        RemoteError::PeerKeyChanged { peer: ID.into(), pinned: old.to_base64(), offered: site.host_key() };
    assert_eq!(end(&session).await, want);
    assert!(!site.host.events().iter().any(|e| e["event"] == "login_request"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_refuses_is_told_apart() {
    let site = Site::new(&[]).await;
    assert_eq!(end(&open(site.config(), "999999999")).await, RemoteError::UnknownId("999999999".into()));
    let wrong = Server { key: SigningKey::from_seed(&[8; 32]).public().to_base64(), ..site.server() };
    let session = open(Config { server: Some(wrong), ..Config::default() }, ID);
    assert_eq!(end(&session).await, RemoteError::ServerKeyRefused);
    let nobody = Server { address: format!("{}:9", site.address), key: String::new() };
    let session = open(Config { server: Some(nobody), ..Config::default() }, ID);
    assert!(matches!(end(&session).await, RemoteError::Unreachable { .. }));
}
