//! Opens sessions.

use crate::config::Config;
use crate::decode::DecodeQueue;
use crate::error::parse;
use crate::session::RustDeskSession;
use crate::shared::{Frames, Shared};
use crate::task::Task;
use hbb_common::peer_id::PeerAddress;
use remote::{Connector, RemoteError, Session, Target, VideoCodec};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Commands of handles that wait for the task.
const COMMANDS: usize = 64;

/// Opens sessions to RustDesk hosts.
#[derive(Debug)]
pub struct RustDesk {
    config: Arc<Config>,
    /// What can be decoded here.
    decoders: Vec<VideoCodec>,
}

impl RustDesk {
    pub fn new(config: Config) -> Self {
        Self { config: Arc::new(config), decoders: codec::decoders().to_vec() }
    }

    fn address(&self, text: &str) -> Result<PeerAddress, RemoteError> {
        match parse(text)? {
            PeerAddress::Id(id) if id.server.is_none() && self.config.server.is_none() => Err(
                RemoteError::Invalid(format!("{text:?} is an id, and no rendezvous server is configured")),
            ),
            address => Ok(address),
        }
    }

    /// As [`Connector::open`], with the type of the session.
    pub fn open_session(&self, target: Target) -> Result<RustDeskSession, RemoteError> {
        let address = self.address(&target.address)?;
        if matches!(address, PeerAddress::Direct { .. }) && !target.allow_unencrypted {
            return Err(RemoteError::NotEncrypted);
        }
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|_| RemoteError::Invalid("sessions are opened inside of a runtime".into()))?;
        let (commands, received) = mpsc::channel(COMMANDS);
        let (reports, reported) = mpsc::unbounded_channel();
        let frames = Arc::new(watch::Sender::new(Frames::new()));
        let decoding = DecodeQueue::new(frames.clone(), reports, self.config.pixel_limit);
        let shared = Arc::new(Shared::new(decoding, frames));
        let cancel = CancellationToken::new();
        let task = Task::new(
            self.config.clone(),
            self.decoders.clone(),
            target,
            address,
            shared.clone(),
            received,
            reported,
        );
        let running = runtime.spawn(task.run(cancel.clone()));
        Ok(RustDeskSession::new(shared, commands, cancel, running))
    }
}

impl Connector for RustDesk {
    fn protocol(&self) -> &'static str {
        "rustdesk"
    }

    fn check(&self, address: &str) -> Result<(), RemoteError> {
        self.address(address).map(|_| ())
    }

    fn open(&self, target: Target) -> Result<Arc<dyn Session>, RemoteError> {
        Ok(Arc::new(self.open_session(target)?))
    }
}
