//! What goes wrong below, in the words of `remote`.

use hbb_common::peer_id::PeerAddress;
use remote::RemoteError;
use std::io;

pub(crate) fn parse(address: &str) -> Result<PeerAddress, RemoteError> {
    address.parse().map_err(|e| RemoteError::Invalid(format!("address: {e}")))
}

pub(crate) fn unreachable(address: impl Into<String>, error: &io::Error) -> RemoteError {
    RemoteError::Unreachable { address: address.into(), reason: error.to_string() }
}
