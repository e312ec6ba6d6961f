//! What can go wrong with the database.

use rusqlite::ErrorCode;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why something was not read or not kept. Cheap to clone: a failed group is told to each who waited for it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Nothing was changed; the older program or a newer one can use the file as it is.
    #[error(
        "{path} was written by a newer deskhand (schema {found}, this program knows {known}); use that one or its backup"
    )]
    Newer { path: PathBuf, found: u32, known: u32 },
    #[error("{path} is a database of another program")]
    Foreign { path: PathBuf },
    #[error("no space is left for {path}")]
    Full { path: PathBuf },
    #[error("{path} can not be written: it or its directory is read-only")]
    ReadOnly { path: PathBuf },
    #[error("{path} is locked by another program")]
    Busy { path: PathBuf },
    #[error("{path} is damaged or no database: {reason}")]
    Corrupt { path: PathBuf, reason: Arc<rusqlite::Error> },
    #[error("{path}: {reason}")]
    Database { path: PathBuf, reason: Arc<rusqlite::Error> },
    #[error("{path}: {reason}")]
    Io { path: PathBuf, reason: Arc<std::io::Error> },
    #[error("{path} has been closed")]
    Closed { path: PathBuf },
}

impl StoreError {
    /// A stable word for logs and metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Newer { .. } => "newer",
            Self::Foreign { .. } => "foreign",
            Self::Full { .. } => "full",
            Self::ReadOnly { .. } => "read_only",
            Self::Busy { .. } => "busy",
            Self::Corrupt { .. } => "corrupt",
            Self::Database { .. } => "database",
            Self::Io { .. } => "io",
            Self::Closed { .. } => "closed",
        }
    }

    pub(crate) fn database(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full { path },
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                Self::ReadOnly { path }
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { path },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Corrupt { path, reason: Arc::new(source) }
            }
            _ => Self::Database { path, reason: Arc::new(source) },
        }
    }

    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::Full { path },
            std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied => {
                Self::ReadOnly { path }
            }
            _ => Self::Io { path, reason: Arc::new(source) },
        }
    }
}
