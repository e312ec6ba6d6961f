//! The record of what was done, kept in the database, and counted.

use remote::BoxFuture;
use sessions::audit::{AuditEntry, AuditError, AuditLog, AuditPhase};
use std::sync::Arc;
use store::{AuditRow, Store, StoreError};
use telemetry::Metrics;

pub(crate) struct KeptAudit {
    store: Store,
    metrics: Arc<Metrics>,
}

impl KeptAudit {
    pub(crate) fn new(store: Store, metrics: Arc<Metrics>) -> Self {
        Self { store, metrics }
    }

    fn count(&self, entries: &[AuditEntry]) {
        // The end of a step repeats the decision of its beginning.
        for entry in entries.iter().filter(|entry| entry.phase != AuditPhase::Ended) {
            let class = entry.class.map_or("none", policy::Class::name);
            self.metrics.decision(class, entry.decision.name());
        }
    }
}

impl AuditLog for KeptAudit {
    fn append(&self, entries: Vec<AuditEntry>) -> BoxFuture<'_, Result<(), AuditError>> {
        Box::pin(async move {
            let place = || self.store.path().display().to_string();
            let rows: Result<Vec<AuditRow>, serde_json::Error> = entries.iter().map(row).collect();
            let rows = rows.map_err(|e| AuditError::Failed { place: place(), reason: e.to_string() })?;
            self.store.append_audit(rows).await.map_err(|error| match error {
                StoreError::Full { .. } => AuditError::NoSpace { place: place() },
                error => AuditError::Failed { place: place(), reason: error.to_string() },
            })?;
            self.count(&entries);
            Ok(())
        })
    }
}

fn row(entry: &AuditEntry) -> Result<AuditRow, serde_json::Error> {
    Ok(AuditRow {
        time_ms: i64::try_from(entry.time_ms).unwrap_or(i64::MAX),
        step: entry.step.clone(),
        credential: entry.credential.clone(),
        operation: entry.operation.clone(),
        machine: entry.machine.clone(),
        entry: serde_json::to_string(entry)?,
    })
}
