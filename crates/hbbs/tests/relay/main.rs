//! The relay over real sockets on 127.0.0.1.

#![expect(clippy::unwrap_used, reason = "a test that can not be set up has failed")]

mod caps;
mod harness;
mod load;
mod pairing;
mod recordings;
mod refusals;
mod timeouts;
mod web;
