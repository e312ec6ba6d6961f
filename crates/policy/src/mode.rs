//! Presets of what is allowed.

use crate::{Class, Classes};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How much a caller may do at a machine, from nothing to everything. A tool can only lower it; raising
/// needs a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing.
    Disabled,
    /// Looking, and typed operations that only read.
    Plan,
    /// Acting, writing with backups, execution.
    #[default]
    Edit,
    /// Like [`Edit`](Self::Edit), without backups and without asking a person.
    Bypass,
}

impl Mode {
    pub const ALL: [Self; 4] = [Self::Disabled, Self::Plan, Self::Edit, Self::Bypass];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Plan => "plan",
            Self::Edit => "edit",
            Self::Bypass => "bypass",
        }
    }

    /// The classes that the mode leaves open.
    pub const fn classes(self) -> Classes {
        match self {
            Self::Disabled => Classes::NONE,
            Self::Plan => Classes::of(&[Class::Observe, Class::FilesRead]),
            Self::Edit | Self::Bypass => Classes::ALL,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no mode {name:?}; there are: disabled, plan, edit, bypass")]
pub struct UnknownMode {
    pub name: String,
}

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(name: &str) -> Result<Self, UnknownMode> {
        let known = Self::ALL.into_iter().find(|mode| mode.name() == name);
        known.ok_or_else(|| UnknownMode { name: name.chars().take(40).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_higher_mode_leaves_more_open() {
        for pair in Mode::ALL.windows(2) {
            assert!(pair[0] < pair[1]);
            assert_eq!(pair[0].classes().without(pair[1].classes()), Classes::NONE);
        }
    }

    #[test]
    fn modes_have_names() {
        for mode in Mode::ALL {
            assert_eq!(mode.name().parse(), Ok(mode));
            assert_eq!(serde_json::to_string(&mode).unwrap(), format!("{:?}", mode.name()));
        }
        assert!("root".parse::<Mode>().is_err());
    }
}
