//! An X server of our own, for machines without a screen.

use super::xauthority::{self, Cookie};
use super::{Screen, ScreenError, X11Screen, x11};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, mkdtemp};
use remote::Size;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The largest size that can be switched to; its memory is reserved at the start.
const ROOM: Size = Size::new(1920, 1200);
const START_LIMIT: Duration = Duration::from_secs(15);
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// Runs the server and ends it when our end of its standard input closes, which the kernel does for us
/// however we die. A death signal asked of the kernel would need unsafe code, and would come when the
/// *thread* that started the server ends.
const WATCHDOG: &str = r#"
command -v "$1" >/dev/null || exit 127
"$@" </dev/null &
server=$!
exec >&-
read -r _
kill "$server"
wait "$server"
"#;

/// A running X server that nobody sees. It ends with this value, and with this process.
///
/// It listens on a Unix socket only and lets in nobody without its cookie. Its size can be changed up to
/// 1920×1200, or the size it was started with, if it is Xvfb 1.20 or newer or Xvnc.
#[derive(Debug)]
pub struct VirtualDisplay {
    watchdog: Child,
    directory: PathBuf,
    cookie: Cookie,
    display: String,
}

impl VirtualDisplay {
    /// Starts Xvfb, or Xvnc where only that is installed, on a free display number. Blocks until it answers:
    /// some hundred milliseconds.
    ///
    /// Fails with [`ScreenError::NoVirtualServer`], which names the package to install or the server's own
    /// words.
    pub fn start(size: Size) -> Result<Self, ScreenError> {
        if size.is_empty() || size.width > 16384 || size.height > 16384 {
            return Err(ScreenError::NoVirtualServer(format!("no screen can be of size {size}")));
        }
        for server in [&xvfb as &dyn Fn(Size, &Path) -> Vec<String>, &xvnc] {
            if let Some(started) = Self::start_with(server, size)? {
                return Ok(started);
            }
        }
        Err(ScreenError::NoVirtualServer(
            "neither Xvfb nor Xvnc is installed; install the package xvfb (Debian, Ubuntu), \
             xorg-x11-server-Xvfb (Fedora) or xorg.xorgserver (Nix)"
                .to_owned(),
        ))
    }

    fn start_with(
        server: &dyn Fn(Size, &Path) -> Vec<String>,
        size: Size,
    ) -> Result<Option<Self>, ScreenError> {
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            ScreenError::NoVirtualServer(format!("{what}: {error}"))
        };
        let directory = mkdtemp(&std::env::temp_dir().join("deskhand-display-XXXXXX"))
            .map_err(|error| failed("no directory for the cookie", &error))?;
        let scratch = Scratch(directory);
        let cookie = Cookie::new(rand::random());
        xauthority::write(&scratch.0.join("Xauthority"), &xauthority::entry(&cookie))
            .map_err(|error| failed("no file for the cookie", &error))?;
        let log = File::create(scratch.0.join("server.log")).map_err(|error| failed("no log", &error))?;
        let mut watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "deskhand-display"])
            .args(server(size, &scratch.0.join("Xauthority")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            // Ctrl+C in our terminal is for us to act on.
            .process_group(0)
            .spawn()
            .map_err(|error| failed("sh", &error))?;
        let number = watchdog.stdout.take().and_then(|output| display_number(output, START_LIMIT));
        let mut started = Self {
            watchdog,
            directory: scratch.keep(),
            cookie,
            display: number.map(|number| format!(":{number}")).unwrap_or_default(),
        };
        if number.is_none() {
            let log = std::fs::read_to_string(started.directory.join("server.log")).unwrap_or_default();
            let missing = started.watchdog_code() == Some(127);
            drop(started);
            let last = log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
            return if missing { Ok(None) } else { Err(failed("it did not start", &last)) };
        }
        x11::prepare_virtual(&started.display, started.cookie, size)?;
        Ok(Some(started))
    }

    /// The exit code of the watchdog if it is over; it stays as long as nobody lets go of it.
    fn watchdog_code(&mut self) -> Option<i32> {
        // Its output is closed right before it ends or goes on waiting; give the former a moment.
        let deadline = Instant::now() + Duration::from_millis(100);
        loop {
            match self.watchdog.try_wait() {
                Ok(Some(status)) => return status.code(),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
                _ => return None,
            }
        }
    }

    /// `DISPLAY` for programs that shall run on it.
    pub fn display(&self) -> &str {
        &self.display
    }

    /// `XAUTHORITY` for programs that shall run on it: a file that only this user can read.
    pub fn xauthority(&self) -> PathBuf {
        self.directory.join("Xauthority")
    }

    /// The screen itself.
    pub fn screen(&self) -> Result<Arc<dyn Screen>, ScreenError> {
        X11Screen::open_with_cookie(&self.display, self.cookie)
    }
}

impl Drop for VirtualDisplay {
    fn drop(&mut self) {
        // The watchdog reads the end of its input and takes the server down.
        drop(self.watchdog.stdin.take());
        let deadline = Instant::now() + STOP_LIMIT;
        while let Ok(None) = self.watchdog.try_wait() {
            if Instant::now() >= deadline {
                let group = Pid::from_raw(self.watchdog.id() as i32);
                if let Err(error) = killpg(group, Signal::SIGKILL) {
                    tracing::warn!(%error, "a virtual display could not be ended");
                }
                drop(self.watchdog.wait());
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

/// A directory that goes unless kept.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Scratch {
    fn keep(mut self) -> PathBuf {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }
}

fn xvfb(size: Size, xauthority: &Path) -> Vec<String> {
    let room = Size::new(size.width.max(ROOM.width), size.height.max(ROOM.height));
    let mut arguments = vec!["Xvfb".to_owned()];
    arguments.extend(["-screen", "0"].map(str::to_owned));
    arguments.push(format!("{room}x24"));
    arguments.extend(shared_arguments(xauthority));
    arguments
}

fn xvnc(size: Size, xauthority: &Path) -> Vec<String> {
    let mut arguments = vec!["Xvnc".to_owned(), "-geometry".to_owned(), size.to_string()];
    // A VNC server that nobody can reach: no port, no socket.
    arguments.extend(["-depth", "24", "-SecurityTypes", "None", "-rfbport", "-1"].map(str::to_owned));
    arguments.extend(shared_arguments(xauthority));
    arguments
}

/// No network, our cookie, no screen saver, and the display number on standard output.
fn shared_arguments(xauthority: &Path) -> Vec<String> {
    let mut arguments = vec!["-auth".to_owned(), xauthority.to_string_lossy().into_owned()];
    arguments.extend(["-nolisten", "tcp", "-noreset", "-s", "0", "-displayfd", "1"].map(str::to_owned));
    arguments
}

/// The number that the server picked; `None` if it ends or takes too long.
fn display_number(mut output: ChildStdout, limit: Duration) -> Option<u32> {
    let deadline = Instant::now() + limit;
    let mut line = Vec::new();
    loop {
        let left = deadline.checked_duration_since(Instant::now())?;
        let mut waits = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::MAX);
        if poll(&mut waits, timeout).is_err() || waits[0].any() != Some(true) {
            continue;
        }
        let mut byte = [0; 1];
        match output.read(&mut byte) {
            Ok(1) if byte[0] == b'\n' => return std::str::from_utf8(&line).ok()?.trim().parse().ok(),
            Ok(1) if line.len() < 16 => line.push(byte[0]),
            _ => return None,
        }
    }
}
