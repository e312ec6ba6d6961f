//! What the test card shows, and what input does to it.

use super::font;
use remote::{Button, Point, Rect, Size};

/// Red, green, blue.
pub type Rgb = [u8; 3];

/// Everything outside of the named places.
pub const BACKGROUND: Rgb = [0x20, 0x28, 0x30];
/// Fields of one colour each, in every size of the card, for checks of colours and places.
pub const FIELDS: [(Rect, Rgb); 8] = [
    (Rect::new(16, 56, 64, 48), [255, 0, 0]),
    (Rect::new(88, 56, 64, 48), [0, 255, 0]),
    (Rect::new(160, 56, 64, 48), [0, 0, 255]),
    (Rect::new(232, 56, 64, 48), [255, 255, 0]),
    (Rect::new(304, 56, 64, 48), [0, 255, 255]),
    (Rect::new(376, 56, 64, 48), [255, 0, 255]),
    (Rect::new(448, 56, 64, 48), [255, 255, 255]),
    (Rect::new(520, 56, 64, 48), [0, 0, 0]),
];
/// Shows what is typed, black on white, with a caret behind it.
pub const TEXT_FIELD: Rect = Rect::new(16, 120, 608, 32);
/// The line that Enter took out of the text field.
pub const ENTERED: Rect = Rect::new(16, 160, 608, 24);
/// Two buttons: every click changes the colour and counts.
pub const BUTTONS: [Rect; 2] = [Rect::new(16, 200, 176, 56), Rect::new(208, 200, 176, 56)];
/// A button that was clicked an even or an odd number of times.
pub const BUTTON_COLOURS: [Rgb; 2] = [[0x50, 0x60, 0x70], [0x20, 0x90, 0x40]];
/// Lines that tell the pointer's place, the pointer's button, the wheel and the key.
pub const STATUS: [Rect; 4] = [
    Rect::new(16, 272, 608, 24),
    Rect::new(16, 296, 608, 24),
    Rect::new(16, 320, 608, 24),
    Rect::new(16, 344, 608, 24),
];
/// The smallest card: everything above fits.
pub const LEAST: Size = Size::new(640, 400);

const TITLE: Rect = Rect::new(16, 16, 608, 24);
const WHITE: Rgb = [255, 255, 255];
const BLACK: Rgb = [0, 0, 0];
const CROSSHAIR: Rgb = [255, 128, 0];
/// From the pointer's place to the end of the crosshair's arms.
const ARM: u32 = 8;
/// Screen pixels for one of the font.
const ZOOM: u32 = 2;
const STEP: u32 = (font::WIDTH + 1) * ZOOM;
/// More typed text than this is not kept.
const LONGEST: usize = 256;

/// The picture and what it shows.
#[derive(Debug)]
pub(super) struct Card {
    size: Size,
    bgrx: Vec<u8>,
    typed: String,
    entered: String,
    clicks: [u32; 2],
    pointer: Point,
    button: String,
    wheel: Point,
    key: String,
    clip: Rect,
}

impl Card {
    pub(super) fn new(size: Size) -> Self {
        let mut card = Self {
            size: Size::default(),
            bgrx: Vec::new(),
            typed: String::new(),
            entered: String::new(),
            clicks: [0; 2],
            pointer: Point::new((size.width / 2) as i32, (size.height / 2) as i32),
            button: "none yet".to_owned(),
            wheel: Point::default(),
            key: "none yet".to_owned(),
            clip: Rect::default(),
        };
        card.resize(size);
        card
    }

    pub(super) fn size(&self) -> Size {
        self.size
    }

    pub(super) fn bgrx(&self) -> &[u8] {
        &self.bgrx
    }

    pub(super) fn pointer(&self) -> Point {
        self.pointer
    }

    /// All of it is new afterwards.
    pub(super) fn resize(&mut self, size: Size) -> Rect {
        self.size = size;
        self.bgrx = vec![0; size.area() as usize * 4];
        self.pointer = self.inside(self.pointer);
        self.paint(Rect::of(size))
    }

    /// These and the following say what they changed.
    pub(super) fn move_to(&mut self, to: Point) -> Rect {
        let before = self.crosshair();
        self.pointer = self.inside(to);
        let after = self.crosshair();
        self.paint(before).union(self.paint(after)).union(self.paint(STATUS[0]))
    }

