//! What `token` and `user` have in common: a grant on the command line, and where it is kept.

use crate::config;
use clap::Args;
use policy::{Classes, Grant, Mode, Selector};
use std::path::Path;
use std::str::FromStr;
use store::{Seconds, Store};

/// What is allowed, and where.
#[derive(Debug, Clone, Args)]
pub(crate) struct GrantArgs {
    /// What it may do: class names with commas or spaces between, or "all".
    #[arg(long, value_name = "CLASSES")]
    scopes: Classes,

    /// On which machines: a selector like "id:office or tag:lab".
    #[arg(long, value_name = "SELECTOR", default_value = "all")]
    targets: Selector,

    /// The highest mode: plan, edit or bypass.
    #[arg(long, default_value = "edit")]
    mode: Mode,

    /// The toolsets it sees; without it those that the server offers.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    toolsets: Vec<String>,
}

impl From<GrantArgs> for Grant {
    fn from(args: GrantArgs) -> Self {
        Self { classes: args.scopes, targets: args.targets, mode: args.mode, toolsets: args.toolsets }
    }
}

/// How long something is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lifetime(Option<Seconds>);

impl Lifetime {
    pub(crate) fn end(self, now: Seconds) -> Option<Seconds> {
        self.0.map(|seconds| now.saturating_add(seconds))
    }
}

impl FromStr for Lifetime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "never" {
            return Ok(Self(None));
        }
        let wrong = || format!("{text:?} is no time; write it like 12h, 90d, or never");
        let (count, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
        let seconds: Seconds = match unit {
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return Err(wrong()),
        };
        let count: Seconds =
            count.parse().ok().filter(|count| (1..=100_000).contains(count)).ok_or_else(wrong)?;
        Ok(Self(Some(count * seconds)))
    }
}

/// The state of this machine's server.
pub(crate) fn open(state: Option<&Path>) -> anyhow::Result<Store> {
    Ok(Store::open(&config::state_root(state))?)
}

pub(crate) fn now() -> Seconds {
    web::Clock::system().now()
}

/// A time span, for people.
pub(crate) fn ago(seconds: Seconds) -> String {
    match seconds {
        ..60 => "just now".to_owned(),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_a_number_and_a_unit() {
        let end = |text: &str| text.parse::<Lifetime>().map(|lifetime| lifetime.end(1000));
        assert_eq!(end("90d"), Ok(Some(1000 + 90 * 86_400)));
        assert_eq!(end("12h"), Ok(Some(1000 + 12 * 3600)));
        assert_eq!(end("5m"), Ok(Some(1300)));
        assert_eq!(end("never"), Ok(None));
        for wrong in ["", "d", "90", "-1d", "0d", "1 d", "1w", "99999999999d", "1é"] {
            assert!(end(wrong).is_err(), "{wrong}");
        }
    }
}
