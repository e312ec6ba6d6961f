//! What must hold for any input that a peer, a server or a file controls: the fuzz targets, as functions.
//!
//! Each takes arbitrary bytes, never judges them, and panics if our code does or contradicts itself.
//! `tests/fuzz` feeds them with libFuzzer, `deskhand-fuzz` with a mutator that needs nothing else, and
//! `tests/it/fuzz_regressions.rs` with every input that once failed.

mod machines;
mod paths;
mod pictures;
mod video;
mod wire;

/// One fuzz target.
#[derive(Debug, Clone, Copy)]
pub struct Oracle {
    /// As in `tests/fuzz/fuzz_targets/NAME.rs` and `tests/fuzz/corpus/NAME/`.
    pub name: &'static str,
    /// Panics where something does not hold.
    pub check: fn(&[u8]),
    /// Inputs to begin with, besides the files.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const ORACLES: &[Oracle] = &[
    Oracle { name: "framing", check: wire::framing, seeds: wire::streams },
    Oracle { name: "address", check: wire::address, seeds: wire::addresses },
    Oracle { name: "peer_id", check: wire::peer_id, seeds: wire::peer_ids },
    Oracle { name: "rewrite", check: wire::rewrite, seeds: wire::rendezvous_messages },
    Oracle { name: "rendezvous", check: wire::rendezvous, seeds: wire::rendezvous_messages },
    Oracle { name: "session", check: wire::session, seeds: wire::session_messages },
    Oracle { name: "seal", check: wire::seal, seeds: wire::sealed },
    Oracle { name: "handshake", check: wire::handshake, seeds: wire::handshakes },
    Oracle { name: "key", check: wire::key, seeds: wire::keys },
    Oracle { name: "video", check: video::video, seeds: video::streams },
    Oracle { name: "pictures", check: pictures::pictures, seeds: pictures::desktops },
    Oracle { name: "client", check: machines::client, seeds: machines::recorded_hosts },
    Oracle { name: "host", check: machines::host, seeds: machines::recorded_clients },
    Oracle { name: "dial", check: paths::dial, seeds: paths::dialled },
    Oracle { name: "registration", check: paths::registration, seeds: paths::registered },
];

/// The oracle with this name.
pub fn oracle(name: &str) -> Option<&'static Oracle> {
    ORACLES.iter().find(|oracle| oracle.name == name)
}

/// Cuts an input into pieces, each behind its length in two bytes, the lower one first; what is left over
/// is the last piece.
fn pieces(mut data: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk::<2>() {
        let (piece, rest) = rest.split_at(rest.len().min(usize::from(u16::from_le_bytes(*length))));
        pieces.push(piece);
        data = rest;
    }
    pieces
}

/// The input that [`pieces`] cuts into these, as far as they fit into `most` bytes.
fn joined<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, most: usize) -> Vec<u8> {
    let mut data = Vec::new();
    for piece in pieces {
        let Ok(length) = u16::try_from(piece.len()) else { continue };
        if data.len() + 2 + piece.len() <= most {
            data.extend_from_slice(&length.to_le_bytes());
            data.extend_from_slice(piece);
        }
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_back_and_any_bytes_are_some() {
        let input = joined([&b"one"[..], b"", &[7; 300], b"left out"], 310);
        assert_eq!(pieces(&input), [&b"one"[..], b"", &[7; 300]]);
        assert_eq!(pieces(&[5, 0, 1, 2]), [[1, 2]]);
        assert_eq!(pieces(&[5]), Vec::<&[u8]>::new());
    }
}
