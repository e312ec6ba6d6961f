//! Where this process's log lines go.

use crate::config::{LogFormat, LogSection};
use telemetry::{BadFilter, LogControl};

/// What was decided at the start, so that a reload decides alike.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    control: LogControl,
    /// Given on the command line: the configuration does not change it.
    fixed: bool,
    usual: &'static str,
}

/// Begins to log: as the command line says, else as configured, else as usual for the command. A `service`
/// tells what it does; the others only what goes wrong.
pub(crate) fn start(
    section: Option<&LogSection>,
    filter: Option<&str>,
    format: Option<LogFormat>,
    service: bool,
) -> Result<Log, BadFilter> {
    // rmcp tells of every message what our own lines tell of every call.
    let usual = if service { "info,rmcp=warn" } else { "warn" };
    let configured = section.and_then(|section| section.filter.as_deref());
    let format = format.or(section.map(|section| section.format)).unwrap_or_default();
    let format = match format {
        LogFormat::Auto if service && telemetry::under_journal() => telemetry::LogFormat::Journal,
        LogFormat::Auto | LogFormat::Human => telemetry::LogFormat::Human,
        LogFormat::Json => telemetry::LogFormat::Json,
        LogFormat::Journal => telemetry::LogFormat::Journal,
    };
    let control = telemetry::init(filter.or(configured).unwrap_or(usual), format)?;
    Ok(Log { control, fixed: filter.is_some(), usual })
}

impl Log {
    /// Takes a configuration that was read again.
    pub(crate) fn adopt(&self, section: &LogSection) -> Result<(), BadFilter> {
        if self.fixed {
            return Ok(());
        }
        self.control.set_filter(section.filter.as_deref().unwrap_or(self.usual))
    }

    pub(crate) fn control(&self) -> &LogControl {
        &self.control
    }
}
