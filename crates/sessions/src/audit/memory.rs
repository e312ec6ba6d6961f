//! A record that ends with the process: for tests, and where nothing else is configured.

use super::{AuditEntry, AuditError, AuditLog};
use crate::live::lock;
use remote::BoxFuture;
use std::collections::VecDeque;
use std::sync::Mutex;

/// Keeps the latest entries in memory.
#[derive(Debug)]
pub struct MemoryAudit {
    capacity: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<AuditEntry>,
    forgotten: u64,
    failure: Option<AuditError>,
}

impl MemoryAudit {
    /// Keeps up to `capacity` entries.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, kept: Mutex::default() }
    }

    /// The entries kept, the oldest first.
    pub fn entries(&self) -> Vec<AuditEntry> {
        lock(&self.kept).entries.iter().cloned().collect()
    }

    /// Entries that had to go for later ones.
    pub fn forgotten(&self) -> u64 {
        lock(&self.kept).forgotten
    }

    /// Refuses everything with this error from now on, like a full disk; `None` takes entries again.
    pub fn fail(&self, failure: Option<AuditError>) {
        lock(&self.kept).failure = failure;
    }
}

impl Default for MemoryAudit {
    fn default() -> Self {
        Self::new(10_000)
    }
}

impl AuditLog for MemoryAudit {
    fn append(&self, entries: Vec<AuditEntry>) -> BoxFuture<'_, Result<(), AuditError>> {
        let mut kept = lock(&self.kept);
        if let Some(failure) = &kept.failure {
            return Box::pin(std::future::ready(Err(failure.clone())));
        }
        kept.entries.extend(entries);
        while kept.entries.len() > self.capacity {
            kept.entries.pop_front();
            kept.forgotten += 1;
        }
        Box::pin(std::future::ready(Ok(())))
    }
}
