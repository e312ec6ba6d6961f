//! The sessions as one caller may use them.

use crate::live::{InUse, Live};
use crate::targets::Wanted;
use crate::{
    Act, Acted, ConnectRequest, ConnectTo, Connected, Screenshot, ScreenshotRequest, SessionId,
    SessionStatus, SessionSummary, Sessions, SessionsConfig, SessionsError, TargetEntry, TargetSummary,
    WaitOutcome, WaitRequest,
};
use policy::{Caller, CallerKind, Class, Decision, Machine, Refusal};
use remote::{Secret, Target};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// All that a caller can do, each call decided for the machine that it concerns. A machine outside of the
/// caller's grant is answered as if it did not exist.
#[derive(Debug, Clone)]
pub struct Access {
    sessions: Arc<Sessions>,
    caller: Arc<Caller>,
}

impl Access {
    pub(crate) fn new(sessions: Arc<Sessions>, caller: Arc<Caller>) -> Self {
        Self { sessions, caller }
    }

    pub fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }

    pub fn config(&self) -> &SessionsConfig {
        self.sessions.config()
    }

    /// Whether the caller may do what belongs to `class` anywhere at all.
    pub fn granted(&self, class: Class) -> Result<(), Refusal> {
        self.sessions.policy().granted(&self.caller, class)
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

    /// How a session stands, or how it ended.
    pub fn status(&self, session: Option<&SessionId>) -> Result<SessionStatus, SessionsError> {
        let live = self.meant(session)?;
        self.allow(&live, Class::Observe)?;
        Ok(SessionStatus::of(&live))
    }

    /// Opens a session, or goes on with one that waits; returns when it is ready, needs something, is
    /// closed, or the time is up. Cancel safe: an opened session stays open.
    pub async fn connect(&self, request: ConnectRequest) -> Result<Connected, SessionsError> {
        if request.password.is_some() && !self.config().allow_passwords {
            return Err(SessionsError::PasswordNotAllowed);
        }
        let start = Instant::now();
        let until = start + request.wait;
        let asked = matches!(request.to, ConnectTo::Session(_));
        let (live, reused) = match &request.to {
            ConnectTo::Session(id) => (self.open_one(Some(id), Class::Observe)?, true),
            to => {
                let wanted = self.wanted(to)?;
                match self.sessions.reusable(&wanted.target.name, &request, |live| self.may_see(live)) {
                    Some(live) => (live.in_use(), true),
                    None => {
                        let password = request.password.clone();
                        (self.sessions.open(wanted, password, &self.caller.credential)?.in_use(), false)
                    }
                }
            }
        };
        live.join(&self.caller.credential);
        let answer = request.password.filter(|_| reused);
        if answer.is_some() {
            live.own(&self.caller.credential);
        }
        let state = self.sessions.proceed(&live, answer, asked, until).await?;
        Ok(Connected {
            session: live.id.clone(),
            target: live.origin.target.clone(),
            state,
            reused,
            waited: start.elapsed(),
        })
    }

    /// Answers a session that asks for its second factor.
    pub async fn authenticate(
        &self,
        session: Option<&SessionId>,
        code: Secret,
        wait: Duration,
    ) -> Result<Connected, SessionsError> {
        let start = Instant::now();
        let live = self.open_one(session, Class::Observe)?;
        live.own(&self.caller.credential);
        let state = self.sessions.second_factor(&live, code, start + wait).await?;
        Ok(Connected {
            session: live.id.clone(),
            target: live.origin.target.clone(),
            state,
            reused: true,
            waited: start.elapsed(),
        })
    }

    /// Closes a session; tells which. One that is closed already stays so.
    pub async fn disconnect(&self, session: Option<&SessionId>) -> Result<SessionId, SessionsError> {
        let live = self.meant(session)?;
        let own = live.has_member(&self.caller.credential);
        self.allow(&live, if own { Class::Observe } else { Class::Interact })?;
        self.sessions.disconnect(&live).await;
        Ok(live.id.clone())
    }

    /// A picture of a display, or the word that nothing changed since the last one. Cancel safe.
    pub async fn screenshot(
        &self,
        session: Option<&SessionId>,
        request: &ScreenshotRequest,
    ) -> Result<(SessionId, Screenshot), SessionsError> {
        let live = self.open_one(session, Class::Observe)?;
        let picture = self.sessions.screenshot(&live, request).await?;
        Ok((live.id.clone(), picture))
    }

    /// Does one thing and looks what came of it. An error says that nothing was sent, or how much;
    /// inputs of unknown outcome are not sent again. Dropping the future stops before the next batch.
    pub async fn act(
        &self,
        session: Option<&SessionId>,
        act: Act,
    ) -> Result<(SessionId, Acted), SessionsError> {
        let live = self.open_one(session, Class::Interact)?;
        let acted = self.sessions.act(&live, act).await?;
        Ok((live.id.clone(), acted))
    }

    /// Waits until the screen changes or rests. Cancel safe.
    pub async fn wait_for(
        &self,
        session: Option<&SessionId>,
        request: &WaitRequest,
    ) -> Result<(SessionId, WaitOutcome), SessionsError> {
        let live = self.open_one(session, Class::Observe)?;
        let outcome = self.sessions.wait_for(&live, request).await?;
        Ok((live.id.clone(), outcome))
    }

    fn decide(&self, class: Class, machine: &Machine<'_>) -> Decision {
        self.sessions.policy().decide(&self.caller, class, machine)
    }

    /// Whether the caller may know of the session.
    fn may_see(&self, live: &Live) -> bool {
        let another = live.is_owned_by_another(&self.caller.credential);
        let decision = live.decide(|machine| self.decide(Class::Observe, machine));
        !matches!(decision, Decision::Refused(_)) && (!another || self.is_person())
    }

    fn is_person(&self) -> bool {
        self.caller.kind == CallerKind::Person
    }

    /// The session meant: the named one, or the only open one of this credential's; for a person the only
    /// one that he may see.
    fn meant(&self, session: Option<&SessionId>) -> Result<Arc<Live>, SessionsError> {
        if let Some(id) = session {
            let known = self.sessions.known(id).filter(|live| self.may_see(live));
            return known.ok_or_else(|| SessionsError::UnknownSession(id.clone()));
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

    /// The session meant, if it is open and the caller may do what belongs to `class` there.
    fn open_one(&self, session: Option<&SessionId>, class: Class) -> Result<InUse, SessionsError> {
        let live = self.meant(session)?;
        self.allow(&live, class)?;
        live.open()?;
        Ok(live.in_use())
    }

    fn allow(&self, live: &Live, class: Class) -> Result<(), SessionsError> {
        verdict(live.decide(|machine| self.decide(class, machine)))
    }

    /// The machine to connect to, if the caller may. A target outside of his grant is none that he knows.
    fn wanted(&self, to: &ConnectTo) -> Result<Wanted, SessionsError> {
        let wanted = self.sessions.wanted(to)?;
        let decision = wanted.as_ref().map(|wanted| self.decide(Class::Observe, &machine(&wanted.target)));
        match (to, wanted, decision) {
            (ConnectTo::Target(name), None, _)
            | (ConnectTo::Target(name), _, Some(Decision::Refused(Refusal::Machine { .. }))) => {
                let known = self.targets().into_iter().map(|target| target.name).collect();
                Err(SessionsError::UnknownTarget { name: name.clone(), known })
            }
            (_, Some(wanted), Some(decision)) => verdict(decision).map(|()| wanted),
            (_, None, _) | (_, _, None) => Err(SessionsError::AddressNotAllowed),
        }
    }
}

/// What is known of a machine before a session is open.
fn machine(target: &Target) -> Machine<'_> {
    Machine { tags: &target.tags, ..Machine::named(&target.name) }
}

fn verdict(decision: Decision) -> Result<(), SessionsError> {
    match decision {
        Decision::Allowed => Ok(()),
        Decision::Refused(refusal) => Err(SessionsError::NotPermitted(refusal)),
        Decision::NeedsApproval { reason } => Err(SessionsError::NeedsApproval { reason }),
    }
}
