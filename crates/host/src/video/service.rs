//! The thread that captures, encodes and hands out.

use super::choice::choose;
use super::picture::Rgb;
use super::rate::bitrate;
use super::stream::{Coded, Due, Stream, Wish};
use super::viewers::{Room, Surroundings, Watcher};
use super::{Command, Encoding, Shared, VideoConfig, Viewer, ViewerEvent, lock};
use crate::screen::{Capture, Changes, Monitor, Screen, ScreenError};
use bytes::Bytes;
use remote::{Rect, Size, VideoCodec};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How often a viewer without room is looked at again.
const ROOM_INTERVAL: Duration = Duration::from_millis(10);
/// After a picture that could not be taken, while the screen is being arranged anew.
const RETRY: Duration = Duration::from_millis(50);
/// A rest that nothing ends but the screen or the handle.
const REST: Duration = Duration::from_secs(60);
/// The same for a capture that can not be woken.
const SHORT_REST: Duration = Duration::from_millis(20);
/// Screenshots that are compressed at the same time.
const SCREENSHOTS: usize = 2;
/// How long those who watch may take to hear that the screen is gone.
const LAST_WORDS: Duration = Duration::from_secs(1);

pub(super) struct Service {
    screen: Arc<dyn Screen>,
    capture: Box<dyn Capture>,
    config: VideoConfig,
    commands: Receiver<Command>,
    shared: Arc<Mutex<Shared>>,
    surroundings: Surroundings,
    watchers: Vec<Watcher>,
    streams: BTreeMap<usize, Stream>,
    broken: Vec<VideoCodec>,
    qualities: u64,
    start: Instant,
    rest: Duration,
    /// Nothing is captured before.
    retry_at: Option<Instant>,
    screenshots: Vec<JoinHandle<()>>,
}

impl Service {
    pub(super) fn new(
        screen: Arc<dyn Screen>,
        mut capture: Box<dyn Capture>,
        config: VideoConfig,
        commands: Receiver<Command>,
        shared: Arc<Mutex<Shared>>,
    ) -> Result<Self, ScreenError> {
        let monitors = capture.monitors()?;
        let encoding = Encoding::available(&[]);
        *lock(&shared) = Shared { monitors: monitors.clone(), encoding, ..Shared::default() };
        let wakes = !capture.waker().will_wake(Waker::noop());
        Ok(Self {
            surroundings: Surroundings {
                monitors: (0, monitors),
                encoding: (0, encoding),
                ..Surroundings::default()
            },
            screen,
            capture,
            config,
            commands,
            shared,
            watchers: Vec::new(),
            streams: BTreeMap::new(),
            broken: Vec::new(),
            qualities: 0,
            start: Instant::now(),
            rest: if wakes { REST } else { SHORT_REST },
            retry_at: None,
            screenshots: Vec::new(),
        })
    }

    /// Works until the handle is dropped or the screen is gone.
    pub(super) fn run(mut self) {
        if self.config.keep_encoders {
            self.warm_up();
        }
        let end = loop {
            match self.turn() {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => break None,
                Err(error) => break Some(error),
            }
        };
        if let Some(error) = end {
            tracing::warn!(%error, "the screen is gone");
            lock(&self.shared).gone = Some(error.to_string());
            self.say_gone(&error.to_string());
        }
        for screenshot in self.screenshots {
            screenshot.join().ok();
        }
    }

    /// Has the encoder for the first viewer ready before it comes.
    fn warm_up(&mut self) {
        let monitors = &self.surroundings.monitors.1;
        let Some(display) = monitors.iter().position(|monitor| monitor.primary) else { return };
        let (size, mut stream) = (monitors[display].size, Stream::new());
        let Ok(grab) = self.capture.grab(display) else { return };
        let wish = Wish { codec: VideoCodec::Vp9, fps: 30, ratio: 1.0 };
        let captured = grab.size == size && stream.capture(&grab).is_ok();
        if captured && stream.encode(size, wish, 0, false).is_ok() {
            // Nobody saw this one.
            stream.want_key();
            self.streams.insert(display, stream);
        }
    }

