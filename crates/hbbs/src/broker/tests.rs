use super::*;
use crate::clock::Clock;
use crate::store::Forgetful;
use hbb_common::addr::{demangle, mangle};
use hbb_common::key::{KeyOption, SigningKey};
use hbb_common::rendezvous::punch_hole_response::{self, Failure};
use hbb_common::rendezvous::register_pk_response::Result as Code;
use hbb_common::rendezvous::*;
use hbb_common::rewrite::Fields;
use std::sync::atomic::AtomicBool;

const ID: &str = "123456789";
const HOST: &str = "10.0.0.1:5000";
const CLIENT: &str = "10.0.0.2:6000";

struct World {
    broker: Broker,
    now: Tick,
    random: u32,
    next: ConnectionId,
}

fn server_key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn key_text() -> String {
    server_key().public().to_base64()
}

impl World {
    fn new(policy: Policy) -> Self {
        Self::with_journal(policy, Arc::new(Forgetful))
    }

    fn with_journal(policy: Policy, journal: Arc<dyn Journal>) -> Self {
        let option = KeyOption::Secret(Box::new(server_key()));
        let key = ServerKey::resolve(&option, None, || [0; 32]).unwrap();
        let rate = Rate { count: 3, window: Duration::from_secs(6) };
        let broker = Broker::new(key, policy, rate, journal, Arc::default());
        let start = std::time::Instant::now();
        let now = Clock::new(start, std::time::SystemTime::UNIX_EPOCH).tick(start);
        Self { broker, now, random: 0xABCD_0123, next: 1 }
    }

    /// With one host online.
    fn with_host(policy: Policy) -> Self {
        let mut world = Self::new(policy);
        assert_eq!(world.register(ID, "machine", HOST), Some(Code::Ok));
        world
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
    }

    fn stream(&mut self, addr: &str, port: Port) -> Stream {
        self.next += 1;
        Stream::new(self.next, addr.parse().unwrap(), port)
    }

    fn client(&mut self) -> Stream {
        self.stream(CLIENT, Port::Main)
    }

    fn moment(&mut self) -> Moment {
        self.random = self.random.wrapping_mul(3).wrapping_add(1);
        Moment { tick: self.now, random: self.random }
    }

    fn datagram(&mut self, from: &str, union: Union) -> Option<Union> {
        let mut reply = Vec::new();
        let source = Source { addr: from.parse().unwrap(), via: Via::Listener(0) };
        let at = self.moment();
        self.broker.datagram(source, &encode(union), at, &mut reply);
        (!reply.is_empty()).then(|| RendezvousMessage::decode(&reply[..]).unwrap().union.unwrap())
    }

    fn register(&mut self, id: &str, uuid: &str, from: &str) -> Option<Code> {
        match self.datagram(from, register_pk(id, uuid))? {
            Union::RegisterPkResponse(m) => Some(m.result()),
            other => panic!("{other:?}"),
        }
    }

    fn say(&mut self, stream: &mut Stream, union: Union) -> Vec<Output> {
        self.say_bytes(stream, encode(union))
    }

    fn say_bytes(&mut self, stream: &mut Stream, packet: Bytes) -> Vec<Output> {
        let (at, mut out) = (self.moment(), Vec::new());
        self.broker.packet(stream, packet, at, &mut out);
        out
    }

    /// A client asks for the host; what the host is pushed.
    fn push(&mut self, client: &mut Stream) -> Union {
        let out = self.say(client, punch(ID));
        let [Output::Push(_, packet)] = &out[..] else { panic!("{out:?}") };
        decode(packet)
    }

    fn pushed_addr(&mut self, client: &mut Stream) -> Bytes {
        match self.push(client) {
            Union::PunchHole(m) => m.socket_addr,
            Union::FetchLocalAddr(m) => m.socket_addr,
            other => panic!("{other:?}"),
        }
    }
}

fn decode(packet: &Bytes) -> Union {
    RendezvousMessage::decode(packet.clone()).unwrap().union.unwrap()
}

