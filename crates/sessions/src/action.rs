//! What can be done to a desktop, and how it becomes inputs.

use crate::settle::Effect;
use crate::text::{self, Piece};
use crate::{Chord, Mapping, Screenshot, ScreenshotRequest, SessionsError, Settle, Space, Spot};
use remote::{Button, DisplayId, Input, Key, Modifier, NamedKey, Point};
use std::time::Duration;

/// One thing to do. Where a position may be left out, the pointer stays where it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Move {
        to: Spot,
    },
    /// `count` is 1 to 3.
    Click {
        at: Option<Spot>,
        button: Button,
        count: u8,
        held: Vec<Modifier>,
    },
    /// Moves to the first point, presses there, moves along and releases at the last.
    Drag {
        path: Vec<Spot>,
        button: Button,
        held: Vec<Modifier>,
    },
    /// Notches: `dx` positive to the right, `dy` positive downwards.
    Scroll {
        at: Option<Spot>,
        dx: i32,
        dy: i32,
        held: Vec<Modifier>,
    },
    Type {
        text: String,
    },
    /// Types a secret that the configuration names, and Enter behind it if wanted.
    TypeSecret {
        name: String,
        enter: bool,
    },
    /// `repeat` is 1 to 100.
    /// Puts the text on the peer's clipboard and presses what pastes it in the program in front.
    Paste {
        text: String,
        chord: Chord,
    },
    Press {
        chord: Chord,
        repeat: u32,
    },
}

impl Action {
    /// When the screen counts as having come to rest after it. Text is hardly ever without effect, and a peer
    /// types it character by character, so that there is more patience with it.
    pub(crate) fn settle(&self, usual: Settle) -> Settle {
        match self {
            Self::Type { .. } | Self::TypeSecret { .. } | Self::Paste { .. } => {
                Settle { reaction: usual.reaction * 3, ..usual }
            }
            _ => usual,
        }
    }
}

/// An action with all that belongs to doing it.
#[derive(Debug, Clone)]
pub struct Act {
    pub action: Action,
    /// `None`: the display last pictured, or the primary one.
    pub display: Option<DisplayId>,
    pub space: Space,
    /// Whether to look at the screen afterwards until it rests; `None` does not look.
    pub settle: Option<Settle>,
    /// A picture once it rests.
    pub picture: Option<ScreenshotRequest>,
}

/// What became of an action that was sent in full.
#[derive(Debug, Clone)]
pub struct Acted {
    pub display: DisplayId,
    pub inputs: usize,
    /// Characters of text among them.
    pub typed: usize,
    /// Characters of it that the peer may have lost, by the way it types.
    pub at_risk: usize,
    pub effect: Effect,
    pub picture: Option<Screenshot>,
    /// Why there is no picture although one was wanted; the action was done all the same.
    pub picture_error: Option<SessionsError>,
    pub took: Duration,
}

/// Points of a drag at most.
pub const LONGEST_PATH: usize = 200;
/// Notches of one scroll at most, each way.
pub const MOST_NOTCHES: i32 = 100;
/// How long a peer gets to take a clipboard over before the keys that paste it.
const CLIPBOARD: Duration = Duration::from_millis(200);

/// Presses of one key at most.
pub const MOST_PRESSES: u32 = 100;
/// A drag reports the pointer on its way at least this often, in native pixels: many programs start a
/// drag only when they see the pointer move.
const DRAG_STEP: f64 = 24.0;
/// Reports between two given points of a drag at most.
const DRAG_STEPS: u32 = 24;

/// Inputs that go out together, and how many characters of a text they type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) inputs: Vec<Input>,
    pub(crate) typed: usize,
    /// To wait before it; `None` for the usual pause between two.
    pub(crate) pause: Option<Duration>,
}

impl Batch {
    /// Typed characters outside ASCII.
    pub(crate) fn not_ascii(&self) -> usize {
        let typed = self.inputs.iter().filter_map(|input| match input {
            Input::Text(text) => Some(text),
            _ => None,
        });
        typed.map(|text| text.chars().filter(|c| !c.is_ascii()).count()).sum()
    }
}

/// Limits that the configuration sets for typing.
pub(crate) struct Typing {
    pub(crate) chunk: usize,
    pub(crate) longest: usize,
}

