//! Packet framing on TCP and KCP: a little-endian header of 1 to 4 bytes whose low two bits give its own
//! length minus one and whose rest is the payload's length (rendezvous §2.1).

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The longest payload that a header can announce.
pub const MAX_PAYLOAD: usize = 0x3FFF_FFFF;

/// Never reserved ahead of the bytes that have arrived, whatever length was announced.
const MAX_RESERVE: usize = 256 * 1024;

/// The peer broke the framing; the stream can not be used any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("packet of {announced} bytes is over the limit of {limit}")]
    TooLong { announced: usize, limit: usize },
}

/// The header of a payload of `len` bytes: its bytes and how many of them count.
///
/// # Panics
/// If `len` is over [`MAX_PAYLOAD`]: a payload that long can only be a fault of ours.
pub fn header(len: usize) -> ([u8; 4], usize) {
    assert!(len <= MAX_PAYLOAD, "payload of {len} bytes can not be framed");
    let size = match len {
        0..=0x3F => 1,
        0x40..=0x3FFF => 2,
        0x4000..=0x3F_FFFF => 3,
        _ => 4,
    };
    let value = (len as u32) << 2 | (size as u32 - 1);
    (value.to_le_bytes(), size)
}

/// Appends header and payload to `out`.
pub fn encode(payload: &[u8], out: &mut BytesMut) {
    let (bytes, size) = header(payload.len());
    out.reserve(size + payload.len());
    out.put_slice(&bytes[..size]);
    out.put_slice(payload);
}

/// A protobuf message, framed.
pub fn encode_message(message: &impl prost::Message) -> Bytes {
    let len = message.encoded_len();
    let (bytes, size) = header(len);
    let mut out = BytesMut::with_capacity(size + len);
    out.put_slice(&bytes[..size]);
    message.encode_raw(&mut out);
    out.freeze()
}

/// Cuts a byte stream into payloads.
///
/// Read into [`buffer`](Self::buffer) (or [`extend`](Self::extend)), then take payloads with
/// [`next_packet`](Self::next_packet) until it gives `None`.
#[derive(Debug)]
pub struct Deframer {
    buffer: BytesMut,
    limit: usize,
}

impl Deframer {
    /// Refuses packets whose payload is announced longer than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), limit: limit.min(MAX_PAYLOAD) }
    }

    /// Where to put the bytes that arrive.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    pub fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The limit from now on, for a stream whose other side has proved who it is.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit.min(MAX_PAYLOAD);
    }

    /// The next whole payload, `None` if more bytes are needed. Headers that are longer than they need
    /// to be are accepted, as upstream does.
    pub fn next_packet(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(&first) = self.buffer.first() else { return Ok(None) };
        let size = usize::from(first & 3) + 1;
        let Some(head) = self.buffer.get(..size) else { return Ok(None) };
        let mut value = [0; 4];
        value[..size].copy_from_slice(head);
        let len = (u32::from_le_bytes(value) >> 2) as usize;
        if len > self.limit {
            return Err(FrameError::TooLong { announced: len, limit: self.limit });
        }
        if self.buffer.len() < size + len {
            let missing = size + len - self.buffer.len();
            self.buffer.reserve(missing.min(MAX_RESERVE));
            return Ok(None);
        }
        self.buffer.advance(size);
        Ok(Some(self.buffer.split_to(len).freeze()))
    }

    /// Bytes that arrived behind the last payload taken: what the raw mode of a relay or a port forward
    /// begins with.
    pub fn into_rest(self) -> BytesMut {
        self.buffer
    }

    /// Bytes held that do not make a packet yet.
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// rendezvous §2.1, table of headers.
    const HEADERS: &[(usize, &[u8])] = &[
        (0, &[0x00]),
        (1, &[0x04]),
        (63, &[0xfc]),
        (64, &[0x01, 0x01]),
        (113, &[0xc5, 0x01]),
        (16_383, &[0xfd, 0xff]),
        (16_384, &[0x02, 0x00, 0x01]),
        (4_194_303, &[0xfe, 0xff, 0xff]),
        (4_194_304, &[0x03, 0x00, 0x00, 0x01]),
        (1_073_741_823, &[0xff, 0xff, 0xff, 0xff]),
    ];

    #[test]
    fn headers_are_those_of_the_table() {
        for &(len, want) in HEADERS {
            let (bytes, size) = header(len);
            assert_eq!(&bytes[..size], want, "length {len}");
        }
    }

    #[test]
    fn a_header_announces_its_length() {
        for &(len, bytes) in HEADERS {
            let mut d = Deframer::new(len.saturating_sub(1));
            d.extend(bytes);
            let want = if len == 0 {
                Ok(Some(Bytes::new()))
            } else {
                Err(FrameError::TooLong { announced: len, limit: len - 1 })
            };
            assert_eq!(d.next_packet(), want);
        }
    }

    #[test]
    fn a_header_may_be_longer_than_needed() {
        let mut d = Deframer::new(10);
        d.extend(&[0x03 | 2 << 2, 0, 0, 0, b'h', b'i']);
        assert_eq!(d.next_packet(), Ok(Some(Bytes::from_static(b"hi"))));
    }

    #[test]
    fn an_announced_length_reserves_little() {
        let mut d = Deframer::new(MAX_PAYLOAD);
        d.extend(&[0xff, 0xff, 0xff, 0xff]);
        assert_eq!(d.next_packet(), Ok(None));
        assert!(d.buffer().capacity() <= 2 * MAX_RESERVE);
    }

    #[test]
    fn the_rest_behind_a_packet_is_handed_over() {
        let mut d = Deframer::new(100);
        let mut bytes = BytesMut::new();
        encode(b"first", &mut bytes);
        bytes.extend_from_slice(b"raw");
        d.extend(&bytes);
        assert_eq!(d.next_packet(), Ok(Some(Bytes::from_static(b"first"))));
        assert_eq!(&d.into_rest()[..], b"raw");
    }

    proptest::proptest! {
        #[test]
        fn packets_survive_any_cutting(
            payloads in proptest::collection::vec(proptest::collection::vec(0u8.., 0..300), 0..8),
            cut in 1usize..50,
        ) {
            let mut stream = BytesMut::new();
            for p in &payloads {
                encode(p, &mut stream);
            }
            let mut d = Deframer::new(1000);
            let mut got = Vec::new();
            for piece in stream.chunks(cut) {
                d.extend(piece);
                while let Some(p) = d.next_packet().unwrap() {
                    got.push(p.to_vec());
                }
            }
            proptest::prop_assert_eq!(got, payloads);
            proptest::prop_assert_eq!(d.pending(), 0);
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(0u8.., 0..200)) {
            let mut d = Deframer::new(64);
            d.extend(&bytes);
            while let Ok(Some(p)) = d.next_packet() {
                assert!(p.len() <= 64);
            }
        }
    }
}
