//! The host against real programs: X servers, terminals, window managers.

#[cfg(test)]
#[path = "screen/mod.rs"]
mod screen;
#[cfg(test)]
#[path = "video/mod.rs"]
mod video;
