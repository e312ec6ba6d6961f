//! The controlled side: registers with hbbs, accepts clients, shows a display and takes input.

pub mod screen;
pub mod video;