fn register_pk(id: &str, uuid: &str) -> Union {
    let uuid = Bytes::copy_from_slice(uuid.as_bytes());
    Union::RegisterPk(RegisterPk { id: id.into(), uuid, pk: vec![9; 32].into(), ..Default::default() })
}

fn punch(id: &str) -> Union {
    Union::PunchHoleRequest(PunchHoleRequest {
        id: id.into(),
        nat_type: NatType::Asymmetric.into(),
        licence_key: key_text(),
        ..Default::default()
    })
}

fn relay(id: &str, licence_key: &str) -> Union {
    let uuid = "11111111-2222-4333-8444-555555555555".into();
    let licence_key = licence_key.into();
    Union::RequestRelay(RequestRelay { id: id.into(), uuid, licence_key, ..Default::default() })
}

fn sent(socket_addr: Bytes, id: &str, version: &str) -> Union {
    let (id, version) = (id.into(), version.into());
    Union::PunchHoleSent(PunchHoleSent { socket_addr, id, version, ..Default::default() })
}

fn failure(out: &[Output]) -> Failure {
    let [Output::Reply(packet)] = out else { panic!("{out:?}") };
    match decode(packet) {
        Union::PunchHoleResponse(m) => m.failure(),
        other => panic!("{other:?}"),
    }
}

fn refused(out: &[Output]) -> String {
    let [Output::Reply(packet)] = out else { panic!("{out:?}") };
    match decode(packet) {
        Union::RelayResponse(m) => m.refuse_reason,
        other => panic!("{other:?}"),
    }
}

/// The answer passed to a client.
fn passed(out: &[Output], to: &Stream) -> Union {
    let [Output::Pass(connection, packet), Output::Close] = out else { panic!("{out:?}") };
    assert_eq!(*connection, to.connection);
    decode(packet)
}

#[test]
fn no_answer_to_a_datagram_is_longer_than_three_times_the_question() {
    let mut world = World::new(Policy::default());
    let longest = "1".repeat(100);
    let questions = [
        register_pk(ID, "machine"),
        register_pk(&longest, "machine"),
        Union::RegisterPeer(RegisterPeer { id: "1".into(), serial: 0 }),
        Union::RegisterPeer(RegisterPeer { id: ID.into(), serial: 3 }),
        Union::TestNatRequest(TestNatRequest { serial: 0 }),
        punch(ID),
        relay(ID, &key_text()),
        sent(mangle(CLIENT.parse().unwrap(), 1).into(), ID, "1"),
        Union::OnlineRequest(OnlineRequest { id: ID.into(), peers: vec![ID.into()] }),
        Union::ConfigureUpdate(ConfigUpdate { serial: 9, rendezvous_servers: vec!["evil".into()] }),
    ];
    for question in questions {
        let asked = encode(question.clone()).len();
        let answer = world.datagram("10.0.0.9:65535", question.clone());
        let answered = answer.map_or(0, |union| encode(union).len());
        assert!(answered <= 3 * asked, "{question:?}: {answered} for {asked}");
    }
    let ignored = world.broker.counters().datagrams_ignored.get();
    assert_eq!(ignored, 5, "what has no place in a datagram is not answered");
}

#[test]
fn loopback_is_an_address_like_any_other() {
    let mut world = World::new(Policy::default());
    assert_eq!(world.register(ID, "machine", "127.0.0.1:5"), Some(Code::Ok));
    let heartbeat = Union::RegisterPeer(RegisterPeer { id: ID.into(), serial: 3 });
    let answer = world.datagram("127.0.0.2:5", heartbeat);
    assert_eq!(answer, Some(Union::RegisterPeerResponse(RegisterPeerResponse { request_pk: true })));
    let mut console = world.stream("127.0.0.1:9", Port::NatTest);
    assert_eq!(world.say_bytes(&mut console, Bytes::from_static(b"h\n")), [Output::Close]);
}

