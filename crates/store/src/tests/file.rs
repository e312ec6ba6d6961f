//! The file itself: modes, schemas, failures.

use super::*;
use crate::schema::{MIGRATIONS, Migration, backup_path};
use rusqlite::Connection;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const V1: Migration = Migration { sql: "CREATE TABLE a (x INTEGER)", usable_from: 1 };
const V2: Migration = Migration { sql: "ALTER TABLE a ADD COLUMN y INTEGER DEFAULT 7", usable_from: 1 };
const V3: Migration = Migration { sql: "DROP TABLE a", usable_from: 3 };

fn version(directory: &Path) -> u32 {
    let database = Connection::open(directory.join(FILE)).unwrap();
    database.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

async fn number(store: &Store, sql: &'static str) -> i64 {
    store.read(move |database| database.query_row(sql, [], |row| row.get(0))).await.unwrap()
}

fn open_error(directory: &Path, migrations: &[Migration]) -> StoreError {
    Store::open_with(directory, migrations).unwrap_err()
}

#[tokio::test]
async fn the_files_are_for_this_user_alone() {
    let above = tempfile::tempdir().unwrap();
    let directory = above.path().join("state/deskhand");
    let store = Store::open(&directory).unwrap();
    store.add_token([1; 32], token("t1")).await.unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let mut seen = 0;
    for file in std::fs::read_dir(&directory).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        seen += 1;
    }
    assert_eq!(seen, 3, "the file, its journal and the shared memory");
    std::fs::set_permissions(store.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let again = Store::open(&directory).unwrap();
    assert_eq!(mode(again.path()), 0o600);
}

#[tokio::test]
async fn an_older_schema_is_upgraded_with_a_backup_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open_with(directory.path(), &[V1]).unwrap();
    store.write(|db| db.execute("INSERT INTO a VALUES (1)", [])).await.unwrap();
    drop(store);
    let store = Store::open_with(directory.path(), &[V1, V2]).unwrap();
    assert_eq!(number(&store, "SELECT x * 10 + y FROM a").await, 17);
    assert_eq!(version(directory.path()), 2);
    let backup = backup_path(store.path(), 1);
    assert_eq!(backup.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let before = Connection::open(&backup).unwrap();
    assert_eq!(before.query_row("SELECT x FROM a", [], |row| row.get::<_, i64>(0)).unwrap(), 1);
    assert!(before.prepare("SELECT y FROM a").is_err());
}

#[tokio::test]
async fn the_program_before_goes_on_with_a_newer_file_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let newer = Store::open_with(directory.path(), &[V1, V2]).unwrap();
    newer.write(|db| db.execute("INSERT INTO a VALUES (1, 2)", [])).await.unwrap();
    drop(newer);
    let older = Store::open_with(directory.path(), &[V1]).unwrap();
    older.write(|db| db.execute("INSERT INTO a (x) VALUES (3)", [])).await.unwrap();
    drop(older);
    assert_eq!(version(directory.path()), 2);
    let newer = Store::open_with(directory.path(), &[V1, V2]).unwrap();
    assert_eq!(number(&newer, "SELECT sum(x * 100 + y) FROM a").await, 102 + 307);
}

#[test]
fn a_schema_that_can_not_be_used_is_refused_in_one_sentence_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    drop(Store::open_with(directory.path(), &[V1, V2, V3]).unwrap());
    let error = open_error(directory.path(), &[V1, V2]);
    assert_eq!(error.kind(), "newer");
    let text = error.to_string();
    assert!(text.contains(FILE) && text.contains("schema 3") && text.contains("knows 2"), "{text}");
    assert_eq!(version(directory.path()), 3);
}

