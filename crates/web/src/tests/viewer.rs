//! The viewer, as a browser talks to it.

use super::*;
use crate::viewer;
use futures_util::{SinkExt as _, StreamExt as _};
use policy::CallerKind;
use remote::Size;
use sessions::testing::{FakeConnector, FakePeer};
use sessions::{
    Access, Act, Action, ConnectRequest, ConnectTo, FileSecrets, Sessions, SessionsConfig, Space,
};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

const LIMIT: Duration = Duration::from_secs(20);
const SCREEN: Size = Size::new(640, 400);

/// A gateway with one session of a model's, and alice signed in.
struct Office {
    world: World,
    peer: FakePeer,
    model: Access,
    session: String,
    cookie: String,
}

impl Office {
    async fn new() -> Self {
        let mut world = World::new().await;
        let connector = FakeConnector::new(|_| FakePeer::ready(SCREEN));
        let secrets = Arc::new(FileSecrets::default());
        let sessions =
            Arc::new(Sessions::new(SessionsConfig::default(), vec![connector.clone()], vec![], secrets));
        world.app = viewer::router(&world.state, Arc::clone(&sessions)).merge(auth::router(&world.state));
        let model = Caller { credential: "token:m".into(), ..Caller::local("claude", CallerKind::Model) };
        let model = sessions.access(&Arc::new(model));
        let to = ConnectTo::Address { address: "kiosk".into(), protocol: None };
        let connect = ConnectRequest { to, password: None, wait: LIMIT, another: false };
        let session = model.connect(connect).await.unwrap().session.to_string();
        let cookie = world.sign_in("alice").await.cookie;
        Self { world, peer: connector.opened().remove(0), model, session, cookie }
    }

    async fn get(&self, path: &str) -> Reply {
        self.world.get(path, &[("cookie", &self.cookie)]).await
    }

    /// A WebSocket of a page at `origin`.
    async fn live(&self, origin: &str) -> tungstenite::Result<WebSocketStream<TcpStream>> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = self.world.app.clone();
        tokio::spawn(async move { axum::serve(listener, app).await });
        let address_of_page = format!("ws://{HOST}/view/api/sessions/{}/live", self.session);
        let mut request = address_of_page.into_client_request()?;
        for (name, value) in [("cookie", self.cookie.as_str()), ("origin", origin)] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(address).await.unwrap();
        client_async(request, stream).await.map(|(socket, _)| socket)
    }

    /// What becomes of something that the model types.
    async fn model_types(&self, text: &str) -> Result<(), &'static str> {
        let act = Act {
            action: Action::Type { text: text.into() },
            display: None,
            space: Space::Picture,
            settle: None,
            picture: None,
        };
        self.model.act(None, act).await.map(drop).map_err(|error| error.kind())
    }
}

async fn send(socket: &mut WebSocketStream<TcpStream>, message: Value) {
    socket.send(Message::text(message.to_string())).await.unwrap();
}

/// The next message that `wanted` takes.
async fn next<T>(socket: &mut WebSocketStream<TcpStream>, wanted: impl Fn(&Message) -> Option<T>) -> T {
    let found = async {
        while let Some(Ok(message)) = socket.next().await {
            if let Some(found) = wanted(&message) {
                return found;
            }
        }
        panic!("the socket ended")
    };
    tokio::time::timeout(LIMIT, found).await.expect("in time")
}

/// A message of that type.
async fn told(socket: &mut WebSocketStream<TcpStream>, what: impl Fn(&Value) -> bool) -> Value {
    next(socket, |message| {
        let value: Value = serde_json::from_str(message.to_text().ok()?).ok()?;
        what(&value).then_some(value)
    })
    .await
}

#[tokio::test]
async fn the_page_is_for_people_who_are_signed_in() {
    let office = Office::new().await;
    let strangers = office.world.get("/view", &[("accept", "text/html")]).await;
    assert_eq!(strangers.location().path(), "/sign-in");
    assert_eq!(office.world.get("/view/api/sessions", &[]).await.status, StatusCode::UNAUTHORIZED);
    let page = office.get("/view").await;
    assert!(page.body.contains("alice") && !page.body.contains("{{"), "{}", page.body);
    assert!(page.header("content-security-policy").contains("frame-ancestors 'none'"));
    let list = office.get("/view/api/sessions").await.json();
    assert_eq!(list["sessions"][0]["target"], "kiosk", "{list}");
    let small = office.get(&format!("/view/api/sessions/{}/thumbnail", office.session)).await;
    assert_eq!((small.status, small.header("content-type")), (StatusCode::OK, "image/jpeg"));
    assert_eq!(office.get("/view/api/sessions/s_none/thumbnail").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn pages_of_others_open_no_socket() {
    let office = Office::new().await;
    for origin in ["https://evil.example", "null"] {
        let Err(tungstenite::Error::Http(refused)) = office.live(origin).await else { panic!("{origin}") };
        assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{origin}");
    }
}

#[tokio::test]
async fn a_person_sees_takes_over_and_gives_back() {
    let office = Office::new().await;
    office.model_types("a").await.unwrap();
    let mut page = office.live(ORIGIN).await.unwrap();
    let step = told(&mut page, |value| value["operation"] == "act" || value["type"] == "step").await;
    assert_eq!(step["name"], "claude", "what happened before: {step}");
    send(&mut page, json!({ "type": "watch", "video": true })).await;
    // This peer has no video.
    let picture = next(&mut page, |message| match message {
        Message::Binary(bytes) => Some(bytes.clone()),
        _ => None,
    })
    .await;
    assert_eq!(picture[..8], [2, 0, 2, 128, 1, 144, 0xff, 0xd8]);

    send(&mut page, json!({ "type": "take" })).await;
    told(&mut page, |value| value["control"]["mine"] == true).await;
    assert_eq!(office.model_types("b").await, Err("human_in_control"));
    send(&mut page, json!({ "type": "input", "inputs": [{ "text": "hi" }] })).await;
    tokio::time::timeout(LIMIT, async {
        while office.peer.typed() != "ahi" {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("what was typed arrives");
    send(&mut page, json!({ "type": "give" })).await;
    told(&mut page, |value| value["type"] == "control" && value["control"].is_null()).await;
    office.model_types("c").await.unwrap();

    send(&mut page, json!({ "type": "stop" })).await;
    told(&mut page, |value| value["stopped"] == true).await;
    assert_eq!(office.model_types("d").await, Err("human_in_control"));
    send(&mut page, json!({ "type": "resume" })).await;
    told(&mut page, |value| value["stopped"] == false).await;
    office.model_types("e").await.unwrap();
    assert_eq!(office.peer.typed(), "ahice");
}

#[tokio::test]
async fn what_a_page_should_not_say_is_told_and_ends_nothing() {
    let office = Office::new().await;
    let mut page = office.live(ORIGIN).await.unwrap();
    for wrong in ["{", r#"{"type":"sudo"}"#, r#"{"type":"input","inputs":[{"text":"x"}]}"#] {
        page.send(Message::text(wrong)).await.unwrap();
        told(&mut page, |value| value["type"] == "error").await;
    }
    assert_eq!(office.peer.typed(), "", "nobody took over");
}
