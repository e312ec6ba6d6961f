//! How much may go on at once.

use super::refusal::Refusal;
use super::{Limit, lock};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests that are being answered, by credential.
#[derive(Debug)]
pub(super) struct Requests {
    limit: Limit,
    open: Mutex<HashMap<Arc<str>, usize>>,
    all: Arc<Semaphore>,
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct RequestPermit {
    requests: Arc<Requests>,
    credential: Arc<str>,
    _one: OwnedSemaphorePermit,
}

impl Requests {
    pub(super) fn new(limit: Limit) -> Arc<Self> {
        let all = Arc::new(Semaphore::new(limit.all.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self { limit, open: Mutex::default(), all })
    }

    pub(super) fn admit(self: &Arc<Self>, credential: &str) -> Result<RequestPermit, Refusal> {
        let one = Arc::clone(&self.all).try_acquire_owned().map_err(|_| Refusal::Busy)?;
        let mut open = lock(&self.open);
        let credential: Arc<str> = match open.get_key_value(credential) {
            Some((_, count)) if *count >= self.limit.each => return Err(Refusal::BusyCaller),
            Some((known, _)) => Arc::clone(known),
            None => credential.into(),
        };
        *open.entry(Arc::clone(&credential)).or_default() += 1;
        Ok(RequestPermit { requests: Arc::clone(self), credential, _one: one })
    }
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        let mut open = lock(&self.requests.open);
        if let Some(count) = open.get_mut(&self.credential) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.credential);
            }
        }
    }
}

/// Bytes of request bodies that are held at once, in steps of a kibibyte.
#[derive(Debug)]
pub(super) struct Memory(Arc<Semaphore>);

impl Memory {
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new((bytes >> 10).min(Semaphore::MAX_PERMITS))))
    }

    /// Room for that many bytes more, until the permit goes.
    pub(super) fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let steps = u32::try_from(bytes.div_ceil(1 << 10)).ok()?;
        Arc::clone(&self.0).try_acquire_many_owned(steps).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_credential_leaves_room_for_others() {
        let requests = Requests::new(Limit { each: 2, all: 3 });
        let first = requests.admit("a").unwrap();
        let _second = requests.admit("a").unwrap();
        assert_eq!(requests.admit("a").err(), Some(Refusal::BusyCaller));
        let _third = requests.admit("b").unwrap();
        assert_eq!(requests.admit("c").err(), Some(Refusal::Busy));
        drop(first);
        assert!(requests.admit("a").is_ok());
    }

    #[test]
    fn credentials_without_requests_take_no_room() {
        let requests = Requests::new(Limit { each: 1, all: 1 });
        for n in 0..100 {
            drop(requests.admit(&n.to_string()).unwrap());
        }
        assert!(lock(&requests.open).is_empty());
    }
}
