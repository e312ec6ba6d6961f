//! What a person does with pointer and keys on the page.

use remote::{Button, DisplayId, Input, Key, Modifier, Point};
use serde::Deserialize;
use sessions::{Chord, SessionsError};

/// Characters of one text: a pasted page.
const LONGEST_TEXT: usize = 20_000;
/// Notches of the wheel in one message.
const MOST_NOTCHES: i32 = 100;

/// One thing done on the page. Positions are pixels of the display.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(super) enum PageInput {
    Move {
        r#move: At,
    },
    Down {
        down: Button,
        #[serde(default)]
        held: Vec<Modifier>,
    },
    Up {
        up: Button,
    },
    Scroll {
        scroll: (i32, i32),
        #[serde(default)]
        held: Vec<Modifier>,
    },
    /// A key by its name on the web (`ArrowLeft`), pressed and released.
    Press {
        press: String,
        #[serde(default)]
        held: Vec<Modifier>,
    },
    Text {
        text: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct At {
    x: i32,
    y: i32,
}

/// The inputs for `display`.
pub(super) fn inputs(display: DisplayId, given: Vec<PageInput>) -> Result<Vec<Input>, SessionsError> {
    given.into_iter().map(|input| one(display, input)).collect()
}

fn one(display: DisplayId, input: PageInput) -> Result<Input, SessionsError> {
    Ok(match input {
        PageInput::Move { r#move: At { x, y } } => Input::Move { display, to: Point { x, y } },
        PageInput::Down { down, held } => Input::ButtonDown { button: down, held },
        PageInput::Up { up } => Input::ButtonUp { button: up },
        PageInput::Scroll { scroll: (x, y), held } => {
            let notches = |n: i32| n.clamp(-MOST_NOTCHES, MOST_NOTCHES);
            Input::Scroll { x: notches(x), y: notches(y), held }
        }
        PageInput::Press { press, held } => Input::Press { key: key(&press)?, held },
        PageInput::Text { text } => {
            let characters = text.chars().count();
            if characters > LONGEST_TEXT {
                return Err(SessionsError::TextTooLong { characters, longest: LONGEST_TEXT });
            }
            Input::Text(text.replace("\r\n", "\n"))
        }
    })
}

fn key(name: &str) -> Result<Key, SessionsError> {
    let mut characters = name.chars();
    match (characters.next(), characters.next()) {
        // `+` joins the keys of a chord; here it is itself.
        (Some(character), None) if !character.is_control() => Ok(Key::Character(character)),
        _ => Ok(Chord::parse(name)?.key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use remote::NamedKey;

    fn read(json: &str) -> Result<Vec<Input>, SessionsError> {
        inputs(DisplayId(1), serde_json::from_str(json).unwrap())
    }

    #[test]
    fn what_a_page_says_becomes_inputs() {
        let given = read(
            r#"[{"move":{"x":3,"y":4}},{"down":"left","held":["shift"]},{"up":"left"},{"scroll":[0,-900]},
               {"press":"ArrowLeft","held":["control"]},{"press":"+"},{"text":"a\r\nb"}]"#,
        );
        let want = [
            Input::Move { display: DisplayId(1), to: Point { x: 3, y: 4 } },
            Input::ButtonDown { button: Button::Left, held: vec![Modifier::Shift] },
            Input::ButtonUp { button: Button::Left },
            Input::Scroll { x: 0, y: -MOST_NOTCHES, held: vec![] },
            Input::Press { key: Key::Named(NamedKey::Left), held: vec![Modifier::Control] },
            Input::Press { key: Key::Character('+'), held: vec![] },
            Input::Text("a\nb".into()),
        ];
        assert_eq!(given.unwrap(), want);
    }

    #[test]
    fn what_is_no_input_is_refused() {
        assert!(serde_json::from_str::<PageInput>(r#"{"down":"left","up":"left"}"#).is_err());
        assert!(serde_json::from_str::<PageInput>(r#"{"run":"rm"}"#).is_err());
        assert_eq!(read(r#"[{"press":"NoSuchKey"}]"#).unwrap_err().kind(), "invalid_argument");
        let long = serde_json::json!([{ "text": "x".repeat(LONGEST_TEXT + 1) }]).to_string();
        assert_eq!(read(&long).unwrap_err().kind(), "invalid_argument");
    }
}
