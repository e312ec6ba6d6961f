//! The passwords of a host, and the sessions that a one-time password let in lately (session §2.3, §2.11).

use super::{Authorisation, ClientInfo};
use hbb_common::password::PasswordHash;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A session may come back with the one-time password that let it in, though that was replaced meanwhile, until
/// nothing was heard of it for this long.
const RECENT: Duration = Duration::from_secs(30);

/// Sessions remembered; the one that was not heard of for longest gives way.
const REMEMBERED: usize = 256;

/// So many wrong passwords in a row, from wherever, wear a one-time password out.
const MISSES: u32 = 10;

/// Which login of which client: what a client keeps when it connects anew.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct SessionKey {
    id: String,
    name: String,
    session: u64,
}

impl SessionKey {
    pub(super) fn of(client: &ClientInfo) -> Self {
        Self { id: client.id.clone(), name: client.name.clone(), session: client.session }
    }
}

#[derive(Debug)]
struct Recent {
    password: PasswordHash,
    heard: Instant,
}

#[derive(Debug, Default)]
struct Inner {
    permanent: Option<PasswordHash>,
    one_time: Option<PasswordHash>,
    misses: u32,
    recent: HashMap<SessionKey, Recent>,
}

/// What all connections of a host let clients in by. A change counts at once, also for connections that wait
/// for a password.
#[derive(Debug, Default)]
pub struct Passwords {
    inner: Mutex<Inner>,
}

impl Passwords {
    pub fn new(permanent: Option<PasswordHash>) -> Self {
        Self { inner: Mutex::new(Inner { permanent, ..Inner::default() }) }
    }

    pub fn set_permanent(&self, password: Option<PasswordHash>) {
        self.lock().permanent = password;
    }

    /// A fresh one-time password. Sessions that the one before let in can still come back by it.
    pub fn set_one_time(&self, password: Option<PasswordHash>) {
        let mut inner = self.lock();
        inner.one_time = password;
        inner.misses = 0;
    }

    /// Whether the one-time password was guessed at so often that it should be replaced.
    pub fn is_worn_out(&self) -> bool {
        let inner = self.lock();
        inner.one_time.is_some() && inner.misses >= MISSES
    }

    /// Whether there is no password that a client could know.
    pub fn is_empty(&self) -> bool {
        let inner = self.lock();
        inner.permanent.is_none() && inner.one_time.is_none()
    }

    /// Which password a proof shows that the client knows.
    pub(super) fn check(
        &self,
        client: &SessionKey,
        challenge: &str,
        proof: &[u8],
        now: Instant,
    ) -> Option<Authorisation> {
        let mut inner = self.lock();
        inner.recent.retain(|_, recent| now < recent.heard + RECENT);
        let fits = |hash: &PasswordHash| hash.accepts(challenge, proof);
        // Each is tried, so that the time does not tell which one fitted.
        let one_time = inner.one_time.as_ref().is_some_and(fits);
        let permanent = inner.permanent.as_ref().is_some_and(fits);
        let recent = inner.recent.get(client).is_some_and(|recent| fits(&recent.password));
        let how = match (one_time, permanent, recent) {
            (true, ..) => Authorisation::OneTimePassword,
            (_, true, _) => Authorisation::Password,
            (.., true) => Authorisation::RecentSession,
            _ => {
                inner.misses = inner.misses.saturating_add(1);
                return None;
            }
        };
        inner.misses = 0;
        if let Some(recent) = inner.recent.get_mut(client) {
            recent.heard = now;
        }
        if let (Authorisation::OneTimePassword, Some(password)) = (how, inner.one_time.clone()) {
            inner.remember(client.clone(), Recent { password, heard: now });
        }
        Some(how)
    }

    /// A message of a session that may come back arrived.
    pub(super) fn heard(&self, client: &SessionKey, now: Instant) {
        if let Some(recent) = self.lock().recent.get_mut(client) {
            recent.heard = now;
        }
    }

    /// A session is over for good.
    pub(super) fn forget(&self, client: &SessionKey) {
        self.lock().recent.remove(client);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Whole values are put in at once.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn remember(&mut self, client: SessionKey, recent: Recent) {
        if self.recent.len() >= REMEMBERED && !self.recent.contains_key(&client) {
            let oldest =
                self.recent.iter().min_by_key(|(_, recent)| recent.heard).map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                self.recent.remove(&oldest);
            }
        }
        self.recent.insert(client, recent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHALLENGE: &str = "abc234";

    fn key(session: u64) -> SessionKey {
        SessionKey { id: "987654321".into(), name: "Ada".into(), session }
    }

    fn hash(password: &str) -> PasswordHash {
        PasswordHash::new(password, "salt")
    }

    fn both() -> Passwords {
        let passwords = Passwords::new(Some(hash("permanent")));
        passwords.set_one_time(Some(hash("first")));
        passwords
    }

    fn check(passwords: &Passwords, session: u64, password: &str, now: Instant) -> Option<Authorisation> {
        passwords.check(&key(session), CHALLENGE, &hash(password).proof(CHALLENGE), now)
    }

    #[test]
    fn a_session_comes_back_by_the_password_that_let_it_in_within_thirty_seconds() {
        let (passwords, now) = (both(), Instant::now());
        assert_eq!(check(&passwords, 1, "first", now), Some(Authorisation::OneTimePassword));
        passwords.set_one_time(Some(hash("second")));
        let later = now + Duration::from_secs(29);
        assert_eq!(check(&passwords, 2, "first", later), None, "not another session");
        assert_eq!(check(&passwords, 1, "guess", later), None, "not by any password");
        assert_eq!(check(&passwords, 1, "first", later), Some(Authorisation::RecentSession));
        passwords.heard(&key(1), later);
        let last = later + RECENT - Duration::from_millis(1);
        assert_eq!(check(&passwords, 1, "first", last), Some(Authorisation::RecentSession));
        assert_eq!(check(&passwords, 1, "first", last + RECENT), None);
    }

    #[test]
    fn who_left_for_good_or_came_by_the_permanent_password_is_not_remembered() {
        let (passwords, now) = (both(), Instant::now());
        assert_eq!(check(&passwords, 1, "permanent", now), Some(Authorisation::Password));
        check(&passwords, 2, "first", now);
        passwords.forget(&key(2));
        passwords.set_permanent(None);
        passwords.set_one_time(Some(hash("second")));
        assert_eq!(check(&passwords, 1, "permanent", now), None);
        assert_eq!(check(&passwords, 2, "first", now), None);
    }

    #[test]
    fn ten_misses_in_a_row_wear_a_one_time_password_out() {
        let (passwords, now) = (both(), Instant::now());
        for (guesses, worn_out) in [(9, false), (10, true)] {
            check(&passwords, 1, "first", now);
            for _ in 0..guesses {
                check(&passwords, 1, "guess", now);
            }
            assert_eq!(passwords.is_worn_out(), worn_out, "{guesses}");
        }
        passwords.set_one_time(Some(hash("second")));
        assert!(!passwords.is_worn_out());
        let permanent = Passwords::new(Some(hash("permanent")));
        for _ in 0..20 {
            check(&permanent, 1, "guess", now);
        }
        assert!(!permanent.is_worn_out(), "there is nothing to replace");
    }

    #[test]
    fn memory_is_bounded() {
        let (passwords, start) = (both(), Instant::now());
        for session in 0..1000 {
            check(&passwords, session, "first", start + Duration::from_millis(session));
        }
        assert_eq!(passwords.lock().recent.len(), REMEMBERED);
        assert!(passwords.lock().recent.contains_key(&key(999)));
    }
}
