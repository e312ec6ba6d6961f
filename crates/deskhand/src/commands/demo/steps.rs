//! Shows what is being done, how long it took, and what came of it.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// A list of steps on standard output. On a terminal the step under way turns a spinner.
pub(crate) struct Steps {
    interactive: bool,
    started: Instant,
}

/// A step under way. Dropping it unfinished leaves no trace but a removed spinner.
pub(crate) struct Step {
    title: String,
    started: Instant,
    spinner: Option<ProgressBar>,
}

impl Steps {
    pub(crate) fn new() -> Self {
        Self { interactive: std::io::stdout().is_terminal(), started: Instant::now() }
    }

    pub(crate) fn begin(&self, title: &str) -> Step {
        let spinner = self.interactive.then(|| {
            let bar = ProgressBar::new_spinner();
            let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.set_message(title.to_owned());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Step { title: title.into(), started: Instant::now(), spinner }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

impl Step {
    /// The step succeeded; `outcome` says what came of it.
    pub(crate) fn done(self, outcome: &str) {
        if let Some(spinner) = self.spinner {
            spinner.finish_and_clear();
        }
        let ms = self.started.elapsed().as_millis();
        say(&format!("✓ {:<34} {ms:>6} ms   {outcome}", self.title));
    }
}

/// One line on standard output; a closed pipe is the reader's business.
pub(crate) fn say(line: &str) {
    let written = writeln!(std::io::stdout(), "{line}");
    drop(written);
}
