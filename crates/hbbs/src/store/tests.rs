use super::*;

fn row(id: &str) -> Row {
    Row { id: id.into(), uuid: b"machine".to_vec(), pk: [3; 32], ip: "10.0.0.1".parse().unwrap() }
}

fn contents(directory: &Path) -> Vec<Row> {
    let mut rows = Vec::new();
    Store::open(directory, Arc::default(), |row| rows.push(row)).unwrap().close();
    rows
}

/// Until `check` gives something.
fn eventually<T>(mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain");
        thread::yield_now();
    }
}

/// A file as stock hbbs 1.1 makes it.
pub(crate) fn stock_database(path: &Path, rows: &[(&str, &[u8], &[u8], &str)]) {
    let database = Connection::open(path).unwrap();
    database
        .execute_batch(
            "CREATE TABLE peer (guid blob primary key not null, id varchar(100) not null, uuid blob not null,
             pk blob not null, created_at datetime not null default(current_timestamp), user blob,
             status tinyint, note varchar(300), info text not null) without rowid;
             CREATE UNIQUE INDEX index_peer_id on peer (id);",
        )
        .unwrap();
    for (n, (id, uuid, pk, info)) in rows.iter().enumerate() {
        let sql = "INSERT INTO peer (guid, id, uuid, pk, info) VALUES (?1, ?2, ?3, ?4, ?5)";
        database.execute(sql, params![[n as u8; 16], id, uuid, pk, info]).unwrap();
    }
}

#[test]
fn changes_survive_in_their_order() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), Arc::default(), |_| panic!("empty")).unwrap();
    let journal = store.journal();
    assert!(journal.keepable());
    journal.keep(Change::Added(row("111111111")));
    journal.keep(Change::Added(row("222222222")));
    let moved = Change::Updated { id: "111111111".into(), pk: [4; 32], ip: "2001:db8::1".parse().unwrap() };
    journal.keep(moved);
    journal.keep(Change::Renamed { from: "222222222".into(), to: "office".into() });
    store.close();
    let want = [Row { pk: [4; 32], ip: "2001:db8::1".parse().unwrap(), ..row("111111111") }, row("office")];
    assert_eq!(contents(directory.path()), want);
}

#[test]
fn many_changes_are_one_group() {
    let directory = tempfile::tempdir().unwrap();
    let counters = Arc::new(Counters::default());
    let store = Store::open(directory.path(), Arc::clone(&counters), |_| {}).unwrap();
    for n in 0..5000 {
        store.journal().keep(Change::Added(row(&format!("{}", 100_000_000 + n))));
    }
    store.close();
    assert_eq!(contents(directory.path()).len(), 5000);
    assert!(counters.store_groups.get() <= 20, "{} groups", counters.store_groups.get());
}

#[test]
fn a_dropped_store_still_writes_what_was_queued() {
    let directory = tempfile::tempdir().unwrap();
    let counters = Arc::new(Counters::default());
    let store = Store::open(directory.path(), Arc::clone(&counters), |_| {}).unwrap();
    store.journal().keep(Change::Added(row("111111111")));
    drop(store);
    eventually(|| (counters.store_groups.get() == 1).then_some(()));
    assert_eq!(contents(directory.path()).len(), 1);
}

#[test]
fn while_the_disk_fails_new_hosts_are_refused_and_nothing_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let counters = Arc::new(Counters::default());
    let store = Store::open(directory.path(), Arc::clone(&counters), |_| {}).unwrap();
    let journal = store.journal();
    let other = Connection::open(directory.path().join(FILE)).unwrap();
    other.execute_batch("ALTER TABLE host RENAME TO away").unwrap();
    journal.keep(Change::Added(row("111111111")));
    eventually(|| (!journal.keepable()).then_some(()));
    assert!(counters.store_failures.get() > 0);
    other.execute_batch("ALTER TABLE away RENAME TO host").unwrap();
    eventually(|| journal.keepable().then_some(()));
    store.close();
    assert_eq!(contents(directory.path()), [row("111111111")]);
}

#[test]
fn a_stock_database_is_taken_over_once() {
    let directory = tempfile::tempdir().unwrap();
    let stock = directory.path().join(STOCK_FILE);
    let rows: [(&str, &[u8], &[u8], &str); 4] = [
        ("111111111", b"machine", &[3; 32], r#"{"ip":"::ffff:10.0.0.1"}"#),
        ("222222222", b"machine", &[3; 32], r#"{"ip":"2001:db8::1"}"#),
        ("333333333", b"machine", b"short", r#"{"ip":"10.0.0.1"}"#),
        ("444444444", b"machine", &[3; 32], r#"{"ip":""}"#),
    ];
    stock_database(&stock, &rows);
    let want = [
        row("111111111"),
        Row { ip: "2001:db8::1".parse().unwrap(), ..row("222222222") },
        Row { ip: Ipv4Addr::UNSPECIFIED.into(), ..row("444444444") },
    ];
    assert_eq!(contents(directory.path()), want);
    std::fs::remove_file(&stock).unwrap();
    stock_database(&stock, &[("555555555", b"machine", &[3; 32], r#"{"ip":"10.0.0.1"}"#)]);
    assert_eq!(contents(directory.path()), want, "not a second time");
}

#[test]
fn a_stock_database_elsewhere_can_be_taken_over_at_any_time() {
    let directory = tempfile::tempdir().unwrap();
    let stock = directory.path().join("elsewhere.sqlite3");
    let state = directory.path().join("state");
    let rows: [(&str, &[u8], &[u8], &str); 2] = [
        ("111111111", b"machine", &[3; 32], r#"{"ip":"10.0.0.1"}"#),
        ("222222222", b"machine", &[3; 32], r#"{"ip":"10.0.0.1"}"#),
    ];
    stock_database(&stock, &rows);
    assert_eq!(import_stock(&stock, &state).unwrap(), Imported { added: 2, known: 0 });
    assert_eq!(import_stock(&stock, &state).unwrap(), Imported { added: 0, known: 2 });
    assert_eq!(contents(&state), [row("111111111"), row("222222222")]);
    let error = import_stock(&directory.path().join("missing"), &state).unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
}

#[test]
fn a_file_that_is_no_database_is_an_error_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join(FILE),
        "not a database, but long enough to be taken for one".repeat(40),
    )
    .unwrap();
    let error = Store::open(directory.path(), Arc::default(), |_| {}).unwrap_err();
    assert!(error.to_string().contains(FILE), "{error}");
}
