//! The handle of a session: what services see.

use crate::command::{Command, Reply};
use crate::shared::Shared;
use crate::watchers::Feed;
use bytes::Bytes;
use remote::{
    Answer, BoxFuture, Cursor, Desktop, Display, DisplayId, Frame, FrameInfo, Input, PeerDetails,
    Permissions, RemoteError, Secret, Session, SessionState, VideoFeed,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A host that captures answers within a second; one whose screen is locked away does not at all.
const SCREENSHOT_PATIENCE: Duration = Duration::from_secs(10);

/// A session with a RustDesk host. Dropping it says good-bye and ends everything behind it.
#[derive(Debug)]
pub struct RustDeskSession {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    _cancel: DropGuard,
    _running: JoinHandle<()>,
}

impl RustDeskSession {
    pub(crate) fn new(
        shared: Arc<Shared>,
        commands: mpsc::Sender<Command>,
        cancel: CancellationToken,
        running: JoinHandle<()>,
    ) -> Self {
        Self { shared, commands, _cancel: cancel.drop_guard(), _running: running }
    }

    /// Asks the task and waits for its answer.
    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, RemoteError> {
        let (reply, answer) = oneshot::channel();
        if self.commands.send(command(reply)).await.is_err() {
            return Err(self.over());
        }
        answer.await.unwrap_or_else(|_| Err(self.over()))
    }

    fn over(&self) -> RemoteError {
        self.shared.closed().unwrap_or_else(|| RemoteError::SessionClosed("its task ended".into()))
    }

    async fn wait_newer(&self, display: DisplayId, sequence: u64) -> Result<FrameInfo, RemoteError> {
        let mut frames = self.shared.frames.subscribe();
        let newer = frames.wait_for(|f| f.get(&display).is_some_and(|info| info.sequence > sequence));
        tokio::select! {
            biased;
            found = newer => match found {
                Ok(frames) => frames.get(&display).copied().ok_or(RemoteError::NoSuchDisplay(display)),
                Err(_) => Err(self.over()),
            },
            error = self.shared.until_closed() => Err(error),
        }
    }

    /// Makes sure that pictures of the display come; before the login is done the host decides.
    async fn subscribe(&self, display: DisplayId) -> Result<(), RemoteError> {
        if self.latest(display).is_some() {
            return Ok(());
        }
        let mut state = self.shared.state.subscribe();
        loop {
            match &*state.borrow_and_update() {
                SessionState::Ready | SessionState::Degraded { .. } => break,
                SessionState::NoDisplay => return Err(RemoteError::NoDisplay),
                SessionState::Closed(_) => return Err(self.over()),
                _ => {}
            }
            if state.changed().await.is_err() {
                return Err(self.over());
            }
        }
        self.ask(|reply| Command::Subscribe(display, reply)).await
    }
}

impl Session for RustDeskSession {
    fn state(&self) -> SessionState {
        self.shared.state.borrow().clone()
    }

    fn state_after(&self, seen: &SessionState) -> BoxFuture<'_, SessionState> {
        let seen = seen.clone();
        let mut state = self.shared.state.subscribe();
        Box::pin(async move {
            match state.wait_for(|s| *s != seen).await {
                Ok(state) => state.clone(),
                Err(_) => self.state(),
            }
        })
    }

    fn peer(&self) -> PeerDetails {
        self.shared.view().peer.clone()
    }

    fn permissions(&self) -> Permissions {
        self.shared.view().permissions.clone()
    }

    fn password(&self, password: Secret) -> BoxFuture<'_, Result<(), RemoteError>> {
        Box::pin(self.ask(|reply| Command::Password(password, reply)))
    }

    fn second_factor(&self, code: Secret) -> BoxFuture<'_, Result<(), RemoteError>> {
        Box::pin(self.ask(|reply| Command::SecondFactor(code, reply)))
    }

    fn desktop(&self) -> Option<&dyn Desktop> {
        Some(self)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if self.commands.send(Command::Close).await.is_ok() {
                self.commands.closed().await;
            }
        })
    }
}

impl Desktop for RustDeskSession {
    fn displays(&self) -> Vec<Display> {
        self.shared.view().displays.clone()
    }

    fn latest(&self, display: DisplayId) -> Option<FrameInfo> {
        if display.0 as usize >= self.shared.view().displays.len() {
            return None;
        }
        self.shared.frames.borrow().get(&display).copied()
    }

    fn newer_than(&self, display: DisplayId, sequence: u64) -> BoxFuture<'_, Result<FrameInfo, RemoteError>> {
        Box::pin(async move {
            self.subscribe(display).await?;
            self.wait_newer(display, sequence).await
        })
    }

    fn frame(&self, display: DisplayId) -> BoxFuture<'_, Result<(FrameInfo, Frame), RemoteError>> {
        Box::pin(async move {
            self.subscribe(display).await?;
            let mut seen = 0;
            loop {
                seen = self.wait_newer(display, seen).await?.sequence;
                if let Some(picture) = self.shared.decoding.picture(display).await? {
                    return Ok(picture);
                }
                if let Some(error) = self.shared.closed() {
                    return Err(error);
                }
            }
        })
    }

    fn lossless(&self, display: DisplayId) -> BoxFuture<'_, Result<Bytes, RemoteError>> {
        Box::pin(async move {
            match timeout(SCREENSHOT_PATIENCE, self.ask(|reply| Command::Screenshot(display, reply))).await {
                Ok(png) => png,
                Err(_) => Err(RemoteError::TimedOut("the peer made no screenshot".into())),
            }
        })
    }

    fn refresh(&self, display: DisplayId) -> BoxFuture<'_, Result<(), RemoteError>> {
        Box::pin(self.ask(move |reply| Command::Refresh(display, reply)))
    }

    fn input(&self, inputs: Vec<Input>) -> BoxFuture<'_, Result<(), RemoteError>> {
        Box::pin(self.ask(|reply| Command::Input(inputs, reply)))
    }

    fn answer(&self) -> BoxFuture<'_, Result<Option<Answer>, RemoteError>> {
        Box::pin(self.ask(Command::Probe))
    }

    fn cursor(&self) -> Cursor {
        self.shared.view().cursor.clone()
    }

    fn video(&self, display: DisplayId) -> BoxFuture<'_, Result<Box<dyn VideoFeed>, RemoteError>> {
        Box::pin(async move {
            self.subscribe(display).await?;
            let feed = Feed::new(Arc::clone(&self.shared), display);
            // A session that is being reconnected begins with a keyframe by itself.
            if let Err(error) = self.refresh(display).await {
                tracing::debug!("no refresh for a viewer: {error}");
            }
            Ok(Box::new(feed) as Box<dyn VideoFeed>)
        })
    }
}
