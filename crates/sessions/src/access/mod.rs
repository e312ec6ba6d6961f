//! The sessions as one caller may use them.

mod persons;
mod steps;
mod using;
mod watching;

pub use persons::MOST_INPUTS;
pub use watching::{WatchedPicture, Watching};

use crate::events::{Concerned, Events};
use crate::lease::Fence;
use crate::live::{InUse, Live};
use crate::targets::Wanted;
use crate::{
    AuditEntry, ConnectTo, SessionId, SessionSummary, Sessions, SessionsConfig, SessionsError, TargetEntry,
    TargetSummary,
};
use policy::{Caller, CallerKind, Class, Decision, Machine, Mode, Refusal};
use remote::Target;
use std::borrow::Cow;
use std::sync::Arc;
use steps::{Doing, Place};

/// All that a caller can do, each call decided for the machine that it concerns, and recorded. A machine
/// outside of the caller's grant is answered as if it did not exist.
#[derive(Debug, Clone)]
pub struct Access {
    sessions: Arc<Sessions>,
    caller: Arc<Caller>,
    operation: Option<Cow<'static, str>>,
}

impl Access {
    pub(crate) fn new(sessions: Arc<Sessions>, caller: Arc<Caller>) -> Self {
        Self { sessions, caller, operation: None }
    }

    /// What is done through this stands under that name in the record: a tool's.
    #[must_use]
    pub fn named(self, operation: impl Into<Cow<'static, str>>) -> Self {
        Self { operation: Some(operation.into()), ..self }
    }

