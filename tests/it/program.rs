//! The program as its users start it.

use deskhand_tests::{Child, deskhand, eventually};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

/// Starting, on a machine that may be busy.
const START: Duration = Duration::from_secs(30);

fn run(arguments: &[&str]) -> Output {
    Command::new(deskhand()).args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The rest of the first line that begins with `word`.
fn said(child: &Child, word: &str) -> Option<String> {
    let out = child.stdout();
    out.lines().find_map(|line| line.strip_prefix(word)).map(|rest| rest.trim().to_owned())
}

fn rendezvous(folder: &Path) -> (Child, String, String) {
    let mut command = Command::new(deskhand());
    command.arg("rendezvous").args(["--listen", "127.0.0.1", "--port", "0", "--state"]).arg(folder);
    let mut child = Child::spawn(&mut command);
    child.wait_for("ready", START, |child| said(child, "ready"));
    let key = said(&child, "key ").unwrap();
    let address = said(&child, "listening rendezvous tcp ").unwrap();
    (child, address, key)
}

/// A host that shows the test card.
fn host(folder: &Path, arguments: &[&str]) -> Child {
    std::fs::create_dir_all(folder).unwrap();
    let password = folder.join("password");
    std::fs::write(&password, "correct horse\n").unwrap();
    let mut command = Command::new(deskhand());
    command.arg("host").args(["--screen", "test-card"]).args(arguments);
    command.arg("--password-file").arg(&password).arg("--state").arg(folder.join("state"));
    let mut child = Child::spawn(&mut command);
    child.wait_for("ready", START, |child| said(child, "ready"));
    child
}

/// `deskhand call --json` with a configuration; the results in order.
fn call(folder: &Path, config: &str, calls: &[&str]) -> (bool, Vec<Value>) {
    let file = folder.join("config.toml");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(deskhand());
    command.args(["call", "--json", "--config"]).arg(&file).arg("--state").arg(folder.join("client"));
    command.arg("--out").arg(folder.join("out")).args(calls);
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!rows.is_empty(), "{}", stderr(&output));
    (output.status.success(), rows)
}

#[test]
fn the_demo_proves_that_typed_text_arrives_and_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let output =
        Command::new(deskhand()).args(["demo", "--once", "--out"]).arg(folder.path()).output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{out}{}", stderr(&output));
    assert!(out.contains("the typed text arrived and is in the picture"), "{out}");
    for picture in ["1-before.png", "2-after.png"] {
        assert!(folder.path().join(picture).is_file(), "{picture}");
    }
}

#[test]
fn servers_say_what_they_are_and_end_cleanly_on_either_signal() {
    let folder = tempfile::tempdir().unwrap();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (mut server, address, key) = rendezvous(&folder.path().join("rendezvous"));
        let mut host = host(&folder.path().join("host"), &["--server", &address, "--key", &key]);
        host.wait_for("registration", START, |child| said(child, "registered "));
        for child in [&mut host, &mut server] {
            child.signal(signal);
            assert!(child.ended(START).success(), "{signal}");
        }
    }
}

#[test]
fn identities_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("host");
    let start = || {
        let (server, address, key) = rendezvous(&folder.path().join("rendezvous"));
        let mut child = host(&state, &["--server", &address, "--key", &key]);
        child.wait_for("registration", START, |child| said(child, "registered "));
        (key, said(&child, "id ").unwrap(), said(&child, "key ").unwrap(), server)
    };
    let (server_key, id, host_key, first) = start();
    drop(first);
    let (server_key_again, id_again, host_key_again, _second) = start();
    assert_eq!((server_key, id, host_key), (server_key_again, id_again, host_key_again));
}

#[tokio::test]
async fn the_relay_answers_the_independent_probe_as_stock_does() {
    let folder = tempfile::tempdir().unwrap();
    let (server, address, key) = rendezvous(folder.path());
    let relay = said(&server, "listening relay tcp ").unwrap();
    let arguments =
        ["--hbbs", &address, "--hbbr", &relay, "--key", &key, "--a", "127.0.0.2", "--b", "127.0.0.3"];
    let rows = deskhand_tests::pyref::probe(&["relay"], &arguments, 2 * START).await;
    assert_eq!((&rows[0]["result"], &rows[0]["different"]), (&"ok".into(), &serde_json::json!([])));
}

