//! Hosts on disk: SQLite on a thread of its own, which writes what the registry has already decided.
//!
//! Changes gather for 50 ms and go into one transaction, so that a thousand new hosts cost one
//! `fsync`. What is lost when the process is killed in between is sent again by the hosts: a heartbeat of
//! an unknown id asks for its key. While writing fails the changes stay queued, new ids are refused
//! ([`Journal::keepable`]), and nobody waits.

use crate::broker::Journal;
use crate::counters::Counters;
use crate::registry::{Change, Row};
use crate::system;
use hbb_common::addr::normalize_ip;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, params};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// File in the state directory.
pub const FILE: &str = "hosts.sqlite3";
/// The database of a stock hbbs in the same directory, taken over once.
pub const STOCK_FILE: &str = "db_v2.sqlite3";

/// Changes wait this long for others to be written with.
const GATHER: Duration = Duration::from_millis(50);
/// Pause before a failed group is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// After so many changes whoever waits for the processor gets it: some tenth of a millisecond. To be woken
/// is not enough for that on every system, and thousands of changes in a row would delay every heartbeat
/// that comes meanwhile.
const SHARE: usize = 32;
/// Changes that may wait; more only come in while the disk is slower than the network.
const QUEUE: usize = 100_000;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS host (
        id TEXT PRIMARY KEY,
        uuid BLOB NOT NULL,
        pk BLOB NOT NULL,
        ip TEXT NOT NULL,
        created_at INTEGER NOT NULL DEFAULT (unixepoch()),
        changed_at INTEGER NOT NULL DEFAULT (unixepoch())
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
";

/// Why the database can not be used at the start.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{path}: {source}")]
    Database { path: PathBuf, source: rusqlite::Error },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
}

/// What [`import_stock`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imported {
    /// Hosts that were not known before.
    pub added: usize,
    /// Hosts whose id was known already; they stay as they were.
    pub known: usize,
}

/// Takes the hosts of a stock hbbs over: table `peer` of `database` (rendezvous §8) into the database in
/// `directory`, which is made if need be. No server may be running on it. Safe to repeat.
///
/// # Errors
/// If one of the databases can not be used.
pub fn import_stock(database: &Path, directory: &Path) -> Result<Imported, StoreError> {
    make_directory(directory)?;
    let path = directory.join(FILE);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| StoreError::Database { path, source }
    };
    let mut ours = prepare(&path).map_err(failed(&path))?;
    let rows = read_stock(database).map_err(failed(database))?;
    let added = import(&mut ours, &rows).map_err(failed(&path))?;
    Ok(Imported { added, known: rows.len() - added })
}

/// Waits for changes and writes them; ends when dropped, writing what is left.
#[derive(Debug)]
pub struct Store {
    queue: Arc<Queue>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Store {
    /// Opens or makes the database in `directory` and calls `load` with every host in it. A stock
    /// database beside it is read the first time.
    ///
    /// # Errors
    /// If the directory or a database in it can not be used.
    pub fn open(
        directory: &Path,
        counters: Arc<Counters>,
        load: impl FnMut(Row),
    ) -> Result<Self, StoreError> {
        make_directory(directory)?;
        let path = directory.join(FILE);
        let database = open(&path, &directory.join(STOCK_FILE), load)?;
        let queue = Arc::new(Queue::default());
        let for_thread = Arc::clone(&queue);
        let thread = thread::Builder::new()
            .name("hbbs-store".into())
            .spawn(move || for_thread.write_all(database, &counters))
            .map_err(|source| StoreError::Io { path, source })?;
        Ok(Self { queue, thread: Some(thread) })
    }

    pub fn journal(&self) -> Arc<dyn Journal> {
        Arc::clone(&self.queue) as Arc<dyn Journal>
    }

    /// Writes what is queued and ends. Blocks for as long as the disk takes, at most one try.
    pub fn close(mut self) {
        self.queue.end();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the database's thread has panicked");
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.queue.end();
    }
}

/// Keeps nothing: for servers without a state directory.
#[derive(Debug)]
pub struct Forgetful;

impl Journal for Forgetful {
    fn keepable(&self) -> bool {
        true
    }

    fn keep(&self, _: Change) {}
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    /// There is a first change. Later ones wake nobody: they are found when the group is written.
    arrived: Condvar,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    changes: Vec<Change>,
    /// The last write failed.
    failing: bool,
    ending: bool,
}

impl Journal for Queue {
    fn keepable(&self) -> bool {
        let state = self.lock();
        !state.failing && state.changes.len() < QUEUE
    }

