//! Text as a peer can take it: runs of bounded length, with line breaks and tabs as keys.

use crate::SessionsError;

/// A piece of a text to type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Run(String),
    Enter,
    Tab,
}

impl Piece {
    /// Characters of the text that it stands for.
    pub fn characters(&self) -> usize {
        match self {
            Self::Run(run) => run.chars().count(),
            Self::Enter | Self::Tab => 1,
        }
    }
}

/// Cuts a text into pieces of at most `chunk` characters where what looks like one character allows it;
/// after four times as many it is cut all the same. `\n`, `\r` and `\r\n` are one Enter each. Other control
/// characters are an error: they have keys.
pub fn pieces(text: &str, chunk: usize) -> Result<Vec<Piece>, SessionsError> {
    let chunk = chunk.max(1);
    let mut pieces = Vec::new();
    let mut run = Run::default();
    let mut before = None;
    for c in text.chars() {
        match c {
            '\n' if before == Some('\r') => {}
            '\n' | '\r' => run.flush(&mut pieces, Some(Piece::Enter)),
            '\t' => run.flush(&mut pieces, Some(Piece::Tab)),
            c if c.is_control() => return Err(SessionsError::ControlCharacter(c)),
            c => {
                let full = run.length >= chunk && (may_part(before, c) || run.length >= 4 * chunk);
                if full {
                    run.flush(&mut pieces, None);
                }
                run.push(c);
            }
        }
        before = Some(c);
    }
    run.flush(&mut pieces, None);
    Ok(pieces)
}

#[derive(Default)]
struct Run {
    text: String,
    length: usize,
}

impl Run {
    fn push(&mut self, c: char) {
        self.text.push(c);
        self.length += 1;
    }

    fn flush(&mut self, pieces: &mut Vec<Piece>, then: Option<Piece>) {
        if self.length > 0 {
            self.length = 0;
            pieces.push(Piece::Run(std::mem::take(&mut self.text)));
        }
        pieces.extend(then);
    }
}

const JOINER: char = '\u{200D}';

/// Whether a border between two characters cuts nothing that is seen as one.
fn may_part(before: Option<char>, after: char) -> bool {
    let flag_letter = |c: char| ('\u{1F1E6}'..='\u{1F1FF}').contains(&c);
    let Some(before) = before else { return true };
    before != JOINER && !extends(after) && !(flag_letter(before) && flag_letter(after))
}

/// Whether a character changes the one before it: marks, joiners, selectors, skin tones, jamo.
fn extends(c: char) -> bool {
    if ('\u{0900}'..='\u{0DFF}').contains(&c) {
        // The Indic blocks are laid out alike, 128 code points each.
        return matches!(c as u32 & 0x7F, 0x00..=0x03 | 0x3A..=0x3C | 0x3E..=0x4F | 0x51..=0x57 | 0x62 | 0x63);
    }
    matches!(c,
        '\u{0300}'..='\u{036F}' | '\u{0483}'..='\u{0489}' | '\u{0591}'..='\u{05C7}' | '\u{0610}'..='\u{061A}'
        | '\u{064B}'..='\u{065F}' | '\u{0670}' | '\u{06D6}'..='\u{06ED}' | '\u{0711}' | '\u{0730}'..='\u{074A}'
        | '\u{07A6}'..='\u{07B0}' | '\u{07EB}'..='\u{07F3}' | '\u{0816}'..='\u{082D}' | '\u{0859}'..='\u{085B}'
        | '\u{08CA}'..='\u{08FF}' | '\u{0E31}' | '\u{0E34}'..='\u{0E3A}' | '\u{0E47}'..='\u{0E4E}' | '\u{0EB1}'
        | '\u{0EB4}'..='\u{0EBC}' | '\u{0EC8}'..='\u{0ECE}' | '\u{0F71}'..='\u{0F84}' | '\u{0F8D}'..='\u{0FBC}'
        | '\u{102B}'..='\u{103E}' | '\u{1160}'..='\u{11FF}' | '\u{17B4}'..='\u{17D3}' | '\u{1AB0}'..='\u{1AFF}'
        | '\u{1DC0}'..='\u{1DFF}' | '\u{200C}' | JOINER | '\u{20D0}'..='\u{20FF}' | '\u{302A}'..='\u{302F}'
        | '\u{3099}' | '\u{309A}' | '\u{FE00}'..='\u{FE0F}' | '\u{FE20}'..='\u{FE2F}'
        | '\u{1F3FB}'..='\u{1F3FF}' | '\u{E0020}'..='\u{E007F}' | '\u{E0100}'..='\u{E01EF}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn runs(text: &str, chunk: usize) -> Vec<String> {
        let run = |piece| match piece {
            Piece::Run(run) => run,
            Piece::Enter => "<enter>".to_owned(),
            Piece::Tab => "<tab>".to_owned(),
        };
        pieces(text, chunk).unwrap().into_iter().map(run).collect()
    }

    #[test]
    fn line_breaks_and_tabs_are_keys() {
        assert_eq!(
            runs("a\tb\nc\r\nd\re", 50),
            ["a", "<tab>", "b", "<enter>", "c", "<enter>", "d", "<enter>", "e"]
        );
        assert_eq!(runs("\n\n", 50), ["<enter>", "<enter>"]);
        assert!(runs("", 50).is_empty());
    }

    #[test]
    fn a_run_is_cut_between_what_is_seen_as_characters() {
        assert_eq!(runs("abcdef", 2), ["ab", "cd", "ef"]);
        assert_eq!(runs("abe\u{301}f", 3), ["abe\u{301}", "f"]);
        assert_eq!(runs("a👩\u{200D}👩\u{200D}👧b", 2), ["a👩\u{200D}👩\u{200D}👧", "b"]);
        assert_eq!(runs("🇩🇪🇫🇷", 1), ["🇩🇪🇫🇷"]);
        assert_eq!(runs("a👍\u{1F3FD}b", 2), ["a👍\u{1F3FD}", "b"]);
        assert_eq!(runs("कि", 1), ["कि"]);
    }

    #[test]
    fn control_characters_are_refused() {
        assert_eq!(pieces("a\u{7}", 50), Err(SessionsError::ControlCharacter('\u{7}')));
        assert!(pieces("\u{1b}[A", 50).is_err());
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_run_is_long(text in "[a-zé👩\u{200D}\u{301}\n\t]{0,200}", chunk in 1usize..20) {
            let pieces = pieces(&text, chunk).unwrap();
            let joined: String = pieces.iter().map(|piece| match piece {
                Piece::Run(run) => run.clone(),
                Piece::Enter => "\n".to_owned(),
                Piece::Tab => "\t".to_owned(),
            }).collect();
            prop_assert_eq!(joined, text);
            prop_assert!(pieces.iter().all(|piece| piece.characters() <= 4 * chunk));
        }
    }
}
