//! One session and what is kept beside it.

use crate::gate::{Gate, Tasks};
use crate::view::View;
use crate::{SessionId, SessionsConfig, SessionsError};
use policy::{Decision, Machine};
use remote::{Desktop, DisplayId, RemoteError, Session, SessionState, Size};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How a session ended.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) reason: String,
    /// What the driver said; `None` where we ended it.
    pub(crate) cause: Option<RemoteError>,
    pub(crate) at: Instant,
}

/// Where a session came from.
#[derive(Debug)]
pub(crate) struct Origin {
    /// Counts the sessions of a gateway.
    pub(crate) number: u64,
    pub(crate) target: String,
    pub(crate) address: String,
    pub(crate) protocol: &'static str,
    pub(crate) tags: Vec<String>,
}

pub(crate) struct Live {
    pub(crate) id: SessionId,
    pub(crate) origin: Origin,
    pub(crate) opened: Instant,
    pub(crate) session: Arc<dyn Session>,
    pub(crate) gate: Gate,
    views: Mutex<HashMap<DisplayId, Arc<AsyncMutex<View>>>>,
    last_display: Mutex<Option<DisplayId>>,
    usage: Mutex<Usage>,
    audience: Mutex<Audience>,
    ended: OnceLock<Ended>,
    over: CancellationToken,
    first_picture: Duration,
}

/// Credentials of one session that are remembered; the latest stay.
const MOST_MEMBERS: usize = 32;

/// Whose session it is.
#[derive(Debug, Default)]
struct Audience {
    /// Who opened it or connected to it, the latest last.
    members: VecDeque<String>,
    /// Whose password opened it, where it was not the configured one: it is nobody else's.
    owner: Option<String>,
}

#[derive(Debug, Clone, Copy)]
struct Usage {
    calls: usize,
    last: Instant,
}

impl Live {
    pub(crate) fn new(
        origin: Origin,
        session: Arc<dyn Session>,
        config: &SessionsConfig,
        tasks: Tasks,
    ) -> Self {
        let now = Instant::now();
        Self {
            id: SessionId::random(),
            origin,
            opened: now,
            gate: Gate::new(Arc::clone(&session), tasks, config.input_deadline),
            session,
            views: Mutex::default(),
            last_display: Mutex::default(),
            usage: Mutex::new(Usage { calls: 0, last: now }),
            audience: Mutex::default(),
            ended: OnceLock::new(),
            over: CancellationToken::new(),
            first_picture: config.first_picture,
        }
    }

    /// Notes that this credential opened the session or connected to it.
    pub(crate) fn join(&self, credential: &str) {
        let mut audience = lock(&self.audience);
        audience.members.retain(|member| member != credential);
        audience.members.push_back(credential.to_owned());
        if audience.members.len() > MOST_MEMBERS {
            audience.members.pop_front();
        }
    }

    /// Notes that the session exists by a password that this credential gave.
    pub(crate) fn own(&self, credential: &str) {
        lock(&self.audience).owner = Some(credential.to_owned());
    }

    pub(crate) fn has_member(&self, credential: &str) -> bool {
        lock(&self.audience).members.iter().any(|member| member == credential)
    }

    /// Whether it exists by another's password.
    pub(crate) fn is_owned_by_another(&self, credential: &str) -> bool {
        lock(&self.audience).owner.as_ref().is_some_and(|owner| owner != credential)
    }

    /// What a policy says of `class` on the machine. Its system is what the peer says it is.
    pub(crate) fn decide(&self, decide: impl FnOnce(&Machine<'_>) -> Decision) -> Decision {
        let os = system(&self.session.peer().platform);
        decide(&Machine {
            id: &self.origin.target,
            tags: &self.origin.tags,
            os: os.as_deref(),
            online: Some(self.ended().is_none()),
        })
    }

    /// Marks the session as used until the guard goes; a session in use is not idle.
    pub(crate) fn in_use(self: &Arc<Self>) -> InUse {
        lock(&self.usage).calls += 1;
        InUse(Arc::clone(self))
    }

    /// Since when nobody used it; `None` while somebody does.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let usage = *lock(&self.usage);
        (usage.calls == 0).then_some(usage.last)
    }

