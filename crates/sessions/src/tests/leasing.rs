//! One hand at a time on a desktop.

use super::connecting::eventually;
use super::*;
use crate::testing::left_click;
use crate::{Effect, ScreenshotRequest, WaitFor, WaitRequest};
use proptest::prelude::*;
use remote::{Input, Rect};
use tokio::time::Instant;

const TTL: Duration = Duration::from_secs(30);

fn wait_for_change() -> WaitRequest {
    WaitRequest {
        what: WaitFor::Change,
        display: None,
        space: Space::Picture,
        region: None,
        timeout: Duration::from_secs(60),
        quiet: Duration::from_millis(500),
        picture: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_person_in_control_shuts_everybody_else_out() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    let ann = desk.person("ann");
    let control = ann.take_over(None).await.unwrap();
    assert_eq!((&*control.who, control.held, control.left), ("ANN", Duration::ZERO, TTL));

    tokio::time::sleep(Duration::from_secs(7)).await;
    let error = desk.sessions.act(None, click(1.0, 1.0)).await.unwrap_err();
    assert_eq!(error.kind(), "human_in_control");
    assert!(error.to_string().contains("ANN") && error.to_string().contains("7 s"), "{error}");
    assert_eq!(kind(desk.sessions.disconnect(None).await), "human_in_control");
    assert_eq!(kind(desk.person("bob").act(None, click(1.0, 1.0)).await), "human_in_control");
    assert_eq!(kind(desk.person("bob").take_over(None).await), "human_in_control");
    assert_eq!(kind(desk.person("bob").input(None, left_click().to_vec()).await), "human_in_control");
    let status = desk.sessions.status(None).await.unwrap();
    assert_eq!(status.control.unwrap().who, "ANN");
    assert!(desk.peer().inputs().is_empty());

    ann.input(None, left_click().to_vec()).await.unwrap();
    ann.act(None, type_text("by hand")).await.unwrap();
    ann.give_back(None).unwrap();
    desk.sessions.act(None, click(1.0, 1.0)).await.unwrap();
    assert_eq!(desk.peer().inputs().len(), 2 + 1 + 3);
    assert_eq!(kind(ann.input(None, left_click().to_vec()).await), "not_permitted");
}

#[tokio::test(start_paused = true)]
async fn only_persons_who_may_act_take_over() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    assert_eq!(kind(desk.sessions.take_over(None).await), "not_permitted");
    assert_eq!(kind(desk.of("s", CallerKind::Script, "all", "all").take_over(None).await), "not_permitted");
    let onlooker = desk.of("o", CallerKind::Person, "observe", "all");
    assert_eq!(kind(onlooker.take_over(None).await), "not_permitted");
    assert_eq!(kind(onlooker.input(None, left_click().to_vec()).await), "not_permitted");
    let many = vec![Input::Text("x".into()); crate::access::MOST_INPUTS + 1];
    assert_eq!(kind(desk.person("p").input(None, many).await), "invalid_argument");
}

#[tokio::test(start_paused = true)]
async fn pictures_are_not_for_models_while_a_person_may_type_a_password() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    let model = desk.sessions.clone();
    let waiting = tokio::spawn(async move { model.wait_for(None, &wait_for_change()).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let ann = desk.person("ann");
    ann.take_over(None).await.unwrap();
    assert_eq!(kind(waiting.await.unwrap()), "human_in_control");
    let request = ScreenshotRequest::default();
    assert_eq!(kind(desk.sessions.screenshot(None, &request).await), "human_in_control");
    ann.screenshot(None, &request).await.unwrap();
    desk.person("bob").screenshot(None, &request).await.unwrap();

    let config = SessionsConfig { look_while_taken: true, ..Default::default() };
    let desk = Desk::with(config, |_| FakePeer::ready(SCREEN));
    desk.connect("kiosk").await;
    desk.person("ann").take_over(None).await.unwrap();
    desk.sessions.screenshot(None, &request).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn long_typing_stops_between_two_runs_and_tells_how_far_it_came() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    let model = desk.sessions.clone();
    let typing = tokio::spawn(async move { model.act(None, type_text(&"x".repeat(1000))).await });
    let peer = desk.peer();
    while peer.typed().len() < 200 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    desk.person("ann").take_over(None).await.unwrap();
    let typed = peer.typed().len();
    let error = typing.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), "human_in_control");
    assert!(error.to_string().contains(&format!("{typed} of 1000")), "{error}");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(peer.typed().len(), typed);
}

