//! The X server's keyboard mapping, and which strokes give a keysym in it.

use super::{Link, ScreenError, failed, gone};
use x11rb::protocol::xkb::{ConnectionExt as _, GetMapMap, KeySymMap, KeyType, MapPart};
use x11rb::protocol::xproto::{ConnectionExt as _, ModMask};

pub(super) const LOCK: u8 = 2;
const CONTROL: u8 = 4;

const NO_SYMBOL: u32 = 0;
const SHIFT_L: u32 = 0xffe1;
const SHIFT_R: u32 = 0xffe2;
const ISO_LEVEL3_SHIFT: u32 = 0xfe03;
const ISO_LEVEL5_SHIFT: u32 = 0xfe11;
const MODE_SWITCH: u32 = 0xff7e;
const NUM_LOCK: u32 = 0xff7f;
/// From Shift to Hyper, the locks among them.
const MODIFIER_KEYSYMS: std::ops::RangeInclusive<u32> = 0xffe1..=0xffee;
/// Meta, Alt, Super and Hyper, left and right.
const SHORTCUT_KEYSYMS: std::ops::RangeInclusive<u32> = 0xffe7..=0xffee;
/// Keycodes above belong to special keyboards; programs that look at positions may not know them.
const LAST_COMMON_KEYCODE: u8 = 135;

/// The device that all keyboards of a server act as.
pub(super) const CORE_KEYBOARD: u16 = 0x100;

/// The mapping as it was when read.
#[derive(Debug, Default)]
pub(super) struct Keymap {
    first: u8,
    types: Vec<KeyType>,
    keys: Vec<KeySymMap>,
    /// Keycodes of each of the eight modifiers.
    modifiers: [Vec<u8>; 8],
}

/// How to press a key so that it means a keysym.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stroke {
    pub(super) keycode: u8,
    /// Modifiers to press for it.
    pub(super) press: u8,
    /// Modifiers to let go of for it.
    pub(super) release: u8,
}

impl Stroke {
    pub(super) fn plain(keycode: u8) -> Self {
        Self { keycode, press: 0, release: 0 }
    }

    /// The smaller, the better.
    fn cost(self) -> (bool, u32) {
        (self.keycode > LAST_COMMON_KEYCODE, self.press.count_ones() + self.release.count_ones())
    }
}

impl Keymap {
    pub(super) fn read(link: &Link) -> Result<Self, ScreenError> {
        let connection = &link.connection;
        let wanted = MapPart::KEY_TYPES | MapPart::KEY_SYMS;
        let reply = connection
            .xkb_get_map(
                CORE_KEYBOARD,
                wanted,
                MapPart::from(0u16),
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0u16.into(),
                0,
                0,
                0,
                0,
                0,
                0,
            )
            .map_err(gone)?
            .reply()
            .map_err(failed("XkbGetMap"))?;
        let mapping =
            connection.get_modifier_mapping().map_err(gone)?.reply().map_err(failed("GetModifierMapping"))?;
        let GetMapMap { types_rtrn, syms_rtrn, .. } = reply.map;
        let width = mapping.keycodes.len() / 8;
        let modifiers = std::array::from_fn(|modifier| {
            let codes = &mapping.keycodes[modifier * width..(modifier + 1) * width];
            codes.iter().copied().filter(|code| *code != 0).collect()
        });
        Ok(Self {
            first: reply.first_key_sym,
            types: types_rtrn.unwrap_or_default(),
            keys: syms_rtrn.unwrap_or_default(),
            modifiers,
        })
    }

    fn key(&self, keycode: u8) -> Option<&KeySymMap> {
        self.keys.get(usize::from(keycode.checked_sub(self.first)?))
    }

    fn keycodes(&self) -> impl Iterator<Item = (u8, &KeySymMap)> {
        (self.first..=u8::MAX).zip(&self.keys)
    }

