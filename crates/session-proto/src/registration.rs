//! How a host keeps itself known to hbbs.
