//! What should work.

use super::*;

#[tokio::test]
async fn a_client_finds_its_way_from_a_401_to_a_tool() {
    let world = World::new().await;
    let refused = world.get("/mcp", &[]).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    let wanted = "Bearer resource_metadata=\"https://desk.example/.well-known/oauth-protected-resource/mcp\", \
                  scope=\"observe interact clipboard files.read files.write execute network fleet schedule\"";
    assert_eq!(refused.header("www-authenticate"), wanted);

    let resource = world.get("/.well-known/oauth-protected-resource/mcp", &[]).await.json();
    assert_eq!(resource["resource"], "https://desk.example/mcp");
    assert_eq!(resource["authorization_servers"], json!(["https://desk.example"]));
    let server = world.get("/.well-known/oauth-authorization-server", &[]).await.json();
    assert_eq!(server["issuer"], "https://desk.example");
    assert_eq!(server["code_challenge_methods_supported"], json!(["S256"]));
    assert_eq!(server["registration_endpoint"], "https://desk.example/register");
    assert_eq!(server["client_id_metadata_document_supported"], true);
    assert_eq!(server["authorization_response_iss_parameter_supported"], true);
    assert_eq!(world.get("/.well-known/openid-configuration", &[]).await.json(), server);

    let metadata = json!({
        "client_name": "Inspector",
        "redirect_uris": ["http://localhost:6274/oauth/callback"],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    });
    let registered = world.register(&metadata).await;
    assert_eq!(registered.status, StatusCode::CREATED);
    let id = registered.json()["client_id"].as_str().unwrap().to_owned();
    assert!(registered.json().get("client_secret").is_none());

    let redirect = "http://localhost:51234/oauth/callback";
    let asking = Asking::default()
        .with("client_id", &id)
        .with("redirect_uri", redirect)
        .with("resource", "https://desk.example/mcp")
        .query();
    let stranger = world.get(&format!("/authorize?{asking}"), &[("accept", "text/html")]).await;
    assert_eq!(stranger.location().path(), "/sign-in");
    let next = parameter(&stranger.location(), "next");
    assert_eq!(next, format!("/authorize?{asking}"));

    let browser = world.sign_in("alice").await;
    let page = browser.consent_page(&asking).await;
    for seen in
        ["Inspector", "nobody has checked", "localhost:51234", "alice", "office", "&lt;lab&gt;", "(execute)"]
    {
        assert!(page.body.contains(seen), "{seen} in {}", page.body);
    }
    assert!(!page.body.contains("(fleet)"), "was not asked for");
    let back = browser.allow(&asking, &ALLOW).await.location();
    assert!(back.as_str().starts_with(redirect), "{back}");
    assert_eq!(parameter(&back, "state"), "st=1&x");
    assert_eq!(parameter(&back, "iss"), "https://desk.example");

    let code = parameter(&back, "code");
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("client_id", id.as_str()),
        ("redirect_uri", redirect),
        ("code_verifier", VERIFIER),
        ("resource", "https://desk.example/mcp"),
    ];
    let issued = world.post("/token", &form).await;
    assert_eq!(issued.status, StatusCode::OK, "{}", issued.body);
    assert_eq!(issued.header("cache-control"), "no-store");
    let issued = issued.json();
    assert_eq!((issued["token_type"].as_str(), issued["expires_in"].as_i64()), (Some("Bearer"), Some(900)));
    assert_eq!(issued["scope"], "observe interact");

    let world = world.restarted();
    let me = world.whoami(issued["access_token"].as_str().unwrap()).await.json();
    assert_eq!(me["name"], "Inspector for alice");
    assert_eq!(me["kind"], "Model");
    assert_eq!(me["classes"], "observe interact");
    assert_eq!((me["targets"].as_str(), me["mode"].as_str()), (Some("all"), Some("edit")));
    assert!(me["credential"].as_str().unwrap().starts_with("consent:"));
}

