//! What goes to the client by command: pictures, pointer, screenshots.

use super::*;

fn frame(display: usize, key: bool) -> CodedFrame {
    CodedFrame {
        display,
        codec: VideoCodec::Vp9,
        key,
        pts_ms: 7,
        packets: vec![Bytes::from_static(b"packet")],
    }
}

#[test]
fn pictures_begin_with_a_keyframe_and_end_with_the_subscription() {
    let mut rig = Rig::live();
    rig.host.send_frame(frame(0, false), rig.now);
    assert_eq!(rig.outputs().0, [], "of no use before a keyframe");
    for key in [true, false] {
        rig.host.send_frame(frame(0, key), rig.now);
        let (messages, _) = rig.outputs();
        let [message::Union::VideoFrame(sent)] = &messages[..] else { panic!("{messages:?}") };
        let Some(session::video_frame::Union::Vp9s(frames)) = &sent.union else { panic!("{sent:?}") };
        assert_eq!(
            (frames.frames[0].key, frames.frames[0].pts, &frames.frames[0].data[..]),
            (key, 7, &b"packet"[..])
        );
    }
    rig.host.send_frame(frame(1, true), rig.now);
    assert_eq!(rig.outputs().0, [], "not subscribed");
    rig.misc(misc::Union::CaptureDisplays(CaptureDisplays::default()));
    rig.misc(misc::Union::CaptureDisplays(CaptureDisplays { set: vec![0], ..Default::default() }));
    rig.host.send_frame(frame(0, false), rig.now);
    assert_eq!(rig.outputs().0, [], "left over from the subscription before");
}

#[test]
fn acknowledged_pictures_wait_for_the_client_or_three_seconds() {
    let mut rig = Rig::greeted(context());
    let request = LoginRequest { video_ack_required: true, ..rig.request() };
    rig.send(message::Union::LoginRequest(request));
    assert!(rig.host.wants_frame());
    rig.host.send_frame(frame(0, true), rig.now);
    assert!(!rig.host.wants_frame());
    rig.misc(misc::Union::VideoReceived(true));
    assert!(rig.host.wants_frame());
    rig.host.send_frame(frame(0, false), rig.now);
    rig.wait(3 * SECOND - Duration::from_millis(1));
    assert!(!rig.host.wants_frame());
    rig.wait(Duration::from_millis(1));
    assert!(rig.host.wants_frame());
}

#[test]
fn a_shape_is_sent_once() {
    let mut rig = Rig::live();
    let shape =
        |n: u8| CursorShape { size: Size::new(1, 2), hotspot: Point::new(0, 1), rgba: vec![n; 8].into() };
    for id in [1, 2, 2, 1] {
        rig.host.send_cursor(id, &shape(id as u8));
    }
    let (messages, _) = rig.outputs();
    let [message::Union::CursorData(one), message::Union::CursorData(_), message::Union::CursorId(1)] =
        &messages[..]
    else {
        panic!("{messages:?}")
    };
    assert_eq!(zstd::bulk::decompress(&one.colors, 100).unwrap(), [1; 8]);
    assert_eq!((one.width, one.height, one.hoty), (1, 2, 1));
}

#[test]
fn pointer_positions_are_for_those_who_ask_and_did_not_move_it() {
    let mut rig = Rig::live();
    rig.host.send_pointer(Point::new(1, 2), rig.now);
    assert_eq!(rig.outputs().0, []);
    rig.option(OptionMessage { show_remote_cursor: BoolOption::Yes as i32, ..Default::default() });
    rig.mouse(0, 5, 5, &[]);
    rig.host.send_pointer(Point::new(5, 5), rig.now + Duration::from_millis(299));
    assert_eq!(rig.outputs().0, []);
    rig.host.send_pointer(Point::new(6, 6), rig.now + Duration::from_millis(300));
    let at = session::CursorPosition { x: 6, y: 6 };
    assert_eq!(rig.outputs().0, [message::Union::CursorPosition(at)]);
}

#[test]
fn screenshots_answer_the_newest_request() {
    let mut rig = Rig::live();
    let ask = |display, sid: &str| {
        message::Union::ScreenshotRequest(ScreenshotRequest { display, sid: sid.into() })
    };
    assert_eq!(rig.send(ask(0, "one")).1, [Event::Screenshot { display: 0 }]);
    assert_eq!(rig.send(ask(0, "two")).1, [Event::Screenshot { display: 0 }]);
    assert_eq!(rig.send(ask(1, "x")).1, [], "not subscribed");
    assert_eq!(rig.send(ask(9, "x")).1, []);
    rig.host.send_screenshot(0, Ok("png".into()));
    rig.host.send_screenshot(0, Ok("png".into()));
    let (messages, _) = rig.outputs();
    let [message::Union::ScreenshotResponse(answer)] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!((&answer.sid[..], &answer.msg[..], &answer.data[..]), ("two", "", &b"png"[..]));
}
