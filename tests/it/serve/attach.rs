//! `deskhand mcp` beside a running daemon.

use super::{PATIENCE, Served, program};
use deskhand_tests::{Child, eventually};
use nix::sys::signal::Signal;
use serde_json::json;
use std::net::TcpListener;

#[test]
fn a_client_works_with_the_daemons_sessions_and_survives_its_restart() {
    let mut served = Served::start("[targets.lab]\naddress = \"10.0.0.7:21118\"\n", &[]);
    let mut client = served.client();
    let about = client.initialize();
    assert_eq!(about["result"]["serverInfo"]["name"], "deskhand", "{about}");
    assert!(client.child.stderr().contains("attached"), "{}", client.child.stderr());
    assert_eq!(client.call("target_list", &json!({}))["targets"][0]["name"], "lab");

    // Killed, so that its file stays behind, and with another port and token afterwards.
    served.child.signal(Signal::SIGKILL);
    served.child.ended(PATIENCE);
    served.again();
    assert_eq!(client.call("target_list", &json!({}))["targets"][0]["name"], "lab");

    client.child.signal(Signal::SIGTERM);
    assert!(client.child.ended(PATIENCE).success());
}

#[test]
fn a_call_under_way_is_told_that_its_outcome_is_not_known_and_the_next_works() {
    // Takes connections and says nothing: connecting goes on until somebody gives up.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let config = format!("[targets.silent]\naddress = \"{address}\"\nallow_unencrypted = true\n");
    let mut served = Served::start(&config, &[]);
    let mut client = served.client();
    client.initialize();
    let under_way = client.send("tools/call", &json!({"name": "connect", "arguments": {"target": "silent"}}));
    let (_held, _) = silent.accept().unwrap();
    served.child.signal(Signal::SIGKILL);
    let answer = client.answer(under_way);
    let told = answer["error"]["message"].as_str().unwrap_or_default();
    assert!(told.contains("not known"), "{answer}");
    served.child.ended(PATIENCE);
    served.again();
    assert!(client.call("session_list", &json!({}))["sessions"].as_array().unwrap().is_empty());
}

#[test]
fn without_its_daemon_a_client_says_so_and_finds_the_next_one() {
    let mut served = Served::start("", &[]);
    let mut client = served.client();
    client.initialize();
    served.child.signal(Signal::SIGTERM);
    assert!(served.child.ended(PATIENCE).success());
    let answer = client.ask("tools/call", &json!({"name": "session_list", "arguments": {}}));
    let told = answer["error"]["message"].as_str().unwrap_or_default();
    assert!(told.contains("is not running"), "{answer}");
    served.again();
    client.call("session_list", &json!({}));
}

#[test]
fn requests_of_the_revision_without_sessions_go_through_and_pictures_of_errors_too() {
    let served = Served::start("", &[]);
    let mut client = served.client();
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let tools = client.ask("tools/list", &json!({"_meta": meta}));
    assert!(tools["result"]["tools"].as_array().is_some_and(|tools| tools.len() > 5), "{tools}");
    let call = json!({"name": "screenshot", "arguments": {}, "_meta": meta});
    let refused = client.ask("tools/call", &call);
    assert_eq!(refused["result"]["isError"], true, "{refused}");
    assert_eq!(refused["result"]["structuredContent"]["code"], "session_closed", "{refused}");
}

#[test]
fn a_file_left_behind_and_every_option_that_says_what_make_it_work_alone() {
    let mut served = Served::start("", &[]);
    let state = served.state();
    let home = tempfile::tempdir().unwrap();
    let alone = |options: &[&str]| {
        let mut command = program(home.path());
        command.arg("mcp").arg("--state").arg(&state).args(options);
        let child = Child::spawn(&mut command);
        eventually("its word on how it works", PATIENCE, || {
            let told = child.stderr();
            told.contains("deskhand mcp:").then_some(told)
        })
    };
    assert!(alone(&[]).contains("attached"));
    for option in [&["--alone"][..], &["--toolsets", "all"], &["--set", "mcp.toolsets=all"]] {
        assert!(alone(option).contains("ready"), "{option:?}");
    }
    served.child.signal(Signal::SIGKILL);
    served.child.ended(PATIENCE);
    assert!(state.join("daemon.json").exists());
    assert!(alone(&[]).contains("ready"));
}
