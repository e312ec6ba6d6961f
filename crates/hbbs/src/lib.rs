//! Rendezvous (ID) server and relay, embeddable: `Server::spawn(config) -> Handle`.

pub mod relay;