    pub(super) fn button(&mut self, button: Button, down: bool) -> Rect {
        let word = if down { "down" } else { "up" };
        self.button = format!("{button:?} {word} at {},{}", self.pointer.x, self.pointer.y);
        let mut changed = self.paint(STATUS[1]);
        let (x, y) = (self.pointer.x.unsigned_abs(), self.pointer.y.unsigned_abs());
        let here = Rect::new(x, y, 1, 1);
        for (place, clicks) in BUTTONS.into_iter().zip(0..) {
            if down && button == Button::Left && !place.intersection(here).is_empty() {
                self.clicks[clicks] = self.clicks[clicks].wrapping_add(1);
                changed = changed.union(self.paint(place));
            }
        }
        changed
    }

    pub(super) fn scroll(&mut self, x: i32, y: i32) -> Rect {
        self.wheel = Point::new(self.wheel.x.wrapping_add(x), self.wheel.y.wrapping_add(y));
        self.paint(STATUS[2])
    }

    pub(super) fn key(&mut self, name: &str) -> Rect {
        self.key = name.to_owned();
        self.paint(STATUS[3])
    }

    pub(super) fn typed(&mut self, character: char) -> Rect {
        match character {
            '\n' => {
                self.entered = std::mem::take(&mut self.typed);
                return self.paint(TEXT_FIELD).union(self.paint(ENTERED));
            }
            '\u{8}' => drop(self.typed.pop()),
            _ if self.typed.len() < LONGEST => self.typed.push(character),
            _ => return Rect::default(),
        }
        self.paint(TEXT_FIELD)
    }

    fn inside(&self, place: Point) -> Point {
        let last = |length: u32| length.saturating_sub(1) as i32;
        Point::new(place.x.clamp(0, last(self.size.width)), place.y.clamp(0, last(self.size.height)))
    }

    fn crosshair(&self) -> Rect {
        let (x, y) = (self.pointer.x.unsigned_abs(), self.pointer.y.unsigned_abs());
        let (left, top) = (x.saturating_sub(ARM), y.saturating_sub(ARM));
        Rect::new(left, top, x + ARM + 1 - left, y + ARM + 1 - top).intersection(Rect::of(self.size))
    }

    /// Paints everything inside of `clip` anew; gives it back.
    fn paint(&mut self, clip: Rect) -> Rect {
        self.clip = clip.intersection(Rect::of(self.size));
        self.fill(Rect::of(self.size), BACKGROUND);
        self.write(TITLE, &format!("Deskhand test card {}", self.size), WHITE);
        for (place, colour) in FIELDS {
            self.fill(place, colour);
        }
        self.paint_text();
        for (n, place) in BUTTONS.into_iter().enumerate() {
            let clicks = self.clicks[n];
            self.fill(place, BUTTON_COLOURS[clicks as usize % 2]);
            let label = Rect::new(place.x + 12, place.y + 16, place.width - 16, 24);
            self.write(label, &format!("{} {clicks}", ["Apple", "Berry"][n]), WHITE);
        }
        let Point { x, y } = self.pointer;
        let Point { x: wheel_x, y: wheel_y } = self.wheel;
        let lines = [
            format!("pointer {x},{y}"),
            format!("button {}", self.button),
            format!("wheel {wheel_x},{wheel_y}"),
            format!("key {}", self.key),
        ];
        for (place, line) in STATUS.into_iter().zip(&lines) {
            self.write(place, line, WHITE);
        }
        let cross = self.crosshair();
        let (x, y) = (self.pointer.x.unsigned_abs(), self.pointer.y.unsigned_abs());
        self.fill(Rect { y, height: 1, ..cross }, CROSSHAIR);
        self.fill(Rect { x, width: 1, ..cross }, CROSSHAIR);
        self.clip
    }

    /// The end of a text that is too long for its place is what shows.
    fn paint_text(&mut self) {
        self.fill(TEXT_FIELD, WHITE);
        let inner = Rect::new(TEXT_FIELD.x + 8, TEXT_FIELD.y + 8, TEXT_FIELD.width - 16, 24);
        let room = (inner.width / STEP) as usize - 1;
        let skipped = self.typed.chars().count().saturating_sub(room);
        let shown: String = self.typed.chars().skip(skipped).collect();
        self.write(inner, &shown, BLACK);
        let caret = inner.x + shown.chars().count() as u32 * STEP;
        self.fill(Rect::new(caret, inner.y - 2, 2, font::HEIGHT * ZOOM + 4), BLACK);
        let entered = format!("entered {}", self.entered);
        self.write(ENTERED, &entered, WHITE);
    }

