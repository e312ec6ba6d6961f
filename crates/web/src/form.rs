//! `application/x-www-form-urlencoded`, strictly: what is not UTF-8 or is said twice is an error.
//!
//! The usual decoders replace what is not UTF-8 and take the last of two. An authorisation server that reads
//! a request otherwise than the program before or behind it can be talked into something.

/// Pairs in one form.
const MOST: usize = 256;

/// A decoded form or query, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Form(Vec<(String, String)>);

/// Why a text is no form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormError {
    #[error("the form is not UTF-8")]
    NotUtf8,
    #[error("a percent sign is not followed by two hexadecimal digits")]
    Escape,
    #[error("the form has more than {MOST} fields")]
    TooMany,
    #[error("{name} is given more than once")]
    Repeated { name: &'static str },
}

impl Form {
    pub(crate) fn parse(text: &[u8]) -> Result<Self, FormError> {
        let mut pairs = Vec::new();
        for pair in text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            if pairs.len() == MOST {
                return Err(FormError::TooMany);
            }
            let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => (pair, &[][..]),
            };
            pairs.push((decode(name, true)?, decode(value, true)?));
        }
        Ok(Self(pairs))
    }

    /// The value of a field that may stand there once. An empty one counts as absent (RFC 6749 §3.1).
    pub(crate) fn one(&self, name: &'static str) -> Result<Option<&str>, FormError> {
        let mut values = self.all(name);
        let first = values.next();
        if values.next().is_some() {
            return Err(FormError::Repeated { name });
        }
        Ok(first.filter(|value| !value.is_empty()))
    }

    /// Every value of a field.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// Percent-decodes; `plus` stands for a space in forms, for itself elsewhere.
pub(crate) fn decode(text: &[u8], plus: bool) -> Result<String, FormError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        bytes.push(match byte {
            b'+' if plus => b' ',
            b'%' => {
                let mut digit = || {
                    let digit = rest.next().and_then(|&byte| char::from(byte).to_digit(16));
                    digit.and_then(|digit| u8::try_from(digit).ok()).ok_or(FormError::Escape)
                };
                digit()? * 16 + digit()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| FormError::NotUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded() {
        let form = Form::parse(b"a=1&b=x+y%2Bz&c&=d&a%62=%C3%A9&&e=").unwrap();
        assert_eq!(form.one("a"), Ok(Some("1")));
        assert_eq!(form.one("b"), Ok(Some("x y+z")));
        assert_eq!(form.one("c"), Ok(None));
        assert_eq!(form.one("ab"), Ok(Some("é")));
        assert_eq!(form.one("e"), Ok(None), "empty is absent");
    }

    #[test]
    fn what_is_said_twice_is_an_error_where_it_may_be_said_once() {
        let form = Form::parse(b"scope=a&scope=b&state=").unwrap();
        assert_eq!(form.one("scope"), Err(FormError::Repeated { name: "scope" }));
        assert_eq!(form.all("scope").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(Form::parse(b"x=&x=1").unwrap().one("x"), Err(FormError::Repeated { name: "x" }));
    }

    #[test]
    fn what_is_no_form_is_refused() {
        assert_eq!(Form::parse(b"a=\xff"), Err(FormError::NotUtf8));
        assert_eq!(Form::parse(b"a=%ff"), Err(FormError::NotUtf8));
        for text in ["a=%", "a=%4", "a=%zz", "%=1"] {
            assert_eq!(Form::parse(text.as_bytes()), Err(FormError::Escape), "{text}");
        }
        assert_eq!(Form::parse("a&".repeat(257).as_bytes()), Err(FormError::TooMany));
    }
}
