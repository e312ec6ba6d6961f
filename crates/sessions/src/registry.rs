//! What is open, and every call on it.

mod connect;
mod desktop;

pub use connect::{ConnectRequest, ConnectTo, Connected};

use crate::gate::Tasks;
use crate::live::{InUse, Live, lock};
use crate::targets::Book;
use crate::{SecretSource, SessionId, SessionsConfig, SessionsError, TargetEntry, TargetSummary};
use remote::{Connector, Display, DisplayId, PeerDetails, Permission, Point, SessionState};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A closing session may take this long to say good-bye.
const GOOD_BYE: Duration = Duration::from_secs(3);

/// All sessions of a gateway. Dropping it ends them and every task of theirs; [`shutdown`](Self::shutdown)
/// also says good-bye to the peers.
pub struct Sessions {
    config: SessionsConfig,
    book: Book,
    live: LiveMap,
    tasks: Tasks,
}

type LiveMap = Arc<Mutex<BTreeMap<SessionId, Arc<Live>>>>;

/// What a list says of a session.
#[derive(Debug, Clone)]
pub struct SessionSummary {
    pub id: SessionId,
    pub target: String,
    pub protocol: &'static str,
    pub state: SessionState,
    /// Why it is closed.
    pub reason: Option<String>,
    pub age: Duration,
    /// Time since the last call on it.
    pub idle: Duration,
}

/// All that is known of a session.
#[derive(Debug, Clone)]
pub struct SessionStatus {
    pub summary: SessionSummary,
    pub address: String,
    pub peer: PeerDetails,
    pub denied: Vec<Permission>,
    pub displays: Vec<Display>,
    /// The pointer in native pixels of its display.
    pub cursor: Option<(DisplayId, Point)>,
}

impl Sessions {
    /// Wants to be called within a tokio runtime.
    pub fn new(
        config: SessionsConfig,
        connectors: Vec<Arc<dyn Connector>>,
        targets: Vec<TargetEntry>,
        secrets: Arc<dyn SecretSource>,
    ) -> Self {
        let book = Book { connectors, entries: targets, secrets };
        Self { config, book, live: LiveMap::default(), tasks: Tasks::default() }
    }

    pub fn config(&self) -> &SessionsConfig {
        &self.config
    }

    /// The configured targets.
    pub fn targets(&self) -> Vec<TargetSummary> {
        let open = self.open_sessions();
        let summary = |entry: &TargetEntry| TargetSummary {
            name: entry.target.name.clone(),
            protocol: self
                .book
                .connector(entry.protocol.as_deref(), &entry.target.address)
                .map_or("unknown", |connector| connector.protocol()),
            description: entry.description.clone(),
            tags: entry.target.tags.clone(),
            has_password: entry.password.is_some(),
            sessions: open
                .iter()
                .filter(|live| live.origin.target == entry.target.name)
                .map(|live| live.id.clone())
                .collect(),
        };
        self.book.entries.iter().map(summary).collect()
    }

    /// Every session, those closed a short while ago included; oldest first.
    pub fn list(&self) -> Vec<SessionSummary> {
        let mut sessions: Vec<_> = lock(&self.live).values().cloned().collect();
        sessions.sort_by_key(|live| live.origin.number);
        sessions.iter().map(|live| summary(live)).collect()
    }

    pub fn status(&self, session: Option<&SessionId>) -> Result<SessionStatus, SessionsError> {
        let live = match session {
            Some(id) => self.known(id)?,
            None => Arc::clone(&*self.find(None)?),
        };
        let desktop = live.session.desktop();
        Ok(SessionStatus {
            summary: summary(&live),
            address: live.origin.address.clone(),
            peer: live.session.peer(),
            denied: live.session.permissions().denied,
            displays: desktop.map(remote::Desktop::displays).unwrap_or_default(),
            cursor: desktop.and_then(|desktop| desktop.cursor().position),
        })
    }

    /// Closes a session; tells which. One that is closed already stays so.
    pub async fn disconnect(&self, session: Option<&SessionId>) -> Result<SessionId, SessionsError> {
        let live = match session {
            Some(id) => self.known(id)?,
            None => Arc::clone(&*self.find(None)?),
        };
        if live.ended().is_none() {
            live.end("disconnected by the caller".to_owned(), None);
            close(&live).await;
        }
        Ok(live.id.clone())
    }

    /// Closes every session and waits until all tasks ended.
    pub async fn shutdown(&self) {
        let open = self.open_sessions();
        let mut closing = tokio::task::JoinSet::new();
        for live in open {
            live.end("the gateway is shutting down".to_owned(), None);
            closing.spawn(async move { close(&live).await });
        }
        while closing.join_next().await.is_some() {}
        self.tasks.stop();
        self.tasks.ended().await;
    }

    /// The session meant: the named one, or the only open one.
    fn find(&self, session: Option<&SessionId>) -> Result<InUse, SessionsError> {
        let live = match session {
            Some(id) => self.known(id)?,
            None => self.only()?,
        };
        live.open()?;
        Ok(live.in_use())
    }

    fn known(&self, id: &SessionId) -> Result<Arc<Live>, SessionsError> {
        lock(&self.live).get(id).cloned().ok_or_else(|| SessionsError::UnknownSession(id.clone()))
    }

    fn only(&self) -> Result<Arc<Live>, SessionsError> {
        let mut open = self.open_sessions();
        match open.len() {
            1 => Ok(open.swap_remove(0)),
            0 => Err(SessionsError::NoneOpen),
            _ => {
                let open = open.iter().map(|live| (live.id.clone(), live.origin.target.clone())).collect();
                Err(SessionsError::SeveralOpen { open })
            }
        }
    }

    fn open_sessions(&self) -> Vec<Arc<Live>> {
        lock(&self.live).values().filter(|live| live.open().is_ok()).cloned().collect()
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").field("live", &lock(&self.live).len()).finish_non_exhaustive()
    }
}

fn summary(live: &Live) -> SessionSummary {
    SessionSummary {
        id: live.id.clone(),
        target: live.origin.target.clone(),
        protocol: live.origin.protocol,
        state: live.state(),
        reason: live.ended().map(|ended| ended.reason.clone()),
        age: live.opened.elapsed(),
        idle: live.idle_since().map_or(Duration::ZERO, |since| since.elapsed()),
    }
}

/// Says good-bye to the peer, within bounds.
async fn close(live: &Live) {
    if tokio::time::timeout(GOOD_BYE, live.session.close()).await.is_err() {
        tracing::warn!(session = live.id.short(), "the session did not close in time");
    }
}