#[test]
fn claims_that_can_not_be_kept_are_answered_without_harm() {
    #[derive(Debug, Default)]
    struct Failing(AtomicBool);
    impl Journal for Failing {
        fn keepable(&self) -> bool {
            !self.0.load(Ordering::Relaxed)
        }
        fn keep(&self, _: Change) {}
    }
    let journal = Arc::new(Failing::default());
    let mut world = World::with_journal(Policy::default(), Arc::clone(&journal) as Arc<dyn Journal>);
    assert_eq!(world.register(ID, "machine", HOST), Some(Code::Ok));
    journal.0.store(true, Ordering::Relaxed);
    assert_eq!(world.register("987654321", "machine", HOST), Some(Code::ServerError));
    assert_eq!(world.register(ID, "machine", HOST), Some(Code::Ok), "known ones live on");
    journal.0.store(false, Ordering::Relaxed);
    assert_eq!(world.register("987654321", "machine", HOST), Some(Code::Ok));
}

#[test]
fn only_a_real_conflict_or_an_impossible_id_costs_a_host_its_id() {
    let mut world = World::with_host(Policy::default());
    assert_eq!(world.register(ID, "other", HOST), Some(Code::UuidMismatch));
    assert_eq!(world.register("12345", "machine", HOST), Some(Code::UuidMismatch));
    assert_eq!(world.register(&"1".repeat(101), "machine", HOST), Some(Code::InvalidIdFormat));
    assert_eq!(world.register("with space", "machine", HOST), Some(Code::InvalidIdFormat));
    assert_eq!(world.register("987654321", &"u".repeat(200), HOST), Some(Code::NotSupport));
    let short =
        RegisterPk { id: "987654321".into(), uuid: "m".into(), pk: "short".into(), ..Default::default() };
    let answer = world.datagram(HOST, Union::RegisterPk(short));
    assert_eq!(answer, Some(registration::answer(Code::NotSupport, None)));
}

#[test]
fn the_thirty_third_claim_of_an_address_is_refused() {
    let mut world = World::new(Policy::default());
    for n in 0..32 {
        assert_eq!(world.register(&format!("{}", 100_000_000 + n), "machine", HOST), Some(Code::Ok));
    }
    assert_eq!(world.register("200000000", "machine", HOST), Some(Code::TooFrequent));
    assert_eq!(world.register("200000000", "machine", "10.0.0.7:1"), Some(Code::Ok));
}

#[test]
fn an_answer_counts_from_the_address_of_the_host() {
    let mut world = World::with_host(Policy::default());
    let mut client = world.client();
    let addr = world.pushed_addr(&mut client);
    // From elsewhere, with the client's port guessed and the echo not known.
    let guessed = Bytes::from(mangle(demangle(&addr), 77));
    let mut stranger = world.stream("10.9.9.9:1", Port::Main);
    assert_eq!(world.say(&mut stranger, sent(guessed.clone(), ID, "")), [Output::Close]);
    assert_eq!(world.broker.counters().answers_implausible.get(), 1);
    // The host's own answer still gets through, here encoded anew as LocalAddr is.
    let mut host = world.stream("10.0.0.1:7000", Port::Main);
    let out = world.say(&mut host, sent(guessed.clone(), ID, "1.4.9"));
    let Union::PunchHoleResponse(answer) = passed(&out, &client) else { panic!("{out:?}") };
    assert_eq!(demangle(&answer.socket_addr), "10.0.0.1:7000".parse().unwrap());
    let key = hbb_common::handshake::open_signed_id(&answer.pk, &server_key().public(), ID).unwrap();
    assert_eq!(key.0, [9; 32]);
    assert_eq!(world.say(&mut host, sent(guessed, ID, "1.4.9")), [Output::Close], "once");
    assert_eq!(world.broker.counters().answers_unexpected.get(), 1);
}

#[test]
fn an_answer_from_another_uplink_counts_if_it_echoes_the_push() {
    let mut world = World::with_host(Policy::default());
    let mut client = world.client();
    let addr = world.pushed_addr(&mut client);
    let mut host = world.stream("10.9.9.9:1", Port::Main);
    assert_eq!(world.say(&mut host, sent(addr.clone(), "987654321", "1")), [Output::Close], "another id");
    let out = world.say(&mut host, sent(addr, ID, "1.4.9"));
    assert!(matches!(passed(&out, &client), Union::PunchHoleResponse(m) if m.pk.len() == 109));
}

