//! What a host keeps over restarts, in one folder (mode 0700):
//!
//! | file | mode | content |
//! |---|---|---|
//! | `id_ed25519` | 0600 | the identity: base64 of seed and public key, as hbbs's own key file |
//! | `id_ed25519.pub` | 0644 | its public half, base64 |
//! | `id` | 0644 | the id that clients dial, one line |
//! | `salt` | 0600 | 32 characters of the password alphabet, one line |
//! | `password` | 0600 | hex of SHA-256(password ‖ salt), one line; absent without a password |
//! | `uuid` | 0600 | what hbbs knows the machine by, one line |
//!
//! A file is written whole under another name and renamed, so that a crash leaves the old or the new one.

use hbb_common::key::SigningKey;
use hbb_common::password::{PasswordHash, readable};
use rand::Rng as _;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

const SECRET: u32 = 0o600;
const PUBLIC: u32 = 0o644;

const SALT_LEN: usize = 32;

/// Why the folder is of no use.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}", path = .path.display())]
pub struct StateError {
    pub path: PathBuf,
    pub reason: StateFault,
}

#[derive(Debug, thiserror::Error)]
pub enum StateFault {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("not a key: {0}")]
    Key(#[from] hbb_common::key::KeyError),
    #[error("not what this program writes there")]
    Malformed,
}

/// The folder's content.
#[derive(Debug)]
pub struct State {
    folder: PathBuf,
    pub identity: SigningKey,
    pub id: String,
    pub salt: String,
    pub password: Option<PasswordHash>,
    pub uuid: String,
}

impl State {
    /// Reads the folder, making what is missing.
    pub fn open(folder: &Path) -> Result<Self, StateError> {
        let at = |path: &Path, reason: StateFault| StateError { path: path.into(), reason };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .and_then(|()| fs::set_permissions(folder, fs::Permissions::from_mode(0o700)))
            .map_err(|e| at(folder, e.into()))?;
        let file = |name: &str| folder.join(name);
        let keep = |name: &str, mode, make: &dyn Fn() -> String| {
            let path = file(name);
            match read(&path) {
                Ok(Some(text)) => Ok(text),
                Ok(None) => {
                    let text = make();
                    write(&path, mode, &text).map(|()| text).map_err(|e| at(&path, e.into()))
                }
                Err(e) => Err(at(&path, e.into())),
            }
        };
        let key =
            keep("id_ed25519", SECRET, &|| SigningKey::from_seed(&rand::rng().random()).to_file_text())?;
        let identity = SigningKey::from_file_text(&key).map_err(|e| at(&file("id_ed25519"), e.into()))?;
        keep("id_ed25519.pub", PUBLIC, &|| identity.public().to_base64())?;
        let id = keep("id", PUBLIC, &random_id)?;
        let salt = keep("salt", SECRET, &|| readable(&rand::rng().random::<[u8; SALT_LEN]>()))?;
        let uuid = keep("uuid", SECRET, &machine_uuid)?;
        let path = file("password");
        let password = match read(&path).map_err(|e| at(&path, e.into()))? {
            Some(text) => Some(parse_hash(&text).ok_or_else(|| at(&path, StateFault::Malformed))?),
            None => None,
        };
        Ok(Self { folder: folder.into(), identity, id, salt, password, uuid })
    }

    pub fn set_id(&mut self, id: &str) -> Result<(), StateError> {
        if self.id != id {
            self.keep("id", PUBLIC, id)?;
            self.id = id.into();
        }
        Ok(())
    }

    /// Only its hash is kept.
    pub fn set_password(&mut self, password: &str) -> Result<(), StateError> {
        let hash = PasswordHash::new(password, &self.salt);
        if self.password.as_ref() != Some(&hash) {
            let hex: String = hash.0.iter().map(|b| format!("{b:02x}")).collect();
            self.keep("password", SECRET, &hex)?;
            self.password = Some(hash);
        }
        Ok(())
    }

    fn keep(&self, name: &str, mode: u32, text: &str) -> Result<(), StateError> {
        let path = self.folder.join(name);
        write(&path, mode, text).map_err(|e| StateError { path, reason: e.into() })
    }
}

/// An id that looks like those of other machines: ten digits, 1 000 000 000 to 1 999 999 999.
pub fn random_id() -> String {
    rand::rng().random_range(1_000_000_000_u32..2_000_000_000).to_string()
}

/// The operating system's id of this machine, which stock hosts send too; a random one where there is none.
fn machine_uuid() -> String {
    let ids = ["/etc/machine-id", "/var/lib/dbus/machine-id"];
    let known =
        ids.iter().filter_map(|path| fs::read_to_string(path).ok()).map(|text| text.trim().to_owned());
    known.into_iter().find(|id| !id.is_empty()).unwrap_or_else(|| readable(&rand::rng().random::<[u8; 32]>()))
}

fn parse_hash(text: &str) -> Option<PasswordHash> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut hash = [0; 32];
    for (i, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(PasswordHash(hash))
}

fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn write(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_made_once_stays() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("state/host");
        let mut first = State::open(&folder).unwrap();
        assert_eq!(first.salt.len(), 32);
        assert_eq!(first.password, None);
        assert!((1_000_000_000..2_000_000_000).contains(&first.id.parse::<u32>().unwrap()));
        first.set_password("beacon-Light-7").unwrap();
        first.set_id("kiosk-17").unwrap();
        let second = State::open(&folder).unwrap();
        assert_eq!(second.identity.public(), first.identity.public());
        assert_eq!((&second.id[..], &second.salt, &second.uuid), ("kiosk-17", &first.salt, &first.uuid));
        assert_eq!(second.password, Some(PasswordHash::new("beacon-Light-7", &first.salt)));
    }

    #[test]
    fn secrets_are_for_the_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        State::open(folder.path()).unwrap().set_password("pw").unwrap();
        assert_eq!(mode(folder.path()), 0o700);
        for secret in ["id_ed25519", "salt", "password", "uuid"] {
            assert_eq!(mode(&folder.path().join(secret)), 0o600, "{secret}");
        }
        let text = fs::read_to_string(folder.path().join("password")).unwrap();
        assert!(!text.contains("pw"));
    }

    #[test]
    fn a_broken_file_is_named_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        State::open(folder.path()).unwrap();
        fs::write(folder.path().join("id_ed25519"), "nonsense").unwrap();
        let error = State::open(folder.path()).unwrap_err();
        assert!(error.to_string().contains("id_ed25519"), "{error}");
        assert_eq!(fs::read_to_string(folder.path().join("id_ed25519")).unwrap(), "nonsense");
        fs::remove_file(folder.path().join("id_ed25519")).unwrap();
        fs::write(folder.path().join("password"), "é".repeat(32)).unwrap();
        assert!(matches!(State::open(folder.path()).unwrap_err().reason, StateFault::Malformed));
    }
}
