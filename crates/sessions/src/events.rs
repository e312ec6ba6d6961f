//! What happens, as it happens, for those who watch.

use crate::approvals::{Answer, Approval};
use crate::audit::{AuditEntry, now_ms};
use crate::lease::LeaseEnd;
use crate::live::{Live, Origin};
use crate::{SessionId, Sessions, live};
use policy::{Caller, Machine};
use std::sync::{Arc, Weak};
use tokio::sync::broadcast;

/// Events that a slow reader may be behind.
const BEHIND: usize = 1024;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Milliseconds since the beginning of 1970, UTC.
    pub time_ms: u64,
    /// The target's name, or the address where it has none.
    pub machine: Option<String>,
    pub session: Option<SessionId>,
    pub what: Happening,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    SessionOpened,
    /// A session is in another state; its name and a sentence on it.
    SessionState {
        state: &'static str,
        message: String,
    },
    SessionClosed {
        reason: String,
    },
    /// Something begins, is over, or was refused: as it stands in the audit log.
    Step(Box<AuditEntry>),
    /// A person has the desktop.
    TakenOver {
        who: String,
    },
    GivenBack {
        who: String,
        end: LeaseEnd,
    },
    ApprovalAsked(Box<Approval>),
    ApprovalAnswered {
        id: String,
        answer: Answer,
        by: String,
    },
    Stopped {
        credential: String,
        by: String,
    },
    LetGoOn {
        credential: String,
        by: String,
    },
}

impl Happening {
    pub const fn name(&self) -> &'static str {
        match self {
            Self::SessionOpened => "session_opened",
            Self::SessionState { .. } => "session_state",
            Self::SessionClosed { .. } => "session_closed",
            Self::Step(_) => "step",
            Self::TakenOver { .. } => "taken_over",
            Self::GivenBack { .. } => "given_back",
            Self::ApprovalAsked(_) => "approval_asked",
            Self::ApprovalAnswered { .. } => "approval_answered",
            Self::Stopped { .. } => "stopped",
            Self::LetGoOn { .. } => "let_go_on",
        }
    }
}

/// The machine that something is about, as far as it decides who may know.
#[derive(Debug, Clone)]
pub(crate) struct Concerned {
    pub(crate) name: String,
    pub(crate) tags: Arc<[String]>,
    pub(crate) os: Option<String>,
    /// The credential that alone may know, persons aside.
    pub(crate) owner: Option<String>,
}

impl Concerned {
    pub(crate) fn of(live: &Live) -> Self {
        let Origin { target, tags, .. } = &*live.origin;
        let os = live::system(&live.session.peer().platform);
        Self { name: target.clone(), tags: Arc::clone(tags), os, owner: live.owner() }
    }

    pub(crate) fn target(target: &remote::Target) -> Self {
        Self { name: target.name.clone(), tags: target.tags.clone().into(), os: None, owner: None }
    }

    pub(crate) fn machine(&self) -> Machine<'_> {
        Machine { tags: &self.tags, os: self.os.as_deref(), ..Machine::named(&self.name) }
    }
}

#[derive(Debug)]
struct Sent {
    event: Event,
    concerned: Option<Concerned>,
    /// The credential that did it.
    credential: Option<String>,
}

/// Tells everybody who listens; costs little while nobody does.
#[derive(Debug, Clone)]
pub(crate) struct Feed(broadcast::Sender<Arc<Sent>>);

impl Feed {
    pub(crate) fn new() -> Self {
        Self(broadcast::channel(BEHIND).0)
    }

    pub(crate) fn of_session(&self, live: &Live, what: Happening) {
        if self.is_heard() {
            self.tell(Some(Concerned::of(live)), Some(live.id.clone()), None, what);
        }
    }

    pub(crate) fn is_heard(&self) -> bool {
        self.0.receiver_count() > 0
    }

    pub(crate) fn tell(
        &self,
        concerned: Option<Concerned>,
        session: Option<SessionId>,
        credential: Option<String>,
        what: Happening,
    ) {
        let machine = concerned.as_ref().map(|concerned| concerned.name.clone());
        let event = Event { time_ms: now_ms(), machine, session, what };
        // Nobody has to listen.
        let _heard = self.0.send(Arc::new(Sent { event, concerned, credential }));
    }

    pub(crate) fn listen(&self, sessions: Weak<Sessions>, caller: Arc<Caller>) -> Events {
        Events { sessions, caller, feed: self.0.subscribe() }
    }
}

/// What a listener is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    Event(Event),
    /// The listener was too slow: so many events are gone. What is now, the lists tell.
    Missed(u64),
}

/// The events that a caller may know of, from when he began to listen.
#[derive(Debug)]
pub struct Events {
    /// A listener does not keep the sessions.
    sessions: Weak<Sessions>,
    caller: Arc<Caller>,
    feed: broadcast::Receiver<Arc<Sent>>,
}

impl Events {
    /// The next event; `None` when the sessions are gone. Cancel safe.
    pub async fn next(&mut self) -> Option<Told> {
        loop {
            match self.feed.recv().await {
                Ok(sent) => {
                    let access = self.sessions.upgrade()?.access(&self.caller);
                    let own = sent.credential.as_deref() == Some(&self.caller.credential);
                    let may = match &sent.concerned {
                        Some(concerned) => access.may_know(concerned),
                        None => own || access.is_admin(),
                    };
                    if may {
                        return Some(Told::Event(sent.event.clone()));
                    }
                }
                Err(broadcast::error::RecvError::Lagged(missed)) => return Some(Told::Missed(missed)),
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}
