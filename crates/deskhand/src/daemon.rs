//! The file by which `deskhand mcp` finds the `deskhand serve` of the same user on the same machine.
//!
//! It names a loopback address and a token that is made anew at every start. Whoever can read the file can
//! do everything; so only its owner can.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

const NAME: &str = "daemon.json";
/// Bytes of randomness in a token.
const TOKEN: usize = 32;

/// How to reach a running daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Daemon {
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
    pub(crate) pid: u32,
}

/// The file while the daemon runs; gone with this value.
#[derive(Debug)]
pub(crate) struct DaemonFile {
    path: PathBuf,
    daemon: Daemon,
}

impl Daemon {
    /// One of this process, with a new token.
    pub(crate) fn new(address: SocketAddr) -> Self {
        let token = URL_SAFE_NO_PAD.encode(rand::random::<[u8; TOKEN]>());
        Self { address, token, pid: std::process::id() }
    }

    /// The daemon of `folder`, or of the first of the usual places that has one.
    ///
    /// # Errors
    /// A file that is there and can not be trusted or read.
    pub(crate) fn find(folder: Option<&Path>) -> anyhow::Result<Option<Self>> {
        let places = match folder {
            Some(folder) => vec![folder.to_owned()],
            None => usual_places(),
        };
        for place in places {
            let path = place.join(NAME);
            match Self::read(&path) {
                Ok(daemon) => return Ok(Some(daemon)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| path.display().to_string()),
            }
        }
        Ok(None)
    }

    /// A file of somebody else's could lead us, and what we type, to somebody else.
    fn read(path: &Path) -> io::Result<Self> {
        let about = fs::metadata(path)?;
        if about.uid() != nix::unistd::geteuid().as_raw() || about.mode() & 0o077 != 0 {
            let what = "not used: it has to belong to this user, and to be readable by nobody else";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
        }
        let daemon: Self = serde_json::from_str(&fs::read_to_string(path)?)?;
        if !daemon.address.ip().is_loopback() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "not used: its address is not this machine",
            ));
        }
        Ok(daemon)
    }
}

impl DaemonFile {
    /// Writes the file: whole or not at all, and never readable by others.
    pub(crate) fn write(folder: &Path, daemon: Daemon) -> anyhow::Result<Self> {
        let path = folder.join(NAME);
        let write = || -> io::Result<()> {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            let mut file = tempfile::Builder::new().prefix(".daemon-").tempfile_in(folder)?;
            file.write_all(serde_json::to_string(&daemon)?.as_bytes())?;
            file.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        write().with_context(|| path.display().to_string())?;
        Ok(Self { path, daemon })
    }
}

impl Drop for DaemonFile {
    fn drop(&mut self) {
        // Another daemon may have taken the place meanwhile.
        if Daemon::read(&self.path).is_ok_and(|daemon| daemon == self.daemon)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the daemon's file stays behind");
        }
    }
}

/// One program at a time works with a state directory; held as long as this value lives.
#[derive(Debug)]
pub(crate) struct StateLock(
    #[expect(dead_code, reason = "dropping it gives the lock back")] nix::fcntl::Flock<fs::File>,
);

impl StateLock {
    pub(crate) fn take(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("lock");
        let file = fs::OpenOptions::new().create(true).write(true).truncate(false).mode(0o600).open(&path);
        let file = file.with_context(|| path.display().to_string())?;
        let lock = nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock);
        lock.map(Self).map_err(|(_, _)| {
            anyhow::anyhow!(
                "{} is used by another `deskhand serve`; stop it, or give another --state",
                folder.display()
            )
        })
    }
}

/// Where a daemon leaves its file: in the state directory it was given, else where run-time files go.
pub(crate) fn folder(state: Option<&Path>) -> PathBuf {
    let usual = || usual_places().into_iter().next();
    state.map(Path::to_owned).or_else(usual).unwrap_or_else(|| crate::config::state_root(None))
}

/// From the likeliest to the last.
fn usual_places() -> Vec<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from);
    [
        set("RUNTIME_DIRECTORY"),
        set("XDG_RUNTIME_DIR").map(|folder| folder.join("deskhand")),
        Some(crate::config::state_root(None)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn daemon() -> Daemon {
        Daemon::new("127.0.0.1:4711".parse().unwrap())
    }

    #[test]
    fn the_file_is_there_for_its_owner_while_the_daemon_runs() {
        let folder = tempfile::tempdir().unwrap();
        let within = folder.path().join("run");
        let running = DaemonFile::write(&within, daemon()).unwrap();
        let found = Daemon::find(Some(&within)).unwrap().unwrap();
        assert_eq!(found.token, running.daemon.token);
        assert_eq!(found.token.len(), 43);
        assert_eq!(fs::metadata(within.join(NAME)).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&within).unwrap().mode() & 0o777, 0o700);
        drop(running);
        assert_eq!(Daemon::find(Some(&within)).unwrap(), None);
        assert_eq!(fs::read_dir(&within).unwrap().count(), 0);
    }

    #[test]
    fn a_later_daemons_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let first = DaemonFile::write(folder.path(), daemon()).unwrap();
        let second = DaemonFile::write(folder.path(), daemon()).unwrap();
        drop(first);
        assert_eq!(Daemon::find(Some(folder.path())).unwrap().unwrap().token, second.daemon.token);
    }

    #[test]
    fn a_file_that_others_could_have_written_or_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let _running = DaemonFile::write(folder.path(), daemon()).unwrap();
        let path = folder.path().join(NAME);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Daemon::find(Some(folder.path())).is_err());

        let elsewhere = r#"{"address":"192.0.2.1:80","token":"t","pid":1}"#;
        fs::write(&path, elsewhere).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(Daemon::find(Some(folder.path())).is_err());
    }

    #[test]
    fn a_state_directory_has_one_owner() {
        let folder = tempfile::tempdir().unwrap();
        let held = StateLock::take(folder.path()).unwrap();
        let error = StateLock::take(folder.path()).unwrap_err().to_string();
        assert!(error.contains("another `deskhand serve`"), "{error}");
        drop(held);
        StateLock::take(folder.path()).unwrap();
    }
}