    /// One line at the top left of a place, cut off at its right edge.
    fn write(&mut self, place: Rect, text: &str, colour: Rgb) {
        if place.intersection(self.clip).is_empty() {
            return;
        }
        for (n, character) in (0..place.width / STEP).zip(text.chars()) {
            for (row, bits) in (0..).zip(font::letter(character)) {
                for column in (0..font::WIDTH).filter(|column| bits & 0x10 >> column != 0) {
                    let x = place.x + n * STEP + column * ZOOM;
                    self.fill(Rect::new(x, place.y + row * ZOOM, ZOOM, ZOOM), colour);
                }
            }
        }
    }

    fn fill(&mut self, place: Rect, [red, green, blue]: Rgb) {
        let place = place.intersection(self.clip);
        let stride = self.size.width as usize * 4;
        for row in self.bgrx.chunks_exact_mut(stride).skip(place.y as usize).take(place.height as usize) {
            let start = place.x as usize * 4;
            for pixel in row[start..start + place.width as usize * 4].chunks_exact_mut(4) {
                pixel.copy_from_slice(&[blue, green, red, 0xff]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixel(card: &Card, x: u32, y: u32) -> Rgb {
        let at = (y as usize * card.size.width as usize + x as usize) * 4;
        [card.bgrx[at + 2], card.bgrx[at + 1], card.bgrx[at]]
    }

    /// The smallest rectangle around all pixels that differ.
    fn difference(before: &[u8], card: &Card) -> Rect {
        let width = card.size.width as usize;
        let mut all = Rect::default();
        for (n, (a, b)) in before.chunks(4).zip(card.bgrx.chunks(4)).enumerate() {
            if a != b {
                all = all.union(Rect::new((n % width) as u32, (n / width) as u32, 1, 1));
            }
        }
        all
    }

    #[test]
    fn fields_have_their_colours_at_every_size() {
        for size in [LEAST, Size::new(1280, 800), Size::new(1921, 1081)] {
            let card = Card::new(size);
            for (place, colour) in FIELDS {
                assert_eq!(pixel(&card, place.x, place.y), colour);
                assert_eq!(pixel(&card, place.x + place.width - 1, place.y + place.height - 1), colour);
            }
            assert_eq!(pixel(&card, 0, 0), BACKGROUND);
            assert_eq!(pixel(&card, size.width - 1, size.height - 1), BACKGROUND);
        }
    }

    #[test]
    fn what_changes_is_inside_of_the_damage_and_nothing_is_left_behind() {
        let mut card = Card::new(Size::new(800, 600));
        let steps: [fn(&mut Card) -> Rect; 8] = [
            |card| card.move_to(Point::new(30, 210)),
            |card| card.button(Button::Left, true),
            |card| card.button(Button::Left, false),
            |card| card.scroll(0, 3),
            |card| card.key("Return"),
            |card| card.typed('x'),
            |card| card.typed('\n'),
            |card| card.move_to(Point::new(-5, 10_000)),
        ];
        for step in steps {
            let before = card.bgrx.clone();
            let damage = step(&mut card);
            let changed = difference(&before, &card);
            assert!(!changed.is_empty());
            assert_eq!(changed.intersection(damage), changed);
            // Painting all of it anew changes nothing.
            let partial = card.bgrx.clone();
            card.paint(Rect::of(card.size));
            assert_eq!(difference(&partial, &card), Rect::default());
        }
        assert_eq!(card.entered, "x");
        assert_eq!(card.pointer, Point::new(0, 599));
    }

    #[test]
    fn a_click_changes_the_colour_of_its_button() {
        let mut card = Card::new(LEAST);
        let corner = |card: &Card, n: usize| pixel(card, BUTTONS[n].x, BUTTONS[n].y);
        card.move_to(Point::new(300, 220));
        for clicks in 1..4usize {
            card.button(Button::Left, true);
            card.button(Button::Left, false);
            assert_eq!(corner(&card, 1), BUTTON_COLOURS[clicks % 2]);
            assert_eq!(corner(&card, 0), BUTTON_COLOURS[0]);
        }
        card.button(Button::Right, true);
        assert_eq!(card.clicks, [0, 3]);
    }

    #[test]
    fn typing_more_than_fits_shows_the_end_and_stays_bounded() {
        let mut card = Card::new(LEAST);
        for _ in 0..2 * LONGEST {
            card.typed('W');
        }
        assert_eq!(card.typed.len(), LONGEST);
        let full = card.bgrx.clone();
        card.typed('\u{8}');
        card.typed('i');
        assert!(!difference(&full, &card).is_empty());
    }
}
