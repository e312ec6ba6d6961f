//! Prefix codes for deflate: how long the code of each symbol is, and which it is (RFC 1951 §3.2.2).

/// A code as it is written, the lowest bit first.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Code {
    bits: u16,
    length: u8,
}

impl Code {
    pub(crate) fn bits(self) -> u64 {
        u64::from(self.bits)
    }

    pub(crate) fn length(self) -> u32 {
        u32::from(self.length)
    }

    /// The codes that follow from their lengths.
    pub(crate) fn canonical<const N: usize>(lengths: &[u8; N]) -> [Self; N] {
        let mut next = [0u16; 17];
        for length in lengths.iter().filter(|length| **length > 0) {
            next[usize::from(*length) + 1] += 1;
        }
        for length in 1..16 {
            next[length] = (next[length] + next[length - 1]) << 1;
        }
        let mut codes = [Self::default(); N];
        for (code, &length) in codes.iter_mut().zip(lengths).filter(|(_, length)| **length > 0) {
            let bits = &mut next[usize::from(length)];
            *code = Self { bits: bits.reverse_bits() >> (16 - length), length };
            *bits = bits.wrapping_add(1);
        }
        codes
    }
}

/// How long the codes of symbols with such `counts` should be, `limit` at most; 0 for those that do not
/// occur. At least two have a code, which every reader takes: symbols that do not occur fill up.
pub(crate) fn lengths<const N: usize>(counts: &mut [u32; N], limit: u8) -> [u8; N] {
    let missing = 2usize.saturating_sub(counts.iter().filter(|count| **count > 0).count());
    counts.iter_mut().filter(|count| **count == 0).take(missing).for_each(|count| *count = 1);
    loop {
        let lengths = optimal(counts);
        if lengths.iter().all(|length| *length <= limit) {
            return lengths;
        }
        // Flatter counts make a flatter tree. They end as ones and twos, which need 10 bits for 286 symbols and
        // 6 for 19.
        counts.iter_mut().filter(|count| **count > 0).for_each(|count| *count = *count / 2 + 1);
    }
}

/// Huffman's lengths: the two rarest become one, again and again. Sorted leaves and inner nodes, which come
/// sorted by themselves, are two queues.
fn optimal<const N: usize>(counts: &[u32; N]) -> [u8; N] {
    let mut leaves: Vec<(u32, usize)> = Vec::with_capacity(N);
    leaves.extend(counts.iter().enumerate().filter(|(_, count)| **count > 0).map(|(n, count)| (*count, n)));
    leaves.sort_unstable();
    let count = leaves.len();
    let mut weights: Vec<u32> = leaves.iter().map(|(weight, _)| *weight).collect();
    let mut parents = vec![0usize; count * 2];
    let (mut leaf, mut inner) = (0, count);
    for node in count..(count * 2).saturating_sub(1) {
        let mut rarest = || {
            let take_leaf = leaf < count && (inner >= node || weights[leaf] <= weights[inner]);
            let queue = if take_leaf { &mut leaf } else { &mut inner };
            *queue += 1;
            parents[*queue - 1] = node;
            weights[*queue - 1]
        };
        let weight = rarest() + rarest();
        weights.push(weight);
    }
    let mut depths = vec![0u8; count * 2];
    for node in (0..(count * 2).saturating_sub(2)).rev() {
        // No more than one for each of a few hundred symbols; those over 255 are over any limit.
        depths[node] = depths[parents[node]].saturating_add(1);
    }
    let mut lengths = [0; N];
    leaves.iter().zip(&depths).for_each(|((_, symbol), depth)| lengths[*symbol] = *depth);
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the codes fill the space of all codes exactly, which makes them readable.
    fn is_complete(lengths: &[u8]) -> bool {
        let space: u32 = lengths.iter().filter(|l| **l > 0).map(|length| 1 << (15 - length)).sum();
        space == 1 << 15
    }

    #[test]
    fn rare_symbols_have_the_longer_codes() {
        assert_eq!(lengths(&mut [5, 1, 0, 1, 9], 15), [2, 3, 0, 3, 1]);
    }

    #[test]
    fn codes_are_complete_and_within_their_limit() {
        // Counts like Fibonacci's make the deepest trees.
        let mut counts = [0u32; 40];
        let (mut a, mut b) = (1u32, 1u32);
        for count in &mut counts {
            *count = a;
            (a, b) = (b, a.saturating_add(b));
        }
        counts[38..].fill(0);
        for limit in [7, 9, 15] {
            let lengths = lengths(&mut counts.clone(), limit);
            assert!(lengths.iter().all(|length| *length <= limit), "{lengths:?}");
            assert!(is_complete(&lengths), "{lengths:?}");
        }
        let lengths = lengths(&mut [1u32; 286], 15);
        assert!(is_complete(&lengths) && lengths.iter().all(|length| *length <= 9));
    }

    #[test]
    fn two_symbols_have_a_code_even_where_fewer_occur() {
        for mut counts in [[0, 0, 0], [0, 0, 7], [3, 0, 0]] {
            let lengths = lengths(&mut counts, 15);
            assert!(is_complete(&lengths), "{lengths:?}");
        }
    }

    #[test]
    fn codes_are_those_of_the_standards_example() {
        // RFC 1951 §3.2.2: lengths (3, 3, 3, 3, 3, 2, 4, 4).
        let codes = Code::canonical(&[3, 3, 3, 3, 3, 2, 4, 4]);
        let written = codes.map(|code| code.bits.reverse_bits() >> (16 - code.length));
        assert_eq!(written, [0b010, 0b011, 0b100, 0b101, 0b110, 0b00, 0b1110, 0b1111]);
    }
}
