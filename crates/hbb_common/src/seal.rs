//! Encryption of packets behind a handshake (rendezvous §6.2).

use bytes::Bytes;
use dryoc::classic::crypto_secretbox;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// What a packet grows by.
pub const OVERHEAD: usize = 16;

/// The key of both directions of one stream.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SessionKey(pub [u8; 32]);

impl std::fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionKey(…)")
    }
}

/// The packet was altered, replayed, reordered, or sealed with another key. The stream can not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("packet {counter} does not open: altered, replayed, or sealed with another key")]
pub struct SealError {
    /// Which packet of the stream was expected, from 1.
    pub counter: u64,
}

/// One side's view of a sealed stream: XSalsa20-Poly1305 with a counter for a nonce, raised before use.
///
/// Both directions use the same key **and** the same nonces, a weakness of the protocol that
/// compatibility demands.
#[derive(Debug)]
pub struct Seal {
    key: SessionKey,
    sent: u64,
    received: u64,
}

impl Seal {
    pub fn new(key: SessionKey) -> Self {
        Self { key, sent: 0, received: 0 }
    }

    /// The sealed form of the next packet to send; 16 bytes longer, also for an empty one.
    pub fn seal(&mut self, plain: &[u8]) -> Bytes {
        self.sent += 1;
        let mut sealed = vec![0; plain.len() + OVERHEAD];
        crypto_secretbox::crypto_secretbox_easy(&mut sealed, plain, &nonce(self.sent), &self.key.0)
            .expect("lengths fit by construction");
        sealed.into()
    }

    /// The next packet received. Packets of 0 or 1 byte are heartbeats outside the sealed sequence: they
    /// come back as they are and do not count.
    pub fn open(&mut self, sealed: Bytes) -> Result<Bytes, SealError> {
        if sealed.len() <= 1 {
            return Ok(sealed);
        }
        self.received += 1;
        let error = SealError { counter: self.received };
        let mut plain = vec![0; sealed.len().checked_sub(OVERHEAD).ok_or(error)?];
        crypto_secretbox::crypto_secretbox_open_easy(&mut plain, &sealed, &nonce(self.received), &self.key.0)
            .map_err(|_| error)?;
        Ok(plain.into())
    }
}

fn nonce(counter: u64) -> [u8; 24] {
    let mut nonce = [0; 24];
    nonce[..8].copy_from_slice(&counter.to_le_bytes());
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }

    /// rendezvous, Appendix A.
    #[test]
    fn vectors() {
        let plain = hex("4a0a0a03616263120378797a");
        let mut seal = Seal::new(SessionKey([5; 32]));
        assert_eq!(seal.seal(&plain), hex("53d8c9d4405062fdf6660c89b14465b11c50f96bbe9025fb568543e0"));
        assert_eq!(seal.seal(&plain), hex("c51ff2167767832c0ed4bc89d037f5ed7335cded2f10277af7442570"));
        let mut seal = Seal::new(SessionKey([7; 32]));
        assert_eq!(seal.seal(b"hello"), hex("27a9ca91dd65834b1bb12ba9d3a882dc4d0efb2488"));
        assert_eq!(seal.seal(b""), hex("db4a83df3b9c8226fa08da7909eb16a3"));
    }

    #[test]
    fn a_stream_opens_in_order_only() {
        let mut out = Seal::new(SessionKey([9; 32]));
        let packets: Vec<Bytes> = ["a", "bb", ""].iter().map(|p| out.seal(p.as_bytes())).collect();
        let mut ours = Seal::new(SessionKey([9; 32]));
        assert_eq!(ours.open(packets[0].clone()).unwrap(), "a");
        assert_eq!(ours.open(Bytes::from_static(b"x")).unwrap(), "x", "heartbeats do not count");
        assert_eq!(ours.open(packets[1].clone()).unwrap(), "bb");
        assert_eq!(ours.open(packets[2].clone()).unwrap(), "");
        assert_eq!(ours.open(packets[2].clone()), Err(SealError { counter: 4 }), "replayed");
    }

    #[test]
    fn altered_short_and_foreign_packets_are_refused() {
        let mut out = Seal::new(SessionKey([9; 32]));
        let good = out.seal(b"packet");
        let mut bad = good.to_vec();
        bad[3] ^= 0x80;
        assert!(Seal::new(SessionKey([9; 32])).open(bad.into()).is_err());
        assert!(Seal::new(SessionKey([8; 32])).open(good).is_err());
        assert!(Seal::new(SessionKey([9; 32])).open(Bytes::from_static(b"short")).is_err());
    }
}
