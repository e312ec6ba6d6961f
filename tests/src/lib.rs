//! Harness shared by the integration tests: recordings of real RustDesk programs, the independent Python
//! peer, child processes, desktops, addresses, and where things are.

pub mod conformance;
pub mod desktop;
pub mod mcp_http;
pub mod mutate;
pub mod net;
pub mod node;
pub mod oracle;
pub mod process;
pub mod pyref;
pub mod recording;
pub mod wait;

pub use desktop::Desktop;
pub use process::Child;
pub use wait::{eventually, eventually_async};

use std::path::{Path, PathBuf};

/// The folder of this package.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

/// The repository.
pub fn repository() -> PathBuf {
    root().parent().expect("tests/ is in the repository").to_path_buf()
}

/// `tests/recordings`.
pub fn recordings() -> PathBuf {
    root().join("recordings")
}

/// The message definitions, for peers that compile them themselves.
pub fn protos() -> PathBuf {
    repository().join("crates/hbb_common/proto")
}

/// The Python that has what `tests/pyref/requirements.txt` names: the environment variable
/// `DESKHAND_TEST_PYTHON`, else the repository's `.venv`.
///
/// # Panics
/// If there is none: `tests/setup.sh` makes it.
pub fn python() -> PathBuf {
    let python = std::env::var_os("DESKHAND_TEST_PYTHON")
        .map_or_else(|| repository().join(".venv/bin/python"), PathBuf::from);
    assert!(python.is_file(), "{} is missing: run tests/setup.sh", python.display());
    python
}

/// Prometheus' own checker: the environment variable `DESKHAND_TEST_PROMTOOL`, else the one that
/// `tests/setup.sh` keeps in `.tools`, else the machine's.
pub fn promtool() -> PathBuf {
    let kept = repository().join(".tools/usr/bin/promtool");
    match std::env::var_os("DESKHAND_TEST_PROMTOOL") {
        Some(path) => path.into(),
        None if kept.is_file() => kept,
        None => "promtool".into(),
    }
}

/// The `deskhand` program of the build this test belongs to.
///
/// # Panics
/// If it has not been built: `cargo build -p deskhand`, which `make test` does.
pub fn deskhand() -> PathBuf {
    let test = std::env::current_exe().expect("the test binary has a path");
    let profile = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    let program = profile.join("deskhand");
    assert!(program.is_file(), "{} is missing: cargo build -p deskhand", program.display());
    program
}

/// The inputs kept for a fuzz target, with their files.
pub fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(files) = std::fs::read_dir(root().join("fuzz/corpus").join(target)) else { return Vec::new() };
    let mut inputs: Vec<_> = files
        .filter_map(|file| {
            let path = file.ok()?.path();
            let input = std::fs::read(&path).ok()?;
            Some((path, input))
        })
        .collect();
    inputs.sort();
    inputs
}
