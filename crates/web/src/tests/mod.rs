//! The whole way of a client and a person, over the router that the product uses.

mod bearer;
mod external;
mod flow;
mod hostile;
mod viewer;

use crate::auth::{self, AuthConfig, AuthState, Issuer, hash_password};
use crate::fetch::{Document, Documents, FetchError};
use crate::oauth::OAuthConfig;
use crate::{Clock, form::Form};
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::routing::get;
use axum::{Extension, Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::BoxFuture;
use policy::{Caller, Grant};
use reqwest::Url;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use store::{Seconds, Store, UserRow};
use tempfile::TempDir;
use tower::ServiceExt as _;

const NOW: Seconds = 1_800_000_000;
const HOST: &str = "desk.example";
const ORIGIN: &str = "https://desk.example";
const CALLBACK: &str = "https://claude.ai/api/mcp/auth_callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const PASSWORD: &str = "correct horse";

/// Argon2 is slow on purpose.
static HASH: LazyLock<String> = LazyLock::new(|| hash_password(PASSWORD).unwrap());

/// Documents out of a table, and what was asked for.
#[derive(Debug, Default, Clone)]
struct Table {
    documents: Arc<Mutex<HashMap<String, Document>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Table {
    fn put(&self, url: &str, body: &Value) {
        let document = Document { body: body.to_string().into_bytes(), max_age: Some(300) };
        self.documents.lock().unwrap().insert(url.into(), document);
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

impl Documents for Table {
    fn get(&self, url: Url, _: usize) -> BoxFuture<'static, Result<Document, FetchError>> {
        self.asked.lock().unwrap().push(url.to_string());
        let found = self.documents.lock().unwrap().get(url.as_str()).cloned();
        Box::pin(async move { found.ok_or(FetchError::Status { status: 404 }) })
    }
}

/// A server with its state on disk and its clock in our hand.
struct World {
    directory: TempDir,
    state: AuthState,
    app: Router,
    now: Arc<AtomicI64>,
    table: Table,
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Reply {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{}: {}", self.status, self.body))
    }

    /// Where it leads, as a URL of this server or another.
    fn location(&self) -> Url {
        assert_eq!(self.status, StatusCode::SEE_OTHER, "{}", self.body);
        Url::parse(ORIGIN).unwrap().join(self.header("location")).unwrap()
    }

    /// The error code in a JSON body or in the address it leads to.
    fn error(&self) -> String {
        match self.headers.contains_key("location") {
            true => parameter(&self.location(), "error"),
            false => self.json()["error"].as_str().unwrap_or_default().to_owned(),
        }
    }
}

fn parameter(url: &Url, name: &str) -> String {
    let form = Form::parse(url.query().unwrap_or_default().as_bytes()).unwrap();
    form.all(name).next().unwrap_or_default().to_owned()
}

fn encode(pairs: &[(&str, &str)]) -> String {
    let mut url = Url::parse("http://x/").unwrap();
    url.query_pairs_mut().extend_pairs(pairs);
    url.query().unwrap_or_default().to_owned()
}

fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}

async fn whoami(Extension(caller): Extension<Arc<Caller>>) -> Json<Value> {
    Json(json!({
        "credential": caller.credential,
        "name": caller.name,
        "kind": format!("{:?}", caller.kind),
        "classes": caller.grant.classes.to_string(),
        "targets": caller.grant.targets.to_string(),
        "mode": caller.grant.mode.name(),
    }))
}

fn app(state: &AuthState) -> Router {
    let admin =
        auth::require(Router::new().route("/admin", get(whoami)), state, "observe admin".parse().unwrap());
    let clients = auth::protect(Router::new().route("/mcp", get(whoami).post(whoami)).merge(admin), state);
    let pages = auth::protect_browser(Router::new().route("/view", get(whoami).post(whoami)), state);
    state.guard().protect(clients.merge(pages)).merge(auth::router(state))
}

impl World {
    async fn new() -> Self {
        Self::with(|_, _| {}).await
    }

    async fn with(change: impl Fn(&mut AuthConfig, &mut OAuthConfig)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let table = Table::default();
        let (state, now) = Self::open(&directory, &table, change);
        let world = Self { app: app(&state), directory, state, now, table };
        world.add_user("alice", Grant::everything()).await;
        world
    }

    fn open(
        directory: &TempDir,
        table: &Table,
        change: impl Fn(&mut AuthConfig, &mut OAuthConfig),
    ) -> (AuthState, Arc<AtomicI64>) {
        let now = Arc::new(AtomicI64::new(NOW));
        let hand = Arc::clone(&now);
        let mut config = AuthConfig::new(Url::parse(ORIGIN).unwrap());
        config.clock = Clock::from_fn(move || hand.load(Ordering::Relaxed));
        let mut oauth = OAuthConfig {
            source: Some(Arc::new(table.clone())),
            machines: Arc::new(|| vec!["office".into(), "<lab>".into()]),
            ..OAuthConfig::default()
        };
        change(&mut config, &mut oauth);
        if matches!(config.issuer, Issuer::Operator) {
            config.issuer = Issuer::Own(Box::new(oauth));
        }
        (AuthState::new(Store::open(directory.path()).unwrap(), config).unwrap(), now)
    }

    /// The same files under a new process.
    fn restarted(self) -> Self {
        let now = self.now.load(Ordering::Relaxed);
        drop((self.app, self.state));
        let (state, clock) = Self::open(&self.directory, &self.table, |_, _| {});
        clock.store(now, Ordering::Relaxed);
        Self { app: app(&state), state, now: clock, directory: self.directory, table: self.table }
    }

    fn pass(&self, seconds: Seconds) {
        self.now.fetch_add(seconds, Ordering::Relaxed);
    }

    async fn add_user(&self, name: &str, grant: Grant) {
        let user = UserRow { name: name.into(), password: HASH.clone(), grant, created_at: NOW };
        assert!(self.state.store().add_user(user).await.unwrap());
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        Reply {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        }
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.send(request("GET", path, headers, Body::empty())).await
    }

    /// A form without anything of a browser.
    async fn post(&self, path: &str, pairs: &[(&str, &str)]) -> Reply {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        self.send(request("POST", path, &form, encode(pairs).into())).await
    }

    async fn register(&self, metadata: &Value) -> Reply {
        let json = [("content-type", "application/json")];
        self.send(request("POST", "/register", &json, metadata.to_string().into())).await
    }

    async fn whoami(&self, token: &str) -> Reply {
        self.get("/mcp", &[("authorization", &format!("Bearer {token}"))]).await
    }

    async fn sign_in(&self, name: &str) -> Browser<'_> {
        let mut browser = Browser { world: self, cookie: String::new() };
        let form = [("name", name), ("password", PASSWORD), ("next", "/account")];
        let reply = browser.post("/sign-in", &form).await;
        assert_eq!(reply.location().path(), "/account");
        browser.cookie = reply.header("set-cookie").split(';').next().unwrap().to_owned();
        browser
    }

    /// Everything up to the code: alice allows `claude` what it asks for.
    async fn code(&self) -> String {
        let browser = self.sign_in("alice").await;
        let reply = browser.allow(&Asking::default().query(), &ALLOW).await;
        parameter(&reply.location(), "code")
    }

    async fn exchange(&self, code: &str) -> Reply {
        self.post("/token", &exchange(code)).await
    }

    async fn refresh(&self, token: &str) -> Reply {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "claude")];
        self.post("/token", &form).await
    }
}

