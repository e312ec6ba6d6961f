//! What stands on record, and what is not done when it could not.

use super::*;
use crate::audit::AuditLog as _;
use crate::{AuditDecision, AuditEntry, AuditError, AuditPhase, JsonLines, ScreenshotRequest};
use remote::{DisplayId, Rect};
use std::sync::atomic::Ordering;

fn full() -> AuditError {
    AuditError::NoSpace { place: "the log".to_owned() }
}

fn desk() -> (Desk, Arc<MemoryAudit>) {
    let log = Arc::new(MemoryAudit::default());
    (Desk::guarded(SessionsConfig::default(), Policy::default(), &log), log)
}

/// Everything that was noted until now.
async fn written(desk: &Desk, log: &MemoryAudit) -> Vec<AuditEntry> {
    desk.registry.journal().flush().await;
    log.entries()
}

fn of<'a>(entries: &'a [AuditEntry], operation: &str) -> Vec<&'a AuditEntry> {
    entries.iter().filter(|entry| entry.operation == operation).collect()
}

#[tokio::test(start_paused = true)]
async fn an_action_is_on_record_before_it_is_done_and_completed_after() {
    let (desk, log) = desk();
    let session = desk.connect("kiosk").await.session;
    let seen = Arc::clone(&log);
    desk.peer().react(move |peer, _| {
        let begun = seen.entries().pop().expect("it was written before");
        assert_eq!((&*begun.operation, begun.phase), ("click", AuditPhase::Begun));
        peer.paint(DisplayId(0), Rect::new(0, 0, 64, 64), [255, 0, 0]);
    });
    desk.sessions.clone().named("click").act(None, click(3.0, 4.0)).await.unwrap();

    let entries = written(&desk, &log).await;
    let click = of(&entries, "click");
    let [begun, ended] = click[..] else { panic!("{click:?}") };
    assert_eq!(begun.step, ended.step);
    assert_eq!((begun.phase, ended.phase), (AuditPhase::Begun, AuditPhase::Ended));
    assert_eq!((begun.frame, ended.frame), (Some(1), Some(2)));
    assert_eq!((begun.outcome.as_deref(), ended.outcome.as_deref()), (None, Some("ok")));
    assert_eq!((&*ended.credential, &*ended.name, ended.kind), ("local", "test", CallerKind::Model));
    assert_eq!(ended.machine.as_deref(), Some("kiosk"));
    assert_eq!(ended.class.map(policy::Class::name), Some("interact"));
    assert_eq!(ended.detail.as_deref(), Some("clicks Left 1 times at 3,4"));
    assert_eq!(ended.decision, AuditDecision::Allowed);
    let handle = ended.session.as_deref().unwrap();
    assert!(session.as_str().starts_with(handle) && handle.len() < 10);
    let connect = of(&entries, "connect");
    assert_eq!(connect.len(), 2);
    assert_eq!((connect[0].session.clone(), connect[1].session.as_deref()), (None, Some(handle)));
}

#[tokio::test(start_paused = true)]
async fn no_text_and_no_secret_is_on_record() {
    let (desk, log) = desk();
    let password = ConnectRequest { password: Some(Secret::new("sesame")), ..to("kiosk") };
    desk.sessions.connect(password).await.unwrap();
    desk.sessions.act(None, type_text("hunter2 pässword")).await.unwrap();
    for key in ["h", "shift+u", "Numpad_7"] {
        if let Ok(chord) = crate::Chord::parse(key) {
            desk.sessions.act(None, act(Action::Press { chord, repeat: 2 })).await.unwrap();
        }
    }
    let chord = crate::Chord::parse("ctrl+c").unwrap();
    desk.sessions.act(None, act(Action::Press { chord, repeat: 1 })).await.unwrap();
    let entries = written(&desk, &log).await;
    let lines = serde_json::to_string(&entries).unwrap();
    assert!(!lines.contains("hunter2") && !lines.contains("sesame") && !lines.contains("from the config"));
    assert!(lines.contains("types 16 characters") && lines.contains("types 2 characters"));
    assert!(lines.contains("presses Control+c 1 times"), "{lines}");
}

