//! Our client's machine against recorded stock hosts: the same proofs, the probes byte for byte, the states
//! and ends that the recordings' README names, the pictures of a reference decoder.

use crate::framebuffer::{png, png_file, psnr};
use ::framebuffer::{Format, Framebuffer, PictureRequest};
use bytes::{Bytes, BytesMut};
use client::RustDesk;
use codec::Decoder;
use deskhand_tests::recording::{Recording, cut};
use deskhand_tests::recordings;
use hbb_common::key::{PublicKey, SigningKey};
use hbb_common::packet::{self, Deframer};
use hbb_common::password::PasswordHash;
use hbb_common::seal::{Seal, SessionKey};
use hbb_common::session::{Message, message, misc};
use prost::Message as _;
use remote::target::Quality;
use remote::{Desktop as _, DisplayId, Permission, RemoteError, Secret, Session as _, SessionState, Target};
use serde_json::Value;
use session_proto::client::{Client, Config, Event, Output, Refused, Security};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const LIMIT: u64 = 7680 * 4320;

fn config(password: Option<&str>, security: Security) -> Config {
    Config {
        host_id: "123456789".into(),
        security,
        my_id: "987654321".into(),
        my_name: "recorder".into(),
        session_id: 77,
        password: password.map(Secret::new),
        decoders: codec::decoders().to_vec(),
        prefer: None,
        quality: Quality::Balanced,
        fps: None,
    }
}

/// What the recorder may have typed.
fn passwords() -> Vec<String> {
    let mut all: Vec<String> = ["RefPass123", "not the password", ""].map(Into::into).to_vec();
    all.extend((0..9).map(|i| format!("guess {i}")));
    all
}

/// What came of playing a recorded host.
struct Played {
    client: Client,
    states: Vec<SessionState>,
    events: Vec<Event>,
    ended: Option<(RemoteError, bool)>,
    /// Sent since the last packet of the host.
    sent: Vec<Bytes>,
    proofs: usize,
    echoes: usize,
}

impl Played {
    /// Plays the host's side of `session/NAME.rdrec`; the recorded client's logins are made by ours.
    fn new(name: &str) -> Self {
        let recording = Recording::load(&format!("session/{name}.rdrec"));
        let mut salt = None;
        let mut ours = Self {
            client: Client::new(config(Some("RefPass123"), Security::Plain), Instant::now()),
            states: Vec::new(),
            events: Vec::new(),
            ended: None,
            sent: Vec::new(),
            proofs: 0,
            echoes: 0,
        };
        // The first login follows the salt at once, so its password is looked up before.
        let mut logins =
            recording.entries.iter().filter(|e| e.direction == 0).filter_map(|e| login(&e.bytes));
        let mut hash_seen = false;
        let mut first_login_passed = false;
        for entry in &recording.entries {
            if entry.direction == 1 {
                let message = Message::decode(entry.bytes.clone()).unwrap();
                if let Some(message::Union::Hash(hash)) = &message.union {
                    salt = Some((hash.salt.clone(), hash.challenge.clone()));
                    hash_seen = true;
                    let first = logins.next().unwrap_or_default();
                    let password = password_of(&first, salt.as_ref().unwrap());
                    let security = Security::Plain;
                    ours.client = Client::new(config(Some(&password), security), Instant::now());
                    ours.host(&entry.bytes);
                    ours.expect_login(&first, name);
                    continue;
                }
                ours.host(&entry.bytes);
            } else if hash_seen && !first_login_passed && login(&entry.bytes).is_some() {
                first_login_passed = true;
            } else if hash_seen && !ours.client.is_live() {
                ours.recorded_client(&entry.bytes, salt.as_ref().unwrap(), name);
            }
        }
        ours
    }

    fn host(&mut self, packet: &Bytes) {
        self.client.handle_packet(packet.clone(), Instant::now());
        let outputs = self.outputs();
        let probe = Message::decode(packet.clone()).unwrap().union;
        if matches!(probe, Some(message::Union::TestDelay(p)) if !p.from_client) && self.ended.is_none() {
            assert_eq!(outputs.first(), Some(packet), "the probe comes back as it was");
            self.echoes += 1;
        }
        self.sent = outputs;
    }