    /// The keysym that a key gives at the lowest level of its first group.
    pub(super) fn base_keysym(&self, keycode: u8) -> u32 {
        self.key(keycode).and_then(|key| key.syms.first().copied()).unwrap_or(NO_SYMBOL)
    }

    /// The key of a modifier's keysym. It is pressed as it is, whatever else is held.
    pub(super) fn modifier_key(&self, keysym: u32) -> Option<u8> {
        let levels = [ISO_LEVEL3_SHIFT, ISO_LEVEL5_SHIFT, MODE_SWITCH];
        if !MODIFIER_KEYSYMS.contains(&keysym) && !levels.contains(&keysym) {
            return None;
        }
        self.keycodes().map(|(code, _)| code).find(|code| self.base_keysym(*code) == keysym)
    }

    /// Keys that mean nothing in this layout, the highest first: those that no real keyboard has.
    pub(super) fn unused(&self) -> Vec<u8> {
        let mut codes: Vec<u8> = self
            .keycodes()
            .filter(|(code, key)| {
                key.syms.iter().all(|sym| *sym == NO_SYMBOL)
                    && !self.modifiers.iter().any(|codes| codes.contains(code))
            })
            .map(|(code, _)| code)
            .collect();
        codes.reverse();
        codes
    }

    /// Keycodes that act as a modifier, given by its number.
    pub(super) fn modifier_keys(&self, modifier: usize) -> &[u8] {
        &self.modifiers[modifier]
    }

    /// The key that sets a modifier for choosing a level while it is held; none for locks and for the
    /// modifiers of shortcuts.
    pub(super) fn level_key(&self, modifier: usize) -> Option<u8> {
        let wanted = [SHIFT_L, SHIFT_R, ISO_LEVEL3_SHIFT, ISO_LEVEL5_SHIFT, MODE_SWITCH];
        self.modifiers[modifier].iter().copied().find(|code| wanted.contains(&self.base_keysym(*code)))
    }

    fn level_modifiers(&self) -> u8 {
        (0..8).filter(|n| self.level_key(*n).is_some()).fold(0, |mask, n| mask | 1 << n)
    }

    /// Modifiers that make a shortcut of a key: Control, Alt, Meta, Super.
    pub(super) fn shortcut_modifiers(&self) -> u8 {
        (3..8)
            .filter(|n| {
                self.modifiers[*n].iter().any(|code| SHORTCUT_KEYSYMS.contains(&self.base_keysym(*code)))
            })
            .fold(CONTROL, |mask, n| mask | 1 << n)
    }

    /// The mask of the NumLock modifier, 0 if there is none.
    pub(super) fn num_lock(&self) -> u8 {
        (3..8)
            .find(|n| self.modifiers[*n].iter().any(|code| self.base_keysym(*code) == NUM_LOCK))
            .map_or(0, |n| 1 << n)
    }

    /// How to get `keysym` in layout group `group` while `state` modifiers are set. With a shortcut's modifier
    /// held nothing is let go, and the key alone counts: Control+Shift+t is pressed as it is.
    pub(super) fn stroke(&self, keysym: u32, group: u8, state: u8) -> Option<Stroke> {
        let shortcut = state & self.shortcut_modifiers() != 0;
        let mut best: Option<Stroke> = None;
        for (keycode, key) in self.keycodes() {
            let Some((kind, levels)) = self.group(key, group) else { continue };
            for (level, _) in levels.iter().enumerate().filter(|(_, sym)| **sym == keysym) {
                let found = self.reach(kind, level, keycode, state, shortcut);
                let found = found.or(shortcut.then(|| Stroke::plain(keycode)));
                if let Some(found) = found
                    && best.is_none_or(|best| found.cost() < best.cost())
                {
                    best = Some(found);
                }
            }
        }
        best
    }

