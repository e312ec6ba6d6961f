//! The host against real programs: X servers, terminals, window managers.

#[path = "screen/mod.rs"]
mod screen;
