//! An X11 display: pictures through MIT-SHM and XDamage, input through XTEST.

mod capture;
mod injector;
mod keymap;
mod monitors;
mod shm;
mod spare;

use super::xauthority::{COOKIE_NAME, Cookie};
use super::{Capture, Injector, Screen, ScreenError};
use remote::Size;
use std::sync::Arc;
use x11rb::connection::{Connection, RequestConnection};
use x11rb::errors::{ConnectionError, ReplyError, ReplyOrIdError};
use x11rb::protocol::xproto::{ImageOrder, Setup, Window};
use x11rb::protocol::{damage, randr, xfixes, xkb, xtest};
use x11rb::reexports::x11rb_protocol::parse_display::parse_display;
use x11rb::rust_connection::{DefaultStream, RustConnection};

/// Sizes that people expect to find.
const COMMON_SIZES: [Size; 9] = [
    Size::new(800, 600),
    Size::new(1024, 768),
    Size::new(1280, 720),
    Size::new(1280, 800),
    Size::new(1366, 768),
    Size::new(1440, 900),
    Size::new(1600, 900),
    Size::new(1920, 1080),
    Size::new(1920, 1200),
];

/// A display of a running X server. Every capture and injector has a connection of its own.
#[derive(Debug)]
pub struct X11Screen {
    display: Option<String>,
    cookie: Option<Cookie>,
}

impl X11Screen {
    /// Uses a display (`:0`, `host:1.0`), or the one that the environment names, with the cookie that the
    /// user's Xauthority file holds for it.
    ///
    /// Fails with [`ScreenError::NoDisplay`] if no server answers, [`ScreenError::NoExtension`] or
    /// [`ScreenError::Unsupported`] if it can not be shared.
    pub fn open(display: Option<&str>) -> Result<Arc<dyn Screen>, ScreenError> {
        Self::checked(Self { display: display.map(str::to_owned), cookie: None })
    }

    /// As [`open`](Self::open) with a cookie given, for a server started here.
    pub fn open_with_cookie(display: &str, cookie: Cookie) -> Result<Arc<dyn Screen>, ScreenError> {
        Self::checked(Self { display: Some(display.to_owned()), cookie: Some(cookie) })
    }

    fn checked(screen: Self) -> Result<Arc<dyn Screen>, ScreenError> {
        let link = screen.link()?;
        link.check(&screen.name())?;
        Ok(Arc::new(screen))
    }

    fn name(&self) -> String {
        self.display.clone().unwrap_or_else(|| "$DISPLAY".to_owned())
    }

    fn link(&self) -> Result<Link, ScreenError> {
        let none = |reason: String| ScreenError::NoDisplay { display: self.name(), reason };
        let (connection, number) = match &self.cookie {
            None => {
                RustConnection::connect(self.display.as_deref()).map_err(|error| none(error.to_string()))?
            }
            Some(cookie) => connect_with(&self.name(), cookie).map_err(none)?,
        };
        let root = connection.setup().roots[number].root;
        Ok(Link { connection, number, root })
    }
}

/// Gives the monitor of a server started here the usual sizes, and the one it shall have.
pub(super) fn prepare_virtual(display: &str, cookie: Cookie, size: Size) -> Result<(), ScreenError> {
    let link = X11Screen { display: Some(display.to_owned()), cookie: Some(cookie) }.link()?;
    monitors::negotiate(&link)?;
    let limit = monitors::root_size(&link)?;
    let mut sizes = vec![size];
    sizes.extend(
        COMMON_SIZES
            .into_iter()
            .filter(|common| *common != size && common.width <= limit.width && common.height <= limit.height),
    );
    monitors::add_modes(&link, &sizes)?;
    if limit == size { Ok(()) } else { monitors::set_size(&link, 0, size) }
}

impl Screen for X11Screen {
    fn open_capture(&self) -> Result<Box<dyn Capture>, ScreenError> {
        Ok(Box::new(capture::X11Capture::new(self.link()?)?))
    }

    fn open_injector(&self) -> Result<Box<dyn Injector>, ScreenError> {
        Ok(Box::new(injector::X11Injector::new(self.link()?)?))
    }
}

fn connect_with(display: &str, cookie: &Cookie) -> Result<(RustConnection, usize), String> {
    let parsed = parse_display(Some(display)).map_err(|error| error.to_string())?;
    let number = usize::from(parsed.screen);
    let mut reason = "no address to try".to_owned();
    for address in parsed.connect_instruction() {
        let connected = match DefaultStream::connect(&address) {
            Ok((stream, _)) => RustConnection::connect_to_stream_with_auth_info(
                stream,
                number,
                COOKIE_NAME.to_vec(),
                cookie.bytes().to_vec(),
            )
            .map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match connected {
            Ok(connection) => return Ok((connection, number)),
            Err(error) => reason = error,
        }
    }
    Err(reason)
}

/// One connection to the server.
#[derive(Debug)]
struct Link {
    connection: RustConnection,
    number: usize,
    root: Window,
}

impl Link {
    fn setup(&self) -> &Setup {
        self.connection.setup()
    }

    /// Everything we need is there, in the one pixel format we read.
    fn check(&self, display: &str) -> Result<(), ScreenError> {
        for extension in [
            damage::X11_EXTENSION_NAME,
            randr::X11_EXTENSION_NAME,
            xfixes::X11_EXTENSION_NAME,
            xkb::X11_EXTENSION_NAME,
            xtest::X11_EXTENSION_NAME,
        ] {
            let found = self.connection.extension_information(extension).map_err(gone)?;
            if found.is_none() {
                return Err(ScreenError::NoExtension { display: display.to_owned(), extension });
            }
        }
        let setup = self.setup();
        let depth = setup.roots[self.number].root_depth;
        let format = setup.pixmap_formats.iter().find(|format| format.depth == depth);
        if !matches!(depth, 24 | 32) || format.is_none_or(|format| format.bits_per_pixel != 32) {
            return Err(ScreenError::Unsupported("only X servers of depth 24 or 32 can be shared"));
        }
        let visual = setup.roots[self.number].root_visual;
        let masks = setup.roots[self.number]
            .allowed_depths
            .iter()
            .flat_map(|depth| &depth.visuals)
            .find(|v| v.visual_id == visual)
            .map(|v| (v.red_mask, v.green_mask, v.blue_mask));
        if masks != Some((0xff_0000, 0xff00, 0xff)) || setup.image_byte_order != ImageOrder::LSB_FIRST {
            return Err(ScreenError::Unsupported(
                "only X servers with blue, green, red pixels in memory can be shared",
            ));
        }
        Ok(())
    }
}

/// A broken connection.
fn gone(error: ConnectionError) -> ScreenError {
    ScreenError::Gone(error.to_string())
}

/// A request that failed: for good with the connection, or on its own.
fn failed(request: &'static str) -> impl Fn(ReplyError) -> ScreenError {
    move |error| match error {
        ReplyError::ConnectionError(error) => gone(error),
        ReplyError::X11Error(error) => {
            ScreenError::Refused { request, reason: format!("{:?}", error.error_kind) }
        }
    }
}

fn failed_id(request: &'static str) -> impl Fn(ReplyOrIdError) -> ScreenError {
    move |error| match error {
        ReplyOrIdError::ConnectionError(error) => gone(error),
        ReplyOrIdError::X11Error(error) => {
            ScreenError::Refused { request, reason: format!("{:?}", error.error_kind) }
        }
        ReplyOrIdError::IdsExhausted => {
            ScreenError::Refused { request, reason: "no resource ids left".to_owned() }
        }
    }
}
