//! Mouse and keyboard (session §4): from the wire's masks, modes and modifier lists to single presses and
//! releases in order.
//!
//! A key that the client names by its position or by name is held until the client lets go of it; a
//! character is pressed and released at once, because the key that gives it may need modifiers of its own
//! for just that moment. Characters and text are what they are: lock states (session §4.5) are made equal to
//! the client's for named keys and positions only, and a letter listed with CapsLock becomes its capital.

use super::{Event, Host, HostInput, InputKey};
use hbb_common::session::{ControlKey, KeyEvent, KeyboardMode, MouseEvent, key_event};
use remote::{Button, Point};
use std::time::{Duration, Instant};

/// Keys held longer than this are stuck (session §4).
const STUCK: Duration = Duration::from_secs(360);

/// Keys that one client can hold at once; no keyboard reports more.
const MOST_HELD: usize = 64;

/// Notches that one message can turn the wheel by.
const MOST_NOTCHES: i32 = 100;

const MOST_RELATIVE: i32 = 10_000;

/// Text of one message.
const LONGEST_TEXT: usize = 64 * 1024;

/// What the client holds down, in the order it was pressed.
#[derive(Debug, Default)]
pub(super) struct Held {
    keys: Vec<(InputKey, Instant)>,
    buttons: Vec<(Button, Instant)>,
    /// Lock states last asked for; unknown after a lock key.
    caps: Option<bool>,
    num: Option<bool>,
}

impl Held {
    fn has(&self, key: InputKey) -> bool {
        self.keys.iter().any(|(held, _)| *held == key)
    }

    fn press(&mut self, key: InputKey, now: Instant) -> bool {
        if self.has(key) || self.keys.len() >= MOST_HELD {
            return false;
        }
        self.keys.push((key, now));
        true
    }

    fn release(&mut self, key: InputKey) -> bool {
        let before = self.keys.len();
        self.keys.retain(|(held, _)| *held != key);
        self.keys.len() < before
    }

    /// Held modifiers, in the order they were pressed.
    fn modifiers(&self) -> Vec<(InputKey, Modifier)> {
        self.keys.iter().filter_map(|(key, _)| Some((*key, modifier(*key)?))).collect()
    }

    pub(super) fn next_release(&self) -> Option<Instant> {
        let keys = self.keys.iter().map(|(_, at)| *at);
        keys.chain(self.buttons.iter().map(|(_, at)| *at)).min().map(|at| at + STUCK)
    }

    pub(super) fn release_stuck(&mut self, now: Instant) -> Vec<HostInput> {
        self.take(|at| now >= at + STUCK)
    }

    pub(super) fn release_all(&mut self) -> Vec<HostInput> {
        self.take(|_| true)
    }

    /// Releases what matches, last pressed first.
    fn take(&mut self, matches: impl Fn(Instant) -> bool) -> Vec<HostInput> {
        let keys = self.keys.iter().rev().filter(|(_, at)| matches(*at)).map(|(key, _)| up(*key));
        let buttons = self.buttons.iter().rev().filter(|(_, at)| matches(*at));
        let released =
            keys.chain(buttons.map(|(b, _)| HostInput::Button { button: *b, down: false })).collect();
        self.keys.retain(|(_, at)| !matches(*at));
        self.buttons.retain(|(_, at)| !matches(*at));
        released
    }
}

/// Modifiers that do the same for a shortcut, whichever side they are on. AltGr makes other characters,
/// so it is one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Modifier {
    Shift,
    Control,
    Alt,
    AltGr,
    Meta,
}

impl Modifier {
    fn key(self) -> InputKey {
        InputKey::Named(match self {
            Self::Shift => ControlKey::Shift,
            Self::Control => ControlKey::Control,
            Self::Alt => ControlKey::Alt,
            Self::AltGr => ControlKey::RAlt,
            Self::Meta => ControlKey::Meta,
        })
    }
}

