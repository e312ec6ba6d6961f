//! What persons do: taking over, stopping, agreeing.

use super::Access;
use super::steps::{Doing, Place};
use crate::approvals::{Answer, Approval};
use crate::audit::{AuditDecision, AuditEntry, AuditPhase, now_ms};
use crate::events::{Concerned, Happening};
use crate::lease::{Control, Lease, LeaseEnd, Leases};
use crate::live::Live;
use crate::stops::Stop;
use crate::{SessionId, SessionsError};
use policy::{CallerKind, Class, Machine};
use remote::Input;
use std::sync::Arc;
use tokio::time::Instant;

/// Inputs of a person that go out together, at most.
pub const MOST_INPUTS: usize = 512;

impl Access {
    /// Gives the desktop to this person: when this returns, nothing that anybody else asked for reaches it
    /// any more. What was half-way stopped; what waited is refused. The lease ends when it is given back,
    /// when it was not [renewed](Self::renew) in time, or when somebody who may
    /// [ends it](Self::end_lease). Taking over again lengthens it.
    pub async fn take_over(&self, session: Option<&SessionId>) -> Result<Control, SessionsError> {
        self.persons_only()?;
        let live = self.meant_open(session)?;
        let step = self.begin(Place::Session(&live), Doing::changes("take_over", Class::Interact)).await?;
        let sessions = &self.sessions;
        let taken = sessions.leases().take(&live, &self.caller, self.config().lease, || sessions.all());
        if let Ok((lease, true)) = &taken {
            sessions.watch_lease(&live, &self.caller, lease);
            sessions.feed().of_session(&live, Happening::TakenOver { who: lease.name.clone() });
            for other in sessions.all().iter().filter(|other| Leases::are_beside(&live, other)) {
                other.gate.drained().await;
            }
        }
        step.end(&taken, live.newest(None, &self.caller.credential));
        taken.map(|(lease, _)| lease.control(Instant::now()))
    }

    /// Whoever has the session's desktop now.
    pub fn control(&self, session: &SessionId) -> Option<Control> {
        let now = Instant::now();
        let live = self.meant(Some(session)).ok()?;
        self.sessions.leases().on(&live, now).map(|lease| lease.control(now))
    }

    /// Says that the person in control is still there.
    pub fn renew(&self, session: Option<&SessionId>) -> Result<Control, SessionsError> {
        let live = self.meant_open(session)?;
        self.still_may(Class::Interact, &live)?;
        let lease = self.sessions.leases().renew(&live, &self.caller, self.config().lease, (0, 0))?;
        Ok(lease.control(Instant::now()))
    }

    /// Sends what the person in control does, at once and without looking what comes of it; it renews the
    /// lease. At most [`MOST_INPUTS`]. The record has them as a number, when the lease ends.
    pub async fn input(&self, session: Option<&SessionId>, inputs: Vec<Input>) -> Result<(), SessionsError> {
        if inputs.len() > MOST_INPUTS {
            let count = inputs.len();
            return Err(SessionsError::Invalid(format!("{count} inputs at once, allowed are {MOST_INPUTS}")));
        }
        let live = self.meant_open(session)?;
        self.still_may(Class::Interact, &live)?;
        live.desktop()?;
        let fence = self.fence(&live);
        let counts = (inputs.len() as u64, inputs.iter().map(characters).sum());
        self.sessions.leases().renew(&live, &self.caller, self.config().lease, counts)?;
        live.gate.send(inputs, &fence).await
    }

    /// Lets others act again.
    pub fn give_back(&self, session: Option<&SessionId>) -> Result<(), SessionsError> {
        let live = self.meant(session)?;
        let own = |lease: &Lease| lease.is_held_by(&self.caller);
        let lease = self.sessions.leases().end(&live, own).ok_or(SessionsError::NotInControl)?;
        self.sessions.lease_ended(&live, &self.caller, &lease, LeaseEnd::GivenBack);
        Ok(())
    }

    /// Ends another person's lease; for those with the class `admin` on the machine.
    pub async fn end_lease(&self, session: Option<&SessionId>) -> Result<(), SessionsError> {
        self.persons_only()?;
        let live = self.meant(session)?;
        let step = self.begin(Place::Session(&live), Doing::changes("end_lease", Class::Admin)).await?;
        let ended = self.sessions.leases().end(&live, |_| true).ok_or(SessionsError::NotInControl);
        if let Ok(lease) = &ended {
            let end = LeaseEnd::EndedBy(self.caller.name.clone());
            self.sessions.lease_ended(&live, &self.caller, lease, end);
        }
        step.end(&ended, None);
        ended.map(drop)
    }

