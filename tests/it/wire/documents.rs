//! Every worked byte of `rendezvous.md` that is a message, in both directions. Those of addresses, keys,
//! packet headers, sealed packets, password proofs and versions are held by the unit tests of
//! `hbb_common`.

use super::hex;
use bytes::Bytes;
use hbb_common::addr::mangle;
use hbb_common::handshake::sign_id;
use hbb_common::key::SigningKey;
use hbb_common::packet;
use hbb_common::rendezvous::register_pk_response::Result as Registered;
use hbb_common::rendezvous::rendezvous_message::Union;
use hbb_common::rendezvous::{
    KeyExchange, NatType, OnlineResponse, PunchHole, PunchHoleResponse, RegisterPeer, RegisterPeerResponse,
    RegisterPkResponse, RelayResponse, RendezvousMessage, TestNatRequest, TestNatResponse,
    punch_hole_response,
};
use hbb_common::session::{self, IdPk, Message, message};
use prost::Message as _;

#[track_caller]
fn is_on_the_wire(union: Union, bytes: &str, header: &str) {
    let message = RendezvousMessage { union: Some(union) };
    assert_eq!(message.encode_to_vec(), hex(bytes));
    assert_eq!(RendezvousMessage::decode(&hex(bytes)[..]), Ok(message.clone()));
    assert_eq!(packet::encode_message(&message), [hex(header), hex(bytes)].concat());
}

/// rendezvous §1.5.
#[test]
fn registration() {
    is_on_the_wire(
        Union::RegisterPeer(RegisterPeer { id: "123456789".into(), serial: 3 }),
        "32 0d 0a 09 31 32 33 34 35 36 37 38 39 10 03",
        "3c",
    );
    for (request_pk, bytes, header) in [(false, "3a 00", "08"), (true, "3a 02 10 01", "10")] {
        is_on_the_wire(Union::RegisterPeerResponse(RegisterPeerResponse { request_pk }), bytes, header);
    }
    for (result, keep_alive, bytes, header) in [
        (Registered::Ok, 0, "82 01 00", "0c"),
        (Registered::UuidMismatch, 0, "82 01 02 08 02", "14"),
        (Registered::TooFrequent, 0, "82 01 02 08 04", "14"),
        (Registered::NotSupport, 0, "82 01 02 08 06", "14"),
        (Registered::Ok, 20, "82 01 02 10 14", "14"),
    ] {
        let response = RegisterPkResponse { result: result.into(), keep_alive };
        is_on_the_wire(Union::RegisterPkResponse(response), bytes, header);
    }
}

/// rendezvous §1.5, §10.1.
#[test]
fn punching_and_relaying() {
    use punch_hole_response::Failure;
    for (failure, bytes, header) in [
        (Failure::IdNotExist, "5a 00", "08"),
        (Failure::Offline, "5a 02 18 02", "10"),
        (Failure::LicenseMismatch, "5a 02 18 03", "10"),
    ] {
        let response = PunchHoleResponse { failure: failure.into(), ..Default::default() };
        is_on_the_wire(Union::PunchHoleResponse(response), bytes, header);
    }
    is_on_the_wire(
        Union::RelayResponse(RelayResponse { version: "1.4.9".into(), ..Default::default() }),
        "9a 01 07 3a 05 31 2e 34 2e 39",
        "28",
    );
    is_on_the_wire(
        Union::PunchHole(PunchHole {
            socket_addr: mangle("203.0.113.7:50000".parse().unwrap(), 0x1234_5678).into(),
            relay_server: "192.0.2.1:21117".into(),
            nat_type: NatType::Asymmetric.into(),
            ..Default::default()
        }),
        "4a 1f 0a 0a c8 19 f1 ac 68 24 86 ae 4a 33 12 0f 31 39 32 2e 30 2e 32 2e 31 3a 32 31 31 31 37 18 01",
        "84",
    );
}

/// rendezvous §1.5, §5.11.
#[test]
fn nat_test_and_online_query() {
    is_on_the_wire(Union::TestNatRequest(TestNatRequest { serial: 0 }), "a2 01 00", "0c");
    is_on_the_wire(Union::TestNatRequest(TestNatRequest { serial: 3 }), "a2 01 02 08 03", "14");
    is_on_the_wire(
        Union::TestNatResponse(TestNatResponse { port: 50000, ..Default::default() }),
        "aa 01 04 08 d0 86 03",
        "1c",
    );
    is_on_the_wire(
        Union::OnlineResponse(OnlineResponse { states: vec![0x40].into() }),
        "c2 01 03 0a 01 40",
        "18",
    );
}

/// rendezvous §1.1: the bytes that each member of the top-level message starts with, and no others.
#[test]
fn members_have_their_tags() {
    let tags =
        "32 3a 42 4a 52 5a 62 6a 72 7a 8201 8a01 9201 9a01 a201 aa01 b201 ba01 c201 ca01 d201 da01 e201";
    for (nth, tag) in tags.split(' ').enumerate() {
        let bytes = [hex(tag), vec![0]].concat();
        let message = RendezvousMessage::decode(&bytes[..]).unwrap();
        assert!(message.union.is_some(), "number {} is no member", nth + 6);
        assert_eq!(message.encode_to_vec(), bytes);
    }
    for number in (1..=5).chain([29, 30]) {
        let mut bytes = Vec::new();
        prost::encoding::bytes::encode(number, &Bytes::new(), &mut bytes);
        assert_eq!(RendezvousMessage::decode(&bytes[..]).unwrap().union, None, "number {number}");
    }
}

/// rendezvous §6.3: what a client says that could not verify the host, and the empty message that means
/// the same.
#[test]
fn going_on_in_plain() {
    let nothing = session::PublicKey::default();
    let message = Message { union: Some(message::Union::PublicKey(nothing)) };
    assert_eq!(packet::encode_message(&message), hex("08 22 00"));
    assert_eq!(packet::encode_message(&Message { union: None }), hex("00"));
}

/// rendezvous §4.4, §6.4: lengths of signed keys.
#[test]
fn signed_keys_have_their_lengths() {
    let server = SigningKey::from_seed(&[1; 32]);
    let id_pk = IdPk { id: "123456789".into(), pk: vec![7; 32].into() };
    assert_eq!(id_pk.encoded_len(), 45);
    assert_eq!(sign_id(&server, "123456789", &[7; 32]).len(), 109);
    let exchange = |keys: Vec<Vec<u8>>| {
        let keys = keys.into_iter().map(Bytes::from).collect();
        RendezvousMessage { union: Some(Union::KeyExchange(KeyExchange { keys })) }.encoded_len()
    };
    assert_eq!(exchange(vec![server.sign(&[7; 32])]), 101);
    assert_eq!(exchange(vec![vec![1; 32], vec![2; 48]]), 87);
}
