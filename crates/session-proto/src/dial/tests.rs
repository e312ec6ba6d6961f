use super::machine::{GRACE, LONG, SHORT, SPEAK};
use super::*;
use hbb_common::addr::mangle;
use hbb_common::handshake::sign_id;
use hbb_common::key::SigningKey;
use hbb_common::rendezvous::rendezvous_message::Union;
use hbb_common::rendezvous::{
    KeyExchange, PunchHoleRequest, PunchHoleResponse, RelayResponse, RendezvousMessage, RequestRelay,
    punch_hole_response, relay_response,
};
use prost::Message as _;
use std::time::{Duration, Instant};

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
        nat: NatType::UnknownNat,
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

    /// The peer says its first word.
    fn speaks(&mut self, conn: u32) {
        self.dial.handle_packet(ConnId(conn), Bytes::from_static(b"signed id"), self.now);
    }

    fn after(&mut self, time: Duration) {
        self.now += time;
        self.dial.handle_timeout(self.now);
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

fn connect_peer(conn: u32, like: u32) -> Output {
    Output::ConnectPeer { conn: ConnId(conn), to: address(), like: ConnId(like) }
}

fn done(conn: u32, path: Path) -> Output {
    Output::Done { conn: ConnId(conn), path, key: PeerKey::Signed(peer()) }
}

fn close(conn: u32) -> Output {
    Output::Close { conn: ConnId(conn) }
}

fn connect_server(conn: u32) -> Output {
    Output::ConnectServer { conn: ConnId(conn) }
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
fn our_nat_is_told_as_far_as_it_is_known() {
    let asked = |script: &mut Script| match script.message(1) {
        Union::PunchHoleRequest(request) => request.nat_type,
        other => panic!("{other:?}"),
    };
    let mut script = Script::new(Request { nat: NatType::Asymmetric, ..request() });
    script.outputs();
    script.connected(1);
    assert_eq!(asked(&mut script), NatType::Asymmetric as i32);
    script.dial.learn_nat(NatType::Symmetric);
    script.timeout();
    assert_eq!(asked(&mut script), NatType::Symmetric as i32, "found out meanwhile");
}

#[test]
fn a_punched_path_starts_at_the_port_that_hbbs_saw() {
    let mut script = Script::asking(request());
    script.answer(1, Union::PunchHoleResponse(found()));
    assert_eq!(script.outputs(), [close(1), connect_peer(2, 1)]);
    script.connected(2);
    assert_eq!(script.outputs(), [], "an open port is no peer yet");
    script.speaks(2);
    assert_eq!(script.outputs(), [done(2, Path::Punched)]);
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
    assert_eq!(script.outputs()[1], connect_peer(2, 1));
    script.connected(2);
    script.speaks(2);
    assert!(matches!(script.outputs()[..], [Output::Done { path: Path::Local, .. }]));
}

#[test]
fn a_direct_path_gets_the_start_it_is_worth() {
    let start = |request: Request, answer: PunchHoleResponse, after: u64| {
        let mut script = Script::asking(request);
        script.now += Duration::from_millis(after);
        script.answer(1, Union::PunchHoleResponse(answer));
        script.outputs();
        let start = script.timeout();
        assert_eq!(script.outputs(), [connect_server(3)], "the relay joins");
        start
    };
    use NatType::{Asymmetric, Symmetric};
    let nat = |nat: NatType| PunchHoleResponse {
        union: Some(punch_hole_response::Union::NatType(nat as i32)),
        ..found()
    };
    let local = PunchHoleResponse { union: Some(punch_hole_response::Union::IsLocal(true)), ..found() };
    let ours = |nat, was_relayed| Request { nat, was_relayed, ..request() };
    assert_eq!(start(request(), local, 900), SHORT);
    assert_eq!(start(request(), nat(Symmetric), 900), SHORT);
    assert_eq!(start(ours(Symmetric, false), nat(Asymmetric), 900), SHORT);
    assert_eq!(start(ours(Asymmetric, false), nat(Asymmetric), 10), LONG);
    assert_eq!(start(ours(Asymmetric, true), nat(Asymmetric), 300), Duration::from_millis(1800));
    assert_eq!(start(request(), nat(Asymmetric), 300), Duration::from_millis(1800));
    assert_eq!(start(ours(NatType::UnknownNat, true), nat(Asymmetric), 500), Duration::from_millis(1500));
    assert_eq!(start(request(), found(), 10), SHORT);
    assert_eq!(start(request(), found(), 2_000), LONG);
}

#[test]
fn without_a_relay_the_direct_path_has_all_the_time() {
    let mut script = Script::asking(request());
    script.answer(1, Union::PunchHoleResponse(PunchHoleResponse { relay_server: String::new(), ..found() }));
    script.outputs();
    assert_eq!(script.timeout(), Duration::from_secs(18));
    let end = Output::Failed(DialError::NoPath("the peer did not answer there".into()));
    assert_eq!(script.outputs(), [close(2), end]);
}

/// Asked for and found; the relay has joined on connection 3.
fn racing() -> Script {
    let mut script = Script::asking(request());
    script.answer(1, Union::PunchHoleResponse(found()));
    script.outputs();
    assert_eq!(script.timeout(), SHORT);
    script
}

#[test]
fn a_direct_path_that_comes_late_still_wins() {
    let mut script = racing();
    script.after(Duration::from_secs(1));
    script.connected(2);
    assert_eq!(script.outputs(), [connect_server(3)], "the relay goes on");
    script.speaks(2);
    assert_eq!(script.outputs(), [close(3), done(2, Path::Punched)]);
}

#[test]
fn a_relay_that_is_first_wins_over_a_direct_path_without_answer() {
    let mut script = racing();
    relayed(&mut script, "u1", 3, 4, true);
    script.speaks(4);
    assert_eq!(script.outputs(), [close(2), done(4, Path::Relayed)]);
}

#[test]
fn a_relay_that_is_first_waits_a_moment_for_a_direct_path_that_is_connected() {
    let first = || {
        let mut script = racing();
        relayed(&mut script, "u1", 3, 4, true);
        script.connected(2);
        script.speaks(4);
        assert_eq!(script.outputs(), []);
        script
    };
    let mut script = first();
    script.speaks(2);
    assert_eq!(script.outputs(), [close(4), done(2, Path::Punched)]);
    let mut script = first();
    assert_eq!(script.timeout(), GRACE);
    assert_eq!(script.outputs(), [close(2), done(4, Path::Relayed)]);
    let mut script = first();
    script.dial.handle_closed(ConnId(2));
    assert_eq!(script.outputs(), [done(4, Path::Relayed)], "nothing to wait for any more");
}

#[test]
fn a_connected_path_has_more_time_for_the_first_word() {
    let mut script = Script::asking(request());
    script.answer(1, Union::PunchHoleResponse(found()));
    script.outputs();
    script.connected(2);
    assert_eq!(script.timeout(), SPEAK);
    assert_eq!(script.outputs(), [connect_server(3)]);
    assert_eq!(script.timeout(), Duration::from_secs(18) - SPEAK);
    assert_eq!(script.outputs(), [close(2)], "the relay is still being reached");
    script.dial.handle_connect_failed(ConnId(3), "refused");
    assert_eq!(script.outputs(), [connect_server(4)]);
}

#[test]
fn a_port_that_says_nothing_and_closes_is_no_path() {
    let mut script = Script::asking(request());
    script.answer(1, Union::PunchHoleResponse(found()));
    script.outputs();
    script.connected(2);
    script.dial.handle_closed(ConnId(2));
    relayed(&mut script, "u1", 3, 4, true);
}

#[test]
fn a_relay_that_fails_leaves_the_direct_path_alone() {
    let mut script = racing();
    assert_eq!(script.outputs(), [connect_server(3)]);
    for conn in 3..=5 {
        script.dial.handle_connect_failed(ConnId(conn), "refused");
    }
    assert_eq!(script.outputs(), [connect_server(4), connect_server(5)]);
    script.connected(2);
    script.speaks(2);
    assert_eq!(script.outputs(), [done(2, Path::Punched)]);
    let mut script = racing();
    script.connected(3);
    script.outputs();
    let no = RelayResponse { refuse_reason: "not today".into(), ..Default::default() };
    script.answer(3, Union::RelayResponse(no));
    assert_eq!(script.outputs(), [close(3)]);
    script.dial.handle_connect_failed(ConnId(2), "unreachable");
    assert_eq!(script.outputs(), [Output::Failed(DialError::NoPath("unreachable".into()))]);
}

#[test]
fn nothing_follows_the_end() {
    let mut script = racing();
    script.outputs();
    script.speaks(2);
    script.outputs();
    script.connected(3);
    script.speaks(2);
    script.dial.handle_closed(ConnId(2));
    script.dial.handle_connect_failed(ConnId(3), "refused");
    script.after(Duration::from_secs(3_600));
    assert_eq!((script.outputs(), script.dial.poll_timeout()), (vec![], None));
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
        script.speaks(2);
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
    assert_eq!(outputs.len(), 1, "{outputs:?}");
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
    script.dial.handle_closed(ConnId(4));
    relayed(&mut script, "u2", 5, 6, true);
    script.dial.handle_closed(ConnId(6));
    relayed(&mut script, "u3", 7, 8, true);
    script.dial.handle_closed(ConnId(8));
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
    assert!(matches!(script.message(2), Union::RequestRelay(r) if r.uuid == "theirs"));
    script.dial.handle_closed(ConnId(2));
    relayed(&mut script, "u1", 3, 4, true);
    script.speaks(4);
    assert_eq!(script.outputs(), [done(4, Path::Relayed)]);
}

#[test]
fn without_a_relay_a_failed_punch_is_the_end() {
    let mut script = Script::asking(request());
    script.answer(1, Union::PunchHoleResponse(PunchHoleResponse { relay_server: String::new(), ..found() }));
    script.outputs();
    script.dial.handle_connect_failed(ConnId(2), "refused");
    assert_eq!(script.outputs(), [Output::Failed(DialError::NoPath("refused".into()))]);
}
