//! Keys in RustDesk's Legacy mode: named keys and characters, with the modifiers listed (session §4.4).

use super::screen::Platform;
use hbb_common::session::{ControlKey, KeyEvent, KeyboardMode, key_event};
use remote::{Key, Modifier, NamedKey, RemoteError};

/// The longest text of one message, in characters (session §4.6).
const MAX_PIECE: usize = 200;

/// More keys than hands can hold down.
const MAX_DOWN: usize = 64;

/// Keys that are held down, so that what follows lists them and an up fits its down.
#[derive(Debug, Clone, Default)]
pub(super) struct Keyboard {
    modifiers: Vec<ControlKey>,
    down: Vec<(Key, key_event::Union)>,
}

impl Keyboard {
    /// The modifiers held down, and these.
    pub(super) fn with(&self, held: &[Modifier]) -> Vec<ControlKey> {
        let mut all = self.modifiers.clone();
        for key in held.iter().copied().map(modifier) {
            if !all.contains(&key) {
                all.push(key);
            }
        }
        all
    }

    pub(super) fn press(
        &self,
        key: &Key,
        held: &[Modifier],
        platform: Platform,
        sas: bool,
        out: &mut Vec<KeyEvent>,
    ) -> Result<(), RemoteError> {
        if let Key::Named(NamedKey::CtrlAltDel) = key {
            out.push(secure_attention(platform, sas)?);
            return Ok(());
        }
        let (union, modifiers) = resolve(key, self.with(held))?;
        let once = union == named(ControlKey::LockScreen);
        out.push(event(union, modifiers, once, !once));
        Ok(())
    }

    pub(super) fn down(
        &mut self,
        key: &Key,
        platform: Platform,
        sas: bool,
        out: &mut Vec<KeyEvent>,
    ) -> Result<(), RemoteError> {
        if matches!(key, Key::Named(NamedKey::CtrlAltDel | NamedKey::LockScreen)) {
            return self.press(key, &[], platform, sas, out);
        }
        if self.down.len() >= MAX_DOWN {
            return Err(RemoteError::Invalid(format!("more than {MAX_DOWN} keys held down")));
        }
        let modifiers = self.modifiers.clone();
        let (union, modifiers) = resolve(key, modifiers)?;
        if let Some(modifier) = as_modifier(key)
            && !self.modifiers.contains(&modifier)
        {
            self.modifiers.push(modifier);
        }
        if !self.down.iter().any(|(k, _)| k == key) {
            self.down.push((key.clone(), union.clone()));
        }
        out.push(event(union, modifiers, true, false));
        Ok(())
    }

    pub(super) fn up(&mut self, key: &Key, out: &mut Vec<KeyEvent>) -> Result<(), RemoteError> {
        if matches!(key, Key::Named(NamedKey::CtrlAltDel | NamedKey::LockScreen)) {
            return Ok(());
        }
        if let Some(modifier) = as_modifier(key) {
            self.modifiers.retain(|m| *m != modifier);
        }
        let union = match self.down.iter().position(|(k, _)| k == key) {
            Some(at) => self.down.swap_remove(at).1,
            None => resolve(key, Vec::new())?.0,
        };
        out.push(event(union, self.modifiers.clone(), false, false));
        Ok(())
    }
}

/// Text in pieces; line breaks, tabs and the like as keys.
pub(super) fn text(text: &str, out: &mut Vec<KeyEvent>) -> Result<(), RemoteError> {
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first.is_control() {
            let key = control_character(first).ok_or_else(|| {
                RemoteError::Invalid(format!(
                    "the control character U+{:04X} can not be typed",
                    u32::from(first)
                ))
            })?;
            out.push(event(named(key), Vec::new(), false, true));
            rest = rest.strip_prefix("\r\n").unwrap_or(&rest[first.len_utf8()..]);
            continue;
        }
        let plain = rest.find(char::is_control).unwrap_or(rest.len());
        for piece in pieces(&rest[..plain]) {
            out.push(event(key_event::Union::Seq(piece.into()), Vec::new(), false, false));
        }
        rest = &rest[plain..];
    }
    Ok(())
}