#[test]
fn another_programs_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let other = Connection::open(directory.path().join(FILE)).unwrap();
    other.execute_batch("CREATE TABLE theirs (x)").unwrap();
    assert_eq!(open_error(directory.path(), MIGRATIONS).kind(), "foreign");
    other.execute_batch("PRAGMA user_version = 9").unwrap();
    assert_eq!(open_error(directory.path(), MIGRATIONS).kind(), "newer");
    let theirs: i64 = other.query_row("SELECT count(*) FROM theirs", [], |row| row.get(0)).unwrap();
    assert_eq!(theirs, 0, "left as it was");
    std::fs::write(directory.path().join(FILE), "not a database, though long enough".repeat(99)).unwrap();
    assert_eq!(open_error(directory.path(), MIGRATIONS).kind(), "corrupt");
}

#[test]
fn a_migration_that_fails_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    drop(Store::open_with(directory.path(), &[V1]).unwrap());
    let broken = Migration { sql: "CREATE TABLE b (x); CREATE TABLE a (x)", usable_from: 1 };
    assert_eq!(open_error(directory.path(), &[V1, broken]).kind(), "database");
    assert_eq!(version(directory.path()), 1);
    drop(Store::open_with(directory.path(), &[V1, V2]).unwrap());
}

#[tokio::test]
async fn a_full_disk_is_an_error_value_and_reading_goes_on() {
    let (_directory, store) = open();
    store.add_token([1; 32], token("t1")).await.unwrap();
    let limit = |pages: &'static str| store.write(move |db| db.execute_batch(pages));
    limit("PRAGMA max_page_count = 1").await.unwrap();
    let big = TokenRow { name: "x".repeat(1 << 20), ..token("t2") };
    assert_eq!(store.add_token([2; 32], big.clone()).await.unwrap_err().kind(), "full");
    assert_eq!(store.token([1; 32]).await.unwrap().unwrap().id, "t1");
    assert_eq!(store.token([2; 32]).await.unwrap(), None);
    limit("PRAGMA max_page_count = 100000").await.unwrap();
    store.add_token([2; 32], big).await.unwrap();
    store.probe().await.unwrap();
}

#[tokio::test]
async fn a_file_that_became_read_only_is_an_error_value_and_reading_goes_on() {
    let (_directory, store) = open();
    store.add_token([1; 32], token("t1")).await.unwrap();
    store.write(|db| db.execute_batch("PRAGMA query_only = 1")).await.unwrap();
    assert_eq!(store.probe().await.unwrap_err().kind(), "read_only");
    assert_eq!(store.add_token([2; 32], token("t2")).await.unwrap_err().kind(), "read_only");
    assert_eq!(store.token([1; 32]).await.unwrap().unwrap().id, "t1");
}

#[test]
fn a_directory_that_can_not_be_made_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Store::open(&file.join("state")).unwrap_err();
    assert_eq!(error.kind(), "io");
    assert!(error.to_string().contains("file/state"), "{error}");
}

#[tokio::test]
async fn what_fails_is_undone_alone() {
    let (_directory, store) = open();
    let good = store.add_token([1; 32], token("t1"));
    let bad = store.write(|db| {
        db.execute("INSERT INTO fact VALUES ('half', 1)", [])?;
        db.execute("INSERT INTO nowhere VALUES (1)", [])
    });
    let other = store.add_token([2; 32], token("t2"));
    let (good, bad, other) = tokio::join!(good, bad, other);
    good.unwrap();
    other.unwrap();
    assert_eq!(bad.unwrap_err().kind(), "database");
    assert_eq!(number(&store, "SELECT count(*) FROM fact WHERE name = 'half'").await, 0);
    assert_eq!(store.tokens().await.unwrap().len(), 2);
}

#[tokio::test]
async fn two_programs_share_the_file() {
    let (directory, store) = open();
    let other = Store::open(directory.path()).unwrap();
    other.add_token([1; 32], token("t1")).await.unwrap();
    assert!(store.token([1; 32]).await.unwrap().is_some());
    store.revoke_tokens("t1", NOW).await.unwrap();
    assert!(!other.token([1; 32]).await.unwrap().unwrap().is_live(NOW));
}
