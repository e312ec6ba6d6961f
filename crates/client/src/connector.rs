//! Opens sessions.

use crate::config::Config;
use crate::decode::DecodeQueue;
use crate::error::parse;
use crate::nat::Nats;
use crate::session::RustDeskSession;
use crate::shared::{Frames, Shared};
use crate::task::{Inbox, Task};
use hbb_common::peer_id::{IdAddress, PeerAddress, ServerAddress};
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
    nats: Arc<Nats>,
    /// What can be decoded here.
    decoders: Vec<VideoCodec>,
}

impl RustDesk {
    pub fn new(config: Config) -> Self {
        Self { config: Arc::new(config), nats: Arc::default(), decoders: codec::decoders().to_vec() }
    }

    fn address(&self, text: &str) -> Result<PeerAddress, RemoteError> {
        match parse(text)? {
            PeerAddress::Id(id) if id.server.is_none() && self.config.server.is_none() => Err(
                RemoteError::Invalid(format!("{text:?} is an id, and no rendezvous server is configured")),
            ),
            address => Ok(address),
        }
    }

    /// The server that an id is known to, in one spelling.
    fn server_of(&self, id: &IdAddress) -> Option<String> {
        let address = match (&id.server, &self.config.server) {
            (Some(server), _) => &server.address,
            (None, Some(server)) => &server.address,
            (None, None) => return None,
        };
        let server = ServerAddress { address: address.to_ascii_lowercase(), key: None };
        Some(server.host_port().map_or(server.address, |(host, port)| format!("{host}:{port}")))
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
            self.nats.clone(),
            self.decoders.clone(),
            target,
            address,
            shared.clone(),
            Inbox { commands: received, reports: reported },
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

    fn same_machine(&self, one: &str, other: &str) -> bool {
        match (parse(one), parse(other)) {
            (Ok(PeerAddress::Id(one)), Ok(PeerAddress::Id(other))) => {
                one.id == other.id && self.server_of(&one) == self.server_of(&other)
            }
            (
                Ok(PeerAddress::Direct { host: one, port: one_port }),
                Ok(PeerAddress::Direct { host: other, port: other_port }),
            ) => one.eq_ignore_ascii_case(&other) && one_port == other_port,
            _ => false,
        }
    }

    fn open(&self, target: Target) -> Result<Arc<dyn Session>, RemoteError> {
        Ok(Arc::new(self.open_session(target)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Server;

    #[test]
    fn a_machine_is_known_again_however_its_address_is_written() {
        let server = Some(Server { address: "HBBS.example".into(), key: String::new() });
        let connector = RustDesk::new(Config { server, ..Config::default() });
        for (one, other) in [
            ("123 456 789", "123456789"),
            ("123456789/r", "123456789"),
            ("123456789@hbbs.example:21116?key=k=", "123456789"),
            ("10.0.0.7", "10.0.0.7:21118"),
        ] {
            assert!(connector.same_machine(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("123456789", "123456788"),
            ("123456789@elsewhere.example", "123456789"),
            ("10.0.0.7:21118", "10.0.0.7:21119"),
            ("10.0.0.7", "123456789"),
            ("", ""),
        ] {
            assert!(!connector.same_machine(one, other), "{one} {other}");
        }
    }
}
