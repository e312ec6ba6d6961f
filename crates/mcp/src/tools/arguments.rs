//! Arguments that several tools share.

use crate::outcome::Failure;
use schemars::JsonSchema;
use serde::Deserialize;
use sessions::{Area, SessionId, Space, Spot};
use std::time::Duration;

/// How positions are given.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum CoordinateSpace {
    /// Pixels of the last whole picture of the display.
    #[default]
    Pixels,
    /// 0 to 1000 over the display's width and height.
    #[serde(rename = "normalized_1000")]
    Normalized1000,
}

impl From<CoordinateSpace> for Space {
    fn from(space: CoordinateSpace) -> Self {
        match space {
            CoordinateSpace::Pixels => Self::Picture,
            CoordinateSpace::Normalized1000 => Self::Normalized1000,
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RegionArgument {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

impl From<RegionArgument> for Area {
    fn from(region: RegionArgument) -> Self {
        Self { x: region.x, y: region.y, width: region.width, height: region.height }
    }
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PointArgument {
    x: f64,
    y: f64,
}

impl From<PointArgument> for Spot {
    fn from(point: PointArgument) -> Self {
        Self { x: point.x, y: point.y }
    }
}

/// A button of the pointer.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ButtonArgument {
    #[default]
    Left,
    Right,
    Middle,
    Back,
    Forward,
}

impl From<ButtonArgument> for remote::Button {
    fn from(button: ButtonArgument) -> Self {
        match button {
            ButtonArgument::Left => Self::Left,
            ButtonArgument::Right => Self::Right,
            ButtonArgument::Middle => Self::Middle,
            ButtonArgument::Back => Self::Back,
            ButtonArgument::Forward => Self::Forward,
        }
    }
}

pub(super) fn session(handle: Option<&String>) -> Option<SessionId> {
    handle.map(SessionId::from_text)
}

/// Both coordinates, or none for where the pointer is.
pub(super) fn position(x: Option<f64>, y: Option<f64>) -> Result<Option<Spot>, Failure> {
    match (x, y) {
        (Some(x), Some(y)) => Ok(Some(Spot { x, y })),
        (None, None) => Ok(None),
        _ => Err(Failure::invalid("x and y come together, or neither for where the pointer is")),
    }
}

/// A time in milliseconds within bounds.
pub(super) fn time(name: &str, given: Option<u64>, default: u64, most: u64) -> Result<Duration, Failure> {
    match given.unwrap_or(default) {
        ms if ms <= most => Ok(Duration::from_millis(ms)),
        ms => Err(Failure::invalid(format!("{name} is {ms}, allowed are 0 to {most}"))),
    }
}
