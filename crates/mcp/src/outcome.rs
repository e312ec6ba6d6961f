//! What a call comes to.

use crate::advice;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use framebuffer::{EncodedPicture, PictureFormat};
use remote::SessionState;
use rmcp::model::{CallToolResult, ContentBlock};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use sessions::{SessionId, SessionsError};

/// The result of a call: what happened, as a JSON object, and pictures beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct CallOutcome {
    /// The call failed; [`structured`](Self::structured) is a [`Failure`].
    pub is_error: bool,
    /// A JSON object that fits the tool's output schema.
    pub structured: Value,
    pub images: Vec<Image>,
}

/// A picture file.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// `image/png` or `image/jpeg`.
    pub mime_type: &'static str,
    pub data: Bytes,
}

/// Why a call failed and what to try next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Failure {
    /// A stable word.
    pub code: &'static str,
    /// What went wrong, in a sentence.
    pub message: String,
    /// What to try next.
    pub try_next: String,
    /// The session concerned, where it stays open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// What a person is asked; the same call goes ahead when they agreed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<Box<str>>,
    /// Where that session stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<&'static str>,
}

impl Failure {
    /// Arguments that do not fit the tool.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new("invalid_argument", message.into())
    }

    pub(crate) fn new(code: &'static str, message: String) -> Self {
        let try_next = advice::for_code(code).to_owned();
        Self { code, message, try_next, session: None, approval: None, state: None }
    }

    /// A session that is not ready.
    pub(crate) fn not_ready(session: &SessionId, state: &SessionState) -> Self {
        let closed = matches!(state, SessionState::Closed(_));
        Self {
            code: sessions::error::state_kind(state),
            message: sessions::error::describe(state),
            try_next: advice::for_state(state),
            session: (!closed).then(|| session.to_string()),
            approval: None,
            state: Some(state.name()),
        }
    }
}

impl From<SessionsError> for Failure {
    fn from(error: SessionsError) -> Self {
        match &error {
            SessionsError::NotReady { session, state } => Self::not_ready(session, state),
            _ => {
                let mut failure = Self::new(error.kind(), error.to_string());
                if let Some(advice) = advice::for_error(&error) {
                    failure.try_next = advice;
                }
                if let SessionsError::NeedsApproval { id, .. } = &error {
                    failure.approval = Some(id.as_str().into());
                }
                failure
            }
        }
    }
}

/// What a tool gives back when it succeeded.
pub(crate) struct Reply<R> {
    pub(crate) result: R,
    pub(crate) picture: Option<EncodedPicture>,
}

impl<R> From<R> for Reply<R> {
    fn from(result: R) -> Self {
        Self { result, picture: None }
    }
}

pub(crate) fn mime_type(format: PictureFormat) -> &'static str {
    match format {
        PictureFormat::Png => "image/png",
        PictureFormat::Jpeg { .. } => "image/jpeg",
    }
}

impl CallOutcome {
    pub(crate) fn of<R: Serialize>(result: Result<Reply<R>, Failure>) -> Self {
        let failed = |failure: &Failure| Self {
            is_error: true,
            structured: serde_json::to_value(failure).unwrap_or_default(),
            images: Vec::new(),
        };
        match result {
            Err(failure) => failed(&failure),
            Ok(reply) => match serde_json::to_value(&reply.result) {
                Err(error) => failed(&Failure::invalid(format!("the result can not be written: {error}"))),
                Ok(structured) => {
                    let image = |picture: EncodedPicture| Image {
                        mime_type: mime_type(picture.format),
                        data: picture.data,
                    };
                    Self {
                        is_error: false,
                        structured,
                        images: reply.picture.into_iter().map(image).collect(),
                    }
                }
            },
        }
    }

    /// The result as one line of text, for clients that read no structured content.
    pub fn text(&self) -> String {
        self.structured.to_string()
    }

    /// The word of a failure.
    pub fn error_code(&self) -> Option<&str> {
        if self.is_error { self.structured.get("code").and_then(Value::as_str) } else { None }
    }

    pub(crate) fn into_mcp(self) -> CallToolResult {
        let mut content = vec![ContentBlock::text(self.text())];
        content.extend(
            self.images
                .iter()
                .map(|image| ContentBlock::image(STANDARD.encode(&image.data), image.mime_type)),
        );
        let mut result =
            if self.is_error { CallToolResult::error(content) } else { CallToolResult::success(content) };
        result.structured_content = Some(self.structured);
        result
    }
}
