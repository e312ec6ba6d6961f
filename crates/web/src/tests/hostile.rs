//! What must not work.

use super::*;

#[tokio::test]
async fn nothing_is_agreed_to_but_on_our_own_page_in_the_same_session() {
    let world = World::new().await;
    world.add_user("bob", Grant::everything()).await;
    let (alice, bob) = (world.sign_in("alice").await, world.sign_in("bob").await);
    let query = Asking::default().query();
    let page = alice.consent_page(&query).await;
    assert!(page.header("location").is_empty(), "nothing approves itself");
    let csrf = field(&page.body, "csrf");
    let bobs = field(&bob.consent_page(&query).await.body, "csrf");
    assert_ne!(csrf, bobs);
    let form = |csrf| [vec![("csrf", csrf), ("request", query.as_str())], ALLOW.to_vec()].concat();
    for (what, origin, csrf) in [
        ("no csrf", ORIGIN, ""),
        ("wrong csrf", ORIGIN, "x"),
        ("another's csrf", ORIGIN, bobs.as_str()),
        ("a foreign page", "https://evil.example", csrf.as_str()),
        ("a sandboxed page", "null", csrf.as_str()),
        ("no page", "", csrf.as_str()),
    ] {
        let reply = alice.post_from(origin, "/authorize", &form(csrf)).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{what}");
    }
    let signed_out = Browser { world: &world, cookie: String::new() };
    assert_eq!(signed_out.post("/authorize", &form(&csrf)).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(world.state.store().consents(None, NOW).await.unwrap(), []);
    assert!(!parameter(&alice.post("/authorize", &form(&csrf)).await.location(), "code").is_empty());
    // Signing somebody in from a foreign page would let him grant to the wrong account.
    let form = [("name", "alice"), ("password", PASSWORD)];
    for origin in ["https://evil.example", ""] {
        let reply = alice.post_from(origin, "/sign-in", &form).await;
        assert_eq!((reply.status, reply.header("set-cookie")), (StatusCode::FORBIDDEN, ""));
    }
    let revoke = [("csrf", "x"), ("consent", "y")];
    assert_eq!(alice.post("/account/revoke", &revoke).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn pages_can_not_be_framed() {
    let world = World::new().await;
    let browser = world.sign_in("alice").await;
    let query = Asking::default().query();
    for path in ["/sign-in", "/account", &format!("/authorize?{query}")] {
        let page = browser.get(path).await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(page.header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(page.header("x-frame-options"), "DENY", "{path}");
        assert!(!page.body.contains("<script"), "{path}");
    }
}

#[tokio::test]
async fn codes_go_nowhere_else() {
    let world = World::new().await;
    let browser = world.sign_in("alice").await;
    for redirect in [
        "https://evil.example/",
        "https://claude.ai.evil.example/api/mcp/auth_callback",
        "https://claude.ai/api/mcp/auth_callback/",
        "https://claude.ai/api/mcp/auth_callback?x=1",
        "https://claude.ai/api/mcp/../mcp/auth_callback",
        "https://claude.ai@evil.example/api/mcp/auth_callback",
        "http://claude.ai/api/mcp/auth_callback",
        "//evil.example",
        "javascript:alert(1)",
    ] {
        let asking = Asking::default().with("redirect_uri", redirect);
        // Also where the client would only be told of an error.
        for query in [asking.query(), Asking(asking.0).without("code_challenge").query()] {
            let reply = browser.consent_page(&query).await;
            assert_eq!((reply.status, reply.header("location")), (StatusCode::BAD_REQUEST, ""), "{redirect}");
        }
    }
    let missing = Asking::default().without("redirect_uri").query();
    assert_eq!(browser.consent_page(&missing).await.status, StatusCode::BAD_REQUEST, "it has two");
    let unknown = Asking::default().with("client_id", "nobody").query();
    assert_eq!(browser.consent_page(&unknown).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_link_to_this_server_leads_to_no_address_that_anybody_registered() {
    let world = World::new().await;
    let evil = json!({ "redirect_uris": ["https://evil.example/"], "token_endpoint_auth_method": "none" });
    let id = world.register(&evil).await.json()["client_id"].as_str().unwrap().to_owned();
    let browser = world.sign_in("alice").await;
    let asking = Asking::default().with("client_id", &id).with("redirect_uri", "https://evil.example/");
    let query = asking.with("response_type", "bad").query();
    let stranger = Browser { world: &world, cookie: String::new() };
    for browser in [&browser, &stranger] {
        let reply = browser.consent_page(&query).await;
        assert_eq!((reply.status, reply.header("location")), (StatusCode::BAD_REQUEST, ""));
        let link = "<a href=\"https://evil.example/?error=unsupported_response_type&amp;";
        assert!(reply.body.contains(link), "a person can choose to go: {}", reply.body);
    }
}

#[tokio::test]
async fn the_sign_in_leads_nowhere_else() {
    let world = World::new().await;
    let browser = Browser { world: &world, cookie: String::new() };
    for next in [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "/%09/evil.example",
        "/\t/evil.example",
        "///evil.example",
        "/.//evil.example",
        "/x/..//evil.example",
        "javascript:alert(1)",
        "",
    ] {
        let page = browser.get(&format!("/sign-in?{}", encode(&[("next", next)]))).await;
        let shown = field(&page.body, "next");
        assert!(shown == "/account" || shown.starts_with("/%09/"), "{next:?} is shown as {shown:?}");
    }
    let form = [("name", "alice"), ("password", PASSWORD), ("next", "//evil.example/x")];
    assert_eq!(browser.post("/sign-in", &form).await.header("location"), "/account");
    let form = [("name", "alice"), ("password", PASSWORD), ("next", "/authorize?a=b%26c")];
    assert_eq!(browser.post("/sign-in", &form).await.header("location"), "/authorize?a=b%26c");
}

#[tokio::test]
async fn pkce_can_not_be_left_out_or_weakened() {
    let world = World::new().await;
    let browser = world.sign_in("alice").await;
    for asking in [
        Asking::default().without("code_challenge"),
        Asking::default().without("code_challenge_method"),
        Asking::default().with("code_challenge_method", "plain").with("code_challenge", VERIFIER),
        Asking::default().with("code_challenge_method", "s256"),
        Asking::default().with("code_challenge", "short"),
        Asking::default().with("code_challenge", &"+".repeat(43)),
    ] {
        let reply = browser.consent_page(&asking.query()).await;
        assert_eq!(reply.error(), "invalid_request", "{}", asking.query());
        assert_eq!(parameter(&reply.location(), "iss"), ORIGIN);
    }
    let code = world.code().await;
    let mut without = exchange(&code).to_vec();
    without.pop();
    assert_eq!(world.post("/token", &without).await.error(), "invalid_request");
    let mut with = exchange(&code);
    with[4].1 = "xBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    assert_eq!(world.post("/token", &with).await.error(), "invalid_grant");
    assert_eq!(world.exchange(&code).await.error(), "invalid_grant", "one guess");
    // The challenge itself is no verifier.
    let code = world.code().await;
    let challenge = challenge(VERIFIER);
    let mut with = exchange(&code);
    with[4].1 = &challenge;
    assert_eq!(world.post("/token", &with).await.error(), "invalid_grant");
}

#[tokio::test]
async fn a_replayed_code_takes_back_what_came_of_it() {
    let world = World::new().await;
    let code = world.code().await;
    let issued = world.exchange(&code).await.json();
    let (access, refresh) =
        (issued["access_token"].as_str().unwrap(), issued["refresh_token"].as_str().unwrap());
    let second = world.refresh(refresh).await.json();
    assert_eq!(world.whoami(access).await.status, StatusCode::OK);
    assert_eq!(world.exchange(&code).await.error(), "invalid_grant");
    for token in [access, second["access_token"].as_str().unwrap()] {
        assert_eq!(world.whoami(token).await.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(world.refresh(second["refresh_token"].as_str().unwrap()).await.error(), "invalid_grant");
    assert_eq!(world.state.counters().codes_replayed.get(), 1);
    let late = world.code().await;
    world.pass(60);
    assert_eq!(world.exchange(&late).await.error(), "invalid_grant", "expired");
}

#[tokio::test]
async fn a_stolen_refresh_token_is_noticed_by_its_second_use() {
    let world = World::new().await;
    let issued = world.exchange(&world.code().await).await.json();
    let stolen = issued["refresh_token"].as_str().unwrap();
    let thief = world.refresh(stolen).await.json();
    assert_eq!(world.whoami(thief["access_token"].as_str().unwrap()).await.status, StatusCode::OK);
    assert_eq!(world.refresh(stolen).await.error(), "invalid_grant", "the owner comes second");
    for token in [&thief["access_token"], &issued["access_token"]] {
        assert_eq!(world.whoami(token.as_str().unwrap()).await.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(world.refresh(thief["refresh_token"].as_str().unwrap()).await.error(), "invalid_grant");
    assert_eq!(world.state.counters().refresh_reused.get(), 1);
}

#[tokio::test]
async fn codes_and_tokens_are_the_clients_they_were_issued_to() {
    let world = World::new().await;
    let metadata =
        json!({ "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "client_secret_basic" });
    let other = world.register(&metadata).await.json();
    let (id, secret) = (other["client_id"].as_str().unwrap(), other["client_secret"].as_str().unwrap());
    let basic = |id: &str, secret: &str| {
        let text = base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}"));
        format!("Basic {text}")
    };
    let send = async |authorization: &str, pairs: &[(&str, &str)]| {
        let headers =
            [("content-type", "application/x-www-form-urlencoded"), ("authorization", authorization)];
        world.send(request("POST", "/token", &headers, encode(pairs).into())).await
    };
    let code = world.code().await;
    let mut form = exchange(&code).to_vec();
    form.remove(2);
    assert_eq!(send(&basic(id, secret), &form).await.error(), "invalid_grant", "claude's code");
    for authorization in [basic(id, "wrong"), basic(id, ""), basic("nobody", secret), "Basic %%%".into()] {
        let reply = send(&authorization, &form).await;
        assert_eq!((reply.status, reply.error().as_str()), (StatusCode::UNAUTHORIZED, "invalid_client"));
        assert!(reply.header("www-authenticate").starts_with("Basic"));
    }
    let posted = [("client_id", id), ("client_secret", secret), ("grant_type", "x")];
    assert_eq!(world.post("/token", &posted).await.error(), "unsupported_grant_type", "either way is proof");
    let unproved = [("client_id", id), ("grant_type", "x")];
    assert_eq!(world.post("/token", &unproved).await.error(), "invalid_client");
    assert_eq!(send(&basic(id, secret), &posted).await.error(), "invalid_request", "twice");
    let refresh =
        world.exchange(&world.code().await).await.json()["refresh_token"].as_str().unwrap().to_owned();
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh.as_str())];
    assert_eq!(send(&basic(id, secret), &form).await.error(), "invalid_grant");
    assert_eq!(world.refresh(&refresh).await.status, StatusCode::OK, "the owner is not harmed");
}

#[tokio::test]
async fn tokens_are_for_this_resource_alone() {
    let world = World::new().await;
    let browser = world.sign_in("alice").await;
    for other in
        ["https://other.example/mcp", "https://desk.example/other", "https://desk.example/mcp#x", "mcp"]
    {
        let reply = browser.consent_page(&Asking::default().with("resource", other).query()).await;
        assert_eq!(reply.error(), "invalid_target", "{other}");
    }
    for same in ["https://desk.example/mcp/", "https://desk.example", "https://DESK.example:443/mcp"] {
        let reply = browser.consent_page(&Asking::default().with("resource", same).query()).await;
        assert_eq!(reply.status, StatusCode::OK, "{same}");
    }
    let code = world.code().await;
    let form = [&exchange(&code)[..], &[("resource", "https://other.example/mcp")]].concat();
    assert_eq!(world.post("/token", &form).await.error(), "invalid_target");
    let token = world.exchange(&code).await.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(world.whoami(&token).await.status, StatusCode::OK);
    // The same store behind another name: the token was not made for that.
    let (state, _) = World::open(&world.directory, &world.table, |config, _| {
        config.public_url = Url::parse("https://other.example").unwrap();
    });
    let bearer = format!("Bearer {token}");
    let headers = [("host", "other.example"), ("authorization", bearer.as_str())];
    let reply = app(&state).oneshot(request("GET", "/mcp", &headers, Body::empty())).await.unwrap();
    assert_eq!(reply.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn requests_that_ask_for_what_is_not_there_are_told_so() {
    let world = World::new().await;
    let browser = world.sign_in("alice").await;
    for (name, value, error) in [
        ("response_type", "token", "unsupported_response_type"),
        ("response_type", "", "invalid_request"),
        ("response_mode", "fragment", "invalid_request"),
        ("scope", "root", "invalid_scope"),
        ("scope", "admin", "invalid_scope"),
        ("request", "eyJ", "request_not_supported"),
        ("request_uri", "https://evil.example", "request_uri_not_supported"),
    ] {
        let reply = browser.consent_page(&Asking::default().with(name, value).query()).await;
        assert_eq!(reply.error(), error, "{name}={value}");
    }
    let reply = browser.consent_page(&Asking::default().with("scope", "offline_access openid").query()).await;
    assert_eq!(reply.error(), "invalid_scope");
    let grant = world.post("/token", &[("grant_type", "password"), ("client_id", "claude")]).await;
    assert_eq!(grant.error(), "unsupported_grant_type");
}

#[tokio::test]
async fn what_is_said_twice_or_is_no_text_is_refused() {
    let world = World::new().await;
    let browser = world.sign_in("alice").await;
    let twice = format!("{}&scope=admin", Asking::default().query());
    assert_eq!(browser.consent_page(&twice).await.error(), "invalid_request");
    for early in ["client_id=other", "redirect_uri=https://evil.example", "state=x", "%ff=1", "x=%zz"] {
        let query = format!("{}&{early}", Asking::default().query());
        let reply = browser.consent_page(&query).await;
        assert_eq!((reply.status, reply.header("location")), (StatusCode::BAD_REQUEST, ""), "{early}");
    }
    let long = Asking::default().with("state", &"x".repeat(9000)).query();
    assert_eq!(browser.consent_page(&long).await.status, StatusCode::URI_TOO_LONG);
    for path in ["/token", "/revoke", "/sign-in", "/authorize", "/sign-out", "/account/revoke"] {
        let form = "application/x-www-form-urlencoded";
        for (kind, body, status) in [
            (form, b"a=\xff".to_vec(), StatusCode::BAD_REQUEST),
            (form, b"a=%c3%28".to_vec(), StatusCode::BAD_REQUEST),
            (form, vec![b'a'; 65 * 1024], StatusCode::PAYLOAD_TOO_LARGE),
            (form, b"a&".repeat(300), StatusCode::BAD_REQUEST),
            ("application/json", b"{}".to_vec(), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ] {
            let headers = [("content-type", kind), ("origin", ORIGIN)];
            let reply = world.send(request("POST", path, &headers, body.into())).await;
            assert_eq!(reply.status, status, "{path} {kind}: {}", reply.body);
        }
    }
    let code = world.code().await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let in_address = format!("/token?{}", encode(&exchange(&code)));
    let reply = world.send(request("POST", &in_address, &form, Body::empty())).await;
    assert_eq!(reply.error(), "invalid_request", "a code in the address");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let world = World::new().await;
    for (path, kind) in [
        ("/token", "application/x-www-form-urlencoded"),
        ("/revoke", "application/x-www-form-urlencoded"),
        ("/register", "application/json"),
        ("/sign-in", "application/x-www-form-urlencoded"),
    ] {
        let never = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
        let headers = [("content-type", kind), ("origin", ORIGIN)];
        let began = tokio::time::Instant::now();
        let reply = world.send(request("POST", path, &headers, Body::from_stream(never))).await;
        assert_eq!(reply.status, StatusCode::REQUEST_TIMEOUT, "{path}");
        assert_eq!(began.elapsed().as_secs(), 10, "{path}");
    }
}

#[tokio::test]
async fn registrations_are_checked_and_bounded() {
    let world = World::with(|_, oauth| oauth.most_clients = 3).await;
    for (metadata, error) in [
        (json!({ "redirect_uris": ["http://client.example/cb"] }), "invalid_redirect_uri"),
        (json!({ "redirect_uris": ["javascript:alert(1)"] }), "invalid_redirect_uri"),
        (json!({ "redirect_uris": [] }), "invalid_redirect_uri"),
        (json!({ "redirect_uris": vec!["https://a.example"; 21] }), "invalid_redirect_uri"),
        (json!({}), "invalid_client_metadata"),
        (json!([]), "invalid_client_metadata"),
        (
            json!({ "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "private_key_jwt" }),
            "invalid_client_metadata",
        ),
        (json!({ "redirect_uris": [CALLBACK], "grant_types": ["implicit"] }), "invalid_client_metadata"),
        (json!({ "redirect_uris": [CALLBACK], "grant_types": ["refresh_token"] }), "invalid_client_metadata"),
        (json!({ "redirect_uris": [CALLBACK], "response_types": ["token"] }), "invalid_client_metadata"),
    ] {
        assert_eq!(world.register(&metadata).await.error(), error, "{metadata}");
    }
    let json = [("content-type", "application/json")];
    let deep = "[".repeat(10_000);
    assert_eq!(
        world.send(request("POST", "/register", &json, deep.into())).await.error(),
        "invalid_client_metadata"
    );
    let fine = json!({ "redirect_uris": [CALLBACK], "client_name": "A\u{202e}B" });
    for _ in 0..3 {
        let reply = world.register(&fine).await;
        assert_eq!((reply.status, reply.json()["client_name"].as_str()), (StatusCode::CREATED, Some("AB")));
    }
    let full = world.register(&fine).await;
    assert_eq!(full.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(!full.header("retry-after").is_empty());
    world.pass(3601);
    assert_eq!(world.register(&fine).await.status, StatusCode::CREATED, "unused ones went");
    let mut limited = 0;
    for _ in 0..20 {
        limited += usize::from(world.register(&json!({})).await.status == StatusCode::TOO_MANY_REQUESTS);
    }
    assert!(limited > 0, "one address registers without end");
}

#[tokio::test]
async fn sign_ins_are_few() {
    let world = World::new().await;
    let browser = Browser { world: &world, cookie: String::new() };
    let wrong = browser.post("/sign-in", &[("name", "alice"), ("password", "wrong")]).await;
    let nobody = browser.post("/sign-in", &[("name", "nobody"), ("password", "wrong")]).await;
    assert_eq!((wrong.status, nobody.status), (StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED));
    let told = |reply: &Reply| reply.body.replace("alice", "nobody");
    assert_eq!(told(&wrong), told(&nobody), "it is not told who is known");
    let mut limited = None;
    for _ in 0..9 {
        limited = Some(browser.post("/sign-in", &[("name", "alice"), ("password", "wrong")]).await);
    }
    let limited = limited.unwrap();
    assert_eq!(limited.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(limited.header("retry-after").parse::<u64>().unwrap() > 0);
    let right = browser.post("/sign-in", &[("name", "alice"), ("password", PASSWORD)]).await;
    assert_eq!(right.status, StatusCode::TOO_MANY_REQUESTS, "the right one, too");
    assert_eq!(world.state.counters().sign_in_limited.get(), 2);
}

#[tokio::test]
async fn other_names_and_other_sites_are_not_answered() {
    let world = World::new().await;
    for path in ["/mcp", "/view", "/sign-in", "/account", "/.well-known/oauth-authorization-server"] {
        let rebound = [("host", "evil.example"), ("origin", "http://evil.example")];
        assert_eq!(world.get(path, &rebound).await.status, StatusCode::FORBIDDEN, "{path}");
        assert_eq!(
            world.get(path, &[("host", "evil.example")]).await.status,
            StatusCode::FORBIDDEN,
            "{path}"
        );
    }
    for path in ["/mcp", "/view", "/sign-in", "/account"] {
        let foreign = [("origin", "https://evil.example")];
        assert_eq!(world.get(path, &foreign).await.status, StatusCode::FORBIDDEN, "{path}");
    }
}

#[tokio::test]
async fn a_failing_database_is_told_and_nothing_falls() {
    let world = World::new().await;
    let browser = world.sign_in("alice").await;
    let code = world.code().await;
    let other = rusqlite::Connection::open(world.state.store().path()).unwrap();
    let rename = |from: &str, to: &str| {
        other.execute_batch(&format!("ALTER TABLE {from} RENAME TO {to}")).unwrap();
    };
    rename("code", "away");
    let reply = world.exchange(&code).await;
    assert_eq!(
        (reply.status, reply.error().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable")
    );
    let reply = browser.allow(&Asking::default().query(), &ALLOW).await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!reply.body.contains("sqlite"), "{}", reply.body);
    rename("away", "code");
    let issued = world.exchange(&code).await.json();
    rename("access_token", "away");
    let access = issued["access_token"].as_str().unwrap();
    assert_eq!(world.whoami(access).await.status, StatusCode::SERVICE_UNAVAILABLE);
    rename("away", "access_token");
    assert_eq!(world.whoami(access).await.status, StatusCode::OK);
}