/// The inputs of an action, checked as a whole before any is sent.
pub(crate) fn plan(
    action: &Action,
    display: DisplayId,
    mapping: &Mapping,
    typing: &Typing,
) -> Result<Vec<Batch>, SessionsError> {
    let to = |spot: &Spot| mapping.point(*spot).map(|to| Input::Move { display, to });
    let inputs = match action {
        Action::Move { to: spot } => vec![to(spot)?],
        Action::Click { at, button, count, held } => {
            bounded("count", i64::from(*count), 1, 3)?;
            let mut inputs: Vec<_> = at.iter().map(to).collect::<Result<_, _>>()?;
            for _ in 0..*count {
                inputs.push(Input::ButtonDown { button: *button, held: held.clone() });
                inputs.push(Input::ButtonUp { button: *button });
            }
            inputs
        }
        Action::Drag { path, button, held } => drag(path, *button, held, display, mapping)?,
        Action::Scroll { at, dx, dy, held } => {
            let most = i64::from(MOST_NOTCHES);
            bounded("dx", i64::from(*dx), -most, most)?;
            bounded("dy", i64::from(*dy), -most, most)?;
            if (*dx, *dy) == (0, 0) {
                return Err(SessionsError::Invalid("dx and dy are both 0".to_owned()));
            }
            let mut inputs: Vec<_> = at.iter().map(to).collect::<Result<_, _>>()?;
            inputs.push(Input::Scroll { x: *dx, y: *dy, held: held.clone() });
            inputs
        }
        Action::Type { text } => return type_text(text, typing),
        Action::TypeSecret { .. } => {
            return Err(SessionsError::Invalid("a secret is read before it is typed".to_owned()));
        }
        Action::Paste { text, chord } => return paste(text, chord, typing),
        Action::Press { chord, repeat } => {
            bounded("repeat", i64::from(*repeat), 1, i64::from(MOST_PRESSES))?;
            chord.inputs(*repeat)
        }
    };
    Ok(vec![Batch { inputs, typed: 0, pause: None }])
}

fn bounded(what: &str, value: i64, least: i64, most: i64) -> Result<(), SessionsError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(SessionsError::Invalid(format!("{what} is {value}, allowed are {least} to {most}")))
}

fn drag(
    path: &[Spot],
    button: Button,
    held: &[Modifier],
    display: DisplayId,
    mapping: &Mapping,
) -> Result<Vec<Input>, SessionsError> {
    bounded("the number of points of the path", path.len() as i64, 2, LONGEST_PATH as i64)?;
    let points: Vec<Point> = path.iter().map(|spot| mapping.point(*spot)).collect::<Result<_, _>>()?;
    let go = |to: Point| Input::Move { display, to };
    let key = |modifier: &Modifier| Key::Named(modifier_key(*modifier));

    let mut inputs = vec![go(points[0])];
    inputs.extend(held.iter().map(|modifier| Input::KeyDown { key: key(modifier) }));
    inputs.push(Input::ButtonDown { button, held: Vec::new() });
    for pair in points.windows(2) {
        inputs.extend(between(pair[0], pair[1]).map(go));
    }
    inputs.push(Input::ButtonUp { button });
    inputs.extend(held.iter().rev().map(|modifier| Input::KeyUp { key: key(modifier) }));
    Ok(inputs)
}

/// Points on the way from one to the other, the last included.
fn between(from: Point, to: Point) -> impl Iterator<Item = Point> {
    let (dx, dy) = (f64::from(to.x) - f64::from(from.x), f64::from(to.y) - f64::from(from.y));
    let steps = ((dx.hypot(dy) / DRAG_STEP).ceil() as u32).clamp(1, DRAG_STEPS);
    (1..=steps).map(move |step| {
        let part = f64::from(step) / f64::from(steps);
        Point::new(from.x + (dx * part).round() as i32, from.y + (dy * part).round() as i32)
    })
}

fn modifier_key(modifier: Modifier) -> NamedKey {
    match modifier {
        Modifier::Shift => NamedKey::Shift,
        Modifier::Control => NamedKey::Control,
        Modifier::Alt => NamedKey::Alt,
        Modifier::Meta => NamedKey::Meta,
    }
}

/// The characters of a text that may be typed at once.
fn length(text: &str, typing: &Typing) -> Result<usize, SessionsError> {
    let characters = text.chars().count();
    if characters == 0 {
        return Err(SessionsError::Invalid("there is no text to type".to_owned()));
    }
    if characters > typing.longest {
        return Err(SessionsError::TextTooLong { characters, longest: typing.longest });
    }
    Ok(characters)
}

fn paste(text: &str, chord: &Chord, typing: &Typing) -> Result<Vec<Batch>, SessionsError> {
    let typed = length(text, typing)?;
    let copy = Batch { inputs: vec![Input::Clipboard(text.to_owned())], typed, pause: None };
    let press = Batch { inputs: chord.inputs(1), typed: 0, pause: Some(CLIPBOARD) };
    Ok(vec![copy, press])
}

