//! Where passwords come from: a reference is kept, the text is read when it is needed.

use remote::Secret;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A password, or where to find it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// The text itself.
    Inline(Secret),
    /// The first line of a file.
    File(PathBuf),
    /// `secret://name`: looked up where the deployment keeps its secrets.
    Named(String),
}

impl SecretRef {
    /// Reads `secret://name` as a reference and anything else as the text itself.
    pub fn parse(text: &str) -> Self {
        match text.strip_prefix("secret://") {
            Some(name) => Self::Named(name.to_owned()),
            None => Self::Inline(Secret::new(text)),
        }
    }
}

/// Why a secret can not be had. Says where, never what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error("there is no secret named {0:?}")]
    Unknown(String),
    #[error("{path}: {reason}")]
    Unreadable { path: String, reason: String },
    #[error("{0} is empty")]
    Empty(String),
    #[error("the secret {name:?} may not be typed on {target:?}")]
    NotHere { name: String, target: String },
}

/// Looks secrets up.
pub trait SecretSource: Send + Sync {
    fn read(&self, reference: &SecretRef) -> Result<Secret, SecretError>;

    /// The secret of that name, to be typed on that target; a source that knows none has none for it.
    fn to_type(&self, name: &str, _target: &str) -> Result<Secret, SecretError> {
        Err(SecretError::Unknown(name.to_owned()))
    }
}

/// A secret that may be typed by its name, without ever being told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedSecret {
    pub reference: SecretRef,
    /// Names of the targets where it may be typed; none for everywhere.
    pub targets: Vec<String>,
}

/// Secrets in files: by path, and by name in one folder (as systemd's credentials are).
#[derive(Debug, Clone, Default)]
pub struct FileSecrets {
    /// Where `secret://name` is looked for; `None` knows no names.
    pub folder: Option<PathBuf>,
    /// What may be typed. Everything else in the folder is for passwords of targets only.
    pub named: BTreeMap<String, NamedSecret>,
}

/// A password file is a line, not a disk image.
const LONGEST_FILE: u64 = 64 * 1024;

impl FileSecrets {
    fn read_file(path: &std::path::Path) -> Result<Secret, SecretError> {
        let unreadable =
            |reason: String| SecretError::Unreadable { path: path.display().to_string(), reason };
        let length = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
        if length > LONGEST_FILE {
            return Err(unreadable(format!("{length} bytes are too many for a secret")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
        match text.lines().next() {
            Some(line) if !line.is_empty() => Ok(Secret::new(line)),
            _ => Err(SecretError::Empty(path.display().to_string())),
        }
    }
}

impl SecretSource for FileSecrets {
    fn read(&self, reference: &SecretRef) -> Result<Secret, SecretError> {
        match reference {
            SecretRef::Inline(secret) => Ok(secret.clone()),
            SecretRef::File(path) => Self::read_file(path),
            SecretRef::Named(name) => {
                let unknown = || SecretError::Unknown(name.clone());
                let plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
                let folder = self.folder.as_ref().filter(|_| plain).ok_or_else(unknown)?;
                let path = folder.join(name);
                if path.exists() { Self::read_file(&path) } else { Err(unknown()) }
            }
        }
    }

    fn to_type(&self, name: &str, target: &str) -> Result<Secret, SecretError> {
        let name = name.strip_prefix("secret://").unwrap_or(name);
        let named = self.named.get(name).ok_or_else(|| SecretError::Unknown(name.to_owned()))?;
        if !named.targets.is_empty() && !named.targets.iter().any(|allowed| allowed == target) {
            return Err(SecretError::NotHere { name: name.to_owned(), target: target.to_owned() });
        }
        self.read(&named.reference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_read_from_its_file_and_a_name_from_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("kiosk"), "hunter2\n").unwrap();
        let source = FileSecrets { folder: Some(folder.path().to_owned()), ..Default::default() };

        for reference in [SecretRef::parse("secret://kiosk"), SecretRef::File(folder.path().join("kiosk"))] {
            assert_eq!(source.read(&reference).unwrap().reveal(), "hunter2");
        }
        assert_eq!(source.read(&SecretRef::parse("plain")).unwrap().reveal(), "plain");
    }

    #[test]
    fn a_name_can_not_leave_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("secrets");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(folder.path().join("outside"), "hunter2").unwrap();
        let source = FileSecrets { folder: Some(inner), ..Default::default() };
        for name in ["../outside", "", ".", "..", "a/b", "absent"] {
            assert_eq!(
                source.read(&SecretRef::Named(name.to_owned())),
                Err(SecretError::Unknown(name.to_owned())),
                "{name}"
            );
        }
    }

    #[test]
    fn only_what_is_named_for_it_is_typed_and_only_where_it_may() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["pin", "database"] {
            std::fs::write(folder.path().join(name), "hunter2\n").unwrap();
        }
        let named = |reference, targets: &[&str]| NamedSecret {
            reference,
            targets: targets.iter().map(|target| (*target).to_owned()).collect(),
        };
        let source = FileSecrets {
            folder: Some(folder.path().to_owned()),
            named: BTreeMap::from([
                ("pin".to_owned(), named(SecretRef::parse("secret://pin"), &["kiosk"])),
                ("anywhere".to_owned(), named(SecretRef::File(folder.path().join("pin")), &[])),
            ]),
        };
        for (name, target) in [("pin", "kiosk"), ("secret://pin", "kiosk"), ("anywhere", "lab")] {
            assert_eq!(source.to_type(name, target).unwrap().reveal(), "hunter2", "{name} {target}");
        }
        let elsewhere = SecretError::NotHere { name: "pin".to_owned(), target: "lab".to_owned() };
        assert_eq!(source.to_type("pin", "lab"), Err(elsewhere));
        for name in ["database", "secret://database", "/etc/passwd", ""] {
            assert!(matches!(source.to_type(name, "kiosk"), Err(SecretError::Unknown(_))), "{name}");
        }
    }

    #[test]
    fn an_empty_file_is_no_password() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("empty");
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(FileSecrets::default().read(&SecretRef::File(path)), Err(SecretError::Empty(_))));
    }
}
