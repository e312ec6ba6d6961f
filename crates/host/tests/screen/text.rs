//! Text typed into a real terminal arrives complete.

use super::{Program, display, eventually};
use host::screen::{Injector, VirtualDisplay};
use remote::{Point, Size};
use std::path::{Path, PathBuf};

struct Terminal {
    injector: Box<dyn Injector>,
    file: PathBuf,
    _program: Program,
    _directory: Directory,
    _display: VirtualDisplay,
}

struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let template = std::env::temp_dir().join("deskhand-test-XXXXXX");
        Self(nix::unistd::mkdtemp(&template).unwrap())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

impl Terminal {
    /// A terminal that writes what is typed into a file, line by line.
    fn new(layout: Option<&str>) -> Self {
        let display = display(Size::new(1024, 768));
        if let Some(layout) = layout {
            let mut program = Program::start(&display, "setxkbmap", &[layout]);
            assert!(program.0.wait().unwrap().success(), "install the package x11-xkb-utils");
        }
        let directory = Directory::new();
        let file = directory.0.join("typed");
        let script = format!("touch {0}.ready; cat > {0}", file.display());
        let program =
            Program::start(&display, "xterm", &["-u8", "-geometry", "80x24+0+0", "-e", "sh", "-c", &script]);
        eventually("xterm", || Path::new(&format!("{}.ready", file.display())).exists().then_some(()));
        let mut injector = display.screen().unwrap().open_injector().unwrap();
        // Without a window manager the keyboard goes to the window under the pointer.
        injector.move_to(Point::new(100, 100)).unwrap();
        Self { injector, file, _program: program, _directory: directory, _display: display }
    }

    fn expect(&self, text: &str) {
        let mut last = String::new();
        let arrived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually("the text", || {
                last = std::fs::read_to_string(&self.file).unwrap_or_default();
                (last.len() >= text.len()).then_some(())
            });
        }));
        assert_eq!(last, text);
        arrived.unwrap();
    }
}

#[test]
fn every_character_arrives() {
    let mut terminal = Terminal::new(None);
    let text = "Grüße, naïve 漢字 €😀\n";
    terminal.injector.text(text).unwrap();
    terminal.expect(text);
}

#[test]
fn every_character_arrives_time_and_again() {
    let mut terminal = Terminal::new(None);
    let mut all = String::new();
    for text in ["Ærø, señor 橋 ½\n", "né€ né€ né€\n", "tab\tand \"quotes\" {[|~\\]}\n", "ÄÖÜ äöü ß\n"]
    {
        terminal.injector.text(text).unwrap();
        all += text;
    }
    terminal.expect(&all);
}

#[test]
fn more_characters_than_there_are_free_keys_arrive() {
    let mut terminal = Terminal::new(None);
    let mut text: String = ('一'..='一').chain((0..300).filter_map(|n| char::from_u32(0x4e00 + n))).collect();
    text.push('\n');
    terminal.injector.text(&text).unwrap();
    terminal.expect(&text);
}

#[test]
fn another_layout_makes_no_difference() {
    for layout in ["de", "fr", "ru"] {
        let mut terminal = Terminal::new(Some(layout));
        let text = "zy@{[|]}~\\^`´ Grüße №5 привет €\n";
        terminal.injector.text(text).unwrap();
        terminal.expect(text);
    }
}
