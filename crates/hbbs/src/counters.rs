//! What the server did, as numbers that only grow.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts since the start, shared by all threads.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: Counter,)*
        }

        /// [`Counters`] at one moment.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            pub fn snapshot(&self) -> Counts {
                Counts { $($name: self.$name.get(),)* }
            }
        }

        impl Counts {
            /// Names and values, in the order of the fields.
            pub fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

counters! {
    /// Datagrams received.
    datagrams,
    /// Datagrams that are no message, or one that has no place in a datagram.
    datagrams_ignored,
    /// Pushes and answers that could not be sent, because the socket's buffer was full.
    datagrams_unsent,
    /// RegisterPeer that refreshed a host.
    heartbeats,
    /// RegisterPeer of an unknown id, or from another address: the key was asked for.
    heartbeats_key_wanted,
    /// RegisterPk answered OK.
    claims_accepted,
    /// Of these, ids that were not registered before.
    claims_new,
    /// RegisterPk for another machine's id.
    claims_conflict,
    /// RegisterPk over the bounds of one id or one address.
    claims_too_frequent,
    /// RegisterPk with an id, machine identity or key that can not be registered.
    claims_malformed,
    /// RegisterPk of a new id while the database fails.
    claims_unavailable,
    /// Hosts that were given another id.
    renames,
    /// Wishes for another id that were refused.
    renames_refused,
    /// PunchHoleRequest forwarded to a host.
    punches_forwarded,
    /// PunchHoleRequest with a wrong key.
    punches_wrong_key,
    /// PunchHoleRequest for an unknown id.
    punches_unknown_id,
    /// PunchHoleRequest for a host that is offline.
    punches_offline,
    /// RequestRelay forwarded to a host.
    relays_forwarded,
    /// RequestRelay refused: no key shown, unknown id, or offline.
    relays_refused,
    /// Answers of hosts passed on to clients.
    answers_forwarded,
    /// Answers for which nobody waits (any more).
    answers_unexpected,
    /// Answers from somewhere that is not the host that was asked.
    answers_implausible,
    /// Online queries answered.
    online_queries,
    /// NAT tests answered.
    nat_tests,
    /// Connections accepted, WebSocket ones included.
    connections,
    /// WebSocket handshakes completed.
    websockets,
    /// Connections closed at once: address on the block list.
    connections_blocked,
    /// Connections closed at once: too many open, in all or from one address.
    connections_over_limit,
    /// Connections closed for a frame that is too long, or bytes that are no message.
    connections_malformed,
    /// Connections closed for their silence.
    connections_timed_out,
    /// Times that accepting failed, for want of descriptors for example.
    accept_failures,
    /// Groups written to the database.
    store_groups,
    /// Writes to the database that failed; they are tried again.
    store_failures,
}

/// One number of [`Counters`].
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn one(&self) {
        self.add(1);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
