//! A built-in picture that reacts to input, for machines without an X server.
//!
//! It shows colour fields at fixed places, a text field, two buttons, and what the pointer, the wheel and the
//! keyboard did last. The same input always gives the same pixels.

mod card;
mod font;
mod keys;

use super::{Capture, Changes, Grab, HostKey, Injector, Monitor, Screen, ScreenError};
use bytes::Bytes;
use card::Card;
use keys::Meaning;
use remote::{Button, CursorShape, Point, Rect, Size};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

pub use card::{BACKGROUND, BUTTON_COLOURS, BUTTONS, ENTERED, FIELDS, LEAST, Rgb, STATUS, TEXT_FIELD};

/// The size that people expect.
pub const DEFAULT_SIZE: Size = Size::new(1280, 800);

const MODES: [Size; 5] =
    [Size::new(800, 600), Size::new(1024, 768), DEFAULT_SIZE, Size::new(1600, 900), Size::new(1920, 1080)];

/// The test card as a screen. All captures and injectors of one value share one picture.
#[derive(Debug)]
pub struct TestCard(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    card: Card,
    modes: Vec<Size>,
    /// What each capture has not been told yet.
    captures: BTreeMap<u64, Pending>,
    next: u64,
}

#[derive(Debug, Default)]
struct Pending {
    changes: Changes,
    stale: Rect,
    woken: bool,
    pointer: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The card is pixels: a panic elsewhere leaves nothing half done that matters.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, act: impl FnOnce(&mut Card) -> Rect) {
        let mut state = self.lock();
        let pointer = state.card.pointer();
        let damage = act(&mut state.card);
        let moved = Some(state.card.pointer()).filter(|now| *now != pointer);
        for pending in state.captures.values_mut() {
            pending.changes.damage = pending.changes.damage.union(damage);
            pending.stale = pending.stale.union(damage);
            if pending.pointer {
                pending.changes.pointer = moved.or(pending.changes.pointer);
            }
        }
        drop(state);
        self.changed.notify_all();
    }
}

impl TestCard {
    /// A card of this size, or of [`LEAST`] where that is larger.
    pub fn new(size: Size) -> Self {
        let size = Size::new(size.width.clamp(LEAST.width, 16384), size.height.clamp(LEAST.height, 16384));
        let mut modes = MODES.to_vec();
        if !modes.contains(&size) {
            modes.insert(0, size);
        }
        let state = State { card: Card::new(size), modes, captures: BTreeMap::new(), next: 0 };
        Self(Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() }))
    }
}

impl Default for TestCard {
    fn default() -> Self {
        Self::new(DEFAULT_SIZE)
    }
}

impl Screen for TestCard {
    fn open_capture(&self) -> Result<Box<dyn Capture>, ScreenError> {
        let mut state = self.0.lock();
        let id = state.next;
        state.next += 1;
        let all = Rect::of(state.card.size());
        let changes = Changes { damage: all, cursor: Some((1, arrow())), ..Changes::default() };
        state.captures.insert(id, Pending { changes, stale: all, ..Pending::default() });
        drop(state);
        let shared = Arc::clone(&self.0);
        Ok(Box::new(CardCapture {
            link: Arc::new(Link { id, shared }),
            size: Size::default(),
            bgrx: Vec::new(),
        }))
    }

    fn open_injector(&self) -> Result<Box<dyn Injector>, ScreenError> {
        Ok(Box::new(CardInjector { shared: Arc::clone(&self.0), shifts: Vec::new(), caps: false }))
    }
}

/// A pointer: a triangle, white with a black edge.
fn arrow() -> CursorShape {
    const LENGTH: u32 = 12;
    let rgba = (0..LENGTH).flat_map(|y| (0..LENGTH).map(move |x| (x, y))).flat_map(|(x, y)| match () {
        () if x + y >= LENGTH => [0, 0, 0, 0],
        () if x == 0 || y == 0 || x + y == LENGTH - 1 => [0, 0, 0, 255],
        () => [255, 255, 255, 255],
    });
    CursorShape { size: Size::new(LENGTH, LENGTH), hotspot: Point::default(), rgba: Bytes::from_iter(rgba) }
}

/// A capture's place in the shared state; it goes with the capture and its wakers.
#[derive(Debug)]
struct Link {
    id: u64,
    shared: Arc<Shared>,
}

impl Wake for Link {
    fn wake(self: Arc<Self>) {
        if let Some(pending) = self.shared.lock().captures.get_mut(&self.id) {
            pending.woken = true;
        }
        self.shared.changed.notify_all();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.lock().captures.remove(&self.id);
    }
}

