//! `deskhand host` and the person in front of it.

use deskhand_tests::pyref::{Client, Outcome};
use deskhand_tests::{Child, deskhand};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const ID: &str = "555000111";

/// A host that shows the test card, by address only.
fn host(folder: &Path, arguments: &[&str]) -> (Child, String) {
    let mut command = Command::new(deskhand());
    command.args(["host", "--screen", "test-card", "--direct-port", "0", "--id", ID]).args(arguments);
    command.arg("--state").arg(folder.join("state"));
    let mut child = Child::spawn(&mut command);
    let port = child.wait_for("where it listens", LIMIT, |child| {
        let address = said(child, "listening direct tcp ").pop()?;
        said(child, "ready").pop()?;
        address.rsplit(':').next().map(str::to_owned)
    });
    (child, format!("127.0.0.1:{port}"))
}

/// The rests of the lines that begin with `word`.
fn said(child: &Child, word: &str) -> Vec<String> {
    child.stdout().lines().filter_map(|line| line.strip_prefix(word)).map(str::to_owned).collect()
}

fn client(scenario: &str, address: &str, arguments: &[&str]) -> Outcome {
    let mut all = vec!["--direct", address, "--id", ID, "--seconds", "1"];
    all.extend(arguments);
    Client::start(scenario, &all).outcome(LIMIT)
}

#[test]
fn a_one_time_password_is_printed_and_the_next_one_after_its_session() {
    let folder = tempfile::tempdir().unwrap();
    let (mut host, address) = host(folder.path(), &["--one-time-password=8"]);
    let first = host.wait_for("a password", LIMIT, |host| said(host, "one-time password ").pop());
    assert_eq!(first.len(), 8);
    let Outcome { ok, report } = client("idle", &address, &["--password", &first]);
    assert!(ok, "{report}");
    host.wait_for("another password", LIMIT, |host| {
        said(host, "one-time password ").pop().filter(|second| *second != first)
    });
}

#[test]
fn a_program_answers_for_the_person() {
    let folder = tempfile::tempdir().unwrap();
    let asked = folder.path().join("asked");
    for (answer, outcome) in [(0, "login_response.peer_info"), (1, "misc.close_reason")] {
        let program = folder.path().join("ask");
        let text = format!(
            "#!/bin/sh\necho \"$DESKHAND_CLIENT_ID $DESKHAND_CLIENT_NAME\" >{}\nexit {answer}\n",
            asked.display()
        );
        std::fs::write(&program, text).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let arguments = ["--approve", "click", "--ask", program.to_str().unwrap()];
        let (_host, address) = host(folder.path(), &arguments);
        let client = client("login-empty", &address, &["--then", "wait", "--my-id", "987654321"]);
        assert_eq!(client.report["truth"]["then"], outcome, "{}", client.report);
        assert_eq!(std::fs::read_to_string(&asked).unwrap(), "987654321 recorder\n");
    }
}

#[test]
fn a_host_that_nobody_could_enter_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(deskhand());
        command.args(["host", "--screen", "test-card", "--direct-port", "0"]).args(arguments);
        let output = command.arg("--state").arg(folder.path()).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(run(&[]).contains("--one-time-password"), "{}", run(&[]));
    // The standard input of a test is no terminal.
    assert!(run(&["--approve", "click"]).contains("--ask"), "{}", run(&["--approve", "click"]));
}