    /// The least change of modifiers that gets a key of type `kind` to a level.
    fn reach(&self, kind: &KeyType, level: usize, keycode: u8, state: u8, shortcut: bool) -> Option<Stroke> {
        let mine = self.level_modifiers() & bits(kind.mods_mask);
        let fixed = state & !mine;
        // Every subset of the level modifiers that the type looks at; there are three of them at most.
        let mut set = mine;
        let mut best: Option<Stroke> = None;
        loop {
            if level_of(kind, fixed | set) == level {
                let stroke = Stroke { keycode, press: set & !state, release: state & mine & !set };
                let allowed = !shortcut || stroke.release == 0;
                if allowed && best.is_none_or(|best| stroke.cost() < best.cost()) {
                    best = Some(stroke);
                }
            }
            if set == 0 {
                return best;
            }
            set = (set - 1) & mine;
        }
    }

    /// The type and the levels of a key in a layout group, wrapped or clamped as the key says.
    fn group<'a>(&'a self, key: &'a KeySymMap, group: u8) -> Option<(&'a KeyType, &'a [u32])> {
        let count = key.group_info & 0x0f;
        if count == 0 {
            return None;
        }
        let group = match key.group_info >> 6 {
            _ if group < count => group,
            1 => count - 1,
            2 if (key.group_info >> 4 & 3) < count => key.group_info >> 4 & 3,
            2 => 0,
            _ => group % count,
        };
        let kind = self.types.get(usize::from(*key.kt_index.get(usize::from(group))?))?;
        let width = usize::from(key.width);
        let start = usize::from(group) * width;
        let levels = width.min(usize::from(kind.num_levels));
        Some((kind, key.syms.get(start..start + levels)?))
    }
}

/// Which level a key type chooses under modifiers.
fn level_of(kind: &KeyType, state: u8) -> usize {
    let state = state & bits(kind.mods_mask);
    kind.map
        .iter()
        .find(|entry| entry.active && bits(entry.mods_mask) == state)
        .map_or(0, |entry| entry.level.into())
}

/// The eight real modifiers of a mask.
pub(super) fn bits(mask: ModMask) -> u8 {
    u16::from(mask) as u8
}

/// The keysym of a character: Latin-1 and ASCII have the character's own number, all others the number with
/// the Unicode mark. `None` for control characters.
pub(super) fn keysym_of(character: char) -> Option<u32> {
    match u32::from(character) {
        code @ (0x20..=0x7e | 0xa0..=0xff) => Some(code),
        code @ 0x100.. => Some(0x0100_0000 | code),
        _ => None,
    }
}

/// The older number that layouts use for a keysym with the Unicode mark, where characters come in whole
/// alphabets: Greek, Cyrillic, and the euro sign. Others of them cost a spare key each, which works as well.
pub(super) fn older_keysym(keysym: u32) -> Option<u32> {
    // Cyrillic keysyms are in the order of KOI8, from small yu on.
    const KOI8: &str = "юабцдефгхийклмнопярстужвьызшэщчъ";
    let character = char::from_u32(keysym.checked_sub(0x0100_0000)?)?;
    match character {
        '€' => Some(0x20ac),
        'Α'..='Ρ' => Some(0x7c1 + (u32::from(character) - u32::from('Α'))),
        'Σ'..='Ω' => Some(0x7d2 + (u32::from(character) - u32::from('Σ')) + u32::from(character > 'Σ')),
        'α'..='ω' => greek_small(character),
        'ё' => Some(0x6a3),
        'Ё' => Some(0x6b3),
        _ => {
            let small = character.to_lowercase().next()?;
            let place = KOI8.chars().position(|known| known == small)? as u32;
            Some(if small == character { 0x6c0 + place } else { 0x6e0 + place })
        }
    }
}

fn greek_small(character: char) -> Option<u32> {
    let place = u32::from(character) - u32::from('α');
    Some(match character {
        'α'..='ρ' => 0x7e1 + place,
        'ς' => 0x7f3,
        'σ' => 0x7f2,
        _ => 0x7e1 + place,
    })
}
