//! Deflate for rows of pixels (RFC 1951), one block for each strip.
//!
//! General compressors look for repetitions byte by byte. What repeats on a screen is whole pixels: runs of
//! one colour, the row above, the strokes of letters. Looking at pixels only asks a third of the questions,
//! and a repetition is one comparison of words. As repetitions never reach over the filter byte between
//! rows, each is a number of pixels, 86 (258 bytes) at most.

use crate::huffman::{Code, lengths};
use std::ops::Range;

/// A pixel of the stream: the bytes of three channels, and zero.
pub(crate) type Pixel = [u8; 4];

/// Pixels of the longest repetition.
const LONGEST: usize = 86;

/// Bytes that a repetition may look back.
const WINDOW: usize = 32_768;

const LITERALS: usize = 286;
const DISTANCES: usize = 30;
const END_OF_BLOCK: usize = 256;

/// Places remembered by the two pixels that stand there.
const PLACES: usize = 1 << 13;
const NOWHERE: u32 = u32::MAX;

/// Rows of filtered pixels. They are the stream once each has its filter's number in front.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    /// The number of each row's filter.
    pub(crate) filters: &'a [u8],
    /// Row after row.
    pub(crate) pixels: &'a [Pixel],
    /// Pixels of a row, 2000 at most.
    pub(crate) width: usize,
}

/// What compressing needs besides the rows, kept from one strip to the next.
#[derive(Debug)]
pub(crate) struct Deflater {
    /// Row in the upper half, column in the lower.
    places: Vec<u32>,
    tokens: Vec<Token>,
    /// How often each byte is a literal: of each channel by itself, so that no count waits for the one before.
    bytes: [[u32; 256]; 3],
    lengths: [u32; LITERALS],
    distances: [u32; DISTANCES],
    /// How often there was reason to look at a remembered place, how often that was done, and how often it
    /// helped.
    asked: u32,
    looked: u32,
    found: u32,
}

/// A repetition, a pixel or a filter byte, packed to fit a register.
#[derive(Debug, Clone, Copy)]
struct Token(u32);

impl Token {
    const REPETITION: u32 = 1 << 31;
    const FILTER: u32 = 1 << 30;

    fn repetition(pixels: usize, distance: usize) -> Self {
        Self(Self::REPETITION | (pixels as u32) << 15 | (distance as u32 - 1))
    }
}

/// A repetition that was found: its pixels, and how many bytes back.
type Found = (usize, usize);

impl Deflater {
    pub(crate) fn new() -> Self {
        Self {
            places: vec![NOWHERE; PLACES],
            tokens: Vec::new(),
            bytes: [[0; 256]; 3],
            lengths: [0; LITERALS],
            distances: [0; DISTANCES],
            asked: 0,
            looked: 0,
            found: 0,
        }
    }

    /// Appends a block that is not the last one and ends on a byte.
    pub(crate) fn compress(&mut self, rows: Rows<'_>, out: &mut Vec<u8>) {
        self.places.fill(NOWHERE);
        self.tokens.clear();
        self.bytes = [[0; 256]; 3];
        self.lengths = [0; LITERALS];
        self.distances = [0; DISTANCES];
        (self.asked, self.looked, self.found) = (0, 64, 64);
        for row in 0..rows.filters.len() {
            self.tokens.push(Token(Token::FILTER | u32::from(rows.filters[row])));
            self.bytes[0][usize::from(rows.filters[row])] += 1;
            self.parse(rows, row);
        }
        self.write(out);
    }

    /// Takes a row apart into repetitions and pixels.
    fn parse(&mut self, rows: Rows<'_>, row: usize) {
        let width = rows.width;
        let stride = 1 + width * 3;
        let current = &rows.pixels[row * width..][..width];
        let above = row.checked_sub(1).map_or(&[][..], |above| &rows.pixels[above * width..][..width]);
        if above == current {
            // One colour is told in fewer bits as itself than as the row above.
            if current[1..] == current[..width - 1] {
                self.literal(current[0]);
                return self.repeat(width - 1, 3);
            }
            return self.repeat(width, stride);
        }
        let mut at = 0;
        while at < width {
            let rest = &current[at..];
            let left = if at > 0 { &current[at - 1..] } else { &[] };
            let mut best = longer(rest, (left, 3), (above.get(at..).unwrap_or_default(), stride));
            if best.0 < 3
                && self.is_worth_a_look()
                && let [first, second, ..] = *rest
            {
                let place = &mut self.places[place_of(first, second)];
                let remembered = std::mem::replace(place, (row as u32) << 16 | at as u32);
                if let Some(found) = found_at(remembered, rows, row, at)
                    && found.0 > best.0 + 1
                {
                    self.found += 1;
                    best = found;
                }
            }
            let (length, distance) = best;
            if length == 0 {
                self.literal(rest[0]);
                at += 1;
                continue;
            }
            self.repeat(length, distance);
            self.remember(current, row, at + 1..(at + length).min(at + 3));
            at += length;
        }
    }

