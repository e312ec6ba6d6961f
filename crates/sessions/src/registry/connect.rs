//! Opening sessions, answering what a peer asks, and ending those that nobody uses.

use super::{LiveMap, Sessions, close};
use crate::approvals::Approvals;
use crate::events::{Feed, Happening};
use crate::live::{Live, Origin, lock};
use crate::targets::Wanted;
use crate::{SessionId, SessionsConfig, SessionsError};
use policy::Caller;
use remote::{Display, Secret, SessionState};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Which machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectTo {
    /// A configured target by name.
    Target(String),
    /// An address in the syntax of a connector; `protocol` where more than one might take it.
    Address { address: String, protocol: Option<String> },
    /// A session that waits for something.
    Session(SessionId),
}

/// A wish to connect.
#[derive(Debug, Clone)]
pub struct ConnectRequest {
    pub to: ConnectTo,
    /// In place of the configured one; for a session that asks for a password, the answer.
    pub password: Option<Secret>,
    /// How long to wait until the session is ready or needs something.
    pub wait: Duration,
    /// Open another session although one to this machine is open.
    pub another: bool,
}

/// Where a session stands after connecting. What is not ready stays open and can be continued.
#[derive(Debug, Clone)]
pub struct Connected {
    pub session: SessionId,
    pub target: String,
    pub state: SessionState,
    /// The session was open already.
    pub reused: bool,
    pub displays: Vec<Display>,
    pub waited: Duration,
}

impl Connected {
    /// Whether the desktop can be seen and acted on.
    pub fn is_ready(&self) -> bool {
        matches!(self.state, SessionState::Ready | SessionState::Degraded { .. })
    }
}

/// Sessions listed after their end at most.
const MOST_ENDED: usize = 32;
/// How long a peer may think about a password.
const ANSWER: Duration = Duration::from_secs(15);

impl Sessions {
    /// Waits until an open session is ready, needs something, is closed, or the time is up. `asked` goes on
    /// with one that waits for somebody: it is waited for what comes of it.
    pub(crate) async fn proceed(
        &self,
        live: &Live,
        password: Option<Secret>,
        asked: bool,
        until: Instant,
    ) -> Result<SessionState, SessionsError> {
        if let Some(password) = password {
            return self.answer(live, Answer::Password(password), until).await;
        }
        let seen = live.state();
        if asked && !is_ready(&seen) {
            changed(live, &seen, until).await;
        }
        Ok(settled(live, until).await)
    }

    /// Answers a session that asks for its second factor.
    pub(crate) async fn second_factor(
        &self,
        live: &Live,
        code: Secret,
        until: Instant,
    ) -> Result<SessionState, SessionsError> {
        self.answer(live, Answer::SecondFactor(code), until).await
    }

    /// The machine that is meant, before anything is done about it; `None` for a name that is not known.
    pub(crate) fn wanted(&self, to: &ConnectTo) -> Result<Option<Wanted>, SessionsError> {
        match to {
            ConnectTo::Target(name) => self.book().by_name(name),
            ConnectTo::Address { .. } if !self.config.allow_addresses => {
                Err(SessionsError::AddressNotAllowed)
            }
            ConnectTo::Address { address, protocol } => {
                self.book().by_address(address, protocol.as_deref()).map(Some)
            }
            ConnectTo::Session(id) => Err(SessionsError::UnknownSession(id.clone())),
        }
    }

    /// An open session to the same machine among those that `may_use` admits: any, or with a password at
    /// hand one that asks for it.
    pub(crate) fn reusable(
        &self,
        target: &str,
        request: &ConnectRequest,
        may_use: impl Fn(&Live) -> bool,
    ) -> Option<Arc<Live>> {
        if request.another {
            return None;
        }
        let fits = |live: &Arc<Live>| {
            let asks = matches!(live.state(), SessionState::AwaitingPassword { .. });
            live.origin.target == target && (request.password.is_none() || asks) && may_use(live)
        };
        self.open_sessions().into_iter().find(fits)
    }

    /// Opens a session, with the configured password unless another is given.
    pub(crate) fn open(
        &self,
        wanted: Wanted,
        password: Option<Secret>,
        opener: &Caller,
    ) -> Result<Arc<Live>, SessionsError> {
        let own = password.is_some();
        let Wanted { connector, mut target, .. } = wanted.unlock(&self.book())?;
        target.password = password.or(target.password);
        let mut map = lock(&self.live);
        let open = map.values().filter(|live| live.open().is_ok()).count();
        if open >= self.config.limit {
            return Err(SessionsError::TooManySessions { limit: self.config.limit });
        }
        let origin = Origin {
            number: map.values().map(|live| live.origin.number + 1).max().unwrap_or(0),
            target: target.name.clone(),
            address: target.address.clone(),
            protocol: connector.protocol(),
            tags: target.tags.clone().into(),
        };
        let session = connector.open(target)?;
        forget_oldest(&mut map);
        let live = Arc::new(Live::new(origin, session, &self.config, self.tasks.clone()));
        live.join(opener);
        if own {
            live.own(&opener.credential);
        }
        map.insert(live.id.clone(), Arc::clone(&live));
        drop(map);
        tracing::info!(session = live.id.short(), target = live.origin.target, "session opened");
        self.feed.of_session(&live, Happening::SessionOpened);
        let told = live.session.state();
        tell_state(&live, &self.feed, &told);
        let keeper = Keeper {
            map: Arc::clone(&self.live),
            approvals: Arc::clone(&self.approvals),
            feed: self.feed.clone(),
            told,
        };
        self.tasks.spawn(keep(Arc::clone(&live), keeper, self.config.clone()));
        Ok(live)
    }

