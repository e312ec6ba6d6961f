//! Pointer and keyboard, without any protocol's numbers.

use crate::{DisplayId, Point};
use serde::{Deserialize, Serialize};

/// A button of the pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Button {
    Left,
    Middle,
    Right,
    Back,
    Forward,
}

/// A key held while something else happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Modifier {
    Shift,
    Control,
    Alt,
    /// Windows key, Command, Super.
    Meta,
}

/// A key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// The key that gives this character in the peer's layout.
    Character(char),
    Named(NamedKey),
}

/// Keys that have a name in place of a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NamedKey {
    Enter,
    Escape,
    Tab,
    Backspace,
    Delete,
    Insert,
    Space,
    Left,
    Right,
    Up,
    Down,
    Home,
    End,
    PageUp,
    PageDown,
    /// F1 to F24.
    F(u8),
    CapsLock,
    NumLock,
    ScrollLock,
    PrintScreen,
    Pause,
    /// The menu (application) key.
    Menu,
    Shift,
    ShiftRight,
    Control,
    ControlRight,
    Alt,
    AltRight,
    Meta,
    MetaRight,
    /// A digit of the numeric pad, 0 to 9.
    Numpad(u8),
    NumpadEnter,
    NumpadAdd,
    NumpadSubtract,
    NumpadMultiply,
    NumpadDivide,
    NumpadDecimal,
    VolumeUp,
    VolumeDown,
    VolumeMute,
    /// The secure attention sequence of Windows, Ctrl+Alt+Del elsewhere.
    CtrlAltDel,
    /// Locks the peer's screen.
    LockScreen,
}

/// One thing to do. Positions are pixels of the display's picture in its native size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Moves the pointer there.
    Move {
        display: DisplayId,
        to: Point,
    },
    /// Presses a button where the pointer is; `held` are modifiers held for it.
    ButtonDown {
        button: Button,
        held: Vec<Modifier>,
    },
    ButtonUp {
        button: Button,
    },
    /// Turns the wheel by notches: `x` positive to the right, `y` positive downwards.
    Scroll {
        x: i32,
        y: i32,
        held: Vec<Modifier>,
    },
    /// Presses and releases a key with modifiers held.
    Press {
        key: Key,
        held: Vec<Modifier>,
    },
    KeyDown {
        key: Key,
    },
    KeyUp {
        key: Key,
    },
    /// Types text, whatever the layout. Line breaks and tabs are keys to the driver.
    Text(String),
    /// Puts text on the peer's clipboard.
    Clipboard(String),
}
