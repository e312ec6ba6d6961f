//! Behaviour of the registry against scripted peers, with a clock moved by the runtime.

mod acting;
mod connecting;
mod seeing;

use crate::testing::{FakeConnector, FakePeer};
use crate::{Access, Act, Action, ConnectRequest, ConnectTo, Connected, FileSecrets, SecretRef, Sessions};
use crate::{SessionsConfig, SessionsError, Settle, Space, TargetEntry};
use policy::{Caller, CallerKind};
use remote::{Connector, Secret, SessionState, Size, Target};
use std::sync::Arc;
use std::time::Duration;

const SCREEN: Size = Size::new(1280, 800);

/// Sessions as a model with every right has them.
struct Desk {
    registry: Arc<Sessions>,
    sessions: Access,
    connector: Arc<FakeConnector>,
}

impl Desk {
    fn new(make: impl Fn(&Target) -> FakePeer + Send + Sync + 'static) -> Self {
        Self::with(SessionsConfig::default(), make)
    }

    fn with(config: SessionsConfig, make: impl Fn(&Target) -> FakePeer + Send + Sync + 'static) -> Self {
        let connector = FakeConnector::new(make);
        let connectors: Vec<Arc<dyn Connector>> = vec![Arc::clone(&connector) as _];
        let entry = |name: &str| TargetEntry {
            target: Target { name: name.to_owned(), address: format!("{name}.example"), ..Target::default() },
            password: Some(SecretRef::Inline(Secret::new("from the config"))),
            ..TargetEntry::default()
        };
        let targets = vec![entry("kiosk"), entry("office")];
        let registry = Arc::new(Sessions::new(config, connectors, targets, Arc::new(FileSecrets::default())));
        let sessions = registry.access(&Arc::new(Caller::local("test", CallerKind::Model)));
        Self { registry, sessions, connector }
    }

    fn ready() -> Self {
        Self::new(|_| FakePeer::ready(SCREEN))
    }

    async fn connect(&self, name: &str) -> Connected {
        self.sessions.connect(to(name)).await.expect("the fake connects")
    }

    fn peer(&self) -> FakePeer {
        self.connector.opened().pop().expect("a session was opened")
    }
}

fn to(name: &str) -> ConnectRequest {
    ConnectRequest {
        to: ConnectTo::Target(name.to_owned()),
        password: None,
        wait: Duration::from_secs(30),
        another: false,
    }
}

fn act(action: Action) -> Act {
    Act { action, display: None, space: Space::Picture, settle: Some(Settle::default()), picture: None }
}

fn kind<T: std::fmt::Debug>(result: Result<T, SessionsError>) -> &'static str {
    result.expect_err("it has to be refused").kind()
}

fn awaiting_password(wrong: bool) -> SessionState {
    SessionState::AwaitingPassword { wrong }
}