#[test]
fn a_host_without_version_is_not_vouched_for() {
    let mut world = World::with_host(Policy::default());
    let mut client = world.client();
    let addr = world.pushed_addr(&mut client);
    let mut host = world.stream("10.0.0.1:7000", Port::Main);
    let out = world.say(&mut host, sent(addr, ID, ""));
    assert!(matches!(passed(&out, &client), Union::PunchHoleResponse(m) if m.pk.is_empty()));
}

#[test]
fn what_the_server_does_not_know_reaches_the_other_side() {
    let mut world = World::with_host(Policy::default());
    let mut client = world.client();
    world.push(&mut client);
    let extended = |union: Union, member: u32| {
        let mut outer = Fields::decode(encode(union)).unwrap();
        let mut inner = Fields::decode(outer.bytes(member).unwrap().clone()).unwrap();
        inner.set_bytes(99, &b"from the future"[..]);
        outer.set_bytes(member, inner.encode());
        outer.encode()
    };
    let future = |packet: &Bytes, member: u32| {
        let inner = Fields::decode(packet.clone()).unwrap().bytes(member).unwrap().clone();
        Fields::decode(inner).unwrap().bytes(99).cloned()
    };
    let out = world.say_bytes(&mut client, extended(relay(ID, ""), 18));
    let [Output::Push(_, packet)] = &out[..] else { panic!("{out:?}") };
    assert_eq!(future(packet, 18).unwrap(), "from the future");
    let Union::RequestRelay(m) = decode(packet) else { panic!() };
    assert_eq!(demangle(&m.socket_addr), CLIENT.parse().unwrap());

    let answer = RelayResponse {
        socket_addr: m.socket_addr,
        union: Some(relay_response::Union::Id(ID.into())),
        version: "1.4.9".into(),
        ..Default::default()
    };
    let mut host = world.stream("10.0.0.1:7000", Port::Main);
    let out = world.say_bytes(&mut host, extended(Union::RelayResponse(answer), 19));
    let [Output::Pass(_, packet), Output::Close] = &out[..] else { panic!("{out:?}") };
    assert_eq!(future(packet, 19).unwrap(), "from the future");
    let Union::RelayResponse(m) = decode(packet) else { panic!() };
    assert!(m.socket_addr.is_empty());
    assert!(matches!(m.union, Some(relay_response::Union::Pk(pk)) if pk.len() == 109));
}

#[test]
fn a_host_can_not_vouch_for_itself() {
    let mut world = World::with_host(Policy::default());
    let mut client = world.client();
    world.push(&mut client);
    let out = world.say(&mut client, relay(ID, ""));
    let [Output::Push(_, packet)] = &out[..] else { panic!("{out:?}") };
    let Union::RequestRelay(m) = decode(packet) else { panic!() };
    let forged = relay_response::Union::Pk("forged".into());
    let answer = RelayResponse { socket_addr: m.socket_addr, union: Some(forged), ..Default::default() };
    let mut host = world.stream("10.0.0.1:7000", Port::Main);
    let out = world.say(&mut host, Union::RelayResponse(answer));
    assert!(matches!(passed(&out, &client), Union::RelayResponse(m) if m.union.is_none()));
}

#[test]
fn relays_are_for_those_who_have_named_the_key() {
    let mut world = World::with_host(Policy::default());
    let mut client = world.client();
    assert_eq!(refused(&world.say(&mut client, relay(ID, ""))), "Key mismatch");
    assert_eq!(refused(&world.say(&mut client, relay(ID, "wrong"))), "Key mismatch");
    assert!(matches!(world.say(&mut client, relay(ID, &key_text()))[..], [Output::Push(..)]));
    assert_eq!(
        refused(&world.say(&mut client, relay(ID, ""))),
        "Key mismatch",
        "that proved nothing lasting"
    );
    world.push(&mut client);
    let mut again = world.stream("10.0.0.2:6001", Port::Main);
    assert!(matches!(world.say(&mut again, relay(ID, ""))[..], [Output::Push(..)]));
    assert_eq!(refused(&world.say(&mut again, relay("987654321", ""))), "ID does not exist");
    world.wait(30);
    assert_eq!(refused(&world.say(&mut again, relay(ID, ""))), "Remote desktop is offline");
    world.wait(600);
    assert_eq!(refused(&world.say(&mut again, relay(ID, ""))), "Key mismatch");
}