    /// Stops every model and script that used the session, wherever else they are at work: their calls end,
    /// and they may make no others until a person [lets them go on](Self::let_go_on). When this returns,
    /// nothing of theirs reaches the desktop any more. The session stays. Gives the credentials stopped.
    pub async fn stop(&self, session: Option<&SessionId>) -> Result<Vec<String>, SessionsError> {
        self.persons_only()?;
        let live = self.meant(session)?;
        // Whoever may see it may stop it: that is no right that could do harm, and it is wanted at once.
        let step = self.begin(Place::Session(&live), Doing::changes("stop", Class::Observe)).await?;
        let users = live.users();
        let result = users.iter().try_for_each(|credential| {
            self.sessions.stops().stop(credential, &self.caller.name, &live.origin.target)
        });
        for credential in &users {
            let (credential, by) = (credential.clone(), self.caller.name.clone());
            self.sessions.feed().of_session(&live, Happening::Stopped { credential, by });
        }
        for other in self.sessions.all() {
            other.gate.drained().await;
        }
        step.end(&result, None);
        result.map(|()| users)
    }

    /// Lets a stopped credential go on; for those who may act on the machine where it was stopped, or have
    /// the class `admin`.
    pub async fn let_go_on(&self, credential: &str) -> Result<(), SessionsError> {
        self.persons_only()?;
        let unknown = || SessionsError::NotStopped(credential.chars().take(80).collect());
        let stop = self.sessions.stops().get(credential).ok_or_else(unknown)?;
        if !self.may_release(&stop) {
            return Err(unknown());
        }
        self.note_of_credential("let_go_on", credential).await?;
        if !self.sessions.stops().let_go_on(credential) {
            return Err(unknown());
        }
        let what = Happening::LetGoOn { credential: credential.to_owned(), by: self.caller.name.clone() };
        self.sessions.feed().tell(None, None, Some(credential.to_owned()), what);
        Ok(())
    }

    /// The stopped credentials that this person may let go on.
    pub fn stopped(&self) -> Vec<Stop> {
        self.sessions.stops().all().into_iter().filter(|stop| self.may_release(stop)).collect()
    }

    /// Gives a credential back the mode that its grant allows, where it was lowered; for persons with the
    /// class `admin`.
    pub async fn restore_mode(&self, credential: &str) -> Result<(), SessionsError> {
        self.persons_only()?;
        self.require(Class::Admin)?;
        self.note_of_credential("restore_mode", credential).await?;
        self.sessions.modes().restore(credential);
        Ok(())
    }

    /// What waits for a person's word, and what was answered lately, as far as this caller may answer it or
    /// asked it; the oldest first.
    pub fn approvals(&self) -> Vec<Approval> {
        self.sessions.approvals().list(|approval, concerned| {
            approval.credential == self.caller.credential || self.may_answer(approval, concerned)
        })
    }

    /// Answers what waits for a person's word; for those who may do it themselves, and for those with the
    /// class `admin` on the machine. An answer can be changed until it was used.
    pub async fn answer(&self, id: &str, answer: Answer) -> Result<Approval, SessionsError> {
        self.persons_only()?;
        let may = |approval: &Approval, concerned: &Concerned| self.may_answer(approval, concerned);
        let known = self.sessions.approvals().list(may).into_iter().find(|approval| approval.id == id);
        let unknown = || SessionsError::UnknownApproval(id.chars().take(40).collect());
        let asked = known.ok_or_else(unknown)?;
        let mut entry = self.person_entry("answer");
        entry.class = Some(asked.class);
        entry.machine = Some(asked.machine.clone());
        entry.session = asked.session.as_ref().map(|session| session.short().to_owned());
        entry.detail = Some(format!("{} to {} of {}", answer.name(), asked.operation, asked.credential));
        self.write(entry).await?;
        let answered = self.sessions.approvals().answer(id, answer, &self.caller.name, may);
        let (approval, concerned) = answered.ok_or_else(unknown)?;
        let what = Happening::ApprovalAnswered { id: id.to_owned(), answer, by: self.caller.name.clone() };
        self.sessions.feed().tell(Some(concerned), approval.session.clone(), None, what);
        Ok(approval)
    }