    pub fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }

    pub fn config(&self) -> &SessionsConfig {
        self.sessions.config()
    }

    /// Whether the caller may do what belongs to `class` anywhere at all.
    pub fn granted(&self, class: Class) -> Result<(), Refusal> {
        let lowered = self.sessions.modes().of(&self.caller.credential);
        self.sessions.policy().granted_within(lowered, &self.caller, class)
    }

    /// Like [`granted`](Self::granted), with a refusal on record: for a call that names no machine yet.
    pub fn require(&self, class: Class) -> Result<(), SessionsError> {
        let refused = self.granted(class).map_err(SessionsError::NotPermitted);
        if let Err(error) = &refused {
            self.refuse(&Doing { class, ..Doing::looks("call") }, error);
        }
        refused
    }

    /// The mode in which the caller acts.
    pub fn mode(&self) -> Mode {
        let lowered = self.sessions.modes().of(&self.caller.credential);
        self.sessions.policy().mode_of(&self.caller).min(lowered)
    }

    /// Lowers the mode in which this credential acts from now on, by whomever it is used.
    pub fn set_mode(&self, mode: Mode) -> Result<(), SessionsError> {
        self.sessions.modes().lower(&self.caller.credential, self.mode(), mode)
    }

    /// The configured targets that the caller may observe.
    pub fn targets(&self) -> Vec<TargetSummary> {
        let open = self.sessions.open_sessions();
        let book = self.sessions.book();
        let summary = |entry: &TargetEntry| TargetSummary {
            name: entry.target.name.clone(),
            protocol: book
                .connector(entry.protocol.as_deref(), &entry.target.address)
                .map_or("unknown", |connector| connector.protocol()),
            description: entry.description.clone(),
            tags: entry.target.tags.clone(),
            has_password: entry.password.is_some(),
            sessions: open
                .iter()
                .filter(|live| live.origin.target == entry.target.name && self.may_see(live))
                .map(|live| live.id.clone())
                .collect(),
        };
        let visible = |entry: &&TargetEntry| {
            !matches!(self.decide(Class::Observe, &machine(&entry.target)), Decision::Refused(_))
        };
        book.entries.iter().filter(visible).map(summary).collect()
    }

    /// The sessions of machines that the caller may observe, those closed a short while ago included;
    /// oldest first.
    pub fn list(&self) -> Vec<SessionSummary> {
        let sessions = self.sessions.all();
        sessions.iter().filter(|live| self.may_see(live)).map(|live| SessionSummary::of(live)).collect()
    }

    /// The latest steps that were taken in a session, each as it stands now, the oldest first.
    pub fn trail(&self, session: Option<&SessionId>) -> Result<Vec<AuditEntry>, SessionsError> {
        Ok(self.meant(session)?.trail())
    }

    /// What happens from now on, as far as the caller may know of it.
    pub fn events(&self) -> Events {
        self.sessions.feed().listen(Arc::downgrade(&self.sessions), Arc::clone(&self.caller))
    }

    fn decide(&self, class: Class, machine: &Machine<'_>) -> Decision {
        let lowered = self.sessions.modes().of(&self.caller.credential);
        self.sessions.policy().decide_within(lowered, &self.caller, class, machine)
    }

    fn may(&self, class: Class, concerned: &Concerned) -> bool {
        !matches!(self.decide(class, &concerned.machine()), Decision::Refused(_))
    }

    /// Whether the caller may know of what concerns such a machine.
    pub(crate) fn may_know(&self, concerned: &Concerned) -> bool {
        let another = concerned.owner.as_ref().is_some_and(|owner| *owner != self.caller.credential);
        self.may(Class::Observe, concerned) && (!another || self.is_person())
    }

    fn may_see(&self, live: &Live) -> bool {
        self.may_know(&Concerned::of(live))
    }

    pub(crate) fn is_admin(&self) -> bool {
        self.granted(Class::Admin).is_ok()
    }

    fn is_person(&self) -> bool {
        self.caller.kind == CallerKind::Person
    }

    fn fence(&self, live: &Arc<Live>) -> Fence {
        self.sessions.fence(&self.caller, live)
    }

    /// The session meant: the named one, or the only open one of this credential's; for a person the only
    /// one that he may see.
    fn meant(&self, session: Option<&SessionId>) -> Result<Arc<Live>, SessionsError> {
        if let Some(id) = session {
            let unknown = || SessionsError::UnknownSession(id.clone());
            let live = self.sessions.known(id).ok_or_else(unknown)?;
            if self.may_see(&live) {
                return Ok(live);
            }
            self.hide(Place::Session(&live), &Doing::looks("session"), &unknown());
            return Err(unknown());
        }
        let mine = |live: &Arc<Live>| {
            self.may_see(live) && (self.is_person() || live.has_member(&self.caller.credential))
        };
        let mut open: Vec<_> = self.sessions.open_sessions().into_iter().filter(mine).collect();
        match open.len() {
            1 => Ok(open.swap_remove(0)),
            0 => Err(SessionsError::NoneOpen),
            _ => {
                let open = open.iter().map(|live| (live.id.clone(), live.origin.target.clone())).collect();
                Err(SessionsError::SeveralOpen { open })
            }
        }
    }

    /// The session meant, if it is open.
    fn meant_open(&self, session: Option<&SessionId>) -> Result<InUse, SessionsError> {
        let live = self.meant(session)?;
        live.open()?;
        live.used_by(&self.caller);
        Ok(live.in_use())
    }

    /// The machine to connect to. A target outside of the caller's grant is none that he knows.
    fn wanted(&self, to: &ConnectTo) -> Result<Wanted, SessionsError> {
        let Some(wanted) = self.sessions.wanted(to)? else { return Err(self.unknown_target(to)) };
        let refusal = self.decide(Class::Observe, &machine(&wanted.target));
        if let (ConnectTo::Target(_), Decision::Refused(Refusal::Machine { .. })) = (to, refusal) {
            let error = self.unknown_target(to);
            self.hide(Place::Machine(&wanted.target), &Doing::looks("connect"), &error);
            return Err(error);
        }
        Ok(wanted)
    }

    fn unknown_target(&self, to: &ConnectTo) -> SessionsError {
        let name = match to {
            ConnectTo::Target(name) | ConnectTo::Address { address: name, .. } => name.clone(),
            ConnectTo::Session(id) => return SessionsError::UnknownSession(id.clone()),
        };
        let known = self.targets().into_iter().map(|target| target.name).collect();
        SessionsError::UnknownTarget { name, known }
    }
}

/// What is known of a machine before a session is open.
fn machine(target: &Target) -> Machine<'_> {
    Machine { tags: &target.tags, ..Machine::named(&target.name) }
}
