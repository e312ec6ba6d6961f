//! WebSocket peers, with and without a proxy in front.

use crate::peer::{Connection, Datagrams, LIMIT, config, main_addr, punch, register_pk, start, test_nat};
use bytes::Bytes;
use deskhand_tests::net::own_address;
use futures_util::{SinkExt as _, StreamExt as _};
use hbb_common::addr::demangle;
use hbb_common::rendezvous::register_pk_response::Result as Code;
use hbb_common::rendezvous::{PunchHoleSent, RendezvousMessage, rendezvous_message::Union};
use hbbs::{Handle, ServerConfig};
use prost::Message as _;
use std::net::IpAddr;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{WebSocketStream, client_async};

struct Web(WebSocketStream<TcpStream>);

impl Web {
    async fn open(server: &Handle, path: &str, headers: &[(&'static str, &str)]) -> Self {
        let at = server.addresses().websocket[0];
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((IpAddr::from(own_address()), 0).into()).unwrap();
        let socket = socket.connect(at).await.unwrap();
        let mut request = format!("ws://{at}{path}").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        Self(client_async(request, socket).await.unwrap().0)
    }

    async fn send(&mut self, union: Union) {
        let bytes = RendezvousMessage { union: Some(union) }.encode_to_vec();
        self.0.send(Message::Binary(bytes.into())).await.unwrap();
    }

    async fn binary(&mut self) -> Option<Bytes> {
        let next = tokio::time::timeout(LIMIT, self.0.next()).await.expect("a message or the end");
        match next {
            Some(Ok(Message::Binary(bytes))) => Some(bytes),
            _ => None,
        }
    }

    async fn receive(&mut self) -> Union {
        let bytes = self.binary().await.expect("a message before the end");
        RendezvousMessage::decode(bytes).unwrap().union.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_and_a_client_on_websockets() {
    let server = start(config());
    let mut host = Web::open(&server, "/ws/id", &[]).await;
    host.send(register_pk("123456789")).await;
    let Union::RegisterPkResponse(m) = host.receive().await else { panic!() };
    assert_eq!((m.result(), m.keep_alive), (Code::Ok, 20));
    let mut client = Web::open(&server, "/any/path", &[]).await;
    client.send(punch(&server, "123456789")).await;
    let Union::PunchHole(push) = host.receive().await else { panic!("no PunchHole") };
    let (id, version) = ("123456789".into(), "1.4.9".into());
    let answer = PunchHoleSent { socket_addr: push.socket_addr, id, version, ..Default::default() };
    // Echoed from elsewhere: the host's other connection.
    let mut reply = Connection::open_from(own_address().into(), main_addr(&server));
    reply.send(Union::PunchHoleSent(answer));
    assert!(matches!(client.receive().await, Union::PunchHoleResponse(m) if m.pk.len() == 109));
    assert!(reply.ends());
    host.0.close(None).await.unwrap();
    while host.binary().await.is_some() {}
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_one_proxy_get_their_own_answers() {
    // Each connection of this test has an address of its own, so all of them are proxies.
    let proxies: Vec<IpAddr> =
        (0..=u8::MAX).flat_map(|_| std::iter::once(IpAddr::from(own_address()))).collect();
    let server = start(ServerConfig { trusted_proxies: proxies, ..config() });
    let host_ip = own_address();
    let host = Datagrams::new(host_ip.into(), main_addr(&server));
    assert_eq!(host.claim("123456789"), Code::Ok);
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = Web::open(&server, "/ws/id", &[("x-real-ip", "192.0.2.7")]).await;
        client.send(punch(&server, "123456789")).await;
        let Union::PunchHole(push) = host.receive() else { panic!("no PunchHole") };
        assert_eq!(demangle(&push.socket_addr).ip(), "192.0.2.7".parse::<IpAddr>().unwrap());
        clients.push((client, push.socket_addr));
    }
    for (number, (client, socket_addr)) in clients.iter_mut().enumerate() {
        let mut reply = Connection::open_from(host_ip.into(), main_addr(&server));
        reply.send(Union::PunchHoleSent(PunchHoleSent {
            socket_addr: socket_addr.clone(),
            id: "123456789".into(),
            relay_server: format!("for client {number}"),
            ..Default::default()
        }));
        let Union::PunchHoleResponse(m) = client.receive().await else { panic!() };
        assert_eq!(m.relay_server, format!("for client {number}"));
    }
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_can_not_claim_another_address() {
    let server = start(config());
    let host = Datagrams::new(own_address().into(), main_addr(&server));
    assert_eq!(host.claim("123456789"), Code::Ok);
    let mut client = Web::open(&server, "/", &[("x-real-ip", "192.0.2.7")]).await;
    let own = client.0.get_ref().local_addr().unwrap();
    client.send(punch(&server, "123456789")).await;
    let Union::PunchHole(push) = host.receive() else { panic!("no PunchHole") };
    assert_eq!(demangle(&push.socket_addr), own);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_too_long_or_not_binary() {
    let server = start(config());
    let mut client = Web::open(&server, "/", &[]).await;
    client.0.send(Message::Text("hello".into())).await.unwrap();
    client.send(test_nat()).await;
    assert!(matches!(client.receive().await, Union::TestNatResponse(_)), "texts are passed over");
    assert!(client.binary().await.is_none(), "and the connection ends as usual");
    let mut client = Web::open(&server, "/", &[]).await;
    client.0.send(Message::Binary(vec![0; 5000].into())).await.unwrap();
    assert!(client.binary().await.is_none());
    assert_eq!(server.counts().connections_malformed, 1);
    server.shutdown().await;
}
