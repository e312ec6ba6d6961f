//! Ids in little memory.

use hbb_common::peer_id::{MAX_ID_LEN, MIN_ID_LEN};
use std::fmt;

const INLINE: usize = 16;

/// An id: up to 16 bytes in place, which holds every id that RustDesk makes up itself.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Id {
    /// Padded with zero bytes.
    Inline([u8; INLINE]),
    Boxed(Box<str>),
}

/// Why a text can not be registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// No such id can ever be registered, so a host with one has to take another.
    #[error("shorter than {MIN_ID_LEN} bytes")]
    TooShort,
    #[error("longer than {MAX_ID_LEN} bytes")]
    TooLong,
    #[error("has a control character or white space")]
    Character,
}

impl Id {
    /// # Errors
    /// If no host may register the text.
    pub fn new(text: &str) -> Result<Self, IdError> {
        if text.len() < MIN_ID_LEN {
            return Err(IdError::TooShort);
        }
        if text.len() > MAX_ID_LEN {
            return Err(IdError::TooLong);
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(IdError::Character);
        }
        Ok(Self::pack(text))
    }

    fn pack(text: &str) -> Self {
        let mut inline = [0; INLINE];
        match inline.get_mut(..text.len()) {
            Some(place) => {
                place.copy_from_slice(text.as_bytes());
                Self::Inline(inline)
            }
            None => Self::Boxed(text.into()),
        }
    }

    pub fn as_str(&self) -> &str {
        match self {
            Self::Inline(bytes) => {
                let len = bytes.iter().position(|b| *b == 0).unwrap_or(INLINE);
                std::str::from_utf8(&bytes[..len]).expect("packed from a str without zero bytes")
            }
            Self::Boxed(text) => text,
        }
    }

    /// Whether it is this text, without looking where it ends.
    pub fn is(&self, text: &str) -> bool {
        match self {
            Self::Inline(bytes) => match bytes.split_at_checked(text.len()) {
                Some((start, rest)) => {
                    start == text.as_bytes()
                        && rest.first().is_none_or(|next| *next == 0)
                        && !text.ends_with('\0')
                }
                None => false,
            },
            Self::Boxed(own) => **own == *text,
        }
    }

    /// Bytes on the heap.
    pub fn heap(&self) -> usize {
        match self {
            Self::Inline(_) => 0,
            Self::Boxed(text) => text.len(),
        }
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({:?})", self.as_str())
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a client may choose as its own id (rendezvous §5.8).
pub fn can_be_chosen(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic())
        && (6..=16).contains(&text.chars().count())
        && chars.all(|c| c.is_alphanumeric() || c == '_' || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_characters() {
        assert_eq!(Id::new("12345"), Err(IdError::TooShort));
        assert_eq!(Id::new(&"1".repeat(101)), Err(IdError::TooLong));
        for text in ["123 456", "12345\0", "123456\n"] {
            assert_eq!(Id::new(text), Err(IdError::Character), "{text:?}");
        }
        for text in ["123456789", "sixteen-bytes-id", "seventeen-bytes-i", "büro-östlich", &"1".repeat(100)]
        {
            let id = Id::new(text).unwrap();
            assert_eq!(id.as_str(), text);
            assert!(id.is(text) && !id.is("") && !id.is(&text[..text.len() - 1]));
            for longer in [format!("{text}1"), format!("{text}\0")] {
                assert!(!id.is(&longer), "{longer:?}");
            }
        }
    }

    #[test]
    fn ids_of_machines_take_no_allocation() {
        assert_eq!(Id::new("1234567890").unwrap().heap(), 0);
        assert_eq!(std::mem::size_of::<Id>(), 24);
    }

    #[test]
    fn chosen_ids() {
        for good in ["office-1", "abcdef", "Sixteen_letters1"] {
            assert!(can_be_chosen(good), "{good}");
        }
        for bad in ["1office", "abcde", "seventeen-letters", "with space", "a.b.c.d"] {
            assert!(!can_be_chosen(bad), "{bad}");
        }
    }
}
