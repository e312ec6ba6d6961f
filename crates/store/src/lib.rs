//! Durable state: who may call, what was granted, and what was done.
//!
//! One SQLite file. A [`Store`] is a cheap handle on two threads: one writes, in groups, so that what waits
//! together costs one `fsync`; one reads. Secrets never come here: tokens, codes and cookies are kept as
//! SHA-256 [hashes](type@Hash) (of at least 160 random bits, so that a fast hash is enough), passwords as argon2
//! strings. Times are [`Seconds`] and always arguments.

mod audit;
mod error;
mod oauth;
mod row;
mod schema;
mod store;
mod tokens;
mod users;

pub use audit::{AuditQuery, AuditRow};
pub use error::StoreError;
pub use oauth::{
    Access, ClientRow, CodeExchange, Exchanged, GrantRow, NewCode, NewTokens, RefreshExchange, Refreshed,
    RevokedToken,
};
pub use store::{FILE, Store};
pub use tokens::TokenRow;
pub use users::{SessionRow, UserRow};

/// SHA-256 of a secret.
pub type Hash = [u8; 32];

/// Seconds since 1970-01-01 UTC.
pub type Seconds = i64;

#[cfg(test)]
mod tests;
