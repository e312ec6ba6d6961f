//! Input to an X server through XTEST.

use super::keymap::{self, CORE_KEYBOARD, Keymap, LOCK, Stroke};
use super::spare::{Lending, Spares};
use super::{Link, ScreenError, failed, gone, monitors};
use crate::screen::{HostKey, Injector};
use remote::{Button, Point, Size};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use x11rb::connection::Connection;
use x11rb::protocol::Event;
use x11rb::protocol::xkb::{ConnectionExt as _, Group};
use x11rb::protocol::xproto::{
    BUTTON_PRESS_EVENT, BUTTON_RELEASE_EVENT, ConnectionExt as _, KEY_PRESS_EVENT, KEY_RELEASE_EVENT,
    MOTION_NOTIFY_EVENT, Mapping, ModMask,
};
use x11rb::protocol::xtest::ConnectionExt as _;

/// More notches than this in one event are a mistake or malice.
const MOST_NOTCHES: u32 = 100;
/// Characters between two questions to the server, so that it is never far behind.
const TEXT_BATCH: usize = 64;
/// From a new mapping to the first key that uses it: toolkits that read the mapping by a round trip of their
/// own have it by then.
const MAPPING_SETTLES: Duration = Duration::from_millis(15);

const NO_FREE_KEY: ScreenError =
    ScreenError::Unsupported("the keyboard mapping has no free key for a character that it lacks");

const RETURN: u32 = 0xff0d;
const TAB: u32 = 0xff09;
const BACK_SPACE: u32 = 0xff08;
const ESCAPE: u32 = 0xff1b;

#[derive(Debug)]
pub(super) struct X11Injector {
    link: Link,
    keymap: Keymap,
    spares: Spares,
    /// Keys that are down because of us.
    keys: Vec<u8>,
    /// The key that went down for a keysym: the mapping may be another one when it goes up.
    keysyms: HashMap<u32, u8>,
    buttons: Vec<u8>,
}

/// Modifiers and layout group as they are.
#[derive(Debug, Clone, Copy)]
struct State {
    modifiers: u8,
    locked: u8,
    group: u8,
}

impl X11Injector {
    pub(super) fn new(link: Link) -> Result<Self, ScreenError> {
        let connection = &link.connection;
        connection.xtest_get_version(2, 2).map_err(gone)?.reply().map_err(failed("XTestGetVersion"))?;
        connection.xkb_use_extension(1, 0).map_err(gone)?.reply().map_err(failed("XkbUseExtension"))?;
        monitors::negotiate(&link)?;
        let mut injector = Self {
            keymap: Keymap::default(),
            spares: Spares::default(),
            keys: Vec::new(),
            keysyms: HashMap::new(),
            buttons: Vec::new(),
            link,
        };
        injector.read_keymap()?;
        Ok(injector)
    }

    fn read_keymap(&mut self) -> Result<(), ScreenError> {
        self.keymap = Keymap::read(&self.link)?;
        let keymap = &self.keymap;
        self.spares.reconcile(&keymap.unused(), |code| keymap.base_keysym(code));
        Ok(())
    }

    /// Reads the mapping anew if somebody has changed it.
    fn follow_mapping(&mut self) -> Result<(), ScreenError> {
        let mut changed = false;
        while let Some(event) = self.link.connection.poll_for_event().map_err(gone)? {
            match event {
                Event::MappingNotify(event) => changed |= event.request != Mapping::POINTER,
                Event::Error(error) => {
                    tracing::debug!(kind = ?error.error_kind, "the X server refused an input");
                }
                _ => {}
            }
        }
        if changed { self.read_keymap() } else { Ok(()) }
    }

    fn state(&self) -> Result<State, ScreenError> {
        let state = self
            .link
            .connection
            .xkb_get_state(CORE_KEYBOARD)
            .map_err(gone)?
            .reply()
            .map_err(failed("XkbGetState"))?;
        Ok(State {
            modifiers: keymap::bits(state.mods),
            locked: keymap::bits(state.locked_mods),
            group: u8::from(state.group),
        })
    }

    /// Waits until the server has done everything asked so far.
    fn sync(&self) -> Result<(), ScreenError> {
        self.link.connection.get_input_focus().map_err(gone)?.reply().map_err(failed("GetInputFocus"))?;
        Ok(())
    }

