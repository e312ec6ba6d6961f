//! `raw/*` and `client/raw-*`: connections of stock programs from the first byte, with all keys. Framing,
//! signatures, handshake and sealed packets come out byte by byte as recorded.

use super::hex;
use bytes::Bytes;
use deskhand_tests::recording::{Recording, cut, websocket_messages};
use deskhand_tests::recordings;
use hbb_common::handshake::{HostHandshake, HostOutcome, client_handshake, open_signed_id, sign_id};
use hbb_common::key::{PublicKey, SigningKey};
use hbb_common::packet;
use hbb_common::rendezvous::rendezvous_message::Union;
use hbb_common::rendezvous::{RendezvousMessage, relay_response};
use hbb_common::seal::{Seal, SessionKey};
use hbb_common::session::{self, Message, message};
use prost::Message as _;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The recorded set in one folder.
struct Set {
    folder: PathBuf,
    keys: Value,
    legs: Vec<Recording>,
}

/// All sets that have keys.
fn sets() -> Vec<Set> {
    let mut sets = Vec::new();
    for parent in ["raw", "client"] {
        for folder in std::fs::read_dir(recordings().join(parent)).unwrap() {
            let folder = folder.unwrap().path();
            let Ok(keys) = std::fs::read(folder.join("keys.json")) else { continue };
            sets.push(Set { keys: serde_json::from_slice(&keys).unwrap(), legs: legs(&folder), folder });
        }
    }
    assert_eq!(sets.len(), 8);
    sets
}

fn legs(folder: &Path) -> Vec<Recording> {
    let index: Value = serde_json::from_slice(&std::fs::read(folder.join("index.json")).unwrap()).unwrap();
    let files = index.as_array().unwrap().iter().filter_map(|leg| leg["file"].as_str());
    files.map(|file| Recording::read(&folder.join(file))).collect()
}

impl Set {
    fn name(&self) -> String {
        self.folder.display().to_string()
    }

    fn key<const N: usize>(&self, name: &str) -> [u8; N] {
        hex(self.keys[name].as_str().unwrap_or_else(|| panic!("{}: {name}", self.name()))).try_into().unwrap()
    }

    fn signing_key(&self, name: &str) -> SigningKey {
        SigningKey::from_bytes(&self.key::<64>(name)).unwrap()
    }

    fn session_key(&self) -> SessionKey {
        SessionKey(self.key("session_key"))
    }

    /// What client and host said to each other, `(client → host, host → client)`, from each place where
    /// it was recorded: between the two, or on the client's and the host's way to hbbr.
    fn peer_legs(&self) -> Vec<(Vec<Bytes>, Vec<Bytes>)> {
        let mut found = Vec::new();
        for leg in &self.legs {
            let (a, b) = (leg.header["a"].as_str().unwrap(), leg.header["b"].as_str().unwrap());
            let mut ways = if b.ends_with("-ws") {
                [websocket_messages(&leg.stream(0)), websocket_messages(&leg.stream(1))]
            } else if leg.header["kind"] == "tcp" {
                [leg.packets(0), leg.packets(1)]
            } else {
                continue;
            };
            if b.starts_with("hbbr") {
                let request = RendezvousMessage::decode(ways[0].remove(0)).unwrap().union;
                assert!(matches!(request, Some(Union::RequestRelay(_))), "{}: {request:?}", self.name());
            } else if b != "host" {
                continue;
            }
            let [to_b, to_a] = ways;
            found.push(if a == "client" { (to_b, to_a) } else { (to_a, to_b) });
        }
        assert!(!found.is_empty(), "{}", self.name());
        found
    }

    /// Everything said to and by hbbs.
    fn rendezvous(&self) -> Vec<Bytes> {
        let mut messages = Vec::new();
        for leg in &self.legs {
            match (leg.header["b"].as_str().unwrap(), leg.header["kind"].as_str().unwrap()) {
                ("hbbs", "udp") => messages.extend(leg.entries.iter().map(|e| e.bytes.clone())),
                ("hbbs", _) => messages.extend([leg.packets(0), leg.packets(1)].concat()),
                ("hbbs-ws", _) => {
                    messages.extend(websocket_messages(&leg.stream(0)));
                    messages.extend(websocket_messages(&leg.stream(1)));
                }
                _ => {}
            }
        }
        messages
    }

    fn id(&self) -> &'static str {
        if self.folder.parent().unwrap().ends_with("raw") { "123456789" } else { "555000111" }
    }
}

fn member(packet: &Bytes) -> message::Union {
    Message::decode(packet.clone()).unwrap().union.unwrap()
}

#[test]
fn streams_are_cut_into_packets_and_framed_again_as_recorded() {
    let mut streams = 0;
    for set in sets() {
        for leg in set.legs.iter().filter(|leg| leg.header["kind"] == "tcp") {
            if leg.header["b"].as_str().unwrap().ends_with("-ws") {
                continue;
            }
            for direction in [0, 1] {
                let stream = leg.stream(direction);
                let mut again = bytes::BytesMut::new();
                for packet in cut(&stream) {
                    packet::encode(&packet, &mut again);
                }
                assert_eq!(again, stream, "{}", set.name());
                streams += 1;
            }
        }
    }
    assert!(streams > 40, "only {streams} streams");
}

