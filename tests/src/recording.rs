//! Reads `.rdrec` files: what real RustDesk programs sent, byte for byte. `tests/recordings/README.md`
//! says what each one holds.

use bytes::Bytes;
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
}