#[test]
fn the_relay_key_policy() {
    let ask = |relay_key, key: &str| {
        let mut world = World::with_host(Policy { relay_key, ..Policy::default() });
        let mut client = world.client();
        world.push(&mut client);
        let mut fresh = world.stream(CLIENT, Port::Main);
        matches!(world.say(&mut fresh, relay(ID, key))[..], [Output::Push(..)])
    };
    assert!(ask(RelayKey::Ignored, "wrong"));
    assert!(ask(RelayKey::NamedBefore, ""));
    assert!(!ask(RelayKey::Named, ""));
    assert!(ask(RelayKey::Named, &key_text()));
}

#[test]
fn failures_say_what_is_wrong() {
    let mut world = World::with_host(Policy::default());
    let mut client = world.client();
    let no_key = PunchHoleRequest { id: ID.into(), ..Default::default() };
    assert_eq!(failure(&world.say(&mut client, Union::PunchHoleRequest(no_key))), Failure::LicenseMismatch);
    assert_eq!(failure(&world.say(&mut client, punch("987654321"))), Failure::IdNotExist);
    world.wait(30);
    assert_eq!(failure(&world.say(&mut client, punch(ID))), Failure::Offline);
}

#[test]
fn always_use_relay_means_always() {
    let mut world = World::with_host(Policy { always_use_relay: true, ..Policy::default() });
    for from in [CLIENT, "10.0.0.1:6000"] {
        let mut client = world.stream(from, Port::Main);
        let push = world.push(&mut client);
        assert!(matches!(push, Union::PunchHole(m) if m.nat_type() == NatType::Symmetric), "{from}");
    }
}

#[test]
fn peers_of_the_local_network() {
    let local = LocalNetwork { network: "10.0.0.0".parse().unwrap(), prefix: 8, relay: "10.0.0.99".into() };
    let mut world = World::with_host(Policy { local_network: Some(local), ..Policy::default() });
    world.broker.relays().set(vec!["relay.example".into()]);
    let mut neighbour = world.client();
    assert!(
        matches!(world.push(&mut neighbour), Union::FetchLocalAddr(m) if m.relay_server == "relay.example")
    );
    let mut outside = world.stream("192.0.2.1:6000", Port::Main);
    let push = world.push(&mut outside);
    let Union::PunchHole(m) = push else { panic!("{push:?}") };
    assert_eq!((m.nat_type(), &m.relay_server[..]), (NatType::Symmetric, "10.0.0.99"));
    // The host names the relay as it was told; a client outside could not reach that.
    let answer = RelayResponse {
        socket_addr: m.socket_addr,
        relay_server: "10.0.0.99".into(),
        union: Some(relay_response::Union::Id(ID.into())),
        ..Default::default()
    };
    let mut host = world.stream("10.0.0.1:7000", Port::Main);
    let out = world.say(&mut host, Union::RelayResponse(answer));
    assert!(matches!(passed(&out, &outside), Union::RelayResponse(m) if m.relay_server == "relay.example"));
}

#[test]
fn relays_take_turns() {
    let mut world = World::with_host(Policy::default());
    world.broker.relays().set(vec!["one".into(), "two".into()]);
    let mut named = Vec::new();
    for _ in 0..4 {
        let mut client = world.client();
        let Union::PunchHole(m) = world.push(&mut client) else { panic!() };
        named.push(m.relay_server);
    }
    assert_eq!(named, ["one", "two", "one", "two"]);
}

