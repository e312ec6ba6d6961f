//! Memory shared with the X server, read through its descriptor.
//!
//! Reading with `pread` in place of mapping costs one copy into the buffer that the picture needs anyway,
//! no unsafe code, and no signal when the other side shrinks the memory.

use super::{Link, ScreenError, failed, failed_id, gone};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage, getsockname};
use remote::Rect;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;
use x11rb::connection::{Connection, RequestConnection};
use x11rb::protocol::shm::{self, ConnectionExt as _};
use x11rb::protocol::xproto::{ConnectionExt as _, ImageFormat};

/// Where the server puts pixels for us.
#[derive(Debug)]
pub(super) enum Reader {
    Shared {
        segment: shm::Seg,
        memory: File,
        capacity: u64,
    },
    /// Through the connection, where memory can not be shared (a server on another machine).
    Socket,
}

impl Reader {
    pub(super) fn new(link: &Link) -> Result<Self, ScreenError> {
        let connection = &link.connection;
        let found = connection.extension_information(shm::X11_EXTENSION_NAME).map_err(gone)?.is_some();
        if !found || !is_local(link) {
            return Ok(Self::Socket);
        }
        let version =
            connection.shm_query_version().map_err(gone)?.reply().map_err(failed("ShmQueryVersion"))?;
        // Descriptors came with 1.2.
        if (version.major_version, version.minor_version) < (1, 2) {
            return Ok(Self::Socket);
        }
        Ok(Self::Shared { segment: x11rb::NONE, memory: memory("deskhand-screen")?, capacity: 0 })
    }

    /// Reads the pixels of `area` of the root window, row by row without gaps, into `into`.
    pub(super) fn read(&mut self, link: &Link, area: Rect, into: &mut [u8]) -> Result<(), ScreenError> {
        let (x, y) = (area.x as i16, area.y as i16);
        let (width, height) = (area.width as u16, area.height as u16);
        self.reserve(link, into.len() as u64)?;
        match self {
            Self::Shared { segment, memory, .. } => {
                link.connection
                    .shm_get_image(
                        link.root,
                        x,
                        y,
                        width,
                        height,
                        !0,
                        ImageFormat::Z_PIXMAP.into(),
                        *segment,
                        0,
                    )
                    .map_err(gone)?
                    .reply()
                    .map_err(failed("ShmGetImage"))?;
                memory.read_exact_at(into, 0).map_err(|error| ScreenError::Gone(error.to_string()))
            }
            Self::Socket => {
                let image = link
                    .connection
                    .get_image(ImageFormat::Z_PIXMAP, link.root, x, y, width, height, !0)
                    .map_err(gone)?
                    .reply()
                    .map_err(failed("GetImage"))?;
                let data = image.data.get(..into.len()).ok_or(ScreenError::Refused {
                    request: "GetImage",
                    reason: "too few pixels".to_owned(),
                })?;
                into.copy_from_slice(data);
                Ok(())
            }
        }
    }

    /// Makes the shared memory at least `bytes` large. The server maps a segment once, so a larger one is a
    /// new one.
    fn reserve(&mut self, link: &Link, bytes: u64) -> Result<(), ScreenError> {
        let Self::Shared { segment, memory, capacity } = self else { return Ok(()) };
        if bytes <= *capacity {
            return Ok(());
        }
        let connection = &link.connection;
        if *segment != x11rb::NONE {
            connection.shm_detach(*segment).map_err(gone)?;
        }
        let wider = self::memory("deskhand-screen")?;
        wider.set_len(bytes).map_err(|error| ScreenError::Gone(error.to_string()))?;
        let id = connection.generate_id().map_err(|error| failed_id("ShmAttachFd")(error))?;
        let shared =
            wider.as_fd().try_clone_to_owned().map_err(|error| ScreenError::Gone(error.to_string()))?;
        let attached = connection.shm_attach_fd(id, shared, false).map_err(gone)?.check();
        match attached {
            Ok(()) => {
                (*segment, *memory, *capacity) = (id, wider, bytes);
                Ok(())
            }
            Err(error) => {
                tracing::debug!(%error, "the X server takes no shared memory; pictures come over its socket");
                *self = Self::Socket;
                Ok(())
            }
        }
    }
}

fn memory(name: &str) -> Result<File, ScreenError> {
    memfd_create(name, MFdFlags::MFD_CLOEXEC)
        .map(File::from)
        .map_err(|error| ScreenError::Gone(format!("no memory to share: {error}")))
}

/// Descriptors pass through Unix sockets only.
fn is_local(link: &Link) -> bool {
    getsockname::<SockaddrStorage>(link.connection.stream().as_fd().as_raw_fd())
        .is_ok_and(|address| address.family() == Some(AddressFamily::Unix))
}
