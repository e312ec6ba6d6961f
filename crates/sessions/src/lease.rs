//! Who may touch a desktop now.
//!
//! A person who takes over a desktop holds its lease: every other way to it is shut until the lease ends. It
//! is one lease per *desktop*, not per session: several sessions to one machine are shut together.
//!
//! An action notes the desktop's epoch when it is asked for and is refused if a lease began since, even one
//! that is over again: what was planned before a person touched the desktop is not done after.

use crate::live::{Live, Origin, lock};
use crate::stops::Stops;
use crate::{SessionsError, live};
use policy::{Caller, CallerKind};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Leases at a time, at most.
const MOST_LEASES: usize = 256;

/// Somebody's control of a desktop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// Names the person's credential.
    pub holder: String,
    /// Whom the person's credential was given to.
    pub who: String,
    /// How long they have had it.
    pub held: Duration,
    /// How long it lasts yet, unless it is renewed.
    pub left: Duration,
}

/// How a lease ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseEnd {
    GivenBack,
    /// It was not renewed in time.
    Expired,
    /// Somebody who may do that ended it.
    EndedBy(String),
}

/// What makes two sessions sessions of one desktop.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Desktop {
    origin: Arc<Origin>,
    /// The key that the peer proved.
    key: Option<String>,
}

impl Desktop {
    fn of(live: &Live) -> Self {
        Self { origin: Arc::clone(&live.origin), key: live.session.peer().key }
    }

    fn is_same(&self, other: &Self) -> bool {
        let (one, another) = (&self.origin, &other.origin);
        one.protocol == another.protocol
            && (one.target == another.target
                || one.address == another.address
                || (self.key.is_some() && self.key == other.key))
    }
}

/// A held lease.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    /// Counts the leases of a process.
    pub(crate) number: u64,
    pub(crate) holder: String,
    pub(crate) name: String,
    desktop: Desktop,
    since: Instant,
    pub(crate) until: Instant,
    /// What came through it: inputs, and characters of text among them.
    pub(crate) inputs: u64,
    pub(crate) characters: u64,
}

impl Lease {
    pub(crate) fn control(&self, now: Instant) -> Control {
        Control {
            holder: self.holder.clone(),
            who: self.name.clone(),
            held: now.saturating_duration_since(self.since),
            left: self.until.saturating_duration_since(now),
        }
    }

    /// A model that shares a person's credential does not share the person's hand.
    pub(crate) fn is_held_by(&self, caller: &Caller) -> bool {
        caller.kind == CallerKind::Person && caller.credential == self.holder
    }

    fn error(&self, now: Instant) -> SessionsError {
        let Control { who, held, .. } = self.control(now);
        SessionsError::HumanInControl { who, since: held }
    }
}

/// All leases.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    leases: Vec<Lease>,
    last: u64,
}

impl Held {
    fn on(&mut self, desktop: &Desktop, now: Instant) -> Option<&mut Lease> {
        self.leases.iter_mut().find(|lease| lease.until > now && lease.desktop.is_same(desktop))
    }
}

impl Leases {
    /// Whoever has the desktop now.
    pub(crate) fn on(&self, live: &Live, now: Instant) -> Option<Lease> {
        lock(&self.held).on(&Desktop::of(live), now).cloned()
    }

    /// Gives the desktop to the caller, or lengthens his lease of it. `true`: the lease is new, and every
    /// action of others that was asked for before is void.
    pub(crate) fn take(
        &self,
        live: &Live,
        caller: &Caller,
        length: Duration,
        all: impl FnOnce() -> Vec<Arc<Live>>,
    ) -> Result<(Lease, bool), SessionsError> {
        let now = Instant::now();
        let desktop = Desktop::of(live);
        let mut held = lock(&self.held);
        if let Some(lease) = held.on(&desktop, now) {
            if !lease.is_held_by(caller) {
                return Err(lease.error(now));
            }
            lease.until = now + length;
            return Ok((lease.clone(), false));
        }
        if held.leases.len() >= MOST_LEASES {
            return Err(SessionsError::TooManyLeases { limit: MOST_LEASES });
        }
        held.last += 1;
        let lease = Lease {
            number: held.last,
            holder: caller.credential.clone(),
            name: caller.name.clone(),
            desktop: desktop.clone(),
            since: now,
            until: now + length,
            inputs: 0,
            characters: 0,
        };
        held.leases.push(lease.clone());
        // Only now that the lease is there: what is opened after this finds it.
        for live in all().iter().filter(|live| Desktop::of(live).is_same(&desktop)) {
            live.epoch.send_modify(|epoch| *epoch += 1);
        }
        Ok((lease, true))
    }

