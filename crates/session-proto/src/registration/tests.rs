use super::*;
use hbb_common::addr::mangle;
use hbb_common::rendezvous::{
    FetchLocalAddr, PunchHole, RegisterPeerResponse, RegisterPkResponse, RequestRelay,
};

const SECOND: Duration = Duration::from_secs(1);

struct Rig {
    machine: Registration,
    now: Instant,
}

impl Rig {
    fn new(channel: Channel, id_is_chosen: bool) -> Self {
        let now = Instant::now();
        let config = RegistrationConfig {
            channel,
            id: "123456789".into(),
            id_is_chosen,
            uuid: "machine".into(),
            public_key: Bytes::from_static(&[7; 32]),
            seed: 1,
        };
        Self { machine: Registration::new(config, now), now }
    }

    fn datagrams() -> Self {
        Self::new(Channel::Datagrams, true)
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.machine.poll_output()).collect()
    }

    /// Lets the clock run until the machine does something.
    fn wait(&mut self) -> (Duration, Vec<Output>) {
        let start = self.now;
        loop {
            self.now = self.machine.poll_timeout().expect("a machine that waits for something");
            self.machine.handle_timeout(self.now);
            let outputs = self.outputs();
            if !outputs.is_empty() {
                return (self.now - start, outputs);
            }
        }
    }

    fn answer(&mut self, union: Union) -> Vec<Output> {
        let packet = RendezvousMessage { union: Some(union) }.encode_to_vec();
        self.machine.handle_packet(&packet, self.now);
        self.outputs()
    }

    fn pk(&mut self, result: PkResult) -> Vec<Output> {
        self.answer(Union::RegisterPkResponse(RegisterPkResponse { result: result as i32, keep_alive: 0 }))
    }

    fn peer(&mut self, request_pk: bool) -> Vec<Output> {
        self.answer(Union::RegisterPeerResponse(RegisterPeerResponse { request_pk }))
    }

    fn register(&mut self) {
        self.outputs();
        assert_eq!(kinds(&self.pk(PkResult::Ok)), ["peer"]);
        assert_eq!(kinds(&self.peer(false)), ["registered"]);
    }
}

fn kinds(outputs: &[Output]) -> Vec<&'static str> {
    let kind = |output: &Output| match output {
        Output::Send(bytes) if bytes.is_empty() => "empty",
        Output::Send(bytes) => match RendezvousMessage::decode(bytes.clone()).unwrap().union {
            Some(Union::RegisterPeer(_)) => "peer",
            Some(Union::RegisterPk(_)) => "pk",
            other => panic!("{other:?}"),
        },
        Output::Resolve => "resolve",
        Output::Disconnect => "disconnect",
        Output::Event(Event::Registered { .. }) => "registered",
        Output::Event(Event::Silent) => "silent",
        Output::Event(Event::IdTaken) => "taken",
        Output::Event(Event::IdReplaced { .. }) => "replaced",
        Output::Event(Event::Refused(_)) => "refused",
        Output::Event(Event::Push(_)) => "push",
        Output::Event(Event::Repeated) => "repeated",
        Output::Event(Event::OtherServers(_)) => "servers",
    };
    outputs.iter().map(kind).collect()
}

#[test]
fn a_new_host_shows_its_key_then_repeats_itself_every_15_s() {
    let mut rig = Rig::datagrams();
    let first = rig.outputs();
    let want = RegisterPk {
        id: "123456789".into(),
        uuid: "machine".into(),
        pk: Bytes::from_static(&[7; 32]),
        ..Default::default()
    };
    let want = RendezvousMessage { union: Some(Union::RegisterPk(want)) }.encode_to_vec();
    assert_eq!(first, [Output::Send(want.into())]);
    rig.now += SECOND / 10;
    // rendezvous §1.5
    let peer = b"\x32\x0d\x0a\x09123456789\x10\x03";
    assert_eq!(rig.pk(PkResult::Ok), [Output::Send(Bytes::from_static(peer))]);
    rig.now += SECOND / 10;
    assert_eq!(rig.peer(false), [Output::Event(Event::Registered { round_trip: SECOND / 10 })]);
    for _ in 0..3 {
        let (after, outputs) = rig.wait();
        assert_eq!((after, &kinds(&outputs)[..]), (REGISTER_INTERVAL, &["peer"][..]));
        assert_eq!(rig.peer(false), [], "still registered is no news");
    }
}

