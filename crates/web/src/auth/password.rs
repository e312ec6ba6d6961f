//! Passwords of people.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use std::sync::{Arc, LazyLock};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

const SHORTEST: usize = 10;
/// Bytes.
const LONGEST: usize = 1024;

/// Each takes 19 MiB and tens of milliseconds; more at once would only make all of them late.
static AT_ONCE: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(2)));

/// Why a password can not be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    #[error("a password has at least {SHORTEST} characters")]
    TooShort,
    #[error("a password has at most {LONGEST} bytes")]
    TooLong,
    #[error("the password could not be hashed: {reason}")]
    Hash { reason: String },
}

/// An argon2id string, with a new salt. Takes tens of milliseconds.
///
/// # Errors
/// If the password is too short or too long.
pub fn hash_password(password: &str) -> Result<String, PasswordError> {
    if password.chars().count() < SHORTEST {
        return Err(PasswordError::TooShort);
    }
    if password.len() > LONGEST {
        return Err(PasswordError::TooLong);
    }
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.map(|hash| hash.to_string()).map_err(|error| PasswordError::Hash { reason: error.to_string() })
}

/// Whether `password` is the one. Without a `hash` (no such person) it takes as long and is false.
pub(crate) async fn verify(password: Zeroizing<String>, hash: Option<String>) -> bool {
    /// Of nobody's password.
    static NOBODY: LazyLock<Option<String>> = LazyLock::new(|| hash_password("nobody has this one").ok());
    if password.len() > LONGEST {
        return false;
    }
    // Never closed.
    let Ok(_permit) = Arc::clone(&AT_ONCE).acquire_owned().await else { return false };
    let compare = move || {
        let known = hash.is_some();
        let hash = hash.or_else(|| NOBODY.clone()).unwrap_or_default();
        let Ok(hash) = PasswordHash::new(&hash) else { return false };
        Argon2::default().verify_password(password.as_bytes(), &hash).is_ok() && known
    };
    tokio::task::spawn_blocking(compare).await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_verified_by_its_hash() {
        let hash = hash_password("correct horse").unwrap();
        assert!(hash.starts_with("$argon2id$"), "{hash}");
        assert_ne!(hash, hash_password("correct horse").unwrap(), "salted");
        let verify = async |password: &str, hash| verify(password.to_owned().into(), hash).await;
        assert!(verify("correct horse", Some(hash.clone())).await);
        assert!(!verify("correct hors", Some(hash)).await);
        assert!(!verify("nobody has this one", None).await);
        assert!(!verify("correct horse", Some("not a hash".into())).await);
        assert_eq!(hash_password("short").unwrap_err(), PasswordError::TooShort);
        assert_eq!(hash_password(&"x".repeat(1025)).unwrap_err(), PasswordError::TooLong);
    }
}
