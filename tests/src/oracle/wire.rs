//! Bytes, packets, messages, texts.

use crate::recording::Recording;
use crate::recordings;
use bytes::{Bytes, BytesMut};
use hbb_common::handshake::{HostHandshake, HostOutcome, client_handshake, open_signed_id};
use hbb_common::key::{KeyOption, PublicKey, ServerConfiguration, SigningKey};
use hbb_common::packet::{self, Deframer, FrameError};
use hbb_common::peer_id::PeerAddress;
use hbb_common::rendezvous::RendezvousMessage;
use hbb_common::rewrite::{Fields, edit_member};
use hbb_common::seal::{OVERHEAD, Seal, SessionKey};
use hbb_common::session::{self, Message};
use hbb_common::{addr, version};
use prost::Message as _;

/// However a stream is cut, the same packets come out, none over the limit, and they frame again.
pub(super) fn framing(data: &[u8]) {
    const LIMIT: usize = 300;
    let Some((&cut, stream)) = data.split_first() else { return };
    let read = |pieces: &mut dyn Iterator<Item = &[u8]>| -> (Vec<Bytes>, Option<FrameError>) {
        let mut deframer = Deframer::new(LIMIT);
        let mut packets = Vec::new();
        for piece in pieces {
            deframer.extend(piece);
            loop {
                match deframer.next_packet() {
                    Ok(Some(packet)) => packets.push(packet),
                    Ok(None) => break,
                    Err(e) => return (packets, Some(e)),
                }
            }
            assert!(deframer.pending() <= LIMIT + 4, "more is kept than one packet can have");
        }
        (packets, None)
    };
    let whole = read(&mut std::iter::once(stream));
    let pieces = read(&mut stream.chunks(usize::from(cut) + 1));
    assert_eq!(whole, pieces);
    let mut again = BytesMut::new();
    for packet in &whole.0 {
        assert!(packet.len() <= LIMIT);
        packet::encode(packet, &mut again);
    }
    assert_eq!(read(&mut std::iter::once(&again[..])), (whole.0, None));
}

/// Any bytes are some address, and the address they are survives being written again.
pub(super) fn address(data: &[u8]) {
    let found = addr::demangle(data);
    let clock = data.iter().fold(0u32, |t, byte| t.rotate_left(5) ^ u32::from(*byte));
    assert_eq!(addr::demangle(&addr::mangle(found, clock)), addr::normalize(found));
    assert_eq!(addr::normalize(addr::normalize(found)), addr::normalize(found));
    if let Ok(text) = std::str::from_utf8(data)
        && let Some((host, port)) = addr::split_host_port(text, 21116)
    {
        let joined = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        assert_eq!(addr::split_host_port(&joined, 1), Some((host, port)));
    }
}

/// What is understood is understood the same when written again.
pub(super) fn peer_id(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(peer) = text.parse::<PeerAddress>() {
        assert_eq!(peer.to_string().parse(), Ok(peer));
    }
    version::number(text);
}

/// Editing bytes keeps everything it was not asked to change, known or not.
pub(super) fn rewrite(data: &[u8]) {
    let message = Bytes::copy_from_slice(data);
    let Ok(fields) = Fields::decode(message.clone()) else { return };
    assert_eq!(Fields::decode(fields.encode()), Ok(fields.clone()));
    for number in [9, 18, 19] {
        let Ok(edited) = edit_member(&message, number, |inner| {
            inner.remove(1);
            inner.set_bytes(1, &b"address"[..]);
            inner.set_varint(77, 5);
        }) else {
            continue;
        };
        let inner = Fields::decode(edited).expect("what we wrote");
        let inner = Fields::decode(inner.bytes(number).expect("the member").clone()).expect("what we wrote");
        assert_eq!(inner.bytes(1).map(|b| &b[..]), Some(&b"address"[..]));
    }
}

/// What is decoded encodes to something that decodes to the same. Compared as bytes: a NaN is not equal
/// to itself.
fn round_trip<M: prost::Message + Default>(data: &[u8]) -> Option<M> {
    let message = M::decode(data).ok()?;
    let bytes = message.encode_to_vec();
    assert_eq!(bytes.len(), message.encoded_len());
    let again = M::decode(&bytes[..]).expect("what we wrote");
    assert_eq!(again.encode_to_vec(), bytes);
    Some(message)
}

pub(super) fn rendezvous(data: &[u8]) {
    round_trip::<RendezvousMessage>(data);
}

pub(super) fn session(data: &[u8]) {
    round_trip::<Message>(data);
}

/// A sealed stream opens only as it was sealed, and nothing else opens.
pub(super) fn seal(data: &[u8]) {
    let key = || SessionKey([9; 32]);
    let foreign = Seal::new(key()).open(Bytes::copy_from_slice(data));
    assert_eq!(foreign.is_ok(), data.len() <= 1, "only heartbeats pass without a seal");
    let Some((&at, plain)) = data.split_first() else { return };
    let sealed = Seal::new(key()).seal(plain);
    assert_eq!(sealed.len(), plain.len() + OVERHEAD);
    assert_eq!(Seal::new(key()).open(sealed.clone()), Ok(Bytes::copy_from_slice(plain)));
    let mut altered = sealed.to_vec();
    let at = usize::from(at) % altered.len();
    altered[at] ^= 1;
    assert!(Seal::new(key()).open(altered.into()).is_err());
}

