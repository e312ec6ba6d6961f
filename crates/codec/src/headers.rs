//! What packets announce about themselves, read before a library spends memory on them.
//!
//! Only as much of each format as tells whether a stream can start here and how large its pictures are.
//! VP8: RFC 6386 §9.1. VP9: bitstream specification §6.2 and annex B. AV1: specification §5.3.
//! H.264: recommendation §7.3.1 and §7.3.2.1.1.

use remote::Size;

/// Why a header is not one that we decode.
pub(crate) type Refusal = &'static str;

const TRUNCATED: Refusal = "the header is cut short";

/// What a packet says before its first sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Announced {
    /// A decoder without memory of the past can start here.
    pub(crate) key: bool,
    /// The size of the picture, where the packet states it and not an earlier one.
    pub(crate) size: Option<Size>,
}

/// Reads bits from the most significant one down.
#[derive(Debug)]
struct Bits<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    fn bit(&mut self) -> Result<bool, Refusal> {
        let byte = self.data.get(self.at / 8).ok_or(TRUNCATED)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Ok(bit == 1)
    }

    /// An unsigned number of `count` bits, at most 32.
    fn number(&mut self, count: u32) -> Result<u32, Refusal> {
        (0..count).try_fold(0, |value, _| Ok(value << 1 | u32::from(self.bit()?)))
    }

    /// An unsigned Exp-Golomb number.
    fn golomb(&mut self) -> Result<u32, Refusal> {
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
            if zeros > 31 {
                return Err("a number is too long");
            }
        }
        Ok(((1u32 << zeros) - 1) + self.number(zeros)?)
    }

    /// A signed Exp-Golomb number.
    fn signed_golomb(&mut self) -> Result<i64, Refusal> {
        let code = i64::from(self.golomb()?);
        Ok(if code % 2 == 0 { -(code / 2) } else { (code + 1) / 2 })
    }
}

/// The header of a VP8 packet.
pub(crate) fn vp8(packet: &[u8]) -> Result<Announced, Refusal> {
    let tag = packet.first().ok_or(TRUNCATED)?;
    if tag & 1 == 1 {
        return Ok(Announced { key: false, size: None });
    }
    let header = packet.get(3..10).ok_or(TRUNCATED)?;
    if header[..3] != [0x9d, 0x01, 0x2a] {
        return Err("the start code is missing");
    }
    // The two highest bits are a hint for scaling the picture on the screen.
    let side = |at: usize| u32::from(u16::from_le_bytes([header[at], header[at + 1]]) & 0x3fff);
    Ok(Announced { key: true, size: Some(Size::new(side(3), side(5))) })
}

/// The frames within a VP9 packet that ends in a superframe index; `None` if it has none and is one frame.
pub(crate) fn vp9_superframe(packet: &[u8]) -> Result<Option<Vec<&[u8]>>, Refusal> {
    let marker = *packet.last().ok_or(TRUNCATED)?;
    if marker & 0xe0 != 0xc0 {
        return Ok(None);
    }
    let frames = usize::from(marker & 7) + 1;
    let width = usize::from(marker >> 3 & 3) + 1;
    let index = packet.len().checked_sub(2 + frames * width).ok_or("the superframe index is cut short")?;
    if packet[index] != marker {
        return Ok(None);
    }
    let mut rest = &packet[..index];
    let sizes = packet[index + 1..packet.len() - 1].chunks_exact(width);
    let mut found = Vec::with_capacity(frames);
    for size in sizes {
        let size = size.iter().rev().fold(0usize, |value, byte| value << 8 | usize::from(*byte));
        let (frame, after) = rest.split_at_checked(size).ok_or("a superframe announces too much")?;
        found.push(frame);
        rest = after;
    }
    Ok(Some(found))
}