/// Cuts text without tearing what is drawn as one character.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.char_indices().nth(MAX_PIECE).map_or(rest.len(), |(end, _)| {
            let is_border = |at: &usize| {
                !rest[*at..].starts_with(joins_the_one_before) && !rest[..*at].ends_with('\u{200D}')
            };
            let borders = rest[..end].char_indices().skip(MAX_PIECE / 2).map(|(at, _)| at).chain([end]);
            borders.filter(is_border).last().unwrap_or(end)
        });
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

/// Combining marks, variation selectors, skin tones, the joiner, the second halves of flags.
fn joins_the_one_before(c: char) -> bool {
    matches!(u32::from(c),
        0x0300..=0x036F | 0x0483..=0x0489 | 0x0591..=0x05BD | 0x064B..=0x065F | 0x093C..=0x094D
        | 0x1AB0..=0x1AFF | 0x1DC0..=0x1DFF | 0x200D | 0x20D0..=0x20FF | 0xFE00..=0xFE0F | 0xFE20..=0xFE2F
        | 0x1F1E6..=0x1F1FF | 0x1F3FB..=0x1F3FF | 0xE0100..=0xE01EF)
}

pub(super) fn event(
    union: key_event::Union,
    modifiers: Vec<ControlKey>,
    down: bool,
    press: bool,
) -> KeyEvent {
    KeyEvent {
        down,
        press,
        modifiers: modifiers.into_iter().map(|m| m as i32).collect(),
        mode: KeyboardMode::Legacy as i32,
        union: Some(union),
    }
}

pub(super) fn named(key: ControlKey) -> key_event::Union {
    key_event::Union::ControlKey(key as i32)
}

pub(super) fn modifier(modifier: Modifier) -> ControlKey {
    match modifier {
        Modifier::Shift => ControlKey::Shift,
        Modifier::Control => ControlKey::Control,
        Modifier::Alt => ControlKey::Alt,
        Modifier::Meta => ControlKey::Meta,
    }
}

/// Windows has a message for it, others get the keys (session §4.7).
fn secure_attention(platform: Platform, sas: bool) -> Result<KeyEvent, RemoteError> {
    if platform != Platform::Windows {
        return Ok(event(named(ControlKey::Delete), vec![ControlKey::Alt, ControlKey::Control], false, true));
    }
    if !sas {
        let why = "Ctrl+Alt+Del needs RustDesk to be installed as a service";
        return Err(RemoteError::UnsupportedByPeer(why.into()));
    }
    Ok(event(named(ControlKey::CtrlAltDel), Vec::new(), true, false))
}

/// The member of the union and the modifiers to list with it.
fn resolve(
    key: &Key,
    mut modifiers: Vec<ControlKey>,
) -> Result<(key_event::Union, Vec<ControlKey>), RemoteError> {
    let c = match key {
        Key::Named(NamedKey::Numpad(digit)) => {
            // Without NumLock listed the pad's keys are arrows.
            modifiers.push(ControlKey::NumLock);
            return Ok((named(numpad(*digit)?), modifiers));
        }
        Key::Named(key) => return Ok((named(control_key(*key)?), modifiers)),
        Key::Character(' ') => return Ok((named(ControlKey::Space), modifiers)),
        Key::Character(c) => *c,
    };
    if let Some(key) = control_character(c) {
        return Ok((named(key), modifiers));
    }
    if c.is_control() {
        return Err(RemoteError::Invalid(format!("there is no key for U+{:04X}", u32::from(c))));
    }
    let is_shift = |m: &ControlKey| matches!(m, ControlKey::Shift | ControlKey::RShift);
    if modifiers.iter().all(is_shift) {
        // A character on its own is typed as it is, so Shift has to be in it already.
        let c = if modifiers.is_empty() { c } else { shifted(c) };
        return Ok((key_event::Union::Chr(c.into()), Vec::new()));
    }
    let c = c.to_lowercase().next().unwrap_or(c);
    Ok((key_event::Union::Chr(c.into()), modifiers))
}

