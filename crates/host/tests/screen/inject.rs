use super::{Witness, display};
use host::screen::{HostKey, Injector, VirtualDisplay};
use remote::{Button, Point, Size};
use std::time::Instant;
use x11rb::connection::Connection;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::ConnectionExt as _;

const SHIFT_L: u32 = 0xffe1;
const CONTROL_L: u32 = 0xffe3;
const CAPS_LOCK: u32 = 0xffe5;
const F5: u32 = 0xffc2;

struct Bench {
    // Dropped in this order: keys are let go of before the server ends.
    injector: Box<dyn Injector>,
    witness: Witness,
    _display: VirtualDisplay,
}

impl Bench {
    fn new() -> Self {
        let display = display(Size::new(1280, 800));
        let witness = Witness::new(&display);
        let injector = display.screen().unwrap().open_injector().unwrap();
        Self { injector, witness, _display: display }
    }

    /// Keys and buttons as the window gets them, up to and including a last one.
    fn presses(&self, count: usize) -> Vec<String> {
        let mut seen = Vec::new();
        self.witness.next("presses", |event| {
            match event {
                Event::KeyPress(key) => seen.push(format!("+{}", self.symbol(key.detail, key.state.into()))),
                Event::KeyRelease(key) => {
                    seen.push(format!("-{}", self.symbol(key.detail, key.state.into())))
                }
                Event::ButtonPress(button) => seen.push(format!("+button{}", button.detail)),
                Event::ButtonRelease(button) => seen.push(format!("-button{}", button.detail)),
                _ => {}
            }
            (seen.len() == count).then_some(())
        });
        seen
    }

    /// What the keyboard mapping makes of a key, as the simplest programs do it: Shift or not.
    fn symbol(&self, keycode: u8, state: u16) -> String {
        let mapping =
            self.witness.connection.get_keyboard_mapping(keycode, 1).unwrap().reply().unwrap().keysyms;
        let level = usize::from(state & 1 != 0);
        let control = if state & 4 != 0 { "^" } else { "" };
        let named = if mapping[level] == 0 { mapping[0] } else { mapping[level] };
        match named {
            sym @ 0x20..=0x7e => format!("{control}{}", char::from(sym as u8)),
            sym => format!("{control}{sym:x}"),
        }
    }
}

#[test]
fn buttons_wheel_and_motion_arrive() {
    let mut bench = Bench::new();
    bench.injector.move_to(Point::new(640, 401)).unwrap();
    let place = bench.witness.next("motion", |event| match event {
        Event::MotionNotify(motion) => Some((motion.root_x, motion.root_y)),
        _ => None,
    });
    assert_eq!(place, (640, 401));
    for button in [Button::Left, Button::Middle, Button::Right, Button::Back, Button::Forward] {
        bench.injector.button(button, true).unwrap();
        bench.injector.button(button, false).unwrap();
    }
    bench.injector.scroll(0, 2).unwrap();
    bench.injector.scroll(-1, -1).unwrap();
    let seen: Vec<String> = bench.presses(18).into_iter().filter(|event| event.starts_with('+')).collect();
    let numbers = [1, 2, 3, 8, 9, 5, 5, 4, 6].map(|number| format!("+button{number}"));
    assert_eq!(seen, numbers);
    let pointer = bench.witness.connection.query_pointer(bench.witness.root).unwrap().reply().unwrap();
    assert_eq!((pointer.root_x, pointer.root_y), (640, 401));
}

#[test]
fn a_place_far_outside_is_the_edge() {
    let mut bench = Bench::new();
    bench.injector.move_to(Point::new(1_000_000, -5)).unwrap();
    let place = bench.witness.next("motion", |event| match event {
        Event::MotionNotify(motion) => Some((motion.root_x, motion.root_y)),
        _ => None,
    });
    assert_eq!(place, (1279, 0));
}

