//! Child processes that end with the value that stands for them.

use crate::wait::{eventually, eventually_async};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{self, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a child may take to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(3);

/// How much of the output a failing test shows.
const SHOWN: usize = 4_000;

/// A running program. Dropping it ends it: SIGTERM, then SIGKILL, and waits for it. Its output goes to
/// files, so that it never blocks on a full pipe, and is shown when the test fails.
#[derive(Debug)]
pub struct Child {
    name: String,
    child: process::Child,
    folder: TempDir,
}

impl Child {
    /// Starts `command` with its own empty scratch folder ([`folder`](Self::folder)), its output in files
    /// and a pipe as its input ([`say`](Self::say)).
    ///
    /// # Panics
    /// If it cannot be started: something that `tests/setup.sh` installs is missing.
    pub fn spawn(command: &mut Command) -> Self {
        Self::spawn_in(command, tempfile::tempdir().expect("a scratch folder"))
    }

    /// [`spawn`](Self::spawn) with a scratch folder that was prepared before.
    pub fn spawn_in(command: &mut Command, folder: TempDir) -> Self {
        let name = Path::new(command.get_program())
            .file_name()
            .unwrap_or(OsStr::new("?"))
            .to_string_lossy()
            .into_owned();
        let file = |name| File::create(folder.path().join(name)).expect("a file in the scratch folder");
        let child = command
            .stdin(Stdio::piped())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .unwrap_or_else(|e| panic!("{name}: {e}: run tests/setup.sh"));
        Self { name, child, folder }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where its output is, and what else belongs to it; removed with it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it has written to its standard output so far.
    pub fn stdout(&self) -> String {
        self.text("stdout")
    }

    /// What it has written to its standard error so far.
    pub fn stderr(&self) -> String {
        self.text("stderr")
    }

    fn text(&self, name: &str) -> String {
        let bytes = fs::read(self.folder().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Writes a line to its standard input.
    ///
    /// # Panics
    /// If it does not read any more.
    pub fn say(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("the input is a pipe");
        writeln!(input, "{line}").unwrap_or_else(|e| panic!("{} does not listen: {e}", self.name));
    }

    /// Waits until `condition` finds something.
    ///
    /// # Panics
    /// If it has found nothing within `limit`, or the child has ended.
    pub fn wait_for<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut condition: impl FnMut(&Self) -> Option<T>,
    ) -> T {
        let start = Instant::now();
        loop {
            // The status first: what a child wrote just before it ended counts.
            let ended = self.status();
            if let Some(found) = condition(self) {
                return found;
            }
            assert!(ended.is_none(), "{} ended ({}) before: {what}", self.name, ended.unwrap_or_default());
            assert!(start.elapsed() < limit, "{} did not within {limit:?}: {what}", self.name);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the file at `path` exists.
    pub fn wait_for_file(&mut self, path: &Path, limit: Duration) {
        self.wait_for(&format!("{} to exist", path.display()), limit, |_| path.exists().then_some(()));
    }

    /// How it ended, if it has.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child can be waited for")
    }

    /// Waits for its end.
    pub fn ended(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("{} to end", self.name);
        eventually(&what, limit, || self.status())
    }

    /// [`ended`](Self::ended) for tests whose own tasks must go on running meanwhile.
    pub async fn ended_async(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("{} to end", self.name);
        eventually_async(&what, limit, || self.status()).await
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        match kill(Pid::from_raw(self.child.id().cast_signed()), signal) {
            // Already gone, which is what most signals are for.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(e) => panic!("{}: {e}", self.name),
        }
    }

    /// Ends it as a drop does, and says how it took it.
    pub fn stop(&mut self) -> ExitStatus {
        if let Some(status) = self.status() {
            return status;
        }
        self.signal(Signal::SIGTERM);
        let asked = Instant::now();
        while asked.elapsed() < GRACE {
            if let Some(status) = self.status() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.signal(Signal::SIGKILL);
        self.child.wait().expect("our own child can be waited for")
    }
}

impl Drop for Child {
    #[expect(clippy::print_stderr, reason = "a failing test shows what its programs said")]
    fn drop(&mut self) {
        let status = self.stop();
        if std::thread::panicking() {
            for name in ["stdout", "stderr"] {
                let text = self.text(name);
                let from = (text.len().saturating_sub(SHOWN)..).find(|at| text.is_char_boundary(*at));
                let from = from.unwrap_or_default();
                eprintln!("--- {} of {} ({status})\n{}", name, self.name, &text[from..]);
            }
        }
    }
}