    fn turn(&mut self) -> Result<ControlFlow<()>, ScreenError> {
        loop {
            match self.commands.try_recv() {
                Ok(command) => self.obey(command)?,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Ok(ControlFlow::Break(())),
            }
        }
        self.watchers.retain(|watcher| !watcher.is_gone());
        self.attend_to_watched();
        let mut wait = self.rest;
        for watcher in &mut self.watchers {
            if !watcher.tell(&self.surroundings) {
                wait = wait.min(ROOM_INTERVAL);
            }
        }
        self.welcome_back();
        let wait = wait.min(self.show_due()?);
        let changes = self.capture.wait(wait)?;
        self.take_in(changes)?;
        Ok(ControlFlow::Continue(()))
    }

    fn obey(&mut self, command: Command) -> Result<(), ScreenError> {
        match command {
            Command::SetViewer(id, viewer) => self.set_viewer(id, viewer),
            Command::RemoveViewer(id) => self.watchers.retain(|watcher| watcher.id != id),
            Command::Refresh(display) => {
                for (number, stream) in &mut self.streams {
                    if display.is_none_or(|wanted| wanted == *number) {
                        stream.want_key();
                    }
                }
            }
            Command::Screenshot(monitor, answer) => return self.screenshot(monitor, answer),
            Command::Delay(id, delay) => {
                if let Some(watcher) = self.watchers.iter_mut().find(|watcher| watcher.id == id) {
                    let active = std::mem::take(&mut watcher.active);
                    let (fps, ratio) = (watcher.viewer.fps, watcher.viewer.ratio);
                    watcher.pace.delayed(delay, fps, ratio, active, Instant::now());
                }
            }
            Command::SetSize(monitor, size) => {
                let switched =
                    self.screen.open_injector().and_then(|mut injector| injector.set_size(monitor, size));
                if let Err(error) = switched {
                    tracing::info!(monitor, %size, %error, "the monitor keeps its size");
                }
            }
        }
        Ok(())
    }

    fn set_viewer(&mut self, id: u64, viewer: Viewer) {
        let ratio = if viewer.ratio.is_finite() { viewer.ratio.clamp(0.1, 40.0) } else { 1.0 };
        let viewer = Viewer { ratio, ..viewer };
        let known = self.watchers.iter_mut().find(|watcher| watcher.id == id);
        let known = known.filter(|watcher| watcher.viewer.events.same_channel(&viewer.events));
        let before = known.as_ref().map(|watcher| watcher.viewer.displays.clone()).unwrap_or_default();
        for display in viewer.displays.iter().filter(|display| !before.contains(display)) {
            if let Some(stream) = self.streams.get_mut(display) {
                stream.want_key();
            }
        }
        if known.as_ref().is_none_or(|watcher| watcher.viewer.ratio.to_bits() != ratio.to_bits()) {
            self.qualities += 1;
        }
        match known {
            Some(watcher) => {
                if watcher.viewer.ratio.to_bits() != ratio.to_bits() {
                    watcher.quality_set = self.qualities;
                }
                watcher.viewer = viewer;
            }
            None => {
                self.watchers.retain(|watcher| watcher.id != id);
                self.watchers.push(Watcher::new(id, viewer, self.qualities, &self.surroundings));
            }
        }
    }

    /// Streams for the displays that somebody watches. Those that nobody watches any more stay, asleep: a new
    /// encoder costs ten times the processor time of a keyframe.
    fn attend_to_watched(&mut self) {
        let count = self.surroundings.monitors.1.len();
        let watched = |display: usize| self.watchers.iter().any(|watcher| watcher.watches(display));
        if !self.config.keep_encoders {
            self.streams.retain(|display, _| watched(*display));
        }
        for display in (0..count).filter(|display| watched(*display)) {
            self.streams.entry(display).or_insert_with(Stream::new);
        }
        let pointer = self.watchers.iter().any(|watcher| watcher.viewer.want_pointer);
        self.capture.track_pointer(pointer);
    }

