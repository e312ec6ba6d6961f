//! Those who watch, and how far each of them is.

use super::rate::Pace;
use super::{Decoding, Encoding, Viewer, ViewerEvent};
use crate::screen::Monitor;
use remote::{CursorShape, Point};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::error::TrySendError;

/// A viewer with no room for so long does not hold up the others any more.
const PATIENCE: Duration = Duration::from_secs(3);

/// At most from asking for the monitors to watching them.
const LOGIN: Duration = Duration::from_secs(10);

/// What every viewer has to know besides pictures; numbers tell what is new.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    pub(super) monitors: (u64, Vec<Monitor>),
    /// When they changed last.
    pub(super) monitors_changed: Option<Instant>,
    pub(super) encoding: (u64, Encoding),
    pub(super) cursor: Option<(u64, Arc<CursorShape>)>,
    pub(super) pointer: Option<Point>,
}

/// One viewer.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) id: u64,
    pub(super) viewer: Viewer,
    pub(super) pace: Pace,
    /// When its quality was set, to find the latest.
    pub(super) quality_set: u64,
    /// Pictures went out since its last delay sample.
    pub(super) active: bool,
    behind_since: Option<Instant>,
    /// Was left out of pictures, so it needs a keyframe.
    cut_off: bool,
    told: Told,
    gone: bool,
}

#[derive(Debug, Default)]
struct Told {
    monitors: u64,
    encoding: u64,
    cursor: Option<u64>,
    pointer: Option<Point>,
}

/// Whether a viewer can take a picture now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Yes,
    /// Not yet; others wait for it.
    Wait,
    /// Not for long; others do not wait for it.
    CutOff,
}

impl Watcher {
    /// A viewer that asked for monitors and codecs shortly before it came: it is told of them only if they
    /// may have changed since.
    pub(super) fn new(id: u64, viewer: Viewer, quality_set: u64, now: &Surroundings) -> Self {
        let fresh = now.monitors_changed.is_some_and(|at| at.elapsed() < LOGIN);
        let monitors = if fresh { u64::MAX } else { now.monitors.0 };
        let told = Told { monitors, encoding: now.encoding.0, ..Told::default() };
        Self {
            id,
            viewer,
            pace: Pace::new(),
            quality_set,
            active: false,
            behind_since: None,
            cut_off: false,
            told,
            gone: false,
        }
    }

    pub(super) fn watches(&self, display: usize) -> bool {
        self.viewer.displays.contains(&display)
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone || self.viewer.events.is_closed()
    }

    pub(super) fn decoding(&self) -> Decoding {
        self.viewer.decoding
    }

    /// Whether it can take a picture of the monitors as they are. Who was cut off has to
    /// [come back](Self::came_back) first.
    pub(super) fn room_for_picture(&mut self, told: &Surroundings, now: Instant) -> Room {
        if self.viewer.events.capacity() > 0 && self.told.monitors == told.monitors.0 {
            self.behind_since = None;
            return if self.cut_off { Room::CutOff } else { Room::Yes };
        }
        let since = *self.behind_since.get_or_insert(now);
        if self.cut_off || now.duration_since(since) >= PATIENCE {
            self.cut_off = true;
            return Room::CutOff;
        }
        Room::Wait
    }

    /// Whether it has room again after it was cut off. True once.
    pub(super) fn came_back(&mut self) -> bool {
        self.cut_off && self.viewer.events.capacity() > 0 && std::mem::take(&mut self.cut_off)
    }

    pub(super) fn is_cut_off(&self) -> bool {
        self.cut_off
    }

    /// Hands over an event; `false` if there is no room.
    pub(super) fn send(&mut self, event: ViewerEvent) -> bool {
        match self.viewer.events.try_send(event) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => false,
            Err(TrySendError::Closed(_)) => {
                self.gone = true;
                false
            }
        }
    }

    /// Tells what it does not know yet of what it wants to know; `false` if some of it found no room.
    pub(super) fn tell(&mut self, now: &Surroundings) -> bool {
        if self.told.monitors != now.monitors.0 {
            if !self.send(ViewerEvent::Monitors(now.monitors.1.clone())) {
                return false;
            }
            self.told.monitors = now.monitors.0;
        }
        if self.told.encoding != now.encoding.0 {
            if !self.send(ViewerEvent::Encoding(now.encoding.1)) {
                return false;
            }
            self.told.encoding = now.encoding.0;
        }
        if let Some((id, shape)) = now.cursor.as_ref().filter(|_| self.viewer.want_cursor)
            && self.told.cursor != Some(*id)
        {
            if !self.send(ViewerEvent::Cursor { id: *id, shape: Arc::clone(shape) }) {
                return false;
            }
            self.told.cursor = Some(*id);
        }
        if let Some(place) = now.pointer.filter(|_| self.viewer.want_pointer)
            && self.told.pointer != Some(place)
        {
            if !self.send(ViewerEvent::Pointer(place)) {
                return false;
            }
            self.told.pointer = Some(place);
        }
        true
    }
}
