//! Our host by id: our hbbs and hbbr, the independent client behind them, each kind of path.

use deskhand_tests::net::own_address;
use deskhand_tests::pyref::{Client, Outcome};
use hbb_common::key::{KeyOption, SigningKey};
use hbbs::ServerConfig as RendezvousConfig;
use hbbs::relay::{Relay, RelayConfig, RelayHandle};
use host::screen::TestCard;
use host::{Host, HostConfig, HostEvent, HostHandle, Path, ServerConfig};
use remote::{Secret, Size};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::broadcast::Receiver;

const LIMIT: Duration = Duration::from_secs(60);
const ID: &str = "555000111";
const PASSWORD: &str = "beacon-Light-7";

/// hbbs and hbbr at an address of their own, and our host registered there.
struct Site {
    address: Ipv4Addr,
    key: String,
    host: HostHandle,
    events: Receiver<HostEvent>,
    _hbbs: hbbs::Handle,
    _hbbr: RelayHandle,
    state: TempDir,
}

impl Site {
    async fn new(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let address = own_address();
        let signing = SigningKey::from_seed(&[7; 32]);
        let key = signing.public().to_base64();
        let hbbs = hbbs::Server::spawn(RendezvousConfig {
            listen: vec![address.into()],
            key: KeyOption::Secret(Box::new(signing)),
            ..RendezvousConfig::default()
        })
        .unwrap();
        let mut relay = RelayConfig::on(address.into(), 21117);
        relay.key = Some(key.clone());
        let hbbr = Relay::spawn(relay).unwrap();
        let state = TempDir::new().unwrap();
        let mut server = ServerConfig {
            address: address.to_string(),
            key: key.clone(),
            relay: None,
            tcp: false,
            force_relay: false,
        };
        change(&mut server);
        let host = Host::spawn(host(&state, server, Some(ID))).unwrap();
        let events = host.events();
        let mut site = Self { address, key, host, events, _hbbs: hbbs, _hbbr: hbbr, state };
        site.event(|e| matches!(e, HostEvent::Registered { id } if id == ID)).await;
        site
    }

    async fn event(&mut self, wanted: impl Fn(&HostEvent) -> bool) -> HostEvent {
        event(&mut self.events, wanted).await
    }

    /// The client comes, logs in sealed, sees a picture, and its path is the host's.
    async fn reached(&mut self, arguments: &[&str], path: Path) {
        let (rendezvous, relay) = (format!("{}:21116", self.address), format!("{}:21117", self.address));
        let mut all = vec!["--rendezvous", &rendezvous, "--relay", &relay, "--key", &self.key];
        all.extend(["--id", ID, "--password", PASSWORD, "--seconds", "1"]);
        all.extend(arguments);
        let Outcome { ok, report } = Client::start("video", &all).outcome_async(LIMIT).await;
        assert!(ok, "{report}");
        let connected = self.event(|e| matches!(e, HostEvent::Connected { .. })).await;
        assert!(
            matches!(connected, HostEvent::Connected { path: p, .. } if p == path),
            "{connected:?} {report}"
        );
        self.event(|e| matches!(e, HostEvent::Introduced { sealed: true, .. })).await;
        self.event(|e| matches!(e, HostEvent::Authorised { .. })).await;
    }
}

async fn event(events: &mut Receiver<HostEvent>, wanted: impl Fn(&HostEvent) -> bool) -> HostEvent {
    let searching = async {
        loop {
            let event = events.recv().await.unwrap();
            if wanted(&event) {
                return event;
            }
        }
    };
    tokio::time::timeout(LIMIT, searching).await.expect("the event comes")
}

fn host(state: &TempDir, server: ServerConfig, id: Option<&str>) -> HostConfig {
    HostConfig {
        state_dir: state.path().join("host"),
        id: id.map(Into::into),
        password: Some(Secret::new(PASSWORD)),
        server: Some(server),
        username: "ada".into(),
        hostname: "orchard".into(),
        ..HostConfig::new(Arc::new(TestCard::new(Size::new(640, 480))))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_on_the_same_address_comes_directly() {
    let mut site = Site::new(|_| {}).await;
    site.reached(&[], Path::Local).await;
    site.reached(&[], Path::Local).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_elsewhere_comes_through_a_punched_hole() {
    let mut site = Site::new(|_| {}).await;
    let elsewhere = own_address().to_string();
    site.reached(&["--source", &elsewhere], Path::Punched).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_met_at_the_relay_whoever_asks_for_it() {
    let mut site = Site::new(|_| {}).await;
    let elsewhere = own_address().to_string();
    site.reached(&["--source", &elsewhere, "--symmetric"], Path::Relayed).await;
    site.reached(&["--source", &elsewhere, "--force-relay"], Path::Relayed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_wants_to_be_met_there_only_is() {
    let mut site = Site::new(|server| server.force_relay = true).await;
    site.reached(&[], Path::Relayed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_another_machine_has_is_kept_if_chosen_and_replaced_if_not() {
    let site = Site::new(|_| {}).await;
    let server = ServerConfig {
        address: format!("{}:21116", site.address),
        key: site.key.clone(),
        relay: None,
        tcp: false,
        force_relay: false,
    };
    let state = TempDir::new().unwrap();
    let second = |id| {
        // Another machine, for hbbs, is one with another uuid.
        let folder = state.path().join("host");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("uuid"), "another machine").unwrap();
        std::fs::write(folder.join("id"), ID).unwrap();
        Host::spawn(host(&state, server.clone(), id)).unwrap()
    };
    let chosen = second(Some(ID));
    let mut events = chosen.events();
    event(&mut events, |e| matches!(e, HostEvent::IdTaken { id } if id == ID)).await;
    assert_eq!(chosen.id(), ID);
    chosen.shutdown().await;

    let random = second(None);
    let mut events = random.events();
    event(&mut events, |e| matches!(e, HostEvent::IdReplaced { old, .. } if old == ID)).await;
    let registered = event(&mut events, |e| matches!(e, HostEvent::Registered { .. })).await;
    assert_eq!(registered, HostEvent::Registered { id: random.id() });
    let kept = std::fs::read_to_string(state.path().join("host/id")).unwrap();
    assert_eq!(kept.trim(), random.id());
    assert_ne!(random.id(), ID);
    assert_eq!(site.host.id(), ID, "{}", site.state.path().display());
}
