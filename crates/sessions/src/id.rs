//! The handle of a session.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngCore as _;
use std::fmt;

/// Names one session. Whoever holds it may use the session, so it carries 144 random bits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(String);

impl SessionId {
    /// A new handle from the operating system's randomness.
    pub fn random() -> Self {
        let mut bytes = [0; 18];
        rand::rng().fill_bytes(&mut bytes);
        Self(format!("s_{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// The text of a handle, as a caller gave it; whether such a session exists is another question.
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first characters, enough to follow a session in a log and too few to use it.
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or("s_?")
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Only [`short`](SessionId::short): a handle does not belong into logs.
impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({}…)", self.short())
    }
}

#[cfg(test)]
mod tests {
    use super::SessionId;

    #[test]
    fn handles_differ_and_are_not_printed_whole() {
        let (one, other) = (SessionId::random(), SessionId::random());
        assert_ne!(one, other);
        assert_eq!(one.as_str().len(), 26, "144 bits in base64, and the prefix");
        assert!(!format!("{one:?}").contains(one.as_str()));
    }
}
