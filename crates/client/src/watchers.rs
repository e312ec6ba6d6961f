//! Those who read a session's compressed video beside its decoder.

use crate::shared::Shared;
use remote::{BoxFuture, DisplayId, RemoteError, VideoFeed, VideoPacket};
use session_proto::client::VideoPackets;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// Packets that may wait for a reader: two seconds at 30 pictures each.
const WAITING: usize = 60;

#[derive(Debug)]
struct Watcher {
    display: DisplayId,
    packets: mpsc::Sender<VideoPacket>,
    /// The last packet of the display was handed on, so that the next one can be decoded.
    synchronous: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Watchers(Mutex<Vec<Watcher>>);

impl Watchers {
    fn lock(&self) -> MutexGuard<'_, Vec<Watcher>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands video on to all who read its display. `true`: one of them can go on with a keyframe only, and
    /// has room for it.
    pub(crate) fn offer(&self, video: &VideoPackets) -> bool {
        let mut missed = false;
        self.lock().retain_mut(|watcher| {
            if watcher.packets.is_closed() {
                return false;
            }
            if watcher.display == video.display {
                watcher.take(video);
                missed |= !watcher.synchronous && watcher.packets.capacity() > WAITING / 2;
            }
            true
        });
        missed
    }

    /// A new connection begins with a keyframe.
    pub(crate) fn restart(&self) {
        for watcher in self.lock().iter_mut() {
            watcher.synchronous = false;
        }
    }
}

impl Watcher {
    fn take(&mut self, video: &VideoPackets) {
        for packet in &video.packets {
            if packet.key || self.synchronous {
                let (display, codec, key) = (video.display, video.codec, packet.key);
                let packet = VideoPacket { display, codec, key, data: packet.data.clone() };
                self.synchronous = self.packets.try_send(packet).is_ok();
            }
        }
    }
}

/// One reader's end.
#[derive(Debug)]
pub(crate) struct Feed {
    shared: Arc<Shared>,
    packets: mpsc::Receiver<VideoPacket>,
}

impl Feed {
    pub(crate) fn new(shared: Arc<Shared>, display: DisplayId) -> Self {
        let (sender, packets) = mpsc::channel(WAITING);
        shared.watchers.lock().push(Watcher { display, packets: sender, synchronous: false });
        Self { shared, packets }
    }
}

impl VideoFeed for Feed {
    fn next(&mut self) -> BoxFuture<'_, Result<VideoPacket, RemoteError>> {
        let Self { shared, packets } = self;
        Box::pin(async move {
            tokio::select! {
                biased;
                Some(packet) = packets.recv() => Ok(packet),
                error = shared.until_closed() => Err(error),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use remote::VideoCodec;
    use session_proto::client::VideoPacket as Packet;

    const DISPLAY: DisplayId = DisplayId(0);

    fn video(display: DisplayId, key: bool, number: u8) -> VideoPackets {
        let packets = vec![Packet { data: Bytes::from(vec![number]), key, pts_ms: 0 }];
        VideoPackets { display, codec: VideoCodec::Vp9, packets }
    }

    fn watch(watchers: &Watchers) -> mpsc::Receiver<VideoPacket> {
        let (packets, received) = mpsc::channel(WAITING);
        watchers.lock().push(Watcher { display: DISPLAY, packets, synchronous: false });
        received
    }

    fn numbers(received: &mut mpsc::Receiver<VideoPacket>) -> Vec<u8> {
        std::iter::from_fn(|| received.try_recv().ok()).map(|packet| packet.data[0]).collect()
    }

    #[test]
    fn reading_begins_with_a_keyframe_of_the_display() {
        let watchers = Watchers::default();
        assert!(!watchers.offer(&video(DISPLAY, false, 0)), "nobody reads");
        let mut received = watch(&watchers);
        assert!(!watchers.offer(&video(DisplayId(1), true, 1)), "another display");
        assert!(watchers.offer(&video(DISPLAY, false, 2)));
        assert!(!watchers.offer(&video(DISPLAY, true, 3)));
        assert!(!watchers.offer(&video(DISPLAY, false, 4)));
        assert_eq!(numbers(&mut received), [3, 4]);
        watchers.restart();
        assert!(watchers.offer(&video(DISPLAY, false, 5)));
        assert!(!watchers.offer(&video(DISPLAY, true, 6)));
        assert_eq!(numbers(&mut received), [6]);
    }

    #[test]
    fn a_slow_reader_goes_on_with_a_keyframe_and_delays_nobody() {
        let watchers = Watchers::default();
        let (mut slow, mut quick) = (watch(&watchers), watch(&watchers));
        assert!(!watchers.offer(&video(DISPLAY, true, 0)));
        let mut read = numbers(&mut quick).len();
        for number in 1..100 {
            assert!(!watchers.offer(&video(DISPLAY, false, number)), "no keyframe while it has no room");
            read += numbers(&mut quick).len();
        }
        assert_eq!((numbers(&mut slow).len(), read), (WAITING, 100));
        assert!(watchers.offer(&video(DISPLAY, false, 100)));
        assert!(!watchers.offer(&video(DISPLAY, true, 101)));
        assert_eq!(numbers(&mut slow), [101]);
        assert_eq!(numbers(&mut quick), [100, 101]);
    }

    #[test]
    fn readers_that_left_are_forgotten() {
        let watchers = Watchers::default();
        drop(watch(&watchers));
        assert!(!watchers.offer(&video(DISPLAY, false, 0)));
        assert!(watchers.lock().is_empty());
    }
}
