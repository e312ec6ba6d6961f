//! Reads `.rdrec` files: what real RustDesk programs sent, byte for byte. `tests/recordings/README.md`
//! says what each one holds.

use bytes::{Buf as _, Bytes};
use hbb_common::packet::{Deframer, MAX_PAYLOAD};
use serde_json::Value;
use std::path::Path;

/// One recorded connection.
#[derive(Debug, Clone)]
pub struct Recording {
    /// The first line of the file.
    pub header: Value,
    pub entries: Vec<Entry>,
    /// The file's `.json` beside it, `Null` where there is none: `truth`, `outline`, `result`.
    pub sidecar: Value,
}

/// One packet, datagram or piece of a stream.
#[derive(Debug, Clone)]
pub struct Entry {
    /// 0: client → host, or `a` → `b`. 1: the other way.
    pub direction: u8,
    /// Milliseconds since the start.
    pub at_ms: u32,
    pub bytes: Bytes,
}

impl Recording {
    /// Reads a file below `tests/recordings`, for example `session/video-vp9.rdrec`.
    ///
    /// # Panics
    /// If the file is missing or not in the format: then the checkout is broken.
    pub fn load(name: &str) -> Self {
        Self::read(&crate::recordings().join(name))
    }

    /// Reads any file; see [`load`](Self::load).
    pub fn read(path: &Path) -> Self {
        let mut file = Bytes::from(std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())));
        let end = file.iter().position(|b| *b == b'\n').expect("a header line");
        let header: Value = serde_json::from_slice(&file.split_to(end + 1)).expect("a header in JSON");
        assert_eq!(header["format"], "rustdesk-recording/1", "{}", path.display());
        let mut entries = Vec::new();
        while !file.is_empty() {
            let head = file.split_to(9);
            let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
            entries.push(Entry {
                direction: head[0],
                at_ms: number(1),
                bytes: file.split_to(number(5) as usize),
            });
        }
        let beside = path.with_extension("rdrec.json");
        let sidecar = std::fs::read(beside)
            .map_or(Value::Null, |json| serde_json::from_slice(&json).expect("a sidecar in JSON"));
        Self { header, entries, sidecar }
    }

    /// The bytes of one direction, one after the other: for streams.
    pub fn stream(&self, direction: u8) -> Vec<u8> {
        let pieces = self.entries.iter().filter(|e| e.direction == direction);
        pieces.flat_map(|e| e.bytes.iter().copied()).collect()
    }
    /// The packets of one direction of a `tcp` recording.
    ///
    /// # Panics
    /// If the stream is not made of whole packets.
    pub fn packets(&self, direction: u8) -> Vec<Bytes> {
        cut(&self.stream(direction))
    }
}

/// The packets of a byte stream.
///
/// # Panics
/// If it is not made of whole packets.
pub fn cut(stream: &[u8]) -> Vec<Bytes> {
    let mut deframer = Deframer::new(MAX_PAYLOAD);
    deframer.extend(stream);
    let packets = std::iter::from_fn(|| deframer.next_packet().expect("a packet")).collect();
    assert_eq!(deframer.pending(), 0, "bytes behind the last packet");
    packets
}

/// The payloads of the binary messages of one direction of a WebSocket connection, behind its HTTP head.
///
/// # Panics
/// If the stream is not a WebSocket connection of whole, unfragmented messages.
pub fn websocket_messages(stream: &[u8]) -> Vec<Bytes> {
    let head = stream.windows(4).position(|w| w == b"\r\n\r\n").expect("the end of the HTTP head");
    let mut rest = Bytes::copy_from_slice(&stream[head + 4..]);
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let opcode = rest.get_u8();
        let second = rest.get_u8();
        let len = match second & 0x7f {
            126 => usize::from(rest.get_u16()),
            127 => usize::try_from(rest.get_u64()).expect("a length"),
            short => usize::from(short),
        };
        let mask = if second & 0x80 == 0 { vec![0; 4] } else { rest.split_to(4).to_vec() };
        let payload: Bytes =
            rest.split_to(len).iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        match opcode {
            0x82 => messages.push(payload),
            0x88..=0x8a => {} // close, ping, pong
            other => panic!("WebSocket frame {other:#x}"),
        }
    }
    messages
}
