//! The keys that hosts had, so that another key is noticed.

use hbb_common::key::PublicKey;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
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

/// Keys in the file `peers` of a state directory, one line each: server, id and key, with tabs between.
#[derive(Debug)]
pub struct FilePins {
    path: PathBuf,
    /// Only one change at a time.
    writing: Mutex<()>,
}

impl FilePins {
    /// `state`: a directory that exists.
    pub fn new(state: impl Into<PathBuf>) -> Self {
        Self { path: state.into().join("peers"), writing: Mutex::new(()) }
    }

    fn load(&self) -> io::Result<BTreeMap<Pin, PublicKey>> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(e) => return Err(e),
        };
        text.lines().filter(|line| !line.is_empty()).map(|line| self.parse(line)).collect()
    }

    /// A line that can not be read must not become a host without a pin.
    fn parse(&self, line: &str) -> io::Result<(Pin, PublicKey)> {
        let bad = || {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{}: {line:?} is no pinned key", self.path.display()),
            )
        };
        let mut parts = line.split('\t');
        let (Some(server), Some(id), Some(key), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(bad());
        };
        let key = PublicKey::from_base64(key).map_err(|_| bad())?;
        Ok((Pin { server: server.into(), id: id.into() }, key))
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<Pin, PublicKey>)) -> io::Result<()> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pins = self.load()?;
        change(&mut pins);
        let beside = self.path.with_extension("new");
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&beside)?;
        for (pin, key) in &pins {
            writeln!(file, "{}\t{}\t{key}", pin.server, pin.id)?;
        }
        file.sync_all()?;
        fs::rename(&beside, &self.path)
    }
}

impl Pins for FilePins {
    fn get(&self, pin: &Pin) -> io::Result<Option<PublicKey>> {
        Ok(self.load()?.get(pin).copied())
    }

    fn pin(&self, pin: &Pin, key: PublicKey) -> io::Result<()> {
        if [&pin.server, &pin.id].iter().any(|text| text.contains(['\t', '\n', '\r'])) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a name with a tab or a line break"));
        }
        self.change(|pins| {
            pins.insert(pin.clone(), key);
        })
    }

    fn forget(&self, pin: &Pin) -> io::Result<()> {
        self.change(|pins| {
            pins.remove(pin);
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
    fn a_damaged_file_is_an_error_and_no_empty_list() {
        let state = tempfile::tempdir().unwrap();
        fs::write(state.path().join("peers"), "server\t1\tnot a key\n").unwrap();
        let pins = FilePins::new(state.path());
        assert_eq!(pins.get(&pin("1")).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(pins.pin(&pin("1"), key(1)).is_err(), "what is there is not overwritten");
        assert!(pins.pin(&Pin { server: "a\tb".into(), id: "1".into() }, key(1)).is_err());
    }
}