    /// Whether to look where the next pixels stood before. Where that seldom helps, as with the many shades
    /// of scaled letters, every eighth place is looked at, to notice when it does again.
    fn is_worth_a_look(&mut self) -> bool {
        const HELPS: u32 = 4;
        self.asked += 1;
        let worth = self.found * HELPS >= self.looked;
        let look = worth || self.asked.is_multiple_of(8);
        if look {
            self.looked += 1;
            if self.looked == 1024 {
                (self.looked, self.found) = (512, self.found / 2);
            }
        }
        look
    }

    /// Remembers where pairs of pixels stand.
    fn remember(&mut self, current: &[Pixel], row: usize, columns: Range<usize>) {
        for column in columns {
            if let Some(&[first, second]) = current.get(column..column + 2) {
                self.places[place_of(first, second)] = (row as u32) << 16 | column as u32;
            }
        }
    }

    fn literal(&mut self, pixel: Pixel) {
        let [first, second, third, _] = pixel;
        self.bytes[0][usize::from(first)] += 1;
        self.bytes[1][usize::from(second)] += 1;
        self.bytes[2][usize::from(third)] += 1;
        self.tokens.push(Token(u32::from_le_bytes([first, second, third, 0])));
    }

    fn repeat(&mut self, mut pixels: usize, distance: usize) {
        while pixels > 0 {
            let length = pixels.min(LONGEST);
            self.lengths[usize::from(LENGTHS[length].symbol)] += 1;
            self.distances[distance_symbol(distance).0] += 1;
            self.tokens.push(Token::repetition(length, distance));
            pixels -= length;
        }
    }

    fn write(&mut self, out: &mut Vec<u8>) {
        let mut counts = self.lengths;
        let [first, second, third] = &self.bytes;
        for (byte, count) in counts[..256].iter_mut().enumerate() {
            *count = first[byte] + second[byte] + third[byte];
        }
        counts[END_OF_BLOCK] = 1;
        let literals = lengths(&mut counts, 15);
        let distances = lengths(&mut self.distances, 15);
        let start = out.len();
        // No token takes more than 48 bits; the table of code lengths takes less than 400 bytes.
        out.resize(start + self.tokens.len() * 6 + 512, 0);
        let mut bits = Bits { out: &mut out[start..], at: 0, held: 0, count: 0 };
        const DYNAMIC_NOT_LAST: u64 = 0b100;
        bits.put(DYNAMIC_NOT_LAST, 3);
        write_code_lengths(&literals, &distances, &mut bits);
        let literals: [Code; LITERALS] = Code::canonical(&literals);
        let distances: [Code; DISTANCES] = Code::canonical(&distances);
        for &Token(token) in &self.tokens {
            if token & Token::REPETITION != 0 {
                let (length, distance) = ((token >> 15 & 0x7f) as usize, (token & 0x7fff) as usize + 1);
                let Length { symbol, extra, extra_bits } = LENGTHS[length];
                let code = literals[usize::from(symbol)];
                bits.hold(code.bits(), code.length());
                bits.hold(u64::from(extra), u32::from(extra_bits));
                let (symbol, extra, extra_bits) = distance_symbol(distance);
                let code = distances[symbol];
                bits.hold(code.bits(), code.length());
                bits.put(extra, extra_bits);
            } else if token & Token::FILTER != 0 {
                let code = literals[(token & 0xff) as usize];
                bits.put(code.bits(), code.length());
            } else {
                let [first, second, third, _] = token.to_le_bytes();
                let codes = [first, second, third].map(|byte| literals[usize::from(byte)]);
                bits.hold(codes[0].bits(), codes[0].length());
                bits.hold(codes[1].bits(), codes[1].length());
                bits.put(codes[2].bits(), codes[2].length());
            }
        }
        let end = literals[END_OF_BLOCK];
        bits.put(end.bits(), end.length());
        let length = bits.finish();
        out.truncate(start + length);
    }
}

