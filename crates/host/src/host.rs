//! The host as a value: everything its tasks share, and the handle that ends them.

use crate::config::{Counters, HostConfig, HostError, HostEvent, Limits, Path, SessionId};
use crate::injector::{InputFaults, InputThread};
use crate::listener;
use crate::one_time;
use crate::place::Place;
use crate::rendezvous;
use crate::session::{self, Command, Incoming};
use crate::state::State;
use crate::transport::Transport;
use crate::video::{VideoHandle, VideoService};
use hbb_common::addr::normalize_ip;
use hbb_common::key::{PublicKey, SigningKey};
use hbb_common::peer_id::{MAX_ID_LEN, MIN_ID_LEN};
use remote::{Permission, Secret, Size};
use session_proto::host::{Attempts, ClientInfo, Passwords};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Events that a slow listener can be behind.
const EVENTS: usize = 1024;

/// Commands that can wait for one session.
const COMMANDS: usize = 32;

/// Addresses whose connections are counted.
const COUNTED_ADDRESSES: usize = 4096;

/// A session as the local user sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    pub id: SessionId,
    pub from: SocketAddr,
    pub path: Path,
    pub sealed: bool,
    /// `None` until it has said who it is.
    pub client: Option<ClientInfo>,
    pub authorised: bool,
}

#[derive(Debug)]
struct Entry {
    info: SessionInfo,
    commands: mpsc::Sender<Command>,
}

/// How many connections an address may still open; fills up by one a second.
#[derive(Debug)]
struct Allowance {
    left: f64,
    at: Instant,
}

#[derive(Debug, Default)]
struct Admission {
    sessions: HashMap<SessionId, Entry>,
    allowances: HashMap<IpAddr, Allowance>,
    next: u64,
}

/// What all tasks of a host share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: HostConfig,
    pub(crate) state: Mutex<State>,
    pub(crate) attempts: Arc<Attempts>,
    pub(crate) passwords: Arc<Passwords>,
    one_time: Mutex<Option<Secret>>,
    pub(crate) counters: Counters,
    pub(crate) video: VideoHandle,
    pub(crate) input: InputThread,
    input_faults: Arc<InputFaults>,
    originals: HashMap<String, Size>,
    admission: Mutex<Admission>,
    events: broadcast::Sender<HostEvent>,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

/// Starts hosts.
#[derive(Debug)]
pub struct Host;

impl Host {
    /// Starts a host; needs a tokio runtime. When this returns, clients can come by address.
    pub fn spawn(config: HostConfig) -> Result<HostHandle, HostError> {
        if config.server.is_none() && config.direct.is_none() {
            return Err(HostError::Unreachable);
        }
        if let Some(id) = &config.id {
            check_id(id)?;
        }
        let server = config.server.as_ref().map(Place::of).transpose()?;
        let mut state = State::open(&config.state_dir)?;
        if let Some(id) = &config.id {
            state.set_id(id)?;
        }
        if let Some(password) = &config.password {
            state.set_password(password.reveal())?;
        }
        let listener = config.direct.map(listener::bind).transpose()?;
        let direct = listener.as_ref().map(|l| l.local_addr);
        let video = VideoService::spawn(config.screen.clone(), config.video.clone())?;
        let monitors = video.monitors();
        if monitors.is_empty() {
            return Err(HostError::NoMonitor);
        }
        let input_faults = Arc::new(InputFaults::default());
        let input = InputThread::spawn(&*config.screen, input_faults.clone())?;
        let shared = Arc::new(Shared {
            passwords: Arc::new(Passwords::new(state.password.clone())),
            one_time: Mutex::default(),
            state: Mutex::new(state),
            attempts: Arc::default(),
            counters: Counters::default(),
            video,
            input,
            input_faults,
            originals: monitors.into_iter().map(|m| (m.name, m.size)).collect(),
            admission: Mutex::default(),
            events: broadcast::channel(EVENTS).0,
            tasks: TaskTracker::new(),
            cancel: CancellationToken::new(),
            config,
        });
        let from_the_start = Mutex::new(Some(shared.events.subscribe()));
        shared.renew_one_time();
        if let Some(listener) = listener {
            shared.spawn(listener::run(shared.clone(), listener));
        }
        if let Some(server) = server {
            shared.spawn(rendezvous::run(shared.clone(), server));
        }
        Ok(HostHandle { shared, direct, from_the_start })
    }
}

