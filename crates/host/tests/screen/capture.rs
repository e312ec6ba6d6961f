use super::{Witness, display, pixel, wait_until};
use host::screen::ScreenError;
use remote::{Point, Rect, Size};
use std::time::{Duration, Instant};
use x11rb::connection::Connection;
use x11rb::protocol::xproto::{ChangeWindowAttributesAux, ConnectionExt as _, Rectangle};

const SIZE: Size = Size::new(1280, 800);

#[test]
fn a_change_is_told_and_its_pixels_are_there() {
    let display = display(SIZE);
    let screen = display.screen().unwrap();
    let witness = Witness::new(&display);
    let mut capture = screen.open_capture().unwrap();
    let first = capture.wait(Duration::ZERO).unwrap();
    assert!(first.cursor.is_some(), "the cursor is told at the start");
    assert_eq!(pixel(&capture.grab(0).unwrap(), 5, 5), [0x20, 0x40, 0x60]);

    witness.fill(Rectangle { x: 100, y: 50, width: 30, height: 20 }, 0x00ff_8000);
    let changes = wait_until(capture.as_mut(), "damage", |changes| !changes.damage.is_empty());
    assert_eq!(changes.damage, Rect::new(100, 50, 30, 20));
    let grab = capture.grab(0).unwrap();
    assert_eq!(grab.size, SIZE);
    assert_eq!(pixel(&grab, 100, 50), [0xff, 0x80, 0]);
    assert_eq!(pixel(&grab, 129, 69), [0xff, 0x80, 0]);
    assert_eq!(pixel(&grab, 130, 69), [0x20, 0x40, 0x60]);
    assert_eq!(pixel(&grab, 99, 50), [0x20, 0x40, 0x60]);

    // The same place again is told again once it has been looked at.
    witness.fill(Rectangle { x: 100, y: 50, width: 30, height: 20 }, 0x0000_80ff);
    let changes = wait_until(capture.as_mut(), "damage", |changes| !changes.damage.is_empty());
    assert_eq!(changes.damage, Rect::new(100, 50, 30, 20));
    assert_eq!(pixel(&capture.grab(0).unwrap(), 100, 50), [0, 0x80, 0xff]);
}

