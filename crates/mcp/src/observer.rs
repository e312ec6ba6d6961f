//! Somebody who counts calls.

use crate::CallOutcome;
use policy::{Caller, Class};
use std::time::Duration;

/// A call of a tool that is over.
#[derive(Debug)]
pub struct Called<'a> {
    pub caller: &'a Caller,
    /// One of the gateway's own.
    pub tool: &'a str,
    pub class: Class,
    pub outcome: &'a CallOutcome,
    pub took: Duration,
}

/// Told of every call that reached a tool, on the way of the answer: has to be quick.
pub trait CallObserver: Send + Sync {
    fn called(&self, call: &Called<'_>);
}
