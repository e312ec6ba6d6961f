//! The style sheet, within each page.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use std::sync::LazyLock;

pub(super) const STYLE: &str = include_str!("style.css");

/// By which the pages' policy lets this style in and no other.
pub(super) static HASH: LazyLock<String> =
    LazyLock::new(|| format!("sha256-{}", STANDARD.encode(Sha256::digest(STYLE))));