#[tokio::test(start_paused = true)]
async fn refusals_are_on_record_with_their_reason() {
    let (desk, log) = desk();
    let session = desk.connect("kiosk").await.session;
    let stranger = desk.of("m", CallerKind::Model, "observe interact", "id:office");
    stranger.act(Some(&session), click(1.0, 1.0)).await.unwrap_err();
    stranger.connect(to("kiosk")).await.unwrap_err();
    desk.of("o", CallerKind::Model, "observe", "all").act(Some(&session), click(1.0, 1.0)).await.unwrap_err();
    desk.person("ann").take_over(None).await.unwrap();
    desk.sessions.act(None, click(1.0, 1.0)).await.unwrap_err();
    desk.registry.set_policy(rules(&[("all", "interact", Verdict::Ask)]));
    desk.person("ann").give_back(None).unwrap();
    desk.sessions.act(None, click(1.0, 1.0)).await.unwrap_err();

    let entries = written(&desk, &log).await;
    let told: Vec<_> = entries
        .iter()
        .filter(|entry| entry.decision != AuditDecision::Allowed)
        .map(|entry| (&*entry.credential, &*entry.operation, entry.decision, entry.machine.as_deref()))
        .collect();
    assert_eq!(
        told,
        [
            ("m", "session", AuditDecision::Refused, Some("kiosk")),
            ("m", "connect", AuditDecision::Refused, Some("kiosk")),
            ("o", "act", AuditDecision::Refused, Some("kiosk")),
            ("local", "act", AuditDecision::HumanInControl, Some("kiosk")),
            ("local", "act", AuditDecision::NeedsApproval, Some("kiosk")),
        ]
    );
    assert!(entries.iter().all(|entry| entry.reason.is_some() || entry.decision == AuditDecision::Allowed));
}

