//! What Prometheus gets, and what is made of it.

use super::{PATIENCE, Served, get, program};
use deskhand_tests::{Child, promtool, repository};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs promtool, which has to be content.
fn promtool_accepts(arguments: &[&str], folder: &Path, input: &str) {
    let mut child = Command::new(promtool())
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{arguments:?}: {told}");
}

/// A host with the built-in picture, its address for direct sessions, and the file with its password.
fn host(folder: &Path) -> (Child, String, String) {
    let password = folder.join("password");
    std::fs::write(&password, "correct horse\n").unwrap();
    let mut command = program(folder);
    command.args(["host", "--screen", "test-card", "--direct-port", "0", "--password-file"]);
    command.arg(&password).arg("--state").arg(folder.join("host"));
    let mut child = Child::spawn(&mut command);
    let port = child.wait_for("the host's port", PATIENCE, |child| {
        let out = child.stdout();
        let line = out.lines().find_map(|line| line.strip_prefix("listening direct tcp "))?.to_owned();
        out.lines().any(|line| line == "ready").then(|| line.rsplit(':').next().unwrap().to_owned())
    });
    (child, format!("127.0.0.1:{port}"), password.display().to_string())
}

/// The metrics of a daemon that has done everything once.
fn busy() -> String {
    let folder = tempfile::tempdir().unwrap();
    let (_host, address, password) = host(folder.path());
    let config = format!(
        "[targets.card]\naddress = \"{address}\"\npassword_file = \"{password}\"\nallow_unencrypted = true\n\
         [rendezvous]\nenable = true\nlisten = [\"127.0.0.1\"]\nport = 0\n"
    );
    let served = Served::start(&config, &[]);
    let mut client = served.client();
    client.initialize();
    let connected = client.call("connect", &json!({"target": "card"}));
    assert_eq!(connected["state"], "ready", "{connected}");
    client.call("screenshot", &json!({}));
    client.call("click", &json!({"x": 40, "y": 40}));
    client.call("screenshot", &json!({"session": "nobody"}));
    served.metrics()
}

/// The names of the metrics in a text or a PromQL expression, without what histograms add to them.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| {
        ["deskhand_", "mcp_server_", "process_"].iter().any(|prefix| word.starts_with(prefix))
    });
    let plain = |word: &str| {
        let ends = ["_bucket", "_count", "_sum"];
        ends.iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word).to_owned()
    };
    ours.map(plain).collect()
}

#[test]
fn what_is_scraped_is_as_prometheus_wants_it_and_tells_what_happened() {
    let text = busy();
    promtool_accepts(&["check", "metrics"], Path::new("/"), &text);
    for part in [
        "deskhand_build_info{version=",
        "deskhand_sessions{state=\"ready\"} 1\n",
        "deskhand_rendezvous_peers 0\n",
        "deskhand_rendezvous_peers_online 0\n",
        "deskhand_relay_sessions 0\n",
        "deskhand_relay_rejected_total{reason=\"wrong_key\"} 0\n",
        "error_type=\"\",gen_ai_tool_name=\"click\",mcp_method_name=\"tools/call\"",
        "error_type=\"session_closed\",gen_ai_tool_name=\"screenshot\"",
        "deskhand_screenshot_bytes_count{format=",
        "deskhand_session_connects_total{result=\"ready\"} 1\n",
        "process_resident_memory_bytes ",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    // Labels that a peer or a caller could fill.
    for foreign in ["card", "127.0.0.1:", "nobody"] {
        assert!(!text.contains(foreign), "{foreign} in\n{text}");
    }

    let dashboard = std::fs::read_to_string(repository().join("contrib/grafana/deskhand.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let expressions: Vec<&str> = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten()
        .map(|target| target["expr"].as_str().unwrap())
        .collect();
    assert!(expressions.len() > 20);
    let rules = std::fs::read_to_string(repository().join("contrib/prometheus/deskhand.rules.yml")).unwrap();
    let rules: String = rules.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let there = names(&text);
    for source in [expressions.join(" "), rules] {
        let missing: Vec<_> = names(&source).difference(&there).cloned().collect();
        assert!(missing.is_empty(), "{missing:?} are used and not there");
    }
}

#[test]
fn the_alert_rules_are_valid_and_fire_when_they_should() {
    let folder = repository().join("contrib/prometheus");
    promtool_accepts(&["check", "rules", "deskhand.rules.yml"], &folder, "");
    promtool_accepts(&["test", "rules", "deskhand.test.yml"], &folder, "");
}

#[test]
fn metrics_can_want_a_token_or_not_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "s3cret\n").unwrap();
    let served = Served::start(&format!("[metrics]\ntoken_file = \"{}\"\n", token.display()), &[]);
    let url = served.url("metrics");
    assert_eq!(get(&url, &[]).0, 401);
    assert_eq!(get(&url, &[("authorization", "Bearer s3cret")]).0, 200);
    assert_eq!(get(&format!("{}/metrics", served.url("http")), &[]).0, 404);

    let without = Served::start("[metrics]\nenable = false\n", &[]);
    assert!(!without.child.stdout().contains("listening metrics"));
}
