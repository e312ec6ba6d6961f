//! Static bearer tokens.

use crate::row::{Allowed, Json, kind_name, kind_of};
use crate::{Hash, Seconds, Store, StoreError};
use policy::{CallerKind, Grant};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

/// A bearer token that an operator made, without its secret.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenRow {
    /// Short and public; names the token in lists and the audit log.
    pub id: String,
    /// Whom or what it was made for.
    pub name: String,
    pub kind: CallerKind,
    pub grant: Grant,
    pub created_at: Seconds,
    pub expires_at: Option<Seconds>,
    pub revoked_at: Option<Seconds>,
    /// Within a minute.
    pub used_at: Option<Seconds>,
}

impl TokenRow {
    /// Neither revoked nor expired.
    pub fn is_live(&self, now: Seconds) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            name: row.get("name")?,
            kind: kind_of(&row.get::<_, String>("kind")?),
            grant: row.get::<_, Allowed>("allowed")?.0,
            created_at: row.get("created_at")?,
            expires_at: row.get("expires_at")?,
            revoked_at: row.get("revoked_at")?,
            used_at: row.get("used_at")?,
        })
    }
}

impl Store {
    /// Keeps a new token. `used_at` and `revoked_at` of `token` are not looked at.
    pub async fn add_token(&self, hash: Hash, token: TokenRow) -> Result<(), StoreError> {
        self.write(move |changes| {
            let sql = "INSERT INTO token (id, hash, name, kind, allowed, created_at, expires_at)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            let kind = kind_name(token.kind);
            let allowed = Json(&token.grant);
            changes.execute(
                sql,
                params![token.id, hash, token.name, kind, allowed, token.created_at, token.expires_at],
            )?;
            Ok(())
        })
        .await
    }

    /// The token whose secret has this hash, live or not.
    pub async fn token(&self, hash: Hash) -> Result<Option<TokenRow>, StoreError> {
        self.read(move |database| {
            let mut find = database.prepare_cached("SELECT * FROM token WHERE hash = ?1")?;
            find.query_row([hash], TokenRow::read).optional()
        })
        .await
    }

    /// All of them, the oldest first.
    pub async fn tokens(&self) -> Result<Vec<TokenRow>, StoreError> {
        self.read(|database| {
            let mut all = database.prepare("SELECT * FROM token ORDER BY created_at, rowid")?;
            all.query_map([], TokenRow::read)?.collect()
        })
        .await
    }

    /// Ends every live token whose id or name is `which`. Returns them.
    pub async fn revoke_tokens(&self, which: &str, now: Seconds) -> Result<Vec<TokenRow>, StoreError> {
        let which = which.to_owned();
        self.write(move |changes| {
            let sql = "UPDATE token SET revoked_at = ?2
                       WHERE (id = ?1 OR name = ?1) AND revoked_at IS NULL
                       RETURNING *";
            changes.prepare(sql)?.query_map(params![which, now], TokenRow::read)?.collect()
        })
        .await
    }

    /// Notes that the token was used. May be lost when the database is behind or failing.
    pub fn note_token_used(&self, id: &str, now: Seconds) {
        let id = id.to_owned();
        self.write_some_time(move |changes| {
            note_used(changes, "UPDATE token SET used_at = ?2 WHERE id = ?1", &id, now)
        });
    }
}

pub(crate) fn note_used(changes: &Connection, sql: &str, id: &str, now: Seconds) -> rusqlite::Result<()> {
    changes.prepare_cached(sql)?.execute(params![id, now]).map(|_| ())
}
