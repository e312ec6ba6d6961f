//! MCP sessions of the revisions that have them, and whose they are.

use super::{HttpConfig, HttpCounters, Limit, lock};
use axum::http::request::Parts;
use futures_util::stream::{self, BoxStream, Stream, StreamExt as _};
use policy::Caller;
use rmcp::model::{ClientJsonRpcMessage, GetExtensions as _, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_server::session::local::{
    LocalSessionManager, LocalSessionManagerError,
};
use rmcp::transport::streamable_http_server::session::{ServerSseMessage, SessionId};
use rmcp::transport::streamable_http_server::{RestoreOutcome, SessionManager};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// rmcp's sessions with an owner each.
#[derive(Debug)]
pub(super) struct OwnedSessions {
    inner: LocalSessionManager,
    owners: Mutex<Owners>,
    counters: Arc<HttpCounters>,
}

/// Why a session can not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionFault {
    #[error(transparent)]
    Local(#[from] LocalSessionManagerError),
    #[error("the request did not come through the router")]
    Unrouted,
}

/// Where a session leaves what answers a request; its response is made of it elsewhere.
#[derive(Clone, Default)]
pub(super) struct AnswerSlot(Arc<Mutex<Option<BoxStream<'static, Arc<ServerJsonRpcMessage>>>>>);

impl AnswerSlot {
    pub(super) fn take(&self) -> Option<BoxStream<'static, Arc<ServerJsonRpcMessage>>> {
        lock(&self.0).take()
    }

    fn fill(&self, messages: impl Stream<Item = ServerSseMessage> + Send + 'static) {
        *lock(&self.0) = Some(messages.filter_map(async |event| event.message).boxed());
    }
}

impl OwnedSessions {
    pub(super) fn new(config: &HttpConfig) -> Arc<Self> {
        let mut inner = LocalSessionManager::default();
        inner.session_config.keep_alive = Some(config.session_idle);
        // An event without an id is not resumed, so nothing has to announce one.
        inner.session_config.sse_retry = None;
        let owners = Mutex::new(Owners { limit: config.max_sessions, sessions: HashMap::new(), uses: 0 });
        Arc::new(Self { inner, owners, counters: Arc::clone(&config.counters) })
    }

    /// Whether that credential opened that session. Counts as a use of it.
    pub(super) fn belongs(&self, id: &str, credential: &str) -> bool {
        lock(&self.owners).used(id, credential)
    }
}

impl SessionManager for OwnedSessions {
    type Error = SessionFault;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), SessionFault> {
        Ok(self.inner.create_session().await?)
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, SessionFault> {
        let parts = parts(&message).ok_or(SessionFault::Unrouted)?;
        let caller = parts.extensions.get::<Arc<Caller>>().cloned().ok_or(SessionFault::Unrouted)?;
        let slot = parts.extensions.get::<AnswerSlot>().cloned().ok_or(SessionFault::Unrouted)?;
        let response = self.inner.initialize_session(id, message).await?;
        let displaced = lock(&self.owners).add(Arc::clone(id), &caller.credential);
        self.counters.sessions_opened.add_one();
        for id in displaced {
            self.counters.sessions_displaced.add_one();
            self.inner.close_session(&id).await?;
        }
        slot.fill(stream::iter([ServerSseMessage::from_message(response.clone())]));
        Ok(response)
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, SessionFault> {
        Ok(self.inner.has_session(id).await?)
    }

    async fn close_session(&self, id: &SessionId) -> Result<(), SessionFault> {
        lock(&self.owners).sessions.remove(id);
        Ok(self.inner.close_session(id).await?)
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, SessionFault> {
        let slot = parts(&message).and_then(|parts| parts.extensions.get::<AnswerSlot>().cloned());
        let slot = slot.ok_or(SessionFault::Unrouted)?;
        slot.fill(self.inner.create_stream(id, message).await?);
        Ok(stream::empty())
    }

    async fn accept_message(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<(), SessionFault> {
        Ok(self.inner.accept_message(id, message).await?)
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, SessionFault> {
        Ok(self.inner.create_standalone_stream(id).await?)
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, SessionFault> {
        Ok(self.inner.resume(id, last_event_id).await?)
    }

    async fn restore_session(&self, _id: SessionId) -> Result<RestoreOutcome<Self::Transport>, SessionFault> {
        Ok(RestoreOutcome::NotSupported)
    }
}

fn parts(message: &ClientJsonRpcMessage) -> Option<&Parts> {
    match message {
        ClientJsonRpcMessage::Request(request) => request.request.extensions().get::<Parts>(),
        _ => None,
    }
}

/// Whose sessions there are.
#[derive(Debug)]
struct Owners {
    limit: Limit,
    sessions: HashMap<SessionId, Owner>,
    /// Counts, in place of a clock.
    uses: u64,
}

#[derive(Debug)]
struct Owner {
    credential: String,
    /// The number of its last use.
    used: u64,
}

impl Owners {
    /// Adds a session; gives those that have to end for it.
    fn add(&mut self, id: SessionId, credential: &str) -> Vec<SessionId> {
        let mut displaced = Vec::new();
        let own = |owner: &Owner| owner.credential == credential;
        if self.sessions.values().filter(|owner| own(owner)).count() >= self.limit.each {
            displaced.extend(self.remove_oldest(own));
        } else if self.sessions.len() >= self.limit.all {
            displaced.extend(self.remove_oldest(|_| true));
        }
        self.uses += 1;
        self.sessions.insert(id, Owner { credential: credential.to_owned(), used: self.uses });
        displaced
    }

    fn remove_oldest(&mut self, which: impl Fn(&Owner) -> bool) -> Option<SessionId> {
        let candidates = self.sessions.iter().filter(|(_, owner)| which(owner));
        let oldest = candidates.min_by_key(|(_, owner)| owner.used).map(|(id, _)| Arc::clone(id))?;
        self.sessions.remove(&oldest);
        Some(oldest)
    }

    fn used(&mut self, id: &str, credential: &str) -> bool {
        self.uses += 1;
        match self.sessions.get_mut(id) {
            Some(owner) if owner.credential == credential => {
                owner.used = self.uses;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners(each: usize, all: usize) -> Owners {
        Owners { limit: Limit { each, all }, sessions: HashMap::new(), uses: 0 }
    }

    #[test]
    fn the_session_not_used_for_longest_makes_room_within_its_credential_first() {
        let mut owners = owners(2, 3);
        assert!(owners.add("a1".into(), "a").is_empty());
        assert!(owners.add("b1".into(), "b").is_empty());
        assert!(owners.add("a2".into(), "a").is_empty());
        assert!(owners.used("a1", "a"));
        assert_eq!(owners.add("a3".into(), "a"), ["a2".into()]);
        assert_eq!(owners.add("c1".into(), "c"), ["b1".into()]);
        assert!(!owners.used("b1", "b"));
        assert_eq!(owners.sessions.len(), 3);
    }

    #[test]
    fn a_session_is_its_credentials_alone() {
        let mut owners = owners(2, 2);
        owners.add("mine".into(), "a");
        assert!(owners.used("mine", "a"));
        assert!(!owners.used("mine", "b"));
        assert!(!owners.used("other", "a"));
    }
}
