//! What a session's task, its decoding thread and its handles have in common.

use crate::decode::DecodeQueue;
use crate::watchers::Watchers;
use remote::{Cursor, Display, DisplayId, FrameInfo, PeerDetails, Permissions, RemoteError, SessionState};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The newest picture's facts of each display.
pub(crate) type Frames = BTreeMap<DisplayId, FrameInfo>;

/// What was last heard from the peer.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) peer: PeerDetails,
    pub(crate) permissions: Permissions,
    pub(crate) displays: Vec<Display>,
    pub(crate) cursor: Cursor,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) state: watch::Sender<SessionState>,
    pub(crate) frames: Arc<watch::Sender<Frames>>,
    pub(crate) decoding: DecodeQueue,
    pub(crate) watchers: Watchers,
    view: Mutex<View>,
}

impl Shared {
    pub(crate) fn new(decoding: DecodeQueue, frames: Arc<watch::Sender<Frames>>) -> Self {
        let (state, _) = watch::channel(SessionState::Connecting);
        Self { state, frames, decoding, watchers: Watchers::default(), view: Mutex::default() }
    }

    pub(crate) fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_state(&self, state: SessionState) {
        tracing::debug!(state = state.name(), "session");
        self.state.send_if_modified(|old| {
            let changed = *old != state;
            *old = state;
            changed
        });
    }

    /// Why nothing more can come, once the session is closed.
    pub(crate) fn closed(&self) -> Option<RemoteError> {
        match &*self.state.borrow() {
            SessionState::Closed(error) => Some(as_session_closed(error)),
            _ => None,
        }
    }

    /// Ends when the session is closed.
    pub(crate) async fn until_closed(&self) -> RemoteError {
        let mut state = self.state.subscribe();
        match state.wait_for(|s| matches!(s, SessionState::Closed(_))).await {
            Ok(closed) => match &*closed {
                SessionState::Closed(error) => as_session_closed(error),
                other => RemoteError::SessionClosed(other.name().into()),
            },
            Err(_) => RemoteError::SessionClosed("its task ended".into()),
        }
    }
}

/// Callers of a session that is over hear that first, and why second.
fn as_session_closed(error: &RemoteError) -> RemoteError {
    match error {
        RemoteError::SessionClosed(_) => error.clone(),
        other => RemoteError::SessionClosed(other.to_string()),
    }
}
