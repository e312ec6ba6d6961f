//! The one gate of every call: it is decided, recorded, and told to those who watch.

use super::Access;
use crate::approvals::{Asked, Wish};
use crate::audit::{self, AuditDecision, AuditEntry, AuditPhase, Journal, now_ms};
use crate::events::{Concerned, Feed, Happening};
use crate::live::Live;
use crate::{SessionId, SessionsError};
use policy::{Class, Decision};
use remote::Target;
use std::sync::Arc;
use tokio::time::Instant;

/// What callers and peers choose stands in the record up to this many characters.
const LONGEST: usize = 200;

/// What is about to be done.
pub(super) struct Doing {
    /// Its name, where the caller's edge gave none.
    pub(super) name: &'static str,
    pub(super) class: Class,
    /// Another class that it needs beside that.
    pub(super) also: Option<Class>,
    /// It changes something, so it is on record before it is done.
    pub(super) changes: bool,
    /// A person in control of the desktop shuts it out.
    pub(super) fenced: bool,
    /// For the record: no secret, no typed text.
    pub(super) detail: Option<String>,
    /// For the person who is asked to agree; `detail` where there is none.
    pub(super) shown: Option<String>,
    /// Tells this call from others of its name.
    pub(super) exactly: String,
    /// The picture that it starts from.
    pub(super) frame: Option<u64>,
}

impl Doing {
    /// Looking at something.
    pub(super) fn looks(name: &'static str) -> Self {
        Self {
            name,
            class: Class::Observe,
            also: None,
            changes: false,
            fenced: false,
            detail: None,
            shown: None,
            exactly: String::new(),
            frame: None,
        }
    }

    /// Changing something.
    pub(super) fn changes(name: &'static str, class: Class) -> Self {
        Self { class, changes: true, ..Self::looks(name) }
    }
}

/// Where it is done.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    Session(&'a Arc<Live>),
    /// A machine without a session yet.
    Machine(&'a Target),
}

impl<'a> Place<'a> {
    pub(super) fn concerned(self) -> Concerned {
        match self {
            Self::Session(live) => Concerned::of(live),
            Self::Machine(target) => Concerned::target(target),
        }
    }

    fn session(self) -> Option<&'a SessionId> {
        match self {
            Self::Session(live) => Some(&live.id),
            Self::Machine(_) => None,
        }
    }

    fn live(self) -> Option<&'a Arc<Live>> {
        match self {
            Self::Session(live) => Some(live),
            Self::Machine(_) => None,
        }
    }
}

impl Access {
    /// Decides and records; what is done goes on with the step that this gives.
    pub(super) async fn begin(&self, place: Place<'_>, doing: Doing) -> Result<Step, SessionsError> {
        let mut step = self.prepare(place, doing)?;
        step.record().await?;
        Ok(step)
    }

    /// Decides; the step has to be recorded before anything is changed.
    pub(super) fn prepare(&self, place: Place<'_>, doing: Doing) -> Result<Step, SessionsError> {
        let concerned = place.concerned();
        let mut entry = self.entry(&doing, Some(&concerned), place.session());
        let decided = self.settle(place, &doing, &concerned);
        let mut step = self.step(place.live(), Some(concerned));
        match decided {
            Ok(Agreement::Policy) => {}
            Ok(Agreement::Person(by)) => {
                entry.decision = AuditDecision::Approved;
                entry.reason = Some(short(&format!("{by} agreed")));
            }
            Err(error) => {
                step.refuse(entry, &error);
                return Err(error);
            }
        }
        step.changes = doing.changes;
        step.strict = doing.changes || !self.config().look_without_audit;
        step.entry = Some(entry);
        Ok(step)
    }

    /// Notes a refusal that came before any machine was named.
    pub(super) fn refuse(&self, doing: &Doing, error: &SessionsError) {
        self.step(None, None).refuse(self.entry(doing, None, None), error);
    }

    /// Notes a refusal that is told as if there were no such machine.
    pub(super) fn hide(&self, place: Place<'_>, doing: &Doing, error: &SessionsError) {
        let concerned = place.concerned();
        let entry = self.entry(doing, Some(&concerned), place.session());
        self.step(None, Some(concerned)).refuse(entry, error);
    }

    fn step(&self, live: Option<&Arc<Live>>, concerned: Option<Concerned>) -> Step {
        Step {
            journal: self.sessions.journal().clone(),
            feed: self.sessions.feed().clone(),
            live: live.cloned(),
            concerned,
            begun: Instant::now(),
            entry: None,
            changes: false,
            strict: false,
            recorded: false,
        }
    }

