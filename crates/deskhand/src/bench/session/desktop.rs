//! A desktop whose pictures are made here, so that a tool call is measured and nothing else: windows with
//! lines of text, of which one or all change from one picture to the next.

use codec::I420Buffer;
use remote::{
    BoxFuture, Connector, Cursor, Desktop, Display, DisplayId, Frame, FrameInfo, Input, PeerDetails,
    Permissions, Point, RemoteError, Secret, Session, SessionState, Size, Target, VideoCodec,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The address of the desktop.
pub(crate) const ADDRESS: &str = "bench";

/// Height of a line of text, in pixels.
const LINE: u32 = 20;

/// Pixels of a desktop: blue, green, red, and one byte that does not count.
#[derive(Debug, Clone)]
pub(crate) struct Canvas {
    size: Size,
    bgrx: Vec<u8>,
}

impl Canvas {
    /// A wallpaper with a soft slope of colours, and a window on most of it, full of lines of text.
    pub(crate) fn new(size: Size, seed: u32) -> Self {
        let mut canvas = Self { size, bgrx: vec![0; size.area() as usize * 4] };
        for y in 0..size.height {
            for x in 0..size.width {
                let slope = |from: u32, part: u32, of: u32| (from + part * 60 / of) as u8;
                canvas.put(x, y, [slope(90, y, size.height), slope(60, x, size.width), 40]);
            }
        }
        for line in 0..canvas.lines() {
            canvas.write(line, seed);
        }
        canvas
    }

    fn lines(&self) -> u32 {
        (self.size.height - self.size.height / 8) / LINE
    }

    fn put(&mut self, x: u32, y: u32, bgr: [u8; 3]) {
        let at = (y as usize * self.size.width as usize + x as usize) * 4;
        self.bgrx[at..at + 3].copy_from_slice(&bgr);
    }

    /// Writes a line of words anew: strokes of seven by nine pixels, as letters have.
    pub(crate) fn write(&mut self, line: u32, seed: u32) {
        let (left, right) = (self.size.width / 16, self.size.width - self.size.width / 16);
        let top = self.size.height / 16 + (line % self.lines()) * LINE;
        let mut noise = Noise(seed.wrapping_mul(0x9E37_79B9) ^ line.wrapping_mul(0x85EB_CA6B) | 1);
        for y in top..top + LINE {
            for x in left..right {
                self.put(x, y, [250, 250, 250]);
            }
        }
        let length = right - left - noise.below((right - left) / 2) - 16;
        let ink = if noise.below(6) == 0 { [160, 60, 20] } else { [40, 30, 30] };
        for letter in 0..length / 8 {
            let shape = noise.next();
            if shape.is_multiple_of(6) {
                continue;
            }
            for (bit, at) in [(0, 0), (1, 2), (2, 4), (3, 6)] {
                let (x, y) = (left + 8 + letter * 8, top + 5);
                for step in 0..9 {
                    if shape >> (8 + bit) & 1 == 1 {
                        self.put(x + at, y + step, ink);
                    }
                    if shape >> (16 + bit) & 1 == 1 && step < 7 {
                        self.put(x + step, y + at + bit, ink);
                    }
                }
            }
        }
    }

    /// As a decoder would give it.
    pub(crate) fn frame(&self) -> Frame {
        let mut planes = I420Buffer::new();
        self.convert(&mut planes);
        planes.picture().to_frame()
    }

    pub(crate) fn convert(&self, planes: &mut I420Buffer) {
        codec::bgrx_to_i420(&self.bgrx, self.size.width as usize * 4, self.size, planes)
            .expect("a canvas holds the pixels of its size");
    }
}

/// Numbers that look random and are always the same (xorshift).
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    fn below(&mut self, bound: u32) -> u32 {
        self.next() % bound.max(1)
    }
}

/// The connector of the one desktop, and the desktop itself. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Stage(Arc<Mutex<(FrameInfo, Frame)>>);

impl Stage {
    pub(crate) fn new(frame: Frame) -> Self {
        let info = FrameInfo { sequence: 1, size: frame.size, codec: VideoCodec::Vp9, at: Instant::now() };
        Self(Arc::new(Mutex::new((info, frame))))
    }

    /// A new picture has come.
    pub(crate) fn show(&self, frame: Frame) {
        let mut shown = self.lock();
        shown.0.sequence += 1;
        shown.0.at = Instant::now();
        shown.1 = frame;
    }

    fn lock(&self) -> MutexGuard<'_, (FrameInfo, Frame)> {
        // Whole values are put in at once.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connector for Stage {
    fn protocol(&self) -> &'static str {
        "bench"
    }

    fn check(&self, address: &str) -> Result<(), RemoteError> {
        if address == ADDRESS { Ok(()) } else { Err(RemoteError::Invalid("another address".to_owned())) }
    }

    fn open(&self, _: Target) -> Result<Arc<dyn Session>, RemoteError> {
        Ok(Arc::new(self.clone()))
    }
}

impl Session for Stage {
    fn state(&self) -> SessionState {
        SessionState::Ready
    }

    fn state_after(&self, _: &SessionState) -> BoxFuture<'_, SessionState> {
        Box::pin(std::future::pending())
    }

    fn peer(&self) -> PeerDetails {
        PeerDetails::default()
    }

    fn permissions(&self) -> Permissions {
        Permissions::default()
    }

    fn password(&self, _: Secret) -> BoxFuture<'_, Result<(), RemoteError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn second_factor(&self, _: Secret) -> BoxFuture<'_, Result<(), RemoteError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn desktop(&self) -> Option<&dyn Desktop> {
        Some(self)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

impl Desktop for Stage {
    fn displays(&self) -> Vec<Display> {
        let (name, origin) = (ADDRESS.to_owned(), Point::default());
        vec![Display { id: DisplayId(0), name, origin, size: self.lock().1.size, scale: 1.0, primary: true }]
    }

    fn latest(&self, _: DisplayId) -> Option<FrameInfo> {
        Some(self.lock().0)
    }

    fn newer_than(&self, _: DisplayId, sequence: u64) -> BoxFuture<'_, Result<FrameInfo, RemoteError>> {
        let info = self.lock().0;
        Box::pin(
            async move { if info.sequence > sequence { Ok(info) } else { std::future::pending().await } },
        )
    }

    fn frame(&self, _: DisplayId) -> BoxFuture<'_, Result<(FrameInfo, Frame), RemoteError>> {
        Box::pin(std::future::ready(Ok(self.lock().clone())))
    }

    fn lossless(&self, _: DisplayId) -> BoxFuture<'_, Result<bytes::Bytes, RemoteError>> {
        let unsupported = RemoteError::UnsupportedByPeer("it makes no pictures itself".to_owned());
        Box::pin(std::future::ready(Err(unsupported)))
    }

    fn refresh(&self, _: DisplayId) -> BoxFuture<'_, Result<(), RemoteError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn input(&self, _: Vec<Input>) -> BoxFuture<'_, Result<(), RemoteError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn cursor(&self) -> Cursor {
        Cursor::default()
    }
}
