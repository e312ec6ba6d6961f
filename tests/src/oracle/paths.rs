//! The machines that talk with hbbs, fed by a server that says anything and a network that does anything.

use super::{joined, pieces, wire};
use bytes::Bytes;
use hbb_common::addr::mangle;
use hbb_common::key::SigningKey;
use hbb_common::rendezvous::rendezvous_message::Union;
use hbb_common::rendezvous::{NatType, PunchHoleResponse, RelayResponse, RendezvousMessage};
use prost::Message as _;
use session_proto::dial::{ConnId, Dial, Output, Request};
use session_proto::registration::{self, Channel, Registration, RegistrationConfig};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What one step makes us do at most.
const OUTPUTS: usize = 12;

/// More attempts and repetitions than any dialling has.
const STEPS: usize = 100;

/// What became of a connection that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conn {
    Wanted,
    Open,
    Gone,
}

/// The driver's side of a dialling, and what must hold of it.
struct Dialling {
    dial: Dial,
    now: Instant,
    conns: BTreeMap<ConnId, Conn>,
    over: bool,
}

impl Dialling {
    fn new(choice: u8) -> Self {
        let now = Instant::now();
        let server = SigningKey::from_seed(&[1; 32]).public();
        let mut dial = Dial::new(Request {
            id: "123456789".into(),
            key_text: "key".into(),
            server_key: (choice & 1 != 0).then_some(server),
            pinned: (choice & 2 != 0).then_some(server),
            nat: NatType::UnknownNat,
            force_relay: choice & 4 != 0,
            was_relayed: choice & 8 != 0,
            default_relay: if choice & 16 != 0 { "relay.example".into() } else { String::new() },
            uuids: ["u1", "u2", "u3", "u4"].map(Into::into),
        });
        dial.start(now);
        let mut dialling = Self { dial, now, conns: BTreeMap::new(), over: false };
        dialling.drain();
        dialling
    }

    fn drain(&mut self) {
        let mut outputs = 0;
        while let Some(output) = self.dial.poll_output() {
            assert!(!self.over, "something follows the end: {output:?}");
            outputs += 1;
            match output {
                Output::ConnectServer { conn }
                | Output::ConnectPeer { conn, .. }
                | Output::ConnectRelay { conn, .. } => {
                    assert_eq!(self.conns.insert(conn, Conn::Wanted), None, "a number is used again");
                }
                Output::Send { conn, .. } => assert_eq!(self.conns[&conn], Conn::Open, "sent to nowhere"),
                Output::Close { conn } => {
                    let old = self.conns.insert(conn, Conn::Gone);
                    assert!(old.is_some_and(|old| old != Conn::Gone), "closed twice");
                }
                Output::Done { conn, .. } => {
                    assert_eq!(self.conns[&conn], Conn::Open, "the path is there");
                    let mut others = self.conns.iter().filter(|(other, _)| **other != conn);
                    assert!(others.all(|(_, state)| *state == Conn::Gone), "{:?}", self.conns);
                    self.over = true;
                }
                Output::Failed(error) => {
                    assert!(!error.to_string().is_empty());
                    self.over = true;
                }
            }
        }
        assert!(outputs <= OUTPUTS, "{outputs} outputs of one step");
        assert!(!self.over || self.dial.poll_timeout().is_none(), "time passes after the end");
        let waits =
            self.conns.values().any(|state| *state != Conn::Gone) || self.dial.poll_timeout().is_some();
        assert!(self.over || waits, "nothing is waited for");
    }

    /// What the network and the server do: the kind in the first byte, the connection in the second.
    fn happen(&mut self, piece: &[u8]) {
        let [kind, which, rest @ ..] = piece else { return };
        let Some((&conn, &state)) = self.conns.iter().nth(usize::from(*which) % self.conns.len().max(1))
        else {
            return;
        };
        match (kind % 6, state) {
            (0, Conn::Wanted) => {
                self.conns.insert(conn, Conn::Open);
                self.dial.handle_connected(conn, self.now);
            }
            (1, Conn::Wanted) => {
                self.conns.insert(conn, Conn::Gone);
                self.dial.handle_connect_failed(conn, "refused");
            }
            (2, Conn::Open) => self.dial.handle_packet(conn, Bytes::copy_from_slice(rest), self.now),
            (3, Conn::Open) => {
                self.conns.insert(conn, Conn::Gone);
                self.dial.handle_closed(conn);
            }
            (4, _) => self.pass(Duration::from_millis(u64::from(*which) * 40)),
            (5, _) => self.dial.learn_nat(NatType::Symmetric),
            _ => {}
        }
        self.drain();
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        if self.dial.poll_timeout().is_some_and(|at| at <= self.now) {
            self.dial.handle_timeout(self.now);
            self.drain();
            assert!(
                self.dial.poll_timeout().is_none_or(|at| at > self.now),
                "a time limit that never passes"
            );
        }
    }
}

