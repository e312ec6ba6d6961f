//! One-time passwords: made here, and good until a session that somebody logged in to ends.

use crate::config::OneTime;
use hbb_common::password::{PasswordHash, readable};
use rand::Rng as _;
use remote::Secret;

const DIGITS: std::ops::RangeInclusive<char> = '0'..='9';

/// A password by these rules, and what proofs of it are checked against.
pub(crate) fn make(rules: OneTime, salt: &str) -> (Secret, PasswordHash) {
    let mut random = rand::rng();
    let text: String = if rules.digits {
        (0..rules.length).map(|_| random.random_range(DIGITS)).collect()
    } else {
        let bytes: Vec<u8> = (0..rules.length).map(|_| random.random()).collect();
        readable(&bytes)
    };
    let hash = PasswordHash::new(&text, salt);
    (Secret::new(text), hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_as_long_as_asked_for_and_of_the_alphabet() {
        for (length, digits) in [(6, false), (10, false), (8, true)] {
            let (password, hash) = make(OneTime { length, digits }, "salt");
            let text = password.reveal();
            assert_eq!(text.len(), length);
            assert!(text.bytes().all(|b| b.is_ascii_digit() || !digits && b.is_ascii_lowercase()), "{text}");
            assert_eq!(hash, PasswordHash::new(text, "salt"));
        }
        let rules = OneTime { length: 10, digits: false };
        assert_ne!(make(rules, "salt").0, make(rules, "salt").0);
    }
}
