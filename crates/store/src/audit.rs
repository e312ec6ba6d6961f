//! The record of what was done, by whom: it only grows.
//!
//! The database itself refuses to change or remove an entry, whichever program asks.

use crate::{Store, StoreError};
use remote::BoxFuture;
use rusqlite::{Row, params};
use sessions::audit::{AuditEntry, AuditError, AuditLog};

/// One entry, as it is kept. All that it says is in `entry`; the columns are for finding it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Milliseconds since 1970-01-01 UTC.
    pub time_ms: i64,
    /// The same for all entries of one step.
    pub step: String,
    pub credential: String,
    pub operation: String,
    pub machine: Option<String>,
    /// An [`AuditEntry`] in JSON; of a newer program, perhaps with more in it.
    pub entry: String,
}

/// Which entries, the newest first.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    /// Only entries before the one with this number.
    pub before: Option<i64>,
    pub credential: Option<String>,
    pub machine: Option<String>,
    /// Only entries since then, in milliseconds.
    pub since_ms: Option<i64>,
    /// At most so many; no more than a thousand.
    pub limit: u32,
}

const MOST: u32 = 1000;

impl Store {
    /// Appends the entries in their order, all or none. Returns when they are on the disk.
    pub async fn append_audit(&self, entries: Vec<AuditRow>) -> Result<(), StoreError> {
        self.write(move |changes| {
            let sql = "INSERT INTO audit (time_ms, step, credential, operation, machine, entry)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let mut append = changes.prepare_cached(sql)?;
            for e in &entries {
                append.execute(params![e.time_ms, e.step, e.credential, e.operation, e.machine, e.entry])?;
            }
            Ok(())
        })
        .await
    }

    /// Entries with their numbers, the newest first.
    pub async fn audit(&self, query: AuditQuery) -> Result<Vec<(i64, AuditRow)>, StoreError> {
        self.read(move |database| {
            let sql = "SELECT * FROM audit
                       WHERE (?1 IS NULL OR id < ?1) AND (?2 IS NULL OR credential = ?2)
                         AND (?3 IS NULL OR machine = ?3) AND (?4 IS NULL OR time_ms >= ?4)
                       ORDER BY id DESC LIMIT ?5";
            let values =
                params![query.before, query.credential, query.machine, query.since_ms, query.limit.min(MOST)];
            database.prepare_cached(sql)?.query_map(values, read)?.collect()
        })
        .await
    }
}

impl From<&AuditEntry> for AuditRow {
    fn from(entry: &AuditEntry) -> Self {
        Self {
            time_ms: i64::try_from(entry.time_ms).unwrap_or(i64::MAX),
            step: entry.step.clone(),
            credential: entry.credential.clone(),
            operation: entry.operation.clone(),
            machine: entry.machine.clone(),
            // An entry has texts and numbers alone, all of which JSON can tell.
            entry: serde_json::to_string(entry).unwrap_or_default(),
        }
    }
}

impl AuditLog for Store {
    fn append(&self, entries: Vec<AuditEntry>) -> BoxFuture<'_, Result<(), AuditError>> {
        let rows = entries.iter().map(AuditRow::from).collect();
        Box::pin(async move {
            self.append_audit(rows).await.map_err(|error| match error {
                StoreError::Full { path } => AuditError::NoSpace { place: path.display().to_string() },
                other => AuditError::Failed {
                    place: self.path().display().to_string(),
                    reason: other.kind().to_owned(),
                },
            })
        })
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<(i64, AuditRow)> {
    let entry = AuditRow {
        time_ms: row.get("time_ms")?,
        step: row.get("step")?,
        credential: row.get("credential")?,
        operation: row.get("operation")?,
        machine: row.get("machine")?,
        entry: row.get("entry")?,
    };
    Ok((row.get("id")?, entry))
}