/// The uncompressed header of one VP9 frame.
pub(crate) fn vp9(frame: &[u8]) -> Result<Announced, Refusal> {
    let mut bits = Bits::new(frame);
    if bits.number(2)? != 2 {
        return Err("the frame marker is missing");
    }
    let profile = bits.number(1)? | bits.number(1)? << 1;
    if profile > 1 {
        return Err("10 or 12 bits a sample");
    }
    if bits.bit()? {
        return Ok(Announced { key: false, size: None });
    }
    let key = !bits.bit()?;
    let shown = bits.bit()?;
    let resilient = bits.bit()?;
    if key {
        vp9_sync(&mut bits)?;
        vp9_colour(&mut bits, profile)?;
        return Ok(Announced { key, size: Some(vp9_size(&mut bits)?) });
    }
    let intra_only = !shown && bits.bit()?;
    if !resilient {
        bits.number(2)?;
    }
    if intra_only {
        vp9_sync(&mut bits)?;
        if profile > 0 {
            vp9_colour(&mut bits, profile)?;
        }
        bits.number(8)?;
        return Ok(Announced { key, size: Some(vp9_size(&mut bits)?) });
    }
    bits.number(8 + 3 * 4)?;
    for _ in 0..3 {
        if bits.bit()? {
            // As large as a picture that was let in before.
            return Ok(Announced { key, size: None });
        }
    }
    Ok(Announced { key, size: Some(vp9_size(&mut bits)?) })
}

fn vp9_sync(bits: &mut Bits<'_>) -> Result<(), Refusal> {
    if bits.number(24)? == 0x49_83_42 { Ok(()) } else { Err("the sync code is missing") }
}

fn vp9_colour(bits: &mut Bits<'_>, profile: u32) -> Result<(), Refusal> {
    const RGB: u32 = 7;
    if bits.number(3)? == RGB {
        return Err("planes of red, green and blue");
    }
    bits.bit()?;
    if profile == 1 && bits.number(2)? != 0 {
        return Err("chroma halved one way only");
    }
    if profile == 1 && bits.bit()? {
        return Err("a reserved bit is set");
    }
    Ok(())
}

fn vp9_size(bits: &mut Bits<'_>) -> Result<Size, Refusal> {
    Ok(Size::new(bits.number(16)? + 1, bits.number(16)? + 1))
}

/// Whether an AV1 temporal unit brings a sequence header, which every one with a keyframe does.
pub(crate) fn av1_has_sequence_header(mut packet: &[u8]) -> bool {
    while let Some((header, rest)) = packet.split_first() {
        const SEQUENCE_HEADER: u8 = 1;
        if header >> 3 & 15 == SEQUENCE_HEADER {
            return true;
        }
        let has_extension = header >> 2 & 1 == 1;
        let has_size = header >> 1 & 1 == 1;
        if !has_size {
            return false;
        }
        let body = rest.get(usize::from(has_extension)..);
        let next = body.and_then(|body| {
            let (size, length) = leb128(body)?;
            body.get(length.checked_add(size)?..)
        });
        match next {
            Some(next) => packet = next,
            None => return false,
        }
    }
    false
}

/// A little-endian base 128 number and how many bytes it takes.
fn leb128(data: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0usize;
    for (place, byte) in data.iter().take(8).enumerate() {
        value |= usize::from(byte & 0x7f).checked_shl(u32::try_from(place).ok()? * 7)?;
        if byte & 0x80 == 0 {
            return Some((value, place + 1));
        }
    }
    None
}

/// What an H.264 packet in Annex B form announces: `key` if it brings a sequence parameter set, `size` the
/// largest that one of them asks for.
pub(crate) fn h264(packet: &[u8]) -> Result<Announced, Refusal> {
    const SEQUENCE_PARAMETERS: u8 = 7;
    const SUBSET_SEQUENCE_PARAMETERS: u8 = 15;
    let mut found = Announced { key: false, size: None };
    let mut at = 0;
    while let Some(start) = start_code(&packet[at..]) {
        at += start + 3;
        let Some(kind) = packet.get(at) else { break };
        match kind & 0x1f {
            SEQUENCE_PARAMETERS => {
                let size = h264_size(&packet[at + 1..])?;
                let larger = found.size.is_none_or(|other| size.area() > other.area());
                found.key = true;
                found.size = if larger { Some(size) } else { found.size };
            }
            SUBSET_SEQUENCE_PARAMETERS => return Err("layers of several sizes"),
            _ => {}
        }
    }
    Ok(found)
}

/// Where the next 00 00 01 begins.
fn start_code(data: &[u8]) -> Option<usize> {
    let mut at = 2;
    while let Some(byte) = data.get(at) {
        match byte {
            0 => at += 1,
            1 if data[at - 1] == 0 && data[at - 2] == 0 => return Some(at - 2),
            _ => at += 3,
        }
    }
    None
}

