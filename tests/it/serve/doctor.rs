//! `deskhand doctor`.

use super::{Served, program};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Whether nothing is broken, and the report: part, state, and what was found.
fn doctor(home: &Path, options: &[&str]) -> (bool, Vec<[String; 3]>) {
    let output = program(home).args(["doctor", "--json"]).args(options).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let text_of = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let rows = text.lines().map(|line| {
        let row: Value = serde_json::from_str(line).unwrap();
        [text_of(&row, "part"), text_of(&row, "state"), text_of(&row, "what")]
    });
    (output.status.success(), rows.collect())
}

fn state<'a>(report: &'a [[String; 3]], part: &str) -> &'a str {
    let found = report.iter().find(|row| row[0] == part);
    &found.unwrap_or_else(|| panic!("{part} in {report:?}"))[1]
}

const RENDEZVOUS: &str = "[rendezvous]\nenable = true\nlisten = [\"127.0.0.1\"]\nport = 0\n";

#[test]
fn a_working_server_is_found_in_order_and_a_wrong_key_is_named() {
    let served = Served::start(RENDEZVOUS, &[]);
    let address = served.url("rendezvous").trim_start_matches("rendezvous://").to_owned();
    let out = served.child.stdout();
    let key = out.lines().find_map(|line| line.strip_prefix("key ")).unwrap();
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("state");
    let options = ["--set", "http.listen=127.0.0.1:0", "--set", "metrics.listen=127.0.0.1:0", "--state"];
    let with = |more: &[&str]| {
        let mut options: Vec<&str> = options.to_vec();
        options.push(folder.to_str().unwrap());
        options.extend(more);
        doctor(home.path(), &options)
    };
    let (good, report) = with(&["--server", &address, "--key", key]);
    assert!(good, "{report:?}");
    for part in ["server", "state", "clock", "port http"] {
        assert_eq!(state(&report, part), "ok", "{report:?}");
    }
    let (good, report) = with(&["--server", &address, "--key", "nonsense"]);
    assert!(!good && state(&report, "server") == "broken", "{report:?}");
    assert!(report.iter().any(|row| row[2].contains("another key") && row[2].contains("server.key")));
}

#[test]
fn what_is_broken_is_told_with_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let open = home.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    let password = home.path().join("password");
    std::fs::write(&password, "hunter2\n").unwrap();
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o644)).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = format!(
        "[targets.a]\naddress = \"10.0.0.1\"\npassword_file = \"/nonexistent/password\"\n\
         [targets.b]\naddress = \"10.0.0.1\"\npassword_file = \"{}\"\n\
         [http]\nlisten = \"{}\"\ntls_cert = \"{}\"\ntls_key = \"{}\"\n[metrics]\nenable = false\n\
         [server]\naddress = \"nowhere.invalid\"\n",
        password.display(),
        taken.local_addr().unwrap(),
        password.display(),
        password.display(),
    );
    let file = home.path().join("config.toml");
    std::fs::write(&file, config).unwrap();
    let options = ["--config", file.to_str().unwrap(), "--state", open.to_str().unwrap()];
    let (good, report) = doctor(home.path(), &options);
    assert!(!good);
    for (part, expected) in [
        ("state", "broken"),
        ("secret of a", "broken"),
        ("secret of b", "check"),
        ("certificate", "broken"),
        ("port http", "broken"),
        ("server", "broken"),
        ("server key", "check"),
    ] {
        assert_eq!(state(&report, part), expected, "{part}: {report:?}");
    }
    assert!(!report.iter().any(|row| row[2].contains("hunter2")));
}

#[test]
fn a_running_daemon_is_seen() {
    let served = Served::start("", &[]);
    let (_, report) = doctor(&served.state(), &["--state", served.state().to_str().unwrap()]);
    assert_eq!(state(&report, "daemon"), "ok", "{report:?}");
}