#[test]
fn the_shell_sees_and_operates_a_host_by_id() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, address, key) = rendezvous(&folder.path().join("rendezvous"));
    let mut host = host(&folder.path().join("host"), &["--server", &address, "--key", &key]);
    let id = host.wait_for("registration", START, |child| said(child, "registered "));
    let password = folder.path().join("host/password");
    let config = format!(
        "[server]\naddress = \"{address}\"\nkey = \"{key}\"\n\
         [targets.card]\naddress = \"{id}\"\npassword_file = {password:?}\n"
    );
    let (ok, rows) = call(
        folder.path(),
        &config,
        &[
            "connect",
            r#"{"target":"card"}"#,
            "screenshot",
            "type_text",
            r#"{"text":"hello","settle_ms":20000}"#,
            "wait_for",
            r#"{"condition":"still","quiet_ms":1000}"#,
            "screenshot",
            "session_status",
        ],
    );
    assert!(ok, "{rows:#?}");
    assert_eq!((&rows[2]["result"]["sent"], &rows[2]["result"]["effect"]), (&true.into(), &"changed".into()));
    let picture = |row: &Value| std::fs::read(row["pictures"][0].as_str().unwrap()).unwrap();
    let (before, after) = (picture(&rows[1]), picture(&rows[4]));
    assert_eq!(&after[1..4], b"PNG");
    assert_ne!(before, after, "the card shows what is typed");
    assert!(rows[5].to_string().contains("\"encrypted\":true"), "{}", rows[5]);
}

/// A rendezvous server, a host that is registered with it, and the configuration of a client.
struct Site {
    folder: tempfile::TempDir,
    server: Child,
    _host: Child,
    id: String,
    config: String,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (server, address, key) = rendezvous(&folder.path().join("rendezvous"));
        let mut host = host(&folder.path().join("host"), &["--server", &address, "--key", &key]);
        let id = host.wait_for("registration", START, |child| said(child, "registered "));
        let password = folder.path().join("host/password");
        let config = format!(
            "[server]\naddress = \"{address}\"\nkey = \"{key}\"\n\
             [targets.card]\naddress = \"{id}\"\npassword_file = {password:?}\n"
        );
        Self { folder, server, _host: host, id, config }
    }

    fn call(&self, calls: &[&str]) -> (bool, Vec<Value>) {
        call(self.folder.path(), &self.config, calls)
    }
}

