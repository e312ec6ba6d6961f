//! The machines known by name.

use crate::{SecretRef, SecretSource, SessionsError};
use remote::{Connector, Target};
use std::sync::Arc;

/// A configured machine: the target without its password, and where the password is.
#[derive(Debug, Clone, Default)]
pub struct TargetEntry {
    pub target: Target,
    /// Which connector opens it; `None` takes the first whose address syntax fits.
    pub protocol: Option<String>,
    pub password: Option<SecretRef>,
    /// What it is for, in the words of whoever configured it.
    pub description: String,
}

/// What may be told of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetSummary {
    pub name: String,
    pub protocol: &'static str,
    pub description: String,
    pub tags: Vec<String>,
    /// Whether a password is configured; without one a person at the peer is asked.
    pub has_password: bool,
    /// Handles of its open sessions.
    pub sessions: Vec<crate::SessionId>,
}

/// Targets, connectors and secrets: all that turns a name into something to open.
pub(crate) struct Book {
    pub(crate) connectors: Vec<Arc<dyn Connector>>,
    pub(crate) entries: Vec<TargetEntry>,
    pub(crate) secrets: Arc<dyn SecretSource>,
}

/// A machine that somebody wants to connect to. Its password is read when that was allowed.
pub(crate) struct Wanted {
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) target: Target,
    password: Option<SecretRef>,
}

impl Wanted {
    /// Reads the configured password into the target.
    pub(crate) fn unlock(mut self, book: &Book) -> Result<Self, SessionsError> {
        if let Some(reference) = &self.password {
            let target = self.target.name.clone();
            let secret =
                book.secrets.read(reference).map_err(|source| SessionsError::Secret { target, source })?;
            self.target.password = Some(secret);
        }
        Ok(self)
    }
}

impl Book {
    /// The target of that name; `None` if there is none.
    pub(crate) fn by_name(&self, name: &str) -> Result<Option<Wanted>, SessionsError> {
        let Some(entry) = self.entries.iter().find(|entry| entry.target.name == name) else {
            return Ok(None);
        };
        let connector = self.connector(entry.protocol.as_deref(), &entry.target.address)?;
        Ok(Some(Wanted { connector, target: entry.target.clone(), password: entry.password.clone() }))
    }

    /// A target for an address that a caller gave. The address of a configured target stands for that
    /// machine, so that what is ruled of the one is ruled of the other.
    pub(crate) fn by_address(&self, address: &str, protocol: Option<&str>) -> Result<Wanted, SessionsError> {
        let connector = self.connector(protocol, address)?;
        let configured =
            self.entries.iter().find(|entry| connector.same_machine(&entry.target.address, address));
        let target = Target {
            name: configured.map_or(address, |entry| &entry.target.name).to_owned(),
            address: address.to_owned(),
            tags: configured.map(|entry| entry.target.tags.clone()).unwrap_or_default(),
            ..Target::default()
        };
        Ok(Wanted { connector, target, password: None })
    }

    pub(crate) fn connector(
        &self,
        protocol: Option<&str>,
        address: &str,
    ) -> Result<Arc<dyn Connector>, SessionsError> {
        let mut reasons = Vec::new();
        for connector in &self.connectors {
            if protocol.is_some_and(|wanted| wanted != connector.protocol()) {
                continue;
            }
            match connector.check(address) {
                Ok(()) => return Ok(Arc::clone(connector)),
                Err(error) => reasons.push(format!("{}: {error}", connector.protocol())),
            }
        }
        if reasons.is_empty() {
            let known: Vec<_> = self.connectors.iter().map(|connector| connector.protocol()).collect();
            reasons.push(format!("known protocols: {}", known.join(", ")));
        }
        Err(SessionsError::NoConnector { address: address.to_owned(), reason: reasons.join("; ") })
    }
}
