//! The official MCP suite and clients, which run on Node (`tests/node`).

use crate::process::Child;
use crate::root;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Node in the version that the suite needs, whatever the machine has.
///
/// # Panics
/// If it is missing: `tests/setup.sh` installs it.
pub fn node() -> PathBuf {
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let node = std::env::var_os("DESKHAND_TEST_NODE").map_or_else(
        || root().join(format!("node/node_modules/node-linux-{machine}/bin/node")),
        PathBuf::from,
    );
    assert!(node.is_file(), "{} is missing: run tests/setup.sh", node.display());
    node
}

/// A command for one of the installed programs, `conformance` or `inspector`.
pub fn program(name: &str) -> Command {
    let mut command = Command::new(node());
    // The inspector keeps a list of servers at home.
    command.arg(root().join("node/node_modules/.bin").join(name)).current_dir(root().join("node"));
    command
}

/// A command for one of our scripts in `tests/node`.
pub fn script(name: &str) -> Command {
    let mut command = Command::new(node());
    command.arg(root().join("node").join(name));
    command
}

/// Runs a command to its end; gives whether it succeeded, and its output.
pub async fn run(mut command: Command, limit: Duration) -> (bool, String) {
    let folder = tempfile::tempdir().expect("a scratch folder");
    command.env("HOME", folder.path()).env("NO_COLOR", "1");
    let mut child = Child::spawn_in(&mut command, folder);
    let ended = child.ended_async(limit).await;
    let output =
        format!("{}{}", child.stdout(), if ended.success() { String::new() } else { child.stderr() });
    (ended.success(), output)
}