/// Samples along a side of a macroblock.
const MACROBLOCK: u64 = 16;

/// The size of the pictures of a sequence parameter set, as its cropping shows them. The decoder allocates
/// whole macroblocks, so a crop counts as far as it is there to fill those up.
fn h264_size(body: &[u8]) -> Result<Size, Refusal> {
    // The fields up to the size are short; what follows is not read.
    let plain = without_emulation(&body[..body.len().min(1024)]);
    let mut bits = Bits::new(&plain);
    let profile = bits.number(8)?;
    bits.number(16)?;
    bits.golomb()?;
    if matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135) {
        h264_high_profile(&mut bits)?;
    }
    bits.golomb()?;
    match bits.golomb()? {
        0 => {
            bits.golomb()?;
        }
        1 => {
            bits.bit()?;
            bits.signed_golomb()?;
            bits.signed_golomb()?;
            let offsets = bits.golomb()?;
            if offsets > 255 {
                return Err("too many offsets");
            }
            for _ in 0..offsets {
                bits.signed_golomb()?;
            }
        }
        2 => {}
        _ => return Err("an unknown order of pictures"),
    }
    bits.golomb()?;
    bits.bit()?;
    let columns = u64::from(bits.golomb()?) + 1;
    let rows = u64::from(bits.golomb()?) + 1;
    let frames_only = bits.bit()?;
    let fields = u64::from(!frames_only) + 1;
    if !frames_only {
        bits.bit()?;
    }
    bits.bit()?;
    let mut crop = [0; 4];
    if bits.bit()? {
        for crop in &mut crop {
            *crop = u64::from(bits.golomb()?);
        }
    }
    let [left, right, top, bottom] = crop;
    // A unit of cropping is a sample of chroma, in each field.
    let side = |blocks: u64, unit: u64, crop: u64| {
        let (coded, cropped) = (blocks * MACROBLOCK, crop * unit);
        let fills_up = cropped < MACROBLOCK * unit / 2;
        let shown = if fills_up { coded - cropped } else { coded };
        u32::try_from(shown).map_err(|_| "a side is too long")
    };
    Ok(Size::new(side(columns, 2, left + right)?, side(rows * fields, 2 * fields, top + bottom)?))
}

