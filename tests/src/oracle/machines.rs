//! The machines of a session, fed by a peer that says anything.

use super::{joined, pieces};
use crate::recording::Recording;
use crate::recordings;
use bytes::Bytes;
use hbb_common::session::{Message, message};
use prost::Message as _;
use remote::target::Quality;
use remote::{Button, DisplayId, Input, Key, NamedKey, Permissions, Point, Secret, Size, VideoCodec};
use session_proto::client::{self, Client};
use session_proto::host::{self, Host};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longer conversations teach nothing more.
const LONGEST: usize = 8_000;

/// What one packet of the peer can make us do and say at most.
const OUTPUTS: usize = 200;

/// What one packet can make us send, besides what it held itself.
const SENT: usize = 64 * 1024;

/// The outputs of one step are few and small, and nothing follows the end.
struct Judge {
    over: bool,
    heard: usize,
}

impl Judge {
    fn step(&mut self, sent: &[usize], outputs: usize, closed: bool) {
        assert!(!(self.over && outputs > 0), "something follows the end");
        assert!(outputs <= OUTPUTS, "{outputs} outputs of one step");
        let bytes: usize = sent.iter().sum();
        assert!(bytes <= SENT + self.heard, "{bytes} bytes sent for {} heard", self.heard);
        self.over |= closed;
    }
}

/// A client survives any host, whatever its user does meanwhile.
pub(super) fn client(data: &[u8]) {
    talk_to_client(data);
}

/// Gives whether the host let it in.
fn talk_to_client(data: &[u8]) -> bool {
    let mut now = Instant::now();
    let mut live = false;
    let mut machine = Client::new(client_config(), now);
    let mut judge = Judge { over: false, heard: 0 };
    let mut drain = |machine: &mut Client, heard| {
        let (mut sent, mut outputs, mut closed) = (Vec::new(), 0, false);
        while let Some(output) = machine.poll_output() {
            assert!(!closed, "something follows the end: {output:?}");
            outputs += 1;
            match output {
                client::Output::Send(packet) => sent.push(packet.len()),
                client::Output::Close => closed = true,
                client::Output::Event(_) => {}
            }
        }
        judge.heard = heard;
        judge.step(&sent, outputs, closed);
    };
    drain(&mut machine, 0);
    for (nth, packet) in pieces(data).into_iter().enumerate() {
        now += Duration::from_millis(packet.first().copied().unwrap_or(0).into());
        machine.handle_packet(Bytes::copy_from_slice(packet), now);
        drain(&mut machine, packet.len());
        live |= machine.is_live();
        act(&mut machine, nth, now);
        drain(&mut machine, 0);
        if machine.poll_timeout().is_some_and(|at| at <= now) {
            machine.handle_timeout(now);
            drain(&mut machine, 0);
            assert!(machine.poll_timeout().is_none_or(|at| at > now), "a time limit that never passes");
        }
    }
    machine.handle_timeout(now + Duration::from_secs(3_600));
    drain(&mut machine, 0);
    assert!(machine.poll_timeout().is_none(), "silence for an hour does not end it");
    live
}

fn client_config() -> client::Config {
    client::Config {
        host_id: "123456789".into(),
        security: client::Security::Plain,
        my_id: "987654321".into(),
        my_name: "oracle".into(),
        session_id: 1,
        password: Some(Secret::new("beacon-Light-7")),
        decoders: vec![VideoCodec::Vp9, VideoCodec::Vp8],
        prefer: Some(VideoCodec::Vp8),
        quality: Quality::default(),
        fps: Some(10),
    }
}

/// What a user does after the packet with this number. Refusals are answers like any other.
fn act(machine: &mut Client, nth: usize, now: Instant) {
    let display = machine.displays().last().map_or(DisplayId(0), |display| display.id);
    let refused = match nth % 8 {
        0 => machine.refresh(display).err(),
        1 => machine.subscribe(display).and_then(|_| machine.probe(now)).err(),
        2 => machine.screenshot(display).err(),
        3 => machine
            .input(&[
                Input::Move { display, to: Point { x: 10, y: 10 } },
                Input::ButtonDown { button: Button::Left, held: Vec::new() },
                Input::ButtonUp { button: Button::Left },
                Input::Scroll { x: -1, y: 1, held: Vec::new() },
            ])
            .err(),
        4 => machine
            .input(&[
                Input::Press { key: Key::Named(NamedKey::CtrlAltDel), held: Vec::new() },
                Input::Text("naïve\n漢字".into()),
                Input::Clipboard("漢字".into()),
            ])
            .err(),
        5 => machine.second_factor(&Secret::new("123456"), now).err(),
        6 => machine.password(Secret::new("other"), now).err(),
        _ => {
            machine.picture_size(display, Size { width: 640, height: 480 });
            None
        }
    };
    if let Some(error) = refused {
        assert!(!error.to_string().is_empty());
    }
}

/// A host survives any client, one that is let in by the person in front of it.
pub(super) fn host(data: &[u8]) {
    talk_to_host(data);
}