#[derive(Debug)]
struct CardCapture {
    link: Arc<Link>,
    size: Size,
    bgrx: Vec<u8>,
}

impl Capture for CardCapture {
    fn monitors(&mut self) -> Result<Vec<Monitor>, ScreenError> {
        let state = self.link.shared.lock();
        Ok(vec![Monitor {
            name: "test-card".to_owned(),
            origin: Point::default(),
            size: state.card.size(),
            primary: true,
            modes: state.modes.clone(),
        }])
    }

    fn wait(&mut self, timeout: Duration) -> Result<Changes, ScreenError> {
        let deadline = Instant::now() + timeout;
        let mut state = self.link.shared.lock();
        loop {
            if let Some(pending) = state.captures.get_mut(&self.link.id)
                && (std::mem::take(&mut pending.woken) || !pending.changes.is_empty())
            {
                return Ok(std::mem::take(&mut pending.changes));
            }
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            else {
                return Ok(Changes::default());
            };
            let waited = self.link.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn grab(&mut self, monitor: usize) -> Result<Grab<'_>, ScreenError> {
        if monitor != 0 {
            return Err(ScreenError::NoSuchMonitor(monitor));
        }
        let mut state = self.link.shared.lock();
        let size = state.card.size();
        let stale = state.captures.get_mut(&self.link.id).map(|pending| std::mem::take(&mut pending.stale));
        let stride = size.width as usize * 4;
        let mut rows = stale.unwrap_or_default();
        if self.size != size {
            self.size = size;
            self.bgrx.resize(stride * size.height as usize, 0);
            rows = Rect::of(size);
        }
        let bytes = rows.y as usize * stride..(rows.y + rows.height) as usize * stride;
        self.bgrx[bytes.clone()].copy_from_slice(&state.card.bgrx()[bytes]);
        Ok(Grab { bgrx: &self.bgrx, stride, size })
    }

    fn track_pointer(&mut self, on: bool) {
        let mut state = self.link.shared.lock();
        let place = state.card.pointer();
        if let Some(pending) = state.captures.get_mut(&self.link.id) {
            if on && !pending.pointer {
                pending.changes.pointer = Some(place);
            }
            pending.pointer = on;
        }
    }

    fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.link))
    }
}

#[derive(Debug)]
struct CardInjector {
    shared: Arc<Shared>,
    /// Shift keys held.
    shifts: Vec<HostKey>,
    caps: bool,
}

impl Injector for CardInjector {
    fn move_to(&mut self, to: Point) -> Result<(), ScreenError> {
        self.shared.change(|card| card.move_to(to));
        Ok(())
    }

    fn move_by(&mut self, by: Point) -> Result<(), ScreenError> {
        self.shared.change(|card| {
            let now = card.pointer();
            card.move_to(Point::new(now.x.saturating_add(by.x), now.y.saturating_add(by.y)))
        });
        Ok(())
    }

    fn button(&mut self, button: Button, down: bool) -> Result<(), ScreenError> {
        self.shared.change(|card| card.button(button, down));
        Ok(())
    }

    fn scroll(&mut self, x: i32, y: i32) -> Result<(), ScreenError> {
        self.shared.change(|card| card.scroll(x, y));
        Ok(())
    }

