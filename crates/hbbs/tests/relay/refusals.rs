//! Who is turned away: closed without a byte, and counted.

use crate::harness::{TestRelay, exchange, request, rest};
use hbb_common::{
    packet,
    rendezvous::{RendezvousMessage, TestNatRequest, rendezvous_message::Union},
};
use hbbs::relay::{Limits, Refusal, RelayConfig};
use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr},
    sync::atomic::Ordering::Relaxed,
};

fn keyed() -> TestRelay {
    TestRelay::start(RelayConfig { key: Some("the key=".into()), ..TestRelay::config() })
}

#[test]
fn a_first_message_that_is_no_proper_request_is_closed_and_counted() {
    let relay = keyed();
    let other = RendezvousMessage { union: Some(Union::TestNatRequest(TestNatRequest::default())) };
    let mut http = vec![b'G' << 2 & 0xfc];
    http.extend_from_slice(b"ET / HTTP/1.1\r\n\r\n");
    let table: [(&[u8], Refusal); 9] = [
        (&request("u", "another key"), Refusal::WrongKey),
        (&request("u", ""), Refusal::WrongKey),
        (&request("", "the key="), Refusal::EmptyUuid),
        (&request(&"u".repeat(129), "the key="), Refusal::LongUuid),
        (&packet::encode_message(&other), Refusal::OtherMessage),
        (&[0], Refusal::OtherMessage),
        (&[4 << 2, 0xff, 0xff, 0xff, 0xff], Refusal::Malformed),
        (&[0xff, 0xff, 0xff, 0xff], Refusal::TooLong),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::TooLong),
    ];
    for (bytes, why) in table {
        let before = relay.handle.counters().refused(why);
        let mut side = relay.connect();
        side.write_all(bytes).unwrap();
        assert_eq!(rest(&mut side), b"", "{why:?}");
        relay.wait_for(why.kind(), |r| r.counters().refused(why) == before + 1);
    }
    assert_eq!(relay.handle.counters().parked.load(Relaxed), 0);
    relay.wait_for("nobody to be left", |r| r.waiting() == 0);
}

#[test]
fn the_right_key_is_let_in() {
    let relay = keyed();
    let mut sides = [relay.connect(), relay.connect()];
    for side in &mut sides {
        side.write_all(&request("u", "the key=")).unwrap();
    }
    let [a, b] = &mut sides;
    exchange(a, b, b"hello");
}

#[test]
fn a_wrong_key_does_not_disturb_who_waits() {
    let relay = keyed();
    let mut first = relay.connect();
    first.write_all(&request("u", "the key=")).unwrap();
    relay.wait_for("the first side to be parked", |r| r.counters().parked.load(Relaxed) == 1);
    let mut stranger = relay.connect();
    stranger.write_all(&request("u", "guess")).unwrap();
    assert_eq!(rest(&mut stranger), b"");
    let mut second = relay.connect();
    second.write_all(&request("u", "the key=")).unwrap();
    exchange(&mut first, &mut second, b"hello");
}

#[test]
fn a_side_that_leaves_before_it_asked_is_counted() {
    let relay = TestRelay::default();
    drop(relay.connect());
    let mut half = relay.connect();
    half.write_all(&request("u", "")[..3]).unwrap();
    drop(half);
    relay.wait_for("both to be gone", |r| r.counters().refused(Refusal::LeftEarly) == 2);
    relay.wait_for("nobody to be left", |r| r.waiting() == 0);
}

#[test]
fn only_so_many_may_wait() {
    let limits = Limits { waiting: 4, waiting_per_ip: 2, ..Limits::default() };
    let relay = TestRelay::start(RelayConfig { limits, ..TestRelay::config() });
    let ip = |n| IpAddr::from(Ipv4Addr::new(127, 0, 0, n));
    let silent: Vec<_> = (0..2).map(|_| relay.connect_from(ip(2))).collect();
    relay.wait_for("two without a partner", |r| r.waiting() == 2);
    assert_eq!(rest(&mut relay.connect_from(ip(2))), b"");
    assert_eq!(relay.handle.counters().refused(Refusal::TooManyFromAddress), 1);
    let mut parked: Vec<_> = [3, 4].map(|n| relay.connect_from(ip(n))).into();
    for (n, side) in parked.iter_mut().enumerate() {
        side.write_all(&request(&format!("u{n}"), "")).unwrap();
    }
    relay.wait_for("two to be parked", |r| r.counters().parked.load(Relaxed) == 2);
    assert_eq!(rest(&mut relay.connect_from(ip(5))), b"");
    assert_eq!(relay.handle.counters().refused(Refusal::TooManyWaiting), 1);
    drop(silent);
    relay.wait_for("room", |r| r.waiting() == 2);
    let mut partner = relay.connect_from(ip(5));
    partner.write_all(&request("u0", "")).unwrap();
    exchange(&mut partner, &mut parked[0], b"hello");
    assert_eq!(relay.handle.waiting(), 1, "a pair takes no place");
}

#[test]
fn only_so_many_pairs_may_be_open() {
    let limits = Limits { pairs: 1, ..Limits::default() };
    let relay = TestRelay::start(RelayConfig { limits, ..TestRelay::config() });
    let (a, mut b) = relay.pair("u");
    let (mut c, mut d) = (relay.ask("v"), relay.ask("v"));
    assert_eq!((rest(&mut c), rest(&mut d)), (vec![], vec![]));
    assert_eq!(relay.handle.counters().refused(Refusal::TooManyPairs), 2);
    drop(a);
    assert_eq!(rest(&mut b), b"");
    relay.wait_for("the pair to close", |r| r.pairs().is_empty());
    relay.pair("w");
}

#[test]
fn a_blocked_address_is_not_served_and_loses_its_pairs() {
    let ip = |n| IpAddr::from(Ipv4Addr::new(127, 0, 0, n));
    let mapped: IpAddr = "::ffff:127.0.0.2".parse().unwrap();
    let relay = TestRelay::start(RelayConfig { blocked: [mapped].into(), ..TestRelay::config() });
    assert_eq!(rest(&mut relay.connect_from(ip(2))), b"");
    assert_eq!(relay.handle.counters().refused(Refusal::Blocked), 1);

    let mut first = relay.connect_from(ip(3));
    first.write_all(&request("u", "")).unwrap();
    let mut second = relay.connect();
    second.write_all(&request("u", "")).unwrap();
    exchange(&mut first, &mut second, b"hello");
    let (mut a, mut b) = relay.pair("v");
    relay.handle.set_blocked([ip(3)].into());
    assert_eq!((rest(&mut first), rest(&mut second)), (vec![], vec![]));
    exchange(&mut a, &mut b, b"still here");
    relay.handle.set_blocked([].into());
    let mut again = relay.connect_from(ip(2));
    again.write_all(&request("w", "")).unwrap();
    relay.wait_for("it to be served again", |r| r.waiting() == 1);
}
