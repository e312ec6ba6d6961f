//! The keys that hosts had, so that another key is noticed.

use hbb_common::key::PublicKey;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What a key is kept for: the same id at another server is another host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pin {
    pub server: String,
    pub id: String,
}

/// Keeps one key per host.
pub trait Pins: Send + Sync {
    /// The key that the host had.
    fn get(&self, pin: &Pin) -> io::Result<Option<PublicKey>>;

    /// Keeps the key of a host that has none kept yet, or that a person accepted anew.
    fn pin(&self, pin: &Pin, key: PublicKey) -> io::Result<()>;

    /// Forgets the key, so that the next one is kept.
    fn forget(&self, pin: &Pin) -> io::Result<()>;

    /// Another key was offered and refused: remembered, where there is a place for it, for the person who
    /// decides.
    fn refused(&self, _pin: &Pin, _offered: PublicKey) -> io::Result<()> {
        Ok(())
    }
}

/// Keys for as long as the process lives.
#[derive(Debug, Default)]
pub struct MemoryPins(Mutex<BTreeMap<Pin, PublicKey>>);

impl Pins for MemoryPins {
    fn get(&self, pin: &Pin) -> io::Result<Option<PublicKey>> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(pin).copied())
    }

    fn pin(&self, pin: &Pin, key: PublicKey) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(pin.clone(), key);
        Ok(())
    }

    fn forget(&self, pin: &Pin) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(pin);
        Ok(())
    }
}

/// Keys in the file `peers` of a state directory, one line each: server, id and key, with tabs between. Keys
/// that were refused because another is pinned are in the file `peers.refused`, in the same form, until a
/// person accepts or forgets the peer.
#[derive(Debug)]
pub struct FilePins {
    path: PathBuf,
    refused: PathBuf,
    /// Only one change at a time.
    writing: Mutex<()>,
}

/// What is kept of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownPeer {
    pub pin: Pin,
    pub key: PublicKey,
    /// The key that it, or somebody in its place, came with since.
    pub refused: Option<PublicKey>,
}

type Keys = BTreeMap<Pin, PublicKey>;

impl FilePins {
    /// `state`: a directory that exists.
    pub fn new(state: impl Into<PathBuf>) -> Self {
        let state = state.into();
        Self { path: state.join("peers"), refused: state.join("peers.refused"), writing: Mutex::new(()) }
    }

    /// Every host that has a key kept.
    pub fn list(&self) -> io::Result<Vec<KnownPeer>> {
        let refused = load(&self.refused)?;
        let known = |(pin, key): (Pin, PublicKey)| {
            let refused = refused.get(&pin).copied();
            KnownPeer { pin, key, refused }
        };
        Ok(load(&self.path)?.into_iter().map(known).collect())
    }

    /// Keeps the key that was refused last in place of the one that is kept; gives it, if there is one.
    pub fn accept(&self, pin: &Pin) -> io::Result<Option<PublicKey>> {
        let Some(key) = load(&self.refused)?.get(pin).copied() else { return Ok(None) };
        self.pin(pin, key)?;
        Ok(Some(key))
    }

    fn change(&self, path: &Path, change: impl FnOnce(&mut Keys)) -> io::Result<()> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        // Other processes may have the same state directory.
        let among_processes = private(&self.path.with_extension("lock"))?;
        among_processes.lock()?;
        let mut keys = load(path)?;
        let before = keys.clone();
        change(&mut keys);
        if keys == before {
            return Ok(());
        }
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let mut file = private(Path::new(&beside))?;
        file.set_len(0)?;
        for (pin, key) in &keys {
            writeln!(file, "{}\t{}\t{key}", pin.server, pin.id)?;
        }
        file.sync_all()?;
        fs::rename(&beside, path)
    }
}

/// A file of ours alone, made if it is not there.
fn private(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn load(path: &Path) -> io::Result<Keys> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Keys::new()),
        Err(e) => return Err(e),
    };
    text.lines().filter(|line| !line.is_empty()).map(|line| parse(path, line)).collect()
}

/// A line that can not be read must not become a host without a pin.
fn parse(path: &Path, line: &str) -> io::Result<(Pin, PublicKey)> {
    let bad = || {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: {line:?} is no pinned key", path.display()))
    };
    let mut parts = line.split('\t');
    let (Some(server), Some(id), Some(key), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(bad());
    };
    let key = PublicKey::from_base64(key).map_err(|_| bad())?;
    Ok((Pin { server: server.into(), id: id.into() }, key))
}

