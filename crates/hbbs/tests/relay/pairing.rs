//! Who becomes a pair, and that bytes come through as they are.

use crate::harness::{DEADLINE, Pattern, TestRelay, exchange, read, request, rest};
use hbbs::relay::Refusal;
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpStream},
    sync::{Arc, Barrier, atomic::Ordering::Relaxed},
    time::Instant,
};

#[test]
fn two_sides_of_a_uuid_are_a_pair_and_the_relay_says_nothing_itself() {
    let relay = TestRelay::default();
    let (mut a, mut b) = relay.pair("u");
    exchange(&mut a, &mut b, &[0, 1, 2, 255]);
    a.shutdown(Shutdown::Both).unwrap();
    assert_eq!(rest(&mut b), b"");
    relay.wait_for("the pair to close", |r| r.counters().pairs_closed.load(Relaxed) == 1);
    assert!(relay.handle.pairs().is_empty());
    let counters = relay.handle.counters();
    assert_eq!((counters.accepted.load(Relaxed), counters.parked.load(Relaxed)), (2, 1));
}

#[test]
fn what_was_sent_early_or_behind_the_request_arrives() {
    let relay = TestRelay::default();
    let mut first = relay.ask("u");
    let mut early = vec![0; 300_000];
    Pattern::new(1).fill(&mut early);
    let writer = {
        let (mut first, early) = (first.try_clone().unwrap(), early.clone());
        std::thread::spawn(move || first.write_all(&early).unwrap())
    };
    relay.wait_for("the first side to be parked", |r| r.counters().parked.load(Relaxed) == 1);
    let mut second = relay.connect();
    second.write_all(&[&request("u", "")[..], b"glued behind"].concat()).unwrap();
    assert_eq!(read(&mut second, early.len()), early);
    assert_eq!(read(&mut first, 12), b"glued behind");
    writer.join().unwrap();
}

#[test]
fn a_request_may_come_in_pieces() {
    let relay = TestRelay::default();
    let mut first = relay.connect();
    for byte in request("u", "") {
        first.write_all(&[byte]).unwrap();
    }
    relay.wait_for("the first side to be parked", |r| r.counters().parked.load(Relaxed) == 1);
    let mut second = relay.ask("u");
    exchange(&mut second, &mut first, b"hello");
}

#[test]
fn a_third_side_of_a_uuid_begins_anew() {
    let relay = TestRelay::default();
    let (mut a, mut b) = relay.pair("u");
    let (mut c, mut d) = relay.pair("u");
    exchange(&mut a, &mut b, b"first pair");
    exchange(&mut d, &mut c, b"second pair");
    assert_eq!(relay.handle.pairs().len(), 2);
}

#[test]
fn a_uuid_can_be_used_again_after_its_pair_has_ended() {
    let relay = TestRelay::default();
    for round in 0..3 {
        let (a, mut b) = relay.pair("u");
        drop(a);
        assert_eq!(rest(&mut b), b"", "round {round}");
    }
}

#[test]
fn a_waiting_side_that_leaves_frees_its_place_at_once() {
    let relay = TestRelay::default();
    for early in [&b""[..], b"said something before"] {
        let mut first = relay.ask("u");
        first.write_all(early).unwrap();
        relay.wait_for("it to be parked", |r| r.waiting() == 1);
        let left = Instant::now();
        drop(first);
        relay.wait_for("its place to be free", |r| r.waiting() == 0);
        assert!(left.elapsed() < relay_timeouts_are_far(), "freed by leaving, not by time");
    }
    assert_eq!(relay.handle.counters().refused(Refusal::LeftWaiting), 2);
    // And its uuid belongs to nobody.
    let (mut a, mut b) = relay.pair("u");
    exchange(&mut a, &mut b, b"new");
}

fn relay_timeouts_are_far() -> std::time::Duration {
    hbb_common::defaults::RELAY_TIMEOUT / 3
}

#[test]
fn the_last_bytes_arrive_before_the_end() {
    let relay = TestRelay::default();
    let (mut a, mut b) = relay.pair("u");
    let mut sent = vec![0; 5_000_000];
    Pattern::new(2).fill(&mut sent);
    let writer = {
        let sent = sent.clone();
        std::thread::spawn(move || a.write_all(&sent).unwrap())
    };
    assert_eq!(read(&mut b, 1000), sent[..1000]);
    // The sender is closed as soon as it has written; most is on its way then.
    assert!(rest(&mut b) == sent[1000..]);
    writer.join().unwrap();
}

#[test]
fn a_side_that_does_not_take_its_bytes_is_heard_all_the_same() {
    let relay = TestRelay::default();
    let (mut a, mut b) = relay.pair("u");
    // Until nothing fits any more between them.
    a.set_nonblocking(true).unwrap();
    let (mut stuck, mut sent) = (0, 0);
    while stuck < 1000 {
        match a.write(&[1; 65_536]) {
            Ok(n) => (stuck, sent) = (0, sent + n),
            Err(_) => {
                stuck += 1;
                std::thread::yield_now();
            }
        }
    }
    a.set_nonblocking(false).unwrap();
    assert!(sent > 1 << 16, "{sent} bytes are on their way");
    for n in 0..100_u32 {
        exchange(&mut b, &mut a, &n.to_le_bytes());
    }
}

