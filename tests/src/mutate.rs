//! A mutator of byte strings: what `deskhand-fuzz` feeds the oracles with where libFuzzer is not to be had.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

/// No input gets longer.
const LONGEST: usize = 16_384;

/// Bytes at which lengths, varints, texts and counters turn.
const TELLING: &[u8] = &[0, 1, 2, 3, 4, 0x0a, 0x12, 0x1a, 0x7f, 0x80, 0xfe, 0xff, b'@', b'/', b':', b'='];

/// Makes new inputs from old ones; the same seed gives the same inputs.
#[derive(Debug)]
pub struct Mutator {
    random: StdRng,
    corpus: Vec<Vec<u8>>,
}

impl Mutator {
    /// An empty input is always in the corpus.
    pub fn new(seed: u64, mut corpus: Vec<Vec<u8>>) -> Self {
        corpus.push(Vec::new());
        Self { random: StdRng::seed_from_u64(seed), corpus }
    }

    /// The next input: one of the corpus, changed one to eight times.
    pub fn input(&mut self) -> Vec<u8> {
        let mut input = self.pick();
        for _ in 0..self.random.random_range(1..=8) {
            self.change(&mut input);
        }
        input.truncate(LONGEST);
        input
    }

    fn pick(&mut self) -> Vec<u8> {
        self.corpus.choose(&mut self.random).cloned().unwrap_or_default()
    }

    fn byte(&mut self) -> u8 {
        if self.random.random() {
            self.random.random()
        } else {
            TELLING.choose(&mut self.random).copied().unwrap_or_default()
        }
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.random.random_range(0..=input.len());
        let len = self.random.random_range(0..=(input.len() - at).min(64));
        match self.random.random_range(0..8) {
            0 if at < input.len() => input[at] ^= 1 << self.random.random_range(0..8),
            1 if at < input.len() => input[at] = self.byte(),
            2 => drop(input.drain(at..at + len)),
            3 => {
                let piece = input[at..at + len].to_vec();
                let to = self.random.random_range(0..=input.len());
                input.splice(to..to, piece);
            }
            4 => {
                let other = self.pick();
                let from = self.random.random_range(0..=other.len());
                input.splice(at.., other[from..].iter().copied());
            }
            5 => {
                let other = self.pick();
                input.splice(at..at, other);
            }
            6 => input.truncate(at),
            _ => {
                let byte = self.byte();
                let times = self.random.random_range(1..=12);
                input.splice(at..at, std::iter::repeat_n(byte, times));
            }
        }
        input.truncate(LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_repeat_for_a_seed_differ_otherwise_and_stay_short() {
        let corpus = vec![b"first seed".to_vec(), vec![7; LONGEST]];
        let inputs = |seed| {
            let mut mutator = Mutator::new(seed, corpus.clone());
            (0..500).map(|_| mutator.input()).collect::<Vec<_>>()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
        assert!(inputs(3).iter().all(|input| input.len() <= LONGEST));
        assert!(inputs(3).iter().any(|input| input.starts_with(b"first")));
    }
}