fn named_modifier(key: ControlKey) -> Option<Modifier> {
    match key {
        ControlKey::Shift | ControlKey::RShift => Some(Modifier::Shift),
        ControlKey::Control | ControlKey::RControl => Some(Modifier::Control),
        ControlKey::Alt | ControlKey::Option | ControlKey::Menu => Some(Modifier::Alt),
        ControlKey::RAlt => Some(Modifier::AltGr),
        ControlKey::Meta | ControlKey::RWin => Some(Modifier::Meta),
        _ => None,
    }
}

/// Positions are X keycodes (session §4.8).
fn modifier(key: InputKey) -> Option<Modifier> {
    match key {
        InputKey::Named(key) => named_modifier(key),
        InputKey::Position(50 | 62) => Some(Modifier::Shift),
        InputKey::Position(37 | 105) => Some(Modifier::Control),
        InputKey::Position(64) => Some(Modifier::Alt),
        InputKey::Position(108) => Some(Modifier::AltGr),
        InputKey::Position(133 | 134) => Some(Modifier::Meta),
        InputKey::Position(_) | InputKey::Character(_) => None,
    }
}

/// How a key stands to the lock states (session §4.5).
fn locks_of(key: InputKey) -> LockUse {
    use ControlKey as Key;
    match key {
        _ if modifier(key).is_some() => LockUse::None,
        InputKey::Named(Key::CapsLock | Key::NumLock | Key::Scroll) | InputKey::Position(66 | 77 | 78) => {
            LockUse::IsLock
        }
        InputKey::Named(Key::Tab | Key::Return) | InputKey::Position(23 | 36) => LockUse::None,
        InputKey::Named(
            Key::Numpad0
            | Key::Numpad1
            | Key::Numpad2
            | Key::Numpad3
            | Key::Numpad4
            | Key::Numpad5
            | Key::Numpad6
            | Key::Numpad7
            | Key::Numpad8
            | Key::Numpad9
            | Key::Decimal,
        )
        | InputKey::Position(79..=81 | 83..=85 | 87..=91) => LockUse::CapsAndNum,
        _ => LockUse::Caps,
    }
}

enum LockUse {
    None,
    IsLock,
    Caps,
    CapsAndNum,
}

/// What a key event lists beside its key.
struct Listed {
    modifiers: Vec<Modifier>,
    caps: bool,
    num: bool,
}

impl Listed {
    fn new(wire: &[i32]) -> Self {
        let mut listed = Self { modifiers: Vec::new(), caps: false, num: false };
        for key in wire.iter().filter_map(|n| ControlKey::try_from(*n).ok()) {
            listed.caps |= key == ControlKey::CapsLock;
            listed.num |= key == ControlKey::NumLock;
            if let Some(modifier) = named_modifier(key)
                && !listed.modifiers.contains(&modifier)
            {
                listed.modifiers.push(modifier);
            }
        }
        listed
    }

    /// Whether a key with these does something else than write.
    fn is_shortcut(&self) -> bool {
        self.modifiers.iter().any(|m| !matches!(m, Modifier::Shift | Modifier::AltGr))
    }
}

fn down(key: InputKey) -> HostInput {
    HostInput::Key { key, down: true }
}

fn up(key: InputKey) -> HostInput {
    HostInput::Key { key, down: false }
}

/// What CapsLock makes of a letter.
fn capital(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(single), None) => single,
        _ => c,
    }
}

impl Host {
    fn input(&mut self, input: HostInput) {
        self.event(Event::Input(input));
    }

    fn refuses_input(&mut self) -> bool {
        if !self.may_control() {
            self.refusals.input += 1;
        }
        !self.may_control()
    }

    pub(super) fn mouse(&mut self, event: &MouseEvent, now: Instant) {
        if self.refuses_input() {
            return;
        }
        let button = match event.mask >> 3 {
            1 => Some(Button::Left),
            2 => Some(Button::Right),
            4 => Some(Button::Middle),
            8 => Some(Button::Back),
            16 => Some(Button::Forward),
            _ => None,
        };
        match (event.mask & 7, button) {
            (0, _) => {
                self.pictures.own_move = Some(now);
                self.input(HostInput::MoveTo(Point::new(event.x, event.y)));
            }
            (1, Some(button)) => self.button_down(button, &event.modifiers, now),
            (2, Some(button)) => {
                self.held.buttons.retain(|(held, _)| *held != button);
                self.input(HostInput::Button { button, down: false });
            }
            // The wire turns up and left with positive numbers.
            (3 | 4, _) => {
                let notches = |n: i32| -n.clamp(-MOST_NOTCHES, MOST_NOTCHES);
                self.input(HostInput::Scroll { x: notches(event.x), y: notches(event.y) });
            }
            (5, _) => {
                self.pictures.own_move = Some(now);
                let by = |n: i32| n.clamp(-MOST_RELATIVE, MOST_RELATIVE);
                self.input(HostInput::MoveBy(Point::new(by(event.x), by(event.y))));
            }
            _ => self.refusals.unsupported += 1,
        }
    }

