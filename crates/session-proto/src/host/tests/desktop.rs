//! Displays, options, clipboard.

use super::*;

#[test]
fn subscriptions() {
    let mut rig = Rig::live();
    let mut capture = |add: &[i32], sub: &[i32], set: &[i32]| {
        let wish = CaptureDisplays { add: add.into(), sub: sub.into(), set: set.into() };
        views(&rig.misc(misc::Union::CaptureDisplays(wish)).1)
    };
    assert_eq!(capture(&[1], &[], &[]), [vec![0, 1]]);
    assert_eq!(capture(&[], &[1, 7], &[0]), [vec![1]], "keeps only these; the other lists do not count");
    assert_eq!(capture(&[], &[0], &[]), [Vec::<usize>::new()], "what is not subscribed is not added");
    assert_eq!(capture(&[], &[], &[0, 1, 9, -1]), [vec![0, 1]]);
    assert_eq!(capture(&[], &[], &[]), [Vec::<usize>::new()]);
    assert_eq!(capture(&[], &[], &[7]), Vec::<Vec<usize>>::new(), "only what does not exist: still nothing");
}

#[test]
fn switching_displays_answers_with_geometry() {
    let mut rig = Rig::live();
    let geometry = |messages: &[message::Union]| match messages {
        [message::Union::Misc(Misc { union: Some(misc::Union::SwitchDisplay(d)) })] => {
            Some((d.display, d.x, d.width))
        }
        _ => None,
    };
    let switch = |display| misc::Union::SwitchDisplay(SwitchDisplay { display, ..Default::default() });
    let query = |switch_display| misc::Union::MessageQuery(MessageQuery { switch_display });
    let (messages, events) = rig.misc(switch(1));
    assert_eq!(geometry(&messages), Some((1, 1280, 800)));
    assert_eq!(views(&events), [[0, 1]], "the old one stays until it is taken away");
    assert_eq!(rig.misc(switch(1)), (vec![], vec![]), "it is current already");
    assert_eq!(geometry(&rig.misc(query(0)).0), Some((0, 0, 1280)));
    assert_eq!(rig.misc(query(5)), (vec![], vec![]));
    let resize = |width, height| misc::Union::ChangeResolution(session::Resolution { width, height });
    assert_eq!(rig.misc(resize(640, 480)).1, [Event::SetSize { display: 1, size: Size::new(640, 480) }]);
    assert_eq!(rig.misc(resize(641, 480)), (vec![], vec![]), "not one of its modes");
}

#[test]
fn changes_of_displays_are_told() {
    let mut rig = Rig::live();
    let mut displays = context().announce.displays;
    displays[0].size = Size::new(640, 480);
    rig.host.set_displays(displays.clone());
    let (messages, _) = rig.outputs();
    let [message::Union::Misc(Misc { union: Some(misc::Union::SwitchDisplay(d)) })] = &messages[..] else {
        panic!("{messages:?}")
    };
    assert_eq!((d.display, d.width), (0, 640));
    rig.host.set_displays(displays.clone());
    assert_eq!(rig.outputs(), (vec![], vec![]));
    rig.misc(misc::Union::CaptureDisplays(CaptureDisplays { set: vec![1], ..Default::default() }));
    displays.truncate(1);
    rig.host.set_displays(displays);
    let (messages, events) = rig.outputs();
    assert!(matches!(&messages[0], message::Union::PeerInfo(info) if info.displays.len() == 1));
    assert_eq!(views(&events), [[0]], "back to the one that is left");
}

#[test]
fn options_become_one_view() {
    let mut rig = Rig::live();
    let (_, events) = rig.option(OptionMessage { image_quality: 4, custom_fps: 12, ..Default::default() });
    let [Event::View(view)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((view.fps, view.ratio, view.cursor, view.pointer), (12, 1.5, true, false));
    let (_, events) = rig.option(OptionMessage { custom_fps: 12, ..Default::default() });
    assert_eq!(events, [], "nothing new");
    let (_, events) = rig.misc(misc::Union::AutoAdjustFps(5));
    assert!(matches!(&events[..], [Event::View(View { fps: 5, .. })]));
    let (_, events) = rig.misc(misc::Union::ClientRecordStatus(true));
    assert!(matches!(&events[..], [Event::View(View { recording: true, .. })]));
}

#[test]
fn clipboards_come_decompressed_and_are_not_echoed() {
    let mut rig = Rig::live();
    let text = "grüße € ".repeat(40);
    let packed = session::Clipboard {
        compress: true,
        content: zstd::bulk::compress(text.as_bytes(), 3).unwrap().into(),
        ..Default::default()
    };
    let many = |clipboards| message::Union::MultiClipboards(MultiClipboards { clipboards });
    let item = ClipboardItem { format: ClipboardFormat::Text, content: text.clone().into() };
    assert_eq!(rig.send(many(vec![packed.clone()])).1, [Event::Clipboard(vec![item])]);
    rig.host.send_clipboard(&text);
    assert_eq!(rig.outputs().0, [], "it came from there");
    rig.host.send_clipboard("of this machine");
    assert!(matches!(&rig.outputs().0[..], [message::Union::MultiClipboards(_)]));
    let bomb = session::Clipboard {
        compress: true,
        content: zstd::bulk::compress(&vec![0; 20 << 20], 3).unwrap().into(),
        ..Default::default()
    };
    assert_eq!(rig.send(many(vec![bomb])).1, []);
    rig.option(OptionMessage { disable_clipboard: BoolOption::Yes as i32, ..Default::default() });
    assert_eq!(rig.send(many(vec![packed])).1, []);
    rig.host.send_clipboard("another");
    assert_eq!(rig.outputs().0, []);
    assert_eq!(rig.host.refusals().clipboard, 2);
}