#[test]
fn a_server_that_forgot_gets_the_key_at_once_but_not_in_a_circle() {
    let mut rig = Rig::datagrams();
    rig.register();
    rig.wait();
    assert_eq!(kinds(&rig.peer(true)), ["pk"]);
    assert_eq!(kinds(&rig.pk(PkResult::Ok)), ["peer"]);
    assert_eq!(rig.peer(true), [], "asks again although it said OK");
    let (after, outputs) = rig.wait();
    assert_eq!((after, &kinds(&outputs)[..]), (PK_INTERVAL, &["pk"][..]));
    rig.pk(PkResult::Ok);
    assert_eq!(kinds(&rig.peer(false)), ["registered"]);
}

#[test]
fn silence_is_asked_into_reported_and_resolved_anew() {
    let mut rig = Rig::datagrams();
    rig.register();
    let (_, outputs) = rig.wait();
    assert_eq!(kinds(&outputs), ["peer"]);
    let mut seen = Vec::new();
    let since = rig.now;
    while !seen.contains(&"resolve") {
        let (after, outputs) = rig.wait();
        assert!(after >= REGISTER_REPLY_TIMEOUT && after <= SLOWEST_RETRY, "{after:?}");
        seen.extend(kinds(&outputs));
    }
    assert_eq!(&seen[..5], ["peer", "peer", "peer", "silent", "peer"]);
    assert!(rig.now - since <= Duration::from_secs(75));
    assert_eq!(kinds(&rig.peer(false)), ["registered"], "and it is news when the server is back");
}

#[test]
fn a_chosen_id_is_kept() {
    let mut rig = Rig::new(Channel::Datagrams, true);
    rig.outputs();
    assert_eq!(kinds(&rig.pk(PkResult::UuidMismatch)), ["taken"]);
    let (after, outputs) = rig.wait();
    assert_eq!((after, &kinds(&outputs)[..]), (ID_TAKEN_PAUSE, &["pk"][..]));
    assert_eq!(rig.machine.id(), "123456789");
}

#[test]
fn a_random_id_is_replaced_at_once_and_then_more_slowly() {
    let mut rig = Rig::new(Channel::Datagrams, false);
    rig.outputs();
    let mut ids = vec![rig.machine.id().to_owned()];
    for _ in 0..REPLACEMENTS {
        assert_eq!(kinds(&rig.pk(PkResult::UuidMismatch)), ["replaced", "pk"]);
        let id = rig.machine.id().to_owned();
        assert!((1_000_000_000..2_000_000_000).contains(&id.parse::<u32>().unwrap()), "{id}");
        assert!(!ids.contains(&id));
        ids.push(id);
    }
    assert_eq!(kinds(&rig.pk(PkResult::UuidMismatch)), ["replaced"]);
    assert_eq!(rig.wait().0, REFUSED_PAUSE);
}

#[test]
fn refusals_are_waited_out() {
    let mut rig = Rig::datagrams();
    rig.outputs();
    for pause in [15, 30, 60, 120, 120] {
        assert_eq!(kinds(&rig.pk(PkResult::TooFrequent)), ["refused"]);
        let (after, outputs) = rig.wait();
        assert_eq!((after, &kinds(&outputs)[..]), (Duration::from_secs(pause), &["pk"][..]));
    }
    assert_eq!(kinds(&rig.pk(PkResult::NotDeployed)), ["refused"]);
    assert_eq!(rig.wait().0, NOT_DEPLOYED_PAUSE);
    let unknown = Union::RegisterPkResponse(RegisterPkResponse { result: 77, keep_alive: 0 });
    assert_eq!(kinds(&rig.answer(unknown)), ["refused"]);
    assert_eq!(rig.wait().0, REFUSED_PAUSE);
}