#[test]
fn a_still_screen_tells_nothing_and_wakes_nobody() {
    let display = display(SIZE);
    let screen = display.screen().unwrap();
    let mut capture = screen.open_capture().unwrap();
    capture.wait(Duration::ZERO).unwrap();
    capture.grab(0).unwrap();
    // What the grab overlapped with may be told once more.
    capture.wait(Duration::ZERO).unwrap();
    capture.grab(0).unwrap();
    let start = Instant::now();
    let changes = capture.wait(Duration::from_millis(300)).unwrap();
    assert!(changes.is_empty(), "{changes:?}");
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_wait_can_be_ended() {
    let display = display(SIZE);
    let mut capture = display.screen().unwrap().open_capture().unwrap();
    capture.wait(Duration::ZERO).unwrap();
    let waker = capture.waker();
    let start = Instant::now();
    let other = std::thread::spawn(move || waker.wake());
    capture.wait(Duration::from_secs(20)).unwrap();
    assert!(start.elapsed() < Duration::from_secs(10));
    other.join().unwrap();
}

#[test]
fn the_cursor_shape_is_told_when_it_changes() {
    let display = display(SIZE);
    let screen = display.screen().unwrap();
    let witness = Witness::new(&display);
    let mut injector = screen.open_injector().unwrap();
    injector.move_to(Point::new(200, 200)).unwrap();
    let mut capture = screen.open_capture().unwrap();
    let (before, _) = capture.wait(Duration::ZERO).unwrap().cursor.unwrap();

    let connection = &witness.connection;
    let (font, cursor) = (connection.generate_id().unwrap(), connection.generate_id().unwrap());
    connection.open_font(font, b"cursor").unwrap();
    // The xterm shape: an I that is higher than wide, red on white.
    connection
        .create_glyph_cursor(cursor, font, font, 152, 153, 0xffff, 0, 0, 0xffff, 0xffff, 0xffff)
        .unwrap();
    let aux = ChangeWindowAttributesAux::new().cursor(cursor);
    connection.change_window_attributes(witness.window, &aux).unwrap();
    connection.flush().unwrap();

    let changes = wait_until(capture.as_mut(), "cursor", |changes| changes.cursor.is_some());
    let (id, shape) = changes.cursor.unwrap();
    assert_ne!(id, before);
    assert!(shape.size.height > shape.size.width);
    assert_eq!(shape.rgba.len() as u64, shape.size.area() * 4);
    let colours: std::collections::BTreeSet<&[u8]> = shape.rgba.chunks(4).collect();
    let expected: [&[u8]; 3] = [&[0, 0, 0, 0], &[255, 0, 0, 255], &[255, 255, 255, 255]];
    assert_eq!(colours.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn the_pointer_is_told_while_asked_for() {
    let display = display(SIZE);
    let screen = display.screen().unwrap();
    let mut injector = screen.open_injector().unwrap();
    let mut capture = screen.open_capture().unwrap();
    capture.wait(Duration::ZERO).unwrap();
    injector.move_to(Point::new(321, 123)).unwrap();
    assert_eq!(capture.wait(Duration::from_millis(100)).unwrap().pointer, None);
    capture.track_pointer(true);
    let here = |changes: &host::screen::Changes| changes.pointer == Some(Point::new(321, 123));
    wait_until(capture.as_mut(), "pointer", here);
    injector.move_by(Point::new(-21, 7)).unwrap();
    let there = |changes: &host::screen::Changes| changes.pointer == Some(Point::new(300, 130));
    wait_until(capture.as_mut(), "pointer", there);
}

#[test]
fn a_monitor_switches_to_another_of_its_sizes() {
    let display = display(SIZE);
    let screen = display.screen().unwrap();
    let mut injector = screen.open_injector().unwrap();
    let mut capture = screen.open_capture().unwrap();
    let monitors = capture.monitors().unwrap();
    assert_eq!(monitors.len(), 1);
    assert_eq!(monitors[0].size, SIZE);
    assert!(monitors[0].primary);
    assert!(monitors[0].modes.contains(&Size::new(1024, 768)), "{:?}", monitors[0].modes);

    injector.set_size(0, Size::new(1024, 768)).unwrap();
    wait_until(capture.as_mut(), "monitors", |changes| changes.monitors);
    assert_eq!(capture.monitors().unwrap()[0].size, Size::new(1024, 768));
    let grab = capture.grab(0).unwrap();
    assert_eq!((grab.size, grab.stride), (Size::new(1024, 768), 4096));

    injector.set_size(0, Size::new(1920, 1080)).unwrap();
    wait_until(capture.as_mut(), "monitors", |changes| changes.monitors);
    assert_eq!(capture.grab(0).unwrap().size, Size::new(1920, 1080));

    let refused = injector.set_size(0, Size::new(123, 45)).unwrap_err();
    assert!(matches!(refused, ScreenError::Unsupported(_)));
    assert_eq!(injector.set_size(1, SIZE), Err(ScreenError::NoSuchMonitor(1)));
}

#[test]
fn two_monitors_are_two_crops() {
    use x11rb::protocol::randr::{ConnectionExt as _, MonitorInfo};
    let display = display(SIZE);
    let screen = display.screen().unwrap();
    let witness = Witness::new(&display);
    let connection = &witness.connection;
    let mut capture = screen.open_capture().unwrap();
    let outputs =
        connection.randr_get_screen_resources_current(witness.root).unwrap().reply().unwrap().outputs;
    for (name, x, outputs) in [("left", 0, outputs), ("right", 640, Vec::new())] {
        let name = connection.intern_atom(false, name.as_bytes()).unwrap().reply().unwrap().atom;
        let info = MonitorInfo { name, x, width: 640, height: 800, outputs, ..MonitorInfo::default() };
        connection.randr_set_monitor(witness.root, info).unwrap().check().unwrap();
    }
    wait_until(capture.as_mut(), "two monitors", |changes| changes.monitors);
    let monitors = super::eventually("both", || {
        capture.wait(Duration::from_millis(10)).unwrap();
        Some(capture.monitors().unwrap()).filter(|monitors| monitors.len() == 2)
    });
    let right = monitors.iter().position(|monitor| monitor.name == "right").unwrap();
    assert_eq!(monitors[right].rect(), Rect::new(640, 0, 640, 800));
    witness.fill(Rectangle { x: 640, y: 0, width: 1, height: 1 }, 0x00ff_0000);
    witness.fill(Rectangle { x: 639, y: 0, width: 1, height: 1 }, 0x0000_ff00);
    super::eventually("the pixels", || {
        capture.wait(Duration::from_millis(10)).unwrap();
        let seen = pixel(&capture.grab(right).unwrap(), 0, 0);
        let left = pixel(&capture.grab(1 - right).unwrap(), 639, 0);
        (seen == [255, 0, 0] && left == [0, 255, 0]).then_some(())
    });
    assert_eq!(capture.grab(2).unwrap_err(), ScreenError::NoSuchMonitor(2));
}

#[test]
fn a_server_that_goes_away_is_an_error_of_its_own() {
    let display = display(SIZE);
    let screen = display.screen().unwrap();
    let mut capture = screen.open_capture().unwrap();
    let mut injector = screen.open_injector().unwrap();
    drop(display);
    let error = super::eventually("the end", || capture.wait(Duration::from_millis(10)).err());
    assert!(matches!(error, ScreenError::Gone(_)), "{error:?}");
    let error = super::eventually("the end", || injector.text("x").err());
    assert!(matches!(error, ScreenError::Gone(_)), "{error:?}");
    assert!(matches!(screen.open_capture(), Err(ScreenError::NoDisplay { .. })));
}
