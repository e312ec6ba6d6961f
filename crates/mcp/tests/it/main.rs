//! The gateway seen from outside: JSON-RPC lines in, JSON-RPC lines out, a scripted peer behind it.

mod acting;
mod client;
mod http;
mod policy;
mod protocol;
mod seeing;
mod sessions_tools;
