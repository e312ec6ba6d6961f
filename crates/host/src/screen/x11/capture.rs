//! Pictures of an X server's monitors.

use super::shm::Reader;
use super::{Link, ScreenError, failed, failed_id, gone, monitors};
use crate::screen::{Capture, Changes, Grab, Monitor};
use bytes::Bytes;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use remote::{CursorShape, Point, Rect, Size};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};
use x11rb::connection::Connection;
use x11rb::protocol::Event;
use x11rb::protocol::damage::{self, ConnectionExt as _, ReportLevel};
use x11rb::protocol::xfixes::{ConnectionExt as _, CursorNotifyMask, GetCursorImageReply};
use x11rb::protocol::xproto::{ConnectionExt as _, Rectangle};

/// How often the pointer is looked for while it moves, as stock does (session §3.8).
const POINTER_INTERVAL: Duration = Duration::from_millis(33);
/// And once it has rested for [`POINTER_RESTS`].
const POINTER_IDLE_INTERVAL: Duration = Duration::from_millis(100);
const POINTER_RESTS: Duration = Duration::from_secs(2);

/// The server's damage stays set until a grab clears it, so a screen that nobody looks at sends at most a few
/// events, however much is drawn on it.
#[derive(Debug)]
pub(super) struct X11Capture {
    link: Link,
    reader: Reader,
    damage: damage::Damage,
    root: Size,
    views: Vec<View>,
    pending: Changes,
    wake: Arc<WakeUp>,
    pointer: PointerWatch,
}

/// A monitor and its last picture.
#[derive(Debug)]
struct View {
    monitor: Monitor,
    bgrx: Vec<u8>,
    /// What `bgrx` shows wrongly, in the virtual desktop.
    stale: Rect,
}

#[derive(Debug)]
struct PointerWatch {
    on: bool,
    last: Option<Point>,
    moved: Instant,
    due: Instant,
}

#[derive(Debug)]
struct WakeUp(EventFd);

impl Wake for WakeUp {
    fn wake(self: Arc<Self>) {
        // The counter being full wakes as well.
        self.0.write(1).ok();
    }
}

impl X11Capture {
    pub(super) fn new(link: Link) -> Result<Self, ScreenError> {
        let connection = &link.connection;
        connection.damage_query_version(1, 1).map_err(gone)?.reply().map_err(failed("DamageQueryVersion"))?;
        connection.xfixes_query_version(5, 0).map_err(gone)?.reply().map_err(failed("XFixesQueryVersion"))?;
        monitors::select(&link)?;
        connection.xfixes_select_cursor_input(link.root, CursorNotifyMask::DISPLAY_CURSOR).map_err(gone)?;
        let damage = connection.generate_id().map_err(failed_id("DamageCreate"))?;
        connection
            .damage_create(damage, link.root, ReportLevel::BOUNDING_BOX)
            .map_err(gone)?
            .check()
            .map_err(failed("DamageCreate"))?;
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let wake = EventFd::from_flags(flags)
            .map_err(|error| ScreenError::Gone(format!("no descriptor to wake up by: {error}")))?;
        let now = Instant::now();
        let mut capture = Self {
            reader: Reader::new(&link)?,
            damage,
            root: Size::default(),
            views: Vec::new(),
            pending: Changes::default(),
            wake: Arc::new(WakeUp(wake)),
            pointer: PointerWatch { on: false, last: None, moved: now, due: now },
            link,
        };
        capture.read_monitors()?;
        capture.pending.monitors = false;
        capture.read_cursor()?;
        Ok(capture)
    }

    /// Asks for the monitors; pictures of changed ones are read anew.
    fn read_monitors(&mut self) -> Result<(), ScreenError> {
        let monitors = monitors::list(&self.link)?;
        let root = monitors::root_size(&self.link)?;
        if self.root == root && self.views.iter().map(|view| &view.monitor).eq(&monitors) {
            return Ok(());
        }
        self.root = root;
        self.views = monitors
            .into_iter()
            .map(|monitor| View {
                bgrx: vec![0; monitor.size.area() as usize * 4],
                stale: monitor.rect(),
                monitor,
            })
            .collect();
        self.pending.monitors = true;
        self.pending.damage = Rect::of(root);
        Ok(())
    }

    fn read_cursor(&mut self) -> Result<(), ScreenError> {
        let image = self
            .link
            .connection
            .xfixes_get_cursor_image()
            .map_err(gone)?
            .reply()
            .map_err(failed("XFixesGetCursorImage"))?;
        let serial = image.cursor_serial.into();
        self.pending.cursor = Some((serial, shape(&image)));
        Ok(())
    }

    /// Takes in what the server has sent, without waiting.
    fn drain(&mut self) -> Result<(), ScreenError> {
        let (mut monitors, mut cursor) = (false, false);
        while let Some(event) = self.link.connection.poll_for_event().map_err(gone)? {
            match event {
                Event::DamageNotify(event) => self.damaged(event.area),
                Event::XfixesCursorNotify(_) => cursor = true,
                Event::RandrScreenChangeNotify(_) | Event::RandrNotify(_) => monitors = true,
                Event::ConfigureNotify(event) => monitors |= event.window == self.link.root,
                Event::Error(error) => {
                    tracing::debug!(kind = ?error.error_kind, "the X server refused a request");
                }
                _ => {}
            }
        }
        if monitors {
            self.read_monitors()?;
        }
        if cursor {
            self.read_cursor()?;
        }
        Ok(())
    }

