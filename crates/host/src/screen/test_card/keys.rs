//! What keys mean to the test card: a US keyboard.

use crate::screen::HostKey;

/// Keycodes of the rows of letters and what they give, without and with Shift.
const ROWS: [(u8, &str, &str); 5] = [
    (10, "1234567890-=", "!@#$%^&*()_+"),
    (24, "qwertyuiop[]", "QWERTYUIOP{}"),
    (38, "asdfghjkl;'`", "ASDFGHJKL:\"~"),
    (51, "\\zxcvbnm,./", "|ZXCVBNM<>?"),
    (65, " ", " "),
];

/// Keycodes, keysyms and names of other keys.
const NAMED: [(u8, u32, &str); 34] = [
    (9, 0xff1b, "Escape"),
    (22, 0xff08, "BackSpace"),
    (23, 0xff09, "Tab"),
    (36, 0xff0d, "Return"),
    (37, 0xffe3, "Control_L"),
    (50, 0xffe1, "Shift_L"),
    (62, 0xffe2, "Shift_R"),
    (64, 0xffe9, "Alt_L"),
    (66, 0xffe5, "Caps_Lock"),
    (67, 0xffbe, "F1"),
    (68, 0xffbf, "F2"),
    (69, 0xffc0, "F3"),
    (70, 0xffc1, "F4"),
    (71, 0xffc2, "F5"),
    (72, 0xffc3, "F6"),
    (73, 0xffc4, "F7"),
    (74, 0xffc5, "F8"),
    (75, 0xffc6, "F9"),
    (76, 0xffc7, "F10"),
    (95, 0xffc8, "F11"),
    (96, 0xffc9, "F12"),
    (104, 0xff8d, "KP_Enter"),
    (105, 0xffe4, "Control_R"),
    (108, 0xffea, "Alt_R"),
    (110, 0xff50, "Home"),
    (111, 0xff52, "Up"),
    (112, 0xff55, "Page_Up"),
    (113, 0xff51, "Left"),
    (114, 0xff53, "Right"),
    (115, 0xff57, "End"),
    (116, 0xff54, "Down"),
    (117, 0xff56, "Page_Down"),
    (119, 0xffff, "Delete"),
    (133, 0xffeb, "Super_L"),
];

/// A key as the card understands it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    Character(char),
    Named(&'static str),
    Unknown(String),
}

impl Meaning {
    /// `shift` and `caps` matter for positions; keysyms say themselves what they are.
    pub(super) fn of(key: HostKey, shift: bool, caps: bool) -> Self {
        match key {
            HostKey::Position(code) => {
                if let Some((_, _, name)) = NAMED.iter().find(|(known, _, _)| *known == code) {
                    return Self::Named(name);
                }
                character(code, shift, caps).map_or_else(|| Self::Unknown(format!("{code}")), Self::Character)
            }
            HostKey::Keysym(keysym) => {
                if let Some((_, _, name)) = NAMED.iter().find(|(_, known, _)| *known == keysym) {
                    return Self::Named(name);
                }
                let code = match keysym {
                    0x20..=0x7e | 0xa0..=0xff => Some(keysym),
                    _ => keysym.checked_sub(0x0100_0000),
                };
                let character = code.and_then(char::from_u32).filter(|character| !character.is_control());
                character.map_or_else(|| Self::Unknown(format!("0x{keysym:x}")), Self::Character)
            }
        }
    }

    pub(super) fn is_shift(&self) -> bool {
        matches!(self, Self::Named("Shift_L" | "Shift_R"))
    }

    /// What it adds to a text.
    pub(super) fn typed(&self) -> Option<char> {
        match self {
            Self::Character(character) => Some(*character),
            Self::Named("Return" | "KP_Enter") => Some('\n'),
            Self::Named("BackSpace") => Some('\u{8}'),
            _ => None,
        }
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Character(' ') => "space".to_owned(),
            Self::Character(character) => character.to_string(),
            Self::Named(name) => (*name).to_owned(),
            Self::Unknown(number) => number.clone(),
        }
    }
}

fn character(code: u8, shift: bool, caps: bool) -> Option<char> {
    ROWS.iter().find_map(|(first, plain, shifted)| {
        let place = usize::from(code.checked_sub(*first)?);
        let letter = plain.chars().nth(place)?.is_ascii_lowercase();
        let row = if shift != (caps && letter) { shifted } else { plain };
        row.chars().nth(place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_and_keysyms_mean_the_same() {
        let of = |key| Meaning::of(key, false, false);
        assert_eq!(of(HostKey::Position(38)), Meaning::Character('a'));
        assert_eq!(Meaning::of(HostKey::Position(38), true, false), Meaning::Character('A'));
        assert_eq!(Meaning::of(HostKey::Position(38), true, true), Meaning::Character('a'));
        assert_eq!(Meaning::of(HostKey::Position(10), false, true), Meaning::Character('1'));
        assert_eq!(Meaning::of(HostKey::Position(61), true, false), Meaning::Character('?'));
        assert_eq!(of(HostKey::Position(36)), of(HostKey::Keysym(0xff0d)));
        assert_eq!(of(HostKey::Keysym(0xe9)), Meaning::Character('é'));
        assert_eq!(of(HostKey::Keysym(0x0100_6f22)), Meaning::Character('漢'));
        assert_eq!(of(HostKey::Position(250)), Meaning::Unknown("250".to_owned()));
        assert_eq!(of(HostKey::Keysym(0xfe03)), Meaning::Unknown("0xfe03".to_owned()));
    }
}
