//! The demo's desktop: a virtual X display, a window manager, and a terminal at a known place.

use anyhow::{Context as _, bail};
use host::screen::{Screen, VirtualDisplay};
use remote::Size;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// Where the terminal stands and how large it is, in pixels: about 100 columns of the font below.
const TERMINAL: (u32, u32, u32, u32) = (60, 50, 820, 440);

/// Until the programs have drawn themselves.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Desktop {
    // Programs go before the display they are on.
    xterm: Child,
    window_manager: Child,
    display: VirtualDisplay,
    home: PathBuf,
}

impl Desktop {
    /// `home`: the shell's folder; made here.
    pub(crate) async fn start(size: Size, home: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(home)?;
        // The shell says that it is ready by making this file.
        std::fs::write(home.join(".rc"), "PS1='deskhand:\\w$ '\ncd \"$HOME\"\n: > .ready\n")?;
        let display = VirtualDisplay::start(size)?;
        let mut window_manager = program(&display, "openbox", home)?;
        let mut xterm = {
            let (x, y, ..) = TERMINAL;
            let geometry = format!("100x26+{x}+{y}");
            let arguments = [
                "-geometry",
                &geometry,
                "-title",
                "Deskhand demo",
                "-fn",
                "8x13",
                "-fa",
                "DejaVu Sans Mono",
                "-fs",
                "10",
                "-bg",
                "#1e1e2e",
                "-fg",
                "#cdd6f4",
                "+sb",
                "-e",
                "bash",
                "--rcfile",
            ];
            let rc = home.join(".rc");
            let mut command = command(&display, "xterm", home);
            command.args(arguments).arg(rc).arg("-i");
            command.spawn().context("xterm can not be started: apt-get install xterm")?
        };
        let ready = home.join(".ready");
        let deadline = Instant::now() + PATIENCE;
        while !ready.exists() {
            for (name, child) in [("openbox", &mut window_manager), ("xterm", &mut xterm)] {
                if let Some(status) = child.try_wait()? {
                    bail!("{name} ended: {status}");
                }
            }
            if Instant::now() > deadline {
                bail!("the shell in the xterm did not start within {} s", PATIENCE.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(Self { xterm, window_manager, display, home: home.into() })
    }

    pub(crate) fn display(&self) -> &str {
        self.display.display()
    }

    pub(crate) fn screen(&self) -> anyhow::Result<Arc<dyn Screen>> {
        Ok(self.display.screen()?)
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// A pixel well inside the terminal.
    pub(crate) fn xterm_centre(&self) -> (u32, u32) {
        let (x, y, width, height) = TERMINAL;
        (x + width / 2, y + height / 2)
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        for child in [&mut self.xterm, &mut self.window_manager] {
            if let Err(error) = child.start_kill() {
                tracing::debug!(%error, "a program of the desktop had ended");
            }
        }
    }
}

fn program(display: &VirtualDisplay, name: &str, home: &Path) -> anyhow::Result<Child> {
    command(display, name, home)
        .spawn()
        .with_context(|| format!("{name} can not be started: apt-get install {name}"))
}

fn command(display: &VirtualDisplay, name: &str, home: &Path) -> Command {
    let mut command = Command::new(name);
    command
        .env("DISPLAY", display.display())
        .env("XAUTHORITY", display.xauthority())
        .env("HOME", home)
        .env_remove("XDG_CONFIG_HOME")
        .current_dir(home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command
}