/// What Shift makes of a character, on a US keyboard where it is no letter.
fn shifted(c: char) -> char {
    const BASE: &str = "`1234567890-=[]\\;',./";
    const SHIFTED: &str = "~!@#$%^&*()_+{}|:\"<>?";
    match BASE.find(c) {
        Some(at) => char::from(SHIFTED.as_bytes()[at]),
        None => c.to_uppercase().next().unwrap_or(c),
    }
}

fn control_character(c: char) -> Option<ControlKey> {
    Some(match c {
        '\n' | '\r' => ControlKey::Return,
        '\t' => ControlKey::Tab,
        '\u{8}' => ControlKey::Backspace,
        '\u{1b}' => ControlKey::Escape,
        '\u{7f}' => ControlKey::Delete,
        _ => return None,
    })
}

fn as_modifier(key: &Key) -> Option<ControlKey> {
    let Key::Named(key) = key else { return None };
    Some(match key {
        NamedKey::Shift => ControlKey::Shift,
        NamedKey::ShiftRight => ControlKey::RShift,
        NamedKey::Control => ControlKey::Control,
        NamedKey::ControlRight => ControlKey::RControl,
        NamedKey::Alt => ControlKey::Alt,
        NamedKey::AltRight => ControlKey::RAlt,
        NamedKey::Meta => ControlKey::Meta,
        NamedKey::MetaRight => ControlKey::RWin,
        _ => return None,
    })
}

fn numpad(digit: u8) -> Result<ControlKey, RemoteError> {
    if digit > 9 {
        return Err(RemoteError::Invalid(format!("the numeric pad has no key {digit}")));
    }
    ControlKey::try_from(ControlKey::Numpad0 as i32 + i32::from(digit))
        .map_err(|_| RemoteError::Invalid(format!("the numeric pad has no key {digit}")))
}

fn function(number: u8) -> Result<ControlKey, RemoteError> {
    Ok(match number {
        1 => ControlKey::F1,
        2 => ControlKey::F2,
        3 => ControlKey::F3,
        4 => ControlKey::F4,
        5 => ControlKey::F5,
        6 => ControlKey::F6,
        7 => ControlKey::F7,
        8 => ControlKey::F8,
        9 => ControlKey::F9,
        10 => ControlKey::F10,
        11 => ControlKey::F11,
        12 => ControlKey::F12,
        _ => return Err(RemoteError::UnsupportedByPeer(format!("RustDesk has no key F{number}"))),
    })
}