/// Which of the remembered places a pair of pixels has.
fn place_of(first: Pixel, second: Pixel) -> usize {
    let pair = u64::from(u32::from_le_bytes(first)) << 32 | u64::from(u32::from_le_bytes(second));
    (pair.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - PLACES.trailing_zeros())) as usize
}

/// The repetition of what stood at a remembered place, if there is one within reach.
fn found_at(place: u32, rows: Rows<'_>, row: usize, at: usize) -> Option<Found> {
    if place == NOWHERE {
        return None;
    }
    let (then, column) = ((place >> 16) as usize, (place & 0xffff) as usize);
    let distance = ((row - then) * (1 + rows.width * 3) + at * 3).checked_sub(column * 3)?;
    if distance > WINDOW {
        return None;
    }
    let current = &rows.pixels[row * rows.width..][..rows.width];
    let source = &rows.pixels[then * rows.width..][..rows.width];
    Some((common(&current[at..], &source[column..]), distance))
}

/// The longer of two repetitions, each given as the pixels that would be repeated and how many bytes back
/// they are; the second must be worth its distance.
fn longer(rest: &[Pixel], near: (&[Pixel], usize), far: (&[Pixel], usize)) -> Found {
    let (mut one, mut other) = (head(rest, near.0), head(rest, far.0));
    // Most end here. A branch for each of them would be guessed wrongly every other time.
    if one == HEAD {
        one = common(rest, near.0);
    }
    if other == HEAD {
        other = common(rest, far.0);
    }
    if other > one.max(1) { (other, far.1) } else { (one, near.1) }
}

/// Pixels that are compared at once.
const HEAD: usize = 4;

/// How many of the first few pixels are the same.
fn head(a: &[Pixel], b: &[Pixel]) -> usize {
    match (a.as_flattened().first_chunk(), b.as_flattened().first_chunk()) {
        (Some(a), Some(b)) => {
            let differences = u128::from_le_bytes(*a) ^ u128::from_le_bytes(*b);
            differences.trailing_zeros() as usize / 32
        }
        _ => a.iter().zip(b).take_while(|(a, b)| a == b).count(),
    }
}

/// How many pixels are the same from the start on.
fn common(a: &[Pixel], b: &[Pixel]) -> usize {
    let both = a.len().min(b.len());
    let mut same = 0;
    while same < both {
        let more = head(&a[same..both], &b[same..both]);
        same += more;
        if more < HEAD {
            break;
        }
    }
    same
}

/// How a length is written (RFC 1951 §3.2.5).
#[derive(Debug, Clone, Copy)]
struct Length {
    symbol: u16,
    extra: u8,
    extra_bits: u8,
}

/// For each number of pixels; that of none is not used.
static LENGTHS: [Length; LONGEST + 1] = {
    let mut table = [Length { symbol: 0, extra: 0, extra_bits: 0 }; LONGEST + 1];
    let mut pixels = 1;
    while pixels < LONGEST {
        // Lengths from 3 on; from 11 on there are four symbols for each power of two.
        let past = pixels * 3 - 3;
        table[pixels] = if past < 8 {
            Length { symbol: 257 + past as u16, extra: 0, extra_bits: 0 }
        } else {
            let bits = past.ilog2() - 2;
            let symbol = 257 + (bits << 2) as u16 + (past >> bits) as u16;
            Length { symbol, extra: (past & ((1 << bits) - 1)) as u8, extra_bits: bits as u8 }
        };
        pixels += 1;
    }
    table[LONGEST] = Length { symbol: 285, extra: 0, extra_bits: 0 };
    table
};

/// The symbol of a distance, and its extra bits and how many they are (RFC 1951 §3.2.5).
fn distance_symbol(distance: usize) -> (usize, u64, u32) {
    let past = distance - 1;
    if past < 4 {
        return (past, 0, 0);
    }
    let bits = past.ilog2() - 1;
    let symbol = (bits << 1) as usize + (past >> bits);
    (symbol, (past & ((1 << bits) - 1)) as u64, bits)
}

