//! The tools, over the Model Context Protocol.
//!
//! A [`Gateway`] holds the tools and the sessions they work on. [`Gateway::call`] is the one way in: MCP
//! clients reach it through [`serve`] and [`http`], scripts within the process directly, with the same checks and the same
//! results. One file below `tools` for each family of tools.

mod advice;
mod facts;
mod gateway;
pub mod http;
mod observer;
mod outcome;
mod schema;
mod server;
mod tool;
mod tools;
mod toolset;

pub use gateway::{CallError, Gateway, GatewayConfig, GatewayError};
pub use observer::{CallObserver, Called};
pub use outcome::{CallOutcome, Failure, Image};
pub use server::{ServeError, serve, serve_stdio};
pub use toolset::{Toolset, UnknownToolset};
