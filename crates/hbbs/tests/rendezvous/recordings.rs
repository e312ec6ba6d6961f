//! Our broker, fed with what real hosts and clients sent to a stock hbbs, at the recorded times and from
//! the recorded addresses, says what the stock hbbs said. Differences that are wanted stand in the tests.

use bytes::Bytes;
use deskhand_tests::recording::Recording;
use deskhand_tests::recordings;
use hbb_common::addr::demangle;
use hbb_common::key::{KeyOption, SigningKey};
use hbb_common::packet::Deframer;
use hbb_common::rendezvous::{RendezvousMessage, rendezvous_message::Union};
use hbbs::broker::{Broker, Journal, Output, Policy, Port, Stream};
use hbbs::clock::{Clock, Moment};
use hbbs::keys::ServerKey;
use hbbs::registry::{Rate, Route, Row, Source, Via};
use hbbs::store::Forgetful;
use prost::Message as _;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// One recorded connection to hbbs, and what ours says on it.
struct Leg {
    name: String,
    addr: SocketAddr,
    port: Option<Port>,
    ended_by_server: bool,
    stream: Option<Stream>,
    want: Vec<String>,
    got: Vec<String>,
    closed: bool,
}

/// One packet that a recorded peer sent.
struct Step {
    at_ms: u32,
    leg: usize,
    packet: Bytes,
}

struct Replay {
    broker: Broker,
    clock: Clock,
    start: Instant,
    legs: Vec<Leg>,
    steps: Vec<Step>,
}

