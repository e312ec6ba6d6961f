//! Proving by content that typed text arrived and can be seen.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How far a colour may be off after lossy video.
const TOLERANCE: u8 = 28;

/// A line of text typed into a shell prints these pixels at least: one row of characters on the colour.
const ENOUGH_PIXELS: usize = 2_000;

/// A command for the demo's shell whose effect can be checked in two places: a file that only the typed
/// command writes, and a bar of a colour drawn by chance, with the text on it.
pub(crate) struct Proof {
    nonce: String,
    colour: [u8; 3],
    file: PathBuf,
}

impl Proof {
    /// `random` decides nonce and colour; the shell runs in `folder`.
    pub(crate) fn new(random: [u8; 4], folder: &Path) -> Self {
        let [a, b, c, d] = random;
        // Saturated, so that neither background nor text comes near it.
        let colour = [160 + a % 80, 20 + b % 60, 60 + c % 120];
        Self { nonce: format!("{a:02x}{b:02x}{c:02x}{d:02x}"), colour, file: folder.join("proof.txt") }
    }

    /// What is typed, without the Enter.
    pub(crate) fn command(&self) -> String {
        let [r, g, b] = self.colour;
        let text = self.text();
        format!(
            r"clear; printf '\n  \033[1;97;48;2;{r};{g};{b}m   {text}   \033[0m\n\n' | tee proof.txt; uname -a"
        )
    }

    pub(crate) fn text(&self) -> String {
        format!("Typed by an AI over the RustDesk protocol: {}", self.nonce)
    }

    /// Waits until the file holds the text.
    pub(crate) async fn arrived(&self, timeout: Duration) -> Result<(), String> {
        let deadline = Instant::now() + timeout;
        loop {
            let content = tokio::fs::read_to_string(&self.file).await.unwrap_or_default();
            if content.contains(&self.text()) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("{} holds {content:?}, not {:?}", self.file.display(), self.text()));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// How many pixels of a PNG file have the colour.
    pub(crate) fn pixels(&self, file: &[u8]) -> Result<usize, String> {
        let mut decoder = png::Decoder::new(std::io::Cursor::new(file));
        decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
        let mut reader = decoder.read_info().map_err(|e| e.to_string())?;
        let size = reader.output_buffer_size().ok_or("picture too large")?;
        let mut pixels = vec![0; size];
        let info = reader.next_frame(&mut pixels).map_err(|e| e.to_string())?;
        let samples = info.color_type.samples();
        if samples < 3 {
            return Err(format!("a picture of {:?}", info.color_type));
        }
        let near =
            |pixel: &[u8]| pixel.iter().zip(self.colour).all(|(have, want)| have.abs_diff(want) <= TOLERANCE);
        Ok(pixels[..info.buffer_size()].chunks_exact(samples).filter(|p| near(&p[..3])).count())
    }

    /// Whether the picture shows the bar, and the one before did not.
    pub(crate) fn seen(&self, before: &[u8], after: &[u8]) -> Result<usize, String> {
        let (before, after) = (self.pixels(before)?, self.pixels(after)?);
        if before < ENOUGH_PIXELS / 10 && after >= ENOUGH_PIXELS {
            return Ok(after);
        }
        Err(format!("{before} pixels of colour {:?} before the command and {after} behind it", self.colour))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(colour: [u8; 3], pixels: usize) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, 100, 100);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut data = vec![0; 30_000];
        data[..pixels * 3].chunks_exact_mut(3).for_each(|p| p.copy_from_slice(&colour));
        encoder.write_header().unwrap().write_image_data(&data).unwrap();
        file
    }

    #[test]
    fn only_a_new_bar_of_the_colour_is_proof() {
        let proof = Proof::new([1, 2, 3, 4], Path::new("/x"));
        let (nothing, bar) = (picture(proof.colour, 0), picture(proof.colour, 3_000));
        assert_eq!(proof.seen(&nothing, &bar), Ok(3_000));
        assert!(proof.seen(&nothing, &nothing).is_err(), "not there");
        assert!(proof.seen(&bar, &bar).is_err(), "was there before");
        assert!(proof.seen(&nothing, &picture([10, 200, 10], 3_000)).is_err(), "another colour");
        assert!(proof.seen(&nothing, b"no png").is_err());
    }
}
