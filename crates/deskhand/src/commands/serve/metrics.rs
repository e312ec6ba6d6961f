//! What the parts count, under the names that Prometheus sees.

use crate::logging::Log;
use hbbs::counters::Counts;
use hbbs::{Handle, relay};
use mcp::{CallObserver, Called, Gateway};
use policy::Class;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use telemetry::Metrics;
use telemetry::metrics::{Family, Kind, Operation};

/// Has every part's numbers read at each scrape.
pub(super) fn read(metrics: &Metrics, gateway: &Arc<Gateway>, rendezvous: Option<&Arc<Handle>>, log: &Log) {
    let tallies = Arc::clone(log.control().tallies());
    metrics.read(move || {
        let lines = Family::new(Kind::Counter, "log_lines_total", "Log lines that ask for attention.");
        vec![lines.with("level", "error", tallies.errors()).with("level", "warn", tallies.warnings())]
    });
    let gateway = Arc::downgrade(gateway);
    metrics.read(move || {
        let Some(gateway) = gateway.upgrade() else { return Vec::new() };
        let mut families = audit(&gateway);
        families.extend(sessions(&gateway));
        families
    });
    if let Some(rendezvous) = rendezvous {
        let rendezvous = Arc::downgrade(rendezvous);
        metrics.read(move || {
            let Some(rendezvous) = rendezvous.upgrade() else { return Vec::new() };
            let figures = rendezvous.figures();
            let mut families = server(&figures.rendezvous);
            families.push(gauge("rendezvous_peers", "Hosts that ever registered.", figures.hosts));
            families.push(gauge("rendezvous_peers_online", "Of these, online.", figures.hosts_online));
            let open = "Connections to the rendezvous server.";
            families.push(gauge("rendezvous_connections", open, figures.connections_open));
            families.extend(figures.relay.as_ref().map(relay).unwrap_or_default());
            families
        });
    }
}

/// Counts the calls of tools.
pub(super) struct Calls(pub(super) Arc<Metrics>);

impl CallObserver for Calls {
    fn called(&self, call: &Called<'_>) {
        let error = call.outcome.error_code().unwrap_or_default();
        let operation = Operation {
            method: "tools/call",
            tool: call.tool,
            error,
            // What comes by standard input comes from this machine's own users.
            transport: if call.caller.credential == "local" { "pipe" } else { "tcp" },
        };
        self.0.operation(&operation, call.took);
        for image in &call.outcome.images {
            self.0.picture(image.mime_type.trim_start_matches("image/"), image.data.len());
        }
        if call.class == Class::Interact {
            self.0.input(if error.is_empty() { "sent" } else { error });
        }
        if call.tool == "connect" {
            self.0.connect(if error.is_empty() { "ready" } else { error }, call.took);
        }
    }
}

fn audit(gateway: &Gateway) -> Vec<Family> {
    let counters = gateway.sessions().audit_counters();
    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let single = |name, help, value| Family::single(Kind::Counter, name, help, value);
    vec![
        single("audit_entries_total", "Entries of the audit log.", get(&counters.written)),
        single("audit_write_failures_total", "Attempts to write it that failed.", get(&counters.failures)),
        single("audit_entries_lost_total", "Entries that found no place meanwhile.", get(&counters.lost)),
    ]
}

fn gauge(name: &'static str, help: &'static str, value: usize) -> Family {
    Family::single(Kind::Gauge, name, help, u64::try_from(value).unwrap_or(u64::MAX))
}

fn sessions(gateway: &Gateway) -> Vec<Family> {
    let mut family = Family::new(Kind::Gauge, "sessions", "Sessions by state; closed ones for a while.");
    let states = gateway.sessions().states();
    for (state, count) in states {
        family = family.with("state", state, u64::try_from(count).unwrap_or(u64::MAX));
    }
    vec![family]
}

