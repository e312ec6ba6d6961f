//! Pointer and keyboard.

use super::*;

pub(super) fn key(
    union: key_event::Union,
    down: bool,
    press: bool,
    mode: KeyboardMode,
    modifiers: &[ControlKey],
) -> message::Union {
    let modifiers = modifiers.iter().map(|m| *m as i32).collect();
    message::Union::KeyEvent(KeyEvent { down, press, modifiers, mode: mode as i32, union: Some(union) })
}

fn pressed(union: key_event::Union, modifiers: &[ControlKey]) -> message::Union {
    key(union, true, true, KeyboardMode::Legacy, modifiers)
}

fn named(key: ControlKey) -> key_event::Union {
    key_event::Union::ControlKey(key as i32)
}

fn chr(c: char) -> key_event::Union {
    key_event::Union::Chr(c.into())
}

pub(super) fn position(code: u32, down: bool) -> message::Union {
    key(key_event::Union::Chr(code), down, false, KeyboardMode::Map, &[])
}

fn down(key: ControlKey) -> HostInput {
    HostInput::Key { key: InputKey::Named(key), down: true }
}

fn up(key: ControlKey) -> HostInput {
    HostInput::Key { key: InputKey::Named(key), down: false }
}

fn typed(c: char) -> [HostInput; 2] {
    [true, false].map(|down| HostInput::Key { key: InputKey::Character(c), down })
}

fn caps(on: bool) -> HostInput {
    HostInput::Locks { caps: Some(on), num: None }
}

#[test]
fn every_mouse_mask() {
    let mut rig = Rig::live();
    let at = Point::new;
    assert_eq!(rig.mouse(0, -5, 300, &[]), [HostInput::MoveTo(at(-5, 300))]);
    let buttons = [
        (1, Button::Left),
        (2, Button::Right),
        (4, Button::Middle),
        (8, Button::Back),
        (16, Button::Forward),
    ];
    for (bit, button) in buttons {
        assert_eq!(rig.mouse(bit << 3 | 1, 9, 9, &[]), [HostInput::Button { button, down: true }]);
        assert_eq!(rig.mouse(bit << 3 | 2, 9, 9, &[]), [HostInput::Button { button, down: false }]);
    }
    assert_eq!(rig.mouse(3 << 3 | 1, 9, 9, &[]), [], "two buttons at once");
    assert_eq!(rig.mouse(3, 0, 1, &[]), [HostInput::Scroll { x: 0, y: -1 }], "positive is up");
    assert_eq!(rig.mouse(3, 1, 0, &[]), [HostInput::Scroll { x: -1, y: 0 }], "positive is left");
    assert_eq!(rig.mouse(4, 0, -2, &[]), [HostInput::Scroll { x: 0, y: 2 }]);
    assert_eq!(rig.mouse(3, 0, i32::MIN, &[]), [HostInput::Scroll { x: 0, y: 100 }], "bounded");
    assert_eq!(rig.mouse(5, 12, -7, &[]), [HostInput::MoveBy(at(12, -7))]);
    assert_eq!(rig.mouse(5, 1 << 20, i32::MIN, &[]), [HostInput::MoveBy(at(10_000, -10_000))]);
    assert_eq!(rig.mouse(6, 1, 1, &[]), []);
    let click = rig.mouse(9, 1, 1, &[ControlKey::Shift]);
    let button = HostInput::Button { button: Button::Left, down: true };
    assert_eq!(click, [down(ControlKey::Shift), button, up(ControlKey::Shift)]);
    assert_eq!(rig.host.refusals().unsupported, 2);
}