    fn flush(&self) -> Result<(), ScreenError> {
        self.link.connection.flush().map_err(gone)
    }

    fn fake(&self, kind: u8, detail: u8, to: Point) -> Result<(), ScreenError> {
        let (x, y) = (clamp(to.x), clamp(to.y));
        self.link.connection.xtest_fake_input(kind, detail, 0, self.link.root, x, y, 0).map_err(gone)?;
        Ok(())
    }

    fn fake_key(&self, keycode: u8, down: bool) -> Result<(), ScreenError> {
        let kind = if down { KEY_PRESS_EVENT } else { KEY_RELEASE_EVENT };
        self.fake(kind, keycode, Point::default())
    }

    fn fake_button(&self, button: u8, down: bool) -> Result<(), ScreenError> {
        let kind = if down { BUTTON_PRESS_EVENT } else { BUTTON_RELEASE_EVENT };
        self.fake(kind, button, Point::default())
    }

    fn hold(&mut self, keycode: u8, down: bool) -> Result<(), ScreenError> {
        self.fake_key(keycode, down)?;
        self.spares.pressed(keycode, Instant::now());
        self.keys.retain(|held| *held != keycode);
        if down {
            self.keys.push(keycode);
        }
        Ok(())
    }

    /// The keys held down now that set any of the modifiers.
    fn held_modifier_keys(&self, modifiers: u8) -> Result<Vec<u8>, ScreenError> {
        if modifiers == 0 {
            return Ok(Vec::new());
        }
        let down =
            self.link.connection.query_keymap().map_err(gone)?.reply().map_err(failed("QueryKeymap"))?.keys;
        let is_down = |code: &u8| down[usize::from(code / 8)] & 1 << (code % 8) != 0;
        let mut keys: Vec<u8> = (0..8)
            .filter(|n| modifiers & 1 << n != 0)
            .flat_map(|n| self.keymap.modifier_keys(n))
            .copied()
            .filter(is_down)
            .collect();
        keys.dedup();
        Ok(keys)
    }

    /// Presses a key with the modifiers its meaning needs, and puts them back.
    fn press_stroke(&mut self, stroke: Stroke) -> Result<(), ScreenError> {
        let released = self.held_modifier_keys(stroke.release)?;
        let pressed: Vec<u8> =
            (0..8).filter(|n| stroke.press & 1 << n != 0).filter_map(|n| self.keymap.level_key(n)).collect();
        for code in &released {
            self.fake_key(*code, false)?;
        }
        for code in &pressed {
            self.fake_key(*code, true)?;
        }
        self.hold(stroke.keycode, true)?;
        for code in pressed.iter().rev() {
            self.fake_key(*code, false)?;
        }
        for code in &released {
            self.fake_key(*code, true)?;
        }
        Ok(())
    }

    fn stroke(&self, keysym: u32, state: State) -> Option<Stroke> {
        let find = |keysym| self.keymap.stroke(keysym, state.group, state.modifiers);
        find(keysym).or_else(|| find(keymap::older_keysym(keysym)?))
    }

    /// Gives keysyms that the layout does not have a key each.
    fn lend(&mut self, keysyms: &[u32]) -> Result<(), ScreenError> {
        let lending = self.spares.lend(keysyms);
        if lending.map.is_empty() {
            return Ok(());
        }
        self.change_mapping(&lending)?;
        self.sync()?;
        self.follow_mapping()?;
        std::thread::sleep(MAPPING_SETTLES);
        Ok(())
    }

    fn change_mapping(&self, lending: &Lending) -> Result<(), ScreenError> {
        if let Some(moment) = lending.not_before {
            self.flush()?;
            std::thread::sleep(moment.saturating_duration_since(Instant::now()));
        }
        // One request, and one event to every client, for each run of neighbours.
        for run in lending.map.chunk_by(|a, b| a.0 + 1 == b.0) {
            // The same with and without Shift, so that nothing held changes it.
            let keysyms: Vec<u32> = run.iter().flat_map(|(_, keysym)| [*keysym; 2]).collect();
            self.link
                .connection
                .change_keyboard_mapping(run.len() as u8, run[0].0, 2, &keysyms)
                .map_err(gone)?;
        }
        Ok(())
    }

