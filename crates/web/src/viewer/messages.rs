//! What the page and the gateway tell each other.

use remote::{DisplayId, VideoCodec};
use serde::{Deserialize, Serialize};
use sessions::{
    Access, Answer, Approval, AuditDecision, AuditEntry, AuditPhase, Control, SessionStatus, SessionSummary,
};
use std::time::Duration;

/// First byte of a binary message: a packet of video follows: display, codec, 1 for a keyframe, data.
const VIDEO: u8 = 1;
/// First byte of a binary message: a picture follows: display, width and height of the display (big endian),
/// a JPEG file.
const PICTURE: u8 = 2;

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A session in the list.
#[derive(Debug, Serialize)]
pub(super) struct SessionRow {
    session: String,
    target: String,
    protocol: &'static str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    age_ms: u64,
    idle_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    control: Option<ControlRow>,
}

impl SessionRow {
    pub(super) fn of(access: &Access, summary: &SessionSummary) -> Self {
        Self {
            session: summary.id.to_string(),
            target: summary.target.clone(),
            protocol: summary.protocol,
            state: summary.state.name(),
            reason: summary.reason.clone(),
            age_ms: milliseconds(summary.age),
            idle_ms: milliseconds(summary.idle),
            control: access.control(&summary.id).map(|control| ControlRow::of(access, &control)),
        }
    }
}

/// Who has a desktop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ControlRow {
    name: String,
    /// Whether it is whoever is told.
    pub(super) mine: bool,
}

impl ControlRow {
    pub(super) fn of(access: &Access, control: &Control) -> Self {
        Self { name: control.who.clone(), mine: control.holder == access.caller().credential }
    }
}

/// A call that waits for a person.
#[derive(Debug, Serialize)]
pub(super) struct ApprovalRow {
    id: String,
    name: String,
    machine: String,
    operation: String,
    detail: String,
    reason: String,
    left_ms: u64,
}

