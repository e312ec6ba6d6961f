//! What handles ask of a session's task.

use bytes::Bytes;
use remote::{Answer, DisplayId, Input, RemoteError, Secret};
use tokio::sync::oneshot;

pub(crate) type Reply<T> = oneshot::Sender<Result<T, RemoteError>>;

#[derive(Debug)]
pub(crate) enum Command {
    Password(Secret, Reply<()>),
    SecondFactor(Secret, Reply<()>),
    /// Answered when the last byte was handed to the network.
    Input(Vec<Input>, Reply<()>),
    /// Answered when the peer has read everything sent before.
    Probe(Reply<Option<Answer>>),
    Refresh(DisplayId, Reply<()>),
    Subscribe(DisplayId, Reply<()>),
    Screenshot(DisplayId, Reply<Bytes>),
    Close,
}
