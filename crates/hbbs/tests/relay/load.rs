//! Many at once, and those who misbehave beside those who do not.

use crate::harness::{DEADLINE, Pattern, TestRelay, exchange, request};
use hbbs::relay::{Limits, RelayConfig};
use std::{
    io::{Read, Write},
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

fn roomy() -> TestRelay {
    let limits = Limits { waiting_per_ip: 10_000, ..Limits::default() };
    TestRelay::start(RelayConfig { limits, ..TestRelay::config() })
}

#[test]
fn two_thousand_pairs_live_side_by_side() {
    const PAIRS: usize = 2000;
    let relay = roomy();
    let firsts: Vec<_> = (0..PAIRS).map(|n| relay.ask(&format!("{n}"))).collect();
    relay.wait_for("all to be parked", |r| r.counters().parked.load(Relaxed) == PAIRS as u64);
    let seconds: Vec<_> = (0..PAIRS).map(|n| relay.ask(&format!("{n}"))).collect();
    let mut pairs: Vec<_> = firsts.into_iter().zip(seconds).collect();
    for (n, (a, b)) in pairs.iter_mut().enumerate() {
        exchange(a, b, &n.to_le_bytes());
        exchange(b, a, &n.to_be_bytes());
    }
    assert_eq!(relay.handle.pairs().len(), PAIRS);
    drop(pairs);
    relay.wait_for("all to be gone", |r| r.pairs().is_empty() && r.waiting() == 0);
}

#[test]
fn slow_readers_stall_only_themselves() {
    let relay = TestRelay::default();
    // More than there are pipes, each with all it can be made to hold.
    let mut stalled = Vec::new();
    for n in 0..40 {
        let (a, b) = relay.pair(&format!("stalled {n}"));
        a.set_nonblocking(true).unwrap();
        let (bytes, mut sent) = (vec![3; 1 << 18], 0);
        let end = Instant::now() + Duration::from_millis(200);
        while Instant::now() < end {
            match (&a).write(&bytes) {
                Ok(n) => sent += n,
                Err(_) => std::thread::yield_now(),
            }
        }
        stalled.push((a, b, sent));
    }
    let (mut a, mut b) = relay.pair("lively");
    let mut bytes = vec![0; 1 << 20];
    Pattern::new(6).fill(&mut bytes);
    let start = Instant::now();
    for _ in 0..20 {
        let writer = {
            let (mut a, bytes) = (a.try_clone().unwrap(), bytes.clone());
            std::thread::spawn(move || a.write_all(&bytes).unwrap())
        };
        let mut got = vec![0; bytes.len()];
        b.read_exact(&mut got).unwrap();
        assert!(got == bytes);
        writer.join().unwrap();
    }
    assert!(start.elapsed() < DEADLINE / 2, "{:?}", start.elapsed());
    exchange(&mut b, &mut a, b"back");
    // And what was held for them is whole once they read.
    for (_, b, sent) in &mut stalled {
        let mut got = vec![0; *sent];
        b.read_exact(&mut got).unwrap();
        assert!(got.iter().all(|b| *b == 3));
    }
}

#[test]
fn strangers_who_send_garbage_disturb_nobody() {
    let relay = roomy();
    let (mut a, mut b) = relay.pair("u");
    let mut pattern = Pattern::new(7);
    let mut strangers = Vec::new();
    for n in 0..300usize {
        let mut bytes = vec![0; 1 + n % 700];
        pattern.fill(&mut bytes);
        if n % 3 == 0 {
            // Looks like a request for a while.
            let good = request("some uuid", "");
            let len = (n / 3) % good.len();
            bytes.splice(..len.min(bytes.len()), good[..len].iter().copied());
        }
        let mut side = relay.connect();
        // It may be closed before it has said everything.
        side.write_all(&bytes).ok();
        strangers.push(side);
        exchange(&mut a, &mut b, &n.to_le_bytes());
    }
    drop(strangers);
    relay.wait_for("the strangers to be gone", |r| r.waiting() == 0);
    exchange(&mut b, &mut a, b"undisturbed");
}
