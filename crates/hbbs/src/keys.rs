//! The server's key: what clients must name, and what signs the keys of hosts (rendezvous §4).

use hbb_common::key::{KeyError, KeyOption, PublicKey, SigningKey, is_plain};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error("{path} can not be read or made: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} holds no key: {source}")]
    Content { path: PathBuf, source: KeyError },
    #[error("the key is to come from a file, but there is no state directory")]
    NoDirectory,
}

/// What clients must name, and who signs.
#[derive(Debug, Clone)]
pub struct ServerKey {
    check: Option<String>,
    signing: Option<SigningKey>,
}

impl ServerKey {
    /// Follows the option; `file` is read, or made with `random` 32-byte seeds, where it asks for one.
    ///
    /// # Errors
    /// If the file can not be read or made, or holds something else.
    pub fn resolve(
        option: &KeyOption,
        file: Option<&Path>,
        random: impl FnMut() -> [u8; 32],
    ) -> Result<Self, KeyFileError> {
        let from_file = || read_or_create(file.ok_or(KeyFileError::NoDirectory)?, random);
        Ok(match option {
            KeyOption::File => Self::checked(from_file()?),
            KeyOption::Unchecked => Self { check: None, signing: Some(from_file()?) },
            KeyOption::Secret(key) => Self::checked((**key).clone()),
            KeyOption::Text(text) => Self { check: Some(text.clone()), signing: None },
        })
    }

    fn checked(key: SigningKey) -> Self {
        Self { check: Some(key.public().to_base64()), signing: Some(key) }
    }

    /// The text that clients must name; `None` if any will do.
    pub fn required(&self) -> Option<&str> {
        self.check.as_deref()
    }

    /// The key that hosts' keys are signed with.
    pub fn public(&self) -> Option<PublicKey> {
        self.signing.as_ref().map(SigningKey::public)
    }

    pub(crate) fn signing(&self) -> Option<&SigningKey> {
        self.signing.as_ref()
    }

    /// Compares byte by byte to the end: the text may be a secret word.
    pub fn accepts(&self, named: &str) -> bool {
        let Some(want) = &self.check else { return true };
        let differing = want.bytes().zip(named.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
        want.len() == named.len() && differing == 0
    }
}

/// The key in an `id_ed25519` file, as stock servers have it. A missing file is made, readable by the
/// owner only, complete or not at all; whoever comes second gets the key of the first.
fn read_or_create(path: &Path, random: impl FnMut() -> [u8; 32]) -> Result<SigningKey, KeyFileError> {
    let io_error = |source| KeyFileError::Io { path: path.to_owned(), source };
    match fs::read_to_string(path) {
        Ok(text) => return parse(path, &text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io_error(error)),
    }
    let key = generate(random);
    match create(path, &key) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return parse(path, &fs::read_to_string(path).map_err(io_error)?);
        }
        Err(error) => return Err(io_error(error)),
    }
    // For people: servers never read it.
    let public = path.with_extension("pub");
    fs::write(&public, key.public().to_base64())
        .map_err(|source| KeyFileError::Io { path: public, source })?;
    Ok(key)
}

fn parse(path: &Path, text: &str) -> Result<SigningKey, KeyFileError> {
    SigningKey::from_file_text(text).map_err(|source| KeyFileError::Content { path: path.to_owned(), source })
}

/// A key whose public half can be typed into `id@server?key=…`.
fn generate(mut random: impl FnMut() -> [u8; 32]) -> SigningKey {
    let mut key = SigningKey::from_seed(&random());
    for _ in 0..300 {
        if is_plain(&key.public()) {
            break;
        }
        key = SigningKey::from_seed(&random());
    }
    key
}

fn create(path: &Path, key: &SigningKey) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = directory.join(format!(".{name}.{}", std::process::id()));
    let written = write_private(&draft, key.to_file_text().as_bytes())
        // A link never replaces what another process has made meanwhile.
        .and_then(|()| fs::hard_link(&draft, path))
        .and_then(|()| File::open(directory)?.sync_all());
    let removed = fs::remove_file(&draft);
    written.and(removed)
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeds() -> impl FnMut() -> [u8; 32] {
        let mut next = 0;
        move || {
            next += 1;
            [next; 32]
        }
    }

    #[test]
    fn a_missing_file_is_made_private_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("state/id_ed25519");
        let first = ServerKey::resolve(&KeyOption::File, Some(&file), seeds()).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&file).unwrap().len(), 88);
        let public = first.public().unwrap();
        assert!(is_plain(&public));
        assert_eq!(fs::read_to_string(file.with_extension("pub")).unwrap(), public.to_base64());
        assert_eq!(first.required(), Some(&*public.to_base64()));
        let again = ServerKey::resolve(&KeyOption::File, Some(&file), || [99; 32]).unwrap();
        assert_eq!(again.public(), Some(public));
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 2, "no draft stays");
    }

    #[test]
    fn a_stock_file_is_used_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("id_ed25519");
        let key = SigningKey::from_seed(&[1; 32]);
        fs::write(&file, key.to_file_text() + "\n").unwrap();
        let ours = ServerKey::resolve(&KeyOption::Unchecked, Some(&file), seeds()).unwrap();
        assert_eq!((ours.public(), ours.required()), (Some(key.public()), None));
        fs::write(&file, "nonsense").unwrap();
        let error = ServerKey::resolve(&KeyOption::File, Some(&file), seeds()).unwrap_err();
        assert!(matches!(error, KeyFileError::Content { .. }), "{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "nonsense", "never overwritten");
    }

    #[test]
    fn two_that_make_the_file_at_once_agree() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("id_ed25519");
        let early = SigningKey::from_seed(&[42; 32]);
        let late = ServerKey::resolve(&KeyOption::File, Some(&file), || {
            // Another process is quicker.
            fs::write(&file, early.to_file_text()).unwrap();
            [7; 32]
        });
        assert_eq!(late.unwrap().public(), Some(early.public()));
    }

    #[test]
    fn what_each_option_checks() {
        let key = SigningKey::from_seed(&[1; 32]);
        let resolve = |option| ServerKey::resolve(&option, None, seeds());
        let secret = resolve(KeyOption::Secret(Box::new(key.clone()))).unwrap();
        assert!(secret.accepts(&key.public().to_base64()));
        for wrong in ["", "x", key.public().to_base64().trim_end_matches('='), &key.to_file_text()] {
            assert!(!secret.accepts(wrong), "{wrong}");
        }
        let text = resolve(KeyOption::Text("word".into())).unwrap();
        assert!(text.accepts("word") && !text.accepts("words") && !text.accepts("wor"));
        assert_eq!(text.public(), None);
        assert!(matches!(resolve(KeyOption::File), Err(KeyFileError::NoDirectory)));
    }
}
