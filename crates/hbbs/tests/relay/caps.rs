//! Bandwidth: who is at a limit waits, and nobody else.

use crate::harness::{DEADLINE, TestRelay};
use hbbs::relay::{Bandwidth, RelayConfig};
use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// A pair that always wants to move more, and counts what it could.
struct Bulk {
    moved: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Bulk {
    fn start((mut a, mut b): (TcpStream, TcpStream)) -> Self {
        let (moved, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let writer = {
            let stop = Arc::clone(&stop);
            move || {
                let bytes = vec![7; 65_536];
                while !stop.load(Relaxed) && a.write_all(&bytes).is_ok() {}
            }
        };
        let reader = {
            let moved = Arc::clone(&moved);
            move || {
                let mut bytes = vec![0; 65_536];
                while let Ok(n @ 1..) = b.read(&mut bytes) {
                    moved.fetch_add(n as u64, Relaxed);
                }
            }
        };
        let threads = vec![std::thread::spawn(writer), std::thread::spawn(reader)];
        Self { moved, stop, threads }
    }

    fn moved(&self) -> u64 {
        self.moved.load(Relaxed)
    }
}

/// Ends the pairs, so that nobody waits in a read or write, and waits for all threads.
fn stop(bulks: impl IntoIterator<Item = Bulk>, relay: &TestRelay) {
    relay.handle.set_blocked([Ipv4Addr::LOCALHOST.into()].into());
    for bulk in bulks {
        bulk.stop.store(true, Relaxed);
        for thread in bulk.threads {
            thread.join().unwrap();
        }
    }
}

/// Between two looks at what has moved; to look all the time would take the relay's processor.
const LOOK: Duration = Duration::from_millis(1);

/// A hundred round trips of a small message, sorted. Between two of them the others move so many bytes, so
/// that the small ones stay far below any cap.
fn round_trips(pair: &mut (TcpStream, TcpStream), bulks: &[Bulk], between: u64) -> Vec<Duration> {
    let moved = || bulks.iter().map(Bulk::moved).sum::<u64>();
    let end = Instant::now() + DEADLINE;
    let mut times = Vec::new();
    while times.len() < 100 {
        let (start, before) = (Instant::now(), moved());
        for (from, to) in [(0, 1), (1, 0)] {
            let mut sides = [&pair.0, &pair.1];
            sides[from].write_all(&[9; 200]).unwrap();
            sides[to].read_exact(&mut [0; 200]).unwrap();
        }
        times.push(start.elapsed());
        while moved() < before + between {
            assert!(Instant::now() < end, "the others are stuck");
            std::thread::sleep(LOOK);
        }
    }
    times.sort_unstable();
    times
}

/// Bytes per second of each, over the time in which they move so many together.
fn rates(bulks: &[Bulk], bytes: u64) -> Vec<f64> {
    let before: Vec<u64> = bulks.iter().map(Bulk::moved).collect();
    let (began, end) = (Instant::now(), Instant::now() + DEADLINE);
    loop {
        let moved: Vec<u64> = bulks.iter().zip(&before).map(|(bulk, before)| bulk.moved() - before).collect();
        if moved.iter().sum::<u64>() >= bytes {
            let seconds = began.elapsed().as_secs_f64();
            return moved.into_iter().map(|n| n as f64 / seconds).collect();
        }
        assert!(Instant::now() < end, "{moved:?} of {bytes} bytes have moved");
        std::thread::sleep(LOOK);
    }
}

/// Stock's p99 beside a pair at the total limit is 258 ms. Generous, because this machine has other work.
const UNDISTURBED: Duration = Duration::from_millis(30);

fn p90(times: &[Duration]) -> Duration {
    times[times.len() * 9 / 10]
}

fn start(bandwidth: Bandwidth) -> TestRelay {
    TestRelay::start(RelayConfig { bandwidth, ..TestRelay::config() })
}

#[test]
fn a_pair_at_its_own_cap_delays_nobody() {
    let relay = start(Bandwidth { per_pair: Some(2_000_000), ..Bandwidth::default() });
    let bulks = [Bulk::start(relay.pair("bulk"))];
    let mut small = relay.pair("small");
    rates(&bulks, 500_000);
    let times = round_trips(&mut small, &bulks, 4_000);
    assert!(p90(&times) < UNDISTURBED, "{:?}", p90(&times));
    let rate = rates(&bulks, 2_000_000)[0];
    assert!((1_000_000.0..2_600_000.0).contains(&rate), "{rate}");
    stop(bulks, &relay);
}

#[test]
fn pairs_at_the_total_cap_share_it_and_delay_nobody() {
    let relay = start(Bandwidth { total: Some(8_000_000), ..Bandwidth::default() });
    let mut small = relay.pair("small");
    let bulks = [0, 1, 2, 3].map(|n| Bulk::start(relay.pair(&format!("bulk {n}"))));
    rates(&bulks, 2_000_000);
    let times = round_trips(&mut small, &bulks, 16_000);
    assert!(p90(&times) < UNDISTURBED, "{:?}", p90(&times));
    let rates = rates(&bulks, 16_000_000);
    let sum: f64 = rates.iter().sum();
    assert!((4_000_000.0..9_500_000.0).contains(&sum), "{sum}");
    for rate in &rates {
        assert!((1_000_000.0..3_000_000.0).contains(rate), "{rates:?}");
    }
    stop(bulks, &relay);
}

#[test]
fn an_address_at_its_cap_delays_no_other() {
    let relay = start(Bandwidth { per_ip: Some(2_000_000), ..Bandwidth::default() });
    let from = |n, uuid: &str| {
        let mut side = relay.connect_from(IpAddr::from(Ipv4Addr::new(127, 0, 0, n)));
        side.write_all(&crate::harness::request(uuid, "")).unwrap();
        side
    };
    let mut small = (from(2, "small"), from(3, "small"));
    let bulks = [Bulk::start(relay.pair("one")), Bulk::start(relay.pair("two"))];
    rates(&bulks, 500_000);
    let times = round_trips(&mut small, &bulks, 4_000);
    assert!(p90(&times) < UNDISTURBED, "{:?}", p90(&times));
    let rate: f64 = rates(&bulks, 2_000_000).iter().sum();
    assert!((1_000_000.0..2_600_000.0).contains(&rate), "{rate}");
    stop(bulks, &relay);
}

#[test]
fn caps_and_the_slow_list_can_be_changed_while_pairs_run() {
    let relay = TestRelay::default();
    let bulks = [Bulk::start(relay.pair("bulk"))];
    let settles_at = |range: std::ops::Range<f64>| {
        let end = Instant::now() + DEADLINE;
        // About half a second's worth of the lower bound.
        let piece = (range.start / 2.0) as u64;
        loop {
            let rate = rates(&bulks, piece)[0];
            if range.contains(&rate) {
                return;
            }
            assert!(Instant::now() < end, "{rate} instead of {range:?}");
        }
    };
    settles_at(20e6..f64::MAX);
    let bandwidth = Bandwidth { per_pair: Some(4_000_000), slow: Some(1_000_000), ..Bandwidth::default() };
    relay.handle.set_bandwidth(bandwidth);
    settles_at(3e6..5e6);
    relay.handle.set_slow([Ipv4Addr::LOCALHOST.into()].into());
    settles_at(0.7e6..1.3e6);
    relay.handle.set_bandwidth(Bandwidth::default());
    settles_at(20e6..f64::MAX);
    stop(bulks, &relay);
}
