//! A record in a file: one JSON object a line.

use super::{AuditEntry, AuditError, AuditLog};
use remote::BoxFuture;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// Appends to a file, which is opened anew each time, so that it may be moved away to begin another.
/// Several processes may share one.
#[derive(Debug, Clone)]
pub struct JsonLines {
    path: PathBuf,
}

impl JsonLines {
    /// The file is made when the first entry comes, readable by its owner alone; its folder has to be there.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn write(&self, entries: &[AuditEntry]) -> io::Result<()> {
        let mut lines = Vec::new();
        for entry in entries {
            serde_json::to_writer(&mut lines, entry)?;
            lines.push(b'\n');
        }
        let mut file = self.open()?;
        file.lock()?;
        let length = file.metadata()?.len();
        let torn = length > 0 && last_byte(&mut file)? != b'\n';
        let written = (|| {
            if torn {
                // Somebody broke off within a line, which must not swallow the next one.
                file.write_all(b"\n")?;
            }
            file.write_all(&lines)
        })();
        if written.is_err() {
            // All or none; where not even this works, the torn line is closed by the next entry.
            let _kept_torn = file.set_len(length);
        }
        written
    }

    fn open(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&self.path)
    }

    fn error(&self, error: &io::Error) -> AuditError {
        let place = self.path.display().to_string();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => AuditError::NoSpace { place },
            _ => AuditError::Failed { place, reason: error.to_string() },
        }
    }
}

fn last_byte(file: &mut File) -> io::Result<u8> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last[0])
}

impl AuditLog for JsonLines {
    fn append(&self, entries: Vec<AuditEntry>) -> BoxFuture<'_, Result<(), AuditError>> {
        Box::pin(async move {
            let this = self.clone();
            let written =
                tokio::task::spawn_blocking(move || this.write(&entries).map_err(|error| this.error(&error)));
            written.await.unwrap_or_else(|error| {
                let place = self.path.display().to_string();
                Err(AuditError::Failed { place, reason: error.to_string() })
            })
        })
    }
}