    /// Takes events out and gives what was sent.
    fn outputs(&mut self) -> Vec<Bytes> {
        let mut sent = Vec::new();
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Send(packet) => sent.push(packet),
                Output::Close => {}
                Output::Event(Event::State(state)) => self.states.push(state),
                Output::Event(Event::Ended { error, retry }) => self.ended = Some((error, retry)),
                Output::Event(event) => self.events.push(event),
            }
        }
        sent
    }

    /// The recorded client answered a question of the host: ours gets the same from its user.
    fn recorded_client(&mut self, packet: &Bytes, salt: &(String, String), name: &str) {
        match Message::decode(packet.clone()).ok().and_then(|m| m.union) {
            Some(message::Union::LoginRequest(request)) if self.states.iter().any(asks_for_password) => {
                let password = password_of(&request.password, salt);
                if self.client.password(Secret::new(password), Instant::now()).is_ok() {
                    self.sent = self.outputs();
                    self.expect_login(&request.password, name);
                }
            }
            Some(message::Union::Auth2fa(answer)) if answer.hwid.is_empty() => {
                self.client.second_factor(&Secret::new(answer.code), Instant::now()).unwrap();
                let sent = self.outputs();
                assert_eq!(sent, std::slice::from_ref(packet), "{name}");
            }
            _ => {}
        }
    }

    fn expect_login(&mut self, proof: &Bytes, name: &str) {
        let found = self.sent.iter().find_map(login);
        assert_eq!(found.as_ref(), Some(proof), "{name}: the proof of the login");
        self.proofs += 1;
    }
}

fn asks_for_password(state: &SessionState) -> bool {
    matches!(state, SessionState::AwaitingPassword { .. } | SessionState::AwaitingApproval)
}

/// The proof, if the packet is a login.
fn login(packet: &Bytes) -> Option<Bytes> {
    match Message::decode(packet.clone()).ok()?.union? {
        message::Union::LoginRequest(request) => Some(request.password),
        _ => None,
    }
}

fn password_of(proof: &Bytes, (salt, challenge): &(String, String)) -> String {
    if proof.is_empty() {
        return String::new();
    }
    let fits = |p: &String| PasswordHash::new(p, salt).proof(challenge)[..] == proof[..];
    passwords().into_iter().find(fits).unwrap_or_else(|| "RefPass123".into())
}

#[test]
fn logins_end_as_the_recorded_hosts_ended_them() {
    let refused = |text: &str| Some((RemoteError::Refused(text.into()), false));
    let wrong = SessionState::AwaitingPassword { wrong: true };
    let approval = SessionState::AwaitingApproval;
    let code = |wrong| SessionState::Awaiting2fa { wrong };
    let closed = Some((RemoteError::SessionClosed("Closed manually by the peer".into()), false));
    let limit = Some((RemoteError::TooManyAttempts("Please try 1 minute later".into()), false));
    let table = [
        (
            "login-wrong-then-right",
            vec![wrong.clone(), SessionState::Connecting, SessionState::Ready],
            None,
            2,
        ),
        ("login-empty", vec![approval.clone(), SessionState::Connecting, SessionState::Ready], None, 2),
        ("login-empty-accepted", vec![approval.clone(), SessionState::Ready], None, 1),
        ("login-click-accepted", vec![approval.clone(), SessionState::Ready], None, 1),
        ("login-click-refused", vec![approval], refused("Closed manually by the peer"), 1),
        (
            "login-2fa",
            vec![
                code(false),
                SessionState::Connecting,
                code(true),
                SessionState::Connecting,
                SessionState::Ready,
            ],
            None,
            1,
        ),
        ("login-blocked-address", vec![], refused("Your ip is blocked by the peer"), 0),
        ("closed-by-host", vec![SessionState::Ready], None, 1),
        ("closed-by-user", vec![SessionState::Ready], closed, 1),
    ];
    for (name, states, end, proofs) in table {
        let played = Played::new(name);
        assert_eq!(played.states, states, "{name}");
        assert_eq!(played.ended, end, "{name}");
        assert_eq!(played.proofs, proofs, "{name}");
        assert_eq!(played.client.refused(), Refused::default(), "{name}");
    }
    let played = Played::new("login-limit");
    assert_eq!(played.states.iter().filter(|s| **s == wrong).count(), 7);
    assert_eq!((played.ended, played.proofs), (limit, 8));
}

#[test]
fn every_recorded_desktop_session_is_understood() {
    let mut sessions = 0;
    let mut echoes = 0;
    for file in std::fs::read_dir(recordings().join("session")).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Some(name) = name.strip_suffix(".rdrec") else { continue };
        let recording = Recording::read(&path);
        let is_desktop = recording.entries.iter().filter(|e| e.direction == 0).any(|e| {
            matches!(
                Message::decode(e.bytes.clone()).map(|m| m.union),
                Ok(Some(message::Union::LoginRequest(r))) if r.union.is_none()
            )
        });
        // A foreign id was dialled, and a device was remembered, which we do not do.
        if !is_desktop || ["login-errors", "login-2fa-trusted", "login-2fa-trusted-2"].contains(&name) {
            continue;
        }
        let played = Played::new(name);
        assert_eq!(played.client.refused(), Refused::default(), "{name}");
        assert!(played.proofs > 0, "{name}");
        sessions += 1;
        echoes += played.echoes;
    }
    assert!(sessions >= 29 && echoes > 200, "{sessions} sessions, {echoes} echoes");
}

