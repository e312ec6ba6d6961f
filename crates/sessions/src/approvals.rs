//! What waits for a person's word.
//!
//! A call that needs one is refused with the name of its approval. When a person agreed, the same call goes
//! ahead: once, or every call of that class for as long as the session lasts. What nobody answers is
//! forgotten after a while, and so is every answer.

use crate::events::Concerned;
use crate::live::lock;
use crate::{SessionId, SessionsError};
use policy::{Caller, CallerKind, Class};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// Approvals of one credential that may wait at a time.
pub const MOST_WAITING: usize = 8;
/// Approvals kept in all, answered ones included.
const MOST: usize = 512;

/// How a person answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The call may be made, one time.
    Once,
    /// Every call of its class by this credential may be made in this session; before there is a session,
    /// on this machine.
    Session,
    /// The call may not be made.
    Refuse,
}

impl Answer {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Session => "session",
            Self::Refuse => "refuse",
        }
    }
}

/// A call that waits, or waited, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    pub id: String,
    pub credential: String,
    /// Whom the credential was given to.
    pub name: String,
    pub kind: CallerKind,
    pub machine: String,
    pub session: Option<SessionId>,
    pub class: Class,
    /// The tool.
    pub operation: String,
    /// What it would do, in full as far as that is short: text to type is shown, secrets are not.
    pub detail: String,
    /// Why a person is asked, in the operator's words.
    pub reason: String,
    pub waited: Duration,
    /// How long it is kept yet.
    pub left: Duration,
    /// `None` while nobody answered; else how, and who.
    pub answer: Option<(Answer, String)>,
}

/// How long what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApprovalTimes {
    /// A question waits for its answer this long.
    pub question: Duration,
    /// A word for one call, and a refusal, hold this long.
    pub answer: Duration,
    /// A word for a session holds this long at most.
    pub session: Duration,
}

impl Default for ApprovalTimes {
    fn default() -> Self {
        Self {
            question: Duration::from_secs(10 * 60),
            answer: Duration::from_secs(5 * 60),
            session: Duration::from_secs(8 * 3600),
        }
    }
}

/// A wish that the policy lets a person decide.
pub(crate) struct Wish<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) class: Class,
    pub(crate) machine: &'a str,
    pub(crate) session: Option<&'a SessionId>,
    pub(crate) operation: &'a str,
    /// For the person.
    pub(crate) detail: String,
    /// Everything that makes a call the same call.
    pub(crate) exactly: String,
    pub(crate) reason: String,
    pub(crate) concerned: Concerned,
}

/// What became of a wish.
pub(crate) enum Asked {
    /// It may go ahead; who agreed.
    Agreed(String),
    /// A person has yet to answer; `true` where the question is new.
    Waits(Box<Approval>, bool),
}

struct Entry {
    approval: Approval,
    concerned: Concerned,
    exactly: u64,
    since: Instant,
    until: Instant,
}

impl Entry {
    fn told(&self, now: Instant) -> Approval {
        Approval {
            waited: now.saturating_duration_since(self.since),
            left: self.until.saturating_duration_since(now),
            ..self.approval.clone()
        }
    }

    fn is_of(&self, wish: &Wish<'_>) -> bool {
        let approval = &self.approval;
        approval.credential == wish.caller.credential
            && approval.class == wish.class
            && approval.machine == wish.machine
            && approval.session.as_ref() == wish.session
    }
}

/// All approvals.
pub(crate) struct Approvals {
    times: ApprovalTimes,
    /// Its keys are random, so that nobody can make another call look the same.
    hash: RandomState,
    entries: Mutex<Vec<Entry>>,
}

impl Approvals {
    pub(crate) fn new(times: ApprovalTimes) -> Self {
        Self { times, hash: RandomState::new(), entries: Mutex::default() }
    }

    /// Looks for a person's word on the wish; asks for one where there is none.
    pub(crate) fn ask(&self, wish: Wish<'_>) -> Result<Asked, SessionsError> {
        let now = Instant::now();
        let exactly = self.hash.hash_one((wish.operation, &wish.exactly));
        let mut entries = lock(&self.entries);
        entries.retain(|entry| entry.until > now);
        let standing = |entry: &&Entry| {
            entry.is_of(&wish) && matches!(entry.approval.answer, Some((Answer::Session, _)))
        };
        if let Some((_, by)) = entries.iter().find(standing).and_then(|entry| entry.approval.answer.clone()) {
            return Ok(Asked::Agreed(by));
        }
        let same = entries.iter().position(|entry| entry.is_of(&wish) && entry.exactly == exactly);
        if let Some(place) = same {
            return match entries[place].approval.answer.clone() {
                None => Ok(Asked::Waits(Box::new(entries[place].told(now)), false)),
                Some((Answer::Refuse, by)) => Err(SessionsError::ApprovalRefused { by }),
                Some((Answer::Once | Answer::Session, by)) => {
                    entries.swap_remove(place);
                    Ok(Asked::Agreed(by))
                }
            };
        }
        let waits = |entry: &&Entry| {
            entry.approval.credential == wish.caller.credential && entry.approval.answer.is_none()
        };
        if entries.iter().filter(waits).count() >= MOST_WAITING || entries.len() >= MOST {
            return Err(SessionsError::TooManyApprovals { limit: MOST_WAITING });
        }
        let approval = Approval {
            id: format!("a_{:016x}", rand::random::<u64>()),
            credential: wish.caller.credential.clone(),
            name: wish.caller.name.clone(),
            kind: wish.caller.kind,
            machine: wish.machine.to_owned(),
            session: wish.session.cloned(),
            class: wish.class,
            operation: wish.operation.to_owned(),
            detail: wish.detail,
            reason: wish.reason,
            waited: Duration::ZERO,
            left: self.times.question,
            answer: None,
        };
        let until = now + self.times.question;
        let concerned = wish.concerned;
        entries.push(Entry { approval: approval.clone(), concerned, exactly, since: now, until });
        Ok(Asked::Waits(Box::new(approval), true))
    }

    /// Those that `may_see` admits, the oldest first.
    pub(crate) fn list(&self, may_see: impl Fn(&Approval, &Concerned) -> bool) -> Vec<Approval> {
        let now = Instant::now();
        let mut entries = lock(&self.entries);
        entries.retain(|entry| entry.until > now);
        let seen = entries.iter().filter(|entry| may_see(&entry.approval, &entry.concerned));
        let mut seen: Vec<_> = seen.map(|entry| entry.told(now)).collect();
        seen.sort_by_key(|approval| std::cmp::Reverse(approval.waited));
        seen
    }

    /// Answers a waiting one, or changes the answer; `None` for one that is not known to whoever answers.
    pub(crate) fn answer(
        &self,
        id: &str,
        answer: Answer,
        by: &str,
        may_answer: impl Fn(&Approval, &Concerned) -> bool,
    ) -> Option<(Approval, Concerned)> {
        let now = Instant::now();
        let mut entries = lock(&self.entries);
        let entry = entries.iter_mut().find(|entry| {
            entry.approval.id == id && entry.until > now && may_answer(&entry.approval, &entry.concerned)
        })?;
        entry.approval.answer = Some((answer, by.to_owned()));
        entry.until = now
            + match answer {
                Answer::Session => self.times.session,
                Answer::Once | Answer::Refuse => self.times.answer,
            };
        Some((entry.told(now), entry.concerned.clone()))
    }

    /// Forgets what concerned a session that ended.
    pub(crate) fn forget(&self, session: &SessionId) {
        lock(&self.entries).retain(|entry| entry.approval.session.as_ref() != Some(session));
    }
}