    fn key(&mut self, key: HostKey, down: bool) -> Result<(), ScreenError> {
        let meaning = Meaning::of(key, !self.shifts.is_empty(), self.caps);
        if meaning.is_shift() {
            self.shifts.retain(|held| *held != key);
            self.shifts.extend(down.then_some(key));
        }
        if down {
            self.shared.change(|card| {
                let line = card.key(&meaning.name());
                meaning.typed().map_or(line, |character| line.union(card.typed(character)))
            });
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), ScreenError> {
        self.shared.change(|card| {
            let text = text.replace("\r\n", "\n").replace('\r', "\n");
            text.chars().fold(Rect::default(), |damage, character| damage.union(card.typed(character)))
        });
        Ok(())
    }

    fn set_locks(&mut self, caps: Option<bool>, _num: Option<bool>) -> Result<(), ScreenError> {
        self.caps = caps.unwrap_or(self.caps);
        Ok(())
    }

    fn release_all(&mut self) -> Result<(), ScreenError> {
        self.shifts.clear();
        Ok(())
    }

    fn set_size(&mut self, monitor: usize, size: Size) -> Result<(), ScreenError> {
        if monitor != 0 {
            return Err(ScreenError::NoSuchMonitor(monitor));
        }
        let mut state = self.shared.lock();
        if !state.modes.contains(&size) {
            return Err(ScreenError::Unsupported("this monitor has no such size"));
        }
        let damage = state.card.resize(size);
        for pending in state.captures.values_mut() {
            pending.changes.monitors = true;
            pending.changes.damage = damage;
            pending.stale = damage;
        }
        drop(state);
        self.shared.changed.notify_all();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixel(capture: &mut dyn Capture, x: u32, y: u32) -> Rgb {
        let grab = capture.grab(0).unwrap();
        let at = y as usize * grab.stride + x as usize * 4;
        [grab.bgrx[at + 2], grab.bgrx[at + 1], grab.bgrx[at]]
    }

    #[test]
    fn input_changes_the_picture_of_every_capture() {
        let screen = TestCard::default();
        let mut captures = [screen.open_capture().unwrap(), screen.open_capture().unwrap()];
        for capture in &mut captures {
            let first = capture.wait(Duration::ZERO).unwrap();
            assert_eq!(first.damage, Rect::of(DEFAULT_SIZE));
            assert!(first.cursor.is_some());
            assert_eq!(pixel(capture.as_mut(), BUTTONS[0].x, BUTTONS[0].y), BUTTON_COLOURS[0]);
            assert!(capture.wait(Duration::ZERO).unwrap().is_empty());
        }
        let mut injector = screen.open_injector().unwrap();
        injector.move_to(Point::new(100, 230)).unwrap();
        injector.button(Button::Left, true).unwrap();
        for capture in &mut captures {
            assert!(!capture.wait(Duration::ZERO).unwrap().damage.is_empty());
            assert_eq!(pixel(capture.as_mut(), BUTTONS[0].x, BUTTONS[0].y), BUTTON_COLOURS[1]);
        }
    }

    #[test]
    fn typed_keys_and_text_show_alike() {
        let (by_keys, by_text) = (TestCard::default(), TestCard::default());
        let mut keys = by_keys.open_injector().unwrap();
        for key in [HostKey::Position(50), HostKey::Position(43)] {
            keys.key(key, true).unwrap();
        }
        keys.key(HostKey::Position(50), false).unwrap();
        keys.key(HostKey::Keysym(u32::from(b'i')), true).unwrap();
        by_text.open_injector().unwrap().text("Hi").unwrap();
        let rows = |screen: &TestCard| {
            let mut capture = screen.open_capture().unwrap();
            let grab = capture.grab(0).unwrap();
            let (first, last) = (TEXT_FIELD.y as usize, (TEXT_FIELD.y + TEXT_FIELD.height) as usize);
            grab.bgrx[first * grab.stride..last * grab.stride].to_vec()
        };
        let empty = rows(&TestCard::default());
        assert_eq!(rows(&by_keys), rows(&by_text));
        assert_ne!(rows(&by_keys), empty);
        // Enter empties the field.
        keys.key(HostKey::Keysym(0xff0d), true).unwrap();
        assert_eq!(rows(&by_keys), empty);
    }

    #[test]
    fn it_takes_another_of_its_sizes() {
        let screen = TestCard::new(Size::new(1, 1));
        let mut capture = screen.open_capture().unwrap();
        assert_eq!(capture.grab(0).unwrap().size, LEAST);
        let mut injector = screen.open_injector().unwrap();
        injector.set_size(0, Size::new(800, 600)).unwrap();
        assert!(capture.wait(Duration::ZERO).unwrap().monitors);
        let grab = capture.grab(0).unwrap();
        assert_eq!((grab.size, grab.bgrx.len()), (Size::new(800, 600), 800 * 600 * 4));
        assert!(injector.set_size(0, Size::new(3, 3)).is_err());
        assert!(injector.set_size(1, LEAST).is_err());
    }

    #[test]
    fn a_wait_ends_with_input_or_a_call() {
        let screen = TestCard::default();
        let mut capture = screen.open_capture().unwrap();
        capture.wait(Duration::ZERO).unwrap();
        let waker = capture.waker();
        let start = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| waker.wake());
            assert!(capture.wait(Duration::from_secs(20)).unwrap().is_empty());
            let mut injector = screen.open_injector().unwrap();
            scope.spawn(move || injector.scroll(0, 1));
            assert!(!capture.wait(Duration::from_secs(20)).unwrap().is_empty());
        });
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}