const CONNECT: [&str; 2] = ["connect", r#"{"target":"card"}"#];

#[test]
fn a_secret_is_typed_where_it_may_be_and_shown_nowhere() {
    let mut site = Site::new();
    let secret = site.folder.path().join("pin");
    std::fs::write(&secret, "Mellon-4711\n").unwrap();
    site.config += &format!(
        "[secrets]\npin = {secret:?}\n[secrets.elsewhere]\nfile = {secret:?}\ntargets = [\"office\"]\n"
    );
    std::fs::write(site.folder.path().join("config.toml"), &site.config).unwrap();
    let output = Command::new(deskhand())
        .args(["--log", "trace", "call", "--json", "--config"])
        .arg(site.folder.path().join("config.toml"))
        .arg("--state")
        .arg(site.folder.path().join("client"))
        .args(CONNECT)
        .args(["type_text", r#"{"secret":"secret://pin","settle_ms":20000}"#])
        .output()
        .unwrap();
    let rows: Vec<Value> = String::from_utf8(output.stdout.clone())
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(output.status.success(), "{rows:#?}");
    assert_eq!(rows[1]["result"]["characters"], 11);
    assert_eq!(rows[1]["result"]["effect"], "changed");
    for shown in [&output.stdout, &output.stderr] {
        assert!(!String::from_utf8_lossy(shown).contains("Mellon"), "the secret is shown");
    }
    for name in ["secret://elsewhere", "unknown", "secret://../pin"] {
        let arguments = format!("{{\"secret\":{name:?}}}");
        let (ok, rows) = site.call(&[&CONNECT[..], &["type_text", &arguments]].concat());
        assert_eq!((ok, &rows[1]["result"]["code"]), (false, &"not_permitted".into()), "{}", rows[1]);
    }
    let both = r#"{"text":"a","secret":"pin"}"#;
    let (_, rows) = site.call(&[&CONNECT[..], &["type_text", both]].concat());
    assert_eq!(rows[1]["result"]["code"], "invalid_argument");
}

#[test]
fn a_changed_key_of_a_peer_is_refused_until_a_person_accepts_it() {
    let site = Site::new();
    let state = site.folder.path().join("client");
    let peer = |arguments: &[&str]| {
        let output =
            Command::new(deskhand()).arg("peer").args(arguments).arg("--state").arg(&state).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout.clone()).unwrap(), stderr(&output))
    };
    assert!(site.call(&CONNECT).0);
    let pins = std::fs::read_to_string(state.join("peers")).unwrap();
    let key = pins.trim().rsplit('\t').next().unwrap();
    let old = "iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=";
    std::fs::write(state.join("peers"), pins.replace(key, old)).unwrap();

    let (ok, rows) = site.call(&CONNECT);
    let result = &rows[0]["result"];
    assert_eq!((ok, &result["code"]), (false, &"not_permitted".into()), "{result}");
    let message = result["message"].as_str().unwrap();
    assert!(message.contains(key) && message.contains(old), "{message}");
    let accept = format!("deskhand peer accept {}", site.id);
    assert!(result["try_next"].as_str().unwrap().contains(&accept), "{result}");

    let (_, listed, _) = peer(&["list"]);
    assert!(listed.contains(old) && listed.contains(&format!("refused {key}")), "{listed}");
    let (ok, told, error) = peer(&["accept", &site.id]);
    assert!(ok && told.contains(key) && told.contains(old), "{told}{error}");
    assert!(site.call(&CONNECT).0);
    assert!(!peer(&["accept", &site.id]).0, "there is nothing to accept any more");
    assert!(peer(&["forget", &site.id]).0);
    assert_eq!(peer(&["list"]).1, "");
}

#[test]
fn a_server_behind_tls_is_reached_if_its_certificate_is_trusted() {
    let mut site = Site::new();
    let doors =
        ["rendezvous", "relay"].map(|what| said(&site.server, &format!("listening {what} ws ")).unwrap());
    let certificates = deskhand_tests::root().join("certificates");
    let mut front = Command::new(deskhand_tests::python());
    front.arg(deskhand_tests::root().join("tls_front.py"));
    front.args(["localhost.pem", "localhost.key"].map(|name| certificates.join(name)));
    front.args([format!("/ws/id={}", doors[0]), format!("/ws/relay={}", doors[1])]);
    let mut front = Child::spawn(&mut front);
    let port = front.wait_for("the port", START, |child| said(child, "ready "));
    let end = site.config.find("\nkey").unwrap();
    site.config.replace_range(..end, &format!("[server]\naddress = \"wss://localhost:{port}/ws/id\""));
    std::fs::write(site.folder.path().join("config.toml"), &site.config).unwrap();
    let call = |trusted: &str| {
        let output = Command::new(deskhand())
            .args(["call", "--json", "--config"])
            .arg(site.folder.path().join("config.toml"))
            .arg("--state")
            .arg(site.folder.path().join("client"))
            .args(CONNECT)
            .arg("session_status")
            .env("SSL_CERT_FILE", certificates.join(trusted))
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let (ok, told) = call("ca.pem");
    assert!(ok, "{told}");
    assert!(told.contains("\"path\":\"relayed\"") && told.contains("\"encrypted\":true"), "{told}");
    let (ok, told) = call("other.pem");
    assert!(!ok && told.contains("ertificate"), "{told}");
}

#[test]
fn clients_that_log_in_are_not_taken_for_a_flood() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, address, key) = rendezvous(&folder.path().join("rendezvous"));
    let mut host = host(&folder.path().join("host"), &["--server", &address, "--key", &key]);
    let id = host.wait_for("registration", START, |child| said(child, "registered "));
    let password = folder.path().join("host/password");
    let config = format!(
        "[server]\naddress = \"{address}\"\nkey = \"{key}\"\n\
         [targets.card]\naddress = \"{id}\"\npassword_file = {password:?}\n"
    );
    // More than the strangers of one address may open at once.
    let calls = [["connect", r#"{"target":"card"}"#, "disconnect"]; 40].concat();
    let (ok, rows) = call(folder.path(), &config, &calls);
    assert!(ok, "{}", rows[rows.len() - 1]);
    assert_eq!(rows.len(), 80);
}

#[test]
fn a_wrong_password_and_an_unknown_id_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, address, key) = rendezvous(&folder.path().join("rendezvous"));
    let mut host = host(&folder.path().join("host"), &["--server", &address, "--key", &key]);
    let id = host.wait_for("registration", START, |child| said(child, "registered "));
    let wrong = folder.path().join("wrong");
    std::fs::write(&wrong, "battery staple").unwrap();
    let config = format!(
        "[server]\naddress = \"{address}\"\nkey = \"{key}\"\n\
         [targets.wrong]\naddress = \"{id}\"\npassword_file = {wrong:?}\n\
         [targets.nobody]\naddress = \"999999999\"\npassword_file = {wrong:?}\n"
    );
    for (target, code) in [("wrong", "wrong_password"), ("nobody", "unknown_target")] {
        let (ok, rows) = call(folder.path(), &config, &["connect", &format!("{{\"target\":\"{target}\"}}")]);
        assert!(!ok);
        assert_eq!(rows[0]["result"]["code"], code, "{}", rows[0]);
        assert!(!rows[0].to_string().contains("battery"), "the password is not told");
    }
}