fn h264_high_profile(bits: &mut Bits<'_>) -> Result<(), Refusal> {
    if bits.golomb()? != 1 {
        return Err("chroma that is not halved both ways");
    }
    if bits.golomb()? != 0 || bits.golomb()? != 0 {
        return Err("more than 8 bits a sample");
    }
    bits.bit()?;
    if bits.bit()? {
        for list in 0..8 {
            if bits.bit()? {
                h264_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Ok(())
}

fn h264_scaling_list(bits: &mut Bits<'_>, entries: u32) -> Result<(), Refusal> {
    let (mut last, mut next) = (8, 8);
    for _ in 0..entries {
        if next != 0 {
            next = (last + bits.signed_golomb()?).rem_euclid(256);
        }
        last = if next == 0 { last } else { next };
    }
    Ok(())
}

/// The payload without the 03 that keeps start codes out of it.
fn without_emulation(body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(body.len());
    let mut zeros = 0;
    for &byte in body {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        plain.push(byte);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vp8_keyframe_tells_its_size() {
        let packet = [0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x00, 0x45, 0x20, 0x03];
        assert_eq!(vp8(&packet), Ok(Announced { key: true, size: Some(Size::new(1280, 800)) }));
        assert_eq!(vp8(&[0x11]), Ok(Announced { key: false, size: None }));
        assert_eq!(vp8(&packet[..9]), Err(TRUNCATED));
        assert_eq!(vp8(&[0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Err("the start code is missing"));
    }

    #[test]
    fn a_superframe_is_cut_where_its_index_says() {
        let packet = [1, 2, 3, 0xc1, 1, 2, 0xc1];
        assert_eq!(vp9_superframe(&packet), Ok(Some(vec![&[1u8][..], &[2, 3][..]])));
        assert_eq!(vp9_superframe(&[1, 2, 3]), Ok(None));
        assert_eq!(vp9_superframe(&[1, 2, 3, 4, 0xc1]), Ok(None));
        assert!(vp9_superframe(&[0xc1]).is_err());
        assert!(vp9_superframe(&[1, 0xc1, 1, 9, 0xc1]).is_err());
    }

    /// A parameter set of the baseline profile, from its first byte behind the kind on.
    fn parameter_set(columns: u32, rows: u32, frames_only: bool, crop: Option<[u32; 4]>) -> Vec<u8> {
        let mut bits = vec![];
        let put = |bits: &mut Vec<bool>, value: u32, count: u32| {
            bits.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
        };
        let golomb = |bits: &mut Vec<bool>, value: u32| {
            let count = 32 - (value + 1).leading_zeros();
            put(bits, 0, count - 1);
            put(bits, value + 1, count);
        };
        put(&mut bits, 66, 8);
        put(&mut bits, 40, 16);
        // Number, frame numbers, order of pictures, references.
        [0, 0, 2, 1].iter().for_each(|value| golomb(&mut bits, *value));
        put(&mut bits, 0, 1);
        golomb(&mut bits, columns - 1);
        golomb(&mut bits, rows - 1);
        put(&mut bits, u32::from(frames_only), 1);
        put(&mut bits, 0, u32::from(!frames_only));
        put(&mut bits, 1, 1);
        put(&mut bits, u32::from(crop.is_some()), 1);
        crop.iter().flatten().for_each(|value| golomb(&mut bits, *value));
        put(&mut bits, 0b01, 2);
        let byte =
            |bits: &[bool]| bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit)) << (8 - bits.len());
        bits.chunks(8).map(byte).collect()
    }

    #[test]
    fn an_h264_picture_is_as_large_as_its_cropping_leaves_it() {
        let size =
            |columns, rows, frames_only, crop| h264_size(&parameter_set(columns, rows, frames_only, crop));
        assert_eq!(size(120, 68, true, None), Ok(Size::new(1920, 1088)));
        assert_eq!(size(120, 68, true, Some([0, 0, 0, 4])), Ok(Size::new(1920, 1080)));
        assert_eq!(size(120, 34, false, Some([0, 0, 0, 2])), Ok(Size::new(1920, 1080)));
        assert_eq!(size(86, 48, true, Some([1, 4, 0, 0])), Ok(Size::new(1366, 768)));
        // More than fills up macroblocks: the decoder would allocate it all the same.
        assert_eq!(size(1024, 1024, true, Some([0, 8184, 0, 8184])), Ok(Size::new(16_384, 16_384)));
        assert_eq!(size(120, 68, true, Some([4, 4, 0, 8])), Ok(Size::new(1920, 1088)));
    }

    #[test]
    fn start_codes_are_found_at_every_offset() {
        for before in 0..8 {
            let mut data = vec![7u8; before];
            data.extend([0, 0, 1, 0x65]);
            assert_eq!(start_code(&data), Some(before), "after {before} bytes");
            data.insert(before, 0);
            assert_eq!(start_code(&data), Some(before + 1));
        }
        assert_eq!(start_code(&[0, 1, 1, 0, 2, 1]), None);
        assert_eq!(start_code(&[0, 0]), None);
    }

    #[test]
    fn emulation_bytes_are_left_out() {
        assert_eq!(without_emulation(&[0, 0, 3, 1, 0, 0, 3, 0, 0, 3]), [0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(without_emulation(&[3, 0, 3, 3]), [3, 0, 3, 3]);
    }

    #[test]
    fn obu_headers_are_walked() {
        let delimiter = [0x12, 0x00];
        assert!(av1_has_sequence_header(&[0x12, 0x00, 0x0a, 0x01, 0x00]));
        assert!(!av1_has_sequence_header(&delimiter));
        assert!(!av1_has_sequence_header(&[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]));
        assert!(!av1_has_sequence_header(&[0x32, 0x7f]));
    }

    #[test]
    fn numbers_of_variable_length() {
        assert_eq!(Bits::new(&[0b1000_0000]).golomb(), Ok(0));
        assert_eq!(Bits::new(&[0b0101_1000]).golomb(), Ok(1));
        assert_eq!(Bits::new(&[0b0010_0000]).golomb(), Ok(3));
        assert_eq!(Bits::new(&[0b0010_0000]).signed_golomb(), Ok(2));
        assert_eq!(Bits::new(&[0b0110_0000]).signed_golomb(), Ok(-1));
        assert_eq!(Bits::new(&[0; 8]).golomb(), Err("a number is too long"));
    }
}
