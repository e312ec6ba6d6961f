//! What is checked of a picture that the host encoded itself.

use remote::{RemoteError, Size};

const SIGNATURE: &[u8; 8] = b"\x89PNG\r\n\x1a\n";

/// The size that a PNG file says it has, if it is one of at most `limit` pixels. Only the head is read, so
/// that nobody decodes a bomb later.
pub fn png_size(png: &[u8], limit: u64) -> Result<Size, RemoteError> {
    let bad = |what: &str| RemoteError::UnsupportedByPeer(format!("its screenshot is {what}"));
    let head = png.get(..33).ok_or_else(|| bad("cut short"))?;
    if &head[..8] != SIGNATURE || &head[12..16] != b"IHDR" {
        return Err(bad("no PNG"));
    }
    let number = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let size = Size::new(number(16), number(20));
    if size.is_empty() || size.area() > limit {
        return Err(bad(&format!("{size}, over the limit of {limit} pixels")));
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut out = SIGNATURE.to_vec();
        out.extend_from_slice(&13_u32.to_be_bytes());
        out.extend_from_slice(b"IHDR");
        out.extend_from_slice(&width.to_be_bytes());
        out.extend_from_slice(&height.to_be_bytes());
        out.extend_from_slice(&[8, 2, 0, 0, 0, 0, 0, 0, 0]);
        out
    }

    #[test]
    fn the_head_is_believed_within_the_limit_only() {
        assert_eq!(png_size(&png(640, 480), 1 << 20), Ok(Size::new(640, 480)));
        for bad in
            [png(u32::MAX, u32::MAX), png(0, 5), png(2000, 2000), png(1, 1)[..20].to_vec(), vec![0; 64]]
        {
            assert!(matches!(png_size(&bad, 1 << 20), Err(RemoteError::UnsupportedByPeer(_))));
        }
    }
}
