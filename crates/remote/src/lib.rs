//! What a remote machine offers, whatever the protocol behind it.
//!
//! A driver (RustDesk, VNC, SSH) implements [`Connector`] and [`Session`]; services and edges use them and
//! name no protocol. Async methods are boxed futures so that every trait is an object and this crate
//! knows no runtime.

pub mod connector;
pub mod desktop;
pub mod error;
pub mod frame;
pub mod geometry;
pub mod input;
pub mod target;
pub mod video;

pub use connector::{Connector, Path, PeerDetails, Permission, Permissions, Session, SessionState};
pub use desktop::{Answer, Cursor, CursorShape, Desktop, Display, DisplayId, FrameInfo};
pub use error::RemoteError;
pub use frame::{Frame, Pixels, Plane, VideoCodec};
pub use futures_core::future::BoxFuture;
pub use geometry::{Point, Rect, Size};
pub use input::{Button, Input, Key, Modifier, NamedKey};
pub use target::{Secret, Target};
pub use video::{VideoFeed, VideoPacket};
