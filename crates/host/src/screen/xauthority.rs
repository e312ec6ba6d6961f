//! The file by which X programs prove that they may use a display.

use std::fmt;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The name of the method: a secret that client and server share.
pub const COOKIE_NAME: &[u8] = b"MIT-MAGIC-COOKIE-1";

/// An entry that fits any server; with an empty display number, any display of it.
const FAMILY_WILD: u16 = 65535;

/// The secret of a display.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Cookie([u8; 16]);

impl Cookie {
    /// From 16 random bytes.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookie(…)")
    }
}

/// A file with one entry, for whatever display it is used with: family, address, display number, method and
/// data, each counted string with a big-endian length in front. So it can be written before a server has
/// picked its number.
pub fn entry(cookie: &Cookie) -> Vec<u8> {
    let mut file = Vec::from(FAMILY_WILD.to_be_bytes());
    let fields: [&[u8]; 4] = [b"", b"", COOKIE_NAME, cookie.bytes()];
    for field in fields {
        file.extend((field.len() as u16).to_be_bytes());
        file.extend(field);
    }
    file
}

/// Writes a new file that only its owner can read.
pub fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_laid_out_as_xauth_writes_it() {
        let mut expected = b"\xff\xff\0\0\0\0\0\x12MIT-MAGIC-COOKIE-1\0\x10".to_vec();
        expected.extend([0xab; 16]);
        assert_eq!(entry(&Cookie::new([0xab; 16])), expected);
    }

    #[test]
    fn a_cookie_is_not_printed() {
        assert_eq!(format!("{:?}", Cookie::new([1; 16])), "Cookie(…)");
    }
}
