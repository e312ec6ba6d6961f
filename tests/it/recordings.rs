//! The recordings themselves can be read, and the wire crate understands every message in them.

use deskhand_tests::{recording::Recording, recordings};
use hbb_common::session::Message;
use prost::Message as _;

#[test]
fn every_recorded_session_message_decodes_and_encodes_to_the_same_content() {
    let mut messages = 0;
    for folder in ["session", "client"] {
        for file in std::fs::read_dir(recordings().join(folder)).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_none_or(|e| e != "rdrec") {
                continue;
            }
            let recording = Recording::read(&path);
            if recording.header["kind"] != "session" || path.to_string_lossy().contains("forward") {
                continue;
            }
            for entry in &recording.entries {
                let Ok(message) = Message::decode(entry.bytes.clone()) else {
                    // A recorded scenario sends garbage on purpose.
                    assert!(path.ends_with("misc.rdrec"), "{}: {:02x?}", path.display(), &entry.bytes[..]);
                    continue;
                };
                let again = Message::decode(&message.encode_to_vec()[..]).unwrap();
                assert_eq!(again, message);
                messages += 1;
            }
        }
    }
    assert!(messages > 3_000, "only {messages} messages were read");
}