#[test]
fn writing_and_shortcuts_in_legacy_mode() {
    use ControlKey::{CapsLock, Control, F4, Numpad4, Return, Shift};
    let mut rig = Rig::live();
    assert_eq!(rig.inputs(pressed(named(Return), &[])), [down(Return), up(Return)]);
    let [a_down, a_up] = typed('a');
    assert_eq!(rig.inputs(pressed(chr('a'), &[Shift])), [a_down, a_up], "Shift is not for us");
    assert_eq!(rig.inputs(pressed(chr('a'), &[CapsLock])), typed('A'));
    assert_eq!(rig.inputs(pressed(chr('ß'), &[CapsLock])), typed('ß'), "no single capital");
    let [t_down, t_up] = typed('t');
    assert_eq!(
        rig.inputs(pressed(chr('t'), &[Control, Shift])),
        [down(Control), down(Shift), t_down, t_up, up(Shift), up(Control)]
    );
    assert_eq!(
        rig.inputs(pressed(named(F4), &[Control])),
        [down(Control), caps(false), down(F4), up(F4), up(Control)]
    );
    let num = HostInput::Locks { caps: None, num: Some(true) };
    assert_eq!(
        rig.inputs(pressed(named(Numpad4), &[ControlKey::NumLock])),
        [num, down(Numpad4), up(Numpad4)]
    );
}

#[test]
fn one_character_of_text_with_a_shortcuts_modifier_is_a_shortcut() {
    use ControlKey::{Control, Shift};
    let mut rig = Rig::live();
    let seq = |text: &str| key_event::Union::Seq(text.into());
    let [c_down, c_up] = typed('c');
    assert_eq!(
        rig.inputs(pressed(seq("c"), &[Control])),
        [down(Control), c_down, c_up, up(Control)],
        "as a stock host plays it"
    );
    assert_eq!(rig.inputs(pressed(seq("C"), &[Shift])), [HostInput::Text("C".into())]);
    assert_eq!(rig.inputs(pressed(seq("cc"), &[Control])), [HostInput::Text("cc".into())]);
}

#[test]
fn held_modifiers_rest_while_a_character_is_written() {
    use ControlKey::{Alt, RAlt, Shift};
    let mut rig = Rig::live();
    let event = |union, is_down, modifiers: &[ControlKey]| {
        key(union, is_down, false, KeyboardMode::Legacy, modifiers)
    };
    assert_eq!(rig.inputs(event(named(Shift), true, &[])), [down(Shift)]);
    let [b_down, b_up] = typed('B');
    assert_eq!(rig.inputs(event(chr('B'), true, &[Shift])), [up(Shift), b_down, b_up, down(Shift)]);
    assert_eq!(rig.inputs(event(chr('B'), false, &[Shift])), []);
    assert_eq!(rig.inputs(event(named(Shift), false, &[])), [up(Shift)]);
    // The right Alt is listed as Alt and makes a character all the same.
    assert_eq!(rig.inputs(event(named(RAlt), true, &[])), [down(RAlt)]);
    let [at_down, at_up] = typed('@');
    assert_eq!(rig.inputs(event(chr('@'), true, &[Alt])), [up(RAlt), at_down, at_up, down(RAlt)]);
}

#[test]
fn positions_are_held_like_keys() {
    let mut rig = Rig::live();
    let input = |code, down| HostInput::Key { key: InputKey::Position(code), down };
    assert_eq!(rig.inputs(position(50, true)), [input(50, true)]);
    assert_eq!(rig.inputs(position(43, true)), [caps(false), input(43, true)]);
    assert_eq!(rig.inputs(position(43, true)), [], "the display server repeats by itself");
    assert_eq!(rig.inputs(position(43, false)), [input(43, false)]);
    assert_eq!(rig.inputs(position(43, false)), []);
    rig.host.lost();
    assert_eq!(rig.outputs().1, [Event::Input(input(50, false))], "let go when the connection breaks");
}