#[test]
fn keysyms_get_the_shift_they_need_and_no_other() {
    let mut bench = Bench::new();
    for keysym in ['a', 'A', '!'] {
        bench.injector.key(HostKey::Keysym(keysym as u32), true).unwrap();
        bench.injector.key(HostKey::Keysym(keysym as u32), false).unwrap();
    }
    assert_eq!(bench.presses(10), ["+a", "-a", "+ffe1", "+A", "-ffe1", "-a", "+ffe1", "+!", "-ffe1", "-1"]);
    // With Shift held, a small letter is a small letter.
    bench.injector.key(HostKey::Keysym(SHIFT_L), true).unwrap();
    bench.injector.key(HostKey::Keysym(u32::from(b'b')), true).unwrap();
    bench.injector.key(HostKey::Keysym(u32::from(b'b')), false).unwrap();
    assert_eq!(bench.presses(5), ["+ffe1", "-ffe1", "+b", "+ffe1", "-B"]);
}

#[test]
fn shortcuts_keep_what_is_held() {
    let mut bench = Bench::new();
    bench.injector.key(HostKey::Keysym(CONTROL_L), true).unwrap();
    bench.injector.key(HostKey::Keysym(SHIFT_L), true).unwrap();
    bench.injector.key(HostKey::Keysym(u32::from(b't')), true).unwrap();
    bench.injector.key(HostKey::Keysym(u32::from(b't')), false).unwrap();
    assert_eq!(bench.presses(4)[2..], ["+^T", "-^T"]);
    bench.injector.release_all().unwrap();
    assert_eq!(bench.presses(2).len(), 2);
    bench.injector.key(HostKey::Keysym(F5), true).unwrap();
    bench.injector.key(HostKey::Keysym(F5), false).unwrap();
    assert_eq!(bench.presses(2), ["+ffc2", "-ffc2"]);
}

#[test]
fn a_position_is_that_keycode() {
    let mut bench = Bench::new();
    bench.injector.key(HostKey::Position(38), true).unwrap();
    bench.injector.key(HostKey::Position(38), false).unwrap();
    let keycode = bench.witness.next("key", |event| match event {
        Event::KeyPress(key) => Some(key.detail),
        _ => None,
    });
    assert_eq!(keycode, 38);
    assert!(bench.injector.key(HostKey::Position(3), true).is_err());
}

#[test]
fn dropping_the_injector_lets_go_of_everything() {
    let Bench { mut injector, witness, _display } = Bench::new();
    injector.key(HostKey::Keysym(CONTROL_L), true).unwrap();
    injector.button(Button::Left, true).unwrap();
    drop(injector);
    let keys = witness.connection.query_keymap().unwrap().reply().unwrap().keys;
    assert_eq!(keys, [0; 32]);
    let pointer = witness.connection.query_pointer(witness.root).unwrap().reply().unwrap();
    assert_eq!(u16::from(pointer.mask), 0);
}

#[test]
fn locks_are_set_and_text_ignores_caps_lock() {
    let mut bench = Bench::new();
    // Another connection sees it as soon as the server has got to it.
    let expect = |bench: &Bench, locks: u16| {
        super::eventually("the locks", || {
            let pointer =
                bench.witness.connection.query_pointer(bench.witness.root).unwrap().reply().unwrap();
            (u16::from(pointer.mask) & 0x12 == locks).then_some(())
        });
    };
    bench.injector.set_locks(Some(true), Some(true)).unwrap();
    expect(&bench, 0x12);
    bench.injector.text("aB").unwrap();
    assert_eq!(bench.presses(6), ["+a", "-a", "+ffe1", "+B", "-ffe1", "-b"]);
    expect(&bench, 0x12);
    bench.injector.set_locks(Some(false), None).unwrap();
    expect(&bench, 0x10);
    bench.injector.key(HostKey::Keysym(CAPS_LOCK), true).unwrap();
    bench.injector.key(HostKey::Keysym(CAPS_LOCK), false).unwrap();
    bench.injector.set_locks(None, Some(false)).unwrap();
    expect(&bench, 0x02);
}

#[test]
fn every_move_is_an_event_at_once_and_in_order() {
    let mut bench = Bench::new();
    for round in 0..50 {
        let to = Point::new(100 + round, 100);
        bench.injector.move_to(to).unwrap();
        let asked = Instant::now();
        // Nothing is sent after it that could push it out.
        loop {
            match bench.witness.connection.poll_for_event().unwrap() {
                Some(Event::MotionNotify(motion)) => {
                    assert_eq!(i32::from(motion.root_x), to.x);
                    break;
                }
                _ => std::thread::yield_now(),
            }
            assert!(asked.elapsed() < super::PATIENCE);
        }
    }
}