    fn keep(&self, change: Change) {
        let mut state = self.lock();
        // Only updates get here when the queue is full; their hosts say them again.
        if state.changes.len() < 2 * QUEUE {
            state.changes.push(change);
            if state.changes.len() == 1 {
                self.arrived.notify_one();
            }
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        self.lock().ending = true;
        self.arrived.notify_one();
        self.ended.notify_one();
    }

    fn write_all(&self, mut database: Connection, counters: &Counters) {
        system::step_back();
        let mut group = Vec::new();
        loop {
            let ending = self.gather(&mut group);
            if group.is_empty() {
                if ending {
                    return;
                }
                continue;
            }
            match write(&mut database, &group) {
                Ok(()) => {
                    counters.store_groups.one();
                    group.clear();
                    self.lock().failing = false;
                }
                Err(error) => {
                    counters.store_failures.one();
                    tracing::error!(%error, changes = group.len(), "hosts could not be written");
                    self.lock().failing = true;
                    if ending {
                        return;
                    }
                    self.pause(RETRY);
                }
            }
        }
    }

    /// Adds what is queued to `group`, waiting for something if there is nothing at all, and a moment for
    /// more. Whether this is the end.
    fn gather(&self, group: &mut Vec<Change>) -> bool {
        let state = self.lock();
        let mut state = self
            .arrived
            .wait_while(state, |s| group.is_empty() && s.changes.is_empty() && !s.ending)
            .unwrap_or_else(PoisonError::into_inner);
        if !state.ending {
            drop(state);
            self.pause(GATHER);
            state = self.lock();
        }
        // A group that failed does not grow without bound; what comes meanwhile waits its turn.
        if group.len() < QUEUE {
            group.append(&mut state.changes);
        }
        state.ending
    }

    /// Waits, but not for an end.
    fn pause(&self, span: Duration) {
        let until = Instant::now() + span;
        let mut state = self.lock();
        while !state.ending {
            let Some(left) = until.checked_duration_since(Instant::now()) else { return };
            let waited = self.ended.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn make_directory(directory: &Path) -> Result<(), StoreError> {
    std::fs::create_dir_all(directory).map_err(|source| StoreError::Io { path: directory.to_owned(), source })
}

fn open(path: &Path, stock: &Path, mut load: impl FnMut(Row)) -> Result<Connection, StoreError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| StoreError::Database { path, source }
    };
    let mut database = prepare(path).map_err(failed(path))?;
    if stock.exists() && !is_imported(&database).map_err(failed(path))? {
        let rows = read_stock(stock).map_err(failed(stock))?;
        tracing::info!(hosts = rows.len(), from = %stock.display(), "hosts of a stock hbbs taken over");
        import(&mut database, &rows).map_err(failed(path))?;
    }
    read(&database, &mut load).map_err(failed(path))?;
    Ok(database)
}

fn prepare(path: &Path) -> rusqlite::Result<Connection> {
    let database = Connection::open(path)?;
    database.busy_timeout(Duration::from_secs(5))?;
    database.pragma_update(None, "journal_mode", "WAL")?;
    // A group is on disk when it is committed.
    database.pragma_update(None, "synchronous", "FULL")?;
    database.execute_batch(SCHEMA)?;
    Ok(database)
}

fn is_imported(database: &Connection) -> rusqlite::Result<bool> {
    let found =
        database.query_row("SELECT 1 FROM fact WHERE name = 'stock_imported'", [], |_| Ok(())).optional()?;
    Ok(found.is_some())
}

/// Table `peer` of a stock database (rendezvous §8). Rows that could not be registered here are left out.
fn read_stock(path: &Path) -> rusqlite::Result<Vec<Row>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(path, flags)?;
    // SQLite keeps a value as what it was given, whatever the column says.
    let sql = "SELECT id, CAST(uuid AS BLOB), CAST(pk AS BLOB), json_extract(info, '$.ip')
        FROM peer WHERE json_valid(info)";
    let mut statement = database.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        let ip: Option<String> = row.get(3)?;
        Ok(Row {
            id: row.get(0)?,
            uuid: row.get(1)?,
            pk: row.get::<_, Vec<u8>>(2)?.try_into().unwrap_or([0; 32]),
            ip: parse_ip(&ip.unwrap_or_default()),
        })
    })?;
    rows.filter(|row| !row.as_ref().is_ok_and(|row| row.pk == [0; 32])).collect()
}

/// How many of the rows were new.
fn import(database: &mut Connection, rows: &[Row]) -> rusqlite::Result<usize> {
    let transaction = database.transaction()?;
    let mut added = 0;
    for row in rows {
        added += add(&transaction, row)?;
    }
    transaction.execute("INSERT OR REPLACE INTO fact VALUES ('stock_imported', ?1)", [added as i64])?;
    transaction.commit()?;
    Ok(added)
}

fn read(database: &Connection, load: &mut impl FnMut(Row)) -> rusqlite::Result<()> {
    let mut statement = database.prepare("SELECT id, uuid, pk, ip FROM host")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let ip: String = row.get(3)?;
        load(Row { id: row.get(0)?, uuid: row.get(1)?, pk: row.get(2)?, ip: parse_ip(&ip) });
    }
    Ok(())
}

/// An address nobody has, if the text is none: such a host must show its key first.
fn parse_ip(text: &str) -> IpAddr {
    text.parse().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), normalize_ip)
}

fn write(database: &mut Connection, group: &[Change]) -> rusqlite::Result<()> {
    let transaction = database.transaction()?;
    for (number, change) in group.iter().enumerate() {
        if number % SHARE == SHARE - 1 {
            thread::yield_now();
        }
        match change {
            Change::Added(row) => {
                add(&transaction, row)?;
            }
            Change::Updated { id, pk, ip } => {
                let sql = "UPDATE host SET pk = ?2, ip = ?3, changed_at = unixepoch() WHERE id = ?1";
                transaction.prepare_cached(sql)?.execute(params![id, pk, ip.to_string()])?;
            }
            Change::Renamed { from, to } => {
                let sql = "UPDATE host SET id = ?2, changed_at = unixepoch() WHERE id = ?1";
                transaction.prepare_cached(sql)?.execute(params![from, to])?;
            }
        }
    }
    transaction.commit()
}

/// 1, or 0 if the id is there already.
fn add(transaction: &Transaction<'_>, row: &Row) -> rusqlite::Result<usize> {
    let sql = "INSERT INTO host (id, uuid, pk, ip) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
    let values = params![row.id, row.uuid, row.pk, row.ip.to_string()];
    transaction.prepare_cached(sql)?.execute(values)
}

#[cfg(test)]
mod tests;
