//! WebSocket sides.

use crate::harness::{DEADLINE, Pattern, TestRelay, exchange, message, read, request, rest};
use deskhand_tests::mutate::Mutator;
use futures_util::{SinkExt, StreamExt};
use hbb_common::packet;
use hbbs::relay::{Limits, Refusal, RelayConfig};
use prost::Message as _;
use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::atomic::Ordering::Relaxed,
    time::Duration,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

type Web = WebSocketStream<TcpStream>;

impl TestRelay {
    fn open_web(&self, header: Option<(&'static str, &str)>) -> Web {
        let addr = self.handle.web_addrs()[0];
        let mut request = format!("ws://{addr}/any/path").into_client_request().unwrap();
        if let Some((name, value)) = header {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        self.runtime.block_on(async {
            let stream = TcpStream::connect(addr).await.unwrap();
            client_async(request, stream).await.unwrap().0
        })
    }

    fn say(&self, web: &mut Web, bytes: &[u8]) {
        let message = Message::Binary(bytes.to_vec().into());
        self.runtime.block_on(async { timeout(DEADLINE, web.send(message)).await }).unwrap().unwrap();
    }

    fn ask_web(&self, uuid: &str) -> Web {
        let mut web = self.open_web(None);
        self.say(&mut web, &message(uuid, "").encode_to_vec());
        web
    }

    /// The next binary message, `None` when the connection has ended.
    fn hear(&self, web: &mut Web) -> Option<Vec<u8>> {
        loop {
            let next = self.runtime.block_on(async { timeout(DEADLINE, web.next()).await });
            let next = next.expect("neither message nor end");
            match next {
                Some(Ok(Message::Binary(bytes))) => return Some(bytes.to_vec()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes::BytesMut::new();
    packet::encode(bytes, &mut out);
    out.to_vec()
}

#[test]
fn between_tcp_and_websocket_packets_change_their_frames() {
    for tcp_first in [true, false] {
        let relay = TestRelay::default();
        let (mut tcp, mut web);
        if tcp_first {
            tcp = relay.ask("u");
            tcp.write_all(&framed(b"early")).unwrap();
            relay.wait_for("TCP to be parked", |r| r.counters().parked.load(Relaxed) == 1);
            web = relay.ask_web("u");
            assert_eq!(relay.hear(&mut web).unwrap(), b"early");
        } else {
            web = relay.ask_web("u");
            relay.say(&mut web, b"early");
            relay.wait_for("the WebSocket to be parked", |r| r.counters().parked.load(Relaxed) == 1);
            tcp = relay.connect();
            tcp.write_all(&[request("u", ""), framed(b"glued")].concat()).unwrap();
            assert_eq!(relay.hear(&mut web).unwrap(), b"glued");
            assert_eq!(read(&mut tcp, 6), framed(b"early"));
        }
        // Empty packets, texts and pings are not forwarded; sizes of every length of header are.
        tcp.write_all(&[0, 0]).unwrap();
        relay.runtime.block_on(web.send(Message::text("not forwarded"))).unwrap();
        relay.runtime.block_on(web.send(Message::Ping(b"nor this"[..].into()))).unwrap();
        for size in [1, 63, 64, 16_383, 16_384, 300_000] {
            let mut bytes = vec![0; size];
            Pattern::new(size as u64).fill(&mut bytes);
            relay.say(&mut web, &bytes);
            let want = framed(&bytes);
            assert!(read(&mut tcp, want.len()) == want, "{size} bytes to TCP");
            tcp.write_all(&want).unwrap();
            assert!(relay.hear(&mut web).unwrap() == bytes, "{size} bytes to the WebSocket");
        }
        drop(tcp);
        assert_eq!(relay.hear(&mut web), None);
    }
}

#[test]
fn between_websockets_messages_stay_whole() {
    let relay = TestRelay::default();
    let mut a = relay.ask_web("u");
    relay.say(&mut a, b"early");
    relay.wait_for("the first to be parked", |r| r.counters().parked.load(Relaxed) == 1);
    let mut b = relay.ask_web("u");
    assert_eq!(relay.hear(&mut b).unwrap(), b"early");
    for bytes in [&b"one"[..], b"two", b"three"] {
        relay.say(&mut b, bytes);
    }
    for bytes in [&b"one"[..], b"two", b"three"] {
        assert_eq!(relay.hear(&mut a).unwrap(), bytes);
    }
    relay.runtime.block_on(a.close(None)).unwrap();
    assert_eq!(relay.hear(&mut b), None);
    relay.wait_for("the pair to close", |r| r.counters().pairs_closed.load(Relaxed) == 1);
}

#[test]
fn a_waiting_websocket_that_leaves_frees_its_place_at_once() {
    let relay = TestRelay::default();
    let mut polite = relay.ask_web("u");
    relay.wait_for("it to be parked", |r| r.counters().parked.load(Relaxed) == 1);
    relay.runtime.block_on(polite.close(None)).unwrap();
    relay.wait_for("its place to be free", |r| r.waiting() == 0);
    let gone = relay.ask_web("u");
    relay.wait_for("it to be parked", |r| r.counters().parked.load(Relaxed) == 2);
    drop(gone);
    relay.wait_for("its place to be free", |r| r.waiting() == 0);
    assert_eq!(relay.handle.counters().refused(Refusal::LeftWaiting), 2);
    let (mut tcp, mut web) = (relay.ask("u"), relay.ask_web("u"));
    tcp.write_all(&framed(b"new")).unwrap();
    assert_eq!(relay.hear(&mut web).unwrap(), b"new");
}

#[test]
fn refusals_close_and_are_counted() {
    let relay = TestRelay::start(RelayConfig { key: Some("k".into()), ..TestRelay::config() });
    let table = [
        (message("u", "wrong").encode_to_vec(), Refusal::WrongKey),
        (message("", "k").encode_to_vec(), Refusal::EmptyUuid),
        (vec![0xff; 9], Refusal::Malformed),
        (vec![0; 600], Refusal::TooLong),
        (vec![], Refusal::OtherMessage),
    ];
    for (bytes, why) in table {
        let mut web = relay.open_web(None);
        relay.say(&mut web, &bytes);
        assert_eq!(relay.hear(&mut web), None, "{why:?}");
        relay.wait_for(why.kind(), |r| r.counters().refused(why) == 1);
    }
    let mut plain = std::net::TcpStream::connect(relay.handle.web_addrs()[0]).unwrap();
    plain.write_all(&request("u", "k")).unwrap();
    plain.write_all(b"\r\n\r\n").unwrap();
    rest(&mut plain);
    relay.wait_for("no WebSocket", |r| r.counters().refused(Refusal::NotWebSocket) == 1);
    relay.wait_for("nobody to be left", |r| r.waiting() == 0);
}

#[test]
fn a_silent_pair_is_closed_and_so_is_who_finds_no_partner() {
    let short = Duration::from_millis(300);
    let config = RelayConfig { idle_timeout: short, pairing_timeout: short, ..TestRelay::config() };
    let relay = TestRelay::start(config);
    let mut alone = relay.ask_web("u");
    assert_eq!(relay.hear(&mut alone), None);
    relay.wait_for("nobody to wait", |r| r.counters().refused(Refusal::NoPartner) == 1);
    let (mut tcp, mut web) = (relay.ask("v"), relay.ask_web("v"));
    assert_eq!(relay.hear(&mut web), None);
    assert_eq!(rest(&mut tcp), b"");
    relay.wait_for("it to be counted", |r| r.counters().pairs_idle.load(Relaxed) == 1);
}

#[test]
fn a_client_behind_a_proxy_is_known_by_its_own_address_only_if_the_proxy_is_trusted() {
    let here = IpAddr::from(Ipv4Addr::LOCALHOST);
    let client: IpAddr = "203.0.113.9".parse().unwrap();
    for trusted in [false, true] {
        let proxies = if trusted { [here].into() } else { [].into() };
        let relay = TestRelay::start(RelayConfig { trusted_proxies: proxies, ..TestRelay::config() });
        let mut web = relay.open_web(Some(("X-Real-IP", "203.0.113.9")));
        relay.say(&mut web, &message("u", "").encode_to_vec());
        let mut tcp = relay.ask("u");
        tcp.write_all(&framed(b"hello")).unwrap();
        assert_eq!(relay.hear(&mut web).unwrap(), b"hello");
        let pair = relay.handle.pairs().remove(0);
        let of_web = if pair.first == tcp.local_addr().unwrap() { pair.second } else { pair.first };
        let expected =
            if trusted { SocketAddr::new(client, 0) } else { SocketAddr::new(here, of_web.port()) };
        assert_eq!(of_web, expected);
        relay.handle.set_blocked([client].into());
        if trusted {
            assert_eq!(relay.hear(&mut web), None);
        } else {
            tcp.write_all(&framed(b"still here")).unwrap();
            assert_eq!(relay.hear(&mut web).unwrap(), b"still here");
        }
    }
}

#[test]
fn megabytes_pass_in_both_directions_at_once() {
    const MESSAGES: usize = 200;
    let relay = TestRelay::default();
    let (tcp, web) = (relay.ask("u"), relay.ask_web("u"));
    let mut bytes = vec![0; 100_000];
    Pattern::new(5).fill(&mut bytes);
    let want = framed(&bytes);
    let writer = {
        let (mut tcp, want) = (tcp.try_clone().unwrap(), want.clone());
        std::thread::spawn(move || (0..MESSAGES).for_each(|_| tcp.write_all(&want).unwrap()))
    };
    let reader = {
        let mut tcp = tcp.try_clone().unwrap();
        std::thread::spawn(move || {
            (0..MESSAGES).for_each(|n| assert!(read(&mut tcp, want.len()) == want, "{n}"))
        })
    };
    let (mut sink, mut stream) = web.split();
    let outgoing = bytes.clone();
    let sender = relay.runtime.spawn(async move {
        for _ in 0..MESSAGES {
            sink.send(Message::Binary(outgoing.clone().into())).await.unwrap();
        }
        drop(sink);
    });
    relay.runtime.block_on(async {
        for n in 0..MESSAGES {
            let message = timeout(DEADLINE, stream.next()).await.unwrap().unwrap().unwrap();
            assert!(message.into_data() == bytes, "message {n}");
        }
        sender.await.unwrap();
    });
    writer.join().unwrap();
    reader.join().unwrap();
}

#[test]
fn a_message_over_the_limit_ends_the_pair() {
    let limits = Limits { web_message: 1000, ..Limits::default() };
    let relay = TestRelay::start(RelayConfig { limits, ..TestRelay::config() });
    let (mut tcp, mut web) = (relay.ask("u"), relay.ask_web("u"));
    relay.say(&mut web, &[7; 1000]);
    assert_eq!(read(&mut tcp, 1002), framed(&[7; 1000]));
    tcp.write_all(&framed(&[7; 1001])).unwrap();
    assert_eq!(relay.hear(&mut web), None);
    rest(&mut tcp);
}

/// A handshake and a request as a browser sends them, and variations of both.
#[test]
fn mutated_handshakes_disturb_nobody() {
    let relay = TestRelay::default();
    let addr = relay.handle.web_addrs()[0];
    let handshake = format!(
        "GET / HTTP/1.1\r\nHost: {addr}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let request = message("u", "").encode_to_vec();
    // Masked with zeros.
    let frame = [&[0x82, 0x80 | request.len() as u8, 0, 0, 0, 0][..], &request].concat();
    let good = [handshake.as_bytes(), &frame].concat();
    let mut mutator = Mutator::new(7, vec![good, handshake.into_bytes(), frame]);
    let (mut a, mut b) = relay.pair("undisturbed");
    for n in 0..500_u32 {
        let mut stranger = std::net::TcpStream::connect(addr).unwrap();
        // It may be closed before it has said everything.
        stranger.write_all(&mutator.input()).ok();
        exchange(&mut a, &mut b, &n.to_le_bytes());
    }
    relay.wait_for("the strangers to be gone", |r| r.waiting() == 0);
    exchange(&mut b, &mut a, b"still here");
    let mut web = relay.ask_web("v");
    let mut tcp = relay.ask("v");
    relay.say(&mut web, b"hello");
    assert_eq!(read(&mut tcp, 6), framed(b"hello"));
}
