//! Acting: pointer and keyboard.

use super::arguments::{ButtonArgument, CoordinateSpace, PointArgument, position, session, time};
use super::desktop::usual_picture;
use crate::Toolset;
use crate::facts::{PictureFacts, PictureMissing, Rectangle, milliseconds};
use crate::outcome::{Failure, Reply};
use crate::tool::{About, CallContext, Effect, ToolEntry};
use policy::Class;
use remote::DisplayId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sessions::{Act, Action, Chord, Effect as Seen, Settle, Spot, keys};

const LONGEST_SETTLE_MS: u64 = 30_000;

pub(super) fn tools() -> Vec<ToolEntry> {
    let about = |name, title, description, effect| {
        let class = Class::Interact;
        About { name, title, description, class, effect }
    };
    vec![
        ToolEntry::new(
            Toolset::Desktop,
            about(
                "move_mouse",
                "Move the pointer",
                "Moves the pointer without pressing anything.",
                Effect::Sets,
            ),
            move_mouse,
        ),
        ToolEntry::new(
            Toolset::Desktop,
            about(
                "click",
                "Click",
                "Moves the pointer to x,y and clicks there; without x,y clicks where the pointer is. Tells whether \
                 the screen changed.",
                Effect::Acts,
            ),
            click,
        ),
        ToolEntry::new(
            Toolset::Desktop,
            about(
                "drag",
                "Drag",
                "Moves to the first point, presses there, moves along and releases at the last. Give path, or \
                 start and end.",
                Effect::Acts,
            ),
            drag,
        ),
        ToolEntry::new(
            Toolset::Desktop,
            about(
                "scroll",
                "Scroll",
                "Turns the wheel at x,y: dy positive scrolls down, dx positive to the right, in notches.",
                Effect::Adds,
            ),
            scroll,
        ),
        ToolEntry::new(
            Toolset::Desktop,
            about(
                "type_text",
                "Type text",
                "Types text, whatever the keyboard layout, into what has the focus. Line breaks press Enter, tabs \
                 press Tab.",
                Effect::Acts,
            ),
            type_text,
        ),
        ToolEntry::new(
            Toolset::Desktop,
            about(
                "press_key",
                "Press a key",
                "Presses a key or a chord: Enter, Escape, F5, Page_Up, ArrowLeft, a, ctrl+shift+t, alt+F4, \
                 ctrl+alt+del.",
                Effect::Acts,
            ),
            press_key,
        ),
    ]
}

/// What every acting tool returns.
#[derive(Debug, Serialize, JsonSchema)]
struct ActResult {
    session: String,
    display: u32,
    /// The inputs were handed to the network in full.
    sent: bool,
    /// changed, unchanged, not_observed (settle was false), or lost (the screen could not be watched, or the
    /// peer is too slow to tell: see reason).
    effect: &'static str,
    /// Where the screen changed, in the coordinate space.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed_region: Option<Rectangle>,
    /// Whether the screen came to rest; false means that it was still changing.
    #[serde(skip_serializing_if = "Option::is_none")]
    settled: Option<bool>,
    /// Why the effect was lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Characters of the text typed.
    #[serde(skip_serializing_if = "Option::is_none")]
    characters: Option<usize>,
    /// Characters outside ASCII that this machine may have lost, because of the way it types: look at the
    /// screen, and use paste for such text.
    #[serde(skip_serializing_if = "Option::is_none")]
    may_be_lost: Option<usize>,
    took_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    picture: Option<PictureFacts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    picture_missing: Option<PictureMissing>,
}

/// Where and how an action is done, whichever it is.
struct Manner {
    session: Option<String>,
    display: Option<u32>,
    coordinate_space: CoordinateSpace,
    settle: bool,
    settle_ms: Option<u64>,
    screenshot: bool,
}

/// The arguments that all acting tools share, as [`Manner`].
macro_rules! manner {
    ($arguments:ident) => {
        Manner {
            session: $arguments.session,
            display: $arguments.display,
            coordinate_space: $arguments.coordinate_space,
            settle: $arguments.settle,
            settle_ms: $arguments.settle_ms,
            screenshot: $arguments.screenshot,
        }
    };
}

