//! What a caller's grant, the operator's rules and a person's hand make of every tool.

use crate::client::Desk;
use policy::{Caller, CallerKind, Class, Classes, Grant, Mode, Policy, Rule, Selector, Verdict};
use serde_json::{Value, json};
use sessions::Answer;
use std::sync::Arc;

/// Every tool, the class that it takes, and arguments that it accepts.
fn tools() -> Vec<(&'static str, Class, Value)> {
    vec![
        ("target_list", Class::Observe, json!({})),
        ("connect", Class::Observe, json!({ "target": "kiosk" })),
        ("session_list", Class::Observe, json!({})),
        ("session_status", Class::Observe, json!({})),
        ("screenshot", Class::Observe, json!({})),
        ("wait_for", Class::Observe, json!({ "condition": "still", "timeout_ms": 10 })),
        ("move_mouse", Class::Interact, json!({ "x": 1, "y": 1 })),
        ("click", Class::Interact, json!({})),
        ("drag", Class::Interact, json!({ "path": [{ "x": 1, "y": 1 }, { "x": 5, "y": 5 }] })),
        ("scroll", Class::Interact, json!({ "dy": 1 })),
        ("type_text", Class::Interact, json!({ "text": "a" })),
        ("press_key", Class::Interact, json!({ "key": "a" })),
        ("disconnect", Class::Observe, json!({})),
    ]
}

fn caller(credential: &str, classes: Classes, targets: Selector, mode: Mode) -> Arc<Caller> {
    let grant = Grant { classes, targets, mode, toolsets: Vec::new() };
    let (credential, name) = (credential.to_owned(), credential.to_owned());
    Arc::new(Caller { credential, name, kind: CallerKind::Model, grant })
}

impl Desk {
    async fn call_as(&self, caller: &Arc<Caller>, tool: &str, arguments: &Value) -> Value {
        self.gateway.call(caller, tool, arguments.clone()).await.expect("the tool exists").structured
    }

    fn person(&self) -> sessions::Access {
        let person = Arc::new(Caller::local("ann", CallerKind::Person));
        self.gateway.sessions().access(&person)
    }
}

#[tokio::test(start_paused = true)]
async fn a_tool_without_its_class_is_neither_offered_nor_run() {
    for class in Class::ALL {
        let desk = Desk::ready();
        desk.connect("kiosk").await;
        let one = caller("one", Classes::of(&[class]), Selector::all(), Mode::Edit);
        let offered: Vec<_> = desk.gateway.tools(&one).map(|tool| tool.name.to_string()).collect();
        for (tool, needed, arguments) in tools() {
            assert_eq!(offered.contains(&tool.to_owned()), needed == class, "{tool} with {class}");
            let told = desk.call_as(&one, tool, &arguments).await;
            let refused = told["code"] == "not_permitted";
            assert_eq!(refused, needed != class, "{tool} with {class}: {told}");
            if refused {
                assert!(told["message"].as_str().unwrap().contains(needed.name()), "{told}");
            }
        }
        assert!(desk.peer().inputs().is_empty(), "{class} alone has no session of its own to act in");
    }
    let all = caller("all", Classes::ALL, Selector::all(), Mode::Edit);
    assert_eq!(Desk::ready().gateway.tools(&all).count(), tools().len(), "the table has every tool");
}

#[tokio::test(start_paused = true)]
async fn every_class_together_runs_every_tool() {
    let desk = Desk::ready();
    let both =
        caller("both", Classes::of(&[Class::Observe, Class::Interact]), Selector::id("kiosk"), Mode::Edit);
    for (tool, _, arguments) in tools() {
        let told = desk.call_as(&both, tool, &arguments).await;
        assert!(told.get("code").is_none(), "{tool}: {told}");
    }
    let plan = caller("plan", Classes::ALL, Selector::all(), Mode::Plan);
    assert!(desk.gateway.tools(&plan).all(|tool| tool.name != "click"));
}