    /// The key and modifiers for a keysym, lending it a key if the layout has none.
    fn resolve(&mut self, keysym: u32) -> Result<Stroke, ScreenError> {
        self.follow_mapping()?;
        if let Some(keycode) = self.keymap.modifier_key(keysym) {
            return Ok(Stroke::plain(keycode));
        }
        let state = self.state()?;
        if self.spares.keycode_of(keysym).is_none() {
            if let Some(stroke) = self.stroke(keysym, state) {
                return Ok(stroke);
            }
            self.lend(&[keysym])?;
        }
        self.spares.keycode_of(keysym).map(Stroke::plain).ok_or(NO_FREE_KEY)
    }

    /// Types keysyms, those of the layout and others, while no modifier is held.
    fn type_keysyms(&mut self, keysyms: &[u32]) -> Result<(), ScreenError> {
        let mut rest = keysyms;
        let mut attempts = 0;
        while !rest.is_empty() {
            self.follow_mapping()?;
            let (count, lent) = self.plan(rest, self.state()?);
            self.lend(&lent)?;
            let typed = self.type_batch(&rest[..count])?;
            rest = &rest[typed..];
            // Nothing typed: no free key, or the layout changed under us, which can not go on for ever.
            attempts = if typed == 0 { attempts + 1 } else { 0 };
            if attempts > 3 {
                return Err(NO_FREE_KEY);
            }
        }
        Ok(())
    }

    /// Presses keys one after the other; how many had a key.
    fn type_batch(&mut self, keysyms: &[u32]) -> Result<usize, ScreenError> {
        let state = self.state()?;
        for (typed, keysym) in keysyms.iter().enumerate() {
            let lent = self.spares.keycode_of(*keysym).map(Stroke::plain);
            let Some(stroke) = lent.or_else(|| self.stroke(*keysym, state)) else { return Ok(typed) };
            self.press_stroke(stroke)?;
            self.hold(stroke.keycode, false)?;
        }
        self.sync()?;
        Ok(keysyms.len())
    }

    /// How many of the keysyms can be typed in one go, and which of those need a key lent.
    fn plan(&self, keysyms: &[u32], state: State) -> (usize, Vec<u32>) {
        let mut lent: Vec<u32> = Vec::new();
        for (place, keysym) in keysyms.iter().enumerate().take(TEXT_BATCH) {
            let is_lent = self.spares.keycode_of(*keysym).is_some();
            if lent.contains(keysym) || !is_lent && self.stroke(*keysym, state).is_some() {
                continue;
            }
            if lent.len() == self.spares.len() {
                return (place, lent);
            }
            lent.push(*keysym);
        }
        (keysyms.len().min(TEXT_BATCH), lent)
    }

    fn lock(&self, affect: u8, locked: u8) -> Result<(), ScreenError> {
        let mask = |bits: u8| ModMask::from(u16::from(bits));
        self.link
            .connection
            .xkb_latch_lock_state(
                CORE_KEYBOARD,
                mask(affect),
                mask(locked),
                false,
                Group::from(0u8),
                mask(0),
                false,
                0,
            )
            .map_err(gone)?;
        Ok(())
    }
}

impl Injector for X11Injector {
    fn move_to(&mut self, to: Point) -> Result<(), ScreenError> {
        self.fake(MOTION_NOTIFY_EVENT, 0, to)?;
        self.flush()
    }

    fn move_by(&mut self, by: Point) -> Result<(), ScreenError> {
        self.fake(MOTION_NOTIFY_EVENT, 1, by)?;
        self.flush()
    }

    fn button(&mut self, button: Button, down: bool) -> Result<(), ScreenError> {
        let number = match button {
            Button::Left => 1,
            Button::Middle => 2,
            Button::Right => 3,
            Button::Back => 8,
            Button::Forward => 9,
        };
        self.fake_button(number, down)?;
        self.buttons.retain(|held| *held != number);
        if down {
            self.buttons.push(number);
        }
        self.flush()
    }

