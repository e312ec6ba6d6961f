//! What ends by itself, with times made short.

use crate::harness::{TestRelay, exchange, rest};
use hbbs::relay::{Refusal, RelayConfig};
use std::{
    io::Write,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

const SHORT: Duration = Duration::from_millis(400);
/// Later than this nothing may happen: the sixteenth that is allowed, and a busy machine.
const LATEST: Duration = Duration::from_secs(3);

#[test]
fn who_asks_for_nothing_is_closed_in_time() {
    let relay = TestRelay::start(RelayConfig { request_timeout: SHORT, ..TestRelay::config() });
    let start = Instant::now();
    let mut silent = relay.connect();
    let mut slow = relay.connect();
    slow.write_all(&[40 << 2]).unwrap();
    assert_eq!((rest(&mut silent), rest(&mut slow)), (vec![], vec![]));
    assert!((SHORT..LATEST).contains(&start.elapsed()), "{:?}", start.elapsed());
    relay.wait_for("both to be counted", |r| r.counters().refused(Refusal::Silent) == 2);
}

#[test]
fn who_sends_a_byte_now_and_then_gains_no_time() {
    let relay = TestRelay::start(RelayConfig { request_timeout: SHORT, ..TestRelay::config() });
    let start = Instant::now();
    let mut slow = relay.connect();
    slow.write_all(&[63 << 2]).unwrap();
    // Until the relay closes, which a write shows at the latest when its own bytes are refused.
    while slow.write_all(&[0]).is_ok() {
        assert!(start.elapsed() < LATEST);
        std::thread::sleep(Duration::from_millis(20));
    }
    relay.wait_for("it to be counted", |r| r.counters().refused(Refusal::Silent) == 1);
}

#[test]
fn who_finds_no_partner_is_closed_in_time() {
    let relay = TestRelay::start(RelayConfig { pairing_timeout: SHORT, ..TestRelay::config() });
    let start = Instant::now();
    let mut alone = relay.ask("u");
    assert_eq!(rest(&mut alone), b"");
    assert!((SHORT..LATEST).contains(&start.elapsed()), "{:?}", start.elapsed());
    relay.wait_for("it to be counted", |r| r.counters().refused(Refusal::NoPartner) == 1);
    relay.wait_for("its place to be free", |r| r.waiting() == 0);
    let (mut a, mut b) = relay.pair("u");
    exchange(&mut a, &mut b, b"the uuid is free");
}

#[test]
fn a_silent_pair_is_closed_and_one_that_speaks_is_not() {
    let relay = TestRelay::start(RelayConfig { idle_timeout: SHORT, ..TestRelay::config() });
    let (mut silent, mut silent2) = relay.pair("u");
    let start = Instant::now();
    let (mut a, mut b) = relay.pair("v");
    // Either direction alone keeps a pair.
    while start.elapsed() < SHORT * 4 {
        exchange(&mut b, &mut a, b"tick");
        std::thread::sleep(SHORT / 10);
    }
    assert_eq!((rest(&mut silent), rest(&mut silent2)), (vec![], vec![]));
    relay.wait_for("it to be counted", |r| r.counters().pairs_idle.load(Relaxed) == 1);
    let last = Instant::now();
    exchange(&mut a, &mut b, b"last");
    assert_eq!(rest(&mut b), b"");
    assert!((SHORT * 9 / 10..LATEST).contains(&last.elapsed()), "{:?}", last.elapsed());
    relay.wait_for("both to be counted", |r| r.counters().pairs_idle.load(Relaxed) == 2);
}