fn exchange(code: &str) -> [(&'static str, &str); 5] {
    [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("client_id", "claude"),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ]
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: Body) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header(header::HOST, HOST);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).unwrap()
}

/// What alice ticks.
const ALLOW: [(&str, &str); 6] = [
    ("decision", "allow"),
    ("scope", "observe"),
    ("scope", "interact"),
    ("machines", "all"),
    ("mode", "edit"),
    ("lifetime", "month"),
];

/// An authorisation request, part by part.
struct Asking(Vec<(&'static str, String)>);

impl Default for Asking {
    fn default() -> Self {
        Self(vec![
            ("response_type", "code".into()),
            ("client_id", "claude".into()),
            ("redirect_uri", CALLBACK.into()),
            ("code_challenge", challenge(VERIFIER)),
            ("code_challenge_method", "S256".into()),
            ("scope", "observe interact execute".into()),
            ("state", "st=1&x".into()),
        ])
    }
}

impl Asking {
    fn with(mut self, name: &'static str, value: &str) -> Self {
        self = self.without(name);
        self.0.push((name, value.to_owned()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.0.retain(|(own, _)| *own != name);
        self
    }

    fn query(&self) -> String {
        encode(&self.0.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>())
    }
}

/// A browser with one cookie.
struct Browser<'w> {
    world: &'w World,
    cookie: String,
}

impl Browser<'_> {
    async fn get(&self, path: &str) -> Reply {
        let headers = [("cookie", self.cookie.as_str()), ("accept", "text/html")];
        self.world.get(path, &headers).await
    }

    async fn post(&self, path: &str, pairs: &[(&str, &str)]) -> Reply {
        self.post_from(ORIGIN, path, pairs).await
    }

    async fn post_from(&self, origin: &str, path: &str, pairs: &[(&str, &str)]) -> Reply {
        let mut headers =
            vec![("content-type", "application/x-www-form-urlencoded"), ("cookie", self.cookie.as_str())];
        if !origin.is_empty() {
            headers.push(("origin", origin));
        }
        self.world.send(request("POST", path, &headers, encode(pairs).into())).await
    }

    /// The consent page for a request.
    async fn consent_page(&self, query: &str) -> Reply {
        self.get(&format!("/authorize?{query}")).await
    }

    /// Fills the consent page in and sends it.
    async fn allow(&self, query: &str, choices: &[(&str, &str)]) -> Reply {
        let page = self.consent_page(query).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.body);
        let (csrf, request) = (field(&page.body, "csrf"), field(&page.body, "request"));
        let mut form = vec![("csrf", csrf.as_str()), ("request", request.as_str())];
        form.extend_from_slice(choices);
        self.post("/authorize", &form).await
    }
}

/// The value of a hidden field.
fn field(html: &str, name: &str) -> String {
    let start = format!("name=\"{name}\" value=\"");
    let (_, rest) = html.split_once(&start).unwrap_or_else(|| panic!("no {name} in {html}"));
    let (value, _) = rest.split_once('"').unwrap();
    value.replace("&amp;", "&").replace("&quot;", "\"").replace("&lt;", "<").replace("&#39;", "'")
}
