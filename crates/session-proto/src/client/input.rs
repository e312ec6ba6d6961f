//! Pointer and keyboard in RustDesk's numbers (session §4).

use super::keys::{self, Keyboard};
use super::screen::{Platform, Screen};
use bytes::Bytes;
use hbb_common::session::{
    Clipboard, ClipboardFormat, ControlKey, KeyEvent, Message, MouseEvent, MultiClipboards, message,
};
use remote::{Button, DisplayId, Input, Modifier, Point, RemoteError};

const MOVE: i32 = 0;
const DOWN: i32 = 1;
const UP: i32 = 2;
const WHEEL: i32 = 3;

/// Android knows the wheel by these masks only (session §4.3).
const ANDROID_WHEEL_UP: i32 = 963;
const ANDROID_WHEEL_DOWN: i32 = 523_331;

/// Hosts from this version on take several representations of a clipboard (session §11.2).
const MULTI_CLIPBOARDS: i64 = 1_003_000;

/// More notches than anybody turns at once.
const MAX_NOTCHES: i32 = 200;

/// What is held down and where the pointer is; carried from one list of inputs to the next.
#[derive(Debug, Clone, Default)]
pub(super) struct Hands {
    keyboard: Keyboard,
    /// In the host's coordinates.
    at: Point,
}

/// A list of inputs as messages.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    pub(super) messages: Vec<Message>,
    /// Where the pointer ends up, if it moves.
    pub(super) pointer: Option<(DisplayId, Point)>,
    /// macOS: displays that have to become current, each with the number of messages before it.
    pub(super) switches: Vec<(usize, u32)>,
}

impl Hands {
    /// Encodes all of the inputs or none: `self` changes on success only.
    pub(super) fn encode(&mut self, inputs: &[Input], screen: &Screen) -> Result<Encoded, RemoteError> {
        let mut hands = self.clone();
        let mut out = Encoded::default();
        let mut current = screen.current;
        for input in inputs {
            hands.encode_one(input, screen, &mut current, &mut out)?;
        }
        *self = hands;
        Ok(out)
    }

    fn encode_one(
        &mut self,
        input: &Input,
        screen: &Screen,
        current: &mut u32,
        out: &mut Encoded,
    ) -> Result<(), RemoteError> {
        let mut keys = Vec::new();
        match input {
            Input::Move { display, to } => {
                self.at = screen.to_host(*display, *to)?;
                if screen.platform == Platform::MacOs && *current != display.0 {
                    // The host scales positions on its current display only.
                    *current = display.0;
                    out.switches.push((out.messages.len(), display.0));
                }
                out.messages.push(self.mouse(MOVE, Vec::new()));
                out.pointer = Some((*display, *to));
            }
            Input::ButtonDown { button, held } => {
                let held = self.keyboard.with(held);
                out.messages.push(self.mouse(number(*button) << 3 | DOWN, held));
            }
            Input::ButtonUp { button } => {
                let held = self.keyboard.with(&[]);
                out.messages.push(self.mouse(number(*button) << 3 | UP, held));
            }
            Input::Scroll { x, y, held } => self.scroll(*x, *y, held, screen.platform, &mut out.messages)?,
            Input::Press { key, held } => {
                self.keyboard.press(key, held, screen.platform, screen.sas, &mut keys)?
            }
            Input::KeyDown { key } => self.keyboard.down(key, screen.platform, screen.sas, &mut keys)?,
            Input::KeyUp { key } => self.keyboard.up(key, &mut keys)?,
            Input::Text(text) => keys::text(text, &mut keys)?,
            Input::Clipboard(text) => out.messages.push(clipboard_message(text, screen.version)),
        }
        out.messages.extend(keys.into_iter().map(key_message));
        Ok(())
    }

