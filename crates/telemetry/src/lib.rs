//! Logging. Everything goes to standard error: standard output belongs to MCP and to results.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// The filter can not be understood.
#[derive(Debug, thiserror::Error)]
#[error("log filter {filter:?}: {reason}; try \"info\" or \"warn,client=debug\"")]
pub struct BadFilter {
    pub filter: String,
    pub reason: String,
}

/// Installs the process's log writer. Called once, by the composition root.
pub fn init(filter: &str, format: LogFormat) -> Result<(), BadFilter> {
    let parsed =
        EnvFilter::try_new(filter).map_err(|e| BadFilter { filter: filter.into(), reason: e.to_string() })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(std::io::stderr)
        .with_span_events(FmtSpan::NONE)
        .with_target(true);
    let installed = match format {
        LogFormat::Human => {
            builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    installed.map_err(|e| BadFilter { filter: filter.into(), reason: e.to_string() })
}
