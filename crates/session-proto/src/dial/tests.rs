use super::*;
use hbb_common::addr::mangle;
use hbb_common::handshake::sign_id;
use hbb_common::key::SigningKey;
use hbb_common::rendezvous::KeyExchange;

const ID: &str = "123456789";
const RELAY: &str = "relay.example:21117";

fn server() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn peer() -> PublicKey {
    SigningKey::from_seed(&[2; 32]).public()
}

fn request() -> Request {
    Request {
        id: ID.into(),
        key_text: "the key".into(),
        server_key: Some(server().public()),
        pinned: None,
        force_relay: false,
        was_relayed: false,
        default_relay: String::new(),
        uuids: ["u1", "u2", "u3", "u4"].map(Into::into),
    }
}

/// Drives a machine with a clock moved by hand.
struct Script {
    dial: Dial,
    now: Instant,
}

impl Script {
    fn new(request: Request) -> Self {
        let now = Instant::now();
        let mut dial = Dial::new(request);
        dial.start(now);
        Self { dial, now }
    }

    /// Connected to hbbs, the first request sent.
    fn asking(request: Request) -> Self {
        let mut script = Self::new(request);
        assert_eq!(script.outputs(), [Output::ConnectServer { conn: ConnId(1) }]);
        script.connected(1);
        assert!(matches!(script.message(1), Union::PunchHoleRequest(_)));
        script
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.dial.poll_output()).collect()
    }

    /// The only output: a message on this connection.
    fn message(&mut self, conn: u32) -> Union {
        match &self.outputs()[..] {
            [Output::Send { conn: on, packet }] if on.0 == conn => {
                RendezvousMessage::decode(packet.clone()).unwrap().union.unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    fn connected(&mut self, conn: u32) {
        self.dial.handle_connected(ConnId(conn), self.now);
    }

    fn answer(&mut self, conn: u32, union: Union) {
        let packet = RendezvousMessage { union: Some(union) }.encode_to_vec();
        self.dial.handle_packet(ConnId(conn), packet.into(), self.now);
    }

    /// Moves the clock to the timeout; gives how far that was.
    fn timeout(&mut self) -> Duration {
        let due = self.dial.poll_timeout().expect("a timeout");
        let waited = due - self.now;
        self.now = due;
        self.dial.handle_timeout(self.now);
        waited
    }
}

fn address() -> SocketAddr {
    "198.51.100.7:40000".parse().unwrap()
}

fn found() -> PunchHoleResponse {
    PunchHoleResponse {
        socket_addr: mangle(address(), 77).into(),
        pk: sign_id(&server(), ID, &peer().0).into(),
        relay_server: RELAY.into(),
        ..Default::default()
    }
}

fn connect_peer(conn: u32, like: u32, patience: Duration) -> Output {
    Output::ConnectPeer { conn: ConnId(conn), to: address(), like: ConnId(like), patience }
}

#[test]
fn the_request_is_what_stock_clients_send() {
    let mut script = Script::new(request());
    script.outputs();
    script.connected(1);
    let want = PunchHoleRequest {
        id: ID.into(),
        licence_key: "the key".into(),
        version: "1.4.9".into(),
        ..Default::default()
    };
    assert_eq!(script.message(1), Union::PunchHoleRequest(want.clone()));
    let mut script = Script::new(Request { force_relay: true, ..request() });
    script.outputs();
    script.connected(1);
    let want = PunchHoleRequest { nat_type: 2, force_relay: true, ..want };
    assert_eq!(script.message(1), Union::PunchHoleRequest(want));
}

#[test]
fn a_punched_path_starts_at_the_port_that_hbbs_saw() {
    let mut script = Script::asking(request());
    script.answer(1, Union::PunchHoleResponse(found()));
    assert_eq!(script.outputs(), [Output::Close { conn: ConnId(1) }, connect_peer(2, 1, SHORT)]);
    script.connected(2);
    let done = Output::Done { conn: ConnId(2), path: Path::Punched, key: PeerKey::Signed(peer()) };
    assert_eq!(script.outputs(), [done]);
    assert_eq!(script.dial.poll_timeout(), None);
}

#[test]
fn a_peer_in_the_same_network_is_local() {
    let mut script = Script::asking(request());
    let union = Some(punch_hole_response::Union::IsLocal(true));
    script.answer(
        1,
        Union::PunchHoleResponse(PunchHoleResponse { union, relay_server: String::new(), ..found() }),
    );
    assert_eq!(script.outputs()[1], connect_peer(2, 1, SHORT));
    script.connected(2);
    assert!(matches!(script.outputs()[..], [Output::Done { path: Path::Local, .. }]));
}

#[test]
fn a_direct_try_gets_the_time_it_is_worth() {
    let patience = |request: Request, answer: PunchHoleResponse, after: u64| {
        let mut script = Script::asking(request);
        script.now += Duration::from_millis(after);
        script.answer(1, Union::PunchHoleResponse(answer));
        match script.outputs()[1] {
            Output::ConnectPeer { patience, .. } => patience.as_millis(),
            ref other => panic!("{other:?}"),
        }
    };
    let nat = |nat: NatType| PunchHoleResponse {
        union: Some(punch_hole_response::Union::NatType(nat as i32)),
        ..found()
    };
    assert_eq!(patience(request(), nat(NatType::Symmetric), 900), 1000);
    assert_eq!(patience(request(), nat(NatType::Asymmetric), 500), 3000);
    assert_eq!(patience(Request { was_relayed: true, ..request() }, nat(NatType::Asymmetric), 500), 1500);
    assert_eq!(patience(request(), found(), 10), 1000);
    assert_eq!(patience(request(), PunchHoleResponse { relay_server: String::new(), ..found() }, 10), 18_000);
}

#[test]
fn the_request_is_repeated_on_the_same_connection() {
    let mut script = Script::asking(request());
    assert_eq!(script.timeout(), Duration::from_secs(3));
    assert!(matches!(script.message(1), Union::PunchHoleRequest(_)));
    assert_eq!(script.timeout(), Duration::from_secs(6));
    assert!(matches!(script.message(1), Union::PunchHoleRequest(_)));
    assert_eq!(script.timeout(), Duration::from_secs(9));
    assert_eq!(script.outputs(), [Output::Close { conn: ConnId(1) }, Output::Failed(DialError::NoAnswer)]);
    assert_eq!(script.dial.poll_timeout(), None);
}

#[test]
fn refusals_are_told_apart() {
    let table = [
        (0, "", DialError::UnknownId),
        (2, "", DialError::Offline),
        (3, "", DialError::KeyMismatch),
        (4, "", DialError::Overuse),
        (2, "gone fishing", DialError::Refused("gone fishing".into())),
        (9, "", DialError::Refused("failure 9".into())),
    ];
    for (failure, other_failure, want) in table {
        let mut script = Script::asking(request());
        let answer = PunchHoleResponse { failure, other_failure: other_failure.into(), ..Default::default() };
        script.answer(1, Union::PunchHoleResponse(answer));
        assert_eq!(script.outputs()[1..], [Output::Failed(want)]);
    }
}

#[test]
fn a_server_that_can_not_be_reached_or_leaves_is_said() {
    let mut script = Script::new(request());
    script.outputs();
    script.dial.handle_connect_failed(ConnId(1), "refused");
    assert_eq!(script.outputs(), [Output::Failed(DialError::NoServer("refused".into()))]);
    let mut script = Script::asking(request());
    script.dial.handle_closed(ConnId(1));
    assert_eq!(script.outputs(), [Output::Failed(DialError::ServerLeft)]);
}

#[test]
fn a_key_exchange_and_noise_are_skipped() {
    let mut script = Script::asking(request());
    script.answer(1, Union::KeyExchange(KeyExchange { keys: vec![Bytes::from_static(b"signed")] }));
    script.dial.handle_packet(ConnId(1), Bytes::from_static(b"\xff\xff"), script.now);
    script.dial.handle_packet(ConnId(9), Bytes::new(), script.now);
    assert_eq!(script.outputs(), []);
    script.answer(1, Union::PunchHoleResponse(found()));
    assert_eq!(script.outputs().len(), 2);
}

#[test]
fn a_key_signed_by_another_server_or_for_another_id_is_refused() {
    let foreign = sign_id(&SigningKey::from_seed(&[9; 32]), ID, &peer().0);
    let other_id = sign_id(&server(), "987654321", &peer().0);
    for (pk, want) in [
        (foreign, HandshakeError::BadSignature),
        (other_id, HandshakeError::OtherId { signed: "987654321".into(), expected: ID.into() }),
    ] {
        let mut script = Script::asking(request());
        script.answer(1, Union::PunchHoleResponse(PunchHoleResponse { pk: pk.into(), ..found() }));
        assert_eq!(script.outputs()[1..], [Output::Failed(DialError::NotVerified(want))]);
    }
}

#[test]
fn without_the_servers_word_the_pinned_key_counts() {
    let key = |request: Request, answer: PunchHoleResponse| {
        let mut script = Script::asking(request);
        script.answer(1, Union::PunchHoleResponse(answer));
        script.outputs();
        script.connected(2);
        match script.outputs()[..] {
            [Output::Done { key, .. }] => key,
            ref other => panic!("{other:?}"),
        }
    };
    let silent = PunchHoleResponse { pk: Bytes::new(), ..found() };
    let pinned = Request { pinned: Some(peer()), ..request() };
    assert_eq!(key(request(), silent.clone()), PeerKey::Unknown);
    assert_eq!(key(pinned.clone(), silent), PeerKey::Pinned(peer()));
    assert_eq!(key(Request { server_key: None, ..request() }, found()), PeerKey::Unknown);
    assert_eq!(key(Request { server_key: None, ..pinned }, found()), PeerKey::Pinned(peer()));
}

/// Goes from the wish for a relay to a path over it, with this uuid on these connections.
fn relayed(script: &mut Script, uuid: &str, ask: u32, relay: u32, secure: bool) {
    assert_eq!(script.outputs().last(), Some(&Output::ConnectServer { conn: ConnId(ask) }));
    script.connected(ask);
    let want = RequestRelay {
        id: ID.into(),
        uuid: uuid.into(),
        relay_server: RELAY.into(),
        secure,
        ..Default::default()
    };
    assert_eq!(script.message(ask), Union::RequestRelay(want));
    script.answer(ask, Union::RelayResponse(RelayResponse { version: "1.4.9".into(), ..Default::default() }));
    let connect = Output::ConnectRelay { conn: ConnId(relay), relay: RELAY.into() };
    assert_eq!(script.outputs(), [Output::Close { conn: ConnId(ask) }, connect]);
    script.connected(relay);
    let outputs = script.outputs();
    let Output::Send { packet, .. } = &outputs[0] else { panic!("{outputs:?}") };
    let want = RequestRelay {
        id: ID.into(),
        uuid: uuid.into(),
        licence_key: "the key".into(),
        ..Default::default()
    };
    assert_eq!(RendezvousMessage::decode(packet.clone()).unwrap().union, Some(Union::RequestRelay(want)));
    assert!(matches!(outputs[1], Output::Done { path: Path::Relayed, .. }));
}

#[test]
fn what_can_not_be_punched_is_relayed() {
    let mut script = Script::asking(request());
    script.answer(1, Union::PunchHoleResponse(found()));
    script.outputs();
    script.dial.handle_connect_failed(ConnId(2), "no answer");
    relayed(&mut script, "u1", 3, 4, true);
}

#[test]
fn a_relay_that_cuts_the_first_byte_off_is_asked_again_with_a_new_uuid() {
    let mut script = Script::asking(request());
    script.answer(1, Union::PunchHoleResponse(found()));
    script.outputs();
    script.dial.handle_connect_failed(ConnId(2), "no answer");
    relayed(&mut script, "u1", 3, 4, true);
    script.dial.handle_relay_cut();
    relayed(&mut script, "u2", 5, 6, true);
    script.dial.handle_relay_cut();
    relayed(&mut script, "u3", 7, 8, true);
    script.dial.handle_relay_cut();
    assert!(matches!(script.outputs()[..], [Output::Failed(DialError::NoPath(_))]));
}

#[test]
fn a_forced_relay_skips_the_direct_try() {
    let mut script = Script::asking(Request { force_relay: true, ..request() });
    script.answer(1, Union::PunchHoleResponse(found()));
    relayed(&mut script, "u1", 2, 3, true);
}

#[test]
fn relay_attempts_are_three_with_time_limits() {
    let mut script = Script::asking(Request { force_relay: true, ..request() });
    script.answer(1, Union::PunchHoleResponse(PunchHoleResponse { pk: Bytes::new(), ..found() }));
    for (conn, uuid) in [(2, "u1"), (3, "u2"), (4, "u3")] {
        assert_eq!(script.outputs().last(), Some(&Output::ConnectServer { conn: ConnId(conn) }));
        script.connected(conn);
        match script.message(conn) {
            Union::RequestRelay(r) => assert_eq!((&r.uuid[..], r.secure), (uuid, false)),
            other => panic!("{other:?}"),
        }
        assert_eq!(script.timeout(), Duration::from_secs(18));
    }
    let end = Output::Failed(DialError::NoPath("the peer did not answer".into()));
    assert_eq!(script.outputs().last(), Some(&end));
}

#[test]
fn a_refused_relay_ends_the_attempt() {
    let mut script = Script::asking(Request { force_relay: true, ..request() });
    script.answer(1, Union::PunchHoleResponse(found()));
    script.outputs();
    script.connected(2);
    script.outputs();
    script.answer(
        2,
        Union::RelayResponse(RelayResponse { refuse_reason: "not today".into(), ..Default::default() }),
    );
    assert_eq!(script.outputs()[1..], [Output::Failed(DialError::Refused("not today".into()))]);
}

#[test]
fn a_peer_may_choose_the_relay() {
    let mut script = Script::asking(request());
    let answer = RelayResponse {
        uuid: "theirs".into(),
        relay_server: RELAY.into(),
        union: Some(relay_response::Union::Pk(sign_id(&server(), ID, &peer().0).into())),
        ..Default::default()
    };
    script.answer(1, Union::RelayResponse(answer));
    let connect = Output::ConnectRelay { conn: ConnId(2), relay: RELAY.into() };
    assert_eq!(script.outputs(), [Output::Close { conn: ConnId(1) }, connect]);
    script.connected(2);
    let outputs = script.outputs();
    let done = Output::Done { conn: ConnId(2), path: Path::Relayed, key: PeerKey::Signed(peer()) };
    assert_eq!(outputs[1], done);
    script.dial.handle_relay_cut();
    relayed(&mut script, "u1", 3, 4, true);
}

#[test]
fn without_a_relay_a_failed_punch_is_the_end() {
    let mut script = Script::asking(request());
    script.answer(1, Union::PunchHoleResponse(PunchHoleResponse { relay_server: String::new(), ..found() }));
    script.outputs();
    script.dial.handle_connect_failed(ConnId(2), "refused");
    assert_eq!(script.outputs(), [Output::Failed(DialError::NoPath("refused".into()))]);
}