fn check_id(id: &str) -> Result<(), HostError> {
    let fits = (MIN_ID_LEN..=MAX_ID_LEN).contains(&id.len());
    let plain = id.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if fits && plain { Ok(()) } else { Err(HostError::Id(id.into())) }
}

/// A running host. Dropping it ends every task; [`shutdown`](Self::shutdown) tells the clients first.
#[derive(Debug)]
pub struct HostHandle {
    shared: Arc<Shared>,
    direct: Option<SocketAddr>,
    from_the_start: Mutex<Option<broadcast::Receiver<HostEvent>>>,
}

impl HostHandle {
    /// What happens: to the first caller everything since the start, to others from now on. Whoever is
    /// more than 1024 events behind loses the oldest.
    pub fn events(&self) -> broadcast::Receiver<HostEvent> {
        let first = self.from_the_start.lock().unwrap_or_else(PoisonError::into_inner).take();
        first.unwrap_or_else(|| self.shared.events.subscribe())
    }

    /// The id that clients dial; can change while registering (see [`HostEvent::IdReplaced`]).
    pub fn id(&self) -> String {
        self.shared.state().id.clone()
    }

    /// Whether any password lets clients in.
    pub fn has_password(&self) -> bool {
        !self.shared.passwords.is_empty()
    }

    /// The present one-time password, if there are any.
    pub fn one_time_password(&self) -> Option<Secret> {
        self.shared.one_time().clone()
    }

    /// Replaces the one-time password; sessions that it let in go on.
    pub fn renew_one_time_password(&self) {
        self.shared.renew_one_time();
    }

    /// What clients verify this host by.
    pub fn public_key(&self) -> PublicKey {
        self.shared.state().identity.public()
    }

    /// Where clients can come by address.
    pub fn direct_addr(&self) -> Option<SocketAddr> {
        self.direct
    }

    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Input that did not reach the screen.
    pub fn input_faults(&self) -> &InputFaults {
        &self.shared.input_faults
    }

    /// Sessions and connections that are not logged in yet, oldest first.
    pub fn sessions(&self) -> Vec<SessionInfo> {
        let mut all: Vec<_> = self.shared.admission().sessions.values().map(|e| e.info.clone()).collect();
        all.sort_by_key(|info| info.id);
        all
    }

    /// Lets a client in that waits for the local user. `false` if there is no such session.
    pub fn accept(&self, session: SessionId) -> bool {
        self.shared.command(session, Command::Accept)
    }

    pub fn refuse(&self, session: SessionId) -> bool {
        self.shared.command(session, Command::Refuse)
    }

    /// Ends a session; stock clients do not come back by themselves.
    pub fn close(&self, session: SessionId) -> bool {
        self.shared.command(session, Command::Close("Closed manually by the peer".into()))
    }

    pub fn set_permission(&self, session: SessionId, permission: Permission, allowed: bool) -> bool {
        self.shared.command(session, Command::SetPermission(permission, allowed))
    }

    pub fn chat(&self, session: SessionId, text: &str) -> bool {
        self.shared.command(session, Command::Chat(text.into()))
    }

    /// This machine's clipboard holds a new text: offers it to every client that may have it.
    pub fn set_clipboard(&self, text: &str) {
        let text: Arc<str> = text.into();
        let sessions: Vec<SessionId> = self.shared.admission().sessions.keys().copied().collect();
        for session in sessions {
            self.shared.command(session, Command::Clipboard(text.clone()));
        }
    }

    /// Says good-bye to every client and waits until all tasks have ended.
    pub async fn shutdown(self) {
        self.shared.tasks.close();
        self.shared.cancel.cancel();
        self.shared.tasks.wait().await;
    }
}

impl Drop for HostHandle {
    fn drop(&mut self) {
        self.shared.tasks.close();
        self.shared.cancel.cancel();
    }
}

impl Shared {
    /// Runs a task that ends with the host: at the latest when it is cancelled and has had its say.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    pub(crate) fn cancel(&self) -> CancellationToken {
        self.cancel.clone()
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admission(&self) -> MutexGuard<'_, Admission> {
        self.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn credentials(&self) -> (SigningKey, String, String) {
        let state = self.state();
        (state.identity.clone(), state.id.clone(), state.salt.clone())
    }