    /// Who has room again after being left out begins with a keyframe.
    fn welcome_back(&mut self) {
        for watcher in &mut self.watchers {
            if watcher.came_back() {
                for (display, stream) in &mut self.streams {
                    if watcher.watches(*display) {
                        stream.want_key();
                    }
                }
            }
        }
    }

    /// Makes the pictures that are due; how long until the next one is.
    fn show_due(&mut self) -> Result<Duration, ScreenError> {
        let mut wait = self.rest;
        let displays: Vec<usize> = self.streams.keys().copied().collect();
        for display in displays {
            let Some(wish) = self.wish(display) else { continue };
            let now = Instant::now();
            let Some((at, due)) = self.streams.get(&display).and_then(|stream| stream.due(&wish, now)) else {
                continue;
            };
            let at = self.retry_at.map_or(at, |retry| at.max(retry));
            if at > now {
                wait = wait.min(at - now);
                continue;
            }
            if !self.room_for(display, now) {
                wait = wait.min(ROOM_INTERVAL);
                continue;
            }
            self.show(display, due, wish)?;
            // What that leaves to do is found at once.
            wait = Duration::ZERO;
        }
        if self.watchers.iter().any(Watcher::is_cut_off) {
            wait = wait.min(RETRY);
        }
        Ok(wait)
    }

    /// What those who watch a display want together, `None` if nobody does.
    fn wish(&self, display: usize) -> Option<Wish> {
        let watching = || self.watchers.iter().filter(|watcher| watcher.watches(display));
        let fps = watching().map(|watcher| watcher.pace.fps(watcher.viewer.fps)).min()?;
        let factor = watching().map(|watcher| watcher.pace.factor()).fold(1.0, f32::min);
        let factor = if self.config.adapt_rate { factor } else { 1.0 };
        // The most recent quality counts for all (session §3.4).
        let ratio = self.watchers.iter().max_by_key(|watcher| watcher.quality_set)?.viewer.ratio;
        let decoding: Vec<_> = self.watchers.iter().map(Watcher::decoding).collect();
        let codec = choose(&self.surroundings.encoding.1, &decoding);
        Some(Wish { codec, fps, ratio: ratio * factor })
    }

    fn room_for(&mut self, display: usize, now: Instant) -> bool {
        let told = &self.surroundings;
        let watching = self.watchers.iter_mut().filter(|watcher| watcher.watches(display));
        let rooms: Vec<Room> = watching.map(|watcher| watcher.room_for_picture(told, now)).collect();
        rooms.contains(&Room::Yes) && !rooms.contains(&Room::Wait)
    }