/// Writes how long the codes are (RFC 1951 §3.2.7).
fn write_code_lengths(literals: &[u8; LITERALS], distances: &[u8; DISTANCES], bits: &mut Bits<'_>) {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let used = |lengths: &[u8]| lengths.iter().rposition(|length| *length > 0).map_or(0, |last| last + 1);
    let (literal_count, distance_count) = (used(literals).max(257), used(distances).max(1));
    let all: Vec<u8> =
        literals[..literal_count].iter().chain(&distances[..distance_count]).copied().collect();
    let runs = runs_of_lengths(&all);
    let mut counts = [0; 19];
    runs.iter().for_each(|(symbol, ..)| counts[usize::from(*symbol)] += 1);
    let lengths = lengths(&mut counts, 7);
    let codes: [Code; 19] = Code::canonical(&lengths);
    let ordered = ORDER.iter().rposition(|symbol| lengths[*symbol] > 0).map_or(4, |last| (last + 1).max(4));
    bits.put((literal_count - 257) as u64, 5);
    bits.put((distance_count - 1) as u64, 5);
    bits.put((ordered - 4) as u64, 4);
    ORDER[..ordered].iter().for_each(|symbol| bits.put(u64::from(lengths[*symbol]), 3));
    for (symbol, extra, extra_bits) in runs {
        let code = codes[usize::from(symbol)];
        bits.hold(code.bits(), code.length());
        bits.put(u64::from(extra), extra_bits);
    }
}

/// Lengths as symbols 0 to 18, each with its extra bits and how many they are.
fn runs_of_lengths(lengths: &[u8]) -> Vec<(u8, u8, u32)> {
    let mut runs = Vec::with_capacity(lengths.len());
    for equal in lengths.chunk_by(|a, b| a == b) {
        let (value, mut left) = (equal[0], equal.len());
        if value == 0 {
            while left >= 3 {
                let run = left.min(138);
                runs.push(if run < 11 { (17, run as u8 - 3, 3) } else { (18, run as u8 - 11, 7) });
                left -= run;
            }
        } else {
            runs.push((value, 0, 0));
            left -= 1;
            while left >= 3 {
                let run = left.min(6);
                runs.push((16, run as u8 - 3, 2));
                left -= run;
            }
        }
        runs.extend(std::iter::repeat_n((value, 0, 0), left));
    }
    runs
}

/// Writes bits, the lowest first, into memory that is large enough.
struct Bits<'a> {
    out: &'a mut [u8],
    at: usize,
    held: u64,
    count: u32,
}

