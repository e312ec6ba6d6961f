//! The one way for inputs to a desktop.
//!
//! Whoever acts takes a pass first and keeps it until the screen was looked at, so that actions come one
//! after another and an effect belongs to its action. A person in control needs no pass: nobody else can
//! act meanwhile, and his hand does not wait for a screen to rest.
//!
//! Every batch of inputs asks its [`Fence`] while it holds the right to send, and whoever shuts a fence waits
//! for that right once: so no batch that the fence would refuse goes out after the fence was shut. Nothing
//! else in this crate calls [`remote::Desktop::input`].

use crate::SessionsError;
use crate::lease::Fence;
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
    /// Held while a batch goes out.
    sending: Arc<Mutex<()>>,
    tasks: Tasks,
    deadline: Duration,
}

impl Gate {
    pub(crate) fn new(session: Arc<dyn Session>, tasks: Tasks, deadline: Duration) -> Self {
        Self { session, turn: Arc::default(), sending: Arc::default(), tasks, deadline }
    }

    /// Waits for the turn; refuses where the peer lets nobody act.
    pub(crate) async fn enter(&self) -> Result<Pass<'_>, RemoteError> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        self.permitted()?;
        Ok(Pass { gate: self, turn: Arc::new(turn) })
    }

    /// Sends a batch of a person in control.
    pub(crate) async fn send(&self, inputs: Vec<Input>, fence: &Fence) -> Result<(), SessionsError> {
        self.permitted()?;
        self.hand_over(inputs, fence, None).await
    }

    /// Waits until no batch is on its way that was let through before.
    pub(crate) async fn drained(&self) {
        drop(self.sending.lock().await);
    }

    fn permitted(&self) -> Result<(), RemoteError> {
        let allowed = self.session.permissions().allows(Permission::Keyboard);
        if allowed { Ok(()) } else { Err(RemoteError::PermissionDenied(Permission::Keyboard)) }
    }

    /// Dropping the future does not cut a batch in two: what was begun is sent to its end, and neither the
    /// turn nor the right to send is given on before.
    async fn hand_over(
        &self,
        inputs: Vec<Input>,
        fence: &Fence,
        turn: Option<Arc<OwnedMutexGuard<()>>>,
    ) -> Result<(), SessionsError> {
        let count = inputs.len();
        let (session, deadline) = (Arc::clone(&self.session), self.deadline);
        let (done, outcome) = tokio::sync::oneshot::channel();
        let sending = Arc::clone(&self.sending).lock_owned().await;
        fence.check()?;
        self.tasks.spawn(async move {
            let result = match session.desktop() {
                None => Err(RemoteError::NoDisplay),
                Some(desktop) => {
                    tokio::time::timeout(deadline, desktop.input(inputs)).await.unwrap_or_else(|_| {
                        Err(RemoteError::OutcomeUnknown("the network took no inputs".to_owned()))
                    })
                }
            };
            drop((turn, sending));
            // Nobody listens any more where the call was cancelled.
            let _unheard = done.send(result);
        });
        let result = outcome
            .await
            .unwrap_or_else(|_| Err(RemoteError::OutcomeUnknown("sending broke off".to_owned())));
        tracing::debug!(inputs = count, ok = result.is_ok(), "inputs");
        Ok(result?)
    }
}

/// The right to act, until it is dropped.
pub(crate) struct Pass<'a> {
    gate: &'a Gate,
    turn: Arc<OwnedMutexGuard<()>>,
}

impl Pass<'_> {
    /// Sends one batch, if the fence lets it through.
    pub(crate) async fn send(&self, inputs: Vec<Input>, fence: &Fence) -> Result<(), SessionsError> {
        self.gate.hand_over(inputs, fence, Some(Arc::clone(&self.turn))).await
    }
}
