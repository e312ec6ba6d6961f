//! What goes wrong below, in the words of `remote`.

use hbb_common::peer_id::PeerAddress;
use remote::RemoteError;
use session_proto::dial::DialError;
use std::io;

pub(crate) fn parse(address: &str) -> Result<PeerAddress, RemoteError> {
    address.parse().map_err(|e| RemoteError::Invalid(format!("address: {e}")))
}

pub(crate) fn unreachable(address: impl Into<String>, error: &io::Error) -> RemoteError {
    RemoteError::Unreachable { address: address.into(), reason: error.to_string() }
}

/// Without the pins nobody can be recognised, so nobody is connected to.
pub(crate) fn not_pinned(error: &io::Error) -> RemoteError {
    RemoteError::PeerNotVerified(format!("the pinned keys can not be read: {error}"))
}

pub(crate) fn dial_error(error: DialError, server: &str, id: &str) -> RemoteError {
    match error {
        DialError::UnknownId => RemoteError::UnknownId(id.into()),
        DialError::Offline => RemoteError::Offline(id.into()),
        DialError::KeyMismatch => RemoteError::ServerKeyRefused,
        DialError::NotVerified(_) => RemoteError::ServerNotVerified,
        DialError::Overuse | DialError::Refused(_) => RemoteError::Refused(error.to_string()),
        DialError::NoServer(reason) => RemoteError::Unreachable { address: server.into(), reason },
        DialError::ServerLeft => {
            RemoteError::Unreachable { address: server.into(), reason: error.to_string() }
        }
        DialError::NoAnswer | DialError::NoPath(_) => {
            RemoteError::Unreachable { address: id.into(), reason: error.to_string() }
        }
    }
}
