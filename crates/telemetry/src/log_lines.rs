//! Where log lines go and how they look. Never standard output: that belongs to MCP and to results.

use crate::journal::{JournalLayer, JournalSink};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use systemd_journal_logger::JournalLog;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    #[default]
    Human,
    /// One JSON object a line.
    Json,
    /// To journald, each field its own; to standard error where there is no journald.
    Journal,
}

/// The filter can not be understood.
#[derive(Debug, thiserror::Error)]
#[error("log filter {filter:?}: {reason}; try \"info\" or \"warn,client=debug\"")]
pub struct BadFilter {
    pub filter: String,
    pub reason: String,
}

/// Changes the filter while the process runs, and tells how much was logged.
#[derive(Debug, Clone)]
pub struct LogControl {
    filter: reload::Handle<EnvFilter, Registry>,
    tallies: Arc<LogTallies>,
}

impl LogControl {
    /// Replaces the filter; the old one stays where the new one can not be understood.
    pub fn set_filter(&self, filter: &str) -> Result<(), BadFilter> {
        let parsed = parse_filter(filter)?;
        self.filter.reload(parsed).map_err(|error| bad(filter, &error))
    }

    pub fn tallies(&self) -> &Arc<LogTallies> {
        &self.tallies
    }
}

/// How many lines were logged that somebody should look at.
#[derive(Debug, Default)]
pub struct LogTallies {
    errors: AtomicU64,
    warnings: AtomicU64,
}

impl LogTallies {
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    pub fn warnings(&self) -> u64 {
        self.warnings.load(Ordering::Relaxed)
    }
}

struct Tally(Arc<LogTallies>);

impl<S: Subscriber> Layer<S> for Tally {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        match *event.metadata().level() {
            Level::ERROR => self.0.errors.fetch_add(1, Ordering::Relaxed),
            Level::WARN => self.0.warnings.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
    }
}

/// Whether standard error is the journal, as systemd connects it (`JOURNAL_STREAM`).
pub fn under_journal() -> bool {
    systemd_journal_logger::connected_to_journal()
}

/// Whether `filter` can be understood.
pub fn parse_filter(filter: &str) -> Result<EnvFilter, BadFilter> {
    EnvFilter::try_new(filter).map_err(|error| bad(filter, &error))
}

fn bad(filter: &str, error: &dyn std::fmt::Display) -> BadFilter {
    BadFilter { filter: filter.into(), reason: error.to_string() }
}

/// Installs the process's log writer. Called once, by the composition root.
pub fn init(filter: &str, format: LogFormat) -> Result<LogControl, BadFilter> {
    let (filter_layer, handle) = reload::Layer::new(parse_filter(filter)?);
    let tallies = Arc::new(LogTallies::default());
    Registry::default()
        .with(filter_layer)
        .with(Tally(Arc::clone(&tallies)))
        .with(writer(format))
        .try_init()
        .map_err(|error| bad(filter, &error))?;
    Ok(LogControl { filter: handle, tallies })
}

fn writer<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let stderr = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(true);
    match format {
        LogFormat::Json => stderr.json().flatten_event(true).boxed(),
        LogFormat::Journal => match JournalLog::new() {
            Ok(journal) => JournalLayer::new(JournalSink(journal)).boxed(),
            Err(_) => stderr.with_ansi(false).boxed(),
        },
        LogFormat::Human => stderr.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).boxed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_can_not_be_read_says_what_would_do() {
        for good in ["info", "warn,client=debug", "off"] {
            assert!(parse_filter(good).is_ok(), "{good}");
        }
        let error = parse_filter("client=loud").unwrap_err().to_string();
        assert!(error.contains("client=loud") && error.contains("try"), "{error}");
    }

    #[test]
    fn warnings_and_errors_are_counted() {
        let tallies = Arc::new(LogTallies::default());
        let subscriber = Registry::default().with(Tally(Arc::clone(&tallies)));
        tracing::subscriber::with_default(subscriber, || {
            tracing::error!("a");
            tracing::warn!("b");
            tracing::warn!("c");
            tracing::info!("d");
        });
        assert_eq!((tallies.errors(), tallies.warnings()), (1, 2));
    }

    #[test]
    fn a_new_filter_takes_effect_and_a_bad_one_changes_nothing() {
        let (layer, handle) = reload::Layer::new(parse_filter("warn").unwrap());
        let control = LogControl { filter: handle, tallies: Arc::default() };
        let subscriber = Registry::default().with(layer).with(Tally(Arc::clone(&control.tallies)));
        tracing::subscriber::with_default(subscriber, || {
            assert!(!tracing::enabled!(Level::DEBUG));
            control.set_filter("debug").unwrap();
            assert!(tracing::enabled!(Level::DEBUG));
            assert!(control.set_filter("a=b=c").is_err());
            assert!(tracing::enabled!(Level::DEBUG));
        });
    }
}
