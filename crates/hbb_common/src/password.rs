//! The proof that a client knows a host's password (session §2.3).

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What a proof is made from: SHA-256(password ‖ salt). It opens the host like the password itself as
/// long as the salt stays, so it is kept like one.
#[derive(Clone, PartialEq, Eq, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
pub struct PasswordHash(pub [u8; 32]);

impl PasswordHash {
    pub fn new(password: &str, salt: &str) -> Self {
        Self(Sha256::new().chain_update(password).chain_update(salt).finalize().into())
    }

    /// `LoginRequest.password` for this connection's challenge: SHA-256(hash ‖ challenge).
    pub fn proof(&self, challenge: &str) -> [u8; 32] {
        Sha256::new().chain_update(self.0).chain_update(challenge).finalize().into()
    }

    /// Whether `proof` fits, in constant time. An empty proof never does: it asks for the local user.
    pub fn accepts(&self, challenge: &str, proof: &[u8]) -> bool {
        self.proof(challenge).ct_eq(proof).into()
    }
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// Digits and letters of challenges and one-time passwords: 0, 1, l and o are left out (session §2.2).
pub const ALPHABET: &[u8; 32] = b"23456789abcdefghijkmnpqrstuvwxyz";

/// Text of [`ALPHABET`] from random bytes, one character each.
pub fn readable(random: &[u8]) -> String {
    random.iter().map(|b| char::from(ALPHABET[usize::from(b & 31)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn vectors() {
        let table = [
            (
                "salt123",
                "b495cc9c9c0924a6d86785d319f6dd6d1355a38687feb4e6ab5f1abc0bcfcc89",
                "60624e4628619d2d449a8fdcd6b44cd0c4bd2535aa0409ae2611d25b6afe715b",
            ),
            (
                "",
                "a075d17f3d453073853f813838c15b8023b8c487038436354fe599c3942e1f95",
                "9a6d4d35e8611834336efabbac5f29cf486442e8516ca517fc9058ba030884ff",
            ),
        ];
        for (salt, h1, proof) in table {
            let hash = PasswordHash::new("p@ssw0rd", salt);
            assert_eq!(hex(&hash.0), h1);
            assert_eq!(hex(&hash.proof("abc234")), proof);
            assert!(hash.accepts("abc234", &hash.proof("abc234")));
            assert!(!hash.accepts("abc235", &hash.proof("abc234")));
            assert!(!hash.accepts("abc234", &[]));
            assert!(!hash.accepts("abc234", &hash.proof("abc234")[..31]));
        }
    }

    #[test]
    fn readable_text() {
        assert_eq!(readable(&[0, 31, 32, 255, 8]), "2z2za");
    }

    #[test]
    fn a_hash_is_not_printed() {
        assert_eq!(format!("{:?}", PasswordHash::new("p", "s")), "PasswordHash(…)");
    }
}
