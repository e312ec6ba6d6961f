//! How a client finds a path to a peer: hbbs, punching, relay.