    fn damaged(&mut self, area: Rectangle) {
        let left = u32::from(area.x.max(0).unsigned_abs());
        let top = u32::from(area.y.max(0).unsigned_abs());
        let right = (i32::from(area.x) + i32::from(area.width)).max(0).unsigned_abs();
        let bottom = (i32::from(area.y) + i32::from(area.height)).max(0).unsigned_abs();
        let area = Rect::new(left, top, right.saturating_sub(left), bottom.saturating_sub(top))
            .intersection(Rect::of(self.root));
        self.pending.damage = self.pending.damage.union(area);
        for view in &mut self.views {
            view.stale = view.stale.union(area.intersection(view.monitor.rect()));
        }
    }

    fn look_for_pointer(&mut self, now: Instant) -> Result<(), ScreenError> {
        let reply = self
            .link
            .connection
            .query_pointer(self.link.root)
            .map_err(gone)?
            .reply()
            .map_err(failed("QueryPointer"))?;
        let place = Point::new(reply.root_x.into(), reply.root_y.into());
        let watch = &mut self.pointer;
        if watch.last != Some(place) {
            watch.last = Some(place);
            watch.moved = now;
            self.pending.pointer = Some(place);
        }
        let rests = now.duration_since(watch.moved) > POINTER_RESTS;
        watch.due = now + if rests { POINTER_IDLE_INTERVAL } else { POINTER_INTERVAL };
        Ok(())
    }

    /// Sleeps until the server sends something, somebody wakes us, or the time is over; `true` if woken.
    fn sleep(&self, time: Duration) -> Result<bool, ScreenError> {
        self.link.connection.flush().map_err(gone)?;
        let mut waits = [
            PollFd::new(self.link.connection.stream().as_fd(), PollFlags::POLLIN),
            PollFd::new(self.wake.0.as_fd(), PollFlags::POLLIN),
        ];
        // Rounded up: waking a moment too early would spin.
        let millis = time.as_micros().div_ceil(1000);
        let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
        match poll(&mut waits, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(ScreenError::Gone(error.to_string())),
        }
        // Resets the counter; nothing there means nobody woke us.
        Ok(self.wake.0.read().is_ok())
    }
}

impl Capture for X11Capture {
    fn monitors(&mut self) -> Result<Vec<Monitor>, ScreenError> {
        self.drain()?;
        Ok(self.views.iter().map(|view| view.monitor.clone()).collect())
    }

    fn wait(&mut self, timeout: Duration) -> Result<Changes, ScreenError> {
        let start = Instant::now();
        let mut now = start;
        let mut woken = false;
        loop {
            self.drain()?;
            if self.pointer.on && now >= self.pointer.due {
                self.look_for_pointer(now)?;
            }
            let waited = now.duration_since(start);
            if woken || waited >= timeout || !self.pending.is_empty() {
                return Ok(std::mem::take(&mut self.pending));
            }
            let mut left = timeout - waited;
            if self.pointer.on {
                left = left.min(self.pointer.due.saturating_duration_since(now));
            }
            woken = self.sleep(left)?;
            now = Instant::now();
        }
    }

    fn grab(&mut self, monitor: usize) -> Result<Grab<'_>, ScreenError> {
        self.drain()?;
        let view = self.views.get_mut(monitor).ok_or(ScreenError::NoSuchMonitor(monitor))?;
        let place = view.monitor.rect();
        let stride = place.width as usize * 4;
        let rows = Rect { x: place.x, width: place.width, ..view.stale };
        if !view.stale.is_empty() {
            // Cleared before the pixels are read: what is drawn in between is seen now and told again.
            self.link.connection.damage_subtract(self.damage, x11rb::NONE, x11rb::NONE).map_err(gone)?;
            let first = (rows.y - place.y) as usize * stride;
            let bytes = &mut view.bgrx[first..first + rows.height as usize * stride];
            self.reader.read(&self.link, rows, bytes)?;
            view.stale = Rect::default();
        }
        Ok(Grab { bgrx: &view.bgrx, stride, size: view.monitor.size })
    }

    fn track_pointer(&mut self, on: bool) {
        if on && !self.pointer.on {
            self.pointer.last = None;
            self.pointer.due = Instant::now();
        }
        self.pointer.on = on;
    }

    fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.wake))
    }
}

/// The cursor with straight alpha; XFixes gives it multiplied into the colours.
fn shape(image: &GetCursorImageReply) -> CursorShape {
    let rgba: Vec<u8> = image
        .cursor_image
        .iter()
        .flat_map(|pixel| {
            let [blue, green, red, alpha] = pixel.to_le_bytes();
            let straight = |colour: u8| match alpha {
                0 => 0,
                alpha => {
                    let (colour, alpha) = (u32::from(colour), u32::from(alpha));
                    ((colour * 255 + alpha / 2) / alpha).min(255) as u8
                }
            };
            [straight(red), straight(green), straight(blue), alpha]
        })
        .collect();
    CursorShape {
        size: Size::new(image.width.into(), image.height.into()),
        hotspot: Point::new(image.xhot.into(), image.yhot.into()),
        rgba: Bytes::from(rgba),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_gets_straight_alpha() {
        let image = GetCursorImageReply {
            width: 3,
            height: 1,
            xhot: 1,
            yhot: 0,
            cursor_image: vec![0xff10_2030, 0x8040_2010, 0x0000_0000],
            ..GetCursorImageReply::default()
        };
        let shape = shape(&image);
        assert_eq!(shape.size, Size::new(3, 1));
        assert_eq!(shape.hotspot, Point::new(1, 0));
        assert_eq!(&shape.rgba[..], [0x10, 0x20, 0x30, 0xff, 0x80, 0x40, 0x20, 0x80, 0, 0, 0, 0]);
    }
}
