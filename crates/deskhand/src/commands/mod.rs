//! One file for each subcommand.

pub mod call;
pub mod demo;
pub mod gateway;
pub mod host;
pub mod mcp;
pub mod rendezvous;
