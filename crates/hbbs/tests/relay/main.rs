//! The relay over real sockets on 127.0.0.1.

mod caps;
mod harness;
mod load;
mod pairing;
mod recordings;
mod refusals;
mod timeouts;
mod web;