    /// Notes the end; the first reason stays.
    pub(crate) fn end(&self, reason: String, cause: Option<RemoteError>) {
        let _first = self.ended.set(Ended { reason, cause, at: Instant::now() });
        self.over.cancel();
    }

    pub(crate) async fn over(&self) {
        self.over.cancelled().await;
    }

    pub(crate) fn ended(&self) -> Option<&Ended> {
        self.ended.get()
    }

    /// The driver's state, or the end that we noted.
    pub(crate) fn state(&self) -> SessionState {
        match self.ended() {
            Some(ended) => SessionState::Closed(
                ended.cause.clone().unwrap_or_else(|| RemoteError::SessionClosed(ended.reason.clone())),
            ),
            None => self.session.state(),
        }
    }

    /// Refuses unless the session is open.
    pub(crate) fn open(&self) -> Result<(), SessionsError> {
        let SessionState::Closed(error) = self.state() else { return Ok(()) };
        let (reason, cause) = match self.ended() {
            Some(ended) => (ended.reason.clone(), ended.cause.clone()),
            None => (error.to_string(), Some(error)),
        };
        Err(SessionsError::Closed { id: self.id.clone(), reason, cause })
    }

    /// The screen of a session that is ready to be seen and acted on.
    pub(crate) fn desktop(&self) -> Result<&dyn Desktop, SessionsError> {
        self.open()?;
        match self.session.state() {
            SessionState::Ready | SessionState::Degraded { .. } => {}
            state => return Err(SessionsError::NotReady { session: self.id.clone(), state }),
        }
        self.session.desktop().ok_or(SessionsError::NoScreen)
    }

    /// The display asked for; else the one last pictured, the primary one, the first.
    pub(crate) fn display(
        &self,
        desktop: &dyn Desktop,
        wanted: Option<DisplayId>,
    ) -> Result<DisplayId, SessionsError> {
        let displays = desktop.displays();
        let Some(first) = displays.first() else { return Err(RemoteError::NoDisplay.into()) };
        let has = |id: DisplayId| displays.iter().any(|display| display.id == id);
        if let Some(display) = wanted {
            if !has(display) {
                let known = displays.iter().map(|display| display.id).collect();
                return Err(SessionsError::NoSuchDisplay { display, known });
            }
            return Ok(display);
        }
        let last = lock(&self.last_display).filter(|display| has(*display));
        let primary = || displays.iter().find(|display| display.primary).unwrap_or(first).id;
        Ok(last.unwrap_or_else(primary))
    }

    pub(crate) fn pictured(&self, display: DisplayId) {
        *lock(&self.last_display) = Some(display);
    }

    pub(crate) fn view(&self, display: DisplayId) -> Arc<AsyncMutex<View>> {
        Arc::clone(lock(&self.views).entry(display).or_default())
    }

    /// Gives the memory of the kept pictures back.
    pub(crate) fn forget_views(&self) {
        lock(&self.views).clear();
    }

    /// Pixels of a display: those of its newest picture, else what the peer announced.
    pub(crate) fn native(&self, desktop: &dyn Desktop, display: DisplayId) -> Size {
        let announced =
            || desktop.displays().iter().find(|known| known.id == display).map(|known| known.size);
        desktop.latest(display).map(|latest| latest.size).or_else(announced).unwrap_or_default()
    }

    /// Waits for the first picture of a display.
    pub(crate) async fn first_picture(
        &self,
        desktop: &dyn Desktop,
        display: DisplayId,
    ) -> Result<(), SessionsError> {
        if desktop.latest(display).is_some() {
            return Ok(());
        }
        match tokio::time::timeout(self.first_picture, desktop.newer_than(display, 0)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(SessionsError::NoPicture(self.first_picture)),
        }
    }
}

/// The selector's word for a system, from the words of a peer.
fn system(platform: &str) -> Option<String> {
    let word = platform.to_lowercase().replace(' ', "");
    (!word.is_empty()).then_some(word)
}

/// Keeps a session from counting as idle.
pub(crate) struct InUse(Arc<Live>);

impl std::ops::Deref for InUse {
    type Target = Arc<Live>;

    fn deref(&self) -> &Arc<Live> {
        &self.0
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut usage = lock(&self.0.usage);
        usage.calls -= 1;
        usage.last = Instant::now();
    }
}

/// A poisoned lock still guards whole values here: nothing panics between two writes.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
