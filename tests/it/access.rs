//! Tokens and people, from the shell.

use deskhand_tests::deskhand;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn run(state: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(deskhand());
    command.args(arguments).arg("--state").arg(state);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A program that wants no input may be gone already.
    let _gone = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn out(state: &Path, arguments: &[&str], input: &str) -> String {
    let output = run(state, arguments, input);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn error(state: &Path, arguments: &[&str], input: &str) -> String {
    let output = run(state, arguments, input);
    assert!(!output.status.success(), "{arguments:?}");
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_token_is_printed_alone_once_listed_and_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let create = ["token", "create", "--name", "ci", "--scopes", "observe,execute", "--targets", "tag:lab"];
    let printed = out(&state, &create, "");
    let token = printed.strip_suffix('\n').unwrap();
    assert!(token.starts_with("dh_t_") && token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
    for file in std::fs::read_dir(&state).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
        let bytes = std::fs::read(&path).unwrap();
        let found = bytes.windows(token.len()).any(|part| part == token.as_bytes());
        assert!(!found, "{} has the secret", path.display());
    }
    let list = out(&state, &["token", "list"], "");
    assert!(list.contains("ci  [observe execute] on tag:lab, mode edit  never used, 90 days left"), "{list}");
    let row: serde_json::Value =
        serde_json::from_str(&out(&state, &["token", "list", "--json"], "")).unwrap();
    assert_eq!((row["name"].as_str(), row["live"].as_bool()), (Some("ci"), Some(true)));
    let id = row["id"].as_str().unwrap();
    assert_eq!(out(&state, &["token", "revoke", id], ""), format!("revoked {id} (ci)\n"));
    assert!(error(&state, &["token", "revoke", id], "").contains("there is no live token"));
    assert!(out(&state, &["token", "list"], "").contains("revoked just now"));
}

#[test]
fn what_can_not_be_granted_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let create = |option: &str, value: &str| {
        let mut arguments = vec!["token", "create", "--name", "x"];
        if option != "--scopes" {
            arguments.extend(["--scopes", "observe"]);
        }
        arguments.extend([option, value]);
        error(folder.path(), &arguments, "")
    };
    assert!(create("--scopes", "root").contains("there is no class"));
    assert!(create("--targets", "color:red").contains("there is no \"color\" in selectors"));
    assert!(create("--mode", "god").contains("there is no mode"));
    assert!(create("--expires", "soon").contains("write it like 12h, 90d, or never"));
}

#[test]
fn people_are_added_with_a_password_from_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path();
    let add = ["user", "add", "alice", "--scopes", "all", "--targets", "not id:vault"];
    assert!(error(state, &add, "short\n").contains("at least 10 characters"));
    out(state, &add, "correct horse\n");
    assert!(error(state, &add, "correct horse\n").contains("already"));
    assert!(out(state, &["user", "list"], "").contains("on not id:vault, mode edit  added just now"));
    out(state, &["user", "password", "alice"], "battery staple\n");
    assert!(error(state, &["user", "password", "bob"], "battery staple\n").contains("there is no user"));
    out(state, &["user", "remove", "alice"], "");
    assert!(error(state, &["user", "remove", "alice"], "").contains("there is no user"));
    assert_eq!(out(state, &["user", "list"], ""), "");
}

#[test]
fn a_state_that_can_not_be_used_is_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("deskhand.sqlite3");
    std::fs::write(&file, "no database, but long enough to be taken for one".repeat(40)).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = error(folder.path(), &["token", "list"], "");
    assert!(text.contains("deskhand.sqlite3 is damaged or no database"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}