fn type_text(text: &str, typing: &Typing) -> Result<Vec<Batch>, SessionsError> {
    length(text, typing)?;
    let batch = |piece: Piece| {
        let typed = piece.characters();
        let press = |key| Input::Press { key: Key::Named(key), held: Vec::new() };
        let input = match piece {
            Piece::Run(run) => Input::Text(run),
            Piece::Enter => press(NamedKey::Enter),
            Piece::Tab => press(NamedKey::Tab),
        };
        Batch { inputs: vec![input], typed, pause: None }
    };
    Ok(text::pieces(text, typing.chunk)?.into_iter().map(batch).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use remote::Size;

    const DISPLAY: DisplayId = DisplayId(0);

    fn inputs(action: Action) -> Result<Vec<Input>, SessionsError> {
        let mapping = Mapping::new(Space::Picture, Size::new(100, 100), Size::new(200, 200));
        let batches = plan(&action, DISPLAY, &mapping, &Typing { chunk: 50, longest: 100 })?;
        Ok(batches.into_iter().flat_map(|batch| batch.inputs).collect())
    }

    fn at(x: i32, y: i32) -> Input {
        Input::Move { display: DISPLAY, to: Point::new(x, y) }
    }

    fn spot(x: f64, y: f64) -> Spot {
        Spot { x, y }
    }

    #[test]
    fn a_double_click_moves_there_and_clicks_twice() {
        let held = vec![Modifier::Control];
        let down = Input::ButtonDown { button: Button::Left, held: held.clone() };
        let up = Input::ButtonUp { button: Button::Left };
        let click = |at, count| Action::Click { at, button: Button::Left, count, held: held.clone() };
        assert_eq!(
            inputs(click(Some(spot(10.0, 20.0)), 2)).unwrap(),
            [at(21, 41), down.clone(), up.clone(), down.clone(), up.clone()]
        );
        assert_eq!(inputs(click(None, 1)).unwrap(), [down, up], "where the pointer is");
        assert_eq!(inputs(click(None, 4)).unwrap_err().kind(), "invalid_argument");
    }

    #[test]
    fn a_drag_presses_where_it_starts_and_passes_by_on_the_way() {
        let path = vec![spot(0.0, 0.0), spot(30.0, 0.0)];
        let held = vec![Modifier::Shift, Modifier::Alt];
        let inputs = inputs(Action::Drag { path, button: Button::Left, held }).unwrap();
        let key = |key| Key::Named(key);
        assert_eq!(
            inputs[..4],
            [
                at(1, 1),
                Input::KeyDown { key: key(NamedKey::Shift) },
                Input::KeyDown { key: key(NamedKey::Alt) },
                Input::ButtonDown { button: Button::Left, held: vec![] },
            ]
        );
        assert_eq!(inputs[4..7], [at(21, 1), at(41, 1), at(61, 1)]);
        assert_eq!(
            inputs[7..],
            [
                Input::ButtonUp { button: Button::Left },
                Input::KeyUp { key: key(NamedKey::Alt) },
                Input::KeyUp { key: key(NamedKey::Shift) },
            ]
        );
    }

    #[test]
    fn a_paste_copies_first_and_gives_the_peer_time_to_take_it() {
        let mapping = Mapping::new(Space::Picture, Size::new(100, 100), Size::new(200, 200));
        let action = Action::Paste { text: "漢\n".to_owned(), chord: Chord::parse("ctrl+v").unwrap() };
        let typing = Typing { chunk: 1, longest: 2 };
        let batches = plan(&action, DISPLAY, &mapping, &typing).unwrap();
        assert_eq!(batches[0].inputs, [Input::Clipboard("漢\n".to_owned())], "in one piece");
        assert_eq!((batches[0].typed, batches[1].pause), (2, Some(CLIPBOARD)));
        assert!(matches!(batches[1].inputs[..], [Input::Press { .. }]));
        let longer = Typing { chunk: 1, longest: 1 };
        assert_eq!(plan(&action, DISPLAY, &mapping, &longer).unwrap_err().kind(), "invalid_argument");
    }

    #[test]
    fn a_plan_is_refused_as_a_whole() {
        let outside = vec![spot(0.0, 0.0), spot(100.0, 0.0)];
        for (action, kind) in [
            (Action::Drag { path: outside, button: Button::Left, held: vec![] }, "out_of_bounds"),
            (
                Action::Drag { path: vec![spot(1.0, 1.0)], button: Button::Left, held: vec![] },
                "invalid_argument",
            ),
            (Action::Scroll { at: None, dx: 0, dy: 0, held: vec![] }, "invalid_argument"),
            (Action::Scroll { at: None, dx: 0, dy: 101, held: vec![] }, "invalid_argument"),
            (Action::Press { chord: Chord::parse("a").unwrap(), repeat: 0 }, "invalid_argument"),
            (Action::Type { text: String::new() }, "invalid_argument"),
            (Action::Type { text: "x".repeat(101) }, "invalid_argument"),
            (Action::Type { text: "fine until\u{1b}".to_owned() }, "invalid_argument"),
        ] {
            assert_eq!(inputs(action.clone()).unwrap_err().kind(), kind, "{action:?}");
        }
    }
}
