//! Keep-alive, bounds and ends.

use super::input::position;
use super::*;

#[test]
fn probes_go_out_each_second_but_not_before_the_last_came_back() {
    let mut rig = Rig::live();
    assert_eq!(probes(&rig.wait(10 * SECOND).0), 0, "the first is not answered");
    rig.now += SECOND / 20;
    let echo = message::Union::TestDelay(TestDelay::default());
    rig.send(echo.clone());
    for _ in 0..5 {
        let (messages, _) = rig.wait(SECOND);
        assert_eq!(probes(&messages), 1);
        rig.send(echo.clone());
    }
}

#[test]
fn probes_tell_the_encoders_rate_and_the_last_round_trip() {
    let mut rig = Rig::live();
    rig.host.set_bitrate(719);
    rig.now += SECOND / 50;
    rig.send(message::Union::TestDelay(TestDelay::default()));
    let (messages, _) = rig.wait(SECOND);
    let want = TestDelay { time: 0, from_client: false, last_delay: 20, target_bitrate: 719 };
    assert_eq!(messages, [message::Union::TestDelay(want)]);
}

#[test]
fn slow_answers_are_delays() {
    let mut rig = Rig::live();
    let echo = message::Union::TestDelay(TestDelay::default());
    let mut delays = Vec::new();
    for round_trip in [20_u64, 20, 200, 320] {
        rig.now += Duration::from_millis(round_trip);
        let (_, events) = rig.send(echo.clone());
        delays.extend(events);
        let (messages, _) = rig.wait(SECOND - Duration::from_millis(round_trip));
        assert_eq!(probes(&messages), 1);
    }
    let ms = |n| Event::Delay(Duration::from_millis(n));
    assert_eq!(delays, [ms(0), ms(0), ms(60), ms(160)], "average of three over the minimum");
    let (_, waiting) = rig.wait(4 * SECOND);
    assert_eq!(waiting, [2000, 3000, 4000].map(ms), "and so is an answer that does not come");
}

#[test]
fn half_a_minute_of_silence_is_the_end() {
    for mut rig in [Rig::greeted(context()), Rig::live()] {
        rig.send(position(50, true));
        let (_, events) = rig.wait(30 * SECOND);
        assert_eq!(events.last(), Some(&Event::Closed(CloseCause::Silence)));
        assert!(rig.host.is_over());
        assert_eq!(rig.host.poll_timeout(), None);
    }
}

#[test]
fn packets_are_bounded_by_what_the_client_may_send() {
    let mut rig = Rig::greeted(context());
    assert!(rig.host.packet_limit() < 70_000);
    rig.host.handle_packet(vec![0; 70_000].into(), rig.now);
    assert_eq!(rig.outputs().1, [Event::Closed(CloseCause::TooLong(70_000))]);
    let mut rig = Rig::live();
    assert!(rig.host.packet_limit() > LIMIT_LIVE);
    // Two bytes each on the wire, a hundred in memory.
    let clipboards = vec![session::Clipboard::default(); 1_000_000];
    let (_, events) = rig.send(message::Union::MultiClipboards(MultiClipboards { clipboards }));
    assert_eq!((events.len(), rig.host.refusals().undecodable), (0, 1));
}

#[test]
fn the_end_by_either_side() {
    let mut rig = Rig::live();
    rig.option(OptionMessage { lock_after_session_end: BoolOption::Yes as i32, ..Default::default() });
    let (_, events) = rig.misc(misc::Union::CloseReason(String::new()));
    assert_eq!(events, [Event::LockScreen, Event::Closed(CloseCause::ByClient(String::new()))]);
    assert_eq!(rig.mouse(0, 1, 1, &[]), []);
    let mut rig = Rig::live();
    rig.host.close("Closed manually by the peer");
    let outputs: Vec<Output> = std::iter::from_fn(|| rig.host.poll_output()).collect();
    assert!(
        matches!(&outputs[..], [Output::Send(_), Output::Event(Event::Closed(_)), Output::Close]),
        "{outputs:?}"
    );
}

proptest::proptest! {
    #[test]
    fn no_packet_of_a_client_panics(packets in proptest::collection::vec(proptest::collection::vec(0u8.., 0..200), 0..20)) {
        let mut rig = Rig::live();
        for packet in packets {
            rig.host.handle_packet(packet.into(), rig.now);
            rig.outputs();
            rig.host.handle_timeout(rig.now);
        }
    }
}