#[tokio::test(start_paused = true)]
async fn a_handle_is_no_key_for_whom_the_machine_is_not_there() {
    let desk = Desk::ready();
    let kiosk = desk.connect("kiosk").await;
    let other = caller("other", Classes::ALL, Selector::id("office"), Mode::Edit);
    for (tool, _, mut arguments) in tools() {
        if matches!(tool, "target_list" | "session_list" | "connect") {
            continue;
        }
        arguments["session"] = json!(kiosk);
        let told = desk.call_as(&other, tool, &arguments).await;
        arguments["session"] = json!("s_AAAAAAAAAAAAAAAAAAAAAAAA");
        let absent = desk.call_as(&other, tool, &arguments).await;
        assert_eq!(told["code"], "session_closed", "{tool}");
        let told = told.to_string().replace(&kiosk, "s_AAAAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(told, absent.to_string(), "{tool}");
    }
    assert_eq!(desk.call_as(&other, "session_list", &json!({})).await, json!({ "sessions": [] }));
    let targets = desk.call_as(&other, "target_list", &json!({})).await;
    assert_eq!(targets["targets"].as_array().unwrap().len(), 1);
    assert!(!targets.to_string().contains("kiosk"));
    let connect = desk.call_as(&other, "connect", &json!({ "target": "kiosk" })).await;
    assert_eq!(connect["code"], "unknown_target");
    assert!(desk.peer().inputs().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_credential_sees_only_its_toolsets() {
    let desk = Desk::ready();
    let with = |toolsets: &[&str]| {
        let mut grant = Grant::everything();
        grant.toolsets = toolsets.iter().map(|name| (*name).to_owned()).collect();
        Arc::new(Caller { grant, ..Caller::local("m", CallerKind::Model) })
    };
    for (toolsets, count) in
        [(&[][..], 13), (&["all"][..], 13), (&["desktop"][..], 13), (&["telegraph"][..], 0)]
    {
        assert_eq!(desk.gateway.tools(&with(toolsets)).count(), count, "{toolsets:?}");
    }
    let none = with(&["telegraph"]);
    assert!(desk.gateway.call(&none, "click", json!({})).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_needs_a_word_tells_how_to_get_it() {
    let desk = Desk::ready();
    desk.gateway.sessions().set_policy(Policy {
        mode: Mode::Edit,
        rules: vec![Rule {
            targets: Selector::all(),
            classes: Classes::of(&[Class::Interact]),
            verdict: Verdict::Ask,
            reason: "payroll".to_owned(),
        }],
    });
    desk.connect("kiosk").await;
    let asked = desk.fail("type_text", json!({ "text": "hello" })).await;
    assert_eq!(asked["code"], "needs_approval");
    assert!(asked["message"].as_str().unwrap().contains("payroll"));
    assert!(asked["try_next"].as_str().unwrap().contains("repeat exactly this call"));
    let person = desk.person();
    let waiting = person.approvals();
    assert_eq!(asked["approval"], waiting[0].id.as_str());
    assert_eq!((&*waiting[0].operation, &*waiting[0].detail), ("type_text", "types \"hello\""));
    person.answer(&waiting[0].id, Answer::Once).await.unwrap();
    desk.ok("type_text", json!({ "text": "hello" })).await;
    assert_eq!(desk.peer().typed(), "hello");
    let again = desk.fail("type_text", json!({ "text": "hello" })).await;
    assert_eq!(again["code"], "needs_approval");
    person.answer(again["approval"].as_str().unwrap(), Answer::Refuse).await.unwrap();
    assert_eq!(desk.fail("type_text", json!({ "text": "hello" })).await["code"], "not_permitted");
}

#[tokio::test(start_paused = true)]
async fn a_person_in_control_is_told_of_by_name() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    let person = desk.person();
    assert_eq!(person.caller().credential, desk.caller.credential, "a person's hand is not the model's");
    person.take_over(None).await.unwrap();
    for (tool, arguments) in [("click", json!({})), ("screenshot", json!({})), ("disconnect", json!({}))] {
        let told = desk.fail(tool, arguments).await;
        assert_eq!(told["code"], "human_in_control", "{tool}");
        assert!(told["message"].as_str().unwrap().contains("ann"), "{told}");
        assert!(told["try_next"].as_str().unwrap().contains("session_status"), "{told}");
    }
    let status = desk.ok("session_status", json!({})).await;
    assert_eq!(status["human_in_control"]["who"], "ann");
    person.give_back(None).unwrap();
    desk.ok("click", json!({})).await;
    assert!(desk.ok("session_status", json!({})).await.get("human_in_control").is_none());

    person.stop(None).await.unwrap();
    let stopped = desk.fail("click", json!({})).await;
    assert_eq!(stopped["code"], "human_in_control");
    assert!(stopped["try_next"].as_str().unwrap().contains("only a person"), "{stopped}");
}