    fn show(&mut self, display: usize, due: Due, wish: Wish) -> Result<(), ScreenError> {
        let Some(stream) = self.streams.get_mut(&display) else { return Ok(()) };
        let Some(size) = self.surroundings.monitors.1.get(display).map(|monitor| monitor.size) else {
            return Ok(());
        };
        if due == Due::Fresh {
            let grab = match self.capture.grab(display) {
                Ok(grab) if grab.size == size => grab,
                // The monitors change this moment; the event is on its way.
                Ok(_) | Err(ScreenError::Refused { .. } | ScreenError::NoSuchMonitor(_)) => {
                    self.retry_at = Some(Instant::now() + RETRY);
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            if let Err(error) = stream.capture(&grab) {
                tracing::warn!(%error, "a picture can not be converted");
                return Ok(());
            }
        }
        self.retry_at = None;
        lock(&self.shared).kbit_per_second = bitrate(size, wish.ratio);
        let pts_ms = self.start.elapsed().as_millis() as i64;
        match stream.encode(size, wish, pts_ms, self.config.refine) {
            Ok(None) => {}
            Ok(Some(coded)) => self.hand_out(display, wish.codec, pts_ms, &coded),
            Err(error) => self.encoder_failed(display, wish.codec, &error),
        }
        Ok(())
    }

    fn hand_out(&mut self, display: usize, codec: VideoCodec, pts_ms: i64, coded: &Coded) {
        let now = Instant::now();
        for watcher in &mut self.watchers {
            let watches = watcher.watches(display);
            if !watches || watcher.room_for_picture(&self.surroundings, now) != Room::Yes {
                continue;
            }
            let packets = coded.packets.clone();
            if watcher.send(ViewerEvent::Frame { display, codec, key: coded.key, pts_ms, packets }) {
                watcher.active = true;
            }
        }
    }

    /// A codec that fails is not used again; VP9 is tried until it works.
    fn encoder_failed(&mut self, display: usize, codec: VideoCodec, error: &codec::CodecError) {
        tracing::warn!(%codec, %error, "the encoder failed");
        self.streams.insert(display, Stream::new());
        if codec == VideoCodec::Vp9 || self.broken.contains(&codec) {
            self.retry_at = Some(Instant::now() + RETRY);
            return;
        }
        self.broken.push(codec);
        let encoding = Encoding::available(&self.broken);
        self.surroundings.encoding = (self.surroundings.encoding.0 + 1, encoding);
        lock(&self.shared).encoding = encoding;
    }

    fn take_in(&mut self, changes: Changes) -> Result<(), ScreenError> {
        if let Some((id, shape)) = changes.cursor {
            self.surroundings.cursor = Some((id, Arc::new(shape)));
        }
        if let Some(place) = changes.pointer {
            self.surroundings.pointer = Some(place);
        }
        if changes.monitors {
            self.monitors_changed()?;
        }
        if changes.damage.is_empty() {
            return Ok(());
        }
        for (display, stream) in &mut self.streams {
            let place = self.surroundings.monitors.1.get(*display).map_or(Rect::default(), Monitor::rect);
            let area = changes.damage.intersection(place);
            if !area.is_empty() {
                stream.damaged(area);
            }
        }
        Ok(())
    }

    fn monitors_changed(&mut self) -> Result<(), ScreenError> {
        let monitors = self.capture.monitors()?;
        let (number, before) = &self.surroundings.monitors;
        if *before == monitors {
            return Ok(());
        }
        self.surroundings.monitors = (number + 1, monitors.clone());
        self.surroundings.monitors_changed = Some(Instant::now());
        lock(&self.shared).monitors = monitors;
        // Every display begins anew (session §3.3).
        self.streams.clear();
        Ok(())
    }

    fn screenshot(
        &mut self,
        monitor: usize,
        answer: oneshot::Sender<Result<Bytes, String>>,
    ) -> Result<(), ScreenError> {
        self.screenshots.retain(|thread| !thread.is_finished());
        if self.screenshots.len() >= SCREENSHOTS {
            answer.send(Err("other screenshots are being taken; try again".to_owned())).ok();
            return Ok(());
        }
        let rgb = match self.capture.grab(monitor) {
            Ok(grab) => Rgb::of(&grab),
            Err(error @ ScreenError::Gone(_)) => {
                answer.send(Err(error.to_string())).ok();
                return Err(error);
            }
            Err(error) => {
                answer.send(Err(error.to_string())).ok();
                return Ok(());
            }
        };
        // The grab took what these had not seen yet.
        if let Some(stream) = self.streams.get_mut(&monitor) {
            stream.damaged(Rect::of(Size::new(1, 1)));
        }
        let work = move || drop(answer.send(rgb.png()));
        match std::thread::Builder::new().name("screenshot".to_owned()).spawn(work) {
            Ok(thread) => self.screenshots.push(thread),
            Err(error) => tracing::warn!(%error, "no thread for a screenshot"),
        }
        Ok(())
    }

    fn say_gone(&mut self, reason: &str) {
        let deadline = Instant::now() + LAST_WORDS;
        while let Ok(command) = self.commands.try_recv() {
            if let Command::SetViewer(id, viewer) = command {
                self.set_viewer(id, viewer);
            }
        }
        loop {
            self.watchers.retain_mut(|watcher| {
                !watcher.is_gone() && !watcher.send(ViewerEvent::Gone(reason.to_owned()))
            });
            if self.watchers.is_empty() || Instant::now() >= deadline {
                return;
            }
            std::thread::sleep(ROOM_INTERVAL);
        }
    }
}
