//! Names of keys and chords such as `ctrl+shift+t`.
//!
//! Names are those of X keysyms (`Page_Up`, `Prior`, `KP_1`), of the web (`ArrowLeft`, `PageUp`) and of
//! everyday speech (`Esc`, `Del`), without regard to case, `_`, `-` and blanks.

use crate::SessionsError;
use remote::{Input, Key, Modifier, NamedKey};

/// A key and what is held with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chord {
    pub held: Vec<Modifier>,
    /// AltGr chooses another character of a key, so it is not one of the plain modifiers.
    pub alt_gr: bool,
    pub key: Key,
}

/// Its modifiers and its key, joined by `+`.
impl std::fmt::Display for Chord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for held in &self.held {
            write!(f, "{held:?}+")?;
        }
        if self.alt_gr {
            f.write_str("AltGr+")?;
        }
        match &self.key {
            Key::Character(c) => write!(f, "{c}"),
            Key::Named(named) => write!(f, "{named:?}"),
        }
    }
}

impl Chord {
    /// Reads one key, or modifiers and a key joined by `+`. A single character is itself; with Control,
    /// Alt or Meta held its case does not matter, because shortcuts are named by the key.
    pub fn parse(text: &str) -> Result<Self, SessionsError> {
        let (modifiers, key) = split(text)?;
        let mut chord = Self { held: Vec::new(), alt_gr: false, key: Key::Named(NamedKey::Escape) };
        for name in modifiers {
            chord.hold(name)?;
        }
        match meaning(key) {
            Some(Meaning::Key(named)) => chord.key = Key::Named(named),
            Some(Meaning::Shifted(named)) => {
                chord.add(Modifier::Shift);
                chord.key = Key::Named(named);
            }
            Some(Meaning::Char(c)) => chord.key = Key::Character(c),
            None => return Err(SessionsError::UnknownKey { name: clip(key), near: near(key, key_names()) }),
        }
        chord.normalise();
        Ok(chord)
    }

    /// Adds a modifier by name.
    pub fn hold(&mut self, name: &str) -> Result<(), SessionsError> {
        match modifier(name)? {
            Held::Plain(modifier) => self.add(modifier),
            Held::AltGr => self.alt_gr = true,
        }
        self.normalise();
        Ok(())
    }

    /// Whether it types a character, rather than doing something.
    pub fn is_text(&self) -> bool {
        let digit = matches!(self.key, Key::Named(NamedKey::Numpad(_)));
        (digit || matches!(self.key, Key::Character(_)))
            && self.held.iter().all(|held| *held == Modifier::Shift)
    }

    /// The inputs that press it `repeat` times.
    pub fn inputs(&self, repeat: u32) -> Vec<Input> {
        let mut inputs = Vec::new();
        if self.alt_gr {
            inputs.push(Input::KeyDown { key: Key::Named(NamedKey::AltRight) });
        }
        for _ in 0..repeat {
            inputs.push(Input::Press { key: self.key.clone(), held: self.held.clone() });
        }
        if self.alt_gr {
            inputs.push(Input::KeyUp { key: Key::Named(NamedKey::AltRight) });
        }
        inputs
    }

    fn add(&mut self, modifier: Modifier) {
        if !self.held.contains(&modifier) {
            self.held.push(modifier);
        }
    }

    fn normalise(&mut self) {
        if let Key::Character(c) = self.key
            && self.held.iter().any(|modifier| *modifier != Modifier::Shift)
        {
            self.key = Key::Character(c.to_ascii_lowercase());
        }
        // A secure peer takes this sequence only as one.
        let three_fingers = self.held.len() == 2
            && self.held.contains(&Modifier::Control)
            && self.held.contains(&Modifier::Alt)
            && self.key == Key::Named(NamedKey::Delete);
        if three_fingers {
            self.held.clear();
            self.key = Key::Named(NamedKey::CtrlAltDel);
        }
    }
}

/// The modifiers of these names, for clicks and scrolling.
pub fn modifiers(names: &[String]) -> Result<Vec<Modifier>, SessionsError> {
    let mut held = Vec::new();
    for name in names {
        let Held::Plain(modifier) = modifier(name)? else {
            return Err(SessionsError::UnknownModifier {
                name: clip(name),
                near: near(name, MODIFIERS_SHOWN),
            });
        };
        if !held.contains(&modifier) {
            held.push(modifier);
        }
    }
    Ok(held)
}

