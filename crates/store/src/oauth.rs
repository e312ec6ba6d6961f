//! What clients were given by people: OAuth clients, consents, codes, access and refresh tokens.
//!
//! A *consent* is what a person agreed to for a client. Everything issued afterwards hangs from it: one code,
//! access tokens, a chain of refresh tokens. Ending the consent ends all of it at once.

use crate::row::{Allowed, Json};
use crate::tokens::note_used;
use crate::{Hash, Seconds, Store, StoreError};
use policy::{Classes, Grant};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

/// A client that registered itself (RFC 7591).
#[derive(Debug, Clone, PartialEq)]
pub struct ClientRow {
    pub id: String,
    /// None for public clients.
    pub secret: Option<Hash>,
    pub name: String,
    pub redirect_uris: Vec<String>,
    /// `none`, `client_secret_post` or `client_secret_basic`.
    pub auth_method: String,
    pub created_at: Seconds,
    /// When somebody last agreed to something for it.
    pub used_at: Option<Seconds>,
}

impl ClientRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            secret: row.get("secret")?,
            name: row.get("name")?,
            redirect_uris: row.get::<_, Json<Vec<String>>>("redirect_uris")?.0,
            auth_method: row.get("auth_method")?,
            created_at: row.get("created_at")?,
            used_at: row.get("used_at")?,
        })
    }
}

/// What a person agreed to for a client.
#[derive(Debug, Clone, PartialEq)]
pub struct GrantRow {
    /// Public; names the consent in lists and the audit log.
    pub id: String,
    pub client: String,
    pub client_name: String,
    pub user: String,
    /// The audience (RFC 8707).
    pub resource: String,
    pub grant: Grant,
    pub created_at: Seconds,
    pub expires_at: Option<Seconds>,
    pub revoked_at: Option<Seconds>,
    /// Why it ended: `person`, `client`, `code_replay`, `refresh_reuse`.
    pub revoked_because: Option<String>,
    /// Within a minute.
    pub used_at: Option<Seconds>,
}

impl GrantRow {
    /// Neither revoked nor expired.
    pub fn is_live(&self, now: Seconds) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            client: row.get("client")?,
            client_name: row.get("client_name")?,
            user: row.get("user")?,
            resource: row.get("resource")?,
            grant: row.get::<_, Allowed>("allowed")?.0,
            created_at: row.get("created_at")?,
            expires_at: row.get("expires_at")?,
            revoked_at: row.get("revoked_at")?,
            revoked_because: row.get("revoked_because")?,
            used_at: row.get("used_at")?,
        })
    }
}

/// A code to be kept with its consent.
#[derive(Debug, Clone)]
pub struct NewCode {
    pub hash: Hash,
    /// As the client wrote it.
    pub redirect_uri: String,
    /// PKCE, method S256.
    pub challenge: String,
    pub expires_at: Seconds,
}

/// The pair of tokens that an exchange hands out when it succeeds.
#[derive(Debug, Clone, Copy)]
pub struct NewTokens {
    pub access: Hash,
    pub access_expires_at: Seconds,
    pub refresh: Hash,
    /// If it is not used before.
    pub refresh_expires_at: Seconds,
}

/// A code that a client brings back.
#[derive(Debug, Clone)]
pub struct CodeExchange {
    pub code: Hash,
    pub client: String,
    pub redirect_uri: String,
    /// Computed from the verifier.
    pub challenge: String,
    pub resource: Option<String>,
    pub tokens: NewTokens,
}

/// How the exchange of a code ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Exchanged {
    Issued(Box<GrantRow>),
    /// Never issued, or forgotten long after its time.
    Unknown,
    Expired,
    /// Used before; everything that came of it has ended.
    Replayed {
        consent: String,
    },
    /// The consent has been withdrawn.
    Revoked,
    /// Not the client, address, verifier or resource that it was issued for. It can not be tried again.
    Mismatch {
        what: &'static str,
    },
}

/// A refresh token that a client brings back.
#[derive(Debug, Clone)]
pub struct RefreshExchange {
    pub refresh: Hash,
    pub client: String,
    /// Fewer classes than were granted, for the new access token alone.
    pub classes: Option<Classes>,
    pub resource: Option<String>,
    pub tokens: NewTokens,
}

/// How the exchange of a refresh token ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Refreshed {
    /// With the classes of the access token.
    Issued(Box<GrantRow>, Classes),
    Unknown,
    Expired,
    /// Used before: one of two has stolen it, so that everything of this consent has ended.
    Reused {
        consent: String,
    },
    Revoked,
    Mismatch {
        what: &'static str,
    },
    /// More classes were asked for than were granted.
    TooMuch,
}

