//! Credentials that a person stopped.

use crate::SessionsError;
use crate::live::lock;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Stopped credentials at a time, at most.
const MOST_STOPS: usize = 4096;

/// A credential that may do nothing until a person lets it go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    pub credential: String,
    /// Who stopped it.
    pub by: String,
    /// The machine where.
    pub machine: String,
    pub ago: Duration,
}

#[derive(Debug)]
struct Entry {
    by: String,
    machine: String,
    since: Instant,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Stops {
    stopped: Mutex<HashMap<String, Entry>>,
    changes: watch::Sender<()>,
}

impl Stops {
    pub(crate) fn stop(&self, credential: &str, by: &str, machine: &str) -> Result<(), SessionsError> {
        let mut stopped = lock(&self.stopped);
        if stopped.len() >= MOST_STOPS && !stopped.contains_key(credential) {
            return Err(SessionsError::TooManyStops { limit: MOST_STOPS });
        }
        let entry = Entry { by: by.to_owned(), machine: machine.to_owned(), since: Instant::now() };
        stopped.insert(credential.to_owned(), entry);
        drop(stopped);
        self.changes.send_replace(());
        Ok(())
    }

    /// `false` for one that was not stopped.
    pub(crate) fn let_go_on(&self, credential: &str) -> bool {
        lock(&self.stopped).remove(credential).is_some()
    }

    pub(crate) fn get(&self, credential: &str) -> Option<Stop> {
        lock(&self.stopped).get_key_value(credential).map(stop)
    }

    pub(crate) fn all(&self) -> Vec<Stop> {
        let mut all: Vec<_> = lock(&self.stopped).iter().map(stop).collect();
        all.sort_by(|one, other| one.credential.cmp(&other.credential));
        all
    }

    pub(crate) fn check(&self, credential: &str) -> Result<(), SessionsError> {
        match self.get(credential) {
            Some(Stop { by, ago, .. }) => Err(SessionsError::Stopped { by, since: ago }),
            None => Ok(()),
        }
    }

    /// Returns when the credential is stopped. Cancel safe.
    pub(crate) async fn stopped(&self, credential: &str) -> Stop {
        let mut changes = self.changes.subscribe();
        loop {
            if let Some(stop) = self.get(credential) {
                return stop;
            }
            if changes.changed().await.is_err() {
                // The sender lives in `self`.
                std::future::pending::<()>().await;
            }
        }
    }
}

fn stop((credential, entry): (&String, &Entry)) -> Stop {
    Stop {
        credential: credential.clone(),
        by: entry.by.clone(),
        machine: entry.machine.clone(),
        ago: entry.since.elapsed(),
    }
}
