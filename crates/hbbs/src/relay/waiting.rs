//! Who waits for whom. Looking for a partner and parking are one step on one table: stock does it in two
//! and loses pairs whose sides ask at the same moment.

use super::aged::{Aged, Key};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

#[derive(Debug)]
struct Parked<T> {
    uuid: Arc<str>,
    side: T,
}

/// What became of a side that named its uuid.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Met<T> {
    /// The partner was there and is taken out; the side comes back.
    Partner { first: T, second: T },
    /// Nobody yet: the side waits under this key.
    Parked(Key),
}

#[derive(Debug)]
pub(super) struct Waiting<T> {
    sides: Aged<Parked<T>>,
    by_uuid: HashMap<Arc<str>, Key>,
    timeout: Duration,
}

impl<T> Waiting<T> {
    /// Nobody waits longer than `timeout`, provided [`expire`](Self::expire) is called.
    pub(super) fn new(timeout: Duration) -> Self {
        Self { sides: Aged::default(), by_uuid: HashMap::new(), timeout }
    }

    /// A side names its uuid. The first two to name one are a pair, whoever they are; a third one begins
    /// anew.
    pub(super) fn meet(&mut self, uuid: &str, side: T, now: Instant) -> Met<T> {
        if let Some(key) = self.by_uuid.remove(uuid)
            && let Some(first) = self.sides.remove(key)
        {
            return Met::Partner { first: first.side, second: side };
        }
        let uuid: Arc<str> = uuid.into();
        let key = self.sides.insert(Parked { uuid: Arc::clone(&uuid), side }, now);
        self.by_uuid.insert(uuid, key);
        Met::Parked(key)
    }

    pub(super) fn get(&mut self, key: Key) -> Option<&mut T> {
        Some(&mut self.sides.get_mut(key)?.side)
    }

    /// A waiting side has gone. `None` if it found its partner before.
    pub(super) fn leave(&mut self, key: Key) -> Option<T> {
        let parked = self.sides.remove(key)?;
        self.by_uuid.remove(&parked.uuid);
        if self.by_uuid.is_empty() {
            self.by_uuid.shrink_to(1024);
        }
        Some(parked.side)
    }

    /// One side that has waited too long; call it until there is none.
    pub(super) fn expire(&mut self, now: Instant) -> Option<T> {
        let (key, since) = self.sides.oldest()?;
        if now < since + self.timeout { None } else { self.leave(key) }
    }

    /// Nobody waits any more.
    pub(super) fn clear(&mut self) -> Vec<T> {
        let keys: Vec<Key> = self.sides.keys().collect();
        keys.into_iter().filter_map(|key| self.leave(key)).collect()
    }

    /// When somebody will have waited too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.sides.oldest().map(|(_, since)| since + self.timeout)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.sides.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn parked(met: Met<&'static str>) -> Key {
        match met {
            Met::Parked(key) => key,
            Met::Partner { .. } => panic!("expected to wait, got {met:?}"),
        }
    }

    #[test]
    fn the_first_two_of_a_uuid_are_a_pair_and_the_third_begins_anew() {
        let now = Instant::now();
        let mut table = Waiting::new(TIMEOUT);
        parked(table.meet("u", "first", now));
        parked(table.meet("v", "other", now));
        assert_eq!(table.meet("u", "second", now), Met::Partner { first: "first", second: "second" });
        let third = parked(table.meet("u", "third", now));
        assert_eq!(table.len(), 2);
        assert_eq!(table.leave(third), Some("third"));
    }

    #[test]
    fn who_leaves_can_not_be_met() {
        let now = Instant::now();
        let mut table = Waiting::new(TIMEOUT);
        let first = parked(table.meet("u", "first", now));
        assert_eq!(table.leave(first), Some("first"));
        assert_eq!(table.leave(first), None);
        parked(table.meet("u", "second", now));
    }

    #[test]
    fn who_was_met_can_not_leave() {
        let now = Instant::now();
        let mut table = Waiting::new(TIMEOUT);
        let first = parked(table.meet("u", "first", now));
        table.meet("u", "second", now);
        assert_eq!(table.leave(first), None);
        assert_eq!((table.len(), table.deadline()), (0, None));
    }

    #[test]
    fn each_waits_the_timeout_and_no_longer() {
        let start = Instant::now();
        let mut table = Waiting::new(TIMEOUT);
        parked(table.meet("u", "first", start));
        parked(table.meet("v", "later", start + Duration::from_secs(10)));
        assert_eq!(table.deadline(), Some(start + TIMEOUT));
        assert_eq!(table.expire(start + TIMEOUT - Duration::from_millis(1)), None);
        assert_eq!(table.expire(start + TIMEOUT), Some("first"));
        assert_eq!(table.expire(start + TIMEOUT), None);
        // The uuid of one that expired is free again, and its end does not touch the one parked since.
        parked(table.meet("u", "again", start + TIMEOUT));
        assert_eq!(table.expire(start + Duration::from_secs(40)), Some("later"));
        assert_eq!(table.expire(start + Duration::from_secs(40)), None);
        assert_eq!(table.deadline(), Some(start + 2 * TIMEOUT));
    }
}
