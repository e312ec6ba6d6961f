//! The rendezvous server as its peers see it.

#![expect(clippy::unwrap_used, reason = "in a test, also in the functions beside it, a panic is the report")]

mod abuse;
mod peer;
mod probe;
mod recordings;
mod server;
mod web;
