//! Pictures for a caller.

use crate::live::Live;
use crate::{Area, Mapping, SessionsError, Space, lossless};
use framebuffer::{Budget, EncodedPicture, Format, PictureError, PictureRequest};
use remote::{Desktop, DisplayId, Point, Rect, Size, VideoCodec};
use std::time::Duration;

/// A wish for a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct ScreenshotRequest {
    /// `None`: the display last pictured, or the primary one.
    pub display: Option<DisplayId>,
    pub space: Space,
    /// Only this part, larger; positions keep meaning what they meant.
    pub region: Option<Area>,
    pub format: Format,
    /// Lowers the configured budget; it can not raise it.
    pub longest_side: Option<u32>,
    pub base64_bytes: Option<usize>,
    /// Draw the pointer.
    pub cursor: bool,
    /// Have the peer make the picture, without the loss of its video.
    pub lossless: bool,
    /// Give the picture out although it is the same as the last one.
    pub force: bool,
}

impl Default for ScreenshotRequest {
    fn default() -> Self {
        Self {
            display: None,
            space: Space::Picture,
            region: None,
            format: Format::Auto,
            longest_side: None,
            base64_bytes: None,
            cursor: true,
            lossless: false,
            force: false,
        }
    }
}

impl ScreenshotRequest {
    /// Whether both would give the same file of the same screen.
    pub(crate) fn looks_like(&self, other: &Self) -> bool {
        let what = |request: &Self| Self { force: false, display: None, ..request.clone() };
        what(self) == what(other)
    }

    fn budget(&self, ceiling: Budget) -> Budget {
        Budget {
            longest_side: self
                .longest_side
                .map_or(ceiling.longest_side, |side| side.min(ceiling.longest_side)),
            area: ceiling.area,
            base64_bytes: self
                .base64_bytes
                .map_or(ceiling.base64_bytes, |bytes| bytes.min(ceiling.base64_bytes)),
        }
    }
}

/// A picture and what it shows.
#[derive(Debug, Clone)]
pub struct Screenshot {
    pub display: DisplayId,
    /// The file; `None` where nothing changed since the picture last given out.
    pub picture: Option<EncodedPicture>,
    /// Number of the picture within the session.
    pub frame: u64,
    /// Number of the picture last given out, where this is the same.
    pub same_as: Option<u64>,
    /// Time since the peer sent it. A screen at rest sends nothing, so a high age alone is no fault.
    pub age: Duration,
    pub codec: VideoCodec,
    /// Pixels of the display.
    pub native: Size,
    /// Extent of the space of positions from now on.
    pub space: Size,
    /// The part shown, in the space.
    pub region: Option<Rect>,
    /// The pointer, in the space.
    pub cursor: Option<Point>,
}

/// Makes a picture of a display of a session that is ready.
pub(crate) async fn take(
    live: &Live,
    desktop: &dyn Desktop,
    display: DisplayId,
    who: &str,
    request: &ScreenshotRequest,
    ceiling: Budget,
) -> Result<Screenshot, SessionsError> {
    if request.longest_side.is_some_and(|side| side < 16)
        || request.base64_bytes.is_some_and(|bytes| bytes < 1024)
    {
        return Err(SessionsError::Invalid(
            "a picture needs a side of 16 pixels and 1024 bytes at least".to_owned(),
        ));
    }
    live.first_picture(desktop, display).await?;
    let mut view = live.view(display).lock_owned().await;
    view.pull(desktop, display).await?;
    let info = view.kept().ok_or(SessionsError::NoPicture(Duration::ZERO))?;
    let native = info.size;
    let region = match request.region {
        None => None,
        Some(area) => {
            if let Some(then) = view.stale(who, native).filter(|_| request.space == Space::Picture) {
                return Err(SessionsError::StaleFrame { then, now: native });
            }
            Some(Mapping::new(request.space, view.space(who, native), native).rect(area)?)
        }
    };
    let same_as =
        view.same_as_shown(who, request, region).map(|shown| shown.sequence).filter(|_| !request.force);
    let picture = if same_as.is_some() {
        None
    } else {
        let wish = PictureRequest {
            region,
            format: request.format,
            budget: request.budget(ceiling),
            cursor: if request.cursor { drawn_cursor(desktop, display) } else { None },
        };
        let source = if request.lossless { Some(desktop.lossless(display).await?) } else { None };
        let encode = move || {
            let picture = match source {
                Some(png) => lossless::picture(&png, native, &wish),
                None => view.framebuffer.picture(&wish).map_err(SessionsError::Picture),
            };
            (picture, view)
        };
        let (picture, kept) = tokio::task::spawn_blocking(encode)
            .await
            .map_err(|_| SessionsError::Picture(PictureError::Encoding("the encoder failed".to_owned())))?;
        view = kept;
        let picture = picture?;
        view.show(who, request, info.sequence, picture.size, native);
        Some(picture)
    };
    let space = view.space(who, native);
    let mapping = Mapping::new(request.space, space, native);
    let cursor = desktop.cursor().position.filter(|(on, _)| *on == display);
    Ok(Screenshot {
        display,
        picture,
        frame: info.sequence,
        same_as,
        age: tokio::time::Instant::now().into_std().saturating_duration_since(info.at),
        codec: info.codec,
        native,
        space,
        region: region.map(|region| mapping.seen_rect(region)),
        cursor: cursor.map(|(_, at)| mapping.seen_point(at)),
    })
}

pub(crate) fn drawn_cursor(
    desktop: &dyn Desktop,
    display: DisplayId,
) -> Option<(Point, std::sync::Arc<remote::CursorShape>)> {
    let cursor = desktop.cursor();
    let (_, at) = cursor.position.filter(|(on, _)| *on == display)?;
    Some((at, cursor.shape?))
}