#[test]
fn a_direct_session_needs_the_targets_leave_because_it_is_not_encrypted() {
    let folder = tempfile::tempdir().unwrap();
    let host = host(&folder.path().join("host"), &["--direct-port", "0"]);
    let address = said(&host, "listening direct tcp ").unwrap();
    let port = address.rsplit(':').next().unwrap();
    let password = folder.path().join("host/password");
    for (allowed, code) in [(false, Some("not_permitted")), (true, None)] {
        let config = format!(
            "[targets.card]\naddress = \"127.0.0.1:{port}\"\npassword_file = {password:?}\n\
             allow_unencrypted = {allowed}\n"
        );
        let (ok, rows) = call(folder.path(), &config, &["connect", r#"{"target":"card"}"#]);
        assert_eq!(ok, allowed, "{}", rows[0]);
        assert_eq!(rows[0]["result"].get("code").and_then(Value::as_str), code);
    }
}

#[test]
fn bad_options_are_refused_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let missing = missing.to_str().unwrap();
    let table: &[(&[&str], &str)] = &[
        (&["host", "--screen", "test-card", "--password-file", missing, "--direct-port", "0"], "missing"),
        (&["host", "--display", ":99999", "--password-file", "/dev/null", "--direct-port", "0"], "empty"),
        (&["mcp", "--config", missing], "no configuration file"),
        (&["mcp", "--toolsets", "dekstop", "--state", missing], "dekstop"),
        (&["call", "{}"], "tool"),
        (&["rendezvous", "--listen", "nowhere"], "nowhere"),
        (&["--log", "client=loud", "rendezvous"], "log filter"),
    ];
    for (arguments, word) in table {
        let output = run(arguments);
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {told}");
        assert!(told.contains(word), "{arguments:?}: {told}");
        assert!(!told.contains("panicked"), "{told}");
    }
}

#[test]
fn an_occupied_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().to_str().unwrap();
    let output = run(&["rendezvous", "--listen", "127.0.0.1", "--port", &port, "--state", state]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains(&port), "{}", stderr(&output));
}

#[test]
fn mcp_speaks_json_rpc_on_its_output_and_ends_with_its_input() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(deskhand());
    command
        .args(["mcp", "--state"])
        .arg(folder.path())
        .env_remove("DESKHAND_CONFIG")
        .env("HOME", folder.path());
    let mut child = Child::spawn(&mut command);
    child.say(
        r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#,
    );
    let answer = eventually("an answer", START, || child.stdout().lines().next().map(str::to_owned));
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["result"]["protocolVersion"], "2025-06-18");
    child.signal(Signal::SIGTERM);
    assert!(child.ended(START).success());
}
