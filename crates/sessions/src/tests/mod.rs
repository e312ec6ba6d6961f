//! Behaviour of the registry against scripted peers, with a clock moved by the runtime.

mod acting;
mod approving;
mod auditing;
mod callers;
mod connecting;
mod leasing;
mod seeing;
mod stopping;
mod watching;

use crate::testing::{FakeConnector, FakePeer};
use crate::{Access, Act, Action, ConnectRequest, ConnectTo, Connected, FileSecrets, SecretRef, Sessions};
use crate::{MemoryAudit, SessionsConfig, SessionsError, Settle, Space, Spot, TargetEntry};
use policy::{Caller, CallerKind, Grant, Mode, Policy, Rule, Verdict};
use remote::{Button, Connector, Secret, SessionState, Size, Target};
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

    /// With these rules, and the record kept by `log`.
    fn guarded(config: SessionsConfig, policy: Policy, log: &Arc<MemoryAudit>) -> Self {
        let Self { registry, connector, .. } = Self::with(config, |_| FakePeer::ready(SCREEN));
        let registry = Arc::into_inner(registry).expect("nobody else has it");
        let registry = Arc::new(registry.with_policy(policy).with_audit(Arc::clone(log) as _));
        let sessions = registry.access(&Arc::new(Caller::local("test", CallerKind::Model)));
        Self { registry, sessions, connector }
    }

    /// The sessions as somebody else has them.
    fn of(&self, credential: &str, kind: CallerKind, classes: &str, targets: &str) -> Access {
        let grant = Grant {
            classes: classes.parse().expect("classes"),
            targets: targets.parse().expect("a selector"),
            mode: Mode::Edit,
            toolsets: Vec::new(),
        };
        let (credential, name) = (credential.to_owned(), credential.to_uppercase());
        self.registry.access(&Arc::new(Caller { credential, name, kind, grant }))
    }

    /// A person with every right.
    fn person(&self, credential: &str) -> Access {
        self.of(credential, CallerKind::Person, "all", "all")
    }

    /// Another model with every right but to administrate.
    fn model(&self, credential: &str) -> Access {
        self.of(credential, CallerKind::Model, "observe interact", "all")
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

fn click(x: f64, y: f64) -> Act {
    act(Action::Click { at: Some(Spot { x, y }), button: Button::Left, count: 1, held: vec![] })
}

fn type_text(text: &str) -> Act {
    act(Action::Type { text: text.to_owned() })
}

fn rules(rules: &[(&str, &str, Verdict)]) -> Policy {
    let rule = |(targets, classes, verdict): &(&str, &str, Verdict)| Rule {
        targets: targets.parse().expect("a selector"),
        classes: classes.parse().expect("classes"),
        verdict: *verdict,
        reason: "payroll".to_owned(),
    };
    Policy { mode: Mode::Edit, rules: rules.iter().map(rule).collect() }
}

fn kind<T: std::fmt::Debug>(result: Result<T, SessionsError>) -> &'static str {
    result.expect_err("it has to be refused").kind()
}

fn awaiting_password(wrong: bool) -> SessionState {
    SessionState::AwaitingPassword { wrong }
}
