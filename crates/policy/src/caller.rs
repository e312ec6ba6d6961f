//! Whoever a credential stands for.

use crate::{Classes, Mode, Selector};
use serde::{Deserialize, Serialize};

/// What stands behind a credential, for people who read the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CallerKind {
    /// A model, by way of an MCP client.
    Model,
    /// A person in the viewer.
    Person,
    /// A program: the shell, the API.
    Script,
}

impl CallerKind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Person => "person",
            Self::Script => "script",
        }
    }
}

/// What a credential allows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grant {
    pub classes: Classes,
    /// The machines it is good for.
    pub targets: Selector,
    /// The highest mode it acts in.
    #[serde(default)]
    pub mode: Mode,
    /// The toolsets it sees; none for those that the server offers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub toolsets: Vec<String>,
}

impl Grant {
    /// Everything, everywhere: what a person at this machine's own shell has.
    pub fn everything() -> Self {
        Self { classes: Classes::ALL, targets: Selector::all(), mode: Mode::Bypass, toolsets: Vec::new() }
    }
}

/// Whoever calls. Authenticated by an edge; everything behind it trusts these values.
#[derive(Debug, Clone, PartialEq)]
pub struct Caller {
    /// Names the credential in the audit log: never the credential itself.
    pub credential: String,
    /// Whom the credential was given to.
    pub name: String,
    pub kind: CallerKind,
    pub grant: Grant,
}

impl Caller {
    /// Whoever started this process: it could do all of it without us, too.
    pub fn local(name: impl Into<String>, kind: CallerKind) -> Self {
        Self { credential: "local".to_owned(), name: name.into(), kind, grant: Grant::everything() }
    }
}
