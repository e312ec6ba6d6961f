//! A real X11 desktop: Xvfb, a window manager, and what the test puts on it.

use crate::process::Child;
use std::process::{Command, Output};
use std::time::Duration;

const START: Duration = Duration::from_secs(20);

/// An X server with openbox on a display of its own. Dropping it ends both, and every program on it.
#[derive(Debug)]
pub struct Desktop {
    display: String,
    // In the order in which they must go: clients before their server.
    openbox: Child,
    server: Child,
}

impl Desktop {
    /// 1280×800, 24 bits.
    pub fn start() -> Self {
        Self::sized(1280, 800)
    }

    /// Ready when this returns: the window manager runs.
    pub fn sized(width: u16, height: u16) -> Self {
        let screen = format!("{width}x{height}x24");
        let mut server = Child::spawn(Command::new("Xvfb").args([
            // The server picks a free number and writes it to its standard output.
            "-displayfd",
            "1",
            "-screen",
            "0",
            &screen,
            "-nolisten",
            "tcp",
            "-noreset",
        ]));
        let number = server.wait_for("the display's number", START, |server| {
            let out = server.stdout();
            out.ends_with('\n').then(|| out.trim().to_owned())
        });
        let display = format!(":{number}");
        let mut openbox = Child::spawn(Command::new("openbox").arg("--sm-disable").env("DISPLAY", &display));
        openbox.wait_for("openbox to manage the display", START, |_| {
            let mut ask = Command::new("xprop");
            ask.args(["-root", "_NET_SUPPORTING_WM_CHECK"]).env("DISPLAY", &display);
            let answer = ask.output().expect("xprop is installed by tests/setup.sh");
            String::from_utf8_lossy(&answer.stdout).contains("window id").then_some(())
        });
        Self { display, openbox, server }
    }

    /// For `DISPLAY`, for example `:3`.
    pub fn display(&self) -> &str {
        &self.display
    }

    /// Process ids: the X server and its window manager.
    pub fn processes(&self) -> [u32; 2] {
        [self.server.id(), self.openbox.id()]
    }

    /// Starts a program on the desktop.
    pub fn spawn(&self, command: &mut Command) -> Child {
        Child::spawn(command.env("DISPLAY", &self.display))
    }

    /// Waits until a window of `program` with this title is on the screen.
    pub fn wait_for_window(&self, program: &mut Child, title: &str) {
        program.wait_for("the window to be shown", START, |_| {
            let found =
                self.try_run("xdotool", &["search", "--onlyvisible", "--name", &format!("^{title}$")]);
            found.status.success().then_some(())
        });
    }

    /// Starts an xterm: 80×24 in a fixed font unless `arguments` say otherwise.
    pub fn xterm(&self, arguments: &[&str]) -> Child {
        self.spawn(Command::new("xterm").args(["-fn", "fixed", "+sb"]).args(arguments))
    }

    /// Runs a program on the desktop to its end, for example `xdotool getmouselocation`.
    ///
    /// # Panics
    /// If it cannot be started or fails.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.try_run(program, arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
        text
    }

    /// [`run`](Self::run) of what may fail.
    pub fn try_run(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.args(arguments).env("DISPLAY", &self.display);
        command.output().unwrap_or_else(|e| panic!("{program}: {e}: run tests/setup.sh"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_desktop_has_its_size_takes_input_and_shows_windows() {
        let desktop = Desktop::sized(640, 480);
        let size = desktop.run("xdotool", &["getdisplaygeometry"]);
        assert_eq!(size.trim(), "640 480");
        desktop.run("xdotool", &["mousemove", "123", "45"]);
        let place = desktop.run("xdotool", &["getmouselocation"]);
        assert!(place.starts_with("x:123 y:45 "), "{place}");
        let mut xterm = desktop.xterm(&["-title", "beacon"]);
        desktop.wait_for_window(&mut xterm, "beacon");
    }

    #[test]
    fn two_desktops_do_not_meet_and_leave_no_process() {
        let (one, two) = (Desktop::sized(320, 240), Desktop::sized(320, 240));
        assert_ne!(one.display(), two.display());
        let processes = one.processes();
        drop(one);
        for id in processes {
            assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
        }
        two.run("xprop", &["-root", "_NET_SUPPORTING_WM_CHECK"]);
    }
}
