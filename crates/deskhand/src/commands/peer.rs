//! `deskhand peer`: which keys of peers are trusted.

use crate::cli::{PeerArgs, PeerCommand};
use crate::config;
use anyhow::bail;
use client::{FilePins, KnownPeer, Pins as _};
use std::io::Write as _;

pub(crate) fn run(args: &PeerArgs) -> anyhow::Result<()> {
    let state = config::state_dir(args.state.as_deref(), "client");
    let pins = FilePins::new(&state);
    let known = pins.list()?;
    let mut out = std::io::stdout().lock();
    match &args.command {
        PeerCommand::List => {
            for peer in &known {
                writeln!(out, "{}@{} key {}", peer.pin.id, peer.pin.server, peer.key)?;
                if let Some(refused) = peer.refused {
                    writeln!(out, "  refused {refused}; to trust it: deskhand peer accept {}", peer.pin.id)?;
                }
            }
        }
        PeerCommand::Accept(arg) => {
            // Where several servers have such an id, the one meant is the one with something to accept.
            let refused: Vec<_> = known.iter().filter(|peer| peer.refused.is_some()).cloned().collect();
            let peer = find(&refused, &arg.peer).or_else(|_| find(&known, &arg.peer))?;
            let Some(key) = pins.accept(&peer.pin)? else {
                bail!("{} has come with no other key than {}", arg.peer, peer.key);
            };
            writeln!(out, "{}@{} key {key}, no longer {}", peer.pin.id, peer.pin.server, peer.key)?;
        }
        PeerCommand::Forget(arg) => {
            let peer = find(&known, &arg.peer)?;
            pins.forget(&peer.pin)?;
            writeln!(out, "{}@{} forgotten; its next key is trusted", peer.pin.id, peer.pin.server)?;
        }
    }
    Ok(())
}

/// The peer meant by `ID` or `ID@SERVER`.
fn find<'a>(known: &'a [KnownPeer], name: &str) -> anyhow::Result<&'a KnownPeer> {
    let (id, server) = match name.split_once('@') {
        Some((id, server)) => (id, Some(server)),
        None => (name, None),
    };
    let fits = |peer: &&KnownPeer| peer.pin.id == id && server.is_none_or(|server| peer.pin.server == server);
    let found: Vec<_> = known.iter().filter(fits).collect();
    match found[..] {
        [] => bail!("no key of {name} is kept; deskhand peer list shows all"),
        [peer] => Ok(peer),
        _ => {
            let servers: Vec<_> = found.iter().map(|peer| format!("{id}@{}", peer.pin.server)).collect();
            bail!("several servers have an {id}; say which: {}", servers.join(", "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::Pin;

    #[test]
    fn a_peer_is_named_by_its_id_and_where_needed_its_server() {
        let key = hbb_common::key::SigningKey::from_seed(&[1; 32]).public();
        let known = [("a.example", "1"), ("b.example", "1"), ("b.example", "2")].map(|(server, id)| {
            KnownPeer { pin: Pin { server: server.into(), id: id.into() }, key, refused: None }
        });
        assert_eq!(find(&known, "2").unwrap().pin.server, "b.example");
        assert_eq!(find(&known, "1@a.example").unwrap().pin.server, "a.example");
        let error = find(&known, "1").unwrap_err().to_string();
        assert!(error.contains("1@a.example, 1@b.example"), "{error}");
        assert!(find(&known, "3").unwrap_err().to_string().contains("peer list"));
    }
}
