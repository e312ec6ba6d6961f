//! Seeing: pictures and waiting.

use super::arguments::{CoordinateSpace, RegionArgument, session, time};
use crate::Toolset;
use crate::facts::{PictureFacts, PictureMissing, Rectangle, milliseconds};
use crate::outcome::{Failure, Reply};
use crate::tool::{About, CallContext, Effect, ToolEntry};
use framebuffer::Format;
use policy::Class;
use remote::DisplayId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sessions::{ScreenshotRequest, Space, WaitFor, WaitRequest};

const WAIT_MS: u64 = 10_000;
const LONGEST_WAIT_MS: u64 = 300_000;
const QUIET_MS: u64 = 500;
const LONGEST_QUIET_MS: u64 = 60_000;

pub(super) fn tools() -> Vec<ToolEntry> {
    vec![
        ToolEntry::new(
            Toolset::Desktop,
            About {
                name: "screenshot",
                title: "Take a screenshot",
                description: "Shows a display, or a region of it enlarged, as PNG or JPEG within a budget. \
                    Positions for other calls are pixels of the last whole picture; a region does not change them. \
                    If nothing changed since the last picture you got, there is no picture but a note \
                    (force: true sends it again).",
                class: Class::Observe,
                effect: Effect::Reads,
            },
            screenshot,
        ),
        ToolEntry::new(
            Toolset::Desktop,
            About {
                name: "wait_for",
                title: "Wait for the screen",
                description: "Waits until the screen differs from the last picture you got (condition: change), or \
                    until nothing changed for quiet_ms (condition: still). Running out of time is no error: met is \
                    false then.",
                class: Class::Observe,
                effect: Effect::Reads,
            },
            wait_for,
        ),
    ]
}

#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum FormatArgument {
    /// PNG if it fits the budget, else JPEG.
    #[default]
    Auto,
    Png,
    Jpeg,
}

impl From<FormatArgument> for Format {
    fn from(format: FormatArgument) -> Self {
        match format {
            FormatArgument::Auto => Self::Auto,
            FormatArgument::Png => Self::Png,
            FormatArgument::Jpeg => Self::Jpeg,
        }
    }
}

fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ScreenshotArguments {
    /// Handle of the session; may be left out while exactly one is open.
    session: Option<String>,
    /// Which display; the last one seen unless given, at first the primary one.
    display: Option<u32>,
    /// Only this part, in the coordinate space; shown as large as the budget allows.
    region: Option<RegionArgument>,
    #[serde(default)]
    coordinate_space: CoordinateSpace,
    #[serde(default)]
    format: FormatArgument,
    /// Longest side in pixels, to make the picture smaller than usual.
    max_side: Option<u32>,
    /// Size of the file as base64 text, to make it smaller than usual.
    max_bytes: Option<usize>,
    /// Draw the pointer; true unless given.
    #[serde(default = "yes")]
    cursor: bool,
    /// Have the peer make the picture without the loss of its video, for small text. Slower.
    #[serde(default)]
    lossless: bool,
    /// Send the picture although it equals the last one.
    #[serde(default)]
    force: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ScreenshotResult {
    session: String,
    #[serde(flatten)]
    picture: PictureFacts,
}

async fn screenshot(
    context: CallContext,
    arguments: ScreenshotArguments,
) -> Result<Reply<ScreenshotResult>, Failure> {
    let request = ScreenshotRequest {
        display: arguments.display.map(DisplayId),
        space: arguments.coordinate_space.into(),
        region: arguments.region.map(Into::into),
        format: arguments.format.into(),
        longest_side: arguments.max_side,
        base64_bytes: arguments.max_bytes,
        cursor: arguments.cursor,
        lossless: arguments.lossless,
        force: arguments.force,
    };
    let (id, shot) =
        context.access.screenshot(session(arguments.session.as_ref()).as_ref(), &request).await?;
    let result = ScreenshotResult { session: id.to_string(), picture: PictureFacts::of(&shot) };
    Ok(Reply { result, picture: shot.picture })
}

/// The picture that other tools return on request.
pub(super) fn usual_picture(space: Space) -> ScreenshotRequest {
    ScreenshotRequest { space, ..ScreenshotRequest::default() }
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum ConditionArgument {
    Change,
    Still,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WaitArguments {
    /// What to wait for: change or still.
    condition: ConditionArgument,
    /// Handle of the session; may be left out while exactly one is open.
    session: Option<String>,
    /// Which display; the last one seen unless given.
    display: Option<u32>,
    /// Only this part counts, in the coordinate space.
    region: Option<RegionArgument>,
    #[serde(default)]
    coordinate_space: CoordinateSpace,
    /// How long to wait at most, 10000 unless given.
    timeout_ms: Option<u64>,
    /// How long nothing may change for still, 500 unless given.
    quiet_ms: Option<u64>,
    /// Return a picture afterwards.
    #[serde(default)]
    screenshot: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
struct WaitResult {
    session: String,
    display: u32,
    /// Whether it happened before the time was up.
    met: bool,
    waited_ms: u64,
    /// Where the screen changed meanwhile, in the coordinate space.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed_region: Option<Rectangle>,
    #[serde(skip_serializing_if = "Option::is_none")]
    picture: Option<PictureFacts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    picture_missing: Option<PictureMissing>,
}

async fn wait_for(context: CallContext, arguments: WaitArguments) -> Result<Reply<WaitResult>, Failure> {
    let space = arguments.coordinate_space.into();
    let request = WaitRequest {
        what: match arguments.condition {
            ConditionArgument::Change => WaitFor::Change,
            ConditionArgument::Still => WaitFor::Still,
        },
        display: arguments.display.map(DisplayId),
        space,
        region: arguments.region.map(Into::into),
        timeout: time("timeout_ms", arguments.timeout_ms, WAIT_MS, LONGEST_WAIT_MS)?,
        quiet: time("quiet_ms", arguments.quiet_ms, QUIET_MS, LONGEST_QUIET_MS)?,
        picture: arguments.screenshot.then(|| usual_picture(space)),
    };
    let handle = session(arguments.session.as_ref());
    let (id, outcome) = context.access.wait_for(handle.as_ref(), &request).await?;
    let result = WaitResult {
        session: id.to_string(),
        display: outcome.display.0,
        met: outcome.met,
        waited_ms: milliseconds(outcome.waited),
        changed_region: outcome.changed.map(Rectangle::from),
        picture: outcome.picture.as_ref().map(PictureFacts::of),
        picture_missing: outcome.picture_error.map(PictureMissing::from),
    };
    Ok(Reply { result, picture: outcome.picture.and_then(|shot| shot.picture) })
}