    fn button_down(&mut self, button: Button, modifiers: &[i32], now: Instant) {
        let held = self.held.modifiers();
        let missing: Vec<Modifier> = Listed::new(modifiers)
            .modifiers
            .into_iter()
            .filter(|wanted| !held.iter().any(|(_, have)| have == wanted))
            .collect();
        for modifier in &missing {
            self.input(down(modifier.key()));
        }
        self.held.buttons.retain(|(held, _)| *held != button);
        self.held.buttons.push((button, now));
        self.input(HostInput::Button { button, down: true });
        for modifier in missing.iter().rev() {
            self.input(up(modifier.key()));
        }
    }

    pub(super) fn key(&mut self, event: KeyEvent, now: Instant) {
        if self.refuses_input() {
            return;
        }
        use key_event::Union;
        let mut listed = Listed::new(&event.modifiers);
        let held = |wanted| self.held.modifiers().iter().any(|(_, have)| *have == wanted);
        // Stock clients list a held right Alt as Alt; then it is the one that makes characters.
        if held(Modifier::AltGr) && !held(Modifier::Alt) {
            for modifier in listed.modifiers.iter_mut().filter(|m| **m == Modifier::Alt) {
                *modifier = Modifier::AltGr;
            }
        }
        let mode = KeyboardMode::try_from(event.mode).unwrap_or(KeyboardMode::Legacy);
        let by_position = matches!(mode, KeyboardMode::Map | KeyboardMode::Translate);
        match event.union {
            Some(Union::ControlKey(key)) => match ControlKey::try_from(key) {
                Ok(ControlKey::CtrlAltDel) => self.event(Event::CtrlAltDel),
                Ok(ControlKey::LockScreen) => self.event(Event::LockScreen),
                Ok(ControlKey::Unknown) | Err(_) => self.refusals.unsupported += 1,
                Ok(key) => self.named(key, event.down, event.press, &listed, now),
            },
            Some(Union::Chr(position)) if by_position => {
                self.position(position, event.down, event.press, &listed, now);
            }
            Some(Union::Chr(code)) => match char::from_u32(code) {
                Some(c) if !c.is_control() => {
                    if event.down || event.press {
                        self.character(c, &listed);
                    }
                }
                _ => self.refusals.unsupported += 1,
            },
            Some(Union::Unicode(code)) => match char::from_u32(code) {
                Some(c) => self.text(c.to_string(), event.down, &listed),
                None => self.refusals.unsupported += 1,
            },
            // Some clients write shortcuts so, and stock hosts hold what is listed while text is typed.
            Some(Union::Seq(text)) if !by_position && listed.is_shortcut() && text.chars().count() == 1 => {
                text.chars().for_each(|c| self.character(c, &listed));
            }
            Some(Union::Seq(text)) if text.len() <= LONGEST_TEXT => self.text(text, event.down, &listed),
            Some(Union::Seq(_) | Union::Win2winHotkey(_)) | None => self.refusals.unsupported += 1,
        }
    }

    fn named(&mut self, key: ControlKey, is_down: bool, press: bool, listed: &Listed, now: Instant) {
        let input = InputKey::Named(key);
        let bare = Listed::new(&[]);
        // A modifier's own events list what was held around it; that is not to be played again.
        let listed = if modifier(input).is_some() { &bare } else { listed };
        if !is_down && !press {
            if self.held.release(input) {
                self.input(up(input));
            }
            return;
        }
        let added = if modifier(input).is_some() { Vec::new() } else { self.hold_listed(listed) };
        self.sync_locks(input, listed);
        if press {
            let held = self.held.release(input);
            if !held {
                self.input(down(input));
            }
            self.input(up(input));
        } else if self.held.press(input, now) {
            self.input(down(input));
        }
        for modifier in added.iter().rev() {
            self.input(up(modifier.key()));
        }
    }

