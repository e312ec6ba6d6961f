//! What is open.

mod connect;
mod desktop;

pub use connect::{ConnectRequest, ConnectTo, Connected};

use crate::access::Access;
use crate::approvals::Approvals;
use crate::audit::{AuditCounters, AuditError, AuditLog, Journal, MemoryAudit};
use crate::events::Feed;
use crate::gate::Tasks;
use crate::lease::{Control, Fence, Leases};
use crate::live::{Live, lock};
use crate::modes::Modes;
use crate::stops::Stops;
use crate::targets::Book;
use crate::{SecretSource, SessionId, SessionsConfig, TargetEntry};
use policy::{Caller, Policy};
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
    book: Mutex<Arc<Book>>,
    policy: Mutex<Arc<Policy>>,
    leases: Arc<Leases>,
    stops: Arc<Stops>,
    approvals: Arc<Approvals>,
    modes: Modes,
    feed: Feed,
    journal: Journal,
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
    /// The person in control of the desktop.
    pub control: Option<Control>,
}

impl Sessions {
    /// Wants to be called within a tokio runtime.
    pub fn new(
        config: SessionsConfig,
        connectors: Vec<Arc<dyn Connector>>,
        targets: Vec<TargetEntry>,
        secrets: Arc<dyn SecretSource>,
    ) -> Self {
        let book = Mutex::new(Arc::new(Book { connectors, entries: targets, secrets }));
        Self {
            book,
            policy: Mutex::default(),
            leases: Arc::default(),
            stops: Arc::default(),
            approvals: Arc::new(Approvals::new(config.approvals)),
            modes: Modes::default(),
            feed: Feed::new(),
            journal: journal(Arc::new(MemoryAudit::default())),
            live: LiveMap::default(),
            tasks: Tasks::default(),
            config,
        }
    }

    /// With a record that is kept, in place of one that ends with the process.
    #[must_use]
    pub fn with_audit(mut self, log: Arc<dyn AuditLog>) -> Self {
        self.journal = journal(log);
        self
    }

    /// With the operator's rules in place of [`Policy::default`].
    #[must_use]
    pub fn with_policy(self, policy: Policy) -> Self {
        self.set_policy(policy);
        self
    }

    /// Decides by these rules from now on.
    pub fn set_policy(&self, policy: Policy) {
        *lock(&self.policy) = Arc::new(policy);
    }

    /// Knows these targets from now on; open sessions stay open.
    pub fn set_targets(&self, targets: Vec<TargetEntry>) {
        let mut book = lock(&self.book);
        let (connectors, secrets) = (book.connectors.clone(), Arc::clone(&book.secrets));
        *book = Arc::new(Book { connectors, entries: targets, secrets });
    }

    pub fn config(&self) -> &SessionsConfig {
        &self.config
    }

    /// What this caller may do with the sessions: the only way to them.
    pub fn access(self: &Arc<Self>, caller: &Arc<Caller>) -> Access {
        Access::new(Arc::clone(self), Arc::clone(caller))
    }

    /// How many sessions are in which state, by its name.
    pub fn states(&self) -> BTreeMap<&'static str, usize> {
        let mut states = BTreeMap::new();
        for live in lock(&self.live).values() {
            *states.entry(live.state().name()).or_default() += 1;
        }
        states
    }

    /// What became of the entries of the audit log.
    pub fn audit_counters(&self) -> &AuditCounters {
        self.journal.counters()
    }

    /// Why the audit log can not be written, as far as the last attempt told.
    pub fn audit_failure(&self) -> Option<AuditError> {
        self.journal.failure()
    }

    pub(crate) fn status_of(&self, live: &Live) -> SessionStatus {
        let now = tokio::time::Instant::now();
        let control = self.leases.on(live, now).map(|lease| lease.control(now));
        SessionStatus { control, ..SessionStatus::of(live) }
    }

    pub(crate) fn leases(&self) -> &Arc<Leases> {
        &self.leases
    }

    pub(crate) fn stops(&self) -> &Arc<Stops> {
        &self.stops
    }

    pub(crate) fn approvals(&self) -> &Approvals {
        &self.approvals
    }

    pub(crate) fn modes(&self) -> &Modes {
        &self.modes
    }

    pub(crate) fn feed(&self) -> &Feed {
        &self.feed
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    pub(crate) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    pub(crate) fn fence(&self, caller: &Arc<Caller>, live: &Arc<Live>) -> Fence {
        Fence::new(&self.leases, &self.stops, caller, live)
    }

    pub(crate) fn book(&self) -> Arc<Book> {
        Arc::clone(&lock(&self.book))
    }

    pub(crate) fn policy(&self) -> Arc<Policy> {
        Arc::clone(&lock(&self.policy))
    }

    /// Every session, those closed a short while ago included; oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<Live>> {
        let mut sessions: Vec<_> = lock(&self.live).values().cloned().collect();
        sessions.sort_by_key(|live| live.origin.number);
        sessions
    }

    /// Closes a session. One that is closed already stays so.
    pub(crate) async fn disconnect(&self, live: &Live) {
        if live.ended().is_none() {
            live.end("disconnected by the caller".to_owned(), None);
            close(live).await;
        }
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
        self.journal.flush().await;
    }

    pub(crate) fn known(&self, id: &SessionId) -> Option<Arc<Live>> {
        lock(&self.live).get(id).cloned()
    }

    pub(crate) fn open_sessions(&self) -> Vec<Arc<Live>> {
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

/// A way into the log. Its task ends by itself when the last way in goes, so that nothing is left unwritten.
fn journal(log: Arc<dyn AuditLog>) -> Journal {
    let (journal, writing) = Journal::new(log);
    drop(tokio::spawn(writing));
    journal
}

impl SessionSummary {
    pub(crate) fn of(live: &Live) -> Self {
        Self {
            id: live.id.clone(),
            target: live.origin.target.clone(),
            protocol: live.origin.protocol,
            state: live.state(),
            reason: live.ended().map(|ended| ended.reason.clone()),
            age: live.opened.elapsed(),
            idle: live.idle_since().map_or(Duration::ZERO, |since| since.elapsed()),
        }
    }
}

impl SessionStatus {
    fn of(live: &Live) -> Self {
        let desktop = live.session.desktop();
        Self {
            summary: SessionSummary::of(live),
            address: live.origin.address.clone(),
            peer: live.session.peer(),
            denied: live.session.permissions().denied,
            displays: desktop.map(remote::Desktop::displays).unwrap_or_default(),
            cursor: desktop.and_then(|desktop| desktop.cursor().position),
            control: None,
        }
    }
}

/// Says good-bye to the peer, within bounds.
async fn close(live: &Live) {
    if tokio::time::timeout(GOOD_BYE, live.session.close()).await.is_err() {
        tracing::warn!(session = live.id.short(), "the session did not close in time");
    }
}
