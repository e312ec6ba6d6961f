//! Finds a path to the peer and brings it up to the first packet.

use crate::config::Config;
use crate::error::unreachable;
use crate::link::Link;
use crate::net;
use hbb_common::defaults::CONNECT_TIMEOUT;
use hbb_common::key::PublicKey;
use hbb_common::peer_id::PeerAddress;
use remote::{Path, RemoteError};
use session_proto::client::Security;
use std::sync::Arc;

/// The longest packet before the login.
const FIRST_LIMIT: usize = 256 << 10;

/// A stream to a peer, and what is known of it.
#[derive(Debug)]
pub(crate) struct Dialled {
    pub(crate) link: Link,
    pub(crate) path: Path,
    /// What goes into `LoginRequest.username`.
    pub(crate) host_id: String,
    pub(crate) security: Security,
    /// The peer's key, if it is to prove one.
    pub(crate) key: Option<PublicKey>,
}

pub(crate) async fn dial(
    _config: Arc<Config>,
    address: PeerAddress,
    _allow_unencrypted: bool,
) -> Result<Dialled, RemoteError> {
    match address {
        PeerAddress::Direct { host, port } => {
            let typed = format!("{host}:{port}");
            let stream = net::connect(&host, port, CONNECT_TIMEOUT)
                .await
                .map_err(|e| unreachable(typed.clone(), &e))?;
            Ok(Dialled {
                link: Link::tcp(stream, FIRST_LIMIT),
                path: Path::Direct,
                host_id: typed,
                security: Security::Plain,
                key: None,
            })
        }
        PeerAddress::Id(id) => Err(RemoteError::UnknownId(id.id)),
    }
}
