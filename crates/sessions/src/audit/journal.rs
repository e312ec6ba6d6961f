//! How entries get into the log: at once and waited for, or in the background.

use super::{AuditDecision, AuditEntry, AuditError, AuditLog, AuditPhase, now_ms};
use crate::live::lock;
use policy::CallerKind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Entries that wait to be written.
const QUEUE: usize = 1024;
/// Entries taken from the queue together.
const BATCH: usize = 128;
/// Entries that wait for a log that can not be written.
const MOST_WAITING: usize = 4096;
/// What could not be written is tried again after this.
const RETRY: Duration = Duration::from_secs(1);

/// What became of entries.
#[derive(Debug, Default)]
pub struct AuditCounters {
    pub written: AtomicU64,
    /// Attempts to write that failed.
    pub failures: AtomicU64,
    /// Entries that found no place while the log could not be written. The log itself tells how many once
    /// it can be written again.
    pub lost: AtomicU64,
}

struct State {
    log: Arc<dyn AuditLog>,
    counters: AuditCounters,
    /// Why the last attempt failed; `None` after one that did not.
    failure: Mutex<Option<AuditError>>,
    /// Lost and not yet told by the log.
    untold: AtomicU64,
}

impl State {
    async fn append(&self, entries: Vec<AuditEntry>) -> Result<(), AuditError> {
        let count = entries.len() as u64;
        let result = self.log.append(entries).await;
        let mut failure = lock(&self.failure);
        match &result {
            Ok(()) => {
                self.counters.written.fetch_add(count, Ordering::Relaxed);
                if failure.take().is_some() {
                    tracing::info!("the audit log can be written again");
                }
            }
            Err(error) => {
                self.counters.failures.fetch_add(1, Ordering::Relaxed);
                if failure.replace(error.clone()).as_ref() != Some(error) {
                    tracing::error!(%error, "the audit log can not be written");
                }
            }
        }
        result
    }

    fn lose(&self, count: usize) {
        self.counters.lost.fetch_add(count as u64, Ordering::Relaxed);
        self.untold.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Tells the log how much of it is missing.
    async fn confess(&self) {
        let lost = self.untold.swap(0, Ordering::Relaxed);
        if lost > 0 && self.append(vec![missing(lost)]).await.is_err() {
            self.untold.fetch_add(lost, Ordering::Relaxed);
        }
    }
}

fn missing(lost: u64) -> AuditEntry {
    AuditEntry {
        time_ms: now_ms(),
        step: step(),
        phase: AuditPhase::Whole,
        credential: String::new(),
        name: "deskhand".to_owned(),
        kind: CallerKind::Script,
        operation: "audit_gap".to_owned(),
        class: None,
        machine: None,
        session: None,
        decision: AuditDecision::Allowed,
        reason: None,
        detail: Some(format!("{lost} entries could not be written and are missing before this one")),
        frame: None,
        outcome: Some("lost".to_owned()),
    }
}

/// A name for a new step.
pub(crate) fn step() -> String {
    format!("{:016x}", rand::random::<u64>())
}

enum Line {
    /// Written sooner or later.
    Noted(Box<AuditEntry>),
    /// Written now, or never; whoever waits is told.
    Asked(Box<AuditEntry>, oneshot::Sender<Result<(), AuditError>>),
    /// Answered (by being dropped) when what came before was written, or failed once.
    Flush(oneshot::Sender<()>),
}

/// The way into the log. Clones write to the same.
#[derive(Clone)]
pub(crate) struct Journal {
    state: Arc<State>,
    queue: mpsc::Sender<Line>,
}

impl Journal {
    /// The future writes what is [`note`](Self::note)d, until the last clone of the journal goes.
    pub(crate) fn new(log: Arc<dyn AuditLog>) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let state = Arc::new(State {
            log,
            counters: AuditCounters::default(),
            failure: Mutex::default(),
            untold: AtomicU64::new(0),
        });
        let (queue, waiting) = mpsc::channel(QUEUE);
        (Self { state: Arc::clone(&state), queue }, drain(state, waiting))
    }

    pub(crate) fn counters(&self) -> &AuditCounters {
        &self.state.counters
    }

    /// Why the log can not be written, as far as the last attempt told.
    pub(crate) fn failure(&self) -> Option<AuditError> {
        lock(&self.state.failure).clone()
    }

    /// Writes the entry behind all that was noted before, and returns when it is kept. One that could not be
    /// written is not written later.
    pub(crate) async fn write(&self, entry: AuditEntry) -> Result<(), AuditError> {
        let (done, written) = oneshot::channel();
        let gone =
            || AuditError::Failed { place: "the audit log".to_owned(), reason: "it has ended".to_owned() };
        self.queue.send(Line::Asked(Box::new(entry), done)).await.map_err(|_| gone())?;
        written.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Waits until all that was noted is written, or could not be.
    pub(crate) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.queue.send(Line::Flush(done)).await.is_ok() {
            // Being dropped is the answer.
            let _answered = flushed.await;
        }
    }

    /// Writes the entry soon. Where that fails for long, entries are lost, which is counted and told.
    pub(crate) fn note(&self, entry: AuditEntry) {
        if self.queue.try_send(Line::Noted(Box::new(entry))).is_err() {
            self.state.lose(1);
        }
    }
}

/// What was taken from the queue.
#[derive(Default)]
struct Batch {
    /// In their order; `true` for those that are to be written now or never.
    entries: Vec<(AuditEntry, bool)>,
    asked: Vec<oneshot::Sender<Result<(), AuditError>>>,
    flushes: Vec<oneshot::Sender<()>>,
}

impl Batch {
    fn add(&mut self, line: Line) {
        match line {
            Line::Noted(entry) => self.entries.push((*entry, false)),
            Line::Asked(entry, done) => {
                self.entries.push((*entry, true));
                self.asked.push(done);
            }
            Line::Flush(done) => self.flushes.push(done),
        }
    }

    /// Writes it behind what `waits`, which then holds what has to be tried again.
    async fn write(self, state: &State, waits: &mut Vec<AuditEntry>) {
        let mut entries = waits.clone();
        entries.extend(self.entries.iter().map(|(entry, _)| entry.clone()));
        let result = if entries.is_empty() { Ok(()) } else { state.append(entries).await };
        if result.is_ok() {
            waits.clear();
            state.confess().await;
        } else {
            waits.extend(self.entries.into_iter().filter(|(_, asked)| !asked).map(|(entry, _)| entry));
            let too_many = waits.len().saturating_sub(MOST_WAITING);
            waits.truncate(MOST_WAITING);
            state.lose(too_many);
        }
        for asked in self.asked {
            // Nobody waits any more where the call was cancelled.
            let _unheard = asked.send(result.clone());
        }
    }
}

async fn drain(state: Arc<State>, mut queue: mpsc::Receiver<Line>) {
    let (mut lines, mut waits) = (Vec::new(), Vec::new());
    loop {
        let retry = async {
            if waits.is_empty() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(RETRY).await;
        };
        let ended = tokio::select! {
            taken = queue.recv_many(&mut lines, BATCH) => taken == 0,
            () = retry => false,
        };
        let mut batch = Batch::default();
        lines.drain(..).for_each(|line| batch.add(line));
        batch.write(&state, &mut waits).await;
        if ended {
            break;
        }
    }
    if !waits.is_empty() {
        tracing::error!(entries = waits.len(), "the audit log ends with entries unwritten");
        state.lose(waits.len());
    }
}