fn server(counts: &Counts) -> Vec<Family> {
    let counter = |name, help| Family::new(Kind::Counter, name, help);
    let single = |name, help, value| Family::single(Kind::Counter, name, help, value);
    vec![
        counter("rendezvous_datagrams_total", "Datagrams received, and those of no use or not sent.")
            .with("outcome", "received", counts.datagrams)
            .with("outcome", "ignored", counts.datagrams_ignored)
            .with("outcome", "unsent", counts.datagrams_unsent),
        counter("rendezvous_heartbeats_total", "Heartbeats of hosts, and those asked for their key anew.")
            .with("result", "refreshed", counts.heartbeats)
            .with("result", "key_wanted", counts.heartbeats_key_wanted),
        counter("rendezvous_registrations_total", "Claims of an id with a key, by answer.")
            .with("result", "accepted", counts.claims_accepted)
            .with("result", "conflict", counts.claims_conflict)
            .with("result", "too_frequent", counts.claims_too_frequent)
            .with("result", "malformed", counts.claims_malformed)
            .with("result", "unavailable", counts.claims_unavailable),
        single("rendezvous_new_ids_total", "Ids registered for the first time.", counts.claims_new),
        counter("rendezvous_renames_total", "Hosts that wanted another id.")
            .with("result", "done", counts.renames)
            .with("result", "refused", counts.renames_refused),
        counter("punch_hole_requests_total", "Clients that asked for a host, by answer.")
            .with("result", "forwarded", counts.punches_forwarded)
            .with("result", "wrong_key", counts.punches_wrong_key)
            .with("result", "unknown_id", counts.punches_unknown_id)
            .with("result", "offline", counts.punches_offline),
        counter("relay_requests_total", "Clients that asked for the relay, by answer.")
            .with("result", "forwarded", counts.relays_forwarded)
            .with("result", "refused", counts.relays_refused),
        counter("rendezvous_answers_total", "Answers of hosts to clients.")
            .with("result", "forwarded", counts.answers_forwarded)
            .with("result", "unexpected", counts.answers_unexpected)
            .with("result", "implausible", counts.answers_implausible),
        single("rendezvous_online_queries_total", "Questions who is online.", counts.online_queries),
        single("rendezvous_nat_tests_total", "NAT tests answered.", counts.nat_tests),
        counter("rendezvous_accepted_connections_total", "Connections, by what became of them at first.")
            .with("result", "accepted", counts.connections)
            .with("result", "websocket", counts.websockets)
            .with("result", "blocked", counts.connections_blocked)
            .with("result", "over_limit", counts.connections_over_limit)
            .with("result", "malformed", counts.connections_malformed)
            .with("result", "timed_out", counts.connections_timed_out),
        single("rendezvous_accept_failures_total", "Times that accepting failed.", counts.accept_failures),
        counter("rendezvous_database_writes_total", "Groups of changes written to the database.")
            .with("result", "written", counts.store_groups)
            .with("result", "failed", counts.store_failures),
    ]
}

fn relay(figures: &relay::Figures) -> Vec<Family> {
    let counter = |name, help| Family::new(Kind::Counter, name, help);
    let single = |name, help, value| Family::single(Kind::Counter, name, help, value);
    let rejected = counter("relay_rejected_total", "Connections that became no half of a pair, by reason.");
    let reasons = figures.refused.iter();
    vec![
        gauge("relay_sessions", "Pairs at work.", figures.pairs_open),
        gauge("relay_waiting", "Connections that wait for their partner.", figures.waiting),
        single("relay_connections_total", "Connections accepted.", figures.accepted),
        single("relay_parked_total", "Connections that had to wait for a partner.", figures.parked),
        single("relay_sessions_opened_total", "Pairs made.", figures.pairs_opened),
        single("relay_sessions_closed_total", "Pairs that ended.", figures.pairs_closed),
        single("relay_sessions_idle_total", "Of these, for their silence.", figures.pairs_idle),
        counter("relay_bytes_total", "Payload passed on; forward is from the side that asked first.")
            .with("direction", "forward", figures.bytes_forward)
            .with("direction", "backward", figures.bytes_backward),
        single("relay_accept_backoffs_total", "Rests for want of descriptors.", figures.accept_backoffs),
        reasons.fold(rejected, |family, (why, count)| family.with("reason", why, *count)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_of_the_rendezvous_server_is_told() {
        // Each count is another number, so that one that is left out or told twice shows.
        let expected: Vec<&'static str> = Counts::default().rows().iter().map(|(name, _)| *name).collect();
        let told: usize = server(&Counts::default()).iter().map(|family| family.samples.len()).sum();
        assert_eq!(told, expected.len(), "{expected:?}");
    }
}
