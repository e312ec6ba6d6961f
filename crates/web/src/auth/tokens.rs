//! Bearer tokens that an operator makes, lists and revokes.

use super::{Secret, SecretKind, public_id};
use policy::{CallerKind, Grant};
use store::{Seconds, Store, StoreError, TokenRow};

/// What a new token is to be.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Whom or what it is for.
    pub name: String,
    pub kind: CallerKind,
    pub grant: Grant,
    pub expires_at: Option<Seconds>,
}

/// Makes a token. The secret is shown once; only its hash is kept.
///
/// # Errors
/// If it could not be kept.
pub async fn create(store: &Store, token: NewToken, now: Seconds) -> Result<(Secret, TokenRow), StoreError> {
    let secret = Secret::generate(SecretKind::Token);
    let row = TokenRow {
        id: public_id(),
        name: token.name,
        kind: token.kind,
        grant: token.grant,
        created_at: now,
        expires_at: token.expires_at,
        revoked_at: None,
        used_at: None,
    };
    store.add_token(secret.hash(), row.clone()).await?;
    Ok((secret, row))
}

/// All tokens, the oldest first.
///
/// # Errors
/// If they could not be read.
pub async fn list(store: &Store) -> Result<Vec<TokenRow>, StoreError> {
    store.tokens().await
}

/// Ends every live token whose id or name is `which`, at once, also in a running server. Returns them.
///
/// # Errors
/// If that could not be kept.
pub async fn revoke(store: &Store, which: &str, now: Seconds) -> Result<Vec<TokenRow>, StoreError> {
    store.revoke_tokens(which, now).await
}