#[test]
fn a_side_that_stops_sending_ends_the_pair_and_still_gets_what_was_on_its_way() {
    let relay = TestRelay::default();
    let (mut a, mut b) = relay.pair("u");
    b.write_all(b"on its way").unwrap();
    a.write_all(b"last words").unwrap();
    a.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut b), b"last words");
    assert_eq!(rest(&mut a), b"on its way");
    relay.wait_for("the pair to close", |r| r.counters().pairs_closed.load(Relaxed) == 1);
}

#[test]
fn a_hundred_megabytes_arrive_whole_and_in_order_both_ways() {
    const SIZE: usize = 100 << 20;
    let relay = TestRelay::default();
    let (a, b) = relay.pair("u");
    let send = |mut to: TcpStream, seed: u64| {
        std::thread::spawn(move || {
            let mut pattern = Pattern::new(seed);
            // Sizes on both sides of what is copied and what is spliced.
            let mut bytes = vec![0; 256 * 1024];
            let (mut left, mut turn) = (SIZE, 0);
            while left > 0 {
                turn += 1;
                let n = [64, 262_144, 4096, 131_072, 65_536][turn % 5].min(left);
                pattern.fill(&mut bytes[..n]);
                to.write_all(&bytes[..n]).unwrap();
                left -= n;
            }
        })
    };
    let check = |mut from: TcpStream, seed: u64| {
        std::thread::spawn(move || {
            let mut pattern = Pattern::new(seed);
            let (mut want, mut got) = (vec![0; 256 * 1024], vec![0; 256 * 1024]);
            let (mut left, mut turn) = (SIZE, 0);
            while left > 0 {
                turn += 1;
                let n = [64, 262_144, 4096, 131_072, 65_536][turn % 5].min(left);
                pattern.fill(&mut want[..n]);
                from.read_exact(&mut got[..n]).unwrap();
                assert!(want[..n] == got[..n], "differs with {left} bytes to go");
                left -= n;
            }
        })
    };
    let threads = [
        send(a.try_clone().unwrap(), 3),
        check(b.try_clone().unwrap(), 3),
        send(b.try_clone().unwrap(), 4),
        check(a.try_clone().unwrap(), 4),
    ];
    for thread in threads {
        thread.join().unwrap();
    }
    relay.wait_for("the pair's bytes to be counted", |r| {
        let pair = &r.pairs()[0];
        (pair.bytes_forward, pair.bytes_backward) == (SIZE as u64 + 13, SIZE as u64 + 4)
    });
    relay.wait_for("the totals", |r| r.counters().bytes_forward.load(Relaxed) == SIZE as u64 + 13);
}

#[test]
fn of_2000_pairs_whose_sides_ask_at_the_same_moment_none_is_lost() {
    const PAIRS: usize = 2000;
    let relay = Arc::new(TestRelay::default());
    // Connected beforehand, so that the requests of a pair are written within microseconds.
    let mut lanes = Vec::new();
    let start = Arc::new(Barrier::new(2));
    let end = Instant::now() + DEADLINE;
    for lane in 0..2u8 {
        let (relay, start) = (Arc::clone(&relay), Arc::clone(&start));
        lanes.push(std::thread::spawn(move || {
            for pair in 0..PAIRS {
                let mut side = relay.connect();
                start.wait();
                side.write_all(&request(&format!("pair {pair}"), "")).unwrap();
                side.write_all(&[lane]).unwrap();
                let mut other = [9];
                side.read_exact(&mut other).unwrap_or_else(|e| panic!("pair {pair}: {e}"));
                assert_eq!(other, [1 - lane]);
                assert!(Instant::now() < end + DEADLINE);
            }
        }));
    }
    for lane in lanes {
        lane.join().unwrap();
    }
    assert_eq!(relay.handle.counters().pairs_opened.load(Relaxed), PAIRS as u64);
}

#[test]
fn live_pairs_can_be_seen() {
    let relay = TestRelay::default();
    let mut first = relay.connect_from(Ipv4Addr::new(127, 0, 0, 2).into());
    first.write_all(&request("u", "")).unwrap();
    relay.wait_for("the first side to be parked", |r| r.counters().parked.load(Relaxed) == 1);
    let mut second = relay.connect_from(Ipv4Addr::new(127, 0, 0, 3).into());
    second.write_all(&request("u", "")).unwrap();
    exchange(&mut first, &mut second, b"12345");
    exchange(&mut second, &mut first, b"123");
    let pairs = relay.handle.pairs();
    assert_eq!(pairs.len(), 1);
    assert_eq!(
        (pairs[0].first, pairs[0].second),
        (first.local_addr().unwrap(), second.local_addr().unwrap())
    );
    assert!(!pairs[0].web);
    relay.wait_for("the bytes to be counted", |r| {
        let pair = &r.pairs()[0];
        (pair.bytes_forward, pair.bytes_backward) == (5, 3)
    });
}

#[test]
fn shutdown_and_drop_close_everything() {
    let relay = TestRelay::default();
    let addr = relay.addr();
    let (mut a, _b) = relay.pair("u");
    let mut waiting = relay.ask("v");
    relay.stop();
    assert_eq!((rest(&mut a), rest(&mut waiting)), (vec![], vec![]));
    TcpStream::connect(addr).unwrap_err();

    let relay = TestRelay::default();
    let (mut a, _b) = relay.pair("u");
    let TestRelay { handle, runtime: _runtime } = relay;
    drop(handle);
    assert_eq!(a.read(&mut [0]).unwrap_or(0), 0);
}
