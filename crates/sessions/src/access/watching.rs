//! Watching a desktop live, beside what tools do to it: the peer's own video, or pictures.

use super::Access;
use super::steps::{Doing, Place};
use crate::live::Live;
use crate::screenshot::drawn_cursor;
use crate::view::View;
use crate::{SessionId, SessionStatus, SessionsError};
use bytes::Bytes;
use framebuffer::{Budget, Format, PictureError, PictureRequest};
use remote::{DisplayId, Point, Size, VideoFeed};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Mutex as AsyncMutex;

/// A picture for a watcher has at most so many bytes, as base64.
const PICTURE_BYTES: usize = 4 << 20;

/// Somebody who watches a session, on record once. What he sees changes nothing for the tools: pictures come
/// from a framebuffer of its own, and the space of positions stays. A watched session can still become idle.
pub struct Watching {
    access: Access,
    live: Arc<Live>,
    views: AsyncMutex<HashMap<DisplayId, Arc<AsyncMutex<View>>>>,
}

/// A display's newest picture as a JPEG file.
#[derive(Debug, Clone)]
pub struct WatchedPicture {
    pub display: DisplayId,
    /// Its number within the session.
    pub frame: u64,
    /// Pixels of the display; the file may have fewer.
    pub native: Size,
    pub jpeg: Bytes,
}

impl Access {
    /// Begins to watch an open session.
    pub async fn watch(&self, session: &SessionId) -> Result<Watching, SessionsError> {
        let live = Arc::clone(&*self.meant_open(Some(session))?);
        let step = self.begin(Place::Session(&live), Doing::looks("watch")).await?;
        step.end(&Ok(()), None);
        Ok(Watching { access: self.clone(), live, views: AsyncMutex::default() })
    }
}

impl std::fmt::Debug for Watching {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watching").field("session", &self.live.id).finish_non_exhaustive()
    }
}

impl Watching {
    pub fn access(&self) -> &Access {
        &self.access
    }

    pub fn session(&self) -> &SessionId {
        &self.live.id
    }

    /// How the session stands, or how it ended.
    pub fn status(&self) -> Result<SessionStatus, SessionsError> {
        self.still_may()?;
        Ok(self.access.sessions.status_of(&self.live))
    }

    /// The display's video from the next keyframe on; [`remote::RemoteError::UnsupportedByPeer`] where there
    /// are pictures only. Without a display, the one that tools see.
    pub async fn video(
        &self,
        display: Option<DisplayId>,
    ) -> Result<(DisplayId, Box<dyn VideoFeed>), SessionsError> {
        self.still_may()?;
        let desktop = self.live.desktop()?;
        let display = self.live.display(desktop, display, &self.access.caller.credential)?;
        Ok((display, desktop.video(display).await?))
    }

    /// Where the pointer is, which is not in the video.
    pub fn cursor(&self) -> Option<(DisplayId, Point)> {
        self.live.session.desktop().and_then(|desktop| desktop.cursor().position)
    }

    /// Asks the peer for a keyframe.
    pub async fn refresh(&self, display: DisplayId) -> Result<(), SessionsError> {
        self.still_may()?;
        Ok(self.live.desktop()?.refresh(display).await?)
    }

    /// A picture newer than `frame`, waiting for it, no side over `longest_side` pixels. Cancel safe.
    pub async fn picture(
        &self,
        display: Option<DisplayId>,
        longest_side: u32,
        frame: u64,
    ) -> Result<WatchedPicture, SessionsError> {
        self.still_may()?;
        let desktop = self.live.desktop()?;
        let display = self.live.display(desktop, display, &self.access.caller.credential)?;
        desktop.newer_than(display, frame).await?;
        let view = Arc::clone(self.views.lock().await.entry(display).or_default());
        let mut view = view.lock_owned().await;
        view.pull(desktop, display).await?;
        let info = view.kept().ok_or(SessionsError::NoScreen)?;
        let wish = PictureRequest {
            region: None,
            format: Format::Jpeg,
            budget: Budget {
                longest_side: longest_side.max(16),
                area: u64::MAX,
                base64_bytes: PICTURE_BYTES,
            },
            cursor: drawn_cursor(desktop, display),
        };
        let encoded = tokio::task::spawn_blocking(move || view.framebuffer.picture(&wish)).await;
        let encoded =
            encoded.unwrap_or_else(|_| Err(PictureError::Encoding("the encoder failed".to_owned())));
        let jpeg = encoded.map_err(SessionsError::Picture)?.data;
        Ok(WatchedPicture { display, frame: info.sequence, native: info.size, jpeg })
    }

    /// The right to watch is held against the rules again and again: they may change meanwhile.
    fn still_may(&self) -> Result<(), SessionsError> {
        if !self.access.may_see(&self.live) {
            return Err(SessionsError::UnknownSession(self.live.id.clone()));
        }
        if self.access.is_blind_while_taken() {
            self.access.fence(&self.live).check()?;
        }
        Ok(())
    }
}