#[test]
fn relays_that_do_not_answer_are_left_out_unless_none_does() {
    let relays = Relays::default();
    let names = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>();
    relays.set(names(&["one", "two", "three"]));
    relays.set_reachable(&relays.all(), &names(&["two"]));
    assert_eq!([relays.pick(), relays.pick()], ["two", "two"]);
    relays.set_reachable(&relays.all(), &[]);
    assert_eq!([relays.pick(), relays.pick(), relays.pick()].len(), 3);
    assert_ne!(relays.pick(), relays.pick());
    relays.set(names(&["four"]));
    relays.set_reachable(&names(&["one", "two", "three"]), &names(&["one"]));
    assert_eq!(relays.pick(), "four", "the result is of another list");
}

#[test]
fn clients_behind_a_proxy_do_not_overwrite_each_other() {
    let mut world = World::with_host(Policy::default());
    let mut clients = [0; 3].map(|_| world.stream("192.0.2.1:0", Port::WebSocket));
    let addrs: Vec<Bytes> = clients.iter_mut().map(|c| world.pushed_addr(c)).collect();
    for (client, addr) in clients.iter().zip(&addrs) {
        let filed = demangle(addr);
        assert_eq!(filed.ip(), "192.0.2.1".parse::<IpAddr>().unwrap());
        assert_ne!(filed.port(), 0);
        let mut host = world.stream("10.0.0.1:7000", Port::Main);
        let out = world.say(&mut host, sent(addr.clone(), ID, "1"));
        passed(&out, client);
    }
}

#[test]
fn a_client_asks_again_on_the_same_connection() {
    let mut world = World::with_host(Policy::default());
    let mut client = world.client();
    let first = world.pushed_addr(&mut client);
    let second = world.pushed_addr(&mut client);
    assert_eq!(demangle(&first), demangle(&second));
    let mut host = world.stream("10.0.0.1:7000", Port::Main);
    passed(&world.say(&mut host, sent(first, ID, "1")), &client);
    // Answered; the next request can be answered again.
    let third = world.pushed_addr(&mut client);
    passed(&world.say(&mut host, sent(third.clone(), ID, "1")), &client);
    world.pushed_addr(&mut client);
    world.broker.ended(&client);
    assert_eq!(world.say(&mut host, sent(third, ID, "1")), [Output::Close], "nobody waits any more");
}

#[test]
fn a_host_on_a_connection_gets_its_pushes_there() {
    let mut world = World::new(Policy::default());
    let mut host = world.stream(HOST, Port::WebSocket);
    let out = world.say(&mut host, register_pk(ID, "machine"));
    assert_eq!(out, [Output::Reply(encode(registration::answer(Code::Ok, Some(20))))]);
    assert!(host.is_host());
    let mut client = world.client();
    let out = world.say(&mut client, punch(ID));
    assert!(matches!(&out[..], [Output::Push(Route::Connection(c), _)] if *c == host.connection), "{out:?}");
    world.wait(25);
    assert_eq!(world.say_bytes(&mut host, Bytes::new()), []);
    world.wait(25);
    assert!(matches!(world.say(&mut client, punch(ID))[..], [Output::Push(..)]));
    world.broker.ended(&host);
    assert_eq!(failure(&world.say(&mut client, punch(ID))), Failure::Offline);
}

