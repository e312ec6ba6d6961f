//! Values in slots, ordered by their last sign of life.
//!
//! All values of one collection have the same timeout, so the order in which they were last touched is
//! the order in which they expire: one deadline, that of the oldest, serves them all, and no value has a
//! timer of its own.

use std::time::Instant;

/// Names a value. The name of a value that was removed never names another one (until 2^29 values have
/// been in the same slot).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// Generations have this many bits, so that a key fits an epoll token beside its kind.
const GENERATION: u32 = (1 << 29) - 1;
const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Slot<T> {
    value: Option<Box<T>>,
    generation: u32,
    /// The neighbours in order of age; `newer` links the free slots too.
    older: u32,
    newer: u32,
    seen: Instant,
}

#[derive(Debug)]
pub(super) struct Aged<T> {
    slots: Vec<Slot<T>>,
    free: u32,
    oldest: u32,
    newest: u32,
    len: usize,
}

impl<T> Default for Aged<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: NONE, oldest: NONE, newest: NONE, len: 0 }
    }
}

impl<T> Aged<T> {
    /// Puts a value in, touched `now`.
    pub(super) fn insert(&mut self, value: T, now: Instant) -> Key {
        let value = Some(Box::new(value));
        let index = if self.free == NONE {
            self.slots.push(Slot { value, generation: 0, older: NONE, newer: NONE, seen: now });
            self.slots.len() as u32 - 1
        } else {
            let index = self.free;
            let slot = &mut self.slots[index as usize];
            self.free = slot.newer;
            slot.value = value;
            slot.seen = now;
            index
        };
        self.len += 1;
        self.append(index);
        Key { index, generation: self.slots[index as usize].generation }
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.slot(key)?;
        self.slots[key.index as usize].value.as_deref_mut()
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        self.slot(key)?;
        self.unlink(key.index);
        let slot = &mut self.slots[key.index as usize];
        let value = slot.value.take();
        slot.generation = (slot.generation + 1) & GENERATION;
        slot.newer = self.free;
        self.free = key.index;
        self.len -= 1;
        value.map(|v| *v)
    }

    /// The value gave a sign of life. Times must not go back.
    pub(super) fn touch(&mut self, key: Key, now: Instant) {
        if self.slot(key).is_some() {
            self.slots[key.index as usize].seen = now;
            if self.newest != key.index {
                self.unlink(key.index);
                self.append(key.index);
            }
        }
    }

    /// When the value last gave a sign of life.
    pub(super) fn seen(&self, key: Key) -> Option<Instant> {
        self.slot(key).map(|s| s.seen)
    }

    /// The value that has been silent longest, and since when.
    pub(super) fn oldest(&self) -> Option<(Key, Instant)> {
        let slot = self.slots.get(self.oldest as usize)?;
        Some((Key { index: self.oldest, generation: slot.generation }, slot.seen))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        let of = |(index, slot): (usize, &Slot<T>)| Key { index: index as u32, generation: slot.generation };
        self.slots.iter().enumerate().filter(|(_, s)| s.value.is_some()).map(of)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    fn slot(&self, key: Key) -> Option<&Slot<T>> {
        let slot = self.slots.get(key.index as usize)?;
        (slot.generation == key.generation && slot.value.is_some()).then_some(slot)
    }

    fn append(&mut self, index: u32) {
        let newest = std::mem::replace(&mut self.newest, index);
        let slot = &mut self.slots[index as usize];
        (slot.older, slot.newer) = (newest, NONE);
        match self.slots.get_mut(newest as usize) {
            Some(before) => before.newer = index,
            None => self.oldest = index,
        }
    }

    fn unlink(&mut self, index: u32) {
        let Slot { older, newer, .. } = self.slots[index as usize];
        match self.slots.get_mut(older as usize) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
        match self.slots.get_mut(newer as usize) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_silent_come_first() {
        let t = Instant::now();
        let at = |s| t + Duration::from_secs(s);
        let mut aged = Aged::default();
        let [a, b, c] = ["a", "b", "c"].map(|v| aged.insert(v, at(0)));
        aged.touch(a, at(1));
        assert_eq!(aged.oldest(), Some((b, at(0))));
        assert_eq!(aged.remove(b), Some("b"));
        assert_eq!(aged.oldest(), Some((c, at(0))));
        aged.touch(c, at(2));
        assert_eq!(aged.oldest(), Some((a, at(1))));
        assert_eq!((aged.remove(a), aged.remove(c)), (Some("a"), Some("c")));
        assert_eq!((aged.oldest(), aged.len()), (None, 0));
    }

    #[test]
    fn an_old_key_names_nothing() {
        let t = Instant::now();
        let mut aged = Aged::default();
        let first = aged.insert(1, t);
        assert_eq!(aged.remove(first), Some(1));
        let second = aged.insert(2, t);
        assert_eq!(first.index, second.index);
        assert_eq!(aged.get_mut(first), None);
        assert_eq!(aged.remove(first), None);
        assert_eq!(aged.seen(first), None);
        assert_eq!(aged.get_mut(second), Some(&mut 2));
    }

    proptest::proptest! {
        #[test]
        fn it_is_a_list_ordered_by_touch(steps in proptest::collection::vec((0u8..3, 0usize..8), 0..200)) {
            let start = Instant::now();
            let mut aged = Aged::default();
            let mut model: Vec<(Key, usize)> = Vec::new();
            for (n, (step, at)) in steps.into_iter().enumerate() {
                let now = start + Duration::from_millis(n as u64);
                match step {
                    0 => model.push((aged.insert(n, now), n)),
                    1 if at < model.len() => {
                        let (key, value) = model.remove(at);
                        assert_eq!(aged.remove(key), Some(value));
                    }
                    2 if at < model.len() => {
                        let entry = model.remove(at);
                        aged.touch(entry.0, now);
                        model.push(entry);
                    }
                    _ => {}
                }
                assert_eq!(aged.len(), model.len());
                assert_eq!(aged.oldest().map(|o| o.0), model.first().map(|m| m.0));
                let mut keys: Vec<_> = aged.keys().map(|k| k.index).collect();
                let mut expected: Vec<_> = model.iter().map(|m| m.0.index).collect();
                keys.sort_unstable();
                expected.sort_unstable();
                assert_eq!(keys, expected);
            }
        }
    }
}
