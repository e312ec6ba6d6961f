//! The one way for inputs to a desktop.
//!
//! Whoever acts takes a pass first and keeps it until the screen was looked at, so that actions come one
//! after another and an effect belongs to its action. Nothing else in this crate calls
//! [`remote::Desktop::input`].

use remote::{Input, Permission, RemoteError, Session};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tasks that outlive the call that started them, until their owner goes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            stop.run_until_cancelled(future).await;
        });
    }

    pub(crate) fn stop(&self) {
        self.stop.cancel();
        self.tracker.close();
    }

    pub(crate) async fn ended(&self) {
        self.tracker.wait().await;
    }
}

/// Lets one actor at a time through.
pub(crate) struct Gate {
    session: Arc<dyn Session>,
    turn: Arc<Mutex<()>>,
    tasks: Tasks,
    deadline: Duration,
}

impl Gate {
    pub(crate) fn new(session: Arc<dyn Session>, tasks: Tasks, deadline: Duration) -> Self {
        Self { session, turn: Arc::default(), tasks, deadline }
    }

    /// Waits for the turn; refuses where the peer lets nobody act.
    pub(crate) async fn enter(&self) -> Result<Pass, RemoteError> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        if !self.session.permissions().allows(Permission::Keyboard) {
            return Err(RemoteError::PermissionDenied(Permission::Keyboard));
        }
        Ok(Pass {
            turn: Arc::new(turn),
            session: Arc::clone(&self.session),
            tasks: self.tasks.clone(),
            deadline: self.deadline,
        })
    }
}

/// The right to send inputs, until it is dropped.
pub(crate) struct Pass {
    turn: Arc<OwnedMutexGuard<()>>,
    session: Arc<dyn Session>,
    tasks: Tasks,
    deadline: Duration,
}

impl Pass {
    /// Sends one batch. Dropping the future does not cut a batch in two: what was begun is sent to its
    /// end, and the turn is not given on before.
    pub(crate) async fn send(&self, inputs: Vec<Input>) -> Result<(), RemoteError> {
        let count = inputs.len();
        let (turn, session, deadline) = (Arc::clone(&self.turn), Arc::clone(&self.session), self.deadline);
        let (done, outcome) = tokio::sync::oneshot::channel();
        self.tasks.spawn(async move {
            let result = match session.desktop() {
                None => Err(RemoteError::NoDisplay),
                Some(desktop) => {
                    tokio::time::timeout(deadline, desktop.input(inputs)).await.unwrap_or_else(|_| {
                        Err(RemoteError::OutcomeUnknown("the network took no inputs".to_owned()))
                    })
                }
            };
            drop(turn);
            // Nobody listens any more where the call was cancelled.
            let _unheard = done.send(result);
        });
        let result = outcome
            .await
            .unwrap_or_else(|_| Err(RemoteError::OutcomeUnknown("sending broke off".to_owned())));
        tracing::debug!(inputs = count, ok = result.is_ok(), "inputs");
        result
    }
}
