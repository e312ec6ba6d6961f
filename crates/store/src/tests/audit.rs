//! The record.

use super::*;
use policy::Class;
use rusqlite::Connection;
use sessions::audit::{AuditDecision, AuditEntry, AuditLog, AuditPhase};

fn entry(n: i64) -> AuditRow {
    AuditRow {
        time_ms: n,
        step: format!("s{n}"),
        credential: if n % 2 == 0 { "token:a" } else { "token:b" }.into(),
        operation: "click".into(),
        machine: (n > 2).then(|| "office".into()),
        entry: format!("{{\"n\":{n}}}"),
    }
}

async fn times(store: &Store, query: AuditQuery) -> Vec<i64> {
    store.audit(query).await.unwrap().into_iter().map(|(_, row)| row.time_ms).collect()
}

#[tokio::test]
async fn entries_are_found_by_who_where_and_when() {
    let (_directory, store) = open();
    store.append_audit((1..=5).map(entry).collect()).await.unwrap();
    let all = || AuditQuery { limit: 10, ..AuditQuery::default() };
    assert_eq!(times(&store, all()).await, [5, 4, 3, 2, 1]);
    assert_eq!(times(&store, AuditQuery { limit: 2, ..all() }).await, [5, 4]);
    assert_eq!(times(&store, AuditQuery { credential: Some("token:a".into()), ..all() }).await, [4, 2]);
    assert_eq!(times(&store, AuditQuery { machine: Some("office".into()), ..all() }).await, [5, 4, 3]);
    assert_eq!(times(&store, AuditQuery { since_ms: Some(4), ..all() }).await, [5, 4]);
    let (third, row) = store.audit(all()).await.unwrap().swap_remove(2);
    assert_eq!(row, entry(3));
    assert_eq!(times(&store, AuditQuery { before: Some(third), ..all() }).await, [2, 1]);
}

#[tokio::test]
async fn no_program_changes_or_removes_an_entry() {
    let (_directory, store) = open();
    store.append_audit(vec![entry(1)]).await.unwrap();
    let other = Connection::open(store.path()).unwrap();
    for sql in [
        "UPDATE audit SET credential = 'x'",
        "DELETE FROM audit",
        "INSERT OR REPLACE INTO audit SELECT * FROM audit",
    ] {
        let error = other.execute(sql, []).unwrap_err().to_string();
        assert!(error.contains("the audit log only grows"), "{sql}: {error}");
    }
    assert_eq!(store.audit(AuditQuery { limit: 9, ..AuditQuery::default() }).await.unwrap(), [(1, entry(1))]);
}

#[tokio::test]
async fn entries_are_appended_all_or_none() {
    let (_directory, store) = open();
    let other = Connection::open(store.path()).unwrap();
    let poison = "CREATE TRIGGER poison BEFORE INSERT ON audit WHEN new.time_ms = 2
                  BEGIN SELECT RAISE(ABORT, 'no'); END";
    other.execute_batch(poison).unwrap();
    assert_eq!(store.append_audit(vec![entry(1), entry(2)]).await.unwrap_err().kind(), "database");
    assert_eq!(store.audit(AuditQuery { limit: 9, ..AuditQuery::default() }).await.unwrap(), []);
}

#[tokio::test]
async fn it_is_the_audit_log_of_sessions() {
    let (_directory, store) = open();
    let step = AuditEntry {
        time_ms: 1_800_000_000_123,
        step: "s1".into(),
        phase: AuditPhase::Begun,
        credential: "token:a".into(),
        name: "ci".into(),
        kind: CallerKind::Script,
        operation: "type_text".into(),
        class: Some(Class::Interact),
        machine: Some("office".into()),
        session: None,
        decision: AuditDecision::Allowed,
        reason: None,
        detail: Some("7 characters".into()),
        frame: Some(5),
        outcome: None,
    };
    let ended = AuditEntry { phase: AuditPhase::Ended, outcome: Some("ok".into()), ..step.clone() };
    store.append(vec![step.clone(), ended.clone()]).await.unwrap();
    let office = AuditQuery { machine: Some("office".into()), limit: 9, ..AuditQuery::default() };
    let rows = store.audit(office).await.unwrap();
    let read: Vec<AuditEntry> =
        rows.iter().map(|(_, row)| serde_json::from_str(&row.entry).unwrap()).collect();
    assert_eq!(read, [ended, step.clone()]);
    assert_eq!(rows[0].1.time_ms, 1_800_000_000_123);
    let limit = |pages: &'static str| store.write(move |db| db.execute_batch(pages));
    limit("PRAGMA max_page_count = 1").await.unwrap();
    let long = AuditEntry { detail: Some("x".repeat(1 << 20)), ..step };
    assert_eq!(store.append(vec![long]).await.unwrap_err().kind(), "no_space");
    assert_eq!(store.audit(AuditQuery { limit: 9, ..AuditQuery::default() }).await.unwrap().len(), 2);
}
