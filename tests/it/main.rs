//! Every behaviour that crosses a crate, as one binary.

mod dependencies;
mod layering;
mod pyref;
mod recordings;