    async fn answer(
        &self,
        live: &Live,
        answer: Answer,
        until: Instant,
    ) -> Result<SessionState, SessionsError> {
        let asked = live.state();
        let fits = match answer {
            Answer::Password(_) => {
                matches!(asked, SessionState::AwaitingPassword { .. } | SessionState::AwaitingApproval)
            }
            Answer::SecondFactor(_) => matches!(asked, SessionState::Awaiting2fa { .. }),
        };
        if !fits {
            return Err(SessionsError::NotAsked { what: answer.name(), state: asked });
        }
        match answer {
            Answer::Password(password) => live.session.password(password).await?,
            Answer::SecondFactor(code) => live.session.second_factor(code).await?,
        }
        changed(live, &asked, until.min(Instant::now() + ANSWER)).await;
        Ok(settled(live, until).await)
    }
}

enum Answer {
    Password(Secret),
    SecondFactor(Secret),
}

impl Answer {
    fn name(&self) -> &'static str {
        match self {
            Self::Password(_) => "password",
            Self::SecondFactor(_) => "second factor",
        }
    }
}

fn is_ready(state: &SessionState) -> bool {
    matches!(state, SessionState::Ready | SessionState::Degraded { .. })
}

/// Waits until the state is another than `seen`, or the time is up.
async fn changed(live: &Live, seen: &SessionState, until: Instant) {
    tokio::select! {
        _ = live.session.state_after(seen) => {}
        () = live.over() => {}
        () = tokio::time::sleep_until(until) => {}
    }
}

/// The first state that waiting alone does not change, or the one at the time's end.
async fn settled(live: &Live, until: Instant) -> SessionState {
    loop {
        let state = live.state();
        if !state.is_transient() || Instant::now() >= until {
            return state;
        }
        changed(live, &state, until).await;
    }
}

/// Keeps the list of what ended short, however often a caller connects.
fn forget_oldest(map: &mut BTreeMap<SessionId, Arc<Live>>) {
    let ended = |live: &&Arc<Live>| live.ended().is_some();
    if map.values().filter(ended).count() >= MOST_ENDED
        && let Some(oldest) =
            map.values().filter(ended).min_by_key(|live| live.origin.number).map(|live| live.id.clone())
    {
        map.remove(&oldest);
    }
}

/// What is told of a session's end.
struct Keeper {
    map: LiveMap,
    approvals: Arc<Approvals>,
    feed: Feed,
    /// The state that was told already.
    told: SessionState,
}

/// Stays with a session: tells its states, notes its end, ends it when nobody uses it, forgets it after a while.
async fn keep(live: Arc<Live>, keeper: Keeper, config: SessionsConfig) {
    tokio::select! {
        () = live.over() => {}
        error = closed(&live, &keeper.feed, keeper.told.clone()) => {
            let reason = error.to_string();
            live.end(reason, Some(error));
        }
        () = idle(&live, config.idle) => {
            let minutes = config.idle.unwrap_or_default().as_secs_f64() / 60.0;
            live.end(format!("nobody used it for {minutes} min"), None);
            close(&live).await;
        }
    }
    live.forget_views();
    keeper.approvals.forget(&live.id);
    if let Some(ended) = live.ended() {
        tracing::info!(session = live.id.short(), reason = ended.reason, "session closed");
        keeper.feed.of_session(&live, Happening::SessionClosed { reason: ended.reason.clone() });
        tokio::time::sleep_until(ended.at + config.linger).await;
    }
    lock(&keeper.map).remove(&live.id);
}

/// Waits for the driver to close; tells the states until then, from the one after `told` on.
async fn closed(live: &Live, feed: &Feed, mut told: SessionState) -> remote::RemoteError {
    loop {
        let state = live.session.state_after(&told).await;
        if let SessionState::Closed(error) = state {
            return error;
        }
        tell_state(live, feed, &state);
        told = state;
    }
}

fn tell_state(live: &Live, feed: &Feed, state: &SessionState) {
    let message = crate::error::describe(state);
    feed.of_session(live, Happening::SessionState { state: state.name(), message });
}

/// Waits until nobody used the session for that long.
async fn idle(live: &Live, limit: Option<Duration>) {
    let Some(limit) = limit else { return std::future::pending().await };
    loop {
        let since = live.idle_since();
        let due = since.unwrap_or_else(Instant::now) + limit;
        if since.is_some() && due <= Instant::now() {
            return;
        }
        tokio::time::sleep_until(due).await;
    }
}
