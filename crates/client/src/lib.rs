//! RustDesk connector: opens sessions to hosts by id or address.
