//! People who sign in, and the browsers they signed in with.

use crate::row::{Allowed, Json};
use crate::{Hash, Seconds, Store, StoreError};
use policy::Grant;
use rusqlite::{OptionalExtension as _, Row, params};

/// Someone who can sign in.
#[derive(Debug, Clone, PartialEq)]
pub struct UserRow {
    pub name: String,
    /// An argon2 string.
    pub password: String,
    /// The most that this person can do and can hand on to a client.
    pub grant: Grant,
    pub created_at: Seconds,
}

impl UserRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            name: row.get("name")?,
            password: row.get("password")?,
            grant: row.get::<_, Allowed>("allowed")?.0,
            created_at: row.get("created_at")?,
        })
    }
}

/// A browser in which somebody is signed in.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionRow {
    pub user: UserRow,
    pub created_at: Seconds,
    pub expires_at: Seconds,
}

impl Store {
    /// Adds a person. False if the name is taken.
    pub async fn add_user(&self, user: UserRow) -> Result<bool, StoreError> {
        self.write(move |changes| {
            let sql = "INSERT INTO user (name, password, allowed, created_at) VALUES (?1, ?2, ?3, ?4)
                       ON CONFLICT DO NOTHING";
            let values = params![user.name, user.password, Json(&user.grant), user.created_at];
            Ok(changes.execute(sql, values)? == 1)
        })
        .await
    }

    pub async fn user(&self, name: &str) -> Result<Option<UserRow>, StoreError> {
        let name = name.to_owned();
        self.read(move |database| {
            let mut find = database.prepare_cached("SELECT * FROM user WHERE name = ?1")?;
            find.query_row([name], UserRow::read).optional()
        })
        .await
    }

    /// By name.
    pub async fn users(&self) -> Result<Vec<UserRow>, StoreError> {
        self.read(|database| {
            let mut all = database.prepare("SELECT * FROM user ORDER BY name")?;
            all.query_map([], UserRow::read)?.collect()
        })
        .await
    }

    /// Replaces the password and signs the person out everywhere. False if there is no such person.
    pub async fn set_password(&self, name: &str, password: String) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.write(move |changes| {
            changes.execute("DELETE FROM browser_session WHERE user = ?1", [&name])?;
            let sql = "UPDATE user SET password = ?2 WHERE name = ?1";
            Ok(changes.execute(sql, params![name, password])? == 1)
        })
        .await
    }

    /// Removes a person, with every browser session and everything granted to clients. False if there is no
    /// such person.
    pub async fn remove_user(&self, name: &str) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.write(move |changes| Ok(changes.execute("DELETE FROM user WHERE name = ?1", [name])? == 1)).await
    }

    /// Keeps a sign-in; those that are over go.
    pub async fn add_session(
        &self,
        hash: Hash,
        user: &str,
        now: Seconds,
        expires_at: Seconds,
    ) -> Result<(), StoreError> {
        let user = user.to_owned();
        self.write(move |changes| {
            changes.execute("DELETE FROM browser_session WHERE expires_at <= ?1", [now])?;
            let sql =
                "INSERT INTO browser_session (hash, user, created_at, expires_at) VALUES (?1, ?2, ?3, ?4)";
            changes.execute(sql, params![hash, user, now, expires_at]).map(|_| ())
        })
        .await
    }

    /// Who is signed in with this secret, if anybody is.
    pub async fn session(&self, hash: Hash, now: Seconds) -> Result<Option<SessionRow>, StoreError> {
        self.read(move |database| {
            let sql = "SELECT user.*, s.created_at AS since, s.expires_at AS until
                       FROM browser_session s JOIN user ON user.name = s.user
                       WHERE s.hash = ?1 AND s.expires_at > ?2";
            let read = |row: &Row<'_>| {
                let (created_at, expires_at) = (row.get("since")?, row.get("until")?);
                Ok(SessionRow { user: UserRow::read(row)?, created_at, expires_at })
            };
            database.prepare_cached(sql)?.query_row(params![hash, now], read).optional()
        })
        .await
    }

    /// Signs out.
    pub async fn end_session(&self, hash: Hash) -> Result<(), StoreError> {
        self.write(move |changes| {
            changes.execute("DELETE FROM browser_session WHERE hash = ?1", [hash]).map(|_| ())
        })
        .await
    }
}