#[test]
fn pictures_are_those_of_a_reference_decoder() {
    for name in [
        "video-vp9",
        "video-vp8",
        "video-av1",
        "video-auto",
        "video-vp9-i444",
        "video-av1-i444",
        "display-two",
    ] {
        let recording = Recording::load(&format!("session/{name}.rdrec"));
        let rows = recording.sidecar["truth"]["pictures_decoded"]["rows"].as_array().unwrap();
        let want: Vec<&str> = rows.iter().map(|row| row[4].as_str().unwrap()).collect();
        let mut decoders: BTreeMap<DisplayId, Decoder> = BTreeMap::new();
        let mut got = Vec::new();
        for event in Played::new(name).events {
            let Event::Video(video) = event else { continue };
            let new = || Decoder::new(video.codec, LIMIT).unwrap();
            let decoder = decoders.entry(video.display).or_insert_with(new);
            if decoder.codec() != video.codec {
                *decoder = new();
            }
            for packet in &video.packets {
                if decoder.decode(&packet.data).unwrap() {
                    got.push(digest(decoder));
                }
            }
        }
        assert_eq!(got, want, "{name}");
    }
}

/// Says what a recorded host said, over a stream: the first packet at once, the rest to a login.
async fn recorded_host(listener: TcpListener, said: Vec<Bytes>) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut first = BytesMut::new();
    packet::encode(&said[0], &mut first);
    stream.write_all(&first).await.unwrap();
    let mut deframer = Deframer::new(1 << 20);
    while deframer.next_packet().unwrap().and_then(|packet| login(&packet)).is_none() {
        assert_ne!(stream.read_buf(deframer.buffer()).await.unwrap(), 0, "the client left");
    }
    let mut rest = BytesMut::new();
    said[1..].iter().for_each(|message| packet::encode(message, &mut rest));
    stream.write_all(&rest).await.unwrap();
    // It stays until the client leaves.
    while stream.read_buf(deframer.buffer()).await.is_ok_and(|read| read > 0) {
        deframer.buffer().clear();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_picture_of_a_session_shows_the_hosts_screen() {
    for (name, decibels) in
        [("video-vp9", 36.0), ("video-vp8", 36.0), ("video-av1", 36.0), ("video-vp9-i444", 40.0)]
    {
        let recording = Recording::load(&format!("session/{name}.rdrec"));
        let pictures =
            recording.sidecar["truth"]["pictures_decoded"]["rows"].as_array().unwrap().len() as u64;
        let said = recording.entries.into_iter().filter(|e| e.direction == 1).map(|e| e.bytes).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target {
            address: listener.local_addr().unwrap().to_string(),
            password: Some(Secret::new("RefPass123")),
            allow_unencrypted: true,
            ..Target::default()
        };
        let host = tokio::spawn(recorded_host(listener, said));
        let session = RustDesk::new(client::Config::default()).open_session(target).unwrap();
        let last = session.newer_than(DisplayId(0), pictures - 1);
        tokio::time::timeout(Duration::from_secs(60), last).await.expect("all pictures in time").unwrap();
        let (info, frame) = session.frame(DisplayId(0)).await.unwrap();
        assert_eq!(info.sequence, pictures, "{name}");
        let mut framebuffer = Framebuffer::new();
        framebuffer.update(frame, info.at);
        let request = PictureRequest { format: Format::Png, ..Default::default() };
        let shown = framebuffer.picture(&request).unwrap();
        let quality = psnr(&png(&shown.data), &png_file(&recordings().join(format!("session/{name}.png"))));
        assert!(quality >= decibels, "{name}: {quality:.2} dB");
        session.close().await;
        host.await.unwrap();
    }
}

fn digest(decoder: &Decoder) -> String {
    let picture = decoder.picture().unwrap();
    let mut hash = Sha256::new();
    for plane in 0..3 {
        picture.rows(plane).for_each(|row| hash.update(row));
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn displays_follow_the_host() {
    let events = Played::new("display-two").events;
    let counts: Vec<usize> = events
        .iter()
        .filter_map(|e| match e {
            Event::Displays(displays) => Some(displays.len()),
            _ => None,
        })
        .collect();
    assert_eq!(counts, [2, 1, 2], "unplugged and plugged again");
    let played = Played::new("display-resolution");
    let last = played.client.displays();
    assert_eq!((last[0].size.width, last[0].size.height), (800, 600));
}

#[test]
fn pointer_shapes_and_places_are_the_recorded_ones() {
    let recording = Recording::load("session/cursor.rdrec");
    let sequence = recording.sidecar["truth"]["sequence"].as_array().unwrap();
    let shapes = &recording.sidecar["truth"]["shapes"];
    let mut got = Vec::new();
    let mut last = None;
    let played = Played::new("cursor");
    for event in &played.events {
        let Event::Cursor(cursor) = event else { continue };
        last = cursor.position;
        let shape = cursor.shape.clone().unwrap();
        if got.last() != Some(&shape) {
            got.push(shape);
        }
    }
    // Two neighbours with equal pixels would be seen as one; these have none.
    assert_eq!(got.len(), sequence.len());
    for (shape, step) in got.iter().zip(sequence) {
        let truth = &shapes[step[1].as_str().unwrap()];
        let number = |value: &Value| value.as_u64().unwrap();
        assert_eq!(u64::from(shape.size.width), number(&truth["size"][0]));
        assert_eq!(u64::from(shape.size.height), number(&truth["size"][1]));
        assert_eq!(shape.hotspot.x as u64, number(&truth["hot"][0]));
        assert_eq!(shape.rgba.len() as u64, 4 * number(&truth["size"][0]) * number(&truth["size"][1]));
    }
    let (display, point) = last.unwrap();
    assert_eq!((display, point.x, point.y), (DisplayId(0), 600, 780));
}

#[test]
fn denied_permissions_are_known() {
    let played = Played::new("permissions-denied");
    let Some(Event::Permissions(last)) =
        played.events.iter().rev().find(|e| matches!(e, Event::Permissions(_)))
    else {
        panic!("permissions")
    };
    assert_eq!(last.denied.len(), 8);
    assert!(!last.allows(Permission::Keyboard) && !last.allows(Permission::PrivacyMode));
}

#[test]
fn chat_of_the_host_is_heard() {
    let events = Played::new("closed-by-user").events;
    assert!(events.contains(&Event::Chat("hello from the host \u{2713}".into())));
}

/// `raw/*`: with the recorded ephemeral secrets our answer to the handshake is the recorded one, byte for
/// byte, and what follows opens and is sealed as recorded.
#[test]
fn sealed_sessions_are_those_on_the_wire() {
    let mut sets = 0;
    for folder in std::fs::read_dir(recordings().join("raw")).unwrap() {
        let folder = folder.unwrap().path();
        let keys: Value = serde_json::from_slice(&std::fs::read(folder.join("keys.json")).unwrap()).unwrap();
        let key = |name: &str| -> Vec<u8> {
            let text = keys[name].as_str().unwrap();
            (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
        };
        let leg = std::fs::read_dir(&folder).unwrap().map(|f| f.unwrap().path()).find(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.ends_with(".rdrec") && (name.contains("client-host") || name.contains("client-hbbr"))
        });
        let leg = leg.unwrap();
        let recording = Recording::read(&leg);
        let mut to_host = cut(&recording.stream(0));
        let to_client = cut(&recording.stream(1));
        if leg.to_string_lossy().contains("hbbr") {
            to_host.remove(0);
        }
        let host = SigningKey::from_bytes(&key("host_ed25519_secret_64")).unwrap().public();
        assert_eq!(host, PublicKey::try_from(&key("host_ed25519_public")[..]).unwrap());
        let security = Security::Sealed {
            id: "123456789".into(),
            key: host,
            secret: key("client_secret").try_into().unwrap(),
            session_key: key("session_key").try_into().unwrap(),
        };
        let mut client = Client::new(config(Some("RefPass123"), security), Instant::now());
        let mut sent = Vec::new();
        for packet in to_client {
            client.handle_packet(packet, Instant::now());
            while let Some(output) = client.poll_output() {
                match output {
                    Output::Send(packet) => sent.push(packet),
                    Output::Event(Event::Ended { error, .. }) => panic!("{}: {error}", folder.display()),
                    _ => {}
                }
            }
        }
        assert!(client.is_live(), "{}", folder.display());
        assert_eq!(sent[0], to_host[0], "the answer to the handshake");
        let open = |packets: &[Bytes]| -> Vec<Message> {
            let mut seal = Seal::new(SessionKey(key("session_key").try_into().unwrap()));
            packets.iter().map(|p| Message::decode(seal.open(p.clone()).unwrap()).unwrap()).collect()
        };
        let proof = |messages: &[Message]| {
            messages.iter().find_map(|m| match &m.union {
                Some(message::Union::LoginRequest(request)) => Some(request.password.clone()),
                _ => None,
            })
        };
        let (ours, theirs) = (open(&sent[1..]), open(&to_host[1..]));
        assert!(proof(&ours).is_some());
        assert_eq!(proof(&ours), proof(&theirs), "{}", folder.display());
        let farewell = |m: &&Message| matches!(&m.union, Some(message::Union::Misc(m)) if matches!(m.union, Some(misc::Union::CloseReason(_))));
        assert!(theirs.iter().any(|m| farewell(&m)), "the recorded client left");
        sets += 1;
    }
    assert_eq!(sets, 4);
}