    /// Ours is positive to the right and downwards, the wire's to the left and upwards (session §4.1).
    fn scroll(
        &self,
        x: i32,
        y: i32,
        held: &[Modifier],
        platform: Platform,
        out: &mut Vec<Message>,
    ) -> Result<(), RemoteError> {
        if x.unsigned_abs().max(y.unsigned_abs()) > MAX_NOTCHES as u32 {
            return Err(RemoteError::Invalid(format!("a scroll of more than {MAX_NOTCHES} notches")));
        }
        if platform == Platform::Android {
            let mask = if y > 0 { ANDROID_WHEEL_DOWN } else { ANDROID_WHEEL_UP };
            out.extend((0..y.abs()).map(|_| self.mouse(mask, Vec::new())));
            return Ok(());
        }
        // Modifiers listed with the wheel are not pressed by the host.
        let already = self.keyboard.with(&[]);
        let extra: Vec<ControlKey> =
            self.keyboard.with(held).into_iter().filter(|m| !already.contains(m)).collect();
        let all = self.keyboard.with(held);
        let key = |key: &ControlKey, down| {
            key_message(keys::event(keys::named(*key), already.clone(), down, false))
        };
        out.extend(extra.iter().map(|m| key(m, true)));
        for (x, y) in [(0, -y), (-x, 0)] {
            if (x, y) != (0, 0) {
                out.push(mouse_message(WHEEL, Point::new(x, y), all.clone()));
            }
        }
        out.extend(extra.iter().rev().map(|m| key(m, false)));
        Ok(())
    }

    fn mouse(&self, mask: i32, modifiers: Vec<ControlKey>) -> Message {
        mouse_message(mask, self.at, modifiers)
    }
}

/// Whether the input is one of the keyboard.
pub(super) fn is_key(input: &Input) -> bool {
    matches!(input, Input::Press { .. } | Input::KeyDown { .. } | Input::KeyUp { .. } | Input::Text(_))
}

fn mouse_message(mask: i32, at: Point, modifiers: Vec<ControlKey>) -> Message {
    let modifiers = modifiers.into_iter().map(|m| m as i32).collect();
    Message { union: Some(message::Union::MouseEvent(MouseEvent { mask, x: at.x, y: at.y, modifiers })) }
}

fn key_message(event: KeyEvent) -> Message {
    Message { union: Some(message::Union::KeyEvent(event)) }
}

/// Text for the host's clipboard (session §5.1).
fn clipboard_message(text: &str, version: i64) -> Message {
    let item = Clipboard {
        content: Bytes::copy_from_slice(text.as_bytes()),
        format: ClipboardFormat::Text as i32,
        ..Default::default()
    };
    let union = if version >= MULTI_CLIPBOARDS {
        message::Union::MultiClipboards(MultiClipboards { clipboards: vec![item] })
    } else {
        message::Union::Clipboard(item)
    };
    Message { union: Some(union) }
}

