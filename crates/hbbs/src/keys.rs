//! The server's key: what clients must name, and what signs the keys of hosts (rendezvous §4).
//!
//! A key in a file can be shown, replaced by a new one and replaced by a given one. A server reads it when it
//! starts, so whoever replaces it restarts the server; every client then has to be told the new key.

use hbb_common::key::{KeyError, KeyOption, PublicKey, SigningKey, is_plain};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// File in the state directory, as stock servers name it.
pub const FILE: &str = "id_ed25519";

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
    write_public(path, &key.public())?;
    Ok(key)
}

fn parse(path: &Path, text: &str) -> Result<SigningKey, KeyFileError> {
    SigningKey::from_file_text(text).map_err(|source| KeyFileError::Content { path: path.to_owned(), source })
}

/// The public half of the key in `file`.
///
/// # Errors
/// If the file can not be read, as when there is none, or holds something else.
pub fn show(file: &Path) -> Result<PublicKey, KeyFileError> {
    let text =
        fs::read_to_string(file).map_err(|source| KeyFileError::Io { path: file.to_owned(), source })?;
    Ok(parse(file, &text)?.public())
}

/// Puts a new key, made with `random` 32-byte seeds, in the place of the one in `file`. The old one stays
/// beside it, see [`Replaced::kept`].
///
/// # Errors
/// If the file can not be written. Then the old key is still in its place.
pub fn rotate(file: &Path, random: impl FnMut() -> [u8; 32]) -> Result<Replaced, KeyFileError> {
    replace(file, &generate(random))
}

/// Puts the key in `text`, which is that of an `id_ed25519` file, in the place of the one in `file`. As
/// [`rotate`] otherwise.
///
/// # Errors
/// If the text is no key, or the file can not be written. Then the old key is still in its place.
pub fn import(file: &Path, text: &str) -> Result<Replaced, KeyFileError> {
    replace(file, &parse(file, text)?)
}

/// What [`rotate`] and [`import`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// The public half of the key that is in the file now.
    pub public: PublicKey,
    /// Where the key is that was in the file before, if there was one: beside it, with the number of times
    /// that this has happened at the end of its name.
    pub kept: Option<PathBuf>,
}

/// The old key gets a second name before it loses its first, so that no interruption loses it.
fn replace(file: &Path, key: &SigningKey) -> Result<Replaced, KeyFileError> {
    let io_error = |source| KeyFileError::Io { path: file.to_owned(), source };
    let kept = keep(file).map_err(io_error)?;
    let directory = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(io_error)?;
    let draft = draft(file);
    let written = write_private(&draft, key.to_file_text().as_bytes())
        .and_then(|()| fs::rename(&draft, file))
        .and_then(|()| File::open(directory)?.sync_all());
    if let Err(source) = written {
        // What could not be finished is not to lie about.
        drop(fs::remove_file(&draft));
        return Err(io_error(source));
    }
    write_public(file, &key.public())?;
    Ok(Replaced { public: key.public(), kept })
}

/// Gives the file a second name, one that is free. `None` if there is no file.
fn keep(file: &Path) -> io::Result<Option<PathBuf>> {
    for number in 1_u32.. {
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{number}"));
        let kept = file.with_file_name(name);
        match fs::hard_link(file, &kept) {
            Ok(()) => return Ok(Some(kept)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// For people: servers never read it.
fn write_public(file: &Path, public: &PublicKey) -> Result<(), KeyFileError> {
    let path = file.with_extension("pub");
    fs::write(&path, public.to_base64()).map_err(|source| KeyFileError::Io { path, source })
}

/// Where a key is written before it gets its name.
fn draft(file: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!(".{name}.{}", std::process::id()))
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
    let draft = draft(path);
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
    fn a_replaced_key_stays_beside_the_new_one() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("id_ed25519");
        assert!(matches!(show(&file), Err(KeyFileError::Io { .. })), "none is made by looking");
        let stock = SigningKey::from_seed(&[42; 32]);
        let imported = import(&file, &(stock.to_file_text() + "\n")).unwrap();
        assert_eq!(imported, Replaced { public: stock.public(), kept: None });
        let first = rotate(&file, seeds()).unwrap();
        assert_eq!((show(&file).unwrap(), first.public != stock.public()), (first.public, true));
        assert_eq!(show(&first.kept.clone().unwrap()).unwrap(), stock.public());
        let second = rotate(&file, || [77; 32]).unwrap();
        assert_eq!(show(&second.kept.unwrap()).unwrap(), first.public);
        assert_eq!(show(&first.kept.unwrap()).unwrap(), stock.public(), "and the one before is still there");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(file.with_extension("pub")).unwrap(), second.public.to_base64());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 4, "no draft stays");
    }

    #[test]
    fn what_is_no_key_replaces_none() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("id_ed25519");
        let before = rotate(&file, seeds()).unwrap().public;
        assert!(matches!(import(&file, "nonsense"), Err(KeyFileError::Content { .. })));
        assert_eq!(show(&file).unwrap(), before);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
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