#[tokio::test]
async fn the_connectors_of_claude_work_out_of_the_box() {
    let world = World::new().await;
    let browser = world.sign_in("alice").await;
    for callback in [CALLBACK, "https://claude.com/api/mcp/auth_callback"] {
        let asking = Asking::default().with("redirect_uri", callback).query();
        let page = browser.consent_page(&asking).await;
        let host = Url::parse(callback).unwrap().host_str().unwrap().to_owned();
        assert!(page.body.contains(&host) && page.body.contains("known to this server"), "{}", page.body);
        let policy = page.header("content-security-policy");
        assert!(policy.ends_with(&format!("form-action 'self' https://{host}")), "{policy}");
        let back = browser.allow(&asking, &ALLOW).await.location();
        assert!(back.as_str().starts_with(callback), "{back}");
    }
    let metadata = json!({ "client_name": "Claude", "redirect_uris": [CALLBACK],
        "grant_types": ["authorization_code", "refresh_token"], "token_endpoint_auth_method": "client_secret_post" });
    let registered = world.register(&metadata).await.json();
    let (id, secret) =
        (registered["client_id"].as_str().unwrap(), registered["client_secret"].as_str().unwrap());
    let asking = Asking::default().with("client_id", id).query();
    let code = parameter(&browser.allow(&asking, &ALLOW).await.location(), "code");
    let mut form = exchange(&code).to_vec();
    form[2] = ("client_id", id);
    form.push(("client_secret", secret));
    assert_eq!(world.post("/token", &form).await.status, StatusCode::OK);
}

