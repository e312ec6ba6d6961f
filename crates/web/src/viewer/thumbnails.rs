//! Small pictures for the list.

use bytes::Bytes;
use sessions::{Access, SessionId, SessionsError, Watching};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const LONGEST_SIDE: u32 = 400;
/// Whoever asks again within this time watches still; his framebuffer is kept.
const KEPT: Duration = Duration::from_secs(20);
/// Lists that are looked at together, times their sessions.
const MOST: usize = 256;

/// Those who look at lists.
#[derive(Debug, Default)]
pub(super) struct Thumbnails(Mutex<HashMap<(String, SessionId), Kept>>);

#[derive(Debug)]
struct Kept {
    watching: Arc<Watching>,
    last: Instant,
}

impl Thumbnails {
    /// The session's newest picture, small, as a JPEG file.
    pub(super) async fn get(&self, access: &Access, session: &SessionId) -> Result<Bytes, SessionsError> {
        let who = (access.caller().credential.clone(), session.clone());
        let watching = match self.known(&who) {
            Some(watching) => watching,
            None => self.keep(who, Arc::new(access.watch(session).await?)),
        };
        Ok(watching.picture(None, LONGEST_SIDE, 0).await?.jpeg)
    }

    fn known(&self, who: &(String, SessionId)) -> Option<Arc<Watching>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        kept.retain(|_, kept| now.duration_since(kept.last) < KEPT);
        let found = kept.get_mut(who)?;
        found.last = now;
        Some(Arc::clone(&found.watching))
    }

    fn keep(&self, who: (String, SessionId), watching: Arc<Watching>) -> Arc<Watching> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MOST {
            kept.insert(who, Kept { watching: Arc::clone(&watching), last: Instant::now() });
        }
        watching
    }
}