impl Replay {
    fn load(folder: &str) -> Self {
        let keys = read_json(&format!("{folder}/keys.json")).unwrap_or_else(|| key_of(folder));
        let relay = if folder.starts_with("raw/") { relay_of(folder) } else { "10.77.0.1".into() };
        let mut replay = Self::new(&keys, relay);
        let mut names: Vec<String> = std::fs::read_dir(recordings().join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".rdrec") && name.contains("-hbbs-"))
            .collect();
        names.sort();
        for name in names {
            replay.add(folder, name);
        }
        replay.steps.sort_by_key(|step| (step.at_ms, step.leg));
        if let Some(pk) = keys["host_ed25519_public"].as_str().filter(|_| folder.contains("raw")) {
            replay.register(&unhex(pk));
        }
        replay
    }

    fn new(keys: &Value, relay: String) -> Self {
        let secret = unhex(keys["hbbs_ed25519_secret_64"].as_str().unwrap());
        let option = KeyOption::Secret(Box::new(SigningKey::from_bytes(&secret).unwrap()));
        let key = ServerKey::resolve(&option, None, || [0; 32]).unwrap();
        let journal: Arc<dyn Journal> = Arc::new(Forgetful);
        let rate = Rate { count: 3, window: Duration::from_secs(6) };
        let broker = Broker::new(key, Policy::default(), rate, journal, Arc::default());
        broker.relays().set(if relay.is_empty() { Vec::new() } else { vec![relay] });
        let start = Instant::now();
        let clock = Clock::new(start, SystemTime::UNIX_EPOCH);
        Self { broker, clock, start, legs: Vec::new(), steps: Vec::new() }
    }

    fn add(&mut self, folder: &str, name: String) {
        let recording = Recording::load(&format!("{folder}/{name}"));
        let text = |field: &str| recording.header[field].as_str().unwrap_or_default().to_owned();
        let port = match (&text("kind")[..], text("b_addr").rsplit(':').next().unwrap()) {
            ("udp", _) => None,
            (_, "21115") => Some(Port::NatTest),
            (_, "21118") => Some(Port::WebSocket),
            _ => Some(Port::Main),
        };
        let (sent, heard) = match port {
            None => (datagrams(&recording, 0), datagrams(&recording, 1)),
            Some(Port::WebSocket) => (web_messages(&recording, 0), web_messages(&recording, 1)),
            Some(_) => (packets(&recording, 0), packets(&recording, 1)),
        };
        let leg = self.legs.len();
        let addr: SocketAddr = text("a_addr").parse().unwrap();
        self.steps.extend(sent.into_iter().map(|(at_ms, packet)| Step { at_ms, leg, packet }));
        self.legs.push(Leg {
            name,
            addr,
            port,
            ended_by_server: text("ended") == "FIN from b",
            stream: port.map(|port| Stream::new(leg as u64 + 1, addr, port)),
            want: heard.into_iter().map(|(_, packet)| readable(&packet)).collect(),
            got: Vec::new(),
            closed: false,
        });
    }

    /// The recorded host had registered before the recording began.
    fn register(&mut self, pk: &[u8]) {
        let Some(host) = self.legs.iter().find(|leg| leg.port.is_none()) else { return };
        let id = self.steps.iter().find_map(|step| {
            match RendezvousMessage::decode(&step.packet[..]).ok()?.union? {
                Union::RegisterPeer(m) => Some(m.id),
                Union::RegisterPk(m) => Some(m.id),
                Union::PunchHoleRequest(m) => Some(m.id),
                _ => None,
            }
        });
        let id = id.expect("somebody names the host");
        let asks_first = self.steps.iter().any(|step| {
            matches!(
                RendezvousMessage::decode(&step.packet[..]).unwrap_or_default().union,
                Some(Union::RegisterPk(_))
            )
        });
        if asks_first {
            return;
        }
        let row =
            Row { id: id.clone(), uuid: b"machine".to_vec(), pk: pk.try_into().unwrap(), ip: host.addr.ip() };
        assert!(self.broker.registry().load(&row));
        let source = Source { addr: host.addr, via: Via::Listener(0) };
        self.broker.registry().heartbeat(&id, source, self.clock.tick(self.start));
    }

    fn run(mut self) -> Self {
        for (number, step) in std::mem::take(&mut self.steps).into_iter().enumerate() {
            let now = self.start + Duration::from_millis(step.at_ms.into());
            let at = Moment { tick: self.clock.tick(now), random: 0x1234_5678 + number as u32 };
            let leg = &mut self.legs[step.leg];
            assert!(!leg.closed, "{} was closed too early", leg.name);
            let Some(stream) = &mut leg.stream else {
                let mut reply = Vec::new();
                let source = Source { addr: leg.addr, via: Via::Listener(0) };
                self.broker.datagram(source, &step.packet, at, &mut reply);
                if !reply.is_empty() {
                    leg.got.push(readable(&reply));
                }
                continue;
            };
            let mut outputs = Vec::new();
            self.broker.packet(stream, step.packet, at, &mut outputs);
            for output in outputs {
                self.perform(step.leg, output);
            }
        }
        self
    }

    fn perform(&mut self, leg: usize, output: Output) {
        let (place, packet) = match output {
            Output::Close => {
                self.legs[leg].closed = true;
                return;
            }
            Output::Reply(packet) => (Some(leg), packet),
            Output::Pass(connection, packet) => (Some(connection as usize - 1), packet),
            Output::Push(Route::Connection(connection), packet) => (Some(connection as usize - 1), packet),
            Output::Push(Route::Datagram { to, .. }, packet) => {
                (self.legs.iter().position(|leg| leg.port.is_none() && leg.addr == to), packet)
            }
        };
        let place = place.expect("every destination is a recorded peer");
        self.legs[place].got.push(readable(&packet));
    }

    /// Every leg answered as recorded, but for those in `except`: file, what ours says.
    fn check(self, folder: &str, except: &[(&str, &[&str])]) {
        let except: BTreeMap<&str, &[&str]> = except.iter().copied().collect();
        for leg in &self.legs {
            match except.get(&leg.name[..]) {
                Some(want) => {
                    assert_eq!(leg.got, **want, "{folder}/{}", leg.name);
                    assert_ne!(leg.got, leg.want, "{folder}/{}: no difference any more", leg.name);
                }
                None => {
                    assert_eq!(leg.got, leg.want, "{folder}/{}", leg.name);
                    assert!(leg.closed || !leg.ended_by_server, "{folder}/{} stays open", leg.name);
                }
            }
        }
        assert!(!self.legs.is_empty());
    }
}

