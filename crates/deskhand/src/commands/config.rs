//! `deskhand config`: what is configured, and what could be.

use crate::cli::ConfigCommand;
use crate::config::{self, Config, Settings};
use std::io::Write as _;

pub(crate) fn run(command: ConfigCommand) -> anyhow::Result<bool> {
    let mut out = std::io::stdout().lock();
    match command {
        ConfigCommand::Example => write!(out, "{}", config::example())?,
        ConfigCommand::Schema => writeln!(out, "{:#}", Config::schema())?,
        ConfigCommand::Show(args) => {
            write!(out, "{}", config::show(&Config::load(&args, Settings::default())?))?;
        }
        ConfigCommand::Check(args) => match Config::load(&args, Settings::default()) {
            Ok(loaded) => match loaded.file {
                Some(file) => writeln!(out, "{}: no problems", file.display())?,
                None => writeln!(out, "no problems; there is no configuration file")?,
            },
            Err(problems) => {
                writeln!(out, "{problems}")?;
                return Ok(false);
            }
        },
    }
    out.flush()?;
    Ok(true)
}
