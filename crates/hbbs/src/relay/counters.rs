//! What the relay counts, and why it turns a connection away.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why a connection was closed before it became half of a pair. hbbr never says so on the wire: it
/// closes (rendezvous §5.18).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The address is on the block list.
    Blocked,
    /// As many connections as allowed have no partner yet.
    TooManyWaiting,
    /// The same, for one address.
    TooManyFromAddress,
    /// As many pairs as allowed are open.
    TooManyPairs,
    /// It left before it asked for anything.
    LeftEarly,
    /// It asked for nothing in time.
    Silent,
    /// The first packet was announced longer than allowed.
    TooLong,
    /// The first packet is no message at all.
    Malformed,
    /// The first message is not a request to be relayed.
    OtherMessage,
    WrongKey,
    EmptyUuid,
    LongUuid,
    /// Nobody else named its uuid in time.
    NoPartner,
    /// It left while it waited for its partner.
    LeftWaiting,
    /// It did not get through the WebSocket handshake, or broke the framing behind it.
    NotWebSocket,
}

impl Refusal {
    pub const ALL: [Self; 15] = [
        Self::Blocked,
        Self::TooManyWaiting,
        Self::TooManyFromAddress,
        Self::TooManyPairs,
        Self::LeftEarly,
        Self::Silent,
        Self::TooLong,
        Self::Malformed,
        Self::OtherMessage,
        Self::WrongKey,
        Self::EmptyUuid,
        Self::LongUuid,
        Self::NoPartner,
        Self::LeftWaiting,
        Self::NotWebSocket,
    ];

    /// A stable name, as a label of a metric.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::TooManyWaiting => "too_many_waiting",
            Self::TooManyFromAddress => "too_many_from_address",
            Self::TooManyPairs => "too_many_pairs",
            Self::LeftEarly => "left_early",
            Self::Silent => "silent",
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::OtherMessage => "other_message",
            Self::WrongKey => "wrong_key",
            Self::EmptyUuid => "empty_uuid",
            Self::LongUuid => "long_uuid",
            Self::NoPartner => "no_partner",
            Self::LeftWaiting => "left_waiting",
            Self::NotWebSocket => "not_websocket",
        }
    }
}

/// Counts since the start. They only grow; what is now is a difference.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections taken from the listeners, the blocked ones among them.
    pub accepted: AtomicU64,
    /// Connections that were told to wait for a partner.
    pub parked: AtomicU64,
    pub pairs_opened: AtomicU64,
    pub pairs_closed: AtomicU64,
    /// Pairs closed because nothing moved for the idle timeout; counted in `pairs_closed` too.
    pub pairs_idle: AtomicU64,
    /// Payload bytes from the side that asked first to the side that asked second.
    pub bytes_forward: AtomicU64,
    /// Payload bytes the other way.
    pub bytes_backward: AtomicU64,
    /// Times that a listener rested because the process was out of descriptors or memory.
    pub accept_backoffs: AtomicU64,
    refused: [AtomicU64; Refusal::ALL.len()],
}

impl Counters {
    /// How many connections were turned away for this reason.
    pub fn refused(&self, why: Refusal) -> u64 {
        self.refused[why as usize].load(Relaxed)
    }

    pub(super) fn refuse(&self, why: Refusal) {
        tracing::debug!(why = why.kind(), "connection refused");
        bump(&self.refused[why as usize]);
    }
}

/// What a relay has done and holds, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// As the fields of [`Counters`] with these names.
    pub accepted: u64,
    pub parked: u64,
    pub pairs_opened: u64,
    pub pairs_closed: u64,
    pub pairs_idle: u64,
    pub bytes_forward: u64,
    pub bytes_backward: u64,
    pub accept_backoffs: u64,
    /// Connections turned away, by [`Refusal::kind`]: every one, in the order of [`Refusal::ALL`].
    pub refused: Vec<(&'static str, u64)>,
    /// Pairs open now.
    pub pairs_open: usize,
    /// Connections without a partner now.
    pub waiting: usize,
}

impl Counters {
    /// With nothing in the fields that tell of now.
    pub(super) fn figures(&self) -> Figures {
        Figures {
            accepted: self.accepted.load(Relaxed),
            parked: self.parked.load(Relaxed),
            pairs_opened: self.pairs_opened.load(Relaxed),
            pairs_closed: self.pairs_closed.load(Relaxed),
            pairs_idle: self.pairs_idle.load(Relaxed),
            bytes_forward: self.bytes_forward.load(Relaxed),
            bytes_backward: self.bytes_backward.load(Relaxed),
            accept_backoffs: self.accept_backoffs.load(Relaxed),
            refused: Refusal::ALL.map(|why| (why.kind(), self.refused(why))).into(),
            ..Figures::default()
        }
    }
}

pub(super) fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_own_counter_and_name() {
        let counters = Counters::default();
        let mut names = std::collections::HashSet::new();
        for (place, why) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, place);
            assert!(names.insert(why.kind()));
            counters.refuse(why);
            assert_eq!(counters.refused(why), 1, "{why:?}");
        }
    }
}