    fn settle(
        &self,
        place: Place<'_>,
        doing: &Doing,
        concerned: &Concerned,
    ) -> Result<Agreement, SessionsError> {
        if !self.is_person() {
            self.sessions.stops().check(&self.caller.credential)?;
        }
        let mut reason = None;
        for class in std::iter::once(doing.class).chain(doing.also) {
            match self.decide(class, &concerned.machine()) {
                Decision::Refused(refusal) => return Err(SessionsError::NotPermitted(refusal)),
                // A person who does it himself agrees to it.
                Decision::NeedsApproval { reason: why } if !self.is_person() => reason = Some(why),
                Decision::Allowed | Decision::NeedsApproval { .. } => {}
            }
        }
        if let (true, Some(live)) = (doing.fenced, place.live()) {
            self.sessions.fence(&self.caller, live).check()?;
        }
        let Some(reason) = reason else { return Ok(Agreement::Policy) };
        let detail = doing.shown.as_ref().or(doing.detail.as_ref());
        let asked = self.sessions.approvals().ask(Wish {
            caller: &self.caller,
            class: doing.class,
            machine: &concerned.name,
            session: place.session(),
            operation: self.operation.as_deref().unwrap_or(doing.name),
            detail: short(detail.map_or("", String::as_str)),
            exactly: doing.exactly.clone(),
            reason,
            concerned: concerned.clone(),
        })?;
        match asked {
            Asked::Agreed(by) => Ok(Agreement::Person(by)),
            Asked::Waits(approval, new) => {
                let error = SessionsError::NeedsApproval {
                    id: approval.id.clone(),
                    reason: approval.reason.clone(),
                    left: approval.left,
                };
                if new {
                    let (session, what) = (approval.session.clone(), Happening::ApprovalAsked(approval));
                    self.sessions.feed().tell(Some(concerned.clone()), session, None, what);
                }
                Err(error)
            }
        }
    }

    fn entry(&self, doing: &Doing, concerned: Option<&Concerned>, session: Option<&SessionId>) -> AuditEntry {
        AuditEntry {
            time_ms: now_ms(),
            step: audit::step(),
            phase: AuditPhase::Whole,
            credential: self.caller.credential.clone(),
            name: self.caller.name.clone(),
            kind: self.caller.kind,
            operation: self.operation.as_deref().unwrap_or(doing.name).to_owned(),
            class: Some(doing.class),
            machine: concerned.map(|concerned| short(&concerned.name)),
            session: session.map(|session| session.short().to_owned()),
            decision: AuditDecision::Allowed,
            reason: None,
            detail: doing.detail.as_deref().map(short),
            frame: doing.frame,
            outcome: None,
        }
    }
}

enum Agreement {
    Policy,
    Person(String),
}

/// Something that was begun. Dropped before its end, it was cancelled.
pub(crate) struct Step {
    journal: Journal,
    feed: Feed,
    live: Option<Arc<Live>>,
    concerned: Option<Concerned>,
    begun: Instant,
    /// `None` once it is over.
    entry: Option<AuditEntry>,
    changes: bool,
    /// Its beginning has to be on record.
    strict: bool,
    /// Its beginning is on record.
    recorded: bool,
}

impl Step {
    /// Puts its beginning on record, where that has to be; what can not be recorded is not to be done.
    pub(super) async fn record(&mut self) -> Result<(), SessionsError> {
        let Some(mut entry) = self.entry.clone() else { return Ok(()) };
        if self.strict {
            entry.phase = AuditPhase::Begun;
            entry.time_ms = now_ms();
            if let Err(error) = self.journal.write(entry.clone()).await {
                self.entry = None;
                return Err(SessionsError::NotAudited(error));
            }
            self.recorded = true;
        }
        if self.changes {
            self.tell(&entry);
        }
        Ok(())
    }

    /// What it is done to, where that was not known when it began.
    pub(super) fn concerns(&mut self, live: &Arc<Live>) {
        if let Some(entry) = &mut self.entry {
            entry.session = Some(live.id.short().to_owned());
        }
        self.live = Some(Arc::clone(live));
        self.concerned = Some(Concerned::of(live));
    }

    /// Tells how it ended; `frame` is the picture after it.
    pub(super) fn end<T>(mut self, result: &Result<T, SessionsError>, frame: Option<u64>) {
        match result {
            Ok(_) => self.over("ok", None, frame),
            Err(error) => self.over(error.kind(), Some(error.to_string()), frame),
        }
    }

    fn over(&mut self, outcome: &str, reason: Option<String>, frame: Option<u64>) {
        let Some(mut entry) = self.entry.take() else { return };
        if self.recorded {
            entry.phase = AuditPhase::Ended;
        }
        entry.time_ms = now_ms();
        if matches!(outcome, "human_in_control") && !self.recorded && self.changes {
            entry.decision = AuditDecision::HumanInControl;
        }
        entry.outcome = Some(outcome.to_owned());
        entry.reason = reason.as_deref().map(short).or(entry.reason);
        entry.frame = frame;
        self.tell(&entry);
        self.journal.note(entry);
        tracing::debug!(outcome, took_ms = self.begun.elapsed().as_millis(), "step");
    }

    fn refuse(&mut self, mut entry: AuditEntry, error: &SessionsError) {
        entry.decision = match error {
            SessionsError::NeedsApproval { .. } => AuditDecision::NeedsApproval,
            SessionsError::HumanInControl { .. }
            | SessionsError::ControlChanged
            | SessionsError::Stopped { .. } => AuditDecision::HumanInControl,
            _ => AuditDecision::Refused,
        };
        entry.reason = Some(short(&error.to_string()));
        entry.outcome = Some(error.kind().to_owned());
        self.tell(&entry);
        self.journal.note(entry);
    }

    fn tell(&self, entry: &AuditEntry) {
        if let Some(live) = &self.live {
            live.remember(entry);
        }
        if self.feed.is_heard() {
            let session = self.live.as_ref().map(|live| live.id.clone());
            let what = Happening::Step(Box::new(entry.clone()));
            self.feed.tell(self.concerned.clone(), session, Some(entry.credential.clone()), what);
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.over("cancelled", Some("the caller went away".to_owned()), None);
    }
}

/// As much of a text as has room in the record, on one line.
fn short(text: &str) -> String {
    text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
