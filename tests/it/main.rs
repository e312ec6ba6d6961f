//! Every behaviour that crosses a crate, as one binary.

mod layering;
mod pyref;
mod recordings;
