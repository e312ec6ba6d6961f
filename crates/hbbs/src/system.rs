//! What the operating system can be asked for and no crate has a safe call for.

/// The calling thread, and those that it will start, get processor time only in small parts while others
/// want it: for work that nobody waits for. Where the system refuses, nothing changes.
pub(crate) fn step_back() {
    /// A tenth of what the other threads get beside it: enough to end some time under any load.
    const NICER_BY: libc::c_int = 10;
    // SAFETY: takes a number only. On Linux it is about the calling thread.
    #[expect(unsafe_code, reason = "the system call")]
    unsafe {
        libc::nice(NICER_BY);
    }
}

/// Gives freed memory back to the system. The allocator keeps what a crowd has used for the next one, and
/// what lies below a block still in use anyhow. It takes milliseconds, so it is for moments when a crowd
/// has gone.
pub(crate) fn give_memory_back() {
    // SAFETY: the allocator's own; it moves nothing that is in use.
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "glibc's function")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Notices when a crowd has gone.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    most: usize,
}

impl Crowd {
    /// Fewer than this are no crowd: what they used is not worth the trouble.
    const LEAST: usize = 256;

    /// There are so many now. Whether most of those have gone that there were.
    pub(crate) fn has_gone(&mut self, now: usize) -> bool {
        self.most = self.most.max(now);
        let gone = self.most >= Self::LEAST && now <= self.most / 16;
        if gone {
            self.most = now;
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_goes_once() {
        let mut crowd = Crowd::default();
        let few = (0..Crowd::LEAST).chain((0..Crowd::LEAST).rev());
        assert!(!few.into_iter().any(|n| crowd.has_gone(n)));
        let gone: Vec<usize> = (0..=1600).chain((0..1600).rev()).filter(|n| crowd.has_gone(*n)).collect();
        assert_eq!(gone, [100]);
    }
}