    /// Lengthens the caller's lease and counts what goes through it; refuses whoever holds none.
    pub(crate) fn renew(
        &self,
        live: &Live,
        caller: &Caller,
        length: Duration,
        (inputs, characters): (u64, u64),
    ) -> Result<Lease, SessionsError> {
        let now = Instant::now();
        let mut held = lock(&self.held);
        let lease = held.on(&Desktop::of(live), now).ok_or(SessionsError::NotInControl)?;
        if !lease.is_held_by(caller) {
            return Err(lease.error(now));
        }
        lease.until = now + length;
        lease.inputs += inputs;
        lease.characters += characters;
        Ok(lease.clone())
    }

    /// Ends the lease of a desktop if `may` agrees.
    pub(crate) fn end(&self, live: &Live, may: impl FnOnce(&Lease) -> bool) -> Option<Lease> {
        let mut held = lock(&self.held);
        let number = held.on(&Desktop::of(live), Instant::now()).filter(|lease| may(lease))?.number;
        remove(&mut held, number)
    }

    /// When the lease ends unless it is renewed; `None` for one that ended.
    pub(crate) fn until(&self, number: u64) -> Option<Instant> {
        lock(&self.held).leases.iter().find(|lease| lease.number == number).map(|lease| lease.until)
    }

    /// Removes a lease whose time is up.
    pub(crate) fn expire(&self, number: u64) -> Option<Lease> {
        let mut held = lock(&self.held);
        let now = Instant::now();
        let over = held.leases.iter().any(|lease| lease.number == number && lease.until <= now);
        if over { remove(&mut held, number) } else { None }
    }

    /// Whether both are sessions of one desktop.
    pub(crate) fn are_beside(one: &Live, other: &Live) -> bool {
        Desktop::of(one).is_same(&Desktop::of(other))
    }
}

fn remove(held: &mut Held, number: u64) -> Option<Lease> {
    let place = held.leases.iter().position(|lease| lease.number == number)?;
    Some(held.leases.swap_remove(place))
}

/// A caller's way to a desktop, as it was when he asked.
pub(crate) struct Fence {
    leases: Arc<Leases>,
    stops: Arc<Stops>,
    caller: Arc<Caller>,
    live: Arc<Live>,
    asked: u64,
    changes: watch::Receiver<u64>,
}

impl Fence {
    pub(crate) fn new(
        leases: &Arc<Leases>,
        stops: &Arc<Stops>,
        caller: &Arc<Caller>,
        live: &Arc<live::Live>,
    ) -> Self {
        let mut changes = live.epoch.subscribe();
        let asked = *changes.borrow_and_update();
        Self {
            leases: Arc::clone(leases),
            stops: Arc::clone(stops),
            caller: Arc::clone(caller),
            live: Arc::clone(live),
            asked,
            changes,
        }
    }

    /// Whether the way is still open.
    pub(crate) fn check(&self) -> Result<(), SessionsError> {
        if self.can_be_stopped()
            && let Some(stop) = self.stops.get(&self.caller.credential)
        {
            return Err(SessionsError::Cancelled { by: stop.by });
        }
        let now = Instant::now();
        match self.leases.on(&self.live, now) {
            Some(lease) if lease.is_held_by(&self.caller) => Ok(()),
            Some(lease) => Err(lease.error(now)),
            None if *self.live.epoch.borrow() != self.asked => Err(SessionsError::ControlChanged),
            None => Ok(()),
        }
    }

    /// Returns when the way is shut. Cancel safe.
    pub(crate) async fn shut(&self) -> SessionsError {
        let mut changes = self.changes.clone();
        let stopped = async {
            if !self.can_be_stopped() {
                std::future::pending::<()>().await;
            }
            self.stops.stopped(&self.caller.credential).await
        };
        tokio::pin!(stopped);
        loop {
            if let Err(error) = self.check() {
                return error;
            }
            tokio::select! {
                stop = &mut stopped => return SessionsError::Cancelled { by: stop.by },
                // The sender lives as long as the session, which this holds.
                _ = changes.changed() => {}
            }
        }
    }

    fn can_be_stopped(&self) -> bool {
        self.caller.kind != CallerKind::Person
    }
}