impl ApprovalRow {
    pub(super) fn of(approval: &Approval) -> Self {
        Self {
            id: approval.id.clone(),
            name: approval.name.clone(),
            machine: approval.machine.clone(),
            operation: approval.operation.clone(),
            detail: approval.detail.clone(),
            reason: approval.reason.clone(),
            left_ms: milliseconds(approval.left),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswerMessage {
    pub(super) answer: Answer,
}

/// From the gateway to a page that watches a session, as text.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum FromGateway {
    Status(Box<StatusMessage>),
    Step(Box<StepMessage>),
    Control {
        control: Option<ControlRow>,
    },
    /// The list of what waits for a person is another.
    Approvals,
    Cursor {
        display: DisplayId,
        x: i32,
        y: i32,
    },
    /// So many events are not told.
    Missed {
        count: u64,
    },
    Error {
        message: String,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct StatusMessage {
    target: String,
    state: &'static str,
    /// What the state means.
    message: String,
    displays: Vec<DisplayRow>,
    /// Whether taking over can succeed.
    may_interact: bool,
    /// Whether a person stopped those who use the session.
    stopped: bool,
    control: Option<ControlRow>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct DisplayRow {
    display: DisplayId,
    name: String,
}

impl StatusMessage {
    pub(super) fn of(access: &Access, status: &SessionStatus, may_interact: bool) -> Self {
        let machine = &status.summary.target;
        Self {
            target: machine.clone(),
            state: status.summary.state.name(),
            message: status
                .summary
                .reason
                .clone()
                .unwrap_or_else(|| sessions::error::describe(&status.summary.state)),
            displays: status
                .displays
                .iter()
                .map(|display| DisplayRow { display: display.id, name: display.name.clone() })
                .collect(),
            may_interact,
            stopped: access.stopped().iter().any(|stop| stop.machine == *machine),
            control: status.control.as_ref().map(|control| ControlRow::of(access, control)),
        }
    }
}

/// Something that a model, a script or a person did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct StepMessage {
    /// The same for its beginning and its end.
    id: String,
    /// Milliseconds since the beginning of 1970, UTC.
    at: u64,
    name: String,
    operation: String,
    detail: Option<String>,
    /// How it ended, in words; absent while it goes on.
    outcome: Option<String>,
    /// The word of a failure.
    code: Option<String>,
}

impl StepMessage {
    pub(super) fn of(entry: &AuditEntry) -> Self {
        let failed = entry.outcome.as_deref().is_some_and(|outcome| outcome != "ok")
            || !matches!(entry.decision, AuditDecision::Allowed | AuditDecision::Approved);
        let over = entry.outcome.clone().or_else(|| {
            (entry.phase != AuditPhase::Begun || failed).then(|| entry.decision.name().to_owned())
        });
        let outcome = match (&over, &entry.reason) {
            (Some(over), Some(reason)) => Some(format!("{over}: {reason}")),
            _ => over.clone(),
        };
        Self {
            id: entry.step.clone(),
            at: entry.time_ms,
            name: entry.name.clone(),
            operation: entry.operation.clone(),
            detail: entry.detail.clone(),
            outcome,
            code: over.filter(|_| failed),
        }
    }
}

/// From a page to the gateway.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum FromPage {
    /// Which display to send, and whether the page decodes video itself.
    Watch {
        display: Option<DisplayId>,
        video: bool,
    },
    /// The page has to begin anew with a keyframe.
    Keyframe,
    /// A picture was painted; the next one can come.
    Seen,
    Take,
    Give,
    /// Stop the models and scripts that use the session.
    Stop,
    /// Let them go on.
    Resume,
    Input {
        inputs: Vec<super::input::PageInput>,
    },
}

/// A packet of video as a binary message.
pub(super) fn video(packet: &remote::VideoPacket) -> Vec<u8> {
    let codec = match packet.codec {
        VideoCodec::Vp8 => 1,
        VideoCodec::Vp9 => 2,
        VideoCodec::Av1 => 3,
        VideoCodec::H264 => 4,
        VideoCodec::H265 => 5,
        VideoCodec::Raw => 0,
    };
    let mut message = Vec::with_capacity(4 + packet.data.len());
    message.extend([VIDEO, display(packet.display), codec, u8::from(packet.key)]);
    message.extend_from_slice(&packet.data);
    message
}

/// A picture as a binary message.
pub(super) fn picture(picture: &sessions::WatchedPicture) -> Vec<u8> {
    let side = |pixels: u32| u16::try_from(pixels).unwrap_or(u16::MAX).to_be_bytes();
    let mut message = Vec::with_capacity(6 + picture.jpeg.len());
    message.extend([PICTURE, display(picture.display)]);
    message.extend(side(picture.native.width));
    message.extend(side(picture.native.height));
    message.extend_from_slice(&picture.jpeg);
    message
}

/// No peer has more displays than fit a byte; what is beyond is none that the page asked for.
fn display(display: DisplayId) -> u8 {
    u8::try_from(display.0).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use remote::Size;

    #[test]
    fn binary_messages_have_their_form() {
        let packet = remote::VideoPacket {
            display: DisplayId(1),
            codec: VideoCodec::Vp9,
            key: true,
            data: bytes::Bytes::from_static(b"xyz"),
        };
        assert_eq!(video(&packet), b"\x01\x01\x02\x01xyz");
        let shown = sessions::WatchedPicture {
            display: DisplayId(0),
            frame: 7,
            native: Size::new(1280, 800),
            jpeg: bytes::Bytes::from_static(b"jpg"),
        };
        assert_eq!(picture(&shown), b"\x02\x00\x05\x00\x03\x20jpg");
    }

    #[test]
    fn pages_are_understood_and_what_they_should_not_say_is_refused() {
        let read = |text: &str| serde_json::from_str::<FromPage>(text);
        assert_eq!(
            read(r#"{"type":"watch","display":1,"video":true}"#).unwrap(),
            FromPage::Watch { display: Some(DisplayId(1)), video: true }
        );
        assert_eq!(
            read(r#"{"type":"watch","video":false}"#).unwrap(),
            FromPage::Watch { display: None, video: false }
        );
        assert!(read(r#"{"type":"sudo"}"#).is_err());
        assert!(read(r#"{"type":"watch","video":true,"more":1}"#).is_err());
    }
}
