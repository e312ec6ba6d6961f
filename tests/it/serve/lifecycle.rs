//! Starting, being asked how it is, reading the configuration again, stopping.

use super::{PATIENCE, Served, get, program};
use deskhand_tests::eventually;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;

#[test]
fn it_says_where_it_listens_serves_and_leaves_nothing_behind() {
    let mut served = Served::start("", &[]);
    let (status, body) = get(&format!("{}/health", served.url("http")), &[]);
    assert_eq!((status, body.as_str()), (200, r#"{"status":"ok"}"#));
    let (status, body) = get(&format!("{}/ready", served.url("http")), &[]);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["status"], &body["checks"]["database"]), (200, &json!("ready"), &json!("ok")));
    let state = served.state();
    assert_eq!(std::fs::metadata(&state).unwrap().mode() & 0o777, 0o700);
    assert_eq!(std::fs::metadata(state.join("daemon.json")).unwrap().mode() & 0o777, 0o600);
    served.child.signal(Signal::SIGTERM);
    assert!(served.child.ended(PATIENCE).success(), "{}", served.child.stderr());
    assert!(!state.join("daemon.json").exists());
}

#[test]
fn a_taken_port_and_a_taken_state_are_one_clear_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let served = Served::start("", &[]);
    let state = served.state();
    let elsewhere = tempfile::tempdir().unwrap();
    for (state, listen, part) in
        [(elsewhere.path(), address.as_str(), address.as_str()), (state.as_path(), "127.0.0.1:0", "another")]
    {
        let mut command = program(elsewhere.path());
        command.args(["serve", "--listen", listen, "--metrics-listen", "127.0.0.1:0", "--state"]).arg(state);
        let output = command.output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.lines().count() == 1 && told.contains(part), "{told}");
    }
}

#[test]
fn all_problems_of_a_configuration_are_told_before_anything_begins() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    std::fs::write(&file, "[http]\nlisten = \"nowhere\"\n[mcp]\ntoolset = [\"desktop\"]\n").unwrap();
    let run = |arguments: &[&str]| {
        let mut command = program(folder.path());
        command.args(arguments).arg("--config").arg(&file).env("DESKHAND_METRICS__LISTEN", "9464");
        let output = command.output().unwrap();
        let both = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(both).unwrap())
    };
    for (command, code) in [(&["serve"][..], 2), (&["config", "check"], 1), (&["mcp"], 2)] {
        let (status, told) = run(command);
        assert_eq!(status, Some(code), "{command:?}: {told}");
        for part in [
            "config.toml:2: http.listen",
            "config.toml:4: mcp.toolset:",
            "toolsets?",
            "$DESKHAND_METRICS__LISTEN",
        ] {
            assert!(told.contains(part), "{command:?}: {part} in {told}");
        }
    }
}

#[test]
fn the_example_is_a_configuration_and_the_schema_describes_it() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = program(folder.path()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let file = folder.path().join("example.toml");
    std::fs::write(&file, run(&["config", "example"])).unwrap();
    let checked = run(&["config", "check", "--config", file.to_str().unwrap()]);
    assert!(checked.contains("no problems"), "{checked}");
    let schema: Value = serde_json::from_str(&run(&["config", "schema"])).unwrap();
    assert_eq!(schema["properties"]["http"]["type"], "object");
    let shown = run(&["config", "show", "--set", "http.drain_seconds=3"]);
    assert!(shown.contains("drain_seconds = 3  # --set http.drain_seconds"), "{shown}");
}

#[test]
fn a_hangup_takes_targets_and_filter_and_refuses_what_is_wrong() {
    let mut served = Served::start("", &[]);
    let mut client = served.client();
    client.initialize();
    let names = |targets: &Value| -> Vec<String> {
        let list = targets["targets"].as_array().unwrap();
        list.iter().map(|target| target["name"].as_str().unwrap().to_owned()).collect()
    };
    assert!(names(&client.call("target_list", &json!({}))).is_empty());

    let target = "[targets.lab]\naddress = \"10.0.0.7:21118\"\n";
    served.configure(&format!("{target}[log]\nfilter = \"debug\"\n[http]\nconnections = 7\n"));
    served.child.signal(Signal::SIGHUP);
    let reloads = |served: &Served, result| {
        served.metric(&format!("deskhand_config_reloads_total{{result=\"{result}\"}}"))
    };
    eventually("the reload", PATIENCE, || reloads(&served, "ok").filter(|count| *count > 0.0));
    assert_eq!(names(&client.call("target_list", &json!({}))), ["lab"]);
    let log = served.child.stderr();
    assert!(log.contains("next start") && log.contains("http"), "{log}");
    eventually("debug lines", PATIENCE, || served.child.stderr().contains("DEBUG").then_some(()));

    served.configure("[targets.other]\naddress = \"10.0.0.8:21118\"\nfps = \"many\"\n");
    served.child.signal(Signal::SIGHUP);
    eventually("the refusal", PATIENCE, || reloads(&served, "refused").filter(|count| *count > 0.0));
    assert!(served.child.stderr().contains("targets.other.fps"), "{}", served.child.stderr());
    assert_eq!(names(&client.call("target_list", &json!({}))), ["lab"]);
    served.child.signal(Signal::SIGTERM);
    assert!(served.child.ended(PATIENCE).success());
}

#[test]
fn a_traceparent_stands_in_the_log() {
    let served = Served::start("[log]\nfilter = \"debug\"\nformat = \"json\"\n", &[]);
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let header = format!("00-{trace}-b7ad6b7169203331-01");
    get(&format!("{}/health", served.url("http")), &[("traceparent", &header)]);
    eventually("a line with the trace", PATIENCE, || {
        let log = served.child.stderr();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| line["span"]["trace_id"] == trace && line["span"]["path"] == "/health")
    });

    // A call's lines carry the trace that its message names.
    let mut client = served.client();
    client.initialize();
    let meta = json!({"traceparent": format!("00-{}-b7ad6b7169203331-01", trace.replace('0', "1"))});
    client.ask("tools/call", &json!({"name": "session_list", "arguments": {}, "_meta": meta}));
    eventually("a call's line with the trace", PATIENCE, || {
        let log = served.child.stderr();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| {
            line["message"] == "tool called" && line["span"]["trace_id"] == trace.replace('0', "1")
        })
    });
}