#[test]
fn pushes_become_events_and_repetitions_do_not() {
    let mut rig = Rig::datagrams();
    rig.register();
    let client: SocketAddr = "203.0.113.7:50000".parse().unwrap();
    let punch = |t: u32, nat: NatType| {
        Union::PunchHole(PunchHole {
            socket_addr: mangle(client, t).into(),
            relay_server: "192.0.2.1:21117".into(),
            nat_type: nat as i32,
            ..Default::default()
        })
    };
    let push = |kind, mangled: Vec<u8>, relay: &str| {
        let client_mangled = Bytes::from(mangled);
        vec![Output::Event(Event::Push(Push { kind, client, client_mangled, relay: relay.into() }))]
    };
    let kind = PushKind::Punch { relay_only: false };
    assert_eq!(rig.answer(punch(1, NatType::Asymmetric)), push(kind, mangle(client, 1), "192.0.2.1:21117"));
    rig.now += SECOND / 20;
    let local =
        Union::FetchLocalAddr(FetchLocalAddr { socket_addr: mangle(client, 2).into(), ..Default::default() });
    assert_eq!(kinds(&rig.answer(local.clone())), ["repeated"], "the same client in another spelling");
    let relay = Union::RequestRelay(RequestRelay {
        uuid: "u".into(),
        secure: true,
        socket_addr: mangle(client, 3).into(),
        ..Default::default()
    });
    let kind = PushKind::Relay { uuid: "u".into(), secure: true };
    assert_eq!(rig.answer(relay), push(kind, mangle(client, 3), ""), "a class of its own");
    rig.now += REPEATED;
    assert_eq!(rig.answer(local), push(PushKind::Local, mangle(client, 2), ""));
    rig.now += REPEATED;
    let kind = PushKind::Punch { relay_only: true };
    assert_eq!(rig.answer(punch(4, NatType::Symmetric)), push(kind, mangle(client, 4), "192.0.2.1:21117"));
}

#[test]
fn a_stream_registers_once_and_answers_heartbeats() {
    let mut rig = Rig::new(Channel::Stream, true);
    assert_eq!(kinds(&rig.outputs()), ["pk"]);
    let (after, outputs) = rig.wait();
    assert_eq!((after, &kinds(&outputs)[..]), (REGISTER_INTERVAL, &["pk"][..]), "until it is answered");
    let ok = Union::RegisterPkResponse(RegisterPkResponse { result: 0, keep_alive: 20 });
    assert_eq!(kinds(&rig.answer(ok)), ["registered"]);
    rig.now += 20 * SECOND;
    rig.machine.handle_packet(&[], rig.now);
    assert_eq!(kinds(&rig.outputs()), ["empty"]);
    let (after, outputs) = rig.wait();
    assert_eq!((after, &kinds(&outputs)[..]), (30 * SECOND, &["disconnect"][..]), "1.5 keep-alives");
}

#[test]
fn a_stream_to_a_server_that_can_not_is_given_up() {
    let mut rig = Rig::new(Channel::Stream, true);
    rig.outputs();
    assert_eq!(kinds(&rig.pk(PkResult::NotSupport)), ["refused", "disconnect"]);
}

#[test]
fn other_servers_are_reported_and_not_followed() {
    let mut rig = Rig::datagrams();
    rig.register();
    let update = hbb_common::rendezvous::ConfigUpdate { serial: 9, rendezvous_servers: vec!["evil".into()] };
    let outputs = rig.answer(Union::ConfigureUpdate(update));
    assert_eq!(outputs, [Output::Event(Event::OtherServers(vec!["evil".into()]))]);
}

proptest::proptest! {
    #[test]
    fn garbage_never_panics(packets in proptest::collection::vec(proptest::collection::vec(0u8.., 0..60), 0..20)) {
        let mut rig = Rig::datagrams();
        for packet in packets {
            rig.machine.handle_packet(&packet, rig.now);
            rig.outputs();
        }
    }
}