/// Modifiers and the key of a chord's text.
fn split(text: &str) -> Result<(Vec<&str>, &str), SessionsError> {
    let empty = || SessionsError::UnknownKey { name: String::new(), near: Vec::new() };
    if text.chars().count() <= 1 {
        return if text.is_empty() { Err(empty()) } else { Ok((Vec::new(), text)) };
    }
    // The key may be the plus sign itself: "ctrl++".
    let (modifiers, key) = match text.strip_suffix("++") {
        Some(modifiers) => (Some(modifiers), "+"),
        None => match text[..code_start(text)].rsplit_once('+') {
            Some((modifiers, _)) => (Some(modifiers), &text[modifiers.len() + 1..]),
            None => (None, text),
        },
    };
    if key.is_empty() {
        return Err(SessionsError::UnknownKey { name: clip(text), near: vec!["ctrl+plus".to_owned()] });
    }
    let modifiers = modifiers.map(|names| names.split('+').map(str::trim).collect()).unwrap_or_default();
    Ok((modifiers, if key.chars().count() > 1 { key.trim() } else { key }))
}

/// Where the `+20AC` of a character given by its code begins, which is no border; else the text's length.
fn code_start(text: &str) -> usize {
    match text.rfind('+') {
        Some(plus)
            if text[..plus].ends_with(['u', 'U']) && numbered(&squeeze(&text[plus - 1..])).is_some() =>
        {
            plus
        }
        _ => text.len(),
    }
}

enum Held {
    Plain(Modifier),
    AltGr,
}

const MODIFIERS_SHOWN: &[&str] =
    &["shift", "ctrl", "control", "alt", "meta", "super", "win", "cmd", "option"];

fn modifier(name: &str) -> Result<Held, SessionsError> {
    let plain = match squeeze(name).as_str() {
        "shift" | "shiftl" | "shiftr" => Modifier::Shift,
        "ctrl" | "control" | "controll" | "controlr" | "ctrll" | "ctrlr" => Modifier::Control,
        "alt" | "altl" | "option" | "opt" => Modifier::Alt,
        "meta" | "super" | "win" | "windows" | "cmd" | "command" | "superl" | "superr" | "metal"
        | "metar" => Modifier::Meta,
        "altgr" | "altr" | "isolevel3shift" | "altright" => return Ok(Held::AltGr),
        _ => {
            return Err(SessionsError::UnknownModifier {
                name: clip(name),
                near: near(name, MODIFIERS_SHOWN),
            });
        }
    };
    Ok(Held::Plain(plain))
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Key(NamedKey),
    Shifted(NamedKey),
    Char(char),
}

fn meaning(name: &str) -> Option<Meaning> {
    let mut chars = name.chars();
    if let (Some(c), None) = (chars.next(), chars.next()) {
        return match c {
            ' ' => Some(Meaning::Key(NamedKey::Space)),
            '\n' | '\r' => Some(Meaning::Key(NamedKey::Enter)),
            '\t' => Some(Meaning::Key(NamedKey::Tab)),
            c if c.is_control() => None,
            c => Some(Meaning::Char(c)),
        };
    }
    let squeezed = squeeze(name);
    numbered(&squeezed)
        .or_else(|| NAMES.iter().find(|(known, _)| squeeze(known) == squeezed).map(|(_, meaning)| *meaning))
}

/// `F1` to `F24`, `KP_0` to `KP_9`, and characters by code (`U+20AC`).
fn numbered(squeezed: &str) -> Option<Meaning> {
    let number = |prefix: &str| -> Option<u8> {
        let digits = squeezed.strip_prefix(prefix)?;
        let plain = digits.len() <= 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse().ok()).flatten()
    };
    if let Some(n @ 1..=24) = number("f") {
        return Some(Meaning::Key(NamedKey::F(n)));
    }
    if let Some(n @ 0..=9) = number("kp").or_else(|| number("numpad")) {
        return Some(Meaning::Key(NamedKey::Numpad(n)));
    }
    let code = squeezed.strip_prefix("u+").filter(|code| (4..=6).contains(&code.len()))?;
    let c = char::from_u32(u32::from_str_radix(code, 16).ok()?)?;
    (!c.is_control()).then_some(Meaning::Char(c))
}

fn squeeze(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase).collect()
}

/// A caller's text is repeated in an error only in part.
fn clip(name: &str) -> String {
    name.chars().take(40).collect()
}

