//! Consents, codes and the chains of tokens that come of them.

use super::*;

fn consent(id: &str) -> GrantRow {
    GrantRow {
        id: id.into(),
        client: "client".into(),
        client_name: "Claude".into(),
        user: "alice".into(),
        resource: "https://desk.example/mcp".into(),
        grant: allowed("observe interact", "all"),
        created_at: NOW,
        expires_at: Some(NOW + 10_000),
        revoked_at: None,
        revoked_because: None,
        used_at: None,
    }
}

fn tokens(n: u8, now: Seconds) -> NewTokens {
    let (access, refresh) = ([n; 32], [n + 100; 32]);
    NewTokens { access, access_expires_at: now + 900, refresh, refresh_expires_at: now + 5_000 }
}

fn exchange(code: u8) -> CodeExchange {
    CodeExchange {
        code: [code; 32],
        client: "client".into(),
        redirect_uri: "https://claude.ai/cb".into(),
        challenge: "challenge".into(),
        resource: None,
        tokens: tokens(1, NOW),
    }
}

fn refresh(from: u8, to: u8) -> RefreshExchange {
    let client = "client".into();
    RefreshExchange {
        refresh: [from + 100; 32],
        client,
        classes: None,
        resource: None,
        tokens: tokens(to, NOW),
    }
}

/// A store in which alice has agreed to `c1`; its code is `[50; 32]`.
async fn agreed() -> (TempDir, Store) {
    let (directory, store) = open();
    alice(&store).await;
    let code = NewCode {
        hash: [50; 32],
        redirect_uri: "https://claude.ai/cb".into(),
        challenge: "challenge".into(),
        expires_at: NOW + 60,
    };
    store.add_consent(consent("c1"), code).await.unwrap();
    (directory, store)
}

async fn is_live(store: &Store, access: u8) -> bool {
    store.access([access; 32], NOW + 1).await.unwrap().is_some()
}

#[tokio::test]
async fn a_code_becomes_tokens_that_stand_for_the_consent() {
    let (directory, store) = agreed().await;
    assert_eq!(
        store.exchange_code(exchange(50), NOW + 5).await.unwrap(),
        Exchanged::Issued(Box::new(consent("c1")))
    );
    drop(store);
    let store = Store::open(directory.path()).unwrap();
    let access = store.access([1; 32], NOW + 899).await.unwrap().unwrap();
    assert_eq!(access.consent, consent("c1"));
    assert_eq!((access.classes, access.expires_at), (consent("c1").grant.classes, NOW + 900));
    assert_eq!(access.user_grant, Grant::everything());
    assert_eq!(store.access([1; 32], NOW + 900).await.unwrap(), None);
    assert_eq!(store.access([101; 32], NOW).await.unwrap(), None, "a refresh token is no access token");
}

#[tokio::test]
async fn a_replayed_code_ends_what_came_of_it() {
    let (_directory, store) = agreed().await;
    store.exchange_code(exchange(50), NOW).await.unwrap();
    store.refresh(refresh(1, 2), NOW).await.unwrap();
    assert!(is_live(&store, 1).await && is_live(&store, 2).await);
    let again = store.exchange_code(exchange(50), NOW + 1).await.unwrap();
    assert_eq!(again, Exchanged::Replayed { consent: "c1".into() });
    assert!(!is_live(&store, 1).await && !is_live(&store, 2).await);
    assert_eq!(store.refresh(refresh(2, 3), NOW).await.unwrap(), Refreshed::Revoked);
    assert_eq!(store.consents(None, NOW).await.unwrap(), []);
}

#[tokio::test]
async fn a_code_is_good_for_what_it_was_issued_for_and_for_one_try() {
    let wrong = [
        ("client_id", CodeExchange { client: "other".into(), ..exchange(50) }),
        ("redirect_uri", CodeExchange { redirect_uri: "https://claude.ai/cb2".into(), ..exchange(50) }),
        ("code_verifier", CodeExchange { challenge: "guess".into(), ..exchange(50) }),
        ("resource", CodeExchange { resource: Some("https://other.example".into()), ..exchange(50) }),
    ];
    for (what, with) in wrong {
        let (_directory, store) = agreed().await;
        assert_eq!(store.exchange_code(with, NOW).await.unwrap(), Exchanged::Mismatch { what });
        let second = store.exchange_code(exchange(50), NOW).await.unwrap();
        assert_eq!(second, Exchanged::Replayed { consent: "c1".into() }, "{what}");
    }
    let (_directory, store) = agreed().await;
    assert_eq!(store.exchange_code(exchange(51), NOW).await.unwrap(), Exchanged::Unknown);
    assert_eq!(store.exchange_code(exchange(50), NOW + 60).await.unwrap(), Exchanged::Expired);
}

