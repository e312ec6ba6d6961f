//! From the wire's keys to what an X server understands.

use crate::screen::HostKey;
use hbb_common::session::ControlKey;
use session_proto::host::InputKey;

/// The smallest X keycode.
const FIRST_KEYCODE: u32 = 8;

/// Keysyms of characters outside Latin-1 are their code points with this bit.
const UNICODE: u32 = 0x0100_0000;

/// The key for the injector; `None` if there is none on an X keyboard.
pub fn host_key(key: InputKey) -> Option<HostKey> {
    match key {
        InputKey::Position(code) if code >= FIRST_KEYCODE => u8::try_from(code).ok().map(HostKey::Position),
        InputKey::Position(_) => None,
        InputKey::Character(c) => keysym_of(c).map(HostKey::Keysym),
        InputKey::Named(key) => named(key),
    }
}

/// The keysym that stands for a character (X protocol, appendix A): Latin-1 is itself.
pub fn keysym_of(c: char) -> Option<u32> {
    match u32::from(c) {
        n @ (0x20..=0x7e | 0xa0..=0xff) => Some(n),
        0x0a | 0x0d => Some(0xff0d),
        0x09 => Some(0xff09),
        0x08 => Some(0xff08),
        0x1b => Some(0xff1b),
        0x00..=0x1f | 0x7f..=0x9f => None,
        n => Some(UNICODE | n),
    }
}

/// Keys of the numeric pad and modifiers are positions: their meaning depends on NumLock and the layout,
/// their place does not.
fn named(key: ControlKey) -> Option<HostKey> {
    position(key).map(HostKey::Position).or_else(|| keysym(key).map(HostKey::Keysym))
}

fn position(key: ControlKey) -> Option<u8> {
    use ControlKey as Key;
    Some(match key {
        Key::Shift => 50,
        Key::RShift => 62,
        Key::Control => 37,
        Key::RControl => 105,
        // Menu and Option are old names of Alt (session §4.4).
        Key::Alt | Key::Option | Key::Menu => 64,
        Key::RAlt => 108,
        Key::Meta => 133,
        Key::RWin => 134,
        Key::Numpad7 => 79,
        Key::Numpad8 => 80,
        Key::Numpad9 => 81,
        Key::Subtract => 82,
        Key::Numpad4 => 83,
        Key::Numpad5 => 84,
        Key::Numpad6 => 85,
        Key::Add => 86,
        Key::Numpad1 => 87,
        Key::Numpad2 => 88,
        Key::Numpad3 => 89,
        Key::Numpad0 => 90,
        Key::Decimal => 91,
        Key::NumpadEnter => 104,
        Key::Divide => 106,
        Key::Multiply => 63,
        _ => return None,
    })
}

fn keysym(key: ControlKey) -> Option<u32> {
    use ControlKey as Key;
    Some(match key {
        Key::Backspace => 0xff08,
        Key::Tab => 0xff09,
        Key::Clear => 0xff0b,
        Key::Return => 0xff0d,
        Key::Pause => 0xff13,
        Key::Scroll => 0xff14,
        Key::Escape => 0xff1b,
        Key::Kanji => 0xff21,
        Key::Convert => 0xff23,
        Key::Kana => 0xff2d,
        Key::Hangul => 0xff31,
        Key::Hanja => 0xff34,
        Key::Junja => 0xff38,
        Key::Home => 0xff50,
        Key::LeftArrow => 0xff51,
        Key::UpArrow => 0xff52,
        Key::RightArrow => 0xff53,
        Key::DownArrow => 0xff54,
        Key::PageUp => 0xff55,
        Key::PageDown => 0xff56,
        Key::End => 0xff57,
        Key::Select => 0xff60,
        Key::Print | Key::Snapshot => 0xff61,
        Key::Execute => 0xff62,
        Key::Insert => 0xff63,
        Key::Apps => 0xff67,
        Key::Cancel => 0xff69,
        Key::Help => 0xff6a,
        Key::NumLock => 0xff7f,
        Key::Separator => 0xffac,
        Key::Equals => 0xffbd,
        Key::F1 => 0xffbe,
        Key::F2 => 0xffbf,
        Key::F3 => 0xffc0,
        Key::F4 => 0xffc1,
        Key::F5 => 0xffc2,
        Key::F6 => 0xffc3,
        Key::F7 => 0xffc4,
        Key::F8 => 0xffc5,
        Key::F9 => 0xffc6,
        Key::F10 => 0xffc7,
        Key::F11 => 0xffc8,
        Key::F12 => 0xffc9,
        Key::CapsLock => 0xffe5,
        Key::Delete => 0xffff,
        Key::Space => 0x20,
        Key::VolumeDown => 0x1008_ff11,
        Key::VolumeMute => 0x1008_ff12,
        Key::VolumeUp => 0x1008_ff13,
        Key::Power => 0x1008_ff2a,
        Key::Sleep => 0x1008_ff2f,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters() {
        let table = [
            ('a', 0x61),
            ('C', 0x43),
            ('ü', 0xfc),
            ('€', 0x0100_20ac),
            ('漢', 0x0100_6f22),
            ('😀', 0x0101_f600),
        ];
        for (c, keysym) in table {
            assert_eq!(host_key(InputKey::Character(c)), Some(HostKey::Keysym(keysym)), "{c}");
        }
        assert_eq!(host_key(InputKey::Character('\u{7f}')), None);
    }

    #[test]
    fn positions_are_keycodes_of_one_byte() {
        assert_eq!(host_key(InputKey::Position(38)), Some(HostKey::Position(38)));
        assert_eq!([7, 256, 0xE01D, u32::MAX].map(|n| host_key(InputKey::Position(n))), [None; 4]);
    }

    #[test]
    fn every_named_key_of_a_keyboard_is_known() {
        // Final has no keysym; the two actions and Unknown are no keys.
        let unknown =
            [ControlKey::Unknown, ControlKey::Final, ControlKey::CtrlAltDel, ControlKey::LockScreen];
        for number in 0..=101 {
            let Ok(key) = ControlKey::try_from(number) else { continue };
            assert_eq!(host_key(InputKey::Named(key)).is_none(), unknown.contains(&key), "{key:?}");
        }
    }
}