#[tokio::test]
async fn tokens_are_short_and_refreshed_by_rotation() {
    let world = World::new().await;
    let first = world.exchange(&world.code().await).await.json();
    world.pass(899);
    assert_eq!(world.whoami(first["access_token"].as_str().unwrap()).await.status, StatusCode::OK);
    world.pass(1);
    let expired = world.whoami(first["access_token"].as_str().unwrap()).await;
    assert_eq!(expired.status, StatusCode::UNAUTHORIZED);
    assert!(expired.header("www-authenticate").contains("error=\"invalid_token\""));
    let second = world.refresh(first["refresh_token"].as_str().unwrap()).await.json();
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    assert_eq!(world.whoami(second["access_token"].as_str().unwrap()).await.status, StatusCode::OK);
    // Thirty days after the consent it is over, however often it was refreshed.
    world.pass(29 * 24 * 3600);
    let third = world.refresh(second["refresh_token"].as_str().unwrap()).await.json();
    world.pass(24 * 3600);
    assert_eq!(world.whoami(third["access_token"].as_str().unwrap()).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(world.refresh(third["refresh_token"].as_str().unwrap()).await.error(), "invalid_grant");
}

#[tokio::test]
async fn a_person_limits_what_a_client_gets() {
    let world = World::new().await;
    let most = "observe interact files.read".parse().unwrap();
    let bobs = Grant { classes: most, targets: "not id:vault".parse().unwrap(), ..Grant::everything() };
    world.add_user("bob", bobs).await;
    let browser = world.sign_in("bob").await;
    let page = browser.consent_page(&Asking::default().query()).await;
    assert!(!page.body.contains("(execute)"), "bob can not give it");
    assert!(page.body.contains("not id:vault"));
    let choices = [
        ("decision", "allow"),
        ("scope", "observe"),
        ("scope", "execute"),
        ("machines", "some"),
        ("machine", "<lab>"),
        ("selector", "tag:test"),
        ("mode", "plan"),
        ("lifetime", "day"),
    ];
    let back = browser.allow(&Asking::default().query(), &choices).await.location();
    let token = world.exchange(&parameter(&back, "code")).await.json();
    assert_eq!(token["scope"], "observe");
    let token = token["access_token"].as_str().unwrap();
    let me = world.whoami(token).await.json();
    assert_eq!((me["classes"].as_str(), me["mode"].as_str()), (Some("observe"), Some("plan")));
    assert_eq!(me["targets"], "(id:\"<lab>\" or tag:test) and not id:vault");
    assert!(world.state.store().remove_user("bob").await.unwrap());
    assert_eq!(world.whoami(token).await.status, StatusCode::UNAUTHORIZED, "it ends with bob");
}

#[tokio::test]
async fn a_refusal_is_told_to_the_client() {
    let world = World::new().await;
    let browser = world.sign_in("alice").await;
    let back = browser.allow(&Asking::default().query(), &[("decision", "refuse")]).await;
    assert_eq!(back.error(), "access_denied");
    assert_eq!(parameter(&back.location(), "state"), "st=1&x");
    assert_eq!(parameter(&back.location(), "iss"), ORIGIN);
    assert_eq!(parameter(&back.location(), "code"), "");
    let nothing =
        browser.allow(&Asking::default().query(), &[("decision", "allow"), ("machines", "all")]).await;
    assert_eq!(nothing.status, StatusCode::BAD_REQUEST);
    assert!(nothing.body.contains("Tick at least one"), "{}", nothing.body);
}

#[tokio::test]
async fn a_client_can_be_named_by_the_url_of_its_document() {
    let world = World::new().await;
    let id = "https://app.example/client.json";
    let document =
        json!({ "client_id": id, "client_name": "App", "redirect_uris": ["https://app.example/cb"] });
    world.table.put(id, &document);
    let asking =
        Asking::default().with("client_id", id).with("redirect_uri", "https://app.example/cb").query();
    let stranger = world.get(&format!("/authorize?{asking}"), &[]).await;
    assert_eq!(stranger.location().path(), "/sign-in");
    assert_eq!(world.table.asked(), Vec::<String>::new(), "strangers make us fetch nothing");
    let browser = world.sign_in("alice").await;
    let page = browser.consent_page(&asking).await;
    assert!(page.body.contains("as described by app.example"), "{}", page.body);
    let back = browser.allow(&asking, &ALLOW).await.location();
    assert_eq!(world.table.asked(), [id], "fetched once");
    let code = parameter(&back, "code");
    let mut form = exchange(&code).to_vec();
    (form[2], form[3]) = (("client_id", id), ("redirect_uri", "https://app.example/cb"));
    assert_eq!(world.post("/token", &form).await.status, StatusCode::OK);
    world.pass(301);
    browser.consent_page(&asking).await;
    assert_eq!(world.table.asked(), [id], "again when it is old");

    let other = Asking::default().with("client_id", "https://app.example/other.json").query();
    let unknown = browser.consent_page(&other).await;
    assert_eq!(unknown.status, StatusCode::BAD_REQUEST);
    assert!(unknown.body.contains("status 404"), "{}", unknown.body);
    world.table.put("https://app.example/other.json", &document);
    assert!(browser.consent_page(&other).await.body.contains("another client_id"));
}

#[tokio::test]
async fn what_was_granted_can_be_taken_back_by_person_and_client() {
    let world = World::new().await;
    let browser = world.sign_in("alice").await;
    let empty = browser.get("/account").await;
    assert!(empty.body.contains("You have not granted anything"));
    let first = world.exchange(&world.code().await).await.json();
    let access = first["access_token"].as_str().unwrap();
    let page = browser.get("/account").await;
    assert!(page.body.contains("Claude") && page.body.contains("observe interact"), "{}", page.body);
    let form = [("csrf", field(&page.body, "csrf")), ("consent", field(&page.body, "consent"))];
    let form = form.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(browser.post("/account/revoke", &form).await.location().path(), "/account");
    assert_eq!(world.whoami(access).await.status, StatusCode::UNAUTHORIZED);

    let second = world.exchange(&world.code().await).await.json();
    let (access, refresh) =
        (second["access_token"].as_str().unwrap(), second["refresh_token"].as_str().unwrap());
    assert_eq!(world.whoami(access).await.status, StatusCode::OK);
    let revoke =
        async |token: &str| world.post("/revoke", &[("client_id", "claude"), ("token", token)]).await;
    assert_eq!(revoke("dh_r_nonsense").await.status, StatusCode::OK);
    assert_eq!(revoke(refresh).await.status, StatusCode::OK);
    assert_eq!(world.whoami(access).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(world.refresh(refresh).await.error(), "invalid_grant");
}

#[tokio::test]
async fn signing_out_ends_the_session() {
    let world = World::new().await;
    let browser = world.sign_in("alice").await;
    let csrf = field(&browser.get("/account").await.body, "csrf");
    let out = browser.post("/sign-out", &[("csrf", &csrf)]).await;
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(browser.get("/account").await.location().path(), "/sign-in");
    let browser = world.sign_in("alice").await;
    world.pass(12 * 3600);
    assert_eq!(browser.get("/account").await.location().path(), "/sign-in", "after a working day");
}

#[tokio::test]
async fn pages_of_other_sites_can_read_metadata_and_get_tokens() {
    let world = World::new().await;
    let foreign = [("origin", "http://localhost:6274")];
    let metadata = world.get("/.well-known/oauth-authorization-server", &foreign).await;
    assert_eq!((metadata.status, metadata.header("access-control-allow-origin")), (StatusCode::OK, "*"));
    let preflight = world.send(request("OPTIONS", "/token", &foreign, Body::empty())).await;
    assert_eq!(preflight.status, StatusCode::OK);
    assert!(preflight.header("access-control-allow-headers").contains("authorization"));
    assert_eq!(world.get("/account", &foreign).await.status, StatusCode::FORBIDDEN);
}