fn key_names() -> &'static [&'static str] {
    const SHOWN: [&str; NAMES.len()] = {
        let mut shown = [""; NAMES.len()];
        let mut i = 0;
        while i < NAMES.len() {
            shown[i] = NAMES[i].0;
            i += 1;
        }
        shown
    };
    &SHOWN
}

/// Up to three known names closest to `name`, by edits over the squeezed text.
fn near(name: &str, known: &[&str]) -> Vec<String> {
    let wanted = squeeze(&clip(name));
    let mut scored: Vec<(usize, &str)> =
        known.iter().map(|known| (distance(&wanted, &squeeze(known)), *known)).collect();
    scored.sort();
    let farthest = wanted.chars().count().div_ceil(2).max(2);
    scored
        .iter()
        .take_while(|(score, _)| *score <= farthest)
        .take(3)
        .map(|(_, name)| (*name).to_owned())
        .collect()
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

use Meaning::{Char, Key as Is, Shifted};

const NAMES: &[(&str, Meaning)] = &[
    ("Enter", Is(NamedKey::Enter)),
    ("Return", Is(NamedKey::Enter)),
    ("Escape", Is(NamedKey::Escape)),
    ("Esc", Is(NamedKey::Escape)),
    ("Tab", Is(NamedKey::Tab)),
    ("ISO_Left_Tab", Shifted(NamedKey::Tab)),
    ("BackTab", Shifted(NamedKey::Tab)),
    ("BackSpace", Is(NamedKey::Backspace)),
    ("Delete", Is(NamedKey::Delete)),
    ("Del", Is(NamedKey::Delete)),
    ("Insert", Is(NamedKey::Insert)),
    ("Ins", Is(NamedKey::Insert)),
    ("Space", Is(NamedKey::Space)),
    ("Spacebar", Is(NamedKey::Space)),
    ("Left", Is(NamedKey::Left)),
    ("ArrowLeft", Is(NamedKey::Left)),
    ("LeftArrow", Is(NamedKey::Left)),
    ("Right", Is(NamedKey::Right)),
    ("ArrowRight", Is(NamedKey::Right)),
    ("RightArrow", Is(NamedKey::Right)),
    ("Up", Is(NamedKey::Up)),
    ("ArrowUp", Is(NamedKey::Up)),
    ("UpArrow", Is(NamedKey::Up)),
    ("Down", Is(NamedKey::Down)),
    ("ArrowDown", Is(NamedKey::Down)),
    ("DownArrow", Is(NamedKey::Down)),
    ("Home", Is(NamedKey::Home)),
    ("Begin", Is(NamedKey::Home)),
    ("End", Is(NamedKey::End)),
    ("PageUp", Is(NamedKey::PageUp)),
    ("Prior", Is(NamedKey::PageUp)),
    ("PgUp", Is(NamedKey::PageUp)),
    ("PageDown", Is(NamedKey::PageDown)),
    ("Next", Is(NamedKey::PageDown)),
    ("PgDn", Is(NamedKey::PageDown)),
    ("CapsLock", Is(NamedKey::CapsLock)),
    ("NumLock", Is(NamedKey::NumLock)),
    ("ScrollLock", Is(NamedKey::ScrollLock)),
    ("PrintScreen", Is(NamedKey::PrintScreen)),
    ("Print", Is(NamedKey::PrintScreen)),
    ("PrtSc", Is(NamedKey::PrintScreen)),
    ("Snapshot", Is(NamedKey::PrintScreen)),
    ("SysReq", Is(NamedKey::PrintScreen)),
    ("Pause", Is(NamedKey::Pause)),
    ("Break", Is(NamedKey::Pause)),
    ("Menu", Is(NamedKey::Menu)),
    ("ContextMenu", Is(NamedKey::Menu)),
    ("Application", Is(NamedKey::Menu)),
    ("Apps", Is(NamedKey::Menu)),
    ("Shift", Is(NamedKey::Shift)),
    ("Shift_L", Is(NamedKey::Shift)),
    ("Shift_R", Is(NamedKey::ShiftRight)),
    ("ShiftRight", Is(NamedKey::ShiftRight)),
    ("Control", Is(NamedKey::Control)),
    ("Ctrl", Is(NamedKey::Control)),
    ("Control_L", Is(NamedKey::Control)),
    ("Ctrl_L", Is(NamedKey::Control)),
    ("Control_R", Is(NamedKey::ControlRight)),
    ("Ctrl_R", Is(NamedKey::ControlRight)),
    ("ControlRight", Is(NamedKey::ControlRight)),
    ("Alt", Is(NamedKey::Alt)),
    ("Alt_L", Is(NamedKey::Alt)),
    ("Option", Is(NamedKey::Alt)),
    ("Alt_R", Is(NamedKey::AltRight)),
    ("AltRight", Is(NamedKey::AltRight)),
    ("AltGr", Is(NamedKey::AltRight)),
    ("ISO_Level3_Shift", Is(NamedKey::AltRight)),
    ("Meta", Is(NamedKey::Meta)),
    ("Meta_L", Is(NamedKey::Meta)),
    ("Super", Is(NamedKey::Meta)),
    ("Super_L", Is(NamedKey::Meta)),
    ("Win", Is(NamedKey::Meta)),
    ("Windows", Is(NamedKey::Meta)),
    ("Cmd", Is(NamedKey::Meta)),
    ("Command", Is(NamedKey::Meta)),
    ("Meta_R", Is(NamedKey::MetaRight)),
    ("Super_R", Is(NamedKey::MetaRight)),
    ("KP_Enter", Is(NamedKey::NumpadEnter)),
    ("NumpadEnter", Is(NamedKey::NumpadEnter)),
    ("KP_Add", Is(NamedKey::NumpadAdd)),
    ("NumpadAdd", Is(NamedKey::NumpadAdd)),
    ("KP_Subtract", Is(NamedKey::NumpadSubtract)),
    ("NumpadSubtract", Is(NamedKey::NumpadSubtract)),
    ("KP_Multiply", Is(NamedKey::NumpadMultiply)),
    ("NumpadMultiply", Is(NamedKey::NumpadMultiply)),
    ("KP_Divide", Is(NamedKey::NumpadDivide)),
    ("NumpadDivide", Is(NamedKey::NumpadDivide)),
    ("KP_Decimal", Is(NamedKey::NumpadDecimal)),
    ("NumpadDecimal", Is(NamedKey::NumpadDecimal)),
    ("KP_Separator", Is(NamedKey::NumpadDecimal)),
    ("KP_Space", Is(NamedKey::Space)),
    ("KP_Tab", Is(NamedKey::Tab)),
    ("KP_Home", Is(NamedKey::Home)),
    ("KP_End", Is(NamedKey::End)),
    ("KP_Left", Is(NamedKey::Left)),
    ("KP_Right", Is(NamedKey::Right)),
    ("KP_Up", Is(NamedKey::Up)),
    ("KP_Down", Is(NamedKey::Down)),
    ("KP_Page_Up", Is(NamedKey::PageUp)),
    ("KP_Prior", Is(NamedKey::PageUp)),
    ("KP_Page_Down", Is(NamedKey::PageDown)),
    ("KP_Next", Is(NamedKey::PageDown)),
    ("KP_Insert", Is(NamedKey::Insert)),
    ("KP_Delete", Is(NamedKey::Delete)),
    ("KP_Equal", Char('=')),
    ("VolumeUp", Is(NamedKey::VolumeUp)),
    ("AudioVolumeUp", Is(NamedKey::VolumeUp)),
    ("XF86AudioRaiseVolume", Is(NamedKey::VolumeUp)),
    ("VolumeDown", Is(NamedKey::VolumeDown)),
    ("AudioVolumeDown", Is(NamedKey::VolumeDown)),
    ("XF86AudioLowerVolume", Is(NamedKey::VolumeDown)),
    ("VolumeMute", Is(NamedKey::VolumeMute)),
    ("AudioVolumeMute", Is(NamedKey::VolumeMute)),
    ("XF86AudioMute", Is(NamedKey::VolumeMute)),
    ("CtrlAltDel", Is(NamedKey::CtrlAltDel)),
    ("LockScreen", Is(NamedKey::LockScreen)),
    ("plus", Char('+')),
    ("minus", Char('-')),
    ("equal", Char('=')),
    ("underscore", Char('_')),
    ("comma", Char(',')),
    ("period", Char('.')),
    ("slash", Char('/')),
    ("backslash", Char('\\')),
    ("colon", Char(':')),
    ("semicolon", Char(';')),
    ("apostrophe", Char('\'')),
    ("quoteright", Char('\'')),
    ("quotedbl", Char('"')),
    ("grave", Char('`')),
    ("quoteleft", Char('`')),
    ("asciitilde", Char('~')),
    ("asciicircum", Char('^')),
    ("exclam", Char('!')),
    ("question", Char('?')),
    ("at", Char('@')),
    ("numbersign", Char('#')),
    ("dollar", Char('$')),
    ("percent", Char('%')),
    ("ampersand", Char('&')),
    ("asterisk", Char('*')),
    ("parenleft", Char('(')),
    ("parenright", Char(')')),
    ("bracketleft", Char('[')),
    ("bracketright", Char(']')),
    ("braceleft", Char('{')),
    ("braceright", Char('}')),
    ("less", Char('<')),
    ("greater", Char('>')),
    ("bar", Char('|')),
    ("EuroSign", Char('€')),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chord(text: &str) -> Chord {
        Chord::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn one_key_goes_by_many_names() {
        for (names, key) in [
            (&["Return", "Enter", "enter", "RETURN", "\n"][..], NamedKey::Enter),
            (&["Escape", "Esc", "esc"], NamedKey::Escape),
            (&["ArrowLeft", "Left", "left", "KP_Left"], NamedKey::Left),
            (&["Page_Up", "PageUp", "Prior", "page-up", "pgup"], NamedKey::PageUp),
            (&["BackSpace", "backspace"], NamedKey::Backspace),
            (&["KP_1", "Numpad1"], NamedKey::Numpad(1)),
            (&["F1", "f1"], NamedKey::F(1)),
            (&["F24"], NamedKey::F(24)),
            (&["Super_L", "Win", "Cmd", "Meta"], NamedKey::Meta),
            (&[" ", "space"], NamedKey::Space),
        ] {
            for name in names {
                assert_eq!(chord(name).key, Key::Named(key), "{name}");
            }
        }
    }

    #[test]
    fn a_chord_is_modifiers_and_a_key() {
        let t = chord("ctrl+shift+t");
        assert_eq!(t.held, [Modifier::Control, Modifier::Shift]);
        assert_eq!(t.key, Key::Character('t'));
        assert_eq!(chord("Ctrl+T").key, Key::Character('t'), "shortcuts are named by the key");
        assert_eq!(chord("T").key, Key::Character('T'), "alone, a character is itself");
        assert_eq!(chord("ctrl++").key, Key::Character('+'));
        assert_eq!(chord("ctrl+plus"), chord("ctrl++"));
        assert_eq!(chord("+").key, Key::Character('+'));
        assert_eq!(chord("U+20AC").key, Key::Character('€'));
        assert_eq!(chord("ctrl+u+20ac").key, Key::Character('€'));
        assert_eq!(chord("ctrl+u").key, Key::Character('u'));
        assert_eq!(chord("ISO_Left_Tab").held, [Modifier::Shift]);
    }

    #[test]
    fn three_fingers_are_one_key() {
        for text in ["ctrl+alt+del", "Alt+Control+Delete", "CtrlAltDel"] {
            assert_eq!(chord(text).key, Key::Named(NamedKey::CtrlAltDel), "{text}");
            assert!(chord(text).held.is_empty());
        }
    }

    #[test]
    fn alt_gr_is_held_as_a_key() {
        let inputs = chord("altgr+e").inputs(2);
        let alt_gr = || Key::Named(NamedKey::AltRight);
        let press = Input::Press { key: Key::Character('e'), held: vec![] };
        assert_eq!(
            inputs,
            [Input::KeyDown { key: alt_gr() }, press.clone(), press, Input::KeyUp { key: alt_gr() }]
        );
    }

    #[test]
    fn unknown_names_are_errors_that_name_similar_ones() {
        let near = |text: &str| match Chord::parse(text) {
            Err(SessionsError::UnknownKey { near, .. } | SessionsError::UnknownModifier { near, .. }) => near,
            other => panic!("{text}: {other:?}"),
        };
        assert!(near("Retrun").contains(&"Return".to_owned()));
        assert!(near("ctl+c").contains(&"ctrl".to_owned()));
        assert!(near("F25").iter().all(|name| name != "F25"));
        assert!(near("").is_empty());
        near("hyper+x");
        near("ctrl+");
        near("+a");
        assert!(modifiers(&["shfit".to_owned()]).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}") {
            let _parsed = Chord::parse(&text);
        }

        #[test]
        fn every_known_name_is_found(index in 0..NAMES.len()) {
            prop_assert!(meaning(NAMES[index].0).is_some());
        }
    }
}
