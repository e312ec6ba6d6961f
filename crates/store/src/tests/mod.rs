use crate::*;
use policy::{CallerKind, Classes, Grant, Mode};
use tempfile::TempDir;

mod audit;
mod file;
mod grants;

const NOW: Seconds = 1_800_000_000;

fn open() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    (directory, store)
}

fn allowed(classes: &str, targets: &str) -> Grant {
    let (classes, targets) = (classes.parse().unwrap(), targets.parse().unwrap());
    Grant { classes, targets, mode: Mode::Edit, toolsets: Vec::new() }
}

fn token(id: &str) -> TokenRow {
    TokenRow {
        id: id.into(),
        name: "ci".into(),
        kind: CallerKind::Script,
        grant: allowed("observe files.read", "tag:prod and not id:db"),
        created_at: NOW,
        expires_at: Some(NOW + 60),
        revoked_at: None,
        used_at: None,
    }
}

async fn alice(store: &Store) {
    let user = UserRow {
        name: "alice".into(),
        password: "$argon2".into(),
        grant: Grant::everything(),
        created_at: NOW,
    };
    assert!(store.add_user(user).await.unwrap());
}

#[tokio::test]
async fn a_token_is_what_was_kept_until_it_is_revoked() {
    let (directory, store) = open();
    store.add_token([1; 32], token("t1")).await.unwrap();
    store.add_token([2; 32], TokenRow { name: "other".into(), ..token("t2") }).await.unwrap();
    drop(store);
    let store = Store::open(directory.path()).unwrap();
    let found = store.token([1; 32]).await.unwrap().unwrap();
    assert_eq!(found, token("t1"));
    assert!(found.is_live(NOW + 59) && !found.is_live(NOW + 60));
    assert_eq!(store.token([3; 32]).await.unwrap(), None);
    store.note_token_used("t1", NOW + 7);
    assert_eq!(store.revoke_tokens("nobody", NOW).await.unwrap(), []);
    let revoked = store.revoke_tokens("ci", NOW + 9).await.unwrap();
    assert_eq!(
        revoked.iter().map(|t| (t.id.as_str(), t.used_at)).collect::<Vec<_>>(),
        [("t1", Some(NOW + 7))]
    );
    assert!(!store.token([1; 32]).await.unwrap().unwrap().is_live(NOW + 10));
    assert_eq!(store.revoke_tokens("t1", NOW + 11).await.unwrap(), [], "once");
    assert_eq!(store.tokens().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_browser_session_ends_with_its_time_its_person_or_a_new_password() {
    let (_directory, store) = open();
    alice(&store).await;
    let user = store.user("alice").await.unwrap().unwrap();
    assert!(!store.add_user(user).await.unwrap(), "the name is taken");
    for hash in [[1; 32], [2; 32], [3; 32]] {
        store.add_session(hash, "alice", NOW, NOW + 100).await.unwrap();
    }
    let name = async |hash, now| store.session(hash, now).await.unwrap().map(|s| s.user.name);
    assert_eq!(name([1; 32], NOW + 99).await.as_deref(), Some("alice"));
    assert_eq!(name([1; 32], NOW + 100).await, None);
    assert_eq!(name([9; 32], NOW).await, None);
    store.end_session([1; 32]).await.unwrap();
    assert_eq!(name([1; 32], NOW).await, None);
    assert!(store.set_password("alice", "$new".into()).await.unwrap());
    assert_eq!(name([2; 32], NOW).await, None);
    store.add_session([4; 32], "alice", NOW, NOW + 100).await.unwrap();
    assert!(store.remove_user("alice").await.unwrap());
    assert_eq!(name([4; 32], NOW).await, None);
    assert!(!store.remove_user("alice").await.unwrap());
}
