//! Modes that were lowered below what a credential's grant allows.

use crate::SessionsError;
use crate::live::lock;
use policy::Mode;
use std::collections::HashMap;
use std::sync::Mutex;

/// Lowered modes, by credential; as many as there are credentials at most.
#[derive(Debug, Default)]
pub(crate) struct Modes(Mutex<HashMap<String, Mode>>);

impl Modes {
    /// What the credential was lowered to; [`Mode::Bypass`], which lowers nothing, where it was not.
    pub(crate) fn of(&self, credential: &str) -> Mode {
        lock(&self.0).get(credential).copied().unwrap_or(Mode::Bypass)
    }

    /// Lowers a mode that is `now`; refuses to raise it.
    pub(crate) fn lower(&self, credential: &str, now: Mode, asked: Mode) -> Result<(), SessionsError> {
        let mut lowered = lock(&self.0);
        let now = lowered.get(credential).map_or(now, |lowered| now.min(*lowered));
        if asked > now {
            return Err(SessionsError::ModeNotRaised { now, asked });
        }
        lowered.insert(credential.to_owned(), asked);
        Ok(())
    }

    /// Gives the credential back what its grant allows.
    pub(crate) fn restore(&self, credential: &str) {
        lock(&self.0).remove(credential);
    }
}