fn check_names(pin: &Pin) -> io::Result<()> {
    if [&pin.server, &pin.id].iter().any(|text| text.contains(['\t', '\n', '\r'])) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a name with a tab or a line break"));
    }
    Ok(())
}

impl Pins for FilePins {
    fn get(&self, pin: &Pin) -> io::Result<Option<PublicKey>> {
        Ok(load(&self.path)?.get(pin).copied())
    }

    fn pin(&self, pin: &Pin, key: PublicKey) -> io::Result<()> {
        check_names(pin)?;
        self.change(&self.path, |keys| {
            keys.insert(pin.clone(), key);
        })?;
        self.change(&self.refused, |keys| {
            keys.remove(pin);
        })
    }

    fn forget(&self, pin: &Pin) -> io::Result<()> {
        for path in [&self.path, &self.refused] {
            self.change(path, |keys| {
                keys.remove(pin);
            })?;
        }
        Ok(())
    }

    fn refused(&self, pin: &Pin, offered: PublicKey) -> io::Result<()> {
        check_names(pin)?;
        self.change(&self.refused, |keys| {
            keys.insert(pin.clone(), offered);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hbb_common::key::SigningKey;

    fn pin(id: &str) -> Pin {
        Pin { server: "hbbs.example:21116".into(), id: id.into() }
    }

    fn key(n: u8) -> PublicKey {
        SigningKey::from_seed(&[n; 32]).public()
    }

    #[test]
    fn keys_survive_in_a_file_nobody_else_reads() {
        let state = tempfile::tempdir().unwrap();
        let pins = FilePins::new(state.path());
        assert_eq!(pins.get(&pin("1")).unwrap(), None);
        pins.pin(&pin("1"), key(1)).unwrap();
        pins.pin(&pin("2"), key(2)).unwrap();
        pins.pin(&pin("1"), key(3)).unwrap();
        let again = FilePins::new(state.path());
        assert_eq!(again.get(&pin("1")).unwrap(), Some(key(3)));
        assert_eq!(again.get(&pin("2")).unwrap(), Some(key(2)));
        assert_eq!(again.get(&Pin { server: "other".into(), id: "1".into() }).unwrap(), None);
        again.forget(&pin("1")).unwrap();
        assert_eq!(pins.get(&pin("1")).unwrap(), None);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(state.path().join("peers")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_refused_key_waits_until_a_person_accepts_it() {
        let state = tempfile::tempdir().unwrap();
        let pins = FilePins::new(state.path());
        pins.pin(&pin("1"), key(1)).unwrap();
        assert_eq!(pins.accept(&pin("1")).unwrap(), None, "nothing was offered");
        for offered in [2, 2, 3] {
            pins.refused(&pin("1"), key(offered)).unwrap();
        }
        let known = |key, refused| KnownPeer { pin: pin("1"), key, refused };
        assert_eq!(pins.list().unwrap(), [known(key(1), Some(key(3)))]);
        assert_eq!(pins.get(&pin("1")).unwrap(), Some(key(1)), "refused is not pinned");
        assert_eq!(FilePins::new(state.path()).accept(&pin("1")).unwrap(), Some(key(3)));
        assert_eq!(pins.list().unwrap(), [known(key(3), None)]);
        pins.refused(&pin("1"), key(4)).unwrap();
        pins.forget(&pin("1")).unwrap();
        assert_eq!(pins.list().unwrap(), []);
        assert_eq!(pins.accept(&pin("1")).unwrap(), None);
    }

    #[test]
    fn processes_that_change_the_file_at_the_same_time_lose_nothing() {
        let state = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for n in 0..8 {
                let pins = FilePins::new(state.path());
                scope.spawn(move || {
                    for k in 0..10 {
                        pins.pin(&pin(&format!("{n}-{k}")), key(n)).unwrap();
                    }
                });
            }
        });
        assert_eq!(FilePins::new(state.path()).list().unwrap().len(), 80);
    }

    #[test]
    fn a_damaged_file_is_an_error_and_no_empty_list() {
        let state = tempfile::tempdir().unwrap();
        fs::write(state.path().join("peers"), "server\t1\tnot a key\n").unwrap();
        let pins = FilePins::new(state.path());
        assert_eq!(pins.get(&pin("1")).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(pins.pin(&pin("1"), key(1)).is_err(), "what is there is not overwritten");
        assert!(pins.pin(&Pin { server: "a\tb".into(), id: "1".into() }, key(1)).is_err());
    }
}
