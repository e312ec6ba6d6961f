//! Keys without a meaning, lent to characters that the layout does not have.
//!
//! A client learns of a new mapping by an event and then asks for the mapping *of that moment*. A key whose
//! meaning changes again before the client has asked gives the wrong character or none: that is how typed
//! text gets lost. So a lent key keeps its character as long as it can, the one that rested longest is lent
//! anew, and never before [`REST`] has passed since it was last pressed.

use std::time::{Duration, Instant};

/// How long a client may take from a key press to having read the mapping. There is no way to ask it. Only
/// text with more characters outside of the layout than there are keys to lend has to wait for this.
pub(super) const REST: Duration = Duration::from_millis(600);

/// The keys to lend.
#[derive(Debug, Default)]
pub(super) struct Spares {
    keys: Vec<Spare>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Spare {
    keycode: u8,
    keysym: Option<u32>,
    pressed: Option<Instant>,
}

/// What to do before keysyms can be pressed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lending {
    /// New meanings, by keycode.
    pub(super) map: Vec<(u8, u32)>,
    /// Not before.
    pub(super) not_before: Option<Instant>,
}

impl Spares {
    /// Takes in which keys are unused in the present layout and what the lent ones mean there: a key that
    /// somebody else has given a meaning is not ours any more.
    pub(super) fn reconcile(&mut self, unused: &[u8], means: impl Fn(u8) -> u32) {
        for spare in &mut self.keys {
            spare.keysym = spare.keysym.filter(|keysym| means(spare.keycode) == *keysym);
        }
        self.keys.retain(|spare| spare.keysym.is_some() || unused.contains(&spare.keycode));
        for keycode in unused {
            if !self.keys.iter().any(|spare| spare.keycode == *keycode) {
                self.keys.push(Spare { keycode: *keycode, keysym: None, pressed: None });
            }
        }
    }

    /// How many characters can be lent keys at the same time.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn keycode_of(&self, keysym: u32) -> Option<u8> {
        self.keys.iter().find(|spare| spare.keysym == Some(keysym)).map(|spare| spare.keycode)
    }

    /// Lends keys to those of `keysyms` that have none; there must not be more of them than [`len`](Self::len).
    pub(super) fn lend(&mut self, keysyms: &[u32]) -> Lending {
        let mut lending = Lending::default();
        for keysym in keysyms {
            if self.keycode_of(*keysym).is_some() {
                continue;
            }
            let rested = self
                .keys
                .iter_mut()
                .filter(|spare| spare.keysym.is_none_or(|held| !keysyms.contains(&held)))
                // `None`, never pressed, comes first.
                .min_by_key(|spare| (spare.keysym.is_some(), spare.pressed));
            let Some(spare) = rested else { break };
            if let Some(pressed) = spare.pressed {
                lending.not_before = lending.not_before.max(Some(pressed + REST));
            }
            *spare = Spare { keysym: Some(*keysym), ..*spare };
            lending.map.push((spare.keycode, *keysym));
        }
        lending.map.sort_unstable();
        lending
    }

    pub(super) fn pressed(&mut self, keycode: u8, now: Instant) {
        if let Some(spare) = self.keys.iter_mut().find(|spare| spare.keycode == keycode) {
            spare.pressed = Some(now);
        }
    }

    /// Takes all keys back: which ones have a meaning, and when it can be taken from them.
    pub(super) fn take_back(&mut self) -> Lending {
        let mut lending = Lending::default();
        for spare in self.keys.iter_mut().filter(|spare| spare.keysym.is_some()) {
            lending.not_before = lending.not_before.max(spare.pressed.map(|pressed| pressed + REST));
            lending.map.push((spare.keycode, 0));
            spare.keysym = None;
        }
        lending.map.sort_unstable();
        lending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_keeps_its_character_until_another_needs_it() {
        let now = Instant::now();
        let mut spares = Spares::default();
        spares.reconcile(&[250, 249], |_| 0);
        let lending = spares.lend(&[0xe9, 0xfc]);
        assert_eq!(lending, Lending { map: vec![(249, 0xfc), (250, 0xe9)], not_before: None });
        spares.pressed(250, now);
        spares.pressed(249, now + Duration::from_millis(1));
        assert_eq!(spares.lend(&[0xfc]), Lending::default());
        // The one that rested longest goes, and only after its rest.
        let lending = spares.lend(&[0xe4]);
        assert_eq!(lending, Lending { map: vec![(250, 0xe4)], not_before: Some(now + REST) });
        assert_eq!(spares.keycode_of(0xe9), None);
        assert_eq!(spares.keycode_of(0xfc), Some(249));
    }

    #[test]
    fn a_key_that_got_a_meaning_elsewhere_is_given_up() {
        let mut spares = Spares::default();
        spares.reconcile(&[250, 249], |_| 0);
        spares.lend(&[0xe9]);
        spares.reconcile(&[249], |code| if code == 250 { 0x61 } else { 0 });
        assert_eq!(spares.keycode_of(0xe9), None);
        assert_eq!(spares.len(), 1);
        assert_eq!(spares.take_back(), Lending::default());
    }

    #[test]
    fn keys_needed_together_do_not_take_each_others_place() {
        let mut spares = Spares::default();
        spares.reconcile(&[250, 249], |_| 0);
        spares.lend(&[1]);
        let lending = spares.lend(&[2, 1]);
        assert_eq!(lending.map, [(249, 2)]);
        assert_eq!(spares.take_back().map, [(249, 0), (250, 0)]);
    }
}
