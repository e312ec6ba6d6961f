//! Calls that wait for a person's word.

use super::*;
use crate::approvals::MOST_WAITING;
use crate::{Answer, Approval};

fn asking(config: SessionsConfig) -> Desk {
    Desk::guarded(config, rules(&[("all", "interact", Verdict::Ask)]), &Arc::default())
}

async fn asked(desk: &Desk, act: Act) -> (String, Approval) {
    let error = desk.sessions.act(None, act).await.unwrap_err();
    assert_eq!(error.kind(), "needs_approval");
    let SessionsError::NeedsApproval { id, .. } = error else { panic!("{error:?}") };
    let approval = desk.person("ann").approvals().into_iter().find(|approval| approval.id == id);
    (id, approval.expect("it is listed"))
}

#[tokio::test(start_paused = true)]
async fn the_same_call_goes_ahead_once_after_a_person_agreed() {
    let desk = asking(SessionsConfig::default());
    desk.connect("kiosk").await;
    let (id, approval) = asked(&desk, click(5.0, 6.0)).await;
    assert_eq!((&*approval.machine, &*approval.operation, approval.answer), ("kiosk", "act", None));
    assert_eq!(approval.detail, "clicks Left 1 times at 5,6");
    assert_eq!(approval.reason, "payroll");
    assert_eq!(asked(&desk, click(5.0, 6.0)).await.0, id, "asking again is the same question");
    assert_ne!(asked(&desk, click(5.0, 7.0)).await.0, id);

    let answered = desk.person("ann").answer(&id, Answer::Once).await.unwrap();
    assert_eq!(answered.answer, Some((Answer::Once, "ANN".to_owned())));
    assert_eq!(kind(desk.sessions.act(None, click(5.0, 7.0)).await), "needs_approval", "not another call");
    assert_eq!(
        kind(
            desk.model("other")
                .connect(to("kiosk"))
                .await
                .map(|_| ())
                .and(desk.model("other").act(None, click(5.0, 6.0)).await)
        ),
        "needs_approval",
        "nor another's"
    );
    assert!(desk.peer().inputs().is_empty());
    desk.sessions.act(None, click(5.0, 6.0)).await.unwrap();
    assert_eq!(desk.peer().inputs().len(), 3);
    assert_ne!(asked(&desk, click(5.0, 6.0)).await.0, id, "once is once");
}

#[tokio::test(start_paused = true)]
async fn a_word_for_the_session_ends_with_it() {
    let desk = asking(SessionsConfig::default());
    desk.connect("kiosk").await;
    let (id, _) = asked(&desk, click(5.0, 6.0)).await;
    desk.person("ann").answer(&id, Answer::Session).await.unwrap();
    for _ in 0..3 {
        desk.sessions.act(None, type_text("go on")).await.unwrap();
    }
    desk.sessions.disconnect(None).await.unwrap();
    desk.connect("kiosk").await;
    assert_eq!(kind(desk.sessions.act(None, click(5.0, 6.0)).await), "needs_approval");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_holds_for_a_while_and_can_be_taken_back() {
    let desk = asking(SessionsConfig::default());
    desk.connect("kiosk").await;
    let (id, _) = asked(&desk, click(5.0, 6.0)).await;
    let ann = desk.person("ann");
    ann.answer(&id, Answer::Refuse).await.unwrap();
    let error = desk.sessions.act(None, click(5.0, 6.0)).await.unwrap_err();
    assert_eq!(error, SessionsError::ApprovalRefused { by: "ANN".to_owned() });
    ann.answer(&id, Answer::Once).await.unwrap();
    desk.sessions.act(None, click(5.0, 6.0)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn questions_and_answers_expire() {
    let desk = asking(SessionsConfig { idle: None, ..SessionsConfig::default() });
    desk.connect("kiosk").await;
    let times = SessionsConfig::default().approvals;
    let ann = desk.person("ann");
    let (id, approval) = asked(&desk, click(5.0, 6.0)).await;
    assert_eq!(approval.left, times.question);
    tokio::time::sleep(times.question).await;
    assert!(ann.approvals().is_empty());
    assert_eq!(kind(ann.answer(&id, Answer::Once).await), "invalid_argument");

    let (id, _) = asked(&desk, click(5.0, 6.0)).await;
    ann.answer(&id, Answer::Once).await.unwrap();
    tokio::time::sleep(times.answer).await;
    assert_eq!(kind(desk.sessions.act(None, click(5.0, 6.0)).await), "needs_approval", "the word is stale");

    let (id, _) = asked(&desk, click(5.0, 6.0)).await;
    ann.answer(&id, Answer::Session).await.unwrap();
    tokio::time::sleep(times.session).await;
    assert_eq!(kind(desk.sessions.act(None, click(5.0, 6.0)).await), "needs_approval");
}

#[tokio::test(start_paused = true)]
async fn one_credential_can_not_bury_a_person_in_questions() {
    let desk = asking(SessionsConfig::default());
    desk.connect("kiosk").await;
    for x in 0..MOST_WAITING {
        asked(&desk, click(x as f64, 0.0)).await;
    }
    assert_eq!(kind(desk.sessions.act(None, click(99.0, 0.0)).await), "rate_limited");
    assert_eq!(desk.person("ann").approvals().len(), MOST_WAITING);
    let (id, _) = asked(&desk, click(0.0, 0.0)).await;
    desk.person("ann").answer(&id, Answer::Refuse).await.unwrap();
    asked(&desk, click(99.0, 0.0)).await;
}

#[tokio::test(start_paused = true)]
async fn persons_agree_to_what_they_may_do_themselves_and_need_nobodys_word() {
    let desk = asking(SessionsConfig::default());
    desk.connect("kiosk").await;
    let (id, _) = asked(&desk, click(5.0, 6.0)).await;
    let onlooker = desk.of("o", CallerKind::Person, "observe", "all");
    let elsewhere = desk.of("e", CallerKind::Person, "all", "id:office");
    for access in [&onlooker, &elsewhere] {
        assert!(access.approvals().is_empty());
        assert_eq!(kind(access.answer(&id, Answer::Once).await), "invalid_argument");
    }
    assert_eq!(
        kind(desk.sessions.answer(&id, Answer::Once).await),
        "not_permitted",
        "a model agrees to nothing"
    );
    assert_eq!(desk.sessions.approvals().len(), 1, "but sees what it asked");
    desk.person("ann").act(None, click(1.0, 1.0)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn connecting_can_need_a_word_too() {
    let desk = Desk::guarded(
        SessionsConfig::default(),
        rules(&[("id:office", "observe", Verdict::Ask)]),
        &Arc::default(),
    );
    let error = desk.sessions.connect(to("office")).await.unwrap_err();
    let SessionsError::NeedsApproval { id, .. } = error else { panic!("{error:?}") };
    assert!(desk.connector.opened().is_empty());
    desk.person("ann").answer(&id, Answer::Session).await.unwrap();
    assert!(desk.connect("office").await.is_ready());
    let shot = desk.sessions.screenshot(None, &Default::default()).await;
    assert_eq!(kind(shot), "needs_approval", "the session is a place of its own");
}