#[tokio::test]
async fn refresh_tokens_rotate_and_a_second_use_ends_the_family() {
    let (_directory, store) = agreed().await;
    store.exchange_code(exchange(50), NOW).await.unwrap();
    let classes = consent("c1").grant.classes;
    assert_eq!(
        store.refresh(refresh(1, 2), NOW).await.unwrap(),
        Refreshed::Issued(Box::new(consent("c1")), classes)
    );
    assert!(matches!(store.refresh(refresh(2, 3), NOW).await.unwrap(), Refreshed::Issued(..)));
    // The thief of the second token comes after its owner.
    assert_eq!(store.refresh(refresh(2, 4), NOW).await.unwrap(), Refreshed::Reused { consent: "c1".into() });
    for n in 1..=4 {
        assert!(!is_live(&store, n).await, "{n}");
    }
    assert_eq!(store.refresh(refresh(3, 5), NOW).await.unwrap(), Refreshed::Revoked);
}

#[tokio::test]
async fn a_refresh_can_narrow_but_not_widen() {
    let (_directory, store) = agreed().await;
    store.exchange_code(exchange(50), NOW).await.unwrap();
    let asking = |from, to, classes: &str| RefreshExchange {
        classes: Some(classes.parse().unwrap()),
        ..refresh(from, to)
    };
    assert_eq!(store.refresh(asking(1, 2, "observe execute"), NOW).await.unwrap(), Refreshed::TooMuch);
    let observe: Classes = "observe".parse().unwrap();
    let narrowed = store.refresh(asking(1, 2, "observe"), NOW).await.unwrap();
    assert_eq!(narrowed, Refreshed::Issued(Box::new(consent("c1")), observe));
    assert_eq!(store.access([2; 32], NOW).await.unwrap().unwrap().classes, observe);
    let all_again = store.refresh(refresh(2, 3), NOW).await.unwrap();
    assert_eq!(all_again, Refreshed::Issued(Box::new(consent("c1")), consent("c1").grant.classes));
}

#[tokio::test]
async fn a_refresh_token_is_its_clients_and_ends_with_its_time() {
    let (_directory, store) = agreed().await;
    store.exchange_code(exchange(50), NOW).await.unwrap();
    let other = RefreshExchange { client: "other".into(), ..refresh(1, 2) };
    assert_eq!(store.refresh(other, NOW).await.unwrap(), Refreshed::Mismatch { what: "client_id" });
    let other = RefreshExchange { resource: Some("https://b.example".into()), ..refresh(1, 2) };
    assert_eq!(store.refresh(other, NOW).await.unwrap(), Refreshed::Mismatch { what: "resource" });
    assert_eq!(store.refresh(refresh(9, 2), NOW).await.unwrap(), Refreshed::Unknown);
    assert_eq!(store.refresh(refresh(1, 2), NOW + 5_000).await.unwrap(), Refreshed::Expired);
    assert_eq!(store.refresh(refresh(1, 2), NOW + 10_000).await.unwrap(), Refreshed::Revoked);
}

#[tokio::test]
async fn no_token_outlives_its_consent() {
    let (_directory, store) = agreed().await;
    let tokens = NewTokens { access_expires_at: NOW + 99_999, ..tokens(1, NOW) };
    store.exchange_code(CodeExchange { tokens, ..exchange(50) }, NOW).await.unwrap();
    assert!(store.access([1; 32], NOW + 9_999).await.unwrap().is_some());
    assert_eq!(store.access([1; 32], NOW + 10_000).await.unwrap(), None);
}

#[tokio::test]
async fn a_person_withdraws_his_own_consents() {
    let (_directory, store) = agreed().await;
    store.exchange_code(exchange(50), NOW).await.unwrap();
    assert_eq!(store.consents(Some("bob"), NOW).await.unwrap(), []);
    assert_eq!(store.consents(Some("alice"), NOW).await.unwrap(), [consent("c1")]);
    assert!(!store.revoke_consent("c1", Some("bob"), NOW).await.unwrap());
    assert!(is_live(&store, 1).await);
    assert!(store.revoke_consent("c1", Some("alice"), NOW).await.unwrap());
    assert!(!is_live(&store, 1).await);
    assert!(!store.revoke_consent("c1", None, NOW).await.unwrap(), "once");
}

#[tokio::test]
async fn what_a_person_granted_goes_with_the_person() {
    let (_directory, store) = agreed().await;
    store.exchange_code(exchange(50), NOW).await.unwrap();
    assert!(store.remove_user("alice").await.unwrap());
    assert!(!is_live(&store, 1).await);
    assert_eq!(store.refresh(refresh(1, 2), NOW).await.unwrap(), Refreshed::Unknown);
}

