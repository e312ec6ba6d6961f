//! The demo's desktop: a virtual X display, a window manager, and a terminal at a known place.

use anyhow::{Context as _, bail};
use host::screen::{Capture, Screen, ScreenError, VirtualDisplay};
use remote::Size;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// Where the terminal stands and how large it is, in pixels: about 100 columns of the font below.
const TERMINAL: (u32, u32, u32, u32) = (60, 50, 820, 440);

/// The terminal's background, as `-bg` has it.
const BACKGROUND: [u8; 3] = [0x1e, 0x1e, 0x2e];

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
        // There is no session whose manager it could look for. The terminal comes when it manages the
        // display: in between, the toolkit would wait 5 s for an answer that nobody gives.
        let mut window_manager = command(&display, "openbox", home)
            .args(["--sm-disable", "--startup", "touch .managed"])
            .spawn()
            .context("openbox can not be started: apt-get install openbox")?;
        let managed = home.join(".managed");
        until(
            "openbox manages the display",
            &mut [("openbox", &mut window_manager)],
            || Ok(managed.exists()),
        )
        .await?;
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
        let mut screen = display.screen()?.open_capture()?;
        let ready = home.join(".ready");
        let mut programs = [("openbox", &mut window_manager), ("xterm", &mut xterm)];
        until("the shell is shown", &mut programs, || Ok(ready.exists() && is_shown(screen.as_mut())?))
            .await?;
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

/// Waits until `condition` holds, as long as the programs run.
async fn until(
    what: &str,
    programs: &mut [(&str, &mut Child)],
    mut condition: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !condition()? {
        for (name, child) in programs.iter_mut() {
            if let Some(status) = child.try_wait()? {
                bail!("{name} ended: {status}");
            }
        }
        if Instant::now() > deadline {
            bail!("not within {} s: {what}", PATIENCE.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Whether the terminal is drawn and has its frame, without which it would not get the keyboard.
fn is_shown(screen: &mut dyn Capture) -> Result<bool, ScreenError> {
    let (x, y, width, height) = TERMINAL;
    let picture = screen.grab(0)?;
    let pixel = |x: u32, y: u32| {
        let at = y as usize * picture.stride + x as usize * 4;
        picture.bgrx.get(at..at + 3).map(|bgr| [bgr[2], bgr[1], bgr[0]])
    };
    let inside = pixel(x + width / 2, y + height / 2);
    let title = pixel(x + width / 4, y + 4);
    Ok(inside == Some(BACKGROUND) && title != inside && title != pixel(0, 0))
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