#[tokio::test(start_paused = true)]
async fn what_a_person_did_is_on_record() {
    let (desk, log) = desk();
    desk.connect("kiosk").await;
    let ann = desk.person("ann");
    ann.take_over(None).await.unwrap();
    ann.input(None, vec![remote::Input::Text("sesame".into()), remote::Input::Text("x".into())])
        .await
        .unwrap();
    ann.give_back(None).unwrap();
    ann.stop(None).await.unwrap();
    ann.let_go_on("local").await.unwrap();
    let entries = written(&desk, &log).await;
    let [lease] = of(&entries, "lease_ended")[..] else { panic!("{entries:?}") };
    assert_eq!(lease.detail.as_deref(), Some("ANN sent 2 inputs with 7 characters of text"));
    assert!(!serde_json::to_string(&entries).unwrap().contains("sesame"));
    assert_eq!(of(&entries, "let_go_on")[0].detail.as_deref(), Some("local"));
    assert_eq!(of(&entries, "stop").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_caller_goes_away_ends_on_record() {
    let (desk, log) = desk();
    desk.connect("kiosk").await;
    let long = desk.sessions.act(None, type_text(&"a".repeat(500)));
    assert!(tokio::time::timeout(Duration::from_millis(30), long).await.is_err());
    let entries = written(&desk, &log).await;
    assert_eq!(of(&entries, "act")[1].outcome.as_deref(), Some("cancelled"));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_changed_that_can_not_be_recorded() {
    let (desk, log) = desk();
    desk.connect("kiosk").await;
    let ann = desk.person("ann");
    log.fail(Some(full()));
    for (what, error) in [
        ("act", desk.sessions.act(None, click(1.0, 1.0)).await.map(drop)),
        ("connect", desk.sessions.connect(to("office")).await.map(drop)),
        ("disconnect", desk.sessions.disconnect(None).await.map(drop)),
        ("take_over", ann.take_over(None).await.map(drop)),
        ("stop", ann.stop(None).await.map(drop)),
    ] {
        let error = error.unwrap_err();
        assert_eq!(error, SessionsError::NotAudited(full()), "{what}");
    }
    assert!(desk.peer().inputs().is_empty());
    assert_eq!(desk.connector.opened().len(), 1);
    assert_eq!(desk.registry.states()["ready"], 1);
    assert_eq!(desk.registry.audit_failure(), Some(full()));
    desk.sessions.screenshot(None, &ScreenshotRequest::default()).await.expect("looking changes nothing");

    log.fail(None);
    desk.sessions.act(None, click(1.0, 1.0)).await.unwrap();
    assert_eq!(desk.registry.audit_failure(), None);
    let entries = written(&desk, &log).await;
    assert_eq!(of(&entries, "screenshot").len(), 1, "written when it could be");
}

#[tokio::test(start_paused = true)]
async fn looking_waits_for_the_record_where_that_is_asked_for() {
    let log = Arc::new(MemoryAudit::default());
    let config = SessionsConfig { look_without_audit: false, ..SessionsConfig::default() };
    let desk = Desk::guarded(config, Policy::default(), &log);
    desk.connect("kiosk").await;
    log.fail(Some(full()));
    assert_eq!(kind(desk.sessions.screenshot(None, &ScreenshotRequest::default()).await), "not_permitted");
    assert_eq!(kind(desk.sessions.status(None).await), "not_permitted");
    log.fail(None);
    desk.sessions.screenshot(None, &ScreenshotRequest::default()).await.unwrap();
    let entries = written(&desk, &log).await;
    let phases: Vec<_> = of(&entries, "screenshot").iter().map(|entry| entry.phase).collect();
    assert_eq!(phases, [AuditPhase::Begun, AuditPhase::Ended]);
}

#[tokio::test(start_paused = true)]
async fn an_action_whose_end_can_not_be_recorded_is_completed_later() {
    let (desk, log) = desk();
    desk.connect("kiosk").await;
    let failing = Arc::clone(&log);
    desk.peer().react(move |_, _| failing.fail(Some(full())));
    desk.sessions.act(None, click(1.0, 1.0)).await.unwrap();
    desk.registry.journal().flush().await;
    assert_eq!(of(&log.entries(), "act").len(), 1, "begun, and no more");
    log.fail(None);
    super::connecting::eventually(|| of(&log.entries(), "act").len() == 2).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_is_counted_and_the_record_says_so() {
    let (desk, log) = desk();
    desk.connect("kiosk").await;
    log.fail(Some(full()));
    for _ in 0..3000 {
        desk.sessions.status(None).await.unwrap();
    }
    desk.registry.journal().flush().await;
    log.fail(None);
    super::connecting::eventually(|| !of(&log.entries(), "audit_gap").is_empty()).await;
    let counters = desk.registry.audit_counters();
    let lost = counters.lost.load(Ordering::Relaxed);
    assert!(lost > 0 && counters.failures.load(Ordering::Relaxed) > 0);
    let entries = written(&desk, &log).await;
    assert!(of(&entries, "audit_gap")[0].detail.as_deref().unwrap().starts_with(&format!("{lost} entries")));
    assert_eq!(of(&entries, "session_status").len() as u64 + lost, 3000);
}

#[tokio::test]
async fn a_file_keeps_whole_lines_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let (desk, memory) = desk();
    desk.connect("kiosk").await;
    let entries = written(&desk, &memory).await;
    let log = JsonLines::new(&path);
    log.append(entries.clone()).await.unwrap();
    // Another process broke off within a line.
    let torn = [std::fs::read(&path).unwrap(), b"{\"time_ms\":1".to_vec()].concat();
    std::fs::write(&path, torn).unwrap();
    log.append(entries.clone()).await.unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let read: Vec<AuditEntry> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(read, [entries.clone(), entries.clone()].concat());
    assert_eq!(text.lines().count(), read.len() + 1);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);

    let nowhere = JsonLines::new(folder.path().join("absent/audit.jsonl"));
    let error = nowhere.append(entries).await.unwrap_err();
    assert_eq!(error.kind(), "failed");
    assert!(error.to_string().contains("absent/audit.jsonl"), "{error}");
}

#[tokio::test]
async fn a_full_disk_is_called_so() {
    let full = std::path::Path::new("/dev/full");
    if !full.exists() {
        return;
    }
    let (desk, memory) = desk();
    desk.connect("kiosk").await;
    let error = JsonLines::new(full).append(written(&desk, &memory).await).await.unwrap_err();
    assert_eq!(error.kind(), "no_space");
}