#[tokio::test]
async fn a_client_revokes_its_own_tokens() {
    let (_directory, store) = agreed().await;
    store.exchange_code(exchange(50), NOW).await.unwrap();
    store.refresh(refresh(1, 2), NOW).await.unwrap();
    let revoke = |hash, client: &'static str| store.revoke_issued(hash, client, NOW);
    assert_eq!(revoke([1; 32], "other").await.unwrap(), RevokedToken::Nothing);
    assert_eq!(revoke([102; 32], "other").await.unwrap(), RevokedToken::Nothing);
    assert_eq!(revoke([1; 32], "client").await.unwrap(), RevokedToken::Access);
    assert!(!is_live(&store, 1).await && is_live(&store, 2).await);
    let all = revoke([102; 32], "client").await.unwrap();
    assert_eq!(all, RevokedToken::Consent { id: "c1".into() });
    assert!(!is_live(&store, 2).await);
}

#[tokio::test]
async fn registered_clients_are_bounded_and_unused_ones_go() {
    let (_directory, store) = agreed().await;
    let client = |id: &str, created_at| ClientRow {
        id: id.into(),
        secret: Some([3; 32]),
        name: "Claude".into(),
        redirect_uris: vec!["https://claude.ai/cb".into(), "http://127.0.0.1/".into()],
        auth_method: "client_secret_post".into(),
        created_at,
        used_at: None,
    };
    for n in 0..3 {
        assert!(store.add_client(client(&format!("k{n}"), NOW), 100, 3).await.unwrap());
    }
    assert!(!store.add_client(client("k3", NOW + 50), 100, 3).await.unwrap(), "full");
    assert_eq!(store.client("k0").await.unwrap(), Some(client("k0", NOW)));
    let used = GrantRow { client: "k1".into(), ..consent("c2") };
    let code =
        NewCode { hash: [51; 32], redirect_uri: String::new(), challenge: String::new(), expires_at: NOW };
    store.add_consent(used, code).await.unwrap();
    assert!(store.add_client(client("k3", NOW + 101), 100, 3).await.unwrap());
    assert_eq!(store.client("k0").await.unwrap(), None);
    assert_eq!(store.client("k1").await.unwrap().unwrap().used_at, Some(NOW));
}

#[tokio::test]
async fn what_is_long_over_is_forgotten() {
    let (_directory, store) = agreed().await;
    store.exchange_code(exchange(50), NOW).await.unwrap();
    let later = NOW + 3 * 24 * 3600;
    let code = NewCode {
        hash: [51; 32],
        redirect_uri: String::new(),
        challenge: String::new(),
        expires_at: later + 60,
    };
    store.add_consent(GrantRow { created_at: later, expires_at: None, ..consent("c2") }, code).await.unwrap();
    assert_eq!(store.exchange_code(exchange(50), later).await.unwrap(), Exchanged::Unknown);
    let left = store.read(|db| {
        db.query_row("SELECT group_concat(id) FROM consent", [], |row| row.get::<_, Option<String>>(0))
    });
    assert_eq!(left.await.unwrap(), Some("c2".to_owned()));
}

#[tokio::test]
async fn a_client_that_refreshes_without_end_keeps_a_bounded_number_of_tokens() {
    let (_directory, store) = agreed().await;
    store.exchange_code(exchange(50), NOW).await.unwrap();
    let hash = |kind: u8, n: usize| {
        let mut hash = [kind; 32];
        hash[..8].copy_from_slice(&n.to_be_bytes());
        hash
    };
    let mut from = [101; 32];
    for n in 0..150 {
        let tokens = NewTokens { access: hash(1, n), refresh: hash(2, n), ..tokens(1, NOW) };
        let with = RefreshExchange { refresh: from, tokens, ..refresh(1, 2) };
        assert!(matches!(store.refresh(with, NOW).await.unwrap(), Refreshed::Issued(..)));
        from = hash(2, n);
    }
    let count = |sql| store.read(move |db| db.query_row(sql, [], |row| row.get::<_, i64>(0)));
    assert_eq!(count("SELECT count(*) FROM access_token").await.unwrap(), 100);
    assert!(store.access(hash(1, 149), NOW).await.unwrap().is_some());
    assert!(store.access(hash(1, 49), NOW).await.unwrap().is_none(), "the oldest went");
    assert_eq!(count("SELECT count(*) FROM refresh_token").await.unwrap(), 151, "all are remembered");
}
