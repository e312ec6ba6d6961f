//! Credentials on requests.

use super::*;
use crate::auth::tokens::{self, NewToken};
use policy::CallerKind;

async fn token(world: &World, classes: &str, expires_at: Option<Seconds>) -> (String, String) {
    let classes = classes.parse().unwrap();
    let grant = Grant { classes, targets: "tag:lab".parse().unwrap(), ..Grant::everything() };
    let new = NewToken { name: "ci".into(), kind: CallerKind::Script, grant, expires_at };
    let (secret, row) = tokens::create(world.state.store(), new, NOW).await.unwrap();
    (secret.expose().to_owned(), row.id)
}

#[tokio::test]
async fn an_operators_token_stands_for_its_grant_until_it_ends() {
    let world = World::new().await;
    let (secret, id) = token(&world, "observe execute", Some(NOW + 100)).await;
    let me = world.whoami(&secret).await.json();
    assert_eq!(me["credential"], format!("token:{id}"));
    assert_eq!((me["name"].as_str(), me["kind"].as_str()), (Some("ci"), Some("Script")));
    assert_eq!((me["classes"].as_str(), me["targets"].as_str()), (Some("observe execute"), Some("tag:lab")));
    let listed = tokens::list(world.state.store()).await.unwrap();
    assert_eq!(listed.iter().map(|t| t.id.as_str()).collect::<Vec<_>>(), [id.as_str()]);
    assert!(!format!("{listed:?}").contains(&secret), "the secret is not kept");
    world.pass(100);
    assert_eq!(world.whoami(&secret).await.status, StatusCode::UNAUTHORIZED);
    let (secret, id) = token(&world, "observe", None).await;
    assert_eq!(world.whoami(&secret).await.status, StatusCode::OK);
    assert_eq!(tokens::revoke(world.state.store(), &id, NOW).await.unwrap().len(), 1);
    let gone = world.whoami(&secret).await;
    assert_eq!(gone.status, StatusCode::UNAUTHORIZED);
    assert!(gone.header("www-authenticate").contains("error=\"invalid_token\""));
}

