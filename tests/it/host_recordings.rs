//! Our host machine against what stock clients sent: it understands the same from the same bytes, and its
//! key exchange opens recorded answers.

use bytes::{Bytes, BytesMut};
use deskhand_tests::recording::Recording;
use hbb_common::key::SigningKey;
use hbb_common::packet::Deframer;
use hbb_common::password::PasswordHash;
use hbb_common::session::{Hash, LoginRequest, Message, Misc, TestDelay, login_response, message, misc};
use prost::Message as _;
use remote::{Permission, Permissions, Point, Size};
use serde_json::Value;
use session_proto::host::{
    Announcement, ApproveMode, Encoding, Event, Host, HostContext, HostDisplay, HostInput, HostRandom,
    InputKey, Output, Passwords, View,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

const CLIENT_PASSWORD: &str = "beacon-Light-7";
const SESSION_PASSWORD: &str = "RefPass123";
const SALT: &str = "salt of the host under test";

/// What came of playing one side of a recording.
#[derive(Default)]
struct Played {
    events: Vec<Event>,
    /// Kinds of what the machine sent, probes left out.
    sent: Vec<String>,
    closed: bool,
}

impl Played {
    fn inputs(&self) -> Vec<&HostInput> {
        self.events.iter().filter_map(|e| if let Event::Input(i) = e { Some(i) } else { None }).collect()
    }

    fn views(&self) -> Vec<&View> {
        self.events.iter().filter_map(|e| if let Event::View(v) = e { Some(v) } else { None }).collect()
    }
}

fn displays(recording: &Recording) -> Vec<HostDisplay> {
    let geometry = recording.header["geometry"].as_str().unwrap_or("1280x800");
    let mut x = 0;
    let size = |text: &str| {
        let (width, height) = text.split_once('x').unwrap();
        Size::new(width.parse().unwrap(), height.parse().unwrap())
    };
    geometry
        .split(',')
        .enumerate()
        .map(|(i, text)| {
            let size = size(text);
            let origin = Point::new(x, 0);
            x += size.width as i32;
            let modes = vec![size, Size::new(800, 600), Size::new(1024, 768)];
            HostDisplay { name: format!("d{i}"), origin, size, primary: i == 0, modes, original: Some(size) }
        })
        .collect()
}

fn permission(number: i32) -> Option<Permission> {
    use Permission::{Audio, BlockInput, Clipboard, File, Keyboard, PrivacyMode, Recording, Restart};
    let all = [Keyboard, Clipboard, Audio, File, Restart, Recording, BlockInput, PrivacyMode];
    [0, 2, 3, 4, 5, 6, 7, 8].iter().position(|n| *n == number).map(|i| all[i])
}

fn message_of(bytes: &Bytes) -> Option<message::Union> {
    Message::decode(bytes.clone()).ok()?.union
}

/// The recorded host's permissions off before the login, and its password mode.
fn context(recording: &Recording, id: &str, password: &str) -> HostContext {
    let from_host =
        || recording.entries.iter().filter(|e| e.direction == 1).filter_map(|e| message_of(&e.bytes));
    let denied = from_host()
        .take_while(|m| !matches!(m, message::Union::LoginResponse(_)))
        .filter_map(|m| match m {
            message::Union::Misc(Misc { union: Some(misc::Union::PermissionInfo(info)) }) => {
                permission(info.permission)
            }
            _ => None,
        })
        .collect();
    let click_only = from_host().any(|m| {
        matches!(m, message::Union::LoginResponse(r)
            if r.union == Some(login_response::Union::Error("No Password Access".into())))
    });
    HostContext {
        id: id.into(),
        identity: None,
        allow_plain: false,
        salt: SALT.into(),
        passwords: Arc::new(Passwords::new(Some(PasswordHash::new(password, SALT)))),
        approve: if click_only { ApproveMode::Click } else { ApproveMode::Both },
        permissions: Permissions { denied },
        remote_ip: "192.0.2.1".parse().unwrap(),
        attempts: Default::default(),
        announce: Announcement {
            username: "ada".into(),
            hostname: "orchard".into(),
            platform: "Linux".into(),
            version: "1.4.9".into(),
            displays: displays(recording),
            encoding: Encoding { vp8: true, av1: true, ..Encoding::default() },
            platform_additions: String::new(),
        },
    }
}

/// Plays the client's side. What depends on the host is replaced: the password's proof, echoes of probes.
/// What the recorded host's user did is done again at the same place.
fn play(name: &str, id: &str, password: &str) -> Played {
    let recording = Recording::load(name);
    let context = context(&recording, id, password);
    let mut now = Instant::now();
    let mut host = Host::new(context, HostRandom { secret: [1; 32], challenge: [9; 6] }, now);
    let mut played = Played::default();
    let mut ours = Hash::default();
    let mut theirs = Hash::default();
    let mut in_session = false;
    drain(&mut host, &mut played, &mut ours, now);
    for entry in &recording.entries {
        now += Duration::from_millis(1);
        let union = message_of(&entry.bytes);
        if entry.direction == 1 {
            match union {
                Some(message::Union::Hash(hash)) => theirs = hash,
                Some(message::Union::LoginResponse(r)) => {
                    in_session |= matches!(r.union, Some(login_response::Union::PeerInfo(_)));
                    if in_session && !host.is_live() {
                        host.accept(now);
                    }
                }
                Some(message::Union::Misc(Misc { union: Some(misc::Union::PermissionInfo(info)) }))
                    if in_session =>
                {
                    host.set_permission(permission(info.permission).unwrap(), info.enabled);
                }
                Some(message::Union::Misc(Misc { union: Some(misc::Union::CloseReason(text)) })) => {
                    if in_session {
                        host.close(&text)
                    } else {
                        host.refuse()
                    }
                }
                _ => {}
            }
        } else {
            let bytes = match union {
                Some(message::Union::TestDelay(probe)) if !probe.from_client => continue,
                Some(message::Union::LoginRequest(request)) => {
                    let request = with_our_proof(request, &ours, &theirs, id, password);
                    Message { union: Some(message::Union::LoginRequest(request)) }.encode_to_vec().into()
                }
                _ => entry.bytes.clone(),
            };
            host.handle_packet(bytes, now);
        }
        drain(&mut host, &mut played, &mut ours, now);
    }
    played
}

/// A proof of the right password becomes one for our challenge; a wrong one stays wrong.
fn with_our_proof(
    mut request: LoginRequest,
    ours: &Hash,
    theirs: &Hash,
    id: &str,
    password: &str,
) -> LoginRequest {
    let right = PasswordHash::new(password, &theirs.salt).proof(&theirs.challenge);
    if request.password == right[..] {
        request.password = PasswordHash::new(password, &ours.salt).proof(&ours.challenge).to_vec().into();
    }
    if request.username == "123456789" || request.username == "555000111" {
        request.username = id.into();
    }
    request
}

fn drain(host: &mut Host, played: &mut Played, ours: &mut Hash, now: Instant) {
    while let Some(output) = host.poll_output() {
        match output {
            Output::Event(event) => played.events.push(event),
            Output::Close => played.closed = true,
            Output::Send(bytes) => {
                let union = message_of(&bytes).unwrap();
                match &union {
                    message::Union::TestDelay(TestDelay { from_client: false, .. }) => {
                        host.handle_packet(bytes, now);
                        continue;
                    }
                    message::Union::Hash(hash) => *ours = hash.clone(),
                    _ => {}
                }
                let text = format!("{union:?}");
                played.sent.push(text);
            }
        }
    }
}

fn host_saw(name: &str) -> Vec<Value> {
    Recording::load(name).sidecar["truth"]["host_saw"].as_array().unwrap().clone()
}

fn int(value: &Value, field: &str) -> i32 {
    value[field].as_i64().unwrap_or(0) as i32
}

#[test]
fn every_mouse_event_of_the_stock_client() {
    let played = play("client/mouse.rdrec", "555000111", CLIENT_PASSWORD);
    let mut want = Vec::new();
    for event in host_saw("client/mouse.rdrec").iter().filter(|e| e["event"] == "mouse") {
        let (mask, x, y) = (int(event, "mask"), int(event, "x"), int(event, "y"));
        let button = match mask >> 3 {
            1 => "Left",
            2 => "Right",
            4 => "Middle",
            8 => "Back",
            16 => "Forward",
            _ => "",
        };
        let modifiers: Vec<String> =
            event["modifiers"].as_array().unwrap().iter().map(|m| m.as_str().unwrap().into()).collect();
        match mask & 7 {
            0 => want.push(format!("move {x} {y}")),
            1 => {
                want.extend(modifiers.iter().map(|m| format!("{m} true")));
                want.push(format!("{button} true"));
                want.extend(modifiers.iter().rev().map(|m| format!("{m} false")));
            }
            2 => want.push(format!("{button} false")),
            3 | 4 => want.push(format!("scroll {} {}", -x, -y)),
            5 => want.push(format!("by {x} {y}")),
            other => panic!("mask type {other}"),
        }
    }
    let got: Vec<String> = played
        .inputs()
        .into_iter()
        .map(|input| match input {
            HostInput::MoveTo(p) => format!("move {} {}", p.x, p.y),
            HostInput::MoveBy(p) => format!("by {} {}", p.x, p.y),
            HostInput::Button { button, down } => format!("{button:?} {down}"),
            HostInput::Scroll { x, y } => format!("scroll {x} {y}"),
            HostInput::Key { key: InputKey::Named(key), down } => format!("{key:?} {down}"),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(got, want);
    assert!(want.len() > 25, "the recording has all of them");
}

#[test]
fn every_key_of_the_stock_client_in_every_mode() {
    let played = play("client/keys.rdrec", "555000111", CLIENT_PASSWORD);
    let (mut positions, mut texts, mut characters, mut named, mut locks) =
        (vec![], vec![], vec![], vec![], 0);
    let mut held = Vec::new();
    let modifiers = ["Shift", "Control", "Alt", "Meta", "RAlt", "RShift", "RControl", "RWin"];
    for event in host_saw("client/keys.rdrec").iter().filter(|e| e["event"] == "key") {
        let down = event["down"] == true || event["press"] == true;
        if let Some(text) = event["seq"].as_str() {
            texts.push(text.replace('\r', "\n"));
        } else if event["control_key"] == "LockScreen" {
            locks += 1;
        } else if let Some(key) = event["control_key"].as_str() {
            if down && !modifiers.contains(&key) {
                named.push(key.to_owned());
            }
        } else if matches!(event["mode"].as_str(), Some("Map" | "Translate")) {
            let code = event["chr"].as_u64().unwrap() as u32;
            let was_held = held.contains(&code);
            held.retain(|c| *c != code);
            if down {
                held.push(code);
            }
            if down != was_held {
                positions.push((code, down));
            }
        } else if down {
            characters.push(char::from_u32(event["chr"].as_u64().unwrap() as u32).unwrap());
        }
    }
    let keys =
        |wanted: &dyn Fn(&HostInput) -> bool| played.inputs().into_iter().filter(|i| wanted(i)).count();
    let got_positions: Vec<(u32, bool)> = played
        .inputs()
        .into_iter()
        .filter_map(|i| match i {
            HostInput::Key { key: InputKey::Position(code), down } => Some((*code, *down)),
            _ => None,
        })
        .collect();
    assert_eq!(got_positions, positions);
    let got_texts: Vec<String> = played
        .inputs()
        .into_iter()
        .filter_map(|i| if let HostInput::Text(t) = i { Some(t.clone()) } else { None })
        .collect();
    assert_eq!(got_texts, texts);
    let got_characters: Vec<char> = played
        .inputs()
        .into_iter()
        .filter_map(|i| match i {
            HostInput::Key { key: InputKey::Character(c), down: true } => Some(*c),
            _ => None,
        })
        .collect();
    assert_eq!(got_characters, characters);
    let got_named: Vec<String> = played
        .inputs()
        .into_iter()
        .filter_map(|i| match i {
            HostInput::Key { key: InputKey::Named(key), down: true } => Some(format!("{key:?}")),
            _ => None,
        })
        .filter(|name| !modifiers.contains(&&name[..]))
        .collect();
    assert_eq!(got_named, named);
    assert_eq!(played.events.iter().filter(|e| **e == Event::LockScreen).count(), locks);
    let presses = keys(&|i| matches!(i, HostInput::Key { down: true, .. }));
    let releases = keys(&|i| matches!(i, HostInput::Key { down: false, .. }));
    assert_eq!(presses, releases, "nothing stays held");
    assert!(positions.len() > 40 && texts.len() > 5 && named.len() > 5, "the recording has all of them");
}

#[test]
fn options_change_what_the_client_is_shown() {
    let played = play("client/options.rdrec", "555000111", CLIENT_PASSWORD);
    let ratios: Vec<f32> = played.views().iter().map(|v| v.ratio).collect();
    for ratio in [0.67, 0.5, 1.5, 0.8] {
        assert!(ratios.contains(&ratio), "{ratio} in {ratios:?}");
    }
    assert!(played.views().iter().any(|v| v.fps == 10));
    assert!(played.views().iter().any(|v| v.pointer), "show-remote-cursor");
    let played = play("client/codec-change.rdrec", "555000111", CLIENT_PASSWORD);
    let wishes: Vec<_> = played.views().iter().filter_map(|v| v.decoding.prefer).collect();
    for codec in [remote::VideoCodec::Vp8, remote::VideoCodec::Vp9, remote::VideoCodec::Av1] {
        assert!(wishes.contains(&codec), "{codec} in {wishes:?}");
    }
}

#[test]
fn displays_are_subscribed_switched_refreshed_and_resized() {
    let played = play("client/displays.rdrec", "555000111", CLIENT_PASSWORD);
    let mut subscriptions: Vec<Vec<usize>> = played.views().iter().map(|v| v.displays.clone()).collect();
    subscriptions.dedup();
    assert!(subscriptions.starts_with(&[vec![0], vec![0, 1], vec![1]]), "{subscriptions:?}");
    assert!(subscriptions.contains(&vec![]), "{subscriptions:?}");
    let refreshed: Vec<_> = played
        .events
        .iter()
        .filter_map(|e| if let Event::Refresh(d) = e { Some(*d) } else { None })
        .collect();
    assert_eq!(refreshed, [None, Some(0), Some(1), None]);
    assert!(played.events.contains(&Event::SetSize { display: 0, size: Size::new(800, 600) }));
    assert!(played.events.contains(&Event::Input(HostInput::MoveTo(Point::new(700, 300)))));
    assert!(played.sent.iter().any(|m| m.contains("SwitchDisplay")));
}

#[test]
fn clipboards_arrive_and_stop_when_switched_off() {
    let played = play("client/clipboard.rdrec", "555000111", CLIENT_PASSWORD);
    let got: Vec<String> = played
        .events
        .iter()
        .filter_map(|e| match e {
            Event::Clipboard(items) => Some(String::from_utf8(items[0].content.to_vec()).unwrap()),
            _ => None,
        })
        .collect();
    let saw = host_saw("client/clipboard.rdrec");
    let want: Vec<&Value> = saw.iter().filter(|e| e["event"] == "clipboard").collect();
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(want) {
        assert!(got.starts_with(want["text"].as_str().unwrap()), "{got}");
        assert_eq!(got.len() as u64, want["len"].as_u64().unwrap());
    }
}

#[test]
fn chat_screenshot_recording_and_what_is_not_supported() {
    let played = play("client/misc.rdrec", "555000111", CLIENT_PASSWORD);
    assert!(played.events.contains(&Event::Chat("hello from the client ✓".into())));
    assert!(played.events.contains(&Event::Screenshot { display: 0 }));
    let recording: Vec<bool> = played.views().iter().map(|v| v.recording).collect();
    assert!(recording.contains(&true) && recording.last() == Some(&false), "{recording:?}");
    assert!(played.events.contains(&Event::Restart), "asked while it was permitted");
    assert!(played.sent.iter().any(|m| m.contains("VoiceCallResponse") && m.contains("accepted: false")));
    assert!(played.sent.iter().any(|m| m.contains("BackNotification")));
}

#[test]
fn logins_go_as_they_went() {
    let names = [
        "login-auto",
        "login-vp9",
        "login-vp8",
        "login-av1",
        "login-vp9-i444",
        "login-options",
        "login-options-2",
        "wrong-password",
        "no-password",
        "dropped",
        "dropped-2",
        "click-accepted",
    ];
    for name in names {
        let played = play(&format!("client/{name}.rdrec"), "555000111", CLIENT_PASSWORD);
        let authorised = played.events.iter().filter(|e| matches!(e, Event::Authorised(_))).count();
        assert_eq!(authorised, 1, "{name}");
        if name.ends_with("-2") {
            continue; // What the host saw stands with the first connection of the two.
        }
        let saw = host_saw(&format!("client/{name}.rdrec"));
        let errors = saw.iter().filter(|e| e["event"] == "login error").count();
        let sent = played.sent.iter().filter(|m| m.contains("LoginResponse") && m.contains("Error(")).count();
        assert_eq!(sent, errors, "{name}");
    }
    for name in ["click-refused", "closed-by-host"] {
        let played = play(&format!("client/{name}.rdrec"), "555000111", CLIENT_PASSWORD);
        assert!(played.closed, "{name}");
        assert!(played.sent.last().unwrap().contains("Closed manually by the peer"), "{name}");
    }
    let played = play("client/camera-none.rdrec", "555000111", CLIENT_PASSWORD);
    assert!(played.sent.iter().any(|m| m.contains("No permission of viewing camera")));
}

#[test]
fn denied_input_does_nothing() {
    let played = play("client/denied.rdrec", "555000111", CLIENT_PASSWORD);
    assert_eq!(played.inputs(), Vec::<&HostInput>::new());
}

#[test]
fn the_independent_client_of_the_session_recordings_is_understood_too() {
    for name in [
        "login-wrong-then-right",
        "video-vp9",
        "video-vp8",
        "refresh",
        "mouse",
        "keys",
        "display-two",
        "misc",
    ] {
        let played = play(&format!("session/{name}.rdrec"), "123456789", SESSION_PASSWORD);
        let authorised = played.events.iter().filter(|e| matches!(e, Event::Authorised(_))).count();
        assert_eq!(authorised, 1, "{name}");
        assert!(played.closed, "{name}: the client says that it leaves");
    }
    let played = play("session/refresh.rdrec", "123456789", SESSION_PASSWORD);
    let refreshed: Vec<_> = played
        .events
        .iter()
        .filter_map(|e| if let Event::Refresh(d) = e { Some(*d) } else { None })
        .collect();
    assert_eq!(refreshed, [None, Some(0)]);
    let played = play("session/keys.rdrec", "123456789", SESSION_PASSWORD);
    let presses = |down| {
        played.inputs().iter().filter(|i| matches!(i, HostInput::Key { down: d, .. } if *d == down)).count()
    };
    assert_eq!(presses(true), presses(false));
}

fn hex(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap();
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

/// The stock client's sealed connection, opened by our machine with the recorded host's ephemeral secret.
#[test]
fn a_recorded_key_exchange_opens_and_so_does_what_follows() {
    for (folder, file) in [("raw-punched", "03-client-host-tcp"), ("raw-same-address", "03-client-host-tcp")]
    {
        let root = deskhand_tests::recordings().join("client").join(folder);
        let keys: Value = serde_json::from_slice(&std::fs::read(root.join("keys.json")).unwrap()).unwrap();
        let wire = Recording::read(&root.join(format!("{file}.rdrec")));
        let plain = Recording::read(&root.join("session.rdrec"));
        let mut context = context(&plain, "555000111", CLIENT_PASSWORD);
        context.identity = Some(SigningKey::from_bytes(&hex(&keys["host_ed25519_secret_64"])).unwrap());
        let secret = hex(&keys["host_secret"]).try_into().unwrap();
        let mut host = Host::new(context, HostRandom { secret, challenge: [9; 6] }, Instant::now());
        let first = host.poll_output().unwrap();
        let host_side = packets(&wire, 1);
        assert_eq!(
            first,
            Output::Send(host_side[0].clone()),
            "{folder}: SignedId is the recorded one, bit for bit"
        );
        let client_side = packets(&wire, 0);
        for packet in client_side {
            host.handle_packet(packet, Instant::now());
        }
        let outputs: Vec<Output> = std::iter::from_fn(|| host.poll_output()).collect();
        assert!(outputs.contains(&Output::Event(Event::Secured { sealed: true })), "{folder}");
        // Every sealed packet opened, and the recorded proof is for another challenge than ours.
        assert!(outputs.contains(&Output::Event(Event::WrongPassword)), "{folder}: {outputs:?}");
        assert_eq!(host.refusals().undecodable, 0, "{folder}");
    }
}

fn packets(recording: &Recording, direction: u8) -> Vec<Bytes> {
    let mut deframer = Deframer::new(1 << 24);
    let stream: BytesMut = recording.stream(direction)[..].into();
    deframer.extend(&stream);
    std::iter::from_fn(|| deframer.next_packet().unwrap()).collect()
}