/// What an access token stands for.
#[derive(Debug, Clone, PartialEq)]
pub struct Access {
    pub consent: GrantRow,
    /// Of the token; never more than the consent's.
    pub classes: Classes,
    pub expires_at: Seconds,
    /// The most that the person who agreed can do now.
    pub user_grant: Grant,
}

/// What a client revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevokedToken {
    /// One access token.
    Access,
    /// The consent with everything that came of it.
    Consent { id: String },
    /// Nothing of this client's.
    Nothing,
}

impl Store {
    /// Keeps a client that registered. Those that nobody used within `unused_for` seconds go first; false if
    /// there are `most` clients even so.
    pub async fn add_client(
        &self,
        client: ClientRow,
        unused_for: Seconds,
        most: usize,
    ) -> Result<bool, StoreError> {
        self.write(move |changes| {
            let old = client.created_at.saturating_sub(unused_for);
            changes.execute("DELETE FROM client WHERE used_at IS NULL AND created_at < ?1", [old])?;
            let count: i64 = changes.query_row("SELECT count(*) FROM client", [], |row| row.get(0))?;
            if usize::try_from(count).unwrap_or(usize::MAX) >= most {
                return Ok(false);
            }
            let sql = "INSERT INTO client (id, secret, name, redirect_uris, auth_method, created_at)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let uris = Json(&client.redirect_uris);
            let values =
                params![client.id, client.secret, client.name, uris, client.auth_method, client.created_at];
            changes.execute(sql, values).map(|_| true)
        })
        .await
    }

    pub async fn client(&self, id: &str) -> Result<Option<ClientRow>, StoreError> {
        let id = id.to_owned();
        self.read(move |database| {
            let mut find = database.prepare_cached("SELECT * FROM client WHERE id = ?1")?;
            find.query_row([id], ClientRow::read).optional()
        })
        .await
    }

    /// Keeps what a person agreed to, with the code that the client will bring. What is long over goes.
    pub async fn add_consent(&self, consent: GrantRow, code: NewCode) -> Result<(), StoreError> {
        self.write(move |changes| {
            let now = consent.created_at;
            forget_old(changes, now)?;
            let sql = "INSERT INTO consent
                           (id, client, client_name, user, resource, allowed, created_at, expires_at)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
            let allowed = Json(&consent.grant);
            let values = params![
                consent.id,
                consent.client,
                consent.client_name,
                consent.user,
                consent.resource,
                allowed,
                now,
                consent.expires_at
            ];
            changes.execute(sql, values)?;
            changes.execute("UPDATE client SET used_at = ?2 WHERE id = ?1", params![consent.client, now])?;
            let sql = "INSERT INTO code (hash, consent, redirect_uri, challenge, expires_at)
                       VALUES (?1, ?2, ?3, ?4, ?5)";
            let values = params![code.hash, consent.id, code.redirect_uri, code.challenge, code.expires_at];
            changes.execute(sql, values).map(|_| ())
        })
        .await
    }

    /// Exchanges a code for tokens, once. Whatever the outcome, the code is used up.
    pub async fn exchange_code(&self, with: CodeExchange, now: Seconds) -> Result<Exchanged, StoreError> {
        self.write(move |changes| {
            let sql =
                "SELECT consent, redirect_uri, challenge, expires_at, used_at FROM code WHERE hash = ?1";
            type Code = (String, String, String, Seconds, Option<Seconds>);
            let read = |row: &Row<'_>| -> rusqlite::Result<Code> { row.try_into() };
            let found = changes.prepare_cached(sql)?.query_row([with.code], read).optional()?;
            let Some((consent, redirect_uri, challenge, expires_at, used_at)) = found else {
                return Ok(Exchanged::Unknown);
            };
            if used_at.is_some() {
                end_consent(changes, &consent, "code_replay", now)?;
                return Ok(Exchanged::Replayed { consent });
            }
            changes.execute("UPDATE code SET used_at = ?2 WHERE hash = ?1", params![with.code, now])?;
            let consent = consent_by_id(changes, &consent)?;
            let mismatch = [
                ("client_id", consent.client == with.client),
                ("redirect_uri", redirect_uri == with.redirect_uri),
                ("code_verifier", challenge == with.challenge),
                ("resource", with.resource.is_none_or(|resource| resource == consent.resource)),
            ];
            if let Some((what, _)) = mismatch.into_iter().find(|(_, same)| !same) {
                return Ok(Exchanged::Mismatch { what });
            }
            if expires_at <= now {
                return Ok(Exchanged::Expired);
            }
            if !consent.is_live(now) {
                return Ok(Exchanged::Revoked);
            }
            issue(changes, &consent, consent.grant.classes, &with.tokens)?;
            Ok(Exchanged::Issued(Box::new(consent)))
        })
        .await
    }

