//! A table of records by id: open addressing over slot numbers, records in blocks that never move.

use super::{Id, Record};

/// Records allocated at a time: growth never copies records nor doubles the memory.
const BLOCK: usize = 64;

/// A place of the index: a slot number plus one, or 0 if free, and the upper half of the hash. Comparing
/// that first spares the look at nearly every record that is another one, which is far away in memory.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    slot: u32,
    mark: u32,
}

impl Entry {
    fn new(hash: u64, slot: u32) -> Self {
        Self { slot: slot + 1, mark: mark(hash) }
    }

    fn is_free(self) -> bool {
        self.slot == 0
    }

    /// Block and place in it.
    fn at(self) -> (usize, usize) {
        let slot = self.slot as usize - 1;
        (slot / BLOCK, slot % BLOCK)
    }
}

/// Other bits than those that choose the shard and the place in the index.
fn mark(hash: u64) -> u32 {
    (hash >> 40) as u32
}

#[derive(Debug, Default)]
pub(super) struct Shard {
    /// The length is a power of two, at most 3/4 in use.
    index: Vec<Entry>,
    blocks: Vec<Vec<Option<Record>>>,
    /// Slots given back.
    vacant: Vec<u32>,
    len: usize,
}

impl Shard {
    pub(super) fn get(&self, hash: u64, id: &str) -> Option<&Record> {
        let place = self.place(hash, id)?;
        self.record(self.index[place])
    }

    pub(super) fn get_mut(&mut self, hash: u64, id: &str) -> Option<&mut Record> {
        let (block, place) = self.index[self.place(hash, id)?].at();
        self.blocks[block][place].as_mut()
    }

    /// `rehash` gives the hash of an id; the id of `record` must not be in the table.
    pub(super) fn insert(&mut self, hash: u64, record: Record, rehash: impl Fn(&Id) -> u64) {
        if (self.len + 1) * 4 > self.index.len() * 3 {
            self.grow(rehash);
        }
        let slot = self.store(record);
        self.link(hash, slot);
        self.len += 1;
    }

    pub(super) fn remove(&mut self, hash: u64, id: &str, rehash: impl Fn(&Id) -> u64) -> Option<Record> {
        let place = self.place(hash, id)?;
        let entry = self.index[place];
        let (block, at) = entry.at();
        let record = self.blocks[block][at].take();
        self.vacant.push(entry.slot - 1);
        self.len -= 1;
        self.close_gap(place, rehash);
        record
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Record> {
        self.blocks.iter().flatten().flatten()
    }

    fn record(&self, entry: Entry) -> Option<&Record> {
        let (block, place) = entry.at();
        self.blocks[block][place].as_ref()
    }

    /// Where in the index the id stands.
    fn place(&self, hash: u64, id: &str) -> Option<usize> {
        let mask = self.index.len().checked_sub(1)?;
        let mut at = hash as usize & mask;
        // Ends: a quarter of the index is free.
        while let entry = self.index[at]
            && !entry.is_free()
        {
            if entry.mark == mark(hash) && self.record(entry).is_some_and(|r| r.id.is(id)) {
                return Some(at);
            }
            at = (at + 1) & mask;
        }
        None
    }

    fn store(&mut self, record: Record) -> u32 {
        if let Some(slot) = self.vacant.pop() {
            self.blocks[slot as usize / BLOCK][slot as usize % BLOCK] = Some(record);
            return slot;
        }
        if self.blocks.last().is_none_or(|b| b.len() == BLOCK) {
            self.blocks.push(Vec::with_capacity(BLOCK));
        }
        let block = self.blocks.len() - 1;
        self.blocks[block].push(Some(record));
        (block * BLOCK + self.blocks[block].len() - 1) as u32
    }

    fn link(&mut self, hash: u64, slot: u32) {
        let mask = self.index.len() - 1;
        let mut at = hash as usize & mask;
        while !self.index[at].is_free() {
            at = (at + 1) & mask;
        }
        self.index[at] = Entry::new(hash, slot);
    }

    fn grow(&mut self, rehash: impl Fn(&Id) -> u64) {
        let entries: Vec<Entry> = self.index.drain(..).filter(|e| !e.is_free()).collect();
        self.index = vec![Entry::default(); (entries.len() * 2).next_power_of_two().max(16)];
        for entry in entries {
            let hash = self.record(entry).map(|r| rehash(&r.id));
            self.link(hash.expect("an indexed slot holds a record"), entry.slot - 1);
        }
    }

    /// Moves later entries of the run over a freed place, so that look-ups never need tombstones.
    fn close_gap(&mut self, mut gap: usize, rehash: impl Fn(&Id) -> u64) {
        let mask = self.index.len() - 1;
        let mut at = (gap + 1) & mask;
        while !self.index[at].is_free() {
            let hash = self.record(self.index[at]).map(|r| rehash(&r.id));
            let home = hash.expect("an indexed slot holds a record") as usize & mask;
            // The entry may move if its home does not lie behind the gap.
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(gap) & mask) {
                self.index[gap] = self.index[at];
                gap = at;
            }
            at = (at + 1) & mask;
        }
        self.index[gap] = Entry::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};

    fn record(id: &str) -> Record {
        Record::new(Id::new(id).unwrap(), id.as_bytes(), [7; 32])
    }

    /// Few different hashes, so that runs are long and wrap around.
    fn crowded(id: &Id) -> u64 {
        let mut hasher = DefaultHasher::new();
        id.as_str().hash(&mut hasher);
        hasher.finish() % 7 + 11
    }

    proptest::proptest! {
        #[test]
        fn behaves_as_a_map(steps in proptest::collection::vec((0u8..3, 100_000u32..100_060), 1..400)) {
            let mut shard = Shard::default();
            let mut model = HashMap::new();
            for (step, number) in steps {
                let text = number.to_string();
                let hash = crowded(&Id::new(&text).unwrap());
                match step {
                    0 if !model.contains_key(&number) => {
                        shard.insert(hash, record(&text), crowded);
                        model.insert(number, text);
                    }
                    1 => {
                        let removed = shard.remove(hash, &text, crowded).map(|r| r.id.to_string());
                        proptest::prop_assert_eq!(removed, model.remove(&number));
                    }
                    _ => {
                        let got = shard.get(hash, &text).map(|r| r.id.to_string());
                        proptest::prop_assert_eq!(got.as_ref(), model.get(&number));
                    }
                }
                proptest::prop_assert_eq!(shard.iter().count(), model.len());
            }
        }
    }
}
