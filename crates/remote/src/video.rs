//! A display's video as the peer sends it, for those who decode it themselves: a viewer in a browser.

use crate::{BoxFuture, DisplayId, RemoteError, VideoCodec};
use bytes::Bytes;

/// One compressed picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoPacket {
    pub display: DisplayId,
    pub codec: VideoCodec,
    /// Decoding can begin here; the others need all that came before them since the last such packet.
    pub key: bool,
    /// As the codec's own decoder takes it; H.264 in Annex B form.
    pub data: Bytes,
}

/// Reads a display's video from a keyframe on. A reader that is too slow for the peer misses packets and goes
/// on with a keyframe; nobody waits for it.
pub trait VideoFeed: Send + Sync {
    /// The next packet; [`RemoteError::SessionClosed`] when none can come any more. Cancel safe.
    fn next(&mut self) -> BoxFuture<'_, Result<VideoPacket, RemoteError>>;
}