/// Nothing that is not signed by the host is taken for it, and no answer of a client breaks a host.
pub(super) fn handshake(data: &[u8]) {
    let identity = SigningKey::from_seed(&[2; 32]);
    let signed = session::SignedId { id: Bytes::copy_from_slice(data) };
    let opened = open_signed_id(data, &identity.public(), "123456789");
    let shaken = client_handshake(&signed, &identity.public(), "123456789", &[4; 32], [5; 32]);
    assert!(opened.is_ok() || shaken.is_err());
    // What the host did sign may hold anything.
    let inner = session::SignedId { id: identity.sign(data).into() };
    if let Ok((answer, _)) = client_handshake(&inner, &identity.public(), "123456789", &[4; 32], [5; 32]) {
        assert_eq!(answer.symmetric_value.len(), 48);
    }
    let answer = match session::PublicKey::decode(data) {
        Ok(answer) => answer,
        Err(_) => {
            let (asymmetric, symmetric) = data.split_at(data.len().min(32));
            session::PublicKey {
                asymmetric_value: Bytes::copy_from_slice(asymmetric),
                symmetric_value: Bytes::copy_from_slice(symmetric),
            }
        }
    };
    let (host, _) = HostHandshake::new(&identity, "123456789", [3; 32]);
    if let Ok(HostOutcome::Plain) = host.finish(&answer) {
        assert!(answer.asymmetric_value.is_empty(), "a host goes on in plain only when told nothing");
    }
}

/// Texts of keys and configurations: what is read is written and read the same.
pub(super) fn key(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(key) = PublicKey::from_base64(text) {
        assert_eq!(key.to_base64(), text);
    }
    if let Ok(key) = SigningKey::from_file_text(text) {
        let again = SigningKey::from_file_text(&key.to_file_text()).expect("what we wrote");
        assert_eq!(again.public(), key.public());
    }
    if let Ok(configuration) = ServerConfiguration::from_text(text) {
        assert_eq!(ServerConfiguration::from_text(&configuration.to_text()), Ok(configuration));
    }
    KeyOption::parse(text);
}

pub(super) fn streams() -> Vec<Vec<u8>> {
    let mut stream = vec![7];
    let mut framed = BytesMut::new();
    for len in [0, 1, 63, 64, 300, 301] {
        packet::encode(&vec![0x55; len], &mut framed);
    }
    stream.extend_from_slice(&framed);
    vec![stream, vec![0, 0xff, 0xff, 0xff, 0xff], vec![0, 3 | 2 << 2, 0, 0, 0, b'h', b'i']]
}

pub(super) fn addresses() -> Vec<Vec<u8>> {
    let texts = ["203.0.113.7:50000", "255.255.255.255:65535", "[2001:db8::1]:8080", "[::ffff:127.0.0.1]:1"];
    let mut seeds = Vec::new();
    for text in texts {
        seeds.push(text.as_bytes().to_vec());
        seeds.push(addr::mangle(text.parse().expect("an address"), 0x1234_5678));
    }
    seeds
}

pub(super) fn peer_ids() -> Vec<Vec<u8>> {
    let texts = [
        "123456789",
        "123 456 789/r",
        "my-machine@host.example:21116?key=OeVuKk5nlHiXp+APNn0Y3pC1Iwpwn44JGqrQCsWqmBw=",
        "1234567@public",
        "1234567@wss://h.example/ws/id?key=k",
        "[2001:db8::1]:7",
        "localhost:7",
        "1.4.9-2",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

pub(super) fn rendezvous_messages() -> Vec<Vec<u8>> {
    let legs = [
        ("raw/punched/00-client-hbbs-tcp.rdrec", true),
        ("raw/relay-by-host/00-client-hbbs-tcp.rdrec", true),
        ("raw/relay-by-host/02-host-hbbs-tcp.rdrec", true),
        ("raw/relay-by-client/01-host-hbbs-udp.rdrec", false),
        ("client/raw-same-address/02-host-hbbs-tcp.rdrec", true),
        ("hbbs/register/00-host-hbbs-udp.rdrec", false),
    ];
    let mut seeds = Vec::new();
    for (name, stream) in legs {
        let recording = Recording::load(name);
        if stream {
            seeds.extend([recording.packets(0), recording.packets(1)].concat());
        } else {
            seeds.extend(recording.entries.into_iter().map(|e| e.bytes));
        }
    }
    seeds.into_iter().map(Vec::from).collect()
}

/// Recorded messages of every kind, the short ones.
pub(super) fn session_messages() -> Vec<Vec<u8>> {
    const SHORT: usize = 2_000;
    let mut seeds = Vec::new();
    let files = std::fs::read_dir(recordings().join("session")).expect("the recordings are in the checkout");
    for file in files {
        let path = file.expect("a readable folder").path();
        if path.extension().is_some_and(|e| e == "rdrec") {
            let entries = Recording::read(&path).entries.into_iter();
            seeds.extend(entries.map(|e| Vec::from(e.bytes)).filter(|bytes| bytes.len() <= SHORT));
        }
    }
    seeds.sort();
    seeds.dedup();
    seeds
}

pub(super) fn handshakes() -> Vec<Vec<u8>> {
    let identity = SigningKey::from_seed(&[2; 32]);
    let (_, hello) = HostHandshake::new(&identity, "123456789", [3; 32]);
    let (answer, _) = client_handshake(&hello, &identity.public(), "123456789", &[4; 32], [5; 32])
        .expect("both ends are ours");
    vec![hello.id[64..].to_vec(), hello.id.into(), answer.encode_to_vec()]
}

pub(super) fn keys() -> Vec<Vec<u8>> {
    let key = SigningKey::from_seed(&[1; 32]);
    let configuration =
        ServerConfiguration { host: "192.0.2.1".into(), key: "K".into(), ..Default::default() };
    let texts = [key.to_file_text(), key.public().to_base64(), configuration.to_text(), "-".into()];
    texts.into_iter().map(String::into_bytes).collect()
}

pub(super) fn sealed() -> Vec<Vec<u8>> {
    vec![vec![0], vec![7; 40]]
}
