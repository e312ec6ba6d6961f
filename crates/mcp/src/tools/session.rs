//! Opening, closing and listing sessions.

use super::arguments::{session, time};
use crate::facts::{Extent, Position, milliseconds, peer_text};
use crate::outcome::{Failure, Reply};
use crate::tool::{About, CallContext, Effect, ToolEntry};
use crate::{Toolset, advice};
use policy::Class;
use remote::{Permission, Secret};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sessions::{ConnectRequest, ConnectTo, SessionId, SessionSummary};

/// Targets of one answer at most.
const MOST_TARGETS: usize = 200;
/// How long `connect` waits unless told otherwise.
const CONNECT_WAIT_MS: u64 = 30_000;
const LONGEST_CONNECT_WAIT_MS: u64 = 300_000;

pub(super) fn tools() -> Vec<ToolEntry> {
    let tool = |name, title, description, effect| {
        let class = Class::Observe;
        About { name, title, description, class, effect }
    };
    vec![
        ToolEntry::new(
            Toolset::Desktop,
            tool(
                "target_list",
                "List targets",
                "Lists the configured machines that connect takes as target, with the handles of their open sessions.",
                Effect::Reads,
            ),
            target_list,
        ),
        ToolEntry::new(
            Toolset::Desktop,
            tool(
                "connect",
                "Connect",
                "Opens a session to a machine and waits until it is ready. Give exactly one of target (a configured \
                 name), peer (an address: RustDesk id, id@server?key=..., IP or host:port) or session (go on with \
                 one that waits for a password or for a person). An open session to the same machine is reused. \
                 A failure that names a session leaves it open: do what try_next says and call connect with it.",
                Effect::Sets,
            ),
            connect,
        ),
        ToolEntry::new(
            Toolset::Desktop,
            tool("disconnect", "Disconnect", "Ends a session and tells the peer.", Effect::Sets),
            disconnect,
        ),
        ToolEntry::new(
            Toolset::Desktop,
            tool(
                "session_list",
                "List sessions",
                "Lists open sessions, and those that ended a short while ago with the reason.",
                Effect::Reads,
            ),
            session_list,
        ),
        ToolEntry::new(
            Toolset::Desktop,
            tool(
                "session_status",
                "Session status",
                "Tells how a session stands: state, peer, path, encryption, displays, pointer, what the peer forbids.",
                Effect::Reads,
            ),
            session_status,
        ),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TargetListArguments {
    /// Only targets with this text in their name, description or a tag.
    filter: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct TargetList {
    targets: Vec<TargetFacts>,
    /// Targets left out because there are too many; narrow them with filter.
    left_out: usize,
}

#[derive(Debug, Serialize, JsonSchema)]
struct TargetFacts {
    name: String,
    protocol: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    tags: Vec<String>,
    /// Without a password, a person at the machine is asked to accept.
    has_password: bool,
    /// Handles of open sessions to it.
    sessions: Vec<String>,
}

async fn target_list(
    context: CallContext,
    arguments: TargetListArguments,
) -> Result<Reply<TargetList>, Failure> {
    // Nothing is waited for; tools are asynchronous alike.
    std::future::ready(()).await;
    let wanted = arguments.filter.unwrap_or_default().to_lowercase();
    let mut targets = context.access.targets();
    targets.retain(|target| {
        let mut texts = [&target.name, &target.description].into_iter().chain(&target.tags);
        texts.any(|text| text.to_lowercase().contains(&wanted))
    });
    let left_out = targets.len().saturating_sub(MOST_TARGETS);
    targets.truncate(MOST_TARGETS);
    let facts = |target: sessions::TargetSummary| TargetFacts {
        name: target.name,
        protocol: target.protocol,
        description: target.description,
        tags: target.tags,
        has_password: target.has_password,
        sessions: target.sessions.iter().map(SessionId::to_string).collect(),
    };
    Ok(TargetList { targets: targets.into_iter().map(facts).collect(), left_out }.into())
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ConnectArguments {
    /// Name of a configured machine.
    target: Option<String>,
    /// Address of a machine: RustDesk id, id/r (by relay), id@server?key=..., IP, host:port.
    peer: Option<String>,
    /// Handle of a session to go on with.
    session: Option<String>,
    /// Only if the machine asks for one and none is configured. With session: the answer.
    password: Option<String>,
    /// Protocol of peer, where more than one could be meant.
    protocol: Option<String>,
    /// How long to wait, 30000 unless given.
    timeout_ms: Option<u64>,
    /// Open another session although one to this machine is open.
    #[serde(default)]
    another: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ConnectResult {
    /// The handle for further calls. It may be left out while it is the only open session.
    session: String,
    target: String,
    state: &'static str,
    /// The session was open already.
    reused: bool,
    waited_ms: u64,
    displays: Vec<DisplayFacts>,
}

async fn connect(context: CallContext, arguments: ConnectArguments) -> Result<Reply<ConnectResult>, Failure> {
    let to = match (arguments.target, arguments.peer, arguments.session) {
        (Some(target), None, None) => ConnectTo::Target(target),
        (None, Some(address), None) => ConnectTo::Address { address, protocol: arguments.protocol },
        (None, None, Some(handle)) => ConnectTo::Session(SessionId::from_text(handle)),
        _ => return Err(Failure::invalid("give exactly one of target, peer and session")),
    };
    let wait = time("timeout_ms", arguments.timeout_ms, CONNECT_WAIT_MS, LONGEST_CONNECT_WAIT_MS)?;
    let password = arguments.password.filter(|password| !password.is_empty()).map(Secret::new);
    let request = ConnectRequest { to, password, wait, another: arguments.another };
    let connected = context.access.connect(request).await?;
    if !connected.is_ready() {
        return Err(Failure::not_ready(&connected.session, &connected.state));
    }
    let result = ConnectResult {
        session: connected.session.to_string(),
        target: connected.target,
        state: connected.state.name(),
        reused: connected.reused,
        waited_ms: milliseconds(connected.waited),
        displays: connected.displays.iter().map(DisplayFacts::of).collect(),
    };
    Ok(result.into())
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SessionArgument {
    /// Handle of the session; may be left out while exactly one is open.
    session: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct DisconnectResult {
    session: String,
    state: &'static str,
}

async fn disconnect(
    context: CallContext,
    arguments: SessionArgument,
) -> Result<Reply<DisconnectResult>, Failure> {
    let id = context.access.disconnect(session(arguments.session.as_ref()).as_ref()).await?;
    Ok(DisconnectResult { session: id.to_string(), state: "closed" }.into())
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoArguments {}

#[derive(Debug, Serialize, JsonSchema)]
struct SessionList {
    sessions: Vec<SessionFacts>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct SessionFacts {
    session: String,
    target: String,
    protocol: &'static str,
    state: &'static str,
    /// Why it is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    age_ms: u64,
    /// Since the last call on it.
    idle_ms: u64,
}

impl SessionFacts {
    fn of(summary: &SessionSummary) -> Self {
        Self {
            session: summary.id.to_string(),
            target: summary.target.clone(),
            protocol: summary.protocol,
            state: summary.state.name(),
            reason: summary.reason.as_deref().map(peer_text),
            age_ms: milliseconds(summary.age),
            idle_ms: milliseconds(summary.idle),
        }
    }
}

async fn session_list(context: CallContext, _none: NoArguments) -> Result<Reply<SessionList>, Failure> {
    std::future::ready(()).await;
    let sessions = context.access.list().iter().map(SessionFacts::of).collect();
    Ok(SessionList { sessions }.into())
}

#[derive(Debug, Serialize, JsonSchema)]
struct DisplayFacts {
    display: u32,
    name: String,
    /// Place in the machine's desktop.
    origin: Position,
    size: Extent,
    scale: f64,
    primary: bool,
}

impl DisplayFacts {
    fn of(display: &remote::Display) -> Self {
        Self {
            display: display.id.0,
            name: peer_text(&display.name),
            origin: display.origin.into(),
            size: display.size.into(),
            scale: display.scale,
            primary: display.primary,
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
struct StatusResult {
    #[serde(flatten)]
    session: SessionFacts,
    /// What the state means.
    message: String,
    /// What to do about it; absent where nothing has to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    try_next: Option<String>,
    peer: PeerFacts,
    displays: Vec<DisplayFacts>,
    /// The pointer, in native pixels of its display.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<CursorFacts>,
    /// What the peer has switched off.
    denied: Vec<&'static str>,
    /// The person who is in control of the desktop; nobody else can act meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    human_in_control: Option<ControlFacts>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ControlFacts {
    who: String,
    for_ms: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct CursorFacts {
    display: u32,
    x: i32,
    y: i32,
}

#[derive(Debug, Serialize, JsonSchema)]
struct PeerFacts {
    hostname: String,
    username: String,
    platform: String,
    version: String,
    /// direct, punched, local or relayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'static str>,
    encrypted: bool,
    /// Its public key, base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    round_trip_ms: Option<u64>,
}

impl PeerFacts {
    fn of(peer: &remote::PeerDetails) -> Self {
        let path = |path| match path {
            remote::Path::Direct => "direct",
            remote::Path::Punched => "punched",
            remote::Path::Local => "local",
            remote::Path::Relayed => "relayed",
        };
        Self {
            hostname: peer_text(&peer.hostname),
            username: peer_text(&peer.username),
            platform: peer_text(&peer.platform),
            version: peer_text(&peer.version),
            path: peer.path.map(path),
            encrypted: peer.encrypted,
            key: peer.key.as_deref().map(peer_text),
            round_trip_ms: peer.round_trip.map(milliseconds),
        }
    }
}

/// The word for what a peer can switch off.
fn permission_name(permission: Permission) -> &'static str {
    match permission {
        Permission::Keyboard => "keyboard",
        Permission::Clipboard => "clipboard",
        Permission::Audio => "audio",
        Permission::File => "file",
        Permission::Restart => "restart",
        Permission::Recording => "recording",
        Permission::BlockInput => "block_input",
        Permission::PrivacyMode => "privacy_mode",
    }
}

async fn session_status(
    context: CallContext,
    arguments: SessionArgument,
) -> Result<Reply<StatusResult>, Failure> {
    let status = context.access.status(session(arguments.session.as_ref()).as_ref()).await?;
    let state = &status.summary.state;
    let ready = sessions::error::state_kind(state) == "ready";
    let result = StatusResult {
        session: SessionFacts::of(&status.summary),
        message: peer_text(&sessions::error::describe(state)),
        try_next: (!ready).then(|| advice::for_state(state)),
        peer: PeerFacts::of(&status.peer),
        displays: status.displays.iter().map(DisplayFacts::of).collect(),
        cursor: status.cursor.map(|(display, at)| CursorFacts { display: display.0, x: at.x, y: at.y }),
        denied: status.denied.into_iter().map(permission_name).collect(),
        human_in_control: status
            .control
            .map(|control| ControlFacts { who: control.who, for_ms: milliseconds(control.held) }),
    };
    Ok(result.into())
}