#[tokio::test(start_paused = true)]
async fn what_waited_for_its_turn_is_refused_even_if_control_is_given_back_at_once() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    let peer = desk.peer();
    peer.hold_inputs(true);
    let (one, two) = (desk.sessions.clone(), desk.sessions.clone());
    let sending = tokio::spawn(async move { one.act(None, type_text("first")).await });
    tokio::time::sleep(Duration::from_millis(5)).await;
    let queued = tokio::spawn(async move { two.act(None, type_text("second")).await });
    tokio::time::sleep(Duration::from_millis(5)).await;

    let ann = desk.person("ann");
    let taking = ann.clone();
    let taking = tokio::spawn(async move { taking.take_over(None).await });
    assert_eq!(kind(queued.await.unwrap()), "human_in_control", "it does not wait for its turn");
    assert!(!taking.is_finished(), "what is on its way is waited for");
    peer.hold_inputs(false);
    taking.await.unwrap().unwrap();
    assert_eq!(peer.typed(), "first");
    let acted = sending.await.unwrap().unwrap().1;
    assert!(matches!(&acted.effect, Effect::Lost { reason } if reason.contains("ANN")), "{:?}", acted.effect);

    // The same with a lease that is over before the waiting one gets its turn.
    ann.give_back(None).unwrap();
    peer.hold_inputs(true);
    let (one, two) = (desk.sessions.clone(), desk.sessions.clone());
    let sending = tokio::spawn(async move { one.act(None, type_text("third")).await });
    tokio::time::sleep(Duration::from_millis(5)).await;
    let queued = tokio::spawn(async move { two.act(None, type_text("fourth")).await });
    tokio::time::sleep(Duration::from_millis(5)).await;
    let leases = desk.registry.leases();
    let live = desk.registry.all().pop().unwrap();
    leases.take(&live, ann.caller(), TTL, || desk.registry.all()).unwrap();
    leases.end(&live, |_| true).unwrap();
    peer.hold_inputs(false);
    let error = queued.await.unwrap().unwrap_err();
    assert_eq!(error, SessionsError::ControlChanged);
    assert_eq!(peer.typed(), "firstthird");
    sending.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_of_the_desktop_and_not_of_the_session() {
    let desk = Desk::ready();
    let first = desk.connect("kiosk").await.session;
    desk.person("ann").take_over(Some(&first)).await.unwrap();
    let another = ConnectRequest { another: true, ..to("kiosk") };
    let second = desk.sessions.connect(another).await.unwrap().session;
    assert_eq!(kind(desk.sessions.act(Some(&second), click(1.0, 1.0)).await), "human_in_control");
    let address = ConnectTo::Address { address: "kiosk.example".to_owned(), protocol: None };
    let by_address = ConnectRequest { to: address, another: true, ..to("") };
    let third = desk.sessions.connect(by_address).await.unwrap().session;
    assert_eq!(kind(desk.sessions.act(Some(&third), click(1.0, 1.0)).await), "human_in_control");
    let office = desk.connect("office").await.session;
    desk.sessions.act(Some(&office), click(1.0, 1.0)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lease_ends_when_its_holder_is_gone_and_not_while_he_is_there() {
    let desk = Desk::ready();
    let session = desk.connect("kiosk").await.session;
    let ann = desk.person("ann");
    ann.take_over(None).await.unwrap();
    for _ in 0..5 {
        tokio::time::sleep(TTL * 2 / 3).await;
        ann.renew(None).unwrap();
    }
    tokio::time::sleep(TTL * 2 / 3).await;
    ann.input(None, left_click().to_vec()).await.unwrap();
    tokio::time::sleep(TTL * 2 / 3).await;
    assert!(ann.take_over(None).await.unwrap().held > TTL, "a viewer that comes back keeps its lease");
    let last = Instant::now();
    eventually(|| {
        desk.registry.leases().on(&desk.registry.known(&session).unwrap(), Instant::now()).is_none()
    })
    .await;
    assert!(last.elapsed() >= TTL);
    assert_eq!(kind(ann.renew(None)), "not_permitted");
    desk.sessions.act(None, click(1.0, 1.0)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_admin_ends_anothers_lease() {
    let desk = Desk::ready();
    desk.connect("kiosk").await;
    desk.person("ann").take_over(None).await.unwrap();
    let bob = desk.of("bob", CallerKind::Person, "observe interact", "all");
    assert_eq!(kind(bob.end_lease(None).await), "not_permitted");
    assert_eq!(kind(bob.give_back(None)), "not_permitted");
    desk.person("admin").end_lease(None).await.unwrap();
    bob.take_over(None).await.unwrap();
}

/// What somebody does, and how long he waits before it.
#[derive(Debug, Clone, Copy)]
struct Move {
    after_ms: u64,
    hold_ms: u64,
    another: bool,
}

fn any_move() -> impl Strategy<Value = Move> {
    (0u64..400, 0u64..200, any::<bool>()).prop_map(|(after_ms, hold_ms, another)| Move {
        after_ms,
        hold_ms,
        another,
    })
}

/// Runs models that type and click at random while a person takes over and gives back at random, and tells of
/// every input of a model that arrived while the person was in control.
async fn race(models: Vec<Vec<Move>>, person: Vec<Move>, slow: bool) -> Vec<Input> {
    let desk = Arc::new(Desk::ready());
    desk.connect("kiosk").await;
    let intruders: Arc<std::sync::Mutex<Vec<Input>>> = Arc::default();
    let taken = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let watch = |peer: FakePeer| {
        let (intruders, taken) = (Arc::clone(&intruders), Arc::clone(&taken));
        peer.react(move |peer, inputs| {
            let of_model = |input: &&Input| matches!(input, Input::Text(text) if text.starts_with('m'));
            if taken.load(std::sync::atomic::Ordering::SeqCst) {
                crate::live::lock(&intruders).extend(inputs.iter().filter(of_model).cloned());
            }
            let shade = inputs.len() as u8;
            peer.paint(remote::DisplayId(0), Rect::new(0, 0, 64, 64), [shade, 0, 0]);
        });
    };
    watch(desk.peer());
    if slow {
        desk.peer().hold_inputs(true);
        let peer = desk.peer();
        tokio::spawn(async move {
            for _ in 0..200 {
                peer.hold_inputs(false);
                tokio::task::yield_now().await;
                peer.hold_inputs(true);
                tokio::time::sleep(Duration::from_millis(7)).await;
            }
            peer.hold_inputs(false);
        });
    }
    let mut tasks = tokio::task::JoinSet::new();
    for (number, moves) in models.into_iter().enumerate() {
        let access = desk.model(&format!("m{number}"));
        let mut session = access.connect(to("kiosk")).await.unwrap().session;
        for step in &moves {
            if step.another {
                let another = ConnectRequest { another: true, ..to("kiosk") };
                if let Ok(connected) = access.connect(another).await {
                    session = connected.session;
                    watch(desk.peer());
                }
            }
        }
        tasks.spawn(async move {
            for step in moves {
                tokio::time::sleep(Duration::from_millis(step.after_ms)).await;
                let text = "m".repeat(step.hold_ms as usize * 3 + 1);
                // Refused, half done or done: what arrived is what counts.
                let _told = access.act(Some(&session), Act { settle: None, ..type_text(&text) }).await;
            }
        });
    }
    for step in person {
        tokio::time::sleep(Duration::from_millis(step.after_ms)).await;
        let (ann, session) = (desk.person("ann"), desk.registry.all()[0].id.clone());
        if ann.take_over(Some(&session)).await.is_ok() {
            taken.store(true, std::sync::atomic::Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(step.hold_ms)).await;
            taken.store(false, std::sync::atomic::Ordering::SeqCst);
            ann.give_back(Some(&session)).unwrap();
        }
    }
    tasks.join_all().await;
    crate::live::lock(&intruders).clone()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_input_of_others_arrives_after_taking_over_returned(
        models in proptest::collection::vec(proptest::collection::vec(any_move(), 1..5), 1..4),
        person in proptest::collection::vec(any_move(), 1..5),
        slow in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let intruders = runtime.block_on(race(models, person, slow));
        prop_assert!(intruders.is_empty(), "{intruders:?}");
    }
}
