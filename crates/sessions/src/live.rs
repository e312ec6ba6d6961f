//! One session and what is kept beside it.

use crate::audit::AuditEntry;
use crate::gate::{Gate, Tasks};
use crate::reaction::Pace;
use crate::view::View;
use crate::{SessionId, SessionsConfig, SessionsError};
use policy::{Caller, CallerKind};
use remote::{Desktop, DisplayId, RemoteError, Session, SessionState, Size};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, watch};
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
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Counts the sessions of a gateway.
    pub(crate) number: u64,
    pub(crate) target: String,
    pub(crate) address: String,
    pub(crate) protocol: &'static str,
    pub(crate) tags: Arc<[String]>,
}

pub(crate) struct Live {
    pub(crate) id: SessionId,
    pub(crate) origin: Arc<Origin>,
    pub(crate) opened: Instant,
    pub(crate) session: Arc<dyn Session>,
    pub(crate) gate: Gate,
    /// Counts the leases of the desktop that made what others had asked for void.
    pub(crate) epoch: watch::Sender<u64>,
    trail: Mutex<VecDeque<AuditEntry>>,
    /// How quickly the screen shows what was done.
    pub(crate) pace: Mutex<Pace>,
    views: Mutex<HashMap<DisplayId, Arc<AsyncMutex<View>>>>,
    usage: Mutex<Usage>,
    audience: Mutex<Audience>,
    ended: OnceLock<Ended>,
    over: CancellationToken,
    first_picture: Duration,
}

/// Credentials of one session that are remembered; the latest stay.
const MOST_MEMBERS: usize = 32;
/// Steps of one session that are remembered.
const LONGEST_TRAIL: usize = 200;

/// Whose session it is.
#[derive(Debug, Default)]
struct Audience {
    /// Who used it, the latest last.
    members: VecDeque<Member>,
    /// Whose password opened it, where it was not the configured one: it is nobody else's.
    owner: Option<String>,
}

#[derive(Debug)]
struct Member {
    credential: String,
    /// He opened the session, or connected to it.
    joined: bool,
    person: bool,
    display: Option<DisplayId>,
}

impl Audience {
    fn member(&mut self, caller: &Caller) -> &mut Member {
        let known = self.members.iter().position(|member| member.credential == caller.credential);
        let member = known.and_then(|place| self.members.remove(place)).unwrap_or_else(|| Member {
            credential: caller.credential.clone(),
            joined: false,
            person: caller.kind == CallerKind::Person,
            display: None,
        });
        if self.members.len() >= MOST_MEMBERS {
            self.members.pop_front();
        }
        self.members.push_back(member);
        let last = self.members.len() - 1;
        &mut self.members[last]
    }

    fn looked_at(&self, who: &str) -> Option<DisplayId> {
        self.members.iter().find(|member| member.credential == who).and_then(|member| member.display)
    }

    fn look_at(&mut self, who: &str, display: DisplayId) {
        if let Some(member) = self.members.iter_mut().find(|member| member.credential == who) {
            member.display = Some(display);
        }
    }
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
            origin: Arc::new(origin),
            opened: now,
            epoch: watch::Sender::new(0),
            gate: Gate::new(Arc::clone(&session), tasks, config.input_deadline),
            session,
            pace: Mutex::default(),
            views: Mutex::default(),
            usage: Mutex::new(Usage { calls: 0, last: now }),
            audience: Mutex::default(),
            trail: Mutex::default(),
            ended: OnceLock::new(),
            over: CancellationToken::new(),
            first_picture: config.first_picture,
        }
    }

    /// Notes that the caller opened the session or connected to it.
    pub(crate) fn join(&self, caller: &Caller) {
        lock(&self.audience).member(caller).joined = true;
    }

    /// Notes that the caller uses the session.
    pub(crate) fn used_by(&self, caller: &Caller) {
        lock(&self.audience).member(caller);
    }

    /// The credentials, other than persons', that used it.
    pub(crate) fn users(&self) -> Vec<String> {
        let audience = lock(&self.audience);
        let users = audience.members.iter().filter(|member| !member.person);
        users.map(|member| member.credential.clone()).collect()
    }

    /// Notes that the session exists by a password that this credential gave.
    pub(crate) fn own(&self, credential: &str) {
        lock(&self.audience).owner = Some(credential.to_owned());
    }

    pub(crate) fn has_member(&self, credential: &str) -> bool {
        lock(&self.audience).members.iter().any(|member| member.joined && member.credential == credential)
    }

    /// Whose password it exists by.
    pub(crate) fn owner(&self) -> Option<String> {
        lock(&self.audience).owner.clone()
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

    /// The display asked for; else the one last pictured for `who`, the primary one, the first.
    pub(crate) fn display(
        &self,
        desktop: &dyn Desktop,
        wanted: Option<DisplayId>,
        who: &str,
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
        let last = lock(&self.audience).looked_at(who).filter(|display| has(*display));
        let primary = || displays.iter().find(|display| display.primary).unwrap_or(first).id;
        Ok(last.unwrap_or_else(primary))
    }

    pub(crate) fn pictured(&self, display: DisplayId, who: &str) {
        lock(&self.audience).look_at(who, display);
    }

    /// The number of the newest picture of that display, or of the one that `who` means.
    pub(crate) fn newest(&self, display: Option<DisplayId>, who: &str) -> Option<u64> {
        let desktop = self.session.desktop()?;
        let display = self.display(desktop, display, who).ok()?;
        desktop.latest(display).map(|latest| latest.sequence)
    }

    /// Adds a step to those that are shown beside the picture.
    pub(crate) fn remember(&self, entry: &AuditEntry) {
        let mut trail = lock(&self.trail);
        trail.retain(|known| known.step != entry.step);
        trail.push_back(entry.clone());
        if trail.len() > LONGEST_TRAIL {
            trail.pop_front();
        }
    }

    /// The latest steps, each as it stands now, the oldest first.
    pub(crate) fn trail(&self) -> Vec<AuditEntry> {
        lock(&self.trail).iter().cloned().collect()
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

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("id", &self.id).field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// The selector's word for a system, from the words of a peer.
pub(crate) fn system(platform: &str) -> Option<String> {
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
