//! One file for each subcommand.

pub(crate) mod call;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod gateway;
mod grant;
pub(crate) mod host;
pub(crate) mod mcp;
pub(crate) mod peer;
pub(crate) mod rendezvous;
pub(crate) mod serve;
pub(crate) mod token;
pub(crate) mod user;