    fn one_time(&self) -> MutexGuard<'_, Option<Secret>> {
        self.one_time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A fresh one-time password, where there are any.
    pub(crate) fn renew_one_time(&self) {
        let Some(rules) = self.config.one_time else { return };
        let mut current = self.one_time();
        let (password, hash) = one_time::make(rules, &self.state().salt);
        self.passwords.set_one_time(Some(hash));
        *current = Some(password.clone());
        self.report(HostEvent::OneTimePassword(password));
    }

    pub(crate) fn original_size(&self, monitor: &str) -> Option<Size> {
        self.originals.get(monitor).copied()
    }

    /// Tells whoever listens; that nobody does is no fault.
    pub(crate) fn report(&self, event: HostEvent) {
        tracing::debug!(?event);
        drop(self.events.send(event));
    }

    /// Takes a connection in, if the limits allow, and serves it in a task of its own.
    pub(crate) fn admit(
        self: &Arc<Self>,
        transport: impl FnOnce() -> Transport,
        from: SocketAddr,
        path: Path,
        secured: bool,
    ) {
        let ip = normalize_ip(from.ip());
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let id = {
            let mut admission = self.admission();
            if let Err(counter) = admission.check(ip, path, &self.config.limits, &self.counters) {
                counter.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(%from, "connection refused");
                return;
            }
            let id = SessionId(admission.next);
            admission.next += 1;
            let info = SessionInfo { id, from, path, sealed: false, client: None, authorised: false };
            admission.sessions.insert(id, Entry { info, commands });
            id
        };
        self.counters.accepted.fetch_add(1, Ordering::Relaxed);
        let incoming = Incoming { id, transport: transport(), from, path, secured, commands: inbox };
        self.spawn(session::serve(self.clone(), incoming, self.cancel.child_token()));
    }

    pub(crate) fn introduce(&self, session: SessionId, client: &ClientInfo, sealed: bool) {
        if let Some(entry) = self.admission().sessions.get_mut(&session) {
            entry.info.client = Some(client.clone());
            entry.info.sealed = sealed;
        }
    }

    /// Counts a session as logged in; `false` if there are too many.
    pub(crate) fn authorise(&self, session: SessionId) -> bool {
        let mut admission = self.admission();
        let live = admission.sessions.values().filter(|e| e.info.authorised).count();
        if live >= self.config.limits.sessions {
            self.counters.sessions.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let Some(entry) = admission.sessions.get_mut(&session) else { return true };
        entry.info.authorised = true;
        // The allowance is for strangers: who has logged in gets his place back.
        let ip = normalize_ip(entry.info.from.ip());
        let most = f64::from(self.config.limits.burst_per_address);
        if let Some(allowance) = admission.allowances.get_mut(&ip) {
            allowance.left = (allowance.left + 1.0).min(most);
        }
        true
    }

    pub(crate) fn forget(&self, session: SessionId) {
        self.admission().sessions.remove(&session);
    }

    fn command(&self, session: SessionId, command: Command) -> bool {
        let admission = self.admission();
        admission.sessions.get(&session).is_some_and(|entry| entry.commands.try_send(command).is_ok())
    }
}

impl Admission {
    /// Whether one more may come from `ip`; otherwise which counter says why not. A relay's address is
    /// not its client's, so it is not limited by itself.
    fn check<'a>(
        &mut self,
        ip: IpAddr,
        path: Path,
        limits: &Limits,
        counters: &'a Counters,
    ) -> Result<(), &'a AtomicU64> {
        let half_open = || self.sessions.values().filter(|e| !e.info.authorised);
        if half_open().count() >= limits.half_open {
            return Err(&counters.half_open);
        }
        if path == Path::Relayed {
            return Ok(());
        }
        let own = half_open().filter(|e| normalize_ip(e.info.from.ip()) == ip).count();
        if own >= limits.half_open_per_address {
            return Err(&counters.half_open);
        }
        let now = Instant::now();
        let most = f64::from(limits.burst_per_address);
        if self.allowances.len() >= COUNTED_ADDRESSES {
            self.allowances.retain(|_, a| a.left + now.duration_since(a.at).as_secs_f64() < most);
        }
        let allowance = self.allowances.entry(ip).or_insert(Allowance { left: most, at: now });
        allowance.left = (allowance.left + now.duration_since(allowance.at).as_secs_f64()).min(most);
        allowance.at = now;
        if allowance.left < 1.0 {
            return Err(&counters.rate_limited);
        }
        allowance.left -= 1.0;
        Ok(())
    }
}
