//! Screens, with a real X server.

mod capture;
mod inject;
mod text;
mod virtual_display;

use host::screen::{Capture, Changes, VirtualDisplay};
use remote::Size;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use x11rb::connection::Connection;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    ConnectionExt as _, CreateGCAux, CreateWindowAux, EventMask, InputFocus, Rectangle, Window, WindowClass,
};
use x11rb::rust_connection::RustConnection;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A display of its own for a test; the package to install is in the error where there is no server.
pub(crate) fn display(size: Size) -> VirtualDisplay {
    VirtualDisplay::start(size).unwrap_or_else(|error| panic!("{error}"))
}

/// Asks again until the answer is there.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited too long: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits for changes until they are as wanted, all taken together.
fn wait_until(capture: &mut dyn Capture, what: &str, done: impl Fn(&Changes) -> bool) -> Changes {
    let deadline = Instant::now() + PATIENCE;
    let mut all = Changes::default();
    while !done(&all) {
        assert!(Instant::now() < deadline, "waited too long: {what}, had {all:?}");
        let changes = capture.wait(Duration::from_millis(100)).expect("the server lives");
        all.damage = all.damage.union(changes.damage);
        all.monitors |= changes.monitors;
        all.cursor = changes.cursor.or(all.cursor);
        all.pointer = changes.pointer.or(all.pointer);
    }
    all
}

/// A program on a display, ended with this value.
#[derive(Debug)]
struct Program(Child);

impl Program {
    fn start(display: &VirtualDisplay, program: &str, arguments: &[&str]) -> Self {
        let child = Command::new(program)
            .args(arguments)
            .env("DISPLAY", display.display())
            .env("XAUTHORITY", display.xauthority())
            .env("LC_ALL", "C.UTF-8")
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{program} does not start ({error}); install the package {program}")
            });
        Self(child)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A window of our own that fills the screen and tells what it receives.
pub(crate) struct Witness {
    connection: RustConnection,
    root: Window,
    window: Window,
}

impl Witness {
    pub(crate) fn new(display: &VirtualDisplay) -> Self {
        let (connection, number) = connect(display);
        let screen = connection.setup().roots[number].clone();
        let window = connection.generate_id().unwrap();
        let events = EventMask::KEY_PRESS
            | EventMask::KEY_RELEASE
            | EventMask::BUTTON_PRESS
            | EventMask::BUTTON_RELEASE
            | EventMask::POINTER_MOTION
            | EventMask::EXPOSURE;
        let aux =
            CreateWindowAux::new().background_pixel(0x0020_4060).event_mask(events).override_redirect(1);
        connection
            .create_window(
                0,
                window,
                screen.root,
                0,
                0,
                screen.width_in_pixels,
                screen.height_in_pixels,
                0,
                WindowClass::INPUT_OUTPUT,
                0,
                &aux,
            )
            .unwrap();
        connection.map_window(window).unwrap();
        connection.flush().unwrap();
        let witness = Self { connection, root: screen.root, window };
        witness.next("exposed", |event| matches!(event, Event::Expose(_)).then_some(()));
        witness
            .connection
            .set_input_focus(InputFocus::NONE, window, x11rb::CURRENT_TIME)
            .unwrap()
            .check()
            .unwrap();
        witness
    }

    /// The next event that the filter makes something of.
    fn next<T>(&self, what: &str, mut filter: impl FnMut(Event) -> Option<T>) -> T {
        eventually(what, || {
            while let Some(event) = self.connection.poll_for_event().unwrap() {
                if let Some(found) = filter(event) {
                    return Some(found);
                }
            }
            None
        })
    }

    pub(crate) fn fill(&self, place: Rectangle, colour: u32) {
        self.fill_all(&[place], colour);
    }

    pub(crate) fn fill_all(&self, places: &[Rectangle], colour: u32) {
        let gc = self.connection.generate_id().unwrap();
        self.connection.create_gc(gc, self.window, &CreateGCAux::new().foreground(colour)).unwrap();
        self.connection.poly_fill_rectangle(self.window, gc, places).unwrap();
        self.connection.free_gc(gc).unwrap();
        // The answer means that the server has drawn it.
        self.connection.get_input_focus().unwrap().reply().unwrap();
    }
}

fn connect(display: &VirtualDisplay) -> (RustConnection, usize) {
    use x11rb::reexports::x11rb_protocol::parse_display::parse_display;
    use x11rb::rust_connection::DefaultStream;
    let file = std::fs::read(display.xauthority()).unwrap();
    let cookie = file[file.len() - 16..].to_vec();
    let parsed = parse_display(Some(display.display())).unwrap();
    let (stream, _) =
        parsed.connect_instruction().find_map(|address| DefaultStream::connect(&address).ok()).unwrap();
    let name = b"MIT-MAGIC-COOKIE-1".to_vec();
    (RustConnection::connect_to_stream_with_auth_info(stream, 0, name, cookie).unwrap(), 0)
}

/// Red, green, blue of a pixel.
fn pixel(grab: &host::screen::Grab<'_>, x: usize, y: usize) -> [u8; 3] {
    let at = y * grab.stride + x * 4;
    [grab.bgrx[at + 2], grab.bgrx[at + 1], grab.bgrx[at]]
}
