//! Secrets that we make: tokens, codes, cookies.
//!
//! `dh_`, a letter for the kind, `_`, 200 random bits and a CRC-32 of all that, both in base32: one word that
//! a double click selects, that scanners of leaked secrets can find, and of which a mistyped or cut copy is
//! refused without a look at the database.

use rand::RngCore as _;
use sha2::{Digest as _, Sha256};
use std::fmt;
use store::Hash;
use zeroize::Zeroizing;

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// Random bytes: forty characters.
const RANDOM: usize = 25;
const LENGTH: usize = "dh_t_".len() + 40 + 7;

/// What a secret is good for; one kind is never taken for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SecretKind {
    /// A bearer token that an operator made.
    Token,
    /// An OAuth access token.
    Access,
    /// An OAuth refresh token.
    Refresh,
    /// An OAuth authorisation code.
    Code,
    /// A browser's sign-in.
    Session,
    /// The secret of a registered client.
    Client,
}

impl SecretKind {
    const ALL: [Self; 6] =
        [Self::Token, Self::Access, Self::Refresh, Self::Code, Self::Session, Self::Client];

    const fn letter(self) -> char {
        match self {
            Self::Token => 't',
            Self::Access => 'a',
            Self::Refresh => 'r',
            Self::Code => 'c',
            Self::Session => 's',
            Self::Client => 'k',
        }
    }
}

/// A new secret. Shown once; only its hash is kept.
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn generate(kind: SecretKind) -> Self {
        let mut random = Zeroizing::new([0; RANDOM]);
        rand::rng().fill_bytes(&mut *random);
        let mut text = Zeroizing::new(String::with_capacity(LENGTH));
        text.push_str("dh_");
        text.push(kind.letter());
        text.push('_');
        base32(&*random, &mut text);
        let check = crc32fast::hash(text.as_bytes());
        base32(&check.to_be_bytes(), &mut text);
        Self(text)
    }

    /// The secret itself, for whoever it was made for.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn hash(&self) -> Hash {
        hash(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The kind and the hash of a text that can be one of our secrets.
pub(crate) fn parse(text: &str) -> Option<(SecretKind, Hash)> {
    let (body, check) = text.split_at_checked(LENGTH - 7)?;
    let mut wanted = String::with_capacity(7);
    base32(&crc32fast::hash(body.as_bytes()).to_be_bytes(), &mut wanted);
    let letter = body.strip_prefix("dh_")?.chars().next()?;
    let kind = SecretKind::ALL.into_iter().find(|kind| kind.letter() == letter)?;
    (check == wanted && body.as_bytes().get(4) == Some(&b'_')).then(|| (kind, hash(text)))
}

/// The hash of a text that has to be a secret of this kind.
pub(crate) fn parse_as(kind: SecretKind, text: &str) -> Option<Hash> {
    parse(text).filter(|(found, _)| *found == kind).map(|(_, hash)| hash)
}

/// A short public name that nobody guesses or meets twice.
pub(crate) fn public_id() -> String {
    let mut random = [0; 10];
    rand::rng().fill_bytes(&mut random);
    let mut id = String::with_capacity(16);
    base32(&random, &mut id);
    id
}

/// Something that only who has the secret can compute, for another purpose than showing the secret.
pub(crate) fn derived(secret: &str, purpose: &str) -> String {
    let mut text = String::new();
    base32(&Sha256::new().chain_update(purpose).chain_update([0]).chain_update(secret).finalize(), &mut text);
    text
}

fn hash(text: &str) -> Hash {
    Sha256::digest(text).into()
}

/// Without padding; the last character takes what is left.
fn base32(bytes: &[u8], into: &mut String) {
    let (mut held, mut bits) = (0_u32, 0);
    let mut push = |five: u32| into.push(char::from(ALPHABET[(five & 31) as usize]));
    for &byte in bytes {
        held = (held << 8) | u32::from(byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            push(held >> bits);
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        push(held << (5 - bits));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base32_is_rfc_4648s_in_lower_case() {
        let encoded = |text: &str| {
            let mut into = String::new();
            base32(text.as_bytes(), &mut into);
            into
        };
        for (plain, want) in [
            ("", ""),
            ("f", "my"),
            ("fo", "mzxq"),
            ("foo", "mzxw6"),
            ("foob", "mzxw6yq"),
            ("fooba", "mzxw6ytb"),
        ] {
            assert_eq!(encoded(plain), want);
        }
    }

    #[test]
    fn a_secret_reads_back_as_its_kind() {
        for kind in SecretKind::ALL {
            let secret = Secret::generate(kind);
            assert_eq!(secret.expose().len(), LENGTH);
            assert_eq!(parse(secret.expose()), Some((kind, secret.hash())));
            assert!(!format!("{secret:?}").contains(secret.expose()));
        }
        assert_ne!(
            Secret::generate(SecretKind::Token).expose(),
            Secret::generate(SecretKind::Token).expose()
        );
    }

    #[test]
    fn a_damaged_secret_is_none() {
        let secret = Secret::generate(SecretKind::Token);
        let text = secret.expose();
        assert_eq!(parse_as(SecretKind::Access, text), None);
        for at in 0..text.len() {
            let other = if text.as_bytes()[at] == b'a' { "b" } else { "a" };
            let damaged = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            assert_eq!(parse(&damaged), None, "{damaged}");
        }
        for text in [
            "",
            "dh_",
            "dh_t_",
            &text[1..],
            &text[..LENGTH - 1],
            &format!("{text}a"),
            "é".repeat(26).as_str(),
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
