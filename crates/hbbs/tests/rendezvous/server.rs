//! Starting, serving, ending and starting again.

use crate::peer::{
    Connection, Datagrams, LIMIT, config, main_addr, nat_addr, punch, seen_port, start, test_nat,
};
use deskhand_tests::net::own_address;
use deskhand_tests::wait::eventually_async;
use hbb_common::addr::demangle;
use hbb_common::handshake::open_signed_id;
use hbb_common::key::KeyOption;
use hbb_common::packet::encode_message;
use hbb_common::rendezvous::register_pk_response::Result as Code;
use hbb_common::rendezvous::{
    OnlineRequest, PunchHoleSent, RendezvousMessage, RequestRelay, punch_hole_response::Failure,
    rendezvous_message::Union,
};
use hbbs::relay::RelayConfig;
use hbbs::{Server, ServerConfig, StartError};
use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

const ID: &str = "123456789";

/// Registration, push, answer: the whole way from a client to a host on another address.
fn reach(server: &hbbs::Handle, at: SocketAddr, host_ip: IpAddr, client_ip: IpAddr) {
    let host = Datagrams::new(host_ip, at);
    assert_eq!(host.claim(ID), Code::Ok);
    let mut client = Connection::open_from(client_ip, at);
    client.send(punch(server, ID));
    let Union::PunchHole(push) = host.receive() else { panic!("no PunchHole") };
    assert_eq!(demangle(&push.socket_addr), client.socket.local_addr().unwrap());
    let mut answer = Connection::open_from(host_ip, at);
    answer.send(Union::PunchHoleSent(PunchHoleSent {
        socket_addr: push.socket_addr,
        id: ID.into(),
        version: "1.4.9".into(),
        ..Default::default()
    }));
    let Union::PunchHoleResponse(found) = client.receive() else { panic!("no PunchHoleResponse") };
    assert_eq!(demangle(&found.socket_addr), answer.socket.local_addr().unwrap());
    let key = open_signed_id(&found.pk, &server.public_key().unwrap(), ID).unwrap();
    assert_eq!(key.0, [9; 32]);
    assert!(answer.ends(), "the server closes a host's answering connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_reaches_a_host_over_ipv4() {
    let server = start(config());
    reach(&server, main_addr(&server), own_address().into(), own_address().into());
    let host = server.host(ID).unwrap();
    assert!(host.online && host.last_seen.is_some());
    assert_eq!((&host.uuid[..], host.version.as_deref()), (&b"machine"[..], Some("1.4.9")));
    assert_eq!((server.host_count(), server.hosts()), (1, vec![host]));
    let counts = server.counts();
    assert_eq!((counts.claims_new, counts.punches_forwarded, counts.answers_forwarded), (1, 1, 1));
    server.shutdown().await;
}

/// What a side says to a relay.
fn relay_request(key: &str) -> Vec<u8> {
    let request = RequestRelay { uuid: "a uuid".into(), licence_key: key.into(), ..Default::default() };
    encode_message(&RendezvousMessage { union: Some(Union::RequestRelay(request)) }).to_vec()
}

/// The relay that the server names to a host when a client asks for it.
fn named_relay(server: &hbbs::Handle) -> String {
    let host = Datagrams::new(own_address().into(), main_addr(server));
    assert_eq!(host.claim(ID), Code::Ok);
    let mut client = Connection::open_from(own_address().into(), main_addr(server));
    client.send(punch(server, ID));
    let Union::PunchHole(push) = host.receive() else { panic!("no PunchHole") };
    push.relay_server
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_inside_is_announced_and_asks_for_the_key_of_the_server() {
    let server = start(ServerConfig { relay: Some(RelayConfig::default()), ..config() });
    let relay = server.relay().unwrap();
    let at = relay.tcp_addrs()[0];
    assert_eq!((at.ip(), relay.web_addrs().len()), (main_addr(&server).ip(), 1));
    assert_eq!(named_relay(&server), at.to_string());
    let say = |bytes: &[u8]| {
        let mut side = std::net::TcpStream::connect(at).unwrap();
        side.set_read_timeout(Some(LIMIT)).unwrap();
        side.write_all(bytes).unwrap();
        side
    };
    assert_eq!(say(&relay_request("another key")).read(&mut [0]).unwrap(), 0);
    let key = server.required_key().unwrap();
    let (mut a, mut b) = (say(&relay_request(key)), say(&relay_request(key)));
    a.write_all(b"hello").unwrap();
    let mut heard = [0; 5];
    b.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
    let figures = server.figures();
    assert_eq!((figures.hosts, figures.hosts_online, figures.rendezvous.claims_new), (1, 1, 1));
    let relayed = figures.relay.unwrap();
    assert_eq!((relayed.accepted, relayed.pairs_opened, relayed.pairs_open), (3, 1, 1));
    assert_eq!(relayed.refused.iter().find(|(why, _)| *why == "wrong_key"), Some(&("wrong_key", 1)));
    server.shutdown().await;
    assert_eq!(b.read(&mut heard).unwrap(), 0, "the relay has ended with the server");
    std::net::TcpStream::connect(at).unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_inside_is_where_peers_look_for_it() {
    let server = start(ServerConfig { port: 21116, relay: Some(RelayConfig::default()), ..config() });
    let ports = |addrs: &[SocketAddr]| addrs.iter().map(SocketAddr::port).collect::<Vec<_>>();
    let relay = server.relay().unwrap();
    assert_eq!((ports(relay.tcp_addrs()), ports(relay.web_addrs())), (vec![21117], vec![21119]));
    assert_eq!(ports(&server.addresses().websocket), [21118]);
    assert_eq!(named_relay(&server), "", "so nothing need be said");
    let taken = ServerConfig {
        listen: vec![own_address().into()],
        relay: Some(RelayConfig { tcp: relay.tcp_addrs().to_vec(), ..RelayConfig::default() }),
        ..config()
    };
    assert_eq!(Server::spawn(taken).unwrap_err().kind(), "listen_failed");
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_serves_both_families() {
    let server = start(ServerConfig { listen: Vec::new(), ..config() });
    let port = main_addr(&server).port();
    let client = own_address();
    reach(&server, SocketAddr::new(own_address().into(), port), own_address().into(), client.into());
    let v6: IpAddr = "::1".parse().unwrap();
    let host = Datagrams::new(v6, SocketAddr::new(v6, port));
    assert_eq!(host.claim("987654321"), Code::Ok);
    let mut client = Connection::open_from(v6, SocketAddr::new(v6, port));
    client.send(punch(&server, "987654321"));
    let Union::FetchLocalAddr(push) = host.receive() else { panic!("no FetchLocalAddr") };
    assert_eq!(demangle(&push.socket_addr), client.socket.local_addr().unwrap());
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_come_from_the_listener_that_the_host_wrote_to() {
    let (one, two) = (own_address(), own_address());
    let server = start(ServerConfig { listen: vec![one.into(), two.into()], ..config() });
    for at in server.addresses().rendezvous.clone() {
        // The host's socket hears that address only.
        reach(&server, at, own_address().into(), own_address().into());
    }
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nat_tests_tell_the_port_on_every_port() {
    let server = start(config());
    for at in [main_addr(&server), nat_addr(&server)] {
        let mut connection = Connection::open(at);
        let port = connection.socket.local_addr().unwrap().port();
        assert_eq!(seen_port(connection.ask(test_nat())), port);
        assert!(connection.ends());
    }
    let socket = Datagrams::new(own_address().into(), main_addr(&server));
    assert_eq!(seen_port(socket.ask(test_nat())), socket.port());
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_address_books_are_answered() {
    let server = start(config());
    Datagrams::new(own_address().into(), main_addr(&server)).claim(ID);
    let query = |n: usize| {
        let mut peers = vec![String::from("987654321"); n];
        peers.push(ID.into());
        Union::OnlineRequest(OnlineRequest { id: String::new(), peers })
    };
    let mut connection = Connection::open(nat_addr(&server));
    let Union::OnlineResponse(answer) = connection.ask(query(5000)) else { panic!() };
    assert_eq!(answer.states.len(), 626);
    assert_eq!(answer.states.last(), Some(&0x80));
    let mut connection = Connection::open(nat_addr(&server));
    connection.send(query(50_000));
    assert!(connection.ends(), "half a megabyte is no query");
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_datagrams_registers_on_a_connection() {
    let server = start(config());
    let mut host = Connection::open_from(own_address().into(), main_addr(&server));
    let Union::RegisterPkResponse(m) = host.ask(crate::peer::register_pk(ID)) else { panic!() };
    assert_eq!((m.result(), m.keep_alive), (Code::Ok, 20));
    let mut client = Connection::open_from(own_address().into(), main_addr(&server));
    client.send(punch(&server, ID));
    let Union::PunchHole(push) = host.receive() else { panic!("no PunchHole") };
    assert_eq!(demangle(&push.socket_addr), client.socket.local_addr().unwrap());
    let relay = RequestRelay { id: ID.into(), uuid: "u".into(), ..Default::default() };
    client.send(Union::RequestRelay(relay));
    assert!(matches!(host.receive(), Union::RequestRelay(m) if m.uuid == "u"));
    drop(host);
    eventually_async("the host is offline", LIMIT, || (!server.host(ID).unwrap().online).then_some(())).await;
    let Union::PunchHoleResponse(m) = client.ask(punch(&server, ID)) else { panic!() };
    assert_eq!(m.failure(), Failure::Offline);
    server.shutdown().await;
}

fn on_disk(directory: &Path) -> ServerConfig {
    ServerConfig { key: KeyOption::File, state_dir: Some(directory.into()), ..config() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_the_key_and_every_host() {
    let directory = tempfile::tempdir().unwrap();
    let (server, ip) = (start(on_disk(directory.path())), IpAddr::from(own_address()));
    let key = server.public_key();
    let host = Datagrams::new(ip, main_addr(&server));
    assert_eq!(host.claim(ID), Code::Ok);
    server.shutdown().await;

    let server = start(on_disk(directory.path()));
    assert_eq!(server.public_key(), key);
    assert!(!server.host(ID).unwrap().online);
    let host = Datagrams::new(ip, main_addr(&server));
    assert!(host.heartbeat(ID), "reachable again with its next heartbeat");
    assert!(server.host(ID).unwrap().online);
    let thief = Datagrams::new(own_address().into(), main_addr(&server));
    assert!(!thief.heartbeat(ID));
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_dropped_frees_its_ports_and_what_was_written_stays() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(on_disk(directory.path()));
    let at = main_addr(&server);
    Datagrams::new(own_address().into(), at).claim(ID);
    let mut client = Connection::open(at);
    eventually_async("the host is written", LIMIT, || (server.counts().store_groups > 0).then_some(())).await;
    drop(server);
    assert!(client.ends());
    let again = ServerConfig { listen: vec![at.ip()], port: at.port(), ..on_disk(directory.path()) };
    // Its threads may take a moment to end.
    let again = eventually_async("the ports are free", LIMIT, || {
        let wish = ServerConfig { nat_test_port: Some(0), websocket_port: Some(0), ..again.clone() };
        Server::spawn(wish).ok()
    })
    .await;
    assert_eq!(again.host_count(), 1);
    again.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_an_error_that_names_it() {
    let server = start(config());
    let at = main_addr(&server);
    let taken = ServerConfig { listen: vec![at.ip()], port: at.port(), ..config() };
    let error = Server::spawn(taken.clone()).unwrap_err();
    assert_eq!(error.kind(), "listen_failed");
    assert!(error.to_string().contains(&at.to_string()), "{error}");
    // The same where only the datagrams' port is taken.
    server.shutdown().await;
    let _other = std::net::UdpSocket::bind(at).unwrap();
    assert!(matches!(Server::spawn(taken), Err(StartError::Listen { what: "UDP", .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_waits_for_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(on_disk(directory.path()));
    let host = Datagrams::new(own_address().into(), main_addr(&server));
    assert_eq!(host.claim(ID), Code::Ok);
    eventually_async("the host is written", LIMIT, || (server.counts().store_groups > 0).then_some(())).await;
    let groups = server.counts().store_groups;
    let other = rusqlite::Connection::open(directory.path().join(hbbs::store::FILE)).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    for n in 0..20 {
        let new = Datagrams::new(own_address().into(), main_addr(&server));
        assert_eq!(new.claim(&format!("{}", 200_000_000 + n)), Code::Ok);
        assert!(host.heartbeat(ID));
    }
    assert_eq!(server.counts().store_groups, groups, "nothing was written meanwhile");
    other.execute_batch("COMMIT").unwrap();
    server.shutdown().await;
    let again = start(on_disk(directory.path()));
    assert_eq!(again.host_count(), 21);
    again.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_database_and_key_are_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    let key = hbb_common::key::SigningKey::from_seed(&[5; 32]);
    std::fs::write(directory.path().join("id_ed25519"), key.to_file_text()).unwrap();
    let ip = own_address();
    let database = rusqlite::Connection::open(directory.path().join("db_v2.sqlite3")).unwrap();
    database
        .execute_batch(&format!(
            "CREATE TABLE peer (guid blob primary key not null, id varchar(100) not null, uuid blob not null,
             pk blob not null, created_at datetime not null default(current_timestamp), user blob,
             status tinyint, note varchar(300), info text not null) without rowid;
             INSERT INTO peer (guid, id, uuid, pk, info) VALUES (x'01', '{ID}', 'machine', x'{}',
             '{{\"ip\":\"::ffff:{ip}\"}}');",
            "09".repeat(32)
        ))
        .unwrap();
    drop(database);
    let server = start(on_disk(directory.path()));
    assert_eq!(server.public_key(), Some(key.public()));
    assert!(Datagrams::new(ip.into(), main_addr(&server)).heartbeat(ID));
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocked_addresses_are_not_served() {
    let (blocked, free) = (IpAddr::from(own_address()), IpAddr::from(own_address()));
    // One thread, so that datagrams are taken in their order.
    let server =
        start(ServerConfig { blocklist: HashSet::from([blocked]), udp_threads: Some(1), ..config() });
    let at = main_addr(&server);
    assert!(Connection::open_from(blocked, at).ends());
    let (bad, good) = (Datagrams::new(blocked, at), Datagrams::new(free, at));
    bad.send(crate::peer::register_pk("987654321"));
    assert_eq!(good.claim(ID), Code::Ok);
    server.set_blocklist(HashSet::new());
    assert_eq!(bad.claim(ID), Code::Ok, "another address with the same key");
    assert_eq!(server.host_count(), 1, "what it said while blocked was not heard");
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_are_not_sent_to_a_relay_that_is_down() {
    let listener = std::net::TcpListener::bind((own_address(), 0)).unwrap();
    let (up, down) = (listener.local_addr().unwrap().to_string(), format!("{}:9", own_address()));
    let relays = vec![down, up.clone()];
    let server = start(ServerConfig { relays, ..config() });
    let host = Datagrams::new(own_address().into(), main_addr(&server));
    assert_eq!(host.claim(ID), Code::Ok);
    let named = || {
        let mut client = Connection::open_from(own_address().into(), main_addr(&server));
        client.send(punch(&server, ID));
        let Union::PunchHole(push) = host.receive() else { panic!("no PunchHole") };
        push.relay_server
    };
    // Taken in turn, so two in a row tell.
    eventually_async("only one is named", LIMIT, || (named() == up && named() == up).then_some(())).await;
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_is_tolerated_for_its_time() {
    let mut quick = config();
    quick.connections.silence = Duration::from_millis(300);
    let server = start(quick);
    let mut connections = [main_addr(&server), nat_addr(&server)].map(Connection::open);
    for connection in &mut connections {
        assert!(connection.ends());
    }
    assert_eq!(server.counts().connections_timed_out, 2);
    server.shutdown().await;
}