    fn scroll(&mut self, x: i32, y: i32) -> Result<(), ScreenError> {
        for (notches, back, forth) in [(y, 4, 5), (x, 6, 7)] {
            let number = if notches < 0 { back } else { forth };
            for _ in 0..notches.unsigned_abs().min(MOST_NOTCHES) {
                self.fake_button(number, true)?;
                self.fake_button(number, false)?;
            }
        }
        self.flush()
    }

    fn key(&mut self, key: HostKey, down: bool) -> Result<(), ScreenError> {
        match (key, down) {
            (HostKey::Position(code), _) if code < self.link.setup().min_keycode => {
                return Err(ScreenError::Unsupported("there is no key with so low a number"));
            }
            (HostKey::Position(code), _) => self.hold(code, down)?,
            (HostKey::Keysym(keysym), true) => {
                let stroke = self.resolve(keysym)?;
                self.press_stroke(stroke)?;
                self.keysyms.retain(|_, code| *code != stroke.keycode);
                self.keysyms.insert(keysym, stroke.keycode);
            }
            (HostKey::Keysym(keysym), false) => {
                if let Some(code) = self.keysyms.remove(&keysym) {
                    self.hold(code, false)?;
                }
            }
        }
        self.flush()
    }

    fn text(&mut self, text: &str) -> Result<(), ScreenError> {
        let keysyms = keysyms_of(text);
        if keysyms.is_empty() {
            return Ok(());
        }
        self.follow_mapping()?;
        // Text is text: nothing held makes shortcuts of it, and CapsLock does not shout.
        let held = self.held_modifier_keys(!(LOCK | self.keymap.num_lock()))?;
        let caps = self.state()?.locked & LOCK;
        for code in &held {
            self.fake_key(*code, false)?;
        }
        if caps != 0 {
            self.lock(LOCK, 0)?;
        }
        let typed = self.type_keysyms(&keysyms);
        if caps != 0 {
            self.lock(LOCK, LOCK)?;
        }
        for code in &held {
            self.fake_key(*code, true)?;
        }
        self.flush()?;
        typed
    }

    fn set_locks(&mut self, caps: Option<bool>, num: Option<bool>) -> Result<(), ScreenError> {
        let (mut affect, mut locked) = (0, 0);
        for (wish, mask) in [(caps, LOCK), (num, self.keymap.num_lock())] {
            if let Some(on) = wish {
                affect |= mask;
                locked |= if on { mask } else { 0 };
            }
        }
        if affect != 0 && self.state()?.locked & affect != locked {
            self.lock(affect, locked)?;
        }
        self.flush()
    }

    fn release_all(&mut self) -> Result<(), ScreenError> {
        for code in std::mem::take(&mut self.keys) {
            self.fake_key(code, false)?;
        }
        for button in std::mem::take(&mut self.buttons) {
            self.fake_button(button, false)?;
        }
        self.keysyms.clear();
        self.sync()
    }

    fn set_size(&mut self, monitor: usize, size: Size) -> Result<(), ScreenError> {
        monitors::set_size(&self.link, monitor, size)
    }
}

impl Drop for X11Injector {
    fn drop(&mut self) {
        let lending = self.spares.take_back();
        let result =
            self.release_all().and_then(|()| self.change_mapping(&lending)).and_then(|()| self.sync());
        if let Err(error) = result {
            tracing::debug!(%error, "keys could not be let go of");
        }
    }
}

/// Text as keysyms: line breaks of all systems are Return; control characters without a key are left out.
fn keysyms_of(text: &str) -> Vec<u32> {
    let mut after_return = false;
    text.chars()
        .filter_map(|character| {
            let second_half = character == '\n' && after_return;
            after_return = character == '\r';
            match character {
                '\n' if second_half => None,
                '\n' | '\r' => Some(RETURN),
                '\t' => Some(TAB),
                '\u{8}' => Some(BACK_SPACE),
                '\u{1b}' => Some(ESCAPE),
                _ => keymap::keysym_of(character),
            }
        })
        .collect()
}

fn clamp(v: i32) -> i16 {
    v.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_keysyms() {
        assert_eq!(
            keysyms_of("aé€\r\n\n\t\u{7}😀"),
            [0x61, 0xe9, 0x0100_20ac, RETURN, RETURN, TAB, 0x0101_f600]
        );
    }
}
