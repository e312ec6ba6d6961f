//! Every behaviour that crosses a crate, as one binary.

#![expect(clippy::unwrap_used, reason = "in a test, also in the functions beside it, a panic is the report")]

mod access;
mod authorization;
mod client_hostile;
mod client_paths;
mod client_pyref;
mod client_recordings;
mod codec;
mod dependencies;
mod framebuffer;
mod fuzz_regressions;
mod host_paths;
mod host_program;
mod host_pyref;
mod host_recordings;
mod layering;
mod mcp_http;
mod program;
mod pyref;
mod recordings;
mod serve;
mod wire;
