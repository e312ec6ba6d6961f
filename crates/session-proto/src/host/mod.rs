//! A session as the controlled side sees it.