    fn persons_only(&self) -> Result<(), SessionsError> {
        if self.is_person() { Ok(()) } else { Err(SessionsError::PersonsOnly) }
    }

    /// For what is done many times a second under a step that is on record already.
    fn still_may(&self, class: Class, live: &Live) -> Result<(), SessionsError> {
        self.persons_only()?;
        match self.decide(class, &Concerned::of(live).machine()) {
            policy::Decision::Refused(refusal) => Err(SessionsError::NotPermitted(refusal)),
            _ => Ok(()),
        }
    }

    fn may_answer(&self, approval: &Approval, concerned: &Concerned) -> bool {
        self.is_person() && (self.may(approval.class, concerned) || self.may(Class::Admin, concerned))
    }

    fn may_release(&self, stop: &Stop) -> bool {
        let entry = self.sessions.book();
        let entry = entry.entries.iter().find(|entry| entry.target.name == stop.machine);
        let tags = entry.map(|entry| entry.target.tags.clone()).unwrap_or_default();
        let machine = Machine { tags: &tags, ..Machine::named(&stop.machine) };
        let may = |class| !matches!(self.decide(class, &machine), policy::Decision::Refused(_));
        self.is_person() && (may(Class::Interact) || self.is_admin())
    }

    /// Puts on record what is about to be done about a credential.
    async fn note_of_credential(&self, operation: &str, credential: &str) -> Result<(), SessionsError> {
        let mut entry = self.person_entry(operation);
        entry.detail = Some(credential.chars().take(80).collect());
        self.write(entry).await
    }

    async fn write(&self, entry: AuditEntry) -> Result<(), SessionsError> {
        self.sessions.journal().write(entry).await.map_err(SessionsError::NotAudited)
    }

    fn person_entry(&self, operation: &str) -> AuditEntry {
        AuditEntry {
            time_ms: now_ms(),
            step: crate::audit::step(),
            phase: AuditPhase::Whole,
            credential: self.caller.credential.clone(),
            name: self.caller.name.clone(),
            kind: CallerKind::Person,
            operation: operation.to_owned(),
            class: None,
            machine: None,
            session: None,
            decision: AuditDecision::Allowed,
            reason: None,
            detail: None,
            frame: None,
            outcome: Some("ok".to_owned()),
        }
    }
}

fn characters(input: &Input) -> u64 {
    match input {
        Input::Text(text) => text.chars().count() as u64,
        _ => 0,
    }
}

impl crate::Sessions {
    /// Ends the lease when its time is up.
    fn watch_lease(self: &Arc<Self>, live: &Arc<Live>, caller: &Arc<policy::Caller>, lease: &Lease) {
        let (sessions, number) = (Arc::downgrade(self), lease.number);
        let (live, caller, leases) = (Arc::downgrade(live), Arc::clone(caller), Arc::clone(self.leases()));
        self.tasks().spawn(async move {
            while let Some(until) = leases.until(number) {
                tokio::time::sleep_until(until).await;
                let Some(lease) = leases.expire(number) else { continue };
                if let (Some(sessions), Some(live)) = (sessions.upgrade(), live.upgrade()) {
                    sessions.lease_ended(&live, &caller, &lease, LeaseEnd::Expired);
                }
            }
        });
    }

    /// Tells that a lease is over, and what came through it.
    fn lease_ended(&self, live: &Live, by: &policy::Caller, lease: &Lease, end: LeaseEnd) {
        let (inputs, characters) = (lease.inputs, lease.characters);
        self.journal().note(AuditEntry {
            time_ms: now_ms(),
            step: crate::audit::step(),
            phase: AuditPhase::Whole,
            credential: by.credential.clone(),
            name: by.name.clone(),
            kind: by.kind,
            operation: "lease_ended".to_owned(),
            class: Some(Class::Interact),
            machine: Some(live.origin.target.clone()),
            session: Some(live.id.short().to_owned()),
            decision: AuditDecision::Allowed,
            reason: Some(match &end {
                LeaseEnd::GivenBack => "given back".to_owned(),
                LeaseEnd::Expired => "not renewed in time".to_owned(),
                LeaseEnd::EndedBy(name) => format!("ended by {name}"),
            }),
            detail: Some(format!("{} sent {inputs} inputs with {characters} characters of text", lease.name)),
            frame: live.newest(None, &lease.holder),
            outcome: Some("ok".to_owned()),
        });
        self.feed().of_session(live, Happening::GivenBack { who: lease.name.clone(), end });
    }
}