#[tokio::test]
async fn a_token_goes_into_one_header_and_nowhere_else() {
    let world = World::new().await;
    let (secret, _) = token(&world, "observe", None).await;
    let bearer = format!("Bearer {secret}");
    let good = ("authorization", bearer.as_str());
    assert_eq!(world.get("/mcp", &[good]).await.status, StatusCode::OK);
    let in_address = format!("/mcp?access_token={secret}");
    for headers in [&[][..], &[good]] {
        let reply = world.get(&in_address, headers).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        assert!(reply.header("www-authenticate").contains("error=\"invalid_request\""));
    }
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let body = format!("access_token={secret}");
    let posted = world.send(request("POST", "/mcp", &form, body.into())).await;
    assert_eq!(posted.status, StatusCode::UNAUTHORIZED);
    assert_eq!(world.get("/mcp", &[good, good]).await.status, StatusCode::BAD_REQUEST);
    for other in [format!("Basic {secret}"), secret.clone(), "Bearer".into(), "Bearer é".into()] {
        let reply = world.get("/mcp", &[("authorization", &other)]).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{other}");
    }
    let lower = format!("bearer {secret}");
    assert_eq!(world.get("/mcp", &[("authorization", &lower)]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn one_kind_of_secret_is_not_another() {
    let world = World::new().await;
    let browser = world.sign_in("alice").await;
    let (_, cookie) = browser.cookie.split_once('=').unwrap();
    let code = world.code().await;
    let issued = world.exchange(&code).await.json();
    let refresh = issued["refresh_token"].as_str().unwrap();
    for secret in [cookie, code.as_str(), refresh, "x", "eyJhbGciOiJub25lIn0.e30."] {
        assert_eq!(world.whoami(secret).await.status, StatusCode::UNAUTHORIZED, "{secret}");
    }
    assert_eq!(world.refresh(issued["access_token"].as_str().unwrap()).await.error(), "invalid_grant");
    assert_eq!(world.exchange(refresh).await.error(), "invalid_grant");
}

#[tokio::test]
async fn wrong_tokens_are_limited_and_right_ones_are_not() {
    let world = World::new().await;
    let (secret, _) = token(&world, "observe", None).await;
    let mut limited = 0;
    for _ in 0..40 {
        let reply = world.whoami("dh_t_wrong").await;
        if reply.status == StatusCode::TOO_MANY_REQUESTS {
            assert!(reply.header("retry-after").parse::<u64>().unwrap() > 0);
            limited += 1;
        }
    }
    assert!((5..=10).contains(&limited), "{limited}");
    assert_eq!(world.whoami(&secret).await.status, StatusCode::OK);
    assert_eq!(world.state.counters().limited.get(), limited);
}

#[tokio::test]
async fn a_missing_scope_is_told_with_all_that_are_needed() {
    let world = World::new().await;
    let (secret, _) = token(&world, "observe", None).await;
    let bearer = format!("Bearer {secret}");
    let reply = world.get("/admin", &[("authorization", &bearer)]).await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    let challenge = reply.header("www-authenticate");
    assert!(
        challenge.starts_with("Bearer error=\"insufficient_scope\", scope=\"observe admin\""),
        "{challenge}"
    );
    let (secret, _) = token(&world, "observe admin", None).await;
    let bearer = format!("Bearer {secret}");
    assert_eq!(world.get("/admin", &[("authorization", &bearer)]).await.status, StatusCode::OK);
    assert_eq!(world.get("/admin", &[]).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_signed_in_browser_is_a_person_and_proves_its_changes() {
    let world = World::new().await;
    let stranger = Browser { world: &world, cookie: String::new() };
    let led = stranger.get("/view?s=1").await.location();
    assert_eq!((led.path(), parameter(&led, "next").as_str()), ("/sign-in", "/view?s=1"));
    let script = world.get("/view", &[]).await;
    assert_eq!(script.status, StatusCode::UNAUTHORIZED, "a script is not led to a page");
    let browser = world.sign_in("alice").await;
    let me = browser.get("/view").await.json();
    assert_eq!((me["credential"].as_str(), me["kind"].as_str()), (Some("user:alice"), Some("Person")));
    assert_eq!(browser.get("/mcp").await.status, StatusCode::UNAUTHORIZED, "no cookies for clients");
    let csrf = field(&browser.get("/account").await.body, "csrf");
    let post = async |headers: &[(&str, &str)]| {
        let headers = [&[("cookie", browser.cookie.as_str())], headers].concat();
        world.send(request("POST", "/view", &headers, Body::empty())).await.status
    };
    let own = ("origin", ORIGIN);
    assert_eq!(post(&[own]).await, StatusCode::FORBIDDEN);
    assert_eq!(post(&[own, ("x-deskhand-csrf", "x")]).await, StatusCode::FORBIDDEN);
    assert_eq!(post(&[("x-deskhand-csrf", &csrf)]).await, StatusCode::FORBIDDEN, "from no page");
    assert_eq!(post(&[own, ("x-deskhand-csrf", &csrf)]).await, StatusCode::OK);
    let socket = async |origin: &str| {
        let headers = [("cookie", browser.cookie.as_str()), ("upgrade", "websocket"), ("origin", origin)];
        world.get("/view", &headers).await.status
    };
    assert_eq!(socket(ORIGIN).await, StatusCode::OK);
    assert_eq!(socket("https://evil.example").await, StatusCode::FORBIDDEN);
    let none = world.get("/view", &[("cookie", &browser.cookie), ("upgrade", "websocket")]).await;
    assert_eq!(none.status, StatusCode::FORBIDDEN);
    let (secret, _) = token(&world, "observe", None).await;
    let bearer = format!("Bearer {secret}");
    let scripted = request("POST", "/view", &[("authorization", &bearer)], Body::empty());
    assert_eq!(world.send(scripted).await.status, StatusCode::OK, "a bearer token needs no such proof");
}

#[tokio::test]
async fn cookies_are_for_this_site_alone() {
    let world = World::new().await;
    let form = [("name", "alice"), ("password", PASSWORD)];
    let browser = Browser { world: &world, cookie: String::new() };
    let reply = browser.post("/sign-in", &form).await;
    let cookie = reply.header("set-cookie");
    assert!(cookie.starts_with("__Host-deskhand=dh_s_"), "{cookie}");
    assert!(cookie.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
    let local =
        World::with(|config, _| config.public_url = Url::parse("http://127.0.0.1:8080").unwrap()).await;
    let headers = [
        ("host", "127.0.0.1:8080"),
        ("origin", "http://127.0.0.1:8080"),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let reply = local.send(request("POST", "/sign-in", &headers, encode(&form).into())).await;
    assert!(reply.header("set-cookie").starts_with("deskhand=dh_s_"), "no TLS on loopback");
}

#[tokio::test]
async fn a_server_that_people_reach_without_tls_has_no_sign_in() {
    let directory = tempfile::tempdir().unwrap();
    let new = |url: &str, issuer| {
        let config = AuthConfig { issuer, ..AuthConfig::new(Url::parse(url).unwrap()) };
        AuthState::new(Store::open(directory.path()).unwrap(), config)
    };
    let own = || {
        let source: Arc<dyn Documents> = Arc::new(Table::default());
        Issuer::Own(Box::new(OAuthConfig { source: Some(source), ..OAuthConfig::default() }))
    };
    assert!(matches!(new("http://desk.example", own()), Err(auth::AuthError::Insecure { .. })));
    assert!(matches!(new("https://desk.example/path", own()), Err(auth::AuthError::PublicUrl { .. })));
    assert!(matches!(new("ftp://desk.example", own()), Err(auth::AuthError::PublicUrl { .. })));
    let tokens_only = new("http://desk.example", Issuer::Operator).unwrap();
    let app = auth::router(&tokens_only);
    let at = |path| app.clone().oneshot(request("GET", path, &[], Body::empty()));
    assert_eq!(at("/sign-in").await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(at("/.well-known/oauth-protected-resource").await.unwrap().status(), StatusCode::OK);
}
