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

impl Book {
    /// The target of that name with its password read.
    pub(crate) fn by_name(&self, name: &str) -> Result<(Arc<dyn Connector>, Target), SessionsError> {
        let entry = self.entries.iter().find(|entry| entry.target.name == name).ok_or_else(|| {
            let known = self.entries.iter().map(|entry| entry.target.name.clone()).collect();
            SessionsError::UnknownTarget { name: name.to_owned(), known }
        })?;
        let connector = self.connector(entry.protocol.as_deref(), &entry.target.address)?;
        let mut target = entry.target.clone();
        if let Some(reference) = &entry.password {
            let secret = self
                .secrets
                .read(reference)
                .map_err(|source| SessionsError::Secret { target: name.to_owned(), source })?;
            target.password = Some(secret);
        }
        Ok((connector, target))
    }

    /// A target for an address that a caller gave.
    pub(crate) fn by_address(
        &self,
        address: &str,
        protocol: Option<&str>,
    ) -> Result<(Arc<dyn Connector>, Target), SessionsError> {
        let connector = self.connector(protocol, address)?;
        let target = Target { name: address.to_owned(), address: address.to_owned(), ..Target::default() };
        Ok((connector, target))
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