async fn act(context: CallContext, manner: Manner, action: Action) -> Result<Reply<ActResult>, Failure> {
    let types = matches!(action, Action::Type { .. } | Action::TypeSecret { .. } | Action::Paste { .. });
    let usual = context.access.config().settle;
    let usual_cap = milliseconds(usual.cap);
    let cap = time("settle_ms", manner.settle_ms, usual_cap, LONGEST_SETTLE_MS)?;
    let patience = if manner.settle_ms.is_some() { cap } else { usual.patience };
    let settle = Settle { cap, patience, ..usual };
    let space = manner.coordinate_space.into();
    let act = Act {
        action,
        display: manner.display.map(DisplayId),
        space,
        settle: manner.settle.then_some(settle),
        picture: manner.screenshot.then(|| usual_picture(space)),
    };
    let (id, acted) = context.access.act(session(manner.session.as_ref()).as_ref(), act).await?;
    let change = match &acted.effect {
        Seen::Changed(change) => Some(*change),
        _ => None,
    };
    let result = ActResult {
        session: id.to_string(),
        display: acted.display.0,
        sent: true,
        effect: match &acted.effect {
            Seen::NotObserved => "not_observed",
            Seen::Lost { .. } => "lost",
            Seen::None => "unchanged",
            Seen::Changed(_) => "changed",
        },
        changed_region: change.map(|change| change.bounds.into()),
        settled: change.map(|change| change.settled),
        reason: match acted.effect {
            Seen::Lost { reason } => Some(reason),
            _ => None,
        },
        characters: types.then_some(acted.typed),
        may_be_lost: (acted.at_risk > 0).then_some(acted.at_risk),
        took_ms: milliseconds(acted.took),
        picture: acted.picture.as_ref().map(PictureFacts::of),
        picture_missing: acted.picture_error.map(PictureMissing::from),
    };
    Ok(Reply { result, picture: acted.picture.and_then(|shot| shot.picture) })
}

fn yes() -> bool {
    true
}

