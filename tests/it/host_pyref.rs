//! Our host on a real X11 desktop, operated by the independent client.

use deskhand_tests::pyref::{Client, Outcome};
use deskhand_tests::{Child, Desktop};
use host::screen::X11Screen;
use host::{ApproveMode, Host, HostConfig, HostEvent, HostHandle, OneTime};
use remote::Secret;
use serde_json::Value;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tempfile::TempDir;

const ID: &str = "555000111";
const PASSWORD: &str = "beacon-Light-7";
const LIMIT: Duration = Duration::from_secs(120);

struct Rig {
    desktop: Desktop,
    host: HostHandle,
    state: TempDir,
}

impl Rig {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut HostConfig)) -> Self {
        let desktop = Desktop::start();
        let state = TempDir::new().unwrap();
        let screen = X11Screen::open(Some(desktop.display())).unwrap();
        let mut config = HostConfig {
            state_dir: state.path().join("host"),
            id: Some(ID.into()),
            password: Some(Secret::new(PASSWORD)),
            direct: Some("127.0.0.1:0".parse().unwrap()),
            username: "ada".into(),
            hostname: "orchard".into(),
            ..HostConfig::new(screen)
        };
        change(&mut config);
        let host = Host::spawn(config).unwrap();
        Self { desktop, host, state }
    }

    fn start(&self, scenario: &str, arguments: &[&str]) -> Client {
        let addr = self.host.direct_addr().unwrap().to_string();
        let mut all = vec!["--direct", &addr[..], "--id", ID, "--password", PASSWORD];
        all.extend(arguments);
        Client::start(scenario, &all)
    }

    async fn run(&self, scenario: &str, arguments: &[&str]) -> Value {
        let Outcome { ok, report } = self.start(scenario, arguments).outcome_async(LIMIT).await;
        assert!(ok, "{scenario}: {report}");
        report["truth"].clone()
    }

    /// A window whose content changes many times a second, on the screen already.
    fn clock(&self) -> Child {
        let mut clock = self.desktop.xterm(&[
            "-title",
            "clock",
            "-geometry",
            "80x24+0+0",
            "-e",
            "sh",
            "-c",
            "while :; do date +%N; sleep 0.05; done",
        ]);
        self.desktop.wait_for_window(&mut clock, "clock");
        clock
    }

    fn hook(&self, point: &str, command: &str) -> String {
        format!("{point}=DISPLAY={} {command}", self.desktop.display())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords() {
    let rig = Rig::new();
    rig.run("login-wrong", &[]).await;
    let truth = rig.run("login-errors", &[]).await;
    assert_eq!(truth["foreign_username"], "Offline");
    assert_eq!(truth["closed_after"], true);
    assert_eq!(truth["own_probe_echo"]["time"], 12345);
    assert_eq!(rig.host.counters().ignored_messages.load(Ordering::Relaxed), 4, "before and after a login");
    let truth = rig.run("login-limit", &[]).await;
    let mut want = vec!["Wrong Password"; 7];
    want.extend(["Please try 1 minute later"; 2]);
    assert_eq!(truth["answers"], serde_json::json!(want));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_local_user_lets_a_client_in() {
    let rig = Rig::with(|config| config.approve = ApproveMode::Click);
    let mut events = rig.host.events();
    let client = rig.start("login-empty", &["--seconds", "1", "--then", "wait"]);
    let session = loop {
        if let HostEvent::ApprovalWanted { session } = events.recv().await.unwrap() {
            break session;
        }
    };
    assert!(rig.host.accept(session));
    let Outcome { ok, report } = client.outcome_async(LIMIT).await;
    assert!(ok, "{report}");
    assert_eq!(report["truth"]["answer"], "No Password Access");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_one_time_password_is_good_for_one_session() {
    let rig = Rig::with(|config| config.one_time = Some(OneTime { length: 8, digits: true }));
    let mut events = rig.host.events();
    let mut next = async || loop {
        if let HostEvent::OneTimePassword(password) = events.recv().await.unwrap() {
            break password;
        }
    };
    let first = next().await;
    assert_eq!(rig.host.one_time_password(), Some(first.clone()));
    assert!(first.reveal().len() == 8 && first.reveal().bytes().all(|b| b.is_ascii_digit()));
    rig.run("idle", &["--seconds", "1", "--password", first.reveal()]).await;
    let second = next().await;
    assert_ne!(first, second);
    let old = rig.start("idle", &["--seconds", "1", "--password", first.reveal()]);
    let Outcome { ok, report } = old.outcome_async(LIMIT).await;
    assert!(!ok, "{report}");
    rig.run("idle", &["--seconds", "1", "--password", second.reveal()]).await;
    rig.run("idle", &["--seconds", "1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_in_the_codec_that_the_client_wants() {
    let rig = Rig::new();
    let _clock = rig.clock();
    for codec in ["vp9", "vp8"] {
        let truth = rig.run("video", &["--codec", codec, "--seconds", "3"]).await;
        assert_eq!(truth["video"]["keyframes"], 1, "{truth}");
        assert!(truth["video"]["pictures"].as_u64().unwrap() > 10, "{truth}");
        assert!(truth["test_delays"].as_u64().unwrap() >= 3, "{truth}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_still_screen_costs_a_picture_and_a_probe_a_second() {
    let rig = Rig::new();
    let truth = rig.run("idle", &["--seconds", "5"]).await;
    assert!(
        truth["video"]["pictures"].as_u64().unwrap() <= 2,
        "the first, and at most one that is sharper: {truth}"
    );
    let probes = truth["test_delays"].as_u64().unwrap();
    assert!((4..=7).contains(&probes), "{truth}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_wait_for_a_client_that_acknowledges() {
    let rig = Rig::new();
    let _clock = rig.clock();
    let truth = rig.run("video-ack", &[]).await;
    let gaps: Vec<u64> =
        truth["gaps_without_ack_ms"].as_array().unwrap().iter().map(|g| g.as_u64().unwrap()).collect();
    assert!(gaps.iter().skip(1).all(|gap| (2500..4500).contains(gap)), "{truth}");
    assert!(truth["pictures_in_7_s_without_ack"].as_u64().unwrap() <= 3, "{truth}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keyframes_come_when_asked_for() {
    let rig = Rig::new();
    let truth = rig.run("refresh", &["--codecs", "vp8,vp9"]).await;
    assert_eq!(truth["refresh_video_display_unknown_keyframes"], 0);
    assert_eq!(truth["pictures_while_unsubscribed"], 0);
    for change in truth["codec_changes"].as_array().unwrap() {
        let want = format!("{}s", change["asked"].as_str().unwrap());
        assert_eq!(change["got"], serde_json::json!([want]), "{truth}");
        assert_eq!(change["keyframes"], 1, "{truth}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_screenshot_and_none_of_a_display_that_is_not() {
    let rig = Rig::new();
    let file = rig.state.path().join("shot.png");
    let truth = rig.run("screenshot", &["--save", file.to_str().unwrap()]).await;
    assert_eq!(truth["unknown_display"], "no answer within 4 s");
    assert!(std::fs::read(file).unwrap().starts_with(b"\x89PNG"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pointer_goes_where_it_is_sent() {
    let rig = Rig::new();
    let truth = rig.run("mouse", &["--hook", &rig.hook("where", "xdotool getmouselocation")]).await;
    for step in truth["moves"].as_array().unwrap() {
        let want = format!("x:{} y:{} ", step["sent"][0], step["sent"][1]);
        assert!(step["seen"].as_str().unwrap().starts_with(&want), "{step}");
    }
    let relative = &truth["relative"];
    let at = |i: usize| relative["from"][i].as_i64().unwrap() + relative["by"][i].as_i64().unwrap();
    assert!(
        relative["seen"].as_str().unwrap().starts_with(&format!("x:{} y:{} ", at(0), at(1))),
        "{relative}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn view_only_is_kept_to() {
    let rig = Rig::new();
    rig.desktop.run("xdotool", &["mousemove", "3", "4"]);
    let truth = rig.run("input-denied", &["--hook", &rig.hook("where", "xdotool getmouselocation")]).await;
    assert!(truth["view_only"]["seen"].as_str().unwrap().starts_with("x:3 y:4 "), "{truth}");
    assert!(truth["normal"]["seen"].as_str().unwrap().starts_with("x:920 y:420 "), "{truth}");
    assert!(rig.host.counters().refused_input.load(Ordering::Relaxed) >= 1);
}

/// What is typed arrives in a terminal, line by line, also what the keyboard's layout does not have.
#[tokio::test(flavor = "multi_thread")]
async fn typing_in_every_way() {
    let rig = Rig::new();
    let lines = rig.state.path().join("lines");
    std::fs::write(&lines, "").unwrap();
    let script = format!("while IFS= read -r line; do printf '%s\\n' \"$line\" >> {}; done", lines.display());
    let mut terminal = rig.desktop.spawn(
        std::process::Command::new("xterm")
            .args(["-u8", "-geometry", "80x24+100+400", "-e", "sh", "-c", &script])
            .env("LC_ALL", "C.UTF-8"),
    );
    terminal.wait_for("the terminal's window", LIMIT, |_| {
        let found = rig.desktop.try_run("xdotool", &["search", "--onlyvisible", "--class", "xterm"]);
        found.status.success().then_some(())
    });
    let hook = format!("typed=tail -n 1 {}", lines.display());
    let truth =
        rig.run("keys", &["--point", "[300,600]", "--hook", &hook, "--text", "Grüße, naïve 漢字 €😀"]).await;
    for line in truth["lines"].as_array().unwrap() {
        let want = match line["how"].as_str().unwrap() {
            // Shift is for the host to add: the character itself counts (session §4.4).
            how if how.contains("Shift+1") => "abC1",
            _ => line["meant"].as_str().unwrap(),
        };
        assert_eq!(line["seen"], want, "{}", line["how"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_messages_do_no_harm() {
    let rig = Rig::new();
    rig.run("misc", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_told_when_the_host_stops() {
    let rig = Rig::new();
    let mut events = rig.host.events();
    let client = rig.start("idle", &["--seconds", "30"]);
    loop {
        if let HostEvent::Authorised { .. } = events.recv().await.unwrap() {
            break;
        }
    }
    let Rig { host, desktop, state } = rig;
    tokio::time::timeout(LIMIT, host.shutdown()).await.unwrap();
    let Outcome { ok, report } = client.outcome_async(LIMIT).await;
    assert!(!ok, "the session is over: {report}");
    drop((desktop, state));
}
