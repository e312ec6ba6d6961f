//! Finds a path to the peer and brings it up to the peer's first packet.

use crate::attempt::Attempt;
use crate::config::{Config, Server};
use crate::error::{not_pinned, unreachable};
use crate::link::Link;
use crate::nat::Nats;
use crate::net;
use crate::pins::Pin;
use crate::place::{default_relay, is_web_socket};
use hbb_common::defaults::CONNECT_TIMEOUT;
use hbb_common::key::PublicKey;
use hbb_common::peer_id::{IdAddress, PeerAddress};
use remote::{Path, RemoteError};
use session_proto::client::Security;
use session_proto::dial::{Dial, PeerKey, Request};
use std::sync::Arc;

/// The longest packet before the login.
pub(crate) const FIRST_LIMIT: usize = 256 << 10;

/// A stream to a peer, and what is known of it.
#[derive(Debug)]
pub(crate) struct Dialled {
    pub(crate) link: Link,
    pub(crate) path: Path,
    /// What goes into `LoginRequest.username`.
    pub(crate) host_id: String,
    pub(crate) security: Security,
    /// The peer's key, if it is to prove one, and where to keep it.
    pub(crate) key: Option<PublicKey>,
    pub(crate) pin: Option<Pin>,
}

/// What one attempt starts from.
#[derive(Debug, Clone)]
pub(crate) struct Dialler {
    pub(crate) config: Arc<Config>,
    pub(crate) nats: Arc<Nats>,
    pub(crate) address: PeerAddress,
    pub(crate) allow_unencrypted: bool,
    /// The last connection went through the relay.
    pub(crate) was_relayed: bool,
}

impl Dialler {
    pub(crate) async fn dial(self) -> Result<Dialled, RemoteError> {
        match &self.address {
            PeerAddress::Direct { host, port } => direct(host, *port).await,
            PeerAddress::Id(id) => self.by_id(id).await,
        }
    }

    async fn by_id(&self, id: &IdAddress) -> Result<Dialled, RemoteError> {
        let server = self.server(id)?;
        let pin = Pin { server: server.address.clone(), id: id.id.clone() };
        let pinned = self.config.pins.get(&pin).map_err(|e| not_pinned(&e))?;
        let web_socket = is_web_socket(&server.address);
        let request = Request {
            id: id.id.clone(),
            key_text: server.key.clone(),
            server_key: PublicKey::from_base64(&server.key).ok(),
            pinned,
            nat: self.nats.known(&server.address),
            force_relay: id.force_relay || web_socket,
            was_relayed: self.was_relayed,
            default_relay: default_relay(&server.address),
            uuids: std::array::from_fn(|_| uuid_text(rand::random())),
        };
        let test = (!request.force_relay).then(|| self.nats.test(&server.address));
        let attempt = Attempt::new(Dial::new(request), server.address.clone());
        let (link, path, key) = attempt.run(test).await?;
        let (security, key) = self.security(&pin, key, pinned)?;
        Ok(Dialled { link, path, host_id: id.id.clone(), security, key, pin: Some(pin) })
    }

    fn server(&self, id: &IdAddress) -> Result<Server, RemoteError> {
        if let Some(server) = &id.server {
            let key = server.key.clone().unwrap_or_default();
            return Ok(Server { address: server.address.clone(), key });
        }
        self.config.server.clone().ok_or_else(|| {
            RemoteError::Invalid(format!("{} is an id, and no rendezvous server is configured", id.id))
        })
    }

    /// What the connection must prove, decided before anything is said on it.
    fn security(
        &self,
        pin: &Pin,
        key: PeerKey,
        pinned: Option<PublicKey>,
    ) -> Result<(Security, Option<PublicKey>), RemoteError> {
        let key = match (key, pinned) {
            (PeerKey::Signed(offered), Some(pinned)) if offered != pinned => {
                if let Err(error) = self.config.pins.refused(pin, offered) {
                    tracing::warn!(%error, "the refused key can not be remembered");
                }
                return Err(RemoteError::PeerKeyChanged {
                    peer: pin.id.clone(),
                    pinned: pinned.to_base64(),
                    offered: offered.to_base64(),
                });
            }
            (PeerKey::Signed(key) | PeerKey::Pinned(key), _) => key,
            (PeerKey::Unknown, _) if self.allow_unencrypted => return Ok((Security::Declined, None)),
            (PeerKey::Unknown, _) => return Err(RemoteError::NotEncrypted),
        };
        let (secret, session_key) = (rand::random(), rand::random());
        Ok((Security::Sealed { id: pin.id.clone(), key, secret, session_key }, Some(key)))
    }
}

async fn direct(host: &str, port: u16) -> Result<Dialled, RemoteError> {
    let typed = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let stream =
        net::connect(host, port, CONNECT_TIMEOUT).await.map_err(|e| unreachable(typed.clone(), &e))?;
    Ok(Dialled {
        link: Link::tcp(stream, FIRST_LIMIT),
        path: Path::Direct,
        host_id: typed,
        security: Security::Plain,
        key: None,
        pin: None,
    })
}

/// A version 4 UUID.
fn uuid_text(mut random: [u8; 16]) -> String {
    random[6] = random[6] & 0x0F | 0x40;
    random[8] = random[8] & 0x3F | 0x80;
    let hex: String = random.iter().map(|b| format!("{b:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_of_version_4() {
        assert_eq!(uuid_text([0xFF; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uuid_text([0; 16]), "00000000-0000-4000-8000-000000000000");
    }
}
