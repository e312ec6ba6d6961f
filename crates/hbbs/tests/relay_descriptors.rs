//! The relay in a process that has run out of descriptors. A test program of its own, because the limit
//! is the process's.

#![expect(clippy::unwrap_used, reason = "a test that can not be set up has failed")]

use hbb_common::{
    packet,
    rendezvous::{RendezvousMessage, RequestRelay, rendezvous_message::Union},
};
use hbbs::relay::{Relay, RelayConfig};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

const DEADLINE: Duration = Duration::from_secs(20);

fn request(uuid: &str) -> Vec<u8> {
    let request = RequestRelay { uuid: uuid.into(), ..Default::default() };
    packet::encode_message(&RendezvousMessage { union: Some(Union::RequestRelay(request)) }).to_vec()
}

/// A socket that needs no other descriptor to connect.
fn unconnected() -> Socket {
    Socket::new(Domain::IPV4, Type::STREAM, None).unwrap()
}

#[test]
fn out_of_descriptors_the_relay_rests_and_loses_nobody() {
    let config = RelayConfig { web: vec![], ..RelayConfig::on(Ipv4Addr::LOCALHOST.into(), 0) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let relay = {
        let _guard = runtime.enter();
        Relay::spawn(config).unwrap()
    };
    let addr = relay.tcp_addrs()[0];
    let connect = |socket: Socket, uuid: &str| {
        socket.connect(&addr.into()).unwrap();
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(&request(uuid)).unwrap();
        stream
    };
    let mut before = (connect(unconnected(), "before"), connect(unconnected(), "before"));
    let mut talk = |bytes: &[u8]| {
        before.0.write_all(bytes).unwrap();
        let mut got = vec![0; bytes.len()];
        before.1.read_exact(&mut got).unwrap();
        assert_eq!(got, bytes);
    };
    talk(b"joined");

    let sockets: Vec<Socket> = (0..20).map(|_| unconnected()).collect();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    // The lowest number that is free now; whoever wants one more does not get it.
    let free = std::os::fd::AsRawFd::as_raw_fd(&unconnected());
    setrlimit(Resource::RLIMIT_NOFILE, free as u64, hard).unwrap();
    let names = (0..20).map(|n| format!("{}", n / 2));
    let mut sides: Vec<TcpStream> = sockets.into_iter().zip(names).map(|(s, n)| connect(s, &n)).collect();
    let end = Instant::now() + DEADLINE;
    while relay.counters().accept_backoffs.load(Relaxed) < 2 {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(1));
    }
    talk(b"who is a pair is not concerned");

    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    for pair in sides.chunks_mut(2) {
        pair[0].write_all(b"x").unwrap();
        pair[1].read_exact(&mut [0]).unwrap();
    }
    runtime.block_on(relay.shutdown());
}