fn replay(folder: &str) {
    Replay::load(folder).run().check(folder, &[]);
}

fn read_json(name: &str) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(recordings().join(name)).ok()?).ok()
}

/// The keys of the hbbs that a folder without its own names, from one that has them.
fn key_of(folder: &str) -> Value {
    let legs = read_json(&format!("{folder}/index.json")).expect("an index");
    let named = legs.as_array().unwrap().iter().find_map(|leg| leg["key"].as_str()).expect("a key");
    let folders = ["raw/punched", "client/raw-punched"];
    let keys = folders.iter().filter_map(|folder| read_json(&format!("{folder}/keys.json")));
    keys.into_iter().find(|keys| keys["hbbs_key_text"] == named).expect("a folder with that key")
}

/// The relay that the recorded hbbs had been told, as it appears in its pushes.
fn relay_of(folder: &str) -> String {
    let relays = std::fs::read_dir(recordings().join(folder)).unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        path.to_string_lossy().ends_with("-udp.rdrec").then(|| Recording::read(&path))
    });
    let pushes = relays.flat_map(|recording| datagrams(&recording, 1));
    let found = pushes.filter_map(|(_, packet)| match RendezvousMessage::decode(packet).ok()?.union? {
        Union::PunchHole(m) => Some(m.relay_server),
        Union::FetchLocalAddr(m) => Some(m.relay_server),
        _ => None,
    });
    found.last().unwrap_or_default()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn datagrams(recording: &Recording, direction: u8) -> Vec<(u32, Bytes)> {
    let entries = recording.entries.iter().filter(|e| e.direction == direction);
    entries.map(|e| (e.at_ms, e.bytes.clone())).collect()
}

fn packets(recording: &Recording, direction: u8) -> Vec<(u32, Bytes)> {
    let (mut deframer, mut packets) = (Deframer::new(1 << 20), Vec::new());
    for (at_ms, bytes) in datagrams(recording, direction) {
        deframer.extend(&bytes);
        while let Some(packet) = deframer.next_packet().unwrap() {
            packets.push((at_ms, packet));
        }
    }
    assert_eq!(deframer.pending(), 0);
    packets
}

/// Binary messages behind the HTTP upgrade.
fn web_messages(recording: &Recording, direction: u8) -> Vec<(u32, Bytes)> {
    let at_ms = recording.entries.iter().rfind(|e| e.direction == direction).map_or(0, |e| e.at_ms);
    let stream = recording.stream(direction);
    let end = stream.windows(4).position(|w| w == b"\r\n\r\n").expect("an upgrade") + 4;
    let (mut rest, mut messages) = (&stream[end..], Vec::new());
    while let [first, length, tail @ ..] = rest {
        let (masked, short) = (length & 0x80 != 0, usize::from(length & 0x7f));
        let (length, tail) = match short {
            126 => (usize::from(u16::from_be_bytes([tail[0], tail[1]])), &tail[2..]),
            127 => panic!("no message is that long"),
            _ => (short, tail),
        };
        let (mask, tail) = if masked { tail.split_at(4) } else { (&[0; 4][..], tail) };
        let (payload, tail) = tail.split_at(length);
        if first & 0x0f == 2 {
            let plain: Vec<u8> = payload.iter().enumerate().map(|(i, b)| b ^ mask[i % 4]).collect();
            messages.push((at_ms, plain.into()));
        }
        rest = tail;
    }
    messages
}

