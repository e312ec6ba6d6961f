//! What the machine tells its driver, in words of the desktop.

use bytes::Bytes;
use hbb_common::session::ControlKey;
use remote::{Button, Point, Size};
use std::time::Duration;

/// One thing for the driver to do, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// A payload to be framed and sent; sealed already where the connection is.
    Send(Bytes),
    Event(Event),
    /// Send what is queued, then close.
    Close,
}

/// What happened on a connection.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The key exchange is over.
    Secured {
        sealed: bool,
    },
    /// The client said who it is and what it wants. At most once.
    Introduced(ClientInfo),
    /// The local user is asked; answer with `accept` or `refuse`. At most once.
    ApprovalWanted,
    /// A password was wrong.
    WrongPassword,
    /// A login was refused, with the text the client was told.
    LoginRefused(String),
    Authorised(Authorisation),
    /// What the client wants to see from now on; whole, each time it changes.
    View(View),
    /// A complete picture is wanted: of one display or of all.
    Refresh(Option<usize>),
    /// Answer with `send_screenshot`.
    Screenshot {
        display: usize,
    },
    Input(HostInput),
    SetSize {
        display: usize,
        size: Size,
    },
    Clipboard(Vec<ClipboardItem>),
    Chat(String),
    /// Round trip of a probe over the smallest of late, averaged over three; while an answer is missing,
    /// the time since it was due.
    Delay(Duration),
    CtrlAltDel,
    LockScreen,
    /// The client asks for a reboot.
    Restart,
    Closed(CloseCause),
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseCause {
    /// The client left; usually without a text.
    ByClient(String),
    /// This side ended it, with the text the client was told.
    ByHost(String),
    LoginRefused,
    /// Nothing came for 30 s, or not even a key exchange for 18.
    Silence,
    /// The key exchange failed, or the client wanted none where one is demanded.
    Insecure(String),
    /// A packet did not open.
    Tampered,
    /// Longer than the client may send now.
    TooLong(usize),
}

/// Who lets a client in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authorisation {
    /// The permanent password.
    Password,
    OneTimePassword,
    /// The one-time password that let this session in before, when the connection broke.
    RecentSession,
    LocalUser,
}

/// Who the client says it is. Nothing of it is proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientInfo {
    pub id: String,
    pub name: String,
    pub platform: String,
    pub version: String,
    /// Kept by a client for its reconnects.
    pub session: u64,
    pub kind: SessionKind,
}

/// What a login is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionKind {
    Desktop,
    Files,
    Forward,
    Camera,
    Terminal,
}

/// What a client wants to see.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// Numbers of the displays it wants pictures of, ascending.
    pub displays: Vec<usize>,
    pub decoding: Decoding,
    /// Pictures a second at most, 1 to 120.
    pub fps: u32,
    /// Factor on the normal bit rate (session §3.4).
    pub ratio: f32,
    /// Pointer shapes are wanted.
    pub cursor: bool,
    /// Pointer positions are wanted.
    pub pointer: bool,
    /// The client records: a keyframe each 240 pictures.
    pub recording: bool,
}

/// What a client decodes. VP9 is implied by the protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Decoding {
    pub vp8: bool,
    pub vp9: bool,
    pub av1: bool,
    pub h264: bool,
    pub h265: bool,
    pub prefer: Option<remote::VideoCodec>,
}

/// Input, with a client's modifiers already turned into presses and releases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostInput {
    /// To a place of the virtual desktop.
    MoveTo(Point),
    MoveBy(Point),
    Button {
        button: Button,
        down: bool,
    },
    /// Notches: `x` positive to the right, `y` positive downwards.
    Scroll {
        x: i32,
        y: i32,
    },
    Key {
        key: InputKey,
        down: bool,
    },
    Text(String),
    /// Lock states as the client has them; `None` leaves one alone.
    Locks {
        caps: Option<bool>,
        num: Option<bool>,
    },
}

/// A key as the wire names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InputKey {
    /// A physical position in the codes of this machine's platform; on Linux an X keycode.
    Position(u32),
    /// A key with a name.
    Named(ControlKey),
    /// The key that gives this character.
    Character(char),
}

/// One representation of a clipboard's content, decompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClipboardItem {
    pub format: ClipboardFormat,
    pub content: Bytes,
}

/// session §5.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClipboardFormat {
    Text,
    Rtf,
    Html,
    /// Four bytes a pixel: red, green, blue, alpha.
    Rgba(Size),
    Png,
    Svg,
    Special(String),
}

/// What a connection was refused, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refusals {
    /// Packets that are no message.
    pub undecodable: u64,
    /// Messages that have to wait for a login.
    pub before_login: u64,
    /// Input without the permission, or while view-only.
    pub input: u64,
    /// Clipboard contents without the permission, too large, or malformed.
    pub clipboard: u64,
    /// Messages of no effect here.
    pub unsupported: u64,
}