#[test]
fn text_comes_out_whatever_is_held() {
    let mut rig = Rig::live();
    let input = |code, down| HostInput::Key { key: InputKey::Position(code), down };
    rig.inputs(position(50, true));
    let seq =
        |text: &str, down| key(key_event::Union::Seq(text.into()), down, false, KeyboardMode::Legacy, &[]);
    let text = |text: &str| HostInput::Text(text.into());
    assert_eq!(
        rig.inputs(seq("Grüße, 漢字 €😀", false)),
        [input(50, false), text("Grüße, 漢字 €😀"), input(50, true)]
    );
    assert_eq!(
        rig.inputs(seq("a\r\nb\r", true)),
        [input(50, false), text("a\nb\n")],
        "down lets go for good"
    );
    let unicode = key(key_event::Union::Unicode(0x20ac), true, false, KeyboardMode::Legacy, &[]);
    assert_eq!(rig.inputs(unicode), [text("€")]);
    let long = "x".repeat(70_000);
    assert_eq!(rig.inputs(seq(&long, false)), []);
}

#[test]
fn two_keys_are_actions() {
    let mut rig = Rig::live();
    for (key, event) in
        [(ControlKey::CtrlAltDel, Event::CtrlAltDel), (ControlKey::LockScreen, Event::LockScreen)]
    {
        assert_eq!(rig.send(pressed(named(key), &[])).1, [event]);
    }
}

#[test]
fn keys_held_for_six_minutes_are_stuck() {
    let mut rig = Rig::live();
    rig.inputs(position(50, true));
    let mut seen = Vec::new();
    for _ in 0..360 {
        rig.send(message::Union::TestDelay(TestDelay::default()));
        seen.extend(rig.wait(SECOND).1.into_iter().filter(|e| matches!(e, Event::Input(_))));
    }
    assert_eq!(seen, [Event::Input(HostInput::Key { key: InputKey::Position(50), down: false })]);
}

#[test]
fn who_may_not_control_does_not() {
    let mut rig = Rig::live();
    rig.inputs(position(50, true));
    let yes = BoolOption::Yes as i32;
    let (_, events) = rig.option(OptionMessage { disable_keyboard: yes, ..Default::default() });
    assert_eq!(events[0], Event::Input(HostInput::Key { key: InputKey::Position(50), down: false }));
    assert_eq!(rig.mouse(0, 1, 1, &[]), []);
    assert_eq!(rig.host.refusals().input, 1);
    let no = BoolOption::No as i32;
    rig.option(OptionMessage { disable_keyboard: no, ..Default::default() });
    assert_eq!(rig.mouse(0, 1, 1, &[]).len(), 1);
    rig.host.set_permission(Permission::Keyboard, false);
    let (messages, _) = rig.outputs();
    let info = session::PermissionInfo { permission: 0, enabled: false };
    assert_eq!(messages, [message::Union::Misc(Misc { union: Some(misc::Union::PermissionInfo(info)) })]);
    assert_eq!(rig.mouse(0, 1, 1, &[]), []);
}

proptest::proptest! {
    #[test]
    fn every_key_that_goes_down_comes_up(
        events in proptest::collection::vec((0u32..300, 0i32..110, proptest::bool::ANY, proptest::bool::ANY, 0i32..4, proptest::collection::vec(0i32..80, 0..4)), 0..60),
    ) {
        let mut rig = Rig::live();
        let mut held = std::collections::HashMap::new();
        for (chr, control, by_name, is_down, mode, modifiers) in events {
            let union = if by_name { key_event::Union::ControlKey(control) } else { key_event::Union::Chr(chr) };
            let event = KeyEvent { down: is_down, press: false, modifiers, mode, union: Some(union) };
            rig.host.handle_packet(
                Message { union: Some(message::Union::KeyEvent(event)) }.encode_to_vec().into(),
                rig.now,
            );
        }
        rig.host.lost();
        for event in rig.outputs().1 {
            if let Event::Input(HostInput::Key { key, down }) = event {
                *held.entry(key).or_insert(0) += if down { 1 } else { -1 };
            }
        }
        held.retain(|_, n| *n > 0);
        proptest::prop_assert!(held.is_empty(), "{:?}", held);
    }
}