fn control_key(key: NamedKey) -> Result<ControlKey, RemoteError> {
    Ok(match key {
        NamedKey::Enter => ControlKey::Return,
        NamedKey::Escape => ControlKey::Escape,
        NamedKey::Tab => ControlKey::Tab,
        NamedKey::Backspace => ControlKey::Backspace,
        NamedKey::Delete => ControlKey::Delete,
        NamedKey::Insert => ControlKey::Insert,
        NamedKey::Space => ControlKey::Space,
        NamedKey::Left => ControlKey::LeftArrow,
        NamedKey::Right => ControlKey::RightArrow,
        NamedKey::Up => ControlKey::UpArrow,
        NamedKey::Down => ControlKey::DownArrow,
        NamedKey::Home => ControlKey::Home,
        NamedKey::End => ControlKey::End,
        NamedKey::PageUp => ControlKey::PageUp,
        NamedKey::PageDown => ControlKey::PageDown,
        NamedKey::F(number) => function(number)?,
        NamedKey::CapsLock => ControlKey::CapsLock,
        NamedKey::NumLock => ControlKey::NumLock,
        NamedKey::ScrollLock => ControlKey::Scroll,
        NamedKey::PrintScreen => ControlKey::Snapshot,
        NamedKey::Pause => ControlKey::Pause,
        NamedKey::Menu => ControlKey::Apps,
        NamedKey::Shift => ControlKey::Shift,
        NamedKey::ShiftRight => ControlKey::RShift,
        NamedKey::Control => ControlKey::Control,
        NamedKey::ControlRight => ControlKey::RControl,
        NamedKey::Alt => ControlKey::Alt,
        NamedKey::AltRight => ControlKey::RAlt,
        NamedKey::Meta => ControlKey::Meta,
        NamedKey::MetaRight => ControlKey::RWin,
        NamedKey::Numpad(digit) => numpad(digit)?,
        NamedKey::NumpadEnter => ControlKey::NumpadEnter,
        NamedKey::NumpadAdd => ControlKey::Add,
        NamedKey::NumpadSubtract => ControlKey::Subtract,
        NamedKey::NumpadMultiply => ControlKey::Multiply,
        NamedKey::NumpadDivide => ControlKey::Divide,
        NamedKey::NumpadDecimal => ControlKey::Decimal,
        NamedKey::VolumeUp => ControlKey::VolumeUp,
        NamedKey::VolumeDown => ControlKey::VolumeDown,
        NamedKey::VolumeMute => ControlKey::VolumeMute,
        NamedKey::CtrlAltDel => ControlKey::CtrlAltDel,
        NamedKey::LockScreen => ControlKey::LockScreen,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use key_event::Union;

    fn press(
        key: Key,
        held: &[Modifier],
        platform: Platform,
        sas: bool,
    ) -> Result<Vec<KeyEvent>, RemoteError> {
        let mut out = Vec::new();
        Keyboard::default().press(&key, held, platform, sas, &mut out)?;
        Ok(out)
    }

    /// (union, modifiers, down, press)
    fn brief(events: &[KeyEvent]) -> Vec<(Union, Vec<i32>, bool, bool)> {
        assert!(events.iter().all(|e| e.mode == KeyboardMode::Legacy as i32));
        events.iter().map(|e| (e.union.clone().unwrap(), e.modifiers.clone(), e.down, e.press)).collect()
    }

    /// The recipes of session §4.4.
    #[test]
    fn recipes() {
        let named_key = |key| Key::Named(key);
        let (shift, control, alt, meta) = (29, 4, 1, 23);
        let table = [
            (named_key(NamedKey::Enter), vec![], Union::ControlKey(27), vec![]),
            (named_key(NamedKey::F(5)), vec![], Union::ControlKey(16), vec![]),
            (named_key(NamedKey::F(12)), vec![], Union::ControlKey(12), vec![]),
            (Key::Character('c'), vec![Modifier::Control], Union::Chr(99), vec![control]),
            (Key::Character('C'), vec![Modifier::Control], Union::Chr(99), vec![control]),
            (
                Key::Character('t'),
                vec![Modifier::Control, Modifier::Shift],
                Union::Chr(116),
                vec![control, shift],
            ),
            (Key::Character('r'), vec![Modifier::Meta], Union::Chr(114), vec![meta]),
            (named_key(NamedKey::F(4)), vec![Modifier::Alt], Union::ControlKey(15), vec![alt]),
            (Key::Character(' '), vec![Modifier::Meta], Union::ControlKey(30), vec![meta]),
            (Key::Character('a'), vec![Modifier::Shift], Union::Chr(65), vec![]),
            (Key::Character('1'), vec![Modifier::Shift], Union::Chr(33), vec![]),
            (Key::Character('A'), vec![], Union::Chr(65), vec![]),
            (Key::Character('\n'), vec![], Union::ControlKey(27), vec![]),
            (named_key(NamedKey::Numpad(7)), vec![], Union::ControlKey(40), vec![63]),
            (named_key(NamedKey::MetaRight), vec![], Union::ControlKey(64), vec![]),
        ];
        for (key, held, union, modifiers) in table {
            let got = press(key.clone(), &held, Platform::Linux, false).unwrap();
            assert_eq!(brief(&got), [(union, modifiers, false, true)], "{key:?} {held:?}");
        }
    }

    #[test]
    fn special_actions_per_platform() {
        let cad = || Key::Named(NamedKey::CtrlAltDel);
        let got = press(cad(), &[], Platform::Windows, true).unwrap();
        assert_eq!(brief(&got), [(Union::ControlKey(100), vec![], true, false)]);
        assert!(matches!(
            press(cad(), &[], Platform::Windows, false),
            Err(RemoteError::UnsupportedByPeer(_))
        ));
        let got = press(cad(), &[], Platform::Linux, false).unwrap();
        assert_eq!(brief(&got), [(Union::ControlKey(5), vec![1, 4], false, true)]);
        let got = press(Key::Named(NamedKey::LockScreen), &[], Platform::Linux, false).unwrap();
        assert_eq!(brief(&got), [(Union::ControlKey(101), vec![], true, false)], "one message, never an up");
    }

    #[test]
    fn held_modifiers_are_listed_until_released() {
        let mut keyboard = Keyboard::default();
        let mut out = Vec::new();
        let (shift, x) = (Key::Named(NamedKey::Shift), Key::Character('x'));
        let control = Key::Named(NamedKey::Control);
        keyboard.down(&control, Platform::Linux, false, &mut out).unwrap();
        keyboard.down(&shift, Platform::Linux, false, &mut out).unwrap();
        keyboard.down(&x, Platform::Linux, false, &mut out).unwrap();
        keyboard.up(&control, &mut out).unwrap();
        keyboard.up(&shift, &mut out).unwrap();
        keyboard.up(&x, &mut out).unwrap();
        keyboard.press(&x, &[], Platform::Linux, false, &mut out).unwrap();
        let want = [
            (Union::ControlKey(4), vec![], true, false),
            (Union::ControlKey(29), vec![4], true, false),
            (Union::Chr(120), vec![4, 29], true, false),
            (Union::ControlKey(4), vec![29], false, false),
            (Union::ControlKey(29), vec![], false, false),
            (Union::Chr(120), vec![], false, false),
            (Union::Chr(120), vec![], false, true),
        ];
        assert_eq!(brief(&out), want);
    }

    #[test]
    fn text_goes_in_pieces_with_breaks_as_keys() {
        let mut out = Vec::new();
        text("one\r\ntwo\tthree\n", &mut out).unwrap();
        let seq = |s: &str| (Union::Seq(s.into()), vec![], false, false);
        let key = |n| (Union::ControlKey(n), vec![], false, true);
        assert_eq!(brief(&out), [seq("one"), key(27), seq("two"), key(31), seq("three"), key(27)]);
        assert!(matches!(text("a\u{7}b", &mut out), Err(RemoteError::Invalid(_))));
    }

    #[test]
    fn what_is_drawn_as_one_stays_together() {
        let family = "👩\u{200D}👩\u{200D}👧";
        let long = format!("{}{}", "a".repeat(198), family.repeat(3));
        let cut: Vec<&str> = pieces(&long).collect();
        assert_eq!(cut[0], "a".repeat(198));
        assert_eq!(cut.concat(), long);
        let marks = format!("{}e{}", "b".repeat(199), "\u{301}");
        assert_eq!(pieces(&marks).next().unwrap().chars().count(), 199);
    }

    #[test]
    fn keys_that_do_not_exist_are_refused() {
        assert!(press(Key::Named(NamedKey::F(13)), &[], Platform::Linux, false).is_err());
        assert!(press(Key::Named(NamedKey::Numpad(10)), &[], Platform::Linux, false).is_err());
        assert!(press(Key::Character('\u{0}'), &[], Platform::Linux, false).is_err());
    }

    proptest::proptest! {
        #[test]
        fn pieces_make_the_text(text: String) {
            let cut: Vec<&str> = pieces(&text).collect();
            proptest::prop_assert!(cut.iter().all(|p| !p.is_empty() && p.chars().count() <= MAX_PIECE));
            proptest::prop_assert_eq!(cut.concat(), text);
        }
    }
}
