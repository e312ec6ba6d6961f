//! What strangers may try.

use crate::peer::{Connection, Datagrams, LIMIT, config, main_addr, nat_addr, seen_port, start, test_nat};
use deskhand_tests::net::own_address;
use deskhand_tests::wait::eventually_async;
use hbb_common::rendezvous::register_pk_response::Result as Code;
use hbbs::ServerConfig;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_half_sent_frames_disturb_nobody_and_go() {
    let mut patient = config();
    patient.connections.silence = Duration::from_secs(5);
    let server = start(patient);
    let at = main_addr(&server);
    // 4000 bytes announced, a few sent.
    let half = [&(4000_u16 << 2 | 1).to_le_bytes()[..], &[0; 100]].concat();
    let attackers: Vec<TcpStream> = (0..1000)
        .map(|_| {
            let mut socket = TcpStream::connect(at).unwrap();
            socket.write_all(&half).unwrap();
            socket
        })
        .collect();
    eventually_async("all are open", LIMIT, || (server.counts().connections >= 1000).then_some(())).await;
    let host = Datagrams::new(own_address().into(), at);
    assert_eq!(host.claim("123456789"), Code::Ok);
    assert!(host.heartbeat("123456789"));
    let mut connection = Connection::open_from(own_address().into(), at);
    let port = connection.socket.local_addr().unwrap().port();
    assert_eq!(seen_port(connection.ask(test_nat())), port);
    eventually_async("they are closed", LIMIT * 2, || (server.open_connections() == 0).then_some(())).await;
    assert_eq!(server.counts().connections_timed_out, 1000);
    drop(attackers);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_has_so_many_connections_and_no_more() {
    let mut narrow = config();
    narrow.connections.per_address = 3;
    let server = start(narrow);
    let (at, ip) = (main_addr(&server), own_address().into());
    let mut held: Vec<Connection> = (0..3).map(|_| Connection::open_from(ip, at)).collect();
    eventually_async("three are open", LIMIT, || (server.open_connections() == 3).then_some(())).await;
    assert!(Connection::open_from(ip, at).ends());
    let mut other = Connection::open_from(own_address().into(), at);
    other.send(test_nat());
    other.receive();
    assert_eq!(server.counts().connections_over_limit, 1);
    held.pop();
    eventually_async("one has gone", LIMIT, || (server.open_connections() == 2).then_some(())).await;
    let mut again = Connection::open_from(ip, at);
    again.send(test_nat());
    again.receive();
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_closed_and_the_server_goes_on() {
    let server = start(config());
    let too_long = |length: u32| (length << 2 | 3).to_le_bytes().to_vec();
    let nonsense: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"h\n",
        &[0x10, 0xff, 0xff, 0xff, 0xff],
        &too_long(0x3fff_ffff),
        &too_long(65_537),
    ];
    for at in [main_addr(&server), nat_addr(&server), server.addresses().websocket[0]] {
        for bytes in nonsense {
            let mut connection = Connection::open(at);
            connection.socket.write_all(bytes).unwrap();
            connection.socket.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            // A WebSocket port says in HTTP what is wrong; the others nothing.
            let _reset = std::io::Read::read_to_end(&mut connection.socket, &mut answer);
            assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{at} {bytes:02x?}");
        }
    }
    let host = Datagrams::new(own_address().into(), main_addr(&server));
    for bytes in nonsense {
        host.send_bytes(bytes);
    }
    host.send_bytes(&[]);
    host.send_bytes(&[0x32; 1400]);
    assert_eq!(host.claim("123456789"), Code::Ok, "the first answer is to the first question");
    assert_eq!(server.open_connections(), 0);
    server.shutdown().await;
}

/// Claims from ever new addresses leave tables bounded and cost known hosts nothing.
#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_are_answered_while_strangers_register() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(ServerConfig { state_dir: Some(directory.path().into()), ..config() });
    let at = main_addr(&server);
    let host = Datagrams::new(own_address().into(), at);
    assert_eq!(host.claim("123456789"), Code::Ok);
    let strangers = tokio::task::spawn_blocking(move || {
        for n in 0..3000_u32 {
            let [_, a, b, c] = (0x00C0_0000 + n).to_be_bytes();
            let stranger = Datagrams::new(std::net::Ipv4Addr::new(127, a, b, c).into(), at);
            assert_eq!(stranger.claim(&format!("{}", 300_000_000 + n)), Code::Ok);
        }
    });
    let mut heartbeats = 0;
    while !strangers.is_finished() {
        assert!(host.heartbeat("123456789"));
        heartbeats += 1;
    }
    strangers.await.unwrap();
    assert_eq!((server.host_count(), server.counts().datagrams_unsent), (3001, 0));
    let counts = server.counts();
    assert_eq!(counts.heartbeats, heartbeats);
    assert!(counts.store_groups < 500, "{} groups for 3001 hosts", counts.store_groups);
    server.shutdown().await;
}

const CHILD: &str = "HBBS_TEST_OF_DESCRIPTORS";

#[expect(clippy::print_stdout, reason = "how it speaks to the process that started it")]
/// Run as a process of its own, with few descriptors: serves until its input ends.
async fn serve_with_few_descriptors() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();
    let server = start(config());
    println!("listening {}", nat_addr(&server));
    let failures = eventually_async("accepting has failed", LIMIT * 3, || {
        Some(server.counts().accept_failures).filter(|n| *n > 0)
    })
    .await;
    println!("failed {failures}");
    tokio::task::spawn_blocking(|| std::io::stdin().lines().count()).await.unwrap();
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn out_of_descriptors_those_who_wait_are_served_later() {
    if std::env::var_os(CHILD).is_some() {
        return serve_with_few_descriptors().await;
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "abuse::out_of_descriptors_those_who_wait_are_served_later", "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let listening = lines.find_map(|line| Some(line.split_once("listening ")?.1.to_owned())).unwrap();
    let at: SocketAddr = listening.parse().unwrap();
    let idle: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(at).unwrap()).collect();
    assert!(lines.any(|line| line.starts_with("failed ")));
    let mut waiting: Vec<Connection> = (0..20)
        .map(|_| {
            let mut connection = Connection::open(at);
            connection.send(test_nat());
            connection
        })
        .collect();
    drop(idle);
    for connection in &mut waiting {
        let port = connection.socket.local_addr().unwrap().port();
        assert_eq!(seen_port(connection.receive()), port);
    }
    drop(child.stdin.take());
    // Its last lines, or it would be stuck on a full pipe.
    lines.for_each(drop);
    assert!(child.wait().unwrap().success());
}