fn once() -> u8 {
    1
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MoveArguments {
    x: f64,
    y: f64,
    /// Handle of the session; may be left out while exactly one is open.
    session: Option<String>,
    /// Which display; the last one seen unless given.
    display: Option<u32>,
    #[serde(default)]
    coordinate_space: CoordinateSpace,
    /// Watch the screen until it rests and tell what changed; false unless given.
    #[serde(default)]
    settle: bool,
    /// How long to watch at most.
    settle_ms: Option<u64>,
    /// Return a picture afterwards.
    #[serde(default)]
    screenshot: bool,
}

async fn move_mouse(context: CallContext, arguments: MoveArguments) -> Result<Reply<ActResult>, Failure> {
    let to = Spot { x: arguments.x, y: arguments.y };
    act(context, manner!(arguments), Action::Move { to }).await
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ClickArguments {
    /// Left out together with y: where the pointer is.
    x: Option<f64>,
    y: Option<f64>,
    #[serde(default)]
    button: ButtonArgument,
    /// 2 for a double click, 3 for a triple click.
    #[serde(default = "once")]
    #[schemars(range(min = 1, max = 3))]
    count: u8,
    /// Held meanwhile: shift, ctrl, alt, meta.
    #[serde(default)]
    modifiers: Vec<String>,
    /// Handle of the session; may be left out while exactly one is open.
    session: Option<String>,
    /// Which display; the last one seen unless given.
    display: Option<u32>,
    #[serde(default)]
    coordinate_space: CoordinateSpace,
    /// Watch the screen until it rests and tell what changed; true unless given.
    #[serde(default = "yes")]
    settle: bool,
    /// How long to watch at most.
    settle_ms: Option<u64>,
    /// Return a picture afterwards.
    #[serde(default)]
    screenshot: bool,
}

async fn click(context: CallContext, arguments: ClickArguments) -> Result<Reply<ActResult>, Failure> {
    let action = Action::Click {
        at: position(arguments.x, arguments.y)?,
        button: arguments.button.into(),
        count: arguments.count,
        held: keys::modifiers(&arguments.modifiers)?,
    };
    act(context, manner!(arguments), action).await
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DragArguments {
    /// Two points or more.
    #[serde(default)]
    path: Vec<PointArgument>,
    /// With end, in place of path.
    start: Option<PointArgument>,
    end: Option<PointArgument>,
    #[serde(default)]
    button: ButtonArgument,
    /// Held meanwhile: shift, ctrl, alt, meta.
    #[serde(default)]
    modifiers: Vec<String>,
    /// Handle of the session; may be left out while exactly one is open.
    session: Option<String>,
    /// Which display; the last one seen unless given.
    display: Option<u32>,
    #[serde(default)]
    coordinate_space: CoordinateSpace,
    /// Watch the screen until it rests and tell what changed; true unless given.
    #[serde(default = "yes")]
    settle: bool,
    /// How long to watch at most.
    settle_ms: Option<u64>,
    /// Return a picture afterwards.
    #[serde(default)]
    screenshot: bool,
}

async fn drag(context: CallContext, arguments: DragArguments) -> Result<Reply<ActResult>, Failure> {
    let path: Vec<Spot> = match (arguments.path.as_slice(), arguments.start, arguments.end) {
        ([], Some(start), Some(end)) => vec![start.into(), end.into()],
        (path, None, None) if !path.is_empty() => path.iter().copied().map(Spot::from).collect(),
        _ => return Err(Failure::invalid("give path, or start and end")),
    };
    let held = keys::modifiers(&arguments.modifiers)?;
    let action = Action::Drag { path, button: arguments.button.into(), held };
    act(context, manner!(arguments), action).await
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ScrollArguments {
    /// Left out together with y: where the pointer is.
    x: Option<f64>,
    y: Option<f64>,
    /// Notches to the right; negative to the left.
    #[serde(default)]
    #[schemars(range(min = -100, max = 100))]
    dx: i32,
    /// Notches down; negative up.
    #[serde(default)]
    #[schemars(range(min = -100, max = 100))]
    dy: i32,
    /// Held meanwhile: shift, ctrl, alt, meta.
    #[serde(default)]
    modifiers: Vec<String>,
    /// Handle of the session; may be left out while exactly one is open.
    session: Option<String>,
    /// Which display; the last one seen unless given.
    display: Option<u32>,
    #[serde(default)]
    coordinate_space: CoordinateSpace,
    /// Watch the screen until it rests and tell what changed; true unless given.
    #[serde(default = "yes")]
    settle: bool,
    /// How long to watch at most.
    settle_ms: Option<u64>,
    /// Return a picture afterwards.
    #[serde(default)]
    screenshot: bool,
}

async fn scroll(context: CallContext, arguments: ScrollArguments) -> Result<Reply<ActResult>, Failure> {
    let action = Action::Scroll {
        at: position(arguments.x, arguments.y)?,
        dx: arguments.dx,
        dy: arguments.dy,
        held: keys::modifiers(&arguments.modifiers)?,
    };
    act(context, manner!(arguments), action).await
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TypeArguments {
    /// It is not repeated in the result. Give text or secret.
    text: Option<String>,
    /// In place of text: the name of a secret that the operator configured, as "secret://name". It is typed
    /// without being shown to anybody.
    secret: Option<String>,
    /// Put the text on the machine's clipboard and press this chord in place of typing: what pastes in the
    /// program in front, such as ctrl+v, or ctrl+shift+v in many terminals. Replaces what the clipboard held.
    paste: Option<String>,
    /// Press Enter afterwards.
    #[serde(default)]
    enter: bool,
    /// Handle of the session; may be left out while exactly one is open.
    session: Option<String>,
    /// The display to watch; the last one seen unless given.
    display: Option<u32>,
    #[serde(default)]
    coordinate_space: CoordinateSpace,
    /// Watch the screen until it rests and tell what changed; true unless given.
    #[serde(default = "yes")]
    settle: bool,
    /// How long to watch at most.
    settle_ms: Option<u64>,
    /// Return a picture afterwards.
    #[serde(default)]
    screenshot: bool,
}

async fn type_text(context: CallContext, arguments: TypeArguments) -> Result<Reply<ActResult>, Failure> {
    let enter = arguments.enter;
    let with_enter = |text: String| if enter { text + "\n" } else { text };
    let action = match (arguments.text, arguments.secret, arguments.paste) {
        (Some(text), None, None) => Action::Type { text: with_enter(text) },
        (Some(text), None, Some(chord)) => {
            Action::Paste { text: with_enter(text), chord: Chord::parse(&chord)? }
        }
        (None, Some(name), None) => Action::TypeSecret { name, enter },
        (None, Some(_), Some(_)) => {
            return Err(Failure::invalid("a secret is not put on a clipboard; leave paste out"));
        }
        _ => return Err(Failure::invalid("give text or secret, one of them")),
    };
    act(context, manner!(arguments), action).await
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PressArguments {
    /// A name, a character, or a chord joined by +.
    key: String,
    /// Held meanwhile, besides those of the chord: shift, ctrl, alt, altgr, meta.
    #[serde(default)]
    modifiers: Vec<String>,
    /// How often.
    #[serde(default = "once")]
    #[schemars(range(min = 1, max = 100))]
    repeat: u8,
    /// Handle of the session; may be left out while exactly one is open.
    session: Option<String>,
    /// The display to watch; the last one seen unless given.
    display: Option<u32>,
    #[serde(default)]
    coordinate_space: CoordinateSpace,
    /// Watch the screen until it rests and tell what changed; true unless given.
    #[serde(default = "yes")]
    settle: bool,
    /// How long to watch at most.
    settle_ms: Option<u64>,
    /// Return a picture afterwards.
    #[serde(default)]
    screenshot: bool,
}

async fn press_key(context: CallContext, arguments: PressArguments) -> Result<Reply<ActResult>, Failure> {
    let mut chord = Chord::parse(&arguments.key)?;
    for name in &arguments.modifiers {
        chord.hold(name)?;
    }
    let repeat = u32::from(arguments.repeat);
    act(context, manner!(arguments), Action::Press { chord, repeat }).await
}
