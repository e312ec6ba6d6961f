//! `deskhand bench` measures what it says, and ends. How fast anything is, is not tested here.

use serde_json::Value;
use std::process::Command;

/// The rows of the cases that contain `name`, with next to no time for each.
fn rows(name: &str) -> Vec<Value> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deskhand"));
    let output = command.args(["bench", "--time", "0.02", "--runs", "1", name]).output().expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let lines = String::from_utf8(output.stdout).expect("text");
    lines.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
}

/// Every row has a figure; gives the cases, each with what it was compared with.
fn cases(rows: &[Value]) -> Vec<(&str, Option<&str>)> {
    let case = |row: &Value| row["value"].as_f64().is_some_and(|value| value >= 0.0);
    assert!(rows.iter().all(case), "{rows:?}");
    rows.iter().map(|row| (row["case"].as_str().unwrap_or_default(), row["against"].as_str())).collect()
}

#[test]
fn registrations_and_heartbeats_are_measured_beside_an_echo() {
    let rows = rows("rendezvous: heartbeat");
    let cases = cases(&rows);
    let echo = Some("bare UDP echo, 64 per call");
    for case in ["heartbeats", "heartbeats: lost", "heartbeat while hosts register: p99"] {
        assert!(cases.contains(&(case, None)) && cases.contains(&(case, echo)), "{case}: {cases:?}");
    }
}

#[test]
fn pictures_come_by_address_by_id_and_through_the_relay() {
    let rows = rows("session: connect");
    let cases = cases(&rows);
    for path in ["by address", "by id", "relayed"] {
        // Where the path is the host's choice, there may be no time to tell.
        let case = format!("connect to first picture, {path}: came by another path");
        assert!(cases.contains(&(&case, None)), "{case}: {cases:?}");
    }
}

#[test]
fn screenshots_are_measured_beside_the_bare_encoders() {
    let rows = rows("1280x800");
    let cases = cases(&rows);
    assert!(
        cases.contains(&("screenshot png, 1280x800", Some("png crate, level 1, on the scaled pixels"))),
        "{cases:?}"
    );
    assert!(
        cases.contains(&(
            "screenshot jpeg, 1280x800",
            Some("libjpeg-turbo, quality 85, on the scaled pixels")
        )),
        "{cases:?}"
    );
    assert!(cases.contains(&("screenshot png, one line changed, 1280x800", None)), "{cases:?}");
    assert!(cases.contains(&("screenshot unchanged, 1280x800", None)), "{cases:?}");
}

#[test]
fn input_is_followed_to_the_window_it_is_for() {
    let rows = rows("host: input");
    let cases = cases(&rows);
    for case in ["input: key to X event", "input: pointer to X event"] {
        assert!(cases.contains(&(case, None)), "{case}: {cases:?}");
    }
}