    fn position(&mut self, position: u32, is_down: bool, press: bool, listed: &Listed, now: Instant) {
        let input = InputKey::Position(position);
        if is_down || press {
            self.sync_locks(input, listed);
            if self.held.press(input, now) {
                self.input(down(input));
            }
        }
        if (press || !is_down) && self.held.release(input) {
            self.input(up(input));
        }
    }

    /// Presses and releases the key of a character. As a shortcut it is the plain key with the listed
    /// modifiers; as writing it is the character itself, and Shift is not the client's to add.
    fn character(&mut self, c: char, listed: &Listed) {
        let shortcut = listed.is_shortcut();
        let input = InputKey::Character(if shortcut || !listed.caps { c } else { capital(c) });
        self.release_unlisted(listed);
        let mut listed_now = Listed { modifiers: listed.modifiers.clone(), ..*listed };
        let mut set_aside = Vec::new();
        if !shortcut {
            listed_now.modifiers.clear();
            set_aside = self.held.modifiers().into_iter().map(|(key, _)| key).collect();
        }
        let added = self.hold_listed_only(&listed_now);
        for key in set_aside.iter().rev() {
            self.input(up(*key));
        }
        self.input(down(input));
        self.input(up(input));
        for key in &set_aside {
            self.input(down(*key));
        }
        for modifier in added.iter().rev() {
            self.input(up(modifier.key()));
        }
    }

    /// Text comes out as it is, whatever the client holds: held modifiers rest meanwhile, and those it
    /// does not list are let go if the message says "down" (session §4.4).
    fn text(&mut self, text: String, is_down: bool, listed: &Listed) {
        if text.is_empty() {
            return;
        }
        // Stock clients say Return as a carriage return.
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        if is_down {
            self.release_unlisted(listed);
        }
        let resting: Vec<InputKey> = self.held.modifiers().into_iter().map(|(key, _)| key).collect();
        for key in resting.iter().rev() {
            self.input(up(*key));
        }
        self.input(HostInput::Text(text));
        for key in &resting {
            self.input(down(*key));
        }
    }

    /// Releases what is held and not listed, presses what is listed and not held; gives the latter.
    fn hold_listed(&mut self, listed: &Listed) -> Vec<Modifier> {
        self.release_unlisted(listed);
        self.hold_listed_only(listed)
    }

    fn release_unlisted(&mut self, listed: &Listed) {
        for (key, modifier) in self.held.modifiers().into_iter().rev() {
            if !listed.modifiers.contains(&modifier) {
                self.held.release(key);
                self.input(up(key));
            }
        }
    }

    fn hold_listed_only(&mut self, listed: &Listed) -> Vec<Modifier> {
        let held = self.held.modifiers();
        let missing = listed.modifiers.iter().filter(|wanted| !held.iter().any(|(_, have)| have == *wanted));
        let missing: Vec<Modifier> = missing.copied().collect();
        for modifier in &missing {
            self.input(down(modifier.key()));
        }
        missing
    }

    fn sync_locks(&mut self, key: InputKey, listed: &Listed) {
        let (caps, num) = match locks_of(key) {
            LockUse::None => return,
            LockUse::IsLock => {
                (self.held.caps, self.held.num) = (None, None);
                return;
            }
            LockUse::Caps => (Some(listed.caps), None),
            LockUse::CapsAndNum => (Some(listed.caps), Some(listed.num)),
        };
        let caps = caps.filter(|_| self.held.caps != caps);
        let num = num.filter(|_| self.held.num != num);
        self.held.caps = caps.or(self.held.caps);
        self.held.num = num.or(self.held.num);
        if caps.is_some() || num.is_some() {
            self.input(HostInput::Locks { caps, num });
        }
    }
}
