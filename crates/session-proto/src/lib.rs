//! RustDesk's registration, path finding and session as state machines without I/O.
//!
//! Every machine is a value. Its driver feeds it packets and the time, and after every `handle_*` call
//! drains `poll_output` (one ordered queue, because "send, then close" is an order) and arms
//! `poll_timeout`. Randomness comes in as an argument. What a peer does wrong is an output, not an `Err`.

pub mod client;
pub mod dial;
pub mod host;
pub mod registration;
