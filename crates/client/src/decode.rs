//! The thread that decodes a session's video, and the queue before it.
//!
//! The session's task never waits for it: what does not fit is dropped up to the next keyframe. Pictures
//! stay in the decoders; whoever wants one asks behind what is queued and gets a copy.

use crate::shared::Frames;
use codec::Decoder;
use remote::{DisplayId, Frame, FrameInfo, RemoteError, Size, VideoCodec};
use session_proto::client::VideoPackets;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::{mpsc, oneshot, watch};

/// What may wait to be decoded.
const MAX_BYTES: usize = 48 << 20;
const MAX_WAITING: usize = 120;

/// Pictures asked for at the same time.
const MAX_ASKED: usize = 64;

/// What the thread tells the session's task.
#[derive(Debug)]
pub(crate) enum Report {
    /// Pictures of this display have this size from now on.
    Size(DisplayId, Size),
    /// A packet could not be decoded; what follows it is dropped up to a keyframe.
    Failed { display: DisplayId, codec: VideoCodec, failures: u32, reason: String },
}

/// The outcome of offering packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offered {
    Queued,
    /// Dropped: nothing of this display can be decoded before a keyframe comes.
    NeedsKeyframe,
}

#[derive(Debug)]
enum Job {
    Video(VideoPackets, Instant),
    Picture(DisplayId, oneshot::Sender<Option<(FrameInfo, Frame)>>),
    /// The stream begins anew.
    Restart,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    bytes: usize,
    videos: usize,
    asked: usize,
    /// Displays whose packets follow a keyframe that was queued.
    synchronous: BTreeSet<DisplayId>,
    running: bool,
    closed: bool,
}

/// The way to the thread; closed when dropped.
#[derive(Debug)]
pub(crate) struct DecodeQueue {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    frames: Arc<watch::Sender<Frames>>,
    reports: mpsc::UnboundedSender<Report>,
    pixel_limit: u64,
}

impl DecodeQueue {
    /// The thread starts with the first video.
    pub(crate) fn new(
        frames: Arc<watch::Sender<Frames>>,
        reports: mpsc::UnboundedSender<Report>,
        pixel_limit: u64,
    ) -> Self {
        let waiting = Mutex::default();
        Self { inner: Arc::new(Inner { waiting, arrived: Condvar::new(), frames, reports, pixel_limit }) }
    }

    /// Hands in packets that arrived at `at`.
    pub(crate) fn video(&self, video: VideoPackets, at: Instant) -> Offered {
        let mut waiting = self.inner.lock();
        let has_key = video.packets.iter().any(|p| p.key);
        if !has_key && !waiting.synchronous.contains(&video.display) {
            return Offered::NeedsKeyframe;
        }
        if waiting.videos >= MAX_WAITING || waiting.bytes + video.len() > MAX_BYTES {
            waiting.synchronous.remove(&video.display);
            return Offered::NeedsKeyframe;
        }
        if has_key {
            waiting.synchronous.insert(video.display);
        }
        waiting.videos += 1;
        waiting.bytes += video.len();
        waiting.jobs.push_back(Job::Video(video, at));
        self.wake(waiting);
        Offered::Queued
    }

    /// The newest picture behind what is queued now; `None` if there is none.
    pub(crate) async fn picture(
        &self,
        display: DisplayId,
    ) -> Result<Option<(FrameInfo, Frame)>, RemoteError> {
        let (reply, answer) = oneshot::channel();
        {
            let mut waiting = self.inner.lock();
            if !waiting.running || waiting.closed {
                return Ok(None);
            }
            if waiting.asked >= MAX_ASKED {
                return Err(RemoteError::TimedOut("too many pictures are asked for at the same time".into()));
            }
            waiting.asked += 1;
            waiting.jobs.push_back(Job::Picture(display, reply));
            self.wake(waiting);
        }
        Ok(answer.await.unwrap_or(None))
    }

    /// A new connection: only keyframes make sense at first. The last pictures stay until then.
    pub(crate) fn restart(&self) {
        let mut waiting = self.inner.lock();
        waiting.jobs.retain(|job| matches!(job, Job::Picture(..)));
        (waiting.videos, waiting.bytes) = (0, 0);
        waiting.synchronous.clear();
        if waiting.running {
            waiting.jobs.push_back(Job::Restart);
        }
    }

    /// Nothing is decoded any more; the decoders' memory is given back.
    pub(crate) fn close(&self) {
        let mut waiting = self.inner.lock();
        waiting.closed = true;
        waiting.jobs.clear();
        drop(waiting);
        self.inner.arrived.notify_one();
    }

    fn wake(&self, mut waiting: MutexGuard<'_, Waiting>) {
        if waiting.closed {
            waiting.jobs.clear();
            return;
        }
        if !waiting.running {
            let inner = self.inner.clone();
            let started =
                std::thread::Builder::new().name("decode".into()).spawn(move || Worker::new(inner).run());
            match started {
                Ok(_) => waiting.running = true,
                Err(e) => {
                    tracing::error!("no thread for decoding: {e}");
                    waiting.jobs.clear();
                    return;
                }
            }
        }
        drop(waiting);
        self.inner.arrived.notify_one();
    }
}

