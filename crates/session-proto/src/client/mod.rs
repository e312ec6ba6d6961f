//! A session as the controlling side sees it.
