//! What a host decides before a client comes.

use super::attempts::Attempts;
use super::passwords::Passwords;
use hbb_common::key::SigningKey;
use remote::{Permissions, Point, Size};
use std::net::IpAddr;
use std::sync::Arc;

/// Everything that one connection's machine knows from the beginning.
#[derive(Debug, Clone)]
pub struct HostContext {
    /// The id that clients dial.
    pub id: String,
    /// Signs the key exchange; `None` where the protocol has none (direct-IP access, a relay that was
    /// asked for without encryption).
    pub identity: Option<SigningKey>,
    /// Whether a client that was offered encryption may go on without (rendezvous §6.3).
    pub allow_plain: bool,
    pub salt: String,
    pub passwords: Arc<Passwords>,
    pub approve: ApproveMode,
    pub permissions: Permissions,
    pub remote_ip: IpAddr,
    pub attempts: Arc<Attempts>,
    pub announce: Announcement,
}

/// What lets a client in (session §2.4).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ApproveMode {
    #[default]
    Password,
    /// The local user's word only.
    Click,
    /// Either.
    Both,
}

/// What a client learns about this machine once it is in (session §2.7).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Announcement {
    pub username: String,
    pub hostname: String,
    /// `Linux` and its kin; clients choose the key codes they send by it.
    pub platform: String,
    /// The RustDesk release whose behaviour is implemented.
    pub version: String,
    pub displays: Vec<HostDisplay>,
    pub encoding: Encoding,
    /// One JSON object, or nothing.
    pub platform_additions: String,
}

/// One display of this machine; its place in the list is its number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostDisplay {
    pub name: String,
    pub origin: Point,
    pub size: Size,
    pub primary: bool,
    /// Sizes it can be switched to.
    pub modes: Vec<Size>,
    /// The size it had before anybody switched it.
    pub original: Option<Size>,
}

/// Encoders of this machine. VP9 is implied by the protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Encoding {
    pub vp8: bool,
    pub av1: bool,
    pub h264: bool,
    pub h265: bool,
}

/// What the machine needs of chance, fresh for each connection.
#[derive(Debug, Clone)]
pub struct HostRandom {
    /// Secret of the key exchange.
    pub secret: [u8; 32],
    /// Becomes the six characters of the challenge.
    pub challenge: [u8; 6],
}