/// A dialling survives any server and any network, and comes to an end.
pub(super) fn dial(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else { return };
    let mut dialling = Dialling::new(*choice);
    for piece in pieces(rest) {
        if dialling.over {
            return;
        }
        dialling.happen(piece);
    }
    for _ in 0..STEPS {
        if dialling.over {
            return;
        }
        let wanted = dialling.conns.iter().find(|(_, state)| **state == Conn::Wanted).map(|(conn, _)| *conn);
        match wanted {
            Some(conn) => {
                dialling.conns.insert(conn, Conn::Gone);
                dialling.dial.handle_connect_failed(conn, "unreachable");
                dialling.drain();
            }
            None => dialling.pass(Duration::from_secs(18)),
        }
    }
    panic!("it does not end: {:?}", dialling.dial);
}

/// A direct path, a relayed one, a peer's own relay, a refusal; and what else servers say.
pub(super) fn dialled() -> Vec<Vec<u8>> {
    const LONGEST: usize = 4_000;
    let message = |union| RendezvousMessage { union: Some(union) }.encode_to_vec();
    let found = message(Union::PunchHoleResponse(PunchHoleResponse {
        socket_addr: mangle(([203, 0, 113, 7], 40_000).into(), 7).into(),
        relay_server: "relay.example".into(),
        ..Default::default()
    }));
    let chosen = message(Union::RelayResponse(RelayResponse { uuid: "theirs".into(), ..Default::default() }));
    let comes = message(Union::RelayResponse(RelayResponse::default()));
    let says = |conn, message: &[u8]| [&[2, conn][..], message].concat();
    let direct = vec![vec![0, 0], says(0, &found), vec![0, 1], says(1, b"hello")];
    let late = vec![vec![0, 0], says(0, &found), vec![4, 250], vec![0, 2], says(2, &comes), vec![0, 3]];
    let relayed = vec![vec![0, 0], says(0, &found), vec![1, 1], vec![0, 2], says(2, &comes), vec![0, 3]];
    let theirs = vec![vec![0, 0], says(0, &chosen), vec![0, 1], vec![3, 1], vec![0, 2]];
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for (choice, script) in [(16, direct), (17, late), (24, relayed), (0, theirs)] {
        let script = joined(script.iter().map(|piece| &piece[..]), LONGEST);
        seeds.push([&[choice][..], &script].concat());
    }
    for said in wire::rendezvous_messages() {
        let script = joined([&[0, 0][..], &says(0, &said)], LONGEST);
        seeds.push([&[16][..], &script].concat());
    }
    seeds
}

/// A registration survives any server, and never spins.
pub(super) fn registration(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else { return };
    let mut now = Instant::now();
    let stream = choice & 1 != 0;
    let config = RegistrationConfig {
        channel: if stream { Channel::Stream } else { Channel::Datagrams },
        id: "123456789".into(),
        id_is_chosen: choice & 2 != 0,
        uuid: Bytes::from_static(b"machine"),
        public_key: Bytes::from_static(&[7; 32]),
        seed: 1,
    };
    let mut machine = Registration::new(config, now);
    for piece in pieces(rest) {
        now += Duration::from_millis(piece.first().map_or(0, |byte| u64::from(*byte) * 100));
        if machine.poll_timeout().is_some_and(|at| at <= now) {
            machine.handle_timeout(now);
            if served(&mut machine) {
                return;
            }
            assert!(machine.poll_timeout().is_none_or(|at| at > now), "a time limit that never passes");
        }
        machine.handle_packet(piece.get(1..).unwrap_or_default(), now);
        if served(&mut machine) {
            return;
        }
        assert!((6..=100).contains(&machine.id().len()), "{:?}", machine.id());
    }
    assert!(machine.poll_timeout().is_some(), "a host that forgets to register");
}

/// Takes the outputs out; `true`: the connection is given up.
fn served(machine: &mut Registration) -> bool {
    let (mut outputs, mut over) = (0, false);
    while let Some(output) = machine.poll_output() {
        outputs += 1;
        over |= output == registration::Output::Disconnect;
    }
    assert!(outputs <= OUTPUTS, "{outputs} outputs of one step");
    over
}

/// Every message of a server, by datagram and by stream.
pub(super) fn registered() -> Vec<Vec<u8>> {
    const LONGEST: usize = 4_000;
    let said = wire::rendezvous_messages();
    let mut seeds = Vec::new();
    for choice in 0..4 {
        for messages in said.chunks(8) {
            let pieces: Vec<Vec<u8>> = messages.iter().map(|message| [&[20][..], message].concat()).collect();
            let script = joined(pieces.iter().map(|piece| &piece[..]), LONGEST);
            seeds.push([&[choice][..], &script].concat());
        }
    }
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_come_as_far_as_a_path() {
        let over = |seed: &Vec<u8>| {
            let mut dialling = Dialling::new(seed[0]);
            pieces(&seed[1..]).into_iter().for_each(|piece| {
                if !dialling.over {
                    dialling.happen(piece);
                }
            });
            (dialling.over, dialling.conns.len())
        };
        let seeds = dialled();
        assert_eq!(over(&seeds[0]), (true, 2), "direct");
        assert_eq!(over(&seeds[2]), (false, 4), "at the relay, which the peer has not joined yet");
    }
}