#[test]
fn an_id_changes_for_its_machine() {
    let mut world = World::with_host(Policy::default());
    let mut rename = |to: &str, uuid: &'static str| {
        let m = RegisterPk { id: to.into(), old_id: ID.into(), uuid: uuid.into(), ..Default::default() };
        let mut stream = world.stream(HOST, Port::Main);
        let out = world.say(&mut stream, Union::RegisterPk(m));
        let [Output::Reply(packet), Output::Close] = &out[..] else { panic!("{out:?}") };
        match decode(packet) {
            Union::RegisterPkResponse(m) => m.result(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(rename("1office", "machine"), Code::InvalidIdFormat);
    assert_eq!(rename("office", "other"), Code::UuidMismatch);
    assert_eq!(rename("office", "machine"), Code::Ok);
    assert_eq!(rename("other-name", "machine"), Code::Ok, "nothing is known of the old id: nothing to do");
    assert!(world.broker.registry().contains("office") && !world.broker.registry().contains(ID));
    assert_eq!(world.register("office", "machine", HOST), Some(Code::Ok));
}

#[test]
fn a_connection_that_asks_without_end_is_closed() {
    let mut world = World::with_host(Policy::default());
    let mut client = world.client();
    for n in 0..60 {
        assert!(matches!(world.say(&mut client, punch(ID))[..], [Output::Push(..)]), "{n}");
    }
    assert_eq!(world.say(&mut client, punch(ID)), [Output::Close]);
    world.wait(10);
    assert!(matches!(world.say(&mut client, punch(ID))[..], [Output::Push(..)]));
}

#[test]
fn an_online_query_has_a_bit_for_each_id() {
    let mut world = World::with_host(Policy::default());
    for (count, want) in [(0, &[][..]), (1, &[0x80]), (8, &[0x80]), (9, &[0x80, 0])] {
        let mut peers = vec![String::from("unknown"); count];
        if let Some(first) = peers.first_mut() {
            *first = ID.into();
        }
        let mut stream = world.stream(CLIENT, Port::NatTest);
        let out = world.say(&mut stream, Union::OnlineRequest(OnlineRequest { id: String::new(), peers }));
        let states = Bytes::copy_from_slice(want);
        let answer = encode(Union::OnlineResponse(OnlineResponse { states }));
        assert_eq!(out, [Output::Reply(answer), Output::Close]);
    }
}

#[test]
fn the_port_for_nat_tests_does_nothing_else() {
    let mut world = World::with_host(Policy::default());
    for union in [punch(ID), relay(ID, &key_text()), register_pk(ID, "machine")] {
        let mut stream = world.stream(CLIENT, Port::NatTest);
        assert_eq!(world.say(&mut stream, union), [Output::Close]);
    }
    let mut stream = world.stream(CLIENT, Port::NatTest);
    let out = world.say(&mut stream, Union::TestNatRequest(TestNatRequest { serial: 3 }));
    let answer = Union::TestNatResponse(TestNatResponse { port: 6000, cu: None });
    assert_eq!(out, [Output::Reply(encode(answer)), Output::Close]);
}

proptest::proptest! {
    #[test]
    fn no_bytes_harm(packets in proptest::collection::vec(proptest::collection::vec(0u8.., 0..80), 1..20)) {
        let mut world = World::with_host(Policy::default());
        let mut stream = world.client();
        let source = Source { addr: CLIENT.parse().unwrap(), via: Via::Listener(0) };
        for packet in packets {
            let at = world.moment();
            world.broker.datagram(source, &packet, at, &mut Vec::new());
            world.say_bytes(&mut stream, packet.into());
        }
        world.broker.ended(&stream);
        assert!(world.broker.registry().contains(ID));
    }
}

/// Answers with any of the fields that a host may set pass through, whatever they hold.
#[test]
fn is_local_is_told_as_such() {
    let mut world = World::with_host(Policy::default());
    let mut client = world.stream("10.0.0.1:6000", Port::Main);
    let Union::FetchLocalAddr(m) = world.push(&mut client) else { panic!() };
    let local = Bytes::from(mangle("192.168.1.2:4000".parse().unwrap(), 5));
    let answer = LocalAddr {
        socket_addr: mangle(demangle(&m.socket_addr), 9).into(),
        local_addr: local.clone(),
        id: ID.into(),
        version: "1.4.9".into(),
        ..Default::default()
    };
    let mut host = world.stream("10.0.0.1:7000", Port::Main);
    let out = world.say(&mut host, Union::LocalAddr(answer));
    let Union::PunchHoleResponse(m) = passed(&out, &client) else { panic!("{out:?}") };
    assert_eq!((m.socket_addr, m.pk.len()), (local, 109));
    assert_eq!(m.union, Some(punch_hole_response::Union::IsLocal(true)));
}

/// A message of any kind, most of them with contents that mean something here.
fn any_message() -> impl proptest::strategy::Strategy<Value = Union> {
    use proptest::prelude::*;
    let id = prop_oneof![Just(ID.to_owned()), Just("987654321".to_owned()), ".{0,20}"];
    let bytes = || proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    let address = prop_oneof![
        Just(Bytes::from(mangle(CLIENT.parse().unwrap(), 7))),
        Just(Bytes::from(mangle(HOST.parse().unwrap(), 7))),
        bytes(),
    ];
    let key = prop_oneof![Just(key_text()), Just(String::new()), ".{0,50}"];
    (id, address, bytes(), key, 0_u8..10).prop_map(|(id, socket_addr, bytes, licence_key, kind)| match kind {
        0 => Union::RegisterPeer(RegisterPeer { id, serial: 1 }),
        1 => Union::RegisterPk(RegisterPk { id, uuid: bytes, pk: vec![9; 32].into(), ..Default::default() }),
        2 => Union::RegisterPk(RegisterPk {
            id: "office-1".into(),
            uuid: bytes,
            old_id: id,
            ..Default::default()
        }),
        3 => Union::PunchHoleRequest(PunchHoleRequest { id, licence_key, ..Default::default() }),
        4 => Union::RequestRelay(RequestRelay { id, licence_key, socket_addr, ..Default::default() }),
        5 => sent(socket_addr, &id, "1.4.9"),
        6 => Union::LocalAddr(LocalAddr { id, socket_addr, local_addr: bytes, ..Default::default() }),
        7 => {
            let union = Some(relay_response::Union::Id(id));
            Union::RelayResponse(RelayResponse {
                socket_addr,
                union,
                uuid: licence_key,
                ..Default::default()
            })
        }
        8 => Union::OnlineRequest(OnlineRequest { peers: vec![id; bytes.len()], ..Default::default() }),
        _ => Union::TestNatRequest(TestNatRequest { serial: 0 }),
    })
}

proptest::proptest! {
    #[test]
    fn whatever_strangers_say_answers_are_messages_and_no_table_grows_past_them(
        steps in proptest::collection::vec(
            (any_message(), 0_usize..6, proptest::option::of((0_usize..60, 0_u8..))),
            1..60,
        ),
    ) {
        let mut world = World::with_host(Policy::default());
        let ports = [Port::Main, Port::Main, Port::NatTest, Port::WebSocket, Port::WebSocket];
        let mut streams: Vec<Stream> = ports.map(|port| world.stream(CLIENT, port)).into();
        let (claims, mut pushes) = (steps.len(), 0);
        for (union, way, flip) in steps {
            let mut packet = encode(union).to_vec();
            if let Some((at, value)) = flip && at < packet.len() {
                packet[at] = value;
            }
            if way == streams.len() {
                let (at, mut reply) = (world.moment(), Vec::new());
                let source = Source { addr: CLIENT.parse().unwrap(), via: Via::Listener(0) };
                world.broker.datagram(source, &packet, at, &mut reply);
                proptest::prop_assert!(reply.len() <= 3 * packet.len().max(4));
                proptest::prop_assert!(RendezvousMessage::decode(&reply[..]).is_ok());
                continue;
            }
            for output in world.say_bytes(&mut streams[way], packet.into()) {
                match output {
                    Output::Reply(packet) | Output::Push(_, packet) | Output::Pass(_, packet) => {
                        proptest::prop_assert!(RendezvousMessage::decode(packet).unwrap().union.is_some());
                        pushes += 1;
                    }
                    Output::Close => {
                        world.broker.ended(&streams[way]);
                        streams[way] = world.stream(CLIENT, ports[way]);
                    }
                }
            }
        }
        proptest::prop_assert!(pushes <= 2 * claims);
        proptest::prop_assert!(world.broker.registry().count() <= claims + 1);
        for stream in &streams {
            world.broker.ended(stream);
        }
        proptest::prop_assert_eq!(world.broker.waiting.len(), 0);
    }
}