#[test]
fn messages_of_hbbs_and_its_peers_lose_nothing() {
    let mut messages = 0;
    for set in sets() {
        for bytes in set.rendezvous() {
            let message = RendezvousMessage::decode(bytes.clone()).unwrap();
            assert!(message.union.is_some(), "{}: {bytes:02x?}", set.name());
            // The stock programs put the chosen member of a oneof last, we in the order of numbers.
            let again = message.encode_to_vec();
            assert_eq!(again.len(), bytes.len(), "{}: {message:?}", set.name());
            assert_eq!(RendezvousMessage::decode(&again[..]), Ok(message));
            messages += 1;
        }
    }
    assert!(messages > 30, "only {messages} messages");
}

#[test]
fn hbbs_vouches_for_the_host_with_the_recorded_signature() {
    for set in sets() {
        let (server, host) = (set.signing_key("hbbs_ed25519_secret_64"), set.key("host_ed25519_public"));
        assert_eq!(server.public().0, set.key("hbbs_ed25519_public"));
        assert_eq!(server.public().to_base64(), set.keys["hbbs_key_text"].as_str().unwrap());
        let mut seen = 0;
        for bytes in set.rendezvous() {
            let signed = match RendezvousMessage::decode(bytes).unwrap().union {
                Some(Union::PunchHoleResponse(answer)) => answer.pk,
                Some(Union::RelayResponse(answer)) => match answer.union {
                    Some(relay_response::Union::Pk(pk)) => pk,
                    _ => continue,
                },
                _ => continue,
            };
            assert_eq!(open_signed_id(&signed, &server.public(), set.id()), Ok(PublicKey(host)));
            assert_eq!(sign_id(&server, set.id(), &host), signed, "{}", set.name());
            seen += 1;
        }
        assert_eq!(seen, 1, "{}", set.name());
    }
}

#[test]
fn the_hosts_hello_and_the_clients_answer_come_out_as_recorded() {
    for set in sets() {
        let host = set.signing_key("host_ed25519_secret_64");
        assert_eq!(host.public().0, set.key("host_ed25519_public"));
        for (to_host, to_client) in set.peer_legs() {
            let message::Union::SignedId(hello) = member(&to_client[0]) else { panic!("{}", set.name()) };
            let message::Union::PublicKey(answer) = member(&to_host[0]) else { panic!("{}", set.name()) };
            assert_eq!(hello.id, hex(set.keys["signed_id"].as_str().unwrap()));
            assert_eq!(
                open_signed_id(&hello.id, &host.public(), set.id()).unwrap().0,
                set.key("host_public")
            );
            assert_eq!(sign_id(&host, set.id(), &set.key::<32>("host_public")), hello.id);
            assert_eq!(answer.asymmetric_value[..], set.key::<32>("client_public"));
            if set.keys.get("client_secret").is_some() {
                client_side(&set, &hello, &answer);
            } else {
                host_side(&set, &hello, &answer);
            }
        }
    }
}

/// The client's secret is known: ours says the same.
fn client_side(set: &Set, hello: &session::SignedId, answer: &session::PublicKey) {
    let host = PublicKey(set.key("host_ed25519_public"));
    let key = set.key("session_key");
    let (ours, _) = client_handshake(hello, &host, set.id(), &set.key("client_secret"), key).unwrap();
    assert_eq!(ours, *answer, "{}", set.name());
}

/// The host's secret is known: ours says the same and understands the answer.
fn host_side(set: &Set, hello: &session::SignedId, answer: &session::PublicKey) {
    let identity = set.signing_key("host_ed25519_secret_64");
    let (handshake, ours) = HostHandshake::new(&identity, set.id(), set.key("host_secret"));
    assert_eq!(ours, *hello, "{}", set.name());
    match handshake.finish(answer) {
        Ok(HostOutcome::Sealed(key)) => assert_eq!(key.0, set.session_key().0, "{}", set.name()),
        other => panic!("{}: {other:?}", set.name()),
    }
}

#[test]
fn sealed_packets_open_to_the_recorded_session_and_seal_to_the_same_bytes() {
    let mut packets = 0;
    for set in sets() {
        let session = Recording::read(&set.folder.join("session.rdrec"));
        let plain = |direction: u8| -> Vec<Bytes> {
            session.entries.iter().filter(|e| e.direction == direction).map(|e| e.bytes.clone()).collect()
        };
        for (to_host, to_client) in set.peer_legs() {
            for (sealed, plain) in [(to_host, plain(0)), (to_client, plain(1))] {
                let (mut opening, mut sealing) = (Seal::new(set.session_key()), Seal::new(set.session_key()));
                let opened: Vec<Bytes> =
                    sealed[1..].iter().map(|packet| opening.open(packet.clone()).unwrap()).collect();
                assert_eq!(opened, plain, "{}", set.name());
                for (plain, sealed) in plain.iter().zip(&sealed[1..]) {
                    assert_eq!(sealing.seal(plain), sealed, "{}", set.name());
                }
                packets += plain.len();
            }
        }
    }
    assert!(packets > 100, "only {packets} packets");
}

#[test]
fn the_refused_client_asked_and_was_answered_in_whole_messages() {
    let mut messages = 0;
    for leg in legs(&recordings().join("client/raw-refusals")) {
        for packet in [leg.packets(0), leg.packets(1)].concat() {
            let message = RendezvousMessage::decode(packet.clone()).unwrap();
            assert!(matches!(message.union, Some(Union::PunchHoleRequest(_) | Union::PunchHoleResponse(_))));
            assert_eq!(message.encode_to_vec(), packet);
            messages += 1;
        }
    }
    assert_eq!(messages, 8);
}