    /// Exchanges a refresh token for a new pair. The old one is used up; a second use ends the consent.
    pub async fn refresh(&self, with: RefreshExchange, now: Seconds) -> Result<Refreshed, StoreError> {
        self.write(move |changes| {
            let sql = "SELECT consent, expires_at, used_at FROM refresh_token WHERE hash = ?1";
            let read =
                |row: &Row<'_>| -> rusqlite::Result<(String, Seconds, Option<Seconds>)> { row.try_into() };
            let found = changes.prepare_cached(sql)?.query_row([with.refresh], read).optional()?;
            let Some((consent, expires_at, used_at)) = found else { return Ok(Refreshed::Unknown) };
            let consent = consent_by_id(changes, &consent)?;
            if !consent.is_live(now) {
                return Ok(Refreshed::Revoked);
            }
            if consent.client != with.client {
                return Ok(Refreshed::Mismatch { what: "client_id" });
            }
            if used_at.is_some() {
                end_consent(changes, &consent.id, "refresh_reuse", now)?;
                return Ok(Refreshed::Reused { consent: consent.id });
            }
            if expires_at <= now {
                return Ok(Refreshed::Expired);
            }
            if with.resource.is_some_and(|resource| resource != consent.resource) {
                return Ok(Refreshed::Mismatch { what: "resource" });
            }
            let classes = with.classes.unwrap_or(consent.grant.classes);
            if !classes.without(consent.grant.classes).is_empty() {
                return Ok(Refreshed::TooMuch);
            }
            let sql = "UPDATE refresh_token SET used_at = ?2 WHERE hash = ?1";
            changes.execute(sql, params![with.refresh, now])?;
            issue(changes, &consent, classes, &with.tokens)?;
            bound(changes, &consent.id)?;
            Ok(Refreshed::Issued(Box::new(consent), classes))
        })
        .await
    }

    /// What the access token with this hash stands for, if it and its consent are live.
    pub async fn access(&self, hash: Hash, now: Seconds) -> Result<Option<Access>, StoreError> {
        self.read(move |database| {
            let sql = "SELECT consent.*, t.classes, t.expires_at AS until, user.allowed AS most
                       FROM access_token t
                       JOIN consent ON consent.id = t.consent
                       JOIN user ON user.name = consent.user
                       WHERE t.hash = ?1 AND t.expires_at > ?2";
            let read = |row: &Row<'_>| {
                let classes = row.get::<_, Json<Classes>>("classes")?.0;
                let (expires_at, user_grant) = (row.get("until")?, row.get::<_, Allowed>("most")?.0);
                Ok(Access { consent: GrantRow::read(row)?, classes, expires_at, user_grant })
            };
            let found = database.prepare_cached(sql)?.query_row(params![hash, now], read).optional()?;
            Ok(found.filter(|access| access.consent.is_live(now)))
        })
        .await
    }

    /// Notes that something of the consent was used. May be lost when the database is behind or failing.
    pub fn note_consent_used(&self, id: &str, now: Seconds) {
        let id = id.to_owned();
        self.write_some_time(move |changes| {
            note_used(changes, "UPDATE consent SET used_at = ?2 WHERE id = ?1", &id, now)
        });
    }

    /// What `user` agreed to, or everybody; live, the newest first.
    pub async fn consents(&self, user: Option<&str>, now: Seconds) -> Result<Vec<GrantRow>, StoreError> {
        let user = user.map(str::to_owned);
        self.read(move |database| {
            let sql = "SELECT * FROM consent
                       WHERE (?1 IS NULL OR user = ?1) AND revoked_at IS NULL
                         AND (expires_at IS NULL OR expires_at > ?2)
                       ORDER BY created_at DESC, rowid DESC";
            database.prepare(sql)?.query_map(params![user, now], GrantRow::read)?.collect()
        })
        .await
    }

    /// Ends a consent; of `user` alone, if one is named. False if there was none.
    pub async fn revoke_consent(
        &self,
        id: &str,
        user: Option<&str>,
        now: Seconds,
    ) -> Result<bool, StoreError> {
        let (id, user) = (id.to_owned(), user.map(str::to_owned));
        self.write(move |changes| {
            let sql = "SELECT count(*) FROM consent
                       WHERE id = ?1 AND (?2 IS NULL OR user = ?2) AND revoked_at IS NULL";
            let there: i64 = changes.query_row(sql, params![id, user], |row| row.get(0))?;
            if there > 0 {
                end_consent(changes, &id, "person", now)?;
            }
            Ok(there > 0)
        })
        .await
    }

    /// Ends a token that its client does not want any more (RFC 7009).
    pub async fn revoke_issued(
        &self,
        hash: Hash,
        client: &str,
        now: Seconds,
    ) -> Result<RevokedToken, StoreError> {
        let client = client.to_owned();
        self.write(move |changes| {
            let sql = "SELECT consent.id FROM refresh_token t JOIN consent ON consent.id = t.consent
                       WHERE t.hash = ?1 AND consent.client = ?2";
            let refresh: Option<String> =
                changes.query_row(sql, params![hash, client], |row| row.get(0)).optional()?;
            if let Some(id) = refresh {
                end_consent(changes, &id, "client", now)?;
                return Ok(RevokedToken::Consent { id });
            }
            let sql = "DELETE FROM access_token
                       WHERE hash = ?1 AND consent IN (SELECT id FROM consent WHERE client = ?2)";
            let ended = changes.execute(sql, params![hash, client])?;
            Ok(if ended > 0 { RevokedToken::Access } else { RevokedToken::Nothing })
        })
        .await
    }
}

