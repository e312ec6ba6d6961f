//! A picture as it came out of a decoder.

use crate::Size;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// How pictures travel from the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VideoCodec {
    Vp8,
    Vp9,
    Av1,
    H264,
    H265,
    /// Pixels as they are (VNC, the peer's own screenshot).
    Raw,
}

impl VideoCodec {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vp8 => "vp8",
            Self::Vp9 => "vp9",
            Self::Av1 => "av1",
            Self::H264 => "h264",
            Self::H265 => "h265",
            Self::Raw => "raw",
        }
    }
}

impl std::fmt::Display for VideoCodec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// One plane of 8-bit samples: `stride` bytes from one row to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plane {
    pub data: Bytes,
    pub stride: usize,
}

impl Plane {
    /// Row `y` of `width` samples.
    pub fn row(&self, y: usize, width: usize) -> &[u8] {
        let start = y * self.stride;
        &self.data[start..start + width]
    }
}

/// Samples in the colour space that the decoder produced; converted only when somebody asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pixels {
    /// Y, U, V; U and V halved both ways, rounding up. BT.601, limited range.
    I420([Plane; 3]),
    /// Y, U, V of full size. BT.601, limited range.
    I444([Plane; 3]),
    /// Four bytes a pixel: red, green, blue, and one that does not count.
    Rgbx(Plane),
}

/// A decoded picture of one display. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub size: Size,
    pub pixels: Pixels,
}