impl Drop for DecodeQueue {
    fn drop(&mut self) {
        self.close();
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The decoder of one display.
#[derive(Debug)]
struct Stream {
    codec: VideoCodec,
    decoder: Decoder,
    info: Option<FrameInfo>,
}

struct Worker {
    inner: Arc<Inner>,
    streams: BTreeMap<DisplayId, Stream>,
    /// Displays whose decoder has to be made anew for the next keyframe.
    stale: BTreeSet<DisplayId>,
    /// In a row, per codec.
    failures: HashMap<VideoCodec, u32>,
}

impl Worker {
    fn new(inner: Arc<Inner>) -> Self {
        Self { inner, streams: BTreeMap::new(), stale: BTreeSet::new(), failures: HashMap::new() }
    }

    fn run(mut self) {
        while let Some(job) = self.next_job() {
            match job {
                Job::Video(video, at) => self.decode(&video, at),
                Job::Picture(display, reply) => {
                    let stream = self.streams.get(&display);
                    let picture = stream.and_then(|s| Some((s.info?, s.decoder.picture()?.to_frame())));
                    if reply.send(picture).is_err() {
                        tracing::trace!("nobody waits for the picture any more");
                    }
                }
                Job::Restart => self.stale.extend(self.streams.keys().copied()),
            }
        }
    }

    fn next_job(&self) -> Option<Job> {
        let mut waiting = self.inner.lock();
        loop {
            if waiting.closed {
                return None;
            }
            match waiting.jobs.pop_front() {
                Some(Job::Video(video, at)) => {
                    waiting.videos -= 1;
                    waiting.bytes -= video.len();
                    return Some(Job::Video(video, at));
                }
                Some(Job::Picture(display, reply)) => {
                    waiting.asked -= 1;
                    return Some(Job::Picture(display, reply));
                }
                Some(job) => return Some(job),
                None => waiting = self.inner.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn decode(&mut self, video: &VideoPackets, at: Instant) {
        match self.feed(video) {
            Ok(Some(size)) => {
                self.failures.insert(video.codec, 0);
                self.publish(video, size, at);
            }
            Ok(None) => {}
            Err(reason) => {
                self.inner.lock().synchronous.remove(&video.display);
                self.stale.insert(video.display);
                let failures = self.failures.entry(video.codec).or_default();
                *failures += 1;
                let (display, codec, failures) = (video.display, video.codec, *failures);
                self.report(Report::Failed { display, codec, failures, reason });
            }
        }
    }

    /// The size of the newest picture, if there is a new one.
    fn feed(&mut self, video: &VideoPackets) -> Result<Option<Size>, String> {
        let fits = self.streams.get(&video.display).is_some_and(|s| s.codec == video.codec);
        if !fits || self.stale.contains(&video.display) {
            if !video.packets.iter().any(|p| p.key) {
                return Ok(None);
            }
            let decoder = Decoder::new(video.codec, self.inner.pixel_limit).map_err(|e| e.to_string())?;
            self.stale.remove(&video.display);
            self.streams.insert(video.display, Stream { codec: video.codec, decoder, info: None });
        }
        let Some(stream) = self.streams.get_mut(&video.display) else { return Ok(None) };
        let mut new = false;
        for packet in &video.packets {
            new |= stream.decoder.decode(&packet.data).map_err(|e| e.to_string())?;
        }
        if !new && stream.info.is_none() && video.packets.iter().any(|p| p.key) {
            return Err("a keyframe without a picture".into());
        }
        Ok(stream.decoder.picture().filter(|_| new).map(|p| p.size))
    }

    fn publish(&mut self, video: &VideoPackets, size: Size, at: Instant) {
        let mut info = FrameInfo { sequence: 1, size, codec: video.codec, at };
        let mut other_size = true;
        self.inner.frames.send_modify(|frames| {
            if let Some(last) = frames.get(&video.display) {
                info.sequence = last.sequence + 1;
                other_size = last.size != size;
            }
            frames.insert(video.display, info);
        });
        if let Some(stream) = self.streams.get_mut(&video.display) {
            stream.info = Some(info);
        }
        if other_size {
            self.report(Report::Size(video.display, size));
        }
    }

    fn report(&self, report: Report) {
        if self.inner.reports.send(report).is_err() {
            tracing::trace!("the session is over");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use session_proto::client::VideoPacket;

    fn queue() -> (DecodeQueue, mpsc::UnboundedReceiver<Report>) {
        let (reports, reported) = mpsc::unbounded_channel();
        (DecodeQueue::new(Arc::new(watch::Sender::new(Frames::new())), reports, 1 << 20), reported)
    }

    fn video(display: u32, key: bool, size: usize) -> VideoPackets {
        let packets = vec![VideoPacket { data: Bytes::from(vec![0; size]), key, pts_ms: 0 }];
        VideoPackets { display: DisplayId(display), codec: VideoCodec::Vp9, packets }
    }

    #[test]
    fn what_does_not_fit_is_dropped_up_to_a_keyframe() {
        let (queue, _reports) = queue();
        let at = Instant::now();
        assert_eq!(queue.video(video(0, false, 10), at), Offered::NeedsKeyframe);
        assert_eq!(queue.video(video(0, true, MAX_BYTES + 1), at), Offered::NeedsKeyframe);
        assert_eq!(queue.video(video(0, false, 10), at), Offered::NeedsKeyframe);
        assert_eq!(queue.video(video(1, true, 10), at), Offered::Queued, "other displays go on");
    }

    #[tokio::test]
    async fn damage_is_reported_and_no_picture_is_made_up() {
        let (queue, mut reports) = queue();
        assert_eq!(queue.picture(DisplayId(0)).await, Ok(None), "nothing runs yet");
        assert_eq!(queue.video(video(0, true, 100), Instant::now()), Offered::Queued);
        let Some(Report::Failed { failures: 1, codec: VideoCodec::Vp9, .. }) = reports.recv().await else {
            panic!("a report of the damage")
        };
        assert_eq!(queue.picture(DisplayId(0)).await, Ok(None));
        assert_eq!(queue.video(video(0, false, 100), Instant::now()), Offered::NeedsKeyframe);
        queue.close();
        assert_eq!(queue.picture(DisplayId(0)).await, Ok(None));
    }
}
