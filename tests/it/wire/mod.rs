//! The bytes on the wire: worked examples of the protocol documents, and what real programs sent.

mod documents;
mod outlines;
mod raw;

/// Bytes of hexadecimal text; spaces do not count.
fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    assert!(digits.len().is_multiple_of(2), "{text}");
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}
