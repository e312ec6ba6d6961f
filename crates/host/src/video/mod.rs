//! From captured pictures to encoded packets for every viewer.
use crate::screen::{Monitor, Screen, ScreenError};
use bytes::Bytes;
use remote::{CursorShape, Point, Size, VideoCodec};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

#[derive(Debug, Clone, Default)]
pub struct VideoConfig {}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Encoding {
    pub vp8: bool,
    pub vp9: bool,
    pub av1: bool,
    pub h264: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Decoding {
    pub vp8: bool,
    pub vp9: bool,
    pub av1: bool,
    pub h264: bool,
    pub prefer: Option<VideoCodec>,
}

#[derive(Debug, Clone)]
pub struct Viewer {
    pub displays: Vec<usize>,
    pub decoding: Decoding,
    pub fps: u32,
    pub ratio: f32,
    pub want_cursor: bool,
    pub want_pointer: bool,
    pub events: mpsc::Sender<ViewerEvent>,
}

#[derive(Debug, Clone)]
pub enum ViewerEvent {
    Frame { display: usize, codec: VideoCodec, key: bool, pts_ms: i64, packets: Vec<Bytes> },
    Monitors(Vec<Monitor>),
    Cursor { id: u64, shape: Arc<CursorShape> },
    Pointer(Point),
    Encoding(Encoding),
    Gone(String),
}

#[derive(Debug)]
pub struct VideoService {}
#[derive(Debug)]
pub struct VideoHandle {
    monitors: Vec<Monitor>,
}
impl VideoService {
    pub fn spawn(screen: Arc<dyn Screen>, _config: VideoConfig) -> Result<VideoHandle, ScreenError> {
        Ok(VideoHandle { monitors: screen.open_capture()?.monitors()? })
    }
}
impl VideoHandle {
    pub fn monitors(&self) -> Vec<Monitor> {
        self.monitors.clone()
    }
    pub fn encoding(&self) -> Encoding {
        Encoding { vp9: true, ..Encoding::default() }
    }
    pub fn set_viewer(&self, _id: u64, _viewer: Viewer) {}
    pub fn remove_viewer(&self, _id: u64) {}
    pub fn refresh(&self, _display: Option<usize>) {}
    pub fn screenshot(&self, _monitor: usize) -> oneshot::Receiver<Result<Bytes, String>> {
        oneshot::channel().1
    }
    pub fn report_delay(&self, _id: u64, _delay: Duration) {}
    pub fn set_size(&self, _monitor: usize, _size: Size) {}
}
