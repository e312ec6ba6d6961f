//! The independent peer is what it says: it reads every recording as we do, and its two ends agree.

use deskhand_tests::pyref::{self, Client, Host};
use deskhand_tests::recordings;
use std::time::Duration;

#[test]
fn the_independent_peer_verifies_every_recording_with_our_message_definitions() {
    let folder = recordings();
    let report = pyref::run("verify.py", &[&folder.to_string_lossy()], Duration::from_secs(300));
    assert!(!report.trim().is_empty());
}

#[test]
fn its_client_and_its_host_understand_each_other() {
    let mut host = Host::listen(&["--id", "555000111", "--password", "beacon"]);
    let direct = host.direct.unwrap().to_string();
    let client =
        Client::start("login-wrong", &["--direct", &direct, "--id", "555000111", "--password", "beacon"]);
    let outcome = client.outcome(Duration::from_secs(60));
    assert!(outcome.ok, "{:#}", outcome.report);
    host.event("a login", Duration::from_secs(5), |e| e["event"] == "login_request");
}