/// A message as text, its mangled addresses decoded (they contain the time).
fn readable(packet: &[u8]) -> String {
    let message = RendezvousMessage::decode(packet).expect("a message");
    let mut text = format!("{:?}", message.union.as_ref().expect("a known member"));
    let addresses: Vec<&Bytes> = match message.union.as_ref().unwrap() {
        Union::PunchHole(m) => vec![&m.socket_addr],
        Union::PunchHoleResponse(m) => vec![&m.socket_addr],
        Union::FetchLocalAddr(m) => vec![&m.socket_addr],
        Union::RequestRelay(m) => vec![&m.socket_addr],
        _ => Vec::new(),
    };
    for bytes in addresses.into_iter().filter(|b| !b.is_empty()) {
        text = text.replacen(&format!("{bytes:?}"), &demangle(bytes).to_string(), 1);
    }
    text
}

#[test]
fn registrations() {
    let ours = Replay::load("hbbs/register").run();
    let mut want = ours.legs[0].want.clone();
    // Clients that punch with UDP ask for their port; stock keeps silent.
    want.push("TestNatResponse(TestNatResponse { port: 46910, cu: None })".into());
    assert_eq!(ours.legs[0].got, want);
    assert_eq!(ours.legs[1].got, ours.legs[1].want);
    replay("hbbs/stock-host-start");
}

#[test]
fn registrations_over_tcp_are_served() {
    let keep_alive = "RegisterPkResponse(RegisterPkResponse { result: Ok, keep_alive: 20 })";
    let known = "RegisterPeerResponse(RegisterPeerResponse { request_pk: false })";
    let online = r#"OnlineResponse(OnlineResponse { states: b"\x80" })"#;
    Replay::load("hbbs/tcp-registration").run().check(
        "hbbs/tcp-registration",
        &[
            ("00-host-hbbs-tcp.rdrec", &[keep_alive]),
            ("01-peer-hbbs-tcp.rdrec", &[known]),
            ("03-client-hbbs-tcp.rdrec", &[online]),
        ],
    );
}

#[test]
fn nat_tests_and_online_queries() {
    replay("hbbs/nat-test");
    replay("hbbs/online");
}

#[test]
fn refusals() {
    let refused = "RelayResponse(RelayResponse { socket_addr: b\"\", uuid: \"\", relay_server: \"\", \
                   refuse_reason: \"ID does not exist\", version: \"\", feedback: 0, socket_addr_v6: b\"\", \
                   upnp_port: 0, union: None })";
    // A reason in place of 30 s of silence.
    Replay::load("hbbs/refusals").run().check("hbbs/refusals", &[("04-client-hbbs-tcp-4.rdrec", &[refused])]);
    let ours = Replay::load("client/raw-refusals");
    // The host had been silent for 32 s.
    let ip = "10.77.0.2".parse().unwrap();
    let silent = Row { id: "555000222".into(), uuid: b"machine".to_vec(), pk: [1; 32], ip };
    assert!(ours.broker.registry().load(&silent));
    ours.run().check("client/raw-refusals", &[]);
}

#[test]
fn punches() {
    replay("hbbs/punch");
    replay("raw/punched");
    replay("client/raw-punched");
}

#[test]
fn peers_on_one_address() {
    replay("hbbs/same-address");
    replay("raw/direct-same-address");
    replay("client/raw-same-address");
}

#[test]
fn relays() {
    replay("raw/relay-by-client");
    replay("raw/relay-by-host");
    replay("client/raw-relay");
}

#[test]
fn websocket_clients() {
    replay("hbbs/web");
    replay("client/raw-websocket");
}

/// Guards the guard: a recording that is not understood must not pass for want of content.
#[test]
fn the_recordings_hold_what_is_compared() {
    let mut kinds: HashMap<String, usize> = HashMap::new();
    for folder in ["hbbs/register", "hbbs/punch", "hbbs/web", "raw/relay-by-host", "client/raw-websocket"] {
        for leg in Replay::load(folder).legs {
            for text in leg.want {
                *kinds.entry(text.split('(').next().unwrap().to_owned()).or_default() += 1;
            }
        }
    }
    for kind in ["RegisterPkResponse", "PunchHole", "PunchHoleResponse", "RelayResponse", "TestNatResponse"] {
        assert!(kinds.get(kind).is_some_and(|n| *n > 0), "{kind} in {kinds:?}");
    }
}
