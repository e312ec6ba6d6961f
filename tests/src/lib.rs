//! Harness shared by the integration tests: recordings of real RustDesk programs, and where things are.

pub mod recording;

use std::path::{Path, PathBuf};

/// The folder of this package.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

/// `tests/recordings`.
pub fn recordings() -> PathBuf {
    root().join("recordings")
}
