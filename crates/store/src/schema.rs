//! The tables, and how an older file becomes one of today.
//!
//! Migrations only add: tables, columns with defaults, indices. A program that is one version older goes on
//! working with a newer file then, and nothing is lost by going back; a migration that can not keep to this
//! raises [`Migration::usable_from`], and older programs refuse the file with one clear sentence.

use crate::StoreError;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};
use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// "DHND" in the file's header.
const APPLICATION: i32 = 0x4448_4e44;

/// One step. Its number is its place, counted from one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Migration {
    pub(crate) sql: &'static str,
    /// The oldest program, by its newest migration, that can use a file to which this one has been applied.
    pub(crate) usable_from: u32,
}

pub(crate) const MIGRATIONS: &[Migration] =
    &[Migration { sql: ACCESS, usable_from: 1 }, Migration { sql: AUDIT, usable_from: 1 }];

const ACCESS: &str = "
    CREATE TABLE token (
        id TEXT PRIMARY KEY,
        hash BLOB NOT NULL UNIQUE,
        name TEXT NOT NULL,
        kind TEXT NOT NULL,
        allowed TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        expires_at INTEGER,
        revoked_at INTEGER,
        used_at INTEGER
    ) STRICT;

    CREATE TABLE user (
        name TEXT PRIMARY KEY,
        password TEXT NOT NULL,
        allowed TEXT NOT NULL,
        created_at INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE browser_session (
        hash BLOB PRIMARY KEY,
        user TEXT NOT NULL REFERENCES user (name) ON DELETE CASCADE,
        created_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX browser_session_user ON browser_session (user);
    CREATE INDEX browser_session_expiry ON browser_session (expires_at);

    CREATE TABLE client (
        id TEXT PRIMARY KEY,
        secret BLOB,
        name TEXT NOT NULL,
        redirect_uris TEXT NOT NULL,
        auth_method TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        used_at INTEGER
    ) STRICT;
    CREATE INDEX client_unused ON client (created_at) WHERE used_at IS NULL;

    CREATE TABLE consent (
        id TEXT PRIMARY KEY,
        client TEXT NOT NULL,
        client_name TEXT NOT NULL,
        user TEXT NOT NULL REFERENCES user (name) ON DELETE CASCADE,
        resource TEXT NOT NULL,
        allowed TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        expires_at INTEGER,
        revoked_at INTEGER,
        revoked_because TEXT,
        used_at INTEGER
    ) STRICT;
    CREATE INDEX consent_user ON consent (user);
    CREATE INDEX consent_expiry ON consent (expires_at);

    CREATE TABLE code (
        hash BLOB PRIMARY KEY,
        consent TEXT NOT NULL REFERENCES consent (id) ON DELETE CASCADE,
        redirect_uri TEXT NOT NULL,
        challenge TEXT NOT NULL,
        expires_at INTEGER NOT NULL,
        used_at INTEGER
    ) STRICT;
    CREATE INDEX code_consent ON code (consent);
    CREATE INDEX code_expiry ON code (expires_at);

    CREATE TABLE access_token (
        hash BLOB PRIMARY KEY,
        consent TEXT NOT NULL REFERENCES consent (id) ON DELETE CASCADE,
        classes TEXT NOT NULL,
        expires_at INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX access_token_consent ON access_token (consent);
    CREATE INDEX access_token_expiry ON access_token (expires_at);

    CREATE TABLE refresh_token (
        hash BLOB PRIMARY KEY,
        consent TEXT NOT NULL REFERENCES consent (id) ON DELETE CASCADE,
        expires_at INTEGER NOT NULL,
        used_at INTEGER
    ) STRICT;
    CREATE INDEX refresh_token_consent ON refresh_token (consent);
    CREATE INDEX refresh_token_expiry ON refresh_token (expires_at);
";

// A row that is inserted over another is a removal, too: SQLite fires the second trigger for it only with
// recursive triggers, so the first one looks for the number itself.
const AUDIT: &str = "
    CREATE TABLE audit (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        time_ms INTEGER NOT NULL,
        step TEXT NOT NULL,
        credential TEXT NOT NULL,
        operation TEXT NOT NULL,
        machine TEXT,
        entry TEXT NOT NULL
    ) STRICT;
    CREATE INDEX audit_credential ON audit (credential, id);
    CREATE INDEX audit_machine ON audit (machine, id);
    CREATE TRIGGER audit_insert BEFORE INSERT ON audit
        WHEN EXISTS (SELECT 1 FROM audit WHERE id = new.id)
        BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END;
    CREATE TRIGGER audit_update BEFORE UPDATE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END;
    CREATE TRIGGER audit_delete BEFORE DELETE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END;
";

/// Whether the file is ours and not too new. Changes nothing in it.
pub(crate) fn examine(
    database: &Connection,
    path: &Path,
    migrations: &[Migration],
) -> Result<(), StoreError> {
    let failed = |source| StoreError::database(path, source);
    let known = newest(migrations);
    let found = version(database).map_err(failed)?;
    if found == 0 && !is_empty(database).map_err(failed)? {
        return Err(StoreError::Foreign { path: path.to_owned() });
    }
    if found > known && usable_from(database).map_err(failed)? > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    Ok(())
}

/// Brings the file to the newest schema; a backup of what it was stays beside it. A newer one stays.
pub(crate) fn migrate(
    database: &mut Connection,
    path: &Path,
    migrations: &[Migration],
) -> Result<(), StoreError> {
    let failed = |source| StoreError::database(path, source);
    let known = newest(migrations);
    let before = version(database).map_err(failed)?;
    if 0 < before && before < known {
        back_up(database, path, before)?;
    }
    // Another process may have been here between the look and the lock.
    let mut apply = || -> rusqlite::Result<()> {
        let changes = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let from = version(&changes)?;
        for migration in migrations.iter().skip(from as usize) {
            changes.execute_batch(migration.sql)?;
        }
        if from < known {
            changes.pragma_update(None, "application_id", APPLICATION)?;
            changes.pragma_update(None, "user_version", known)?;
            changes.execute_batch(
                "CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT",
            )?;
            let oldest = migrations.iter().map(|m| m.usable_from).max().unwrap_or(1);
            changes.execute("INSERT OR REPLACE INTO fact VALUES ('usable_from', ?1)", [oldest])?;
        }
        changes.commit()
    };
    apply().map_err(failed)
}

fn newest(migrations: &[Migration]) -> u32 {
    u32::try_from(migrations.len()).unwrap_or(u32::MAX)
}

fn version(database: &Connection) -> rusqlite::Result<u32> {
    database.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn is_empty(database: &Connection) -> rusqlite::Result<bool> {
    database.query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| row.get(0))
}

fn usable_from(database: &Connection) -> rusqlite::Result<u32> {
    let application: i32 = database.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if application != APPLICATION {
        return Ok(u32::MAX);
    }
    let sql = "SELECT value FROM fact WHERE name = 'usable_from'";
    Ok(database.query_row(sql, [], |row| row.get(0)).optional()?.unwrap_or(u32::MAX))
}

/// Where the file is kept as it was at schema `version`.
pub(crate) fn backup_path(path: &Path, version: u32) -> PathBuf {
    with_added(path, &format!(".v{version}"))
}

fn with_added(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn back_up(database: &Connection, path: &Path, version: u32) -> Result<(), StoreError> {
    let to = backup_path(path, version);
    let partial = with_added(&to, ".partial");
    let io = |source| StoreError::io(&to, source);
    if let Err(error) = fs::remove_file(&partial)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(io(error));
    }
    // SQLite fills an empty file, which has its mode already.
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial).map_err(io)?;
    let name = partial.to_str().ok_or_else(|| io(std::io::ErrorKind::InvalidFilename.into()))?;
    database.execute("VACUUM INTO ?1", [name]).map_err(|source| StoreError::database(&partial, source))?;
    fs::rename(&partial, &to).map_err(io)
}
