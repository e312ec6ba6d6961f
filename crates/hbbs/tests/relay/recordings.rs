//! What stock peers said to stock hbbr 1.1.17, said to ours.

use crate::harness::{TestRelay, read, rest};
use deskhand_tests::recording::Recording;
use hbbs::relay::{Refusal, RelayConfig};
use std::{
    collections::BTreeMap,
    io::Write,
    net::{Shutdown, SocketAddr, TcpStream},
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

fn load(names: &[&str]) -> Vec<Recording> {
    names.iter().map(|name| Recording::load(&format!("hbbs/{name}.rdrec"))).collect()
}

/// A relay with the key of the recordings.
fn relay(recordings: &[Recording], change: impl FnOnce(&mut RelayConfig)) -> TestRelay {
    let mut config = TestRelay::config();
    config.key = Some(recordings[0].header["key"].as_str().unwrap().into());
    change(&mut config);
    TestRelay::start(config)
}

/// Plays what the peers sent, in the recorded order, and reads what they got as far as they did.
/// `addrs` is where each connection goes.
fn replay(recordings: &[Recording], addrs: &[SocketAddr]) -> Vec<TcpStream> {
    let mut order: Vec<(u32, usize, usize)> = Vec::new();
    for (n, recording) in recordings.iter().enumerate() {
        order.extend(recording.entries.iter().enumerate().map(|(i, e)| (e.at_ms, n, i)));
    }
    order.sort_unstable();
    let mut streams = BTreeMap::new();
    let mut got = vec![Vec::new(); recordings.len()];
    let mut due = vec![0; recordings.len()];
    for (_, n, i) in order {
        let entry = &recordings[n].entries[i];
        let stream = streams.entry(n).or_insert_with(|| {
            let stream = TcpStream::connect(addrs[n]).unwrap();
            stream.set_read_timeout(Some(crate::harness::DEADLINE)).unwrap();
            stream
        });
        if entry.direction == 0 {
            // A peer answers what it has read.
            got[n].extend(read(stream, std::mem::take(&mut due[n])));
            stream.write_all(&entry.bytes).unwrap();
        } else {
            due[n] += entry.bytes.len();
        }
    }
    for (n, stream) in &mut streams {
        got[*n].extend(read(stream, due[*n]));
        let recorded = recordings[*n].stream(1);
        if recordings[*n].header["b"] == "hbbr" {
            // Cut up differently, but the same bytes in the same order.
            assert!(got[*n] == recorded, "connection {n} got other bytes");
        } else {
            assert_same_after_handshake(&got[*n], &recorded);
        }
    }
    streams.into_values().collect()
}

/// The texts of the handshake's headers are the libraries'; what follows is the protocol's.
fn assert_same_after_handshake(ours: &[u8], theirs: &[u8]) {
    let split = |bytes: &[u8]| {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("an HTTP head") + 4;
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
        let mut head: Vec<String> = head.split("\r\n").map(str::to_owned).collect();
        head.sort();
        (head, bytes[end..].to_vec())
    };
    assert_eq!(split(ours), split(theirs));
}

#[test]
fn pairs_pass_the_recorded_bytes() {
    let recordings = load(&["relay/00-host-hbbr-tcp", "relay/01-client-hbbr-tcp"]);
    let relay = relay(&recordings, |_| {});
    let addrs = [relay.addr(); 2];
    let mut sides = replay(&recordings, &addrs);
    // The recorded host closes first, and the relay the client's connection then.
    sides[0].shutdown(Shutdown::Both).unwrap();
    assert_eq!(rest(&mut sides[1]), b"");
}

#[test]
fn recorded_refusals_are_refused() {
    let names = ["relay/02-host-hbbr-tcp-2", "relay/03-host-hbbr-tcp-3", "relay/04-host-hbbr-tcp-4"];
    let recordings = load(&names);
    let relay = relay(&recordings, |_| {});
    let addrs = [relay.addr(); 3];
    for mut side in replay(&recordings, &addrs) {
        assert_eq!(rest(&mut side), b"");
    }
    for why in [Refusal::WrongKey, Refusal::EmptyUuid, Refusal::OtherMessage] {
        relay.wait_for(why.kind(), |r| r.counters().refused(why) == 1);
    }
}

/// Stock closed after 30.0 s without a partner and 33.0 s of silence; here a hundredth of that.
#[test]
fn recorded_timeouts_end_the_same_way() {
    let names = [
        "relay-timeout/00-host-hbbr-tcp",
        "relay-timeout/01-host-hbbr-tcp-2",
        "relay-timeout/02-host-hbbr-tcp-3",
    ];
    let recordings = load(&names);
    let short = Duration::from_millis(300);
    let relay = relay(&recordings, |config| {
        (config.pairing_timeout, config.idle_timeout) = (short, short);
    });
    let start = Instant::now();
    let addrs = [relay.addr(); 3];
    for mut side in replay(&recordings, &addrs) {
        assert_eq!(rest(&mut side), b"");
    }
    assert!(start.elapsed() >= short);
    relay.wait_for("one without a partner", |r| r.counters().refused(Refusal::NoPartner) == 1);
    relay.wait_for("the silent pair to be counted", |r| r.counters().pairs_idle.load(Relaxed) == 1);
}

#[test]
fn a_recorded_websocket_client_and_tcp_host_get_the_recorded_bytes() {
    let recordings = load(&["web/02-host-hbbr-tcp", "web/03-client-hbbr-ws-tcp"]);
    let relay = relay(&recordings, |_| {});
    let addrs = [relay.addr(), relay.handle.web_addrs()[0]];
    let mut sides = replay(&recordings, &addrs);
    assert!(relay.handle.pairs()[0].web);
    sides[1].shutdown(Shutdown::Both).unwrap();
    assert_eq!(rest(&mut sides[0]), b"");
}