fn number(button: Button) -> i32 {
    match button {
        Button::Left => 1,
        Button::Right => 2,
        Button::Middle => 4,
        Button::Back => 8,
        Button::Forward => 16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hbb_common::session::{DisplayInfo, PeerInfo, key_event};
    use remote::Key;

    fn screen(platform: &str) -> Screen {
        let display =
            |x, width| DisplayInfo { x, y: 10, width, height: 100, scale: 2.0, ..Default::default() };
        Screen::new(&PeerInfo {
            platform: platform.into(),
            displays: vec![display(0, 100), display(100, 200)],
            ..Default::default()
        })
    }

    fn move_to(display: u32, x: i32, y: i32) -> Input {
        Input::Move { display: DisplayId(display), to: Point::new(x, y) }
    }

    /// Mask, x, y and modifiers of a mouse event; `None` for a key.
    type Brief = Option<(i32, i32, i32, Vec<i32>)>;

    fn mice(encoded: &Encoded) -> Vec<Brief> {
        let mouse = |m: &Message| match &m.union {
            Some(message::Union::MouseEvent(e)) => Some((e.mask, e.x, e.y, e.modifiers.clone())),
            _ => None,
        };
        encoded.messages.iter().map(mouse).collect()
    }

    #[test]
    fn a_click_is_move_down_up_at_the_place() {
        let mut hands = Hands::default();
        let inputs = [
            move_to(1, 7, 8),
            Input::ButtonDown { button: Button::Left, held: vec![Modifier::Shift] },
            Input::ButtonUp { button: Button::Left },
        ];
        let got = hands.encode(&inputs, &screen("Linux")).unwrap();
        let want = [Some((0, 107, 18, vec![])), Some((9, 107, 18, vec![29])), Some((10, 107, 18, vec![]))];
        assert_eq!(mice(&got), want);
        assert_eq!(got.pointer, Some((DisplayId(1), Point::new(7, 8))));
        let masks = [
            (Button::Right, 17, 18),
            (Button::Middle, 33, 34),
            (Button::Back, 65, 66),
            (Button::Forward, 129, 130),
        ];
        for (button, down, up) in masks {
            let pair = [Input::ButtonDown { button, held: vec![] }, Input::ButtonUp { button }];
            let got = hands.encode(&pair, &screen("Linux")).unwrap();
            assert_eq!(mice(&got), [Some((down, 107, 18, vec![])), Some((up, 107, 18, vec![]))]);
        }
    }

    #[test]
    fn the_wheel_turns_the_other_way_on_the_wire() {
        let mut hands = Hands::default();
        let scroll = |x, y| [Input::Scroll { x, y, held: vec![] }];
        assert_eq!(mice(&hands.encode(&scroll(0, 2), &screen("Linux")).unwrap()), [Some((3, 0, -2, vec![]))]);
        assert_eq!(mice(&hands.encode(&scroll(1, 0), &screen("Linux")).unwrap()), [Some((3, -1, 0, vec![]))]);
        assert_eq!(
            mice(&hands.encode(&scroll(1, -1), &screen("Linux")).unwrap()),
            [Some((3, 0, 1, vec![])), Some((3, -1, 0, vec![]))]
        );
        assert_eq!(
            mice(&hands.encode(&scroll(0, 1), &screen("Android")).unwrap()),
            [Some((523_331, 0, 0, vec![]))]
        );
        let zoom = [Input::Scroll { x: 0, y: -1, held: vec![Modifier::Control] }];
        let got = hands.encode(&zoom, &screen("Linux")).unwrap();
        assert_eq!(mice(&got), [None, Some((3, 0, 1, vec![4])), None]);
        assert!(hands.encode(&scroll(0, i32::MIN), &screen("Linux")).is_err());
    }

    #[test]
    fn one_bad_input_sends_nothing_and_changes_nothing() {
        let mut hands = Hands::default();
        let inputs = [Input::KeyDown { key: Key::Named(remote::NamedKey::Shift) }, move_to(0, 100, 0)];
        assert!(matches!(hands.encode(&inputs, &screen("Linux")), Err(RemoteError::Invalid(_))));
        let got = hands
            .encode(&[Input::ButtonDown { button: Button::Left, held: vec![] }], &screen("Linux"))
            .unwrap();
        assert_eq!(mice(&got), [Some((9, 0, 0, vec![]))], "Shift was not taken as held");
        assert_eq!(
            hands.encode(&[move_to(5, 0, 0)], &screen("Linux")).unwrap_err(),
            RemoteError::NoSuchDisplay(DisplayId(5))
        );
    }

    #[test]
    fn a_mac_is_told_the_display_first() {
        let mut hands = Hands::default();
        let got =
            hands.encode(&[move_to(0, 1, 1), move_to(1, 1, 1), move_to(1, 2, 2)], &screen("Mac OS")).unwrap();
        assert_eq!(got.switches, [(1, 1)]);
        assert_eq!(hands.encode(&[move_to(1, 1, 1)], &screen("Linux")).unwrap().switches, []);
    }

    #[test]
    fn a_clipboard_travels_as_the_host_knows_it() {
        let mut hands = Hands::default();
        let copy = [Input::Clipboard("漢".into())];
        let mut sent = |version: &str| {
            let info = PeerInfo { version: version.into(), ..Default::default() };
            hands.encode(&copy, &Screen::new(&info)).unwrap().messages.remove(0).union.unwrap()
        };
        let item = Clipboard { content: Bytes::from_static("漢".as_bytes()), ..Default::default() };
        let several = MultiClipboards { clipboards: vec![item.clone()] };
        assert_eq!(sent("1.4.9"), message::Union::MultiClipboards(several));
        assert_eq!(sent("1.2.7"), message::Union::Clipboard(item));
    }

    #[test]
    fn keys_and_text_are_key_events() {
        let mut hands = Hands::default();
        let got = hands.encode(&[Input::Text("hé\n".into())], &screen("Linux")).unwrap();
        let unions: Vec<_> = got
            .messages
            .iter()
            .map(|m| match &m.union {
                Some(message::Union::KeyEvent(e)) => e.union.clone().unwrap(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(unions, [key_event::Union::Seq("hé".into()), key_event::Union::ControlKey(27)]);
    }
}
