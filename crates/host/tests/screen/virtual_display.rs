use super::{display, eventually};
use host::screen::{ScreenError, X11Screen};
use remote::Size;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

#[test]
fn it_has_its_size_and_lets_in_only_who_has_the_cookie() {
    let display = display(Size::new(1000, 700));
    let mut capture = display.screen().unwrap().open_capture().unwrap();
    assert_eq!(capture.monitors().unwrap()[0].size, Size::new(1000, 700));
    let mode = std::fs::metadata(display.xauthority()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let error = X11Screen::open(Some(display.display())).unwrap_err();
    assert!(matches!(error, ScreenError::NoDisplay { .. }), "{error:?}");
}

#[test]
fn it_ends_with_its_value_and_leaves_nothing() {
    let one = display(Size::new(640, 480));
    let two = display(Size::new(640, 480));
    assert_ne!(one.display(), two.display());
    let socket = format!("/tmp/.X11-unix/X{}", &one.display()[1..]);
    let directory = one.xauthority().parent().unwrap().to_owned();
    assert!(Path::new(&socket).exists());
    drop(one);
    eventually("the socket to go", || (!Path::new(&socket).exists()).then_some(()));
    assert!(!directory.exists());
    two.screen().unwrap();
}

#[test]
fn an_impossible_size_is_an_error_with_words() {
    let error = host::screen::VirtualDisplay::start(Size::new(0, 5)).unwrap_err();
    assert_eq!(error.kind(), "no_virtual_server");
}