/// Codes and tokens are remembered for a day after their time, so that a late replay is still noticed.
const REMEMBERED: Seconds = 24 * 3600;

fn forget_old(changes: &Connection, now: Seconds) -> rusqlite::Result<()> {
    let old = now.saturating_sub(REMEMBERED);
    changes.execute("DELETE FROM access_token WHERE expires_at <= ?1", [now])?;
    changes.execute("DELETE FROM refresh_token WHERE expires_at <= ?1", [old])?;
    changes.execute("DELETE FROM code WHERE expires_at <= ?1", [old])?;
    // A consent from which nothing hangs any more can not be used again.
    let sql = "DELETE FROM consent WHERE created_at <= ?1
                 AND NOT EXISTS (SELECT 1 FROM refresh_token t WHERE t.consent = consent.id)
                 AND NOT EXISTS (SELECT 1 FROM code WHERE code.consent = consent.id)";
    changes.execute(sql, [old]).map(|_| ())
}

/// Access tokens of one consent that are good at a time, and refresh tokens of it that are remembered: a
/// client that refreshes without end does not fill the disk.
const MOST_ACCESS: usize = 100;
const MOST_REFRESH: usize = 4000;

fn bound(changes: &Connection, consent: &str) -> rusqlite::Result<()> {
    for (table, most) in [("access_token", MOST_ACCESS), ("refresh_token", MOST_REFRESH)] {
        let sql = format!(
            "DELETE FROM {table} WHERE consent = ?1 AND rowid <=
                 (SELECT rowid FROM {table} WHERE consent = ?1 ORDER BY rowid DESC LIMIT 1 OFFSET {most})"
        );
        changes.prepare_cached(&sql)?.execute([consent])?;
    }
    Ok(())
}

fn consent_by_id(changes: &Connection, id: &str) -> rusqlite::Result<GrantRow> {
    changes.prepare_cached("SELECT * FROM consent WHERE id = ?1")?.query_row([id], GrantRow::read)
}

fn end_consent(changes: &Connection, id: &str, because: &str, now: Seconds) -> rusqlite::Result<()> {
    let sql = "UPDATE consent SET revoked_at = ?2, revoked_because = ?3
               WHERE id = ?1 AND revoked_at IS NULL";
    changes.execute(sql, params![id, now, because])?;
    changes.execute("DELETE FROM access_token WHERE consent = ?1", [id]).map(|_| ())
}

fn issue(
    changes: &Connection,
    consent: &GrantRow,
    classes: Classes,
    tokens: &NewTokens,
) -> rusqlite::Result<()> {
    let within = |until: Seconds| consent.expires_at.map_or(until, |end| end.min(until));
    let sql = "INSERT INTO access_token (hash, consent, classes, expires_at) VALUES (?1, ?2, ?3, ?4)";
    let until = within(tokens.access_expires_at);
    changes.execute(sql, params![tokens.access, consent.id, Json(classes), until])?;
    let sql = "INSERT INTO refresh_token (hash, consent, expires_at) VALUES (?1, ?2, ?3)";
    changes.execute(sql, params![tokens.refresh, consent.id, within(tokens.refresh_expires_at)]).map(|_| ())
}