/// Gives whether the client came in.
fn talk_to_host(data: &[u8]) -> bool {
    let mut now = Instant::now();
    let mut live = false;
    let random = host::HostRandom { secret: [3; 32], challenge: [1, 2, 3, 4, 5, 6] };
    let mut machine = Host::new(host_context(), random, now);
    let mut judge = Judge { over: false, heard: 0 };
    let mut drain = |machine: &mut Host, heard, now| {
        let (mut sent, mut outputs, mut closed) = (Vec::new(), 0, false);
        while let Some(output) = machine.poll_output() {
            assert!(!closed, "something follows the end: {output:?}");
            outputs += 1;
            match output {
                host::Output::Send(packet) => sent.push(packet.len()),
                host::Output::Close => closed = true,
                host::Output::Event(host::Event::ApprovalWanted) => machine.accept(now),
                host::Output::Event(host::Event::Screenshot { display }) => {
                    machine.send_screenshot(display, Ok(Bytes::from_static(b"PNG")));
                }
                host::Output::Event(_) => {}
            }
        }
        judge.heard = heard;
        judge.step(&sent, outputs, closed);
    };
    drain(&mut machine, 0, now);
    for (nth, packet) in pieces(data).into_iter().enumerate() {
        now += Duration::from_millis(packet.first().copied().unwrap_or(0).into());
        machine.handle_packet(Bytes::copy_from_slice(packet), now);
        drain(&mut machine, packet.len(), now);
        live |= machine.is_live();
        if nth % 3 == 0 {
            machine.send_clipboard("lighthouse");
            machine.send_pointer(Point { x: 5, y: 6 }, now);
            drain(&mut machine, 0, now);
        }
        if machine.poll_timeout().is_some_and(|at| at <= now) {
            machine.handle_timeout(now);
            drain(&mut machine, 0, now);
            assert!(machine.poll_timeout().is_none_or(|at| at > now), "a time limit that never passes");
        }
    }
    for hours in 1..=2 {
        let later = now + Duration::from_secs(3_600 * hours);
        machine.handle_timeout(later);
        drain(&mut machine, 0, later);
    }
    assert!(machine.is_over(), "silence for two hours does not end it");
    assert!(machine.poll_timeout().is_none());
    live
}

fn host_context() -> host::HostContext {
    let display = |name: &str, x| host::HostDisplay {
        name: name.into(),
        origin: Point { x, y: 0 },
        size: Size { width: 640, height: 480 },
        primary: x == 0,
        modes: vec![Size { width: 640, height: 480 }, Size { width: 320, height: 240 }],
        original: None,
    };
    host::HostContext {
        id: "123456789".into(),
        identity: None,
        allow_plain: true,
        salt: "salt".into(),
        passwords: Arc::default(),
        approve: host::ApproveMode::Click,
        permissions: Permissions::default(),
        remote_ip: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)),
        attempts: Arc::default(),
        announce: host::Announcement {
            platform: "Linux".into(),
            version: "1.4.9".into(),
            displays: vec![display("left", 0), display("right", 640)],
            ..Default::default()
        },
    }
}

/// What recorded hosts said, a conversation each.
pub(super) fn recorded_hosts() -> Vec<Vec<u8>> {
    conversations("session", 1)
}

/// What recorded clients said, addressed to our host.
pub(super) fn recorded_clients() -> Vec<Vec<u8>> {
    conversations("client", 0)
}

fn conversations(folder: &str, direction: u8) -> Vec<Vec<u8>> {
    const SHORT: usize = 1_500;
    let mut seeds = Vec::new();
    for file in std::fs::read_dir(recordings().join(folder)).expect("the recordings are in the checkout") {
        let path = file.expect("a readable folder").path();
        if path.extension().is_none_or(|e| e != "rdrec") {
            continue;
        }
        let entries = Recording::read(&path).entries.into_iter();
        let said = entries.filter(|e| e.direction == direction && e.bytes.len() <= SHORT);
        let said: Vec<Bytes> = said.map(|e| addressed(e.bytes)).collect();
        seeds.push(joined(said.iter().map(|bytes| &bytes[..]), LONGEST));
    }
    seeds.sort();
    seeds
}

/// A login request reaches a host only if it names it.
fn addressed(packet: Bytes) -> Bytes {
    match Message::decode(packet.clone()) {
        Ok(Message { union: Some(message::Union::LoginRequest(mut request)) }) => {
            request.username = "123456789".into();
            Message { union: Some(message::Union::LoginRequest(request)) }.encode_to_vec().into()
        }
        _ => packet,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_recorded_conversations_get_as_far_as_a_live_session() {
        let live =
            |seeds: &[Vec<u8>], talk: fn(&[u8]) -> bool| seeds.iter().filter(|seed| talk(seed)).count();
        let (hosts, clients) = (recorded_hosts(), recorded_clients());
        assert!(live(&hosts, talk_to_client) > hosts.len() / 2);
        assert!(live(&clients, talk_to_host) > clients.len() / 2);
    }
}
