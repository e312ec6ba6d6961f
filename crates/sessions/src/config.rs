//! What the registry is told once.

use crate::approvals::ApprovalTimes;
use framebuffer::Budget;
use std::time::Duration;

/// No picture is wider or higher than this, whatever is configured: above it, model providers refuse a
/// conversation for good.
pub const HARDEST_SIDE: u32 = 2000;

/// When a screen counts as having come to rest after an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settle {
    /// Without a change for this long, it rests.
    pub quiet: Duration,
    /// An action that changed nothing for this long after the peer read it counts as without effect. A peer
    /// that is seen to be slow gets more.
    pub reaction: Duration,
    /// A screen that goes on changing is not watched for longer.
    pub cap: Duration,
    /// A peer that is slow to show anything is not waited for longer.
    pub patience: Duration,
}

impl Default for Settle {
    fn default() -> Self {
        Self {
            quiet: Duration::from_millis(150),
            reaction: Duration::from_millis(300),
            cap: Duration::from_millis(1500),
            patience: Duration::from_secs(5),
        }
    }
}

/// Limits and habits of a [`Sessions`](crate::Sessions).
#[derive(Debug, Clone)]
pub struct SessionsConfig {
    /// Sessions open at a time.
    pub limit: usize,
    /// A session that nobody used for this long is closed; `None` for never.
    pub idle: Option<Duration>,
    /// A closed session is still listed with its reason for this long.
    pub linger: Duration,
    /// How long a session that is ready may take to its first picture.
    pub first_picture: Duration,
    pub settle: Settle,
    /// The most a picture may cost; requests can only lower it.
    pub budget: Budget,
    /// Whether a caller may name an address in place of a configured target.
    pub allow_addresses: bool,
    /// Whether a caller may pass a password.
    pub allow_passwords: bool,
    /// Characters sent at once while typing; peers lose some of longer runs.
    pub typing_chunk: usize,
    /// The pause between two such runs.
    pub typing_pause: Duration,
    /// The longest text typed by one action, in characters.
    pub longest_text: usize,
    /// How long the network may take to accept inputs before their outcome counts as unknown.
    pub input_deadline: Duration,
    /// Whether pictures and states are given out while the audit log can not be written. Nothing that
    /// changes something is done then, whatever this says.
    pub look_without_audit: bool,
    /// Whether models and scripts get pictures while a person is in control, who may be typing a password.
    pub look_while_taken: bool,
    /// How long a person keeps control of a desktop without a sign of life.
    pub lease: Duration,
    pub approvals: ApprovalTimes,
}

impl Default for SessionsConfig {
    fn default() -> Self {
        Self {
            limit: 16,
            idle: Some(Duration::from_secs(30 * 60)),
            linger: Duration::from_secs(10 * 60),
            first_picture: Duration::from_secs(10),
            settle: Settle::default(),
            budget: Budget::default(),
            allow_addresses: true,
            allow_passwords: true,
            typing_chunk: 50,
            typing_pause: Duration::from_millis(12),
            longest_text: 20_000,
            input_deadline: Duration::from_secs(10),
            look_without_audit: true,
            look_while_taken: false,
            lease: Duration::from_secs(30),
            approvals: ApprovalTimes::default(),
        }
    }
}

impl SessionsConfig {
    /// The configured budget within [`HARDEST_SIDE`].
    pub fn ceiling(&self) -> Budget {
        Budget { longest_side: self.budget.longest_side.min(HARDEST_SIDE), ..self.budget }
    }
}
