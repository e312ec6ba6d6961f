//! What handles ask of a session's task.

use bytes::Bytes;
use remote::{DisplayId, Input, RemoteError, Secret};
use tokio::sync::oneshot;

pub(crate) type Reply<T> = oneshot::Sender<Result<T, RemoteError>>;

#[derive(Debug)]
pub(crate) enum Command {
    Password(Secret, Reply<()>),
    SecondFactor(Secret, Reply<()>),
    /// Answered when the last byte was handed to the network.
    Input(Vec<Input>, Reply<()>),
    Refresh(DisplayId, Reply<()>),
    Subscribe(DisplayId, Reply<()>),
    Screenshot(DisplayId, Reply<Bytes>),
    Close,
}