impl Bits<'_> {
    /// Takes bits that [`put`](Self::put) writes: between two of those fit 57.
    fn hold(&mut self, bits: u64, count: u32) {
        self.held |= bits << self.count;
        self.count += count;
    }

    fn put(&mut self, bits: u64, count: u32) {
        self.hold(bits, count);
        self.out[self.at..self.at + 8].copy_from_slice(&self.held.to_le_bytes());
        // Eight whole bytes can not be: 7 bits were left and at most 48 were added.
        let whole = self.count / 8;
        self.at += whole as usize;
        self.held >>= whole * 8;
        self.count %= 8;
    }

    /// An empty stored block, which ends on a byte; says where that is.
    fn finish(mut self) -> usize {
        self.put(0, 3);
        if self.count > 0 {
            self.put(0, 8 - self.count);
        }
        self.out[self.at..self.at + 4].copy_from_slice(&[0, 0, 0xff, 0xff]);
        self.at + 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read as _;

    fn stream(filters: &[u8], pixels: &[Pixel], width: usize) -> Vec<u8> {
        let rows = filters.iter().zip(pixels.chunks_exact(width));
        rows.flat_map(|(filter, row)| {
            std::iter::once(*filter).chain(row.iter().flat_map(|[a, b, c, _]| [*a, *b, *c]))
        })
        .collect()
    }

    fn check(filters: &[u8], pixels: &[Pixel], width: usize) -> usize {
        let mut block = Vec::new();
        Deflater::new().compress(Rows { filters, pixels, width }, &mut block);
        let length = block.len();
        // A last, empty block.
        block.extend([0x03, 0x00]);
        let mut plain = Vec::new();
        flate2::read::DeflateDecoder::new(&block[..]).read_to_end(&mut plain).unwrap();
        assert!(plain == stream(filters, pixels, width), "another stream came out");
        length
    }

    #[test]
    fn every_length_and_distance_is_written_as_the_standard_says() {
        for pixels in 1..=LONGEST {
            let Length { symbol, extra, extra_bits } = LENGTHS[pixels];
            // The first length and the extra bits of each symbol.
            const BASE: [(usize, u8); 29] = [
                (3, 0),
                (4, 0),
                (5, 0),
                (6, 0),
                (7, 0),
                (8, 0),
                (9, 0),
                (10, 0),
                (11, 1),
                (13, 1),
                (15, 1),
                (17, 1),
                (19, 2),
                (23, 2),
                (27, 2),
                (31, 2),
                (35, 3),
                (43, 3),
                (51, 3),
                (59, 3),
                (67, 4),
                (83, 4),
                (99, 4),
                (115, 4),
                (131, 5),
                (163, 5),
                (195, 5),
                (227, 5),
                (258, 0),
            ];
            let (base, bits) = BASE[usize::from(symbol) - 257];
            assert_eq!((base + usize::from(extra), extra_bits), (pixels * 3, bits), "{pixels}");
        }
        for (distance, expected) in [
            (1, (0, 0, 0)),
            (3, (2, 0, 0)),
            (4, (3, 0, 0)),
            (5, (4, 0, 1)),
            (6, (4, 1, 1)),
            (7, (5, 0, 1)),
            (9, (6, 0, 2)),
            (4097, (24, 0, 11)),
            (6144, (24, 2047, 11)),
            (24_577, (29, 0, 13)),
            (32_768, (29, 8191, 13)),
        ] {
            assert_eq!(distance_symbol(distance), expected, "{distance}");
        }
    }

    #[test]
    fn plain_rows_become_almost_nothing() {
        let (width, height) = (1429, 32);
        let pixels = vec![[250, 250, 245, 0]; width * height];
        assert!(check(&vec![0; height], &pixels, width) < 300);
    }

    #[test]
    fn noise_grows_by_little_more_than_its_table() {
        let (width, height) = (500, 32);
        let noise = |n: usize| (n as u32).wrapping_mul(2_654_435_761).rotate_left(n as u32 % 31) ^ n as u32;
        let pixels: Vec<Pixel> = (0..width * height)
            .map(|n| {
                let [a, b, c, _] = noise(n * 7 + 3).to_le_bytes();
                [a, b, c, 0]
            })
            .collect();
        let length = check(&vec![1; height], &pixels, width);
        assert!(length < width * height * 3 * 102 / 100, "{length}");
    }

    #[test]
    fn rows_of_every_small_width_come_back() {
        for width in 1..=9 {
            for height in 1..=5 {
                let pixels: Vec<Pixel> =
                    (0..width * height).map(|n| [(n * n % 3) as u8, 7, (n % 2) as u8, 0]).collect();
                check(&vec![2; height], &pixels, width);
            }
        }
    }

    fn pixel() -> impl Strategy<Value = Pixel> {
        prop_oneof![
            4 => prop::sample::select(vec![[255, 255, 255, 0], [0, 0, 0, 0], [30, 30, 40, 0]]),
            1 => any::<[u8; 3]>().prop_map(|[a, b, c]| [a, b, c, 0]),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        /// Whatever the rows are, other implementations read them.
        #[test]
        fn what_is_compressed_comes_back(
            width in 1usize..300,
            runs in prop::collection::vec((pixel(), 1usize..200, 0usize..400), 1..60),
            filter in 0u8..5,
        ) {
            let mut pixels = Vec::new();
            for (pixel, run, again) in runs {
                pixels.extend(std::iter::repeat_n(pixel, run));
                // Repeats what came before, as letters do.
                let from = pixels.len().saturating_sub(again);
                pixels.extend_from_within(from..(from + run).min(pixels.len()));
            }
            let height = (pixels.len() / width).clamp(1, 32);
            pixels.resize(width * height, [9, 8, 7, 0]);
            check(&vec![filter; height], &pixels, width);
        }
    }
}
