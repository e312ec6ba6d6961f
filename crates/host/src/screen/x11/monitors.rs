//! Monitors and their sizes, through RandR.

use super::{Link, ScreenError, failed, gone};
use crate::screen::Monitor;
use remote::{Point, Rect, Size};
use x11rb::protocol::randr::{self, ConnectionExt as _, ModeInfo, SetConfig};
use x11rb::protocol::xproto::{ChangeWindowAttributesAux, ConnectionExt as _, EventMask};

/// A monitor and the one output behind it, if it is one whose mode can be set.
#[derive(Debug)]
struct Entry {
    monitor: Monitor,
    output: Option<Output>,
}

#[derive(Debug)]
struct Output {
    id: randr::Output,
    crtc: randr::Crtc,
    modes: Vec<(randr::Mode, Size)>,
}

/// The monitors now, in RandR's order. A server without any gives its whole root window as one.
pub(super) fn list(link: &Link) -> Result<Vec<Monitor>, ScreenError> {
    Ok(entries(link)?.into_iter().map(|entry| entry.monitor).collect())
}

/// The size of the root window now.
pub(super) fn root_size(link: &Link) -> Result<Size, ScreenError> {
    let geometry =
        link.connection.get_geometry(link.root).map_err(gone)?.reply().map_err(failed("GetGeometry"))?;
    Ok(Size::new(geometry.width.into(), geometry.height.into()))
}

fn entries(link: &Link) -> Result<Vec<Entry>, ScreenError> {
    let connection = &link.connection;
    let root = root_size(link)?;
    let listed = connection
        .randr_get_monitors(link.root, true)
        .map_err(gone)?
        .reply()
        .map_err(failed("RRGetMonitors"))?;
    let resources = connection
        .randr_get_screen_resources_current(link.root)
        .map_err(gone)?
        .reply()
        .map_err(failed("RRGetScreenResourcesCurrent"))?;
    let mut entries = Vec::new();
    for info in listed.monitors {
        let place = Rect::new(at(info.x), at(info.y), info.width.into(), info.height.into());
        // What lies outside of the root window has no pixels.
        let place = place.intersection(Rect::of(root));
        if place.is_empty() {
            continue;
        }
        let name =
            connection.get_atom_name(info.name).map_err(gone)?.reply().map_err(failed("GetAtomName"))?;
        let output = match info.outputs.as_slice() {
            [only] => output(link, *only, &resources)?,
            _ => None,
        };
        let mut modes = Vec::new();
        for (_, size) in output.iter().flat_map(|output| &output.modes) {
            if !modes.contains(size) {
                modes.push(*size);
            }
        }
        let monitor = Monitor {
            name: String::from_utf8_lossy(&name.name).into_owned(),
            origin: Point::new(place.x as i32, place.y as i32),
            size: place.size(),
            primary: info.primary,
            modes,
        };
        entries.push(Entry { monitor, output });
    }
    if entries.is_empty() {
        let monitor = Monitor {
            name: "root".to_owned(),
            origin: Point::default(),
            size: root,
            primary: true,
            modes: Vec::new(),
        };
        entries.push(Entry { monitor, output: None });
    }
    if !entries.iter().any(|entry| entry.monitor.primary) {
        entries[0].monitor.primary = true;
    }
    Ok(entries)
}

fn output(
    link: &Link,
    id: randr::Output,
    resources: &randr::GetScreenResourcesCurrentReply,
) -> Result<Option<Output>, ScreenError> {
    let info = link
        .connection
        .randr_get_output_info(id, resources.config_timestamp)
        .map_err(gone)?
        .reply()
        .map_err(failed("RRGetOutputInfo"))?;
    if info.crtc == x11rb::NONE {
        return Ok(None);
    }
    let size = |mode: randr::Mode| {
        let found = resources.modes.iter().find(|known| known.id == mode)?;
        Some((mode, Size::new(found.width.into(), found.height.into())))
    };
    let modes = info.modes.iter().filter_map(|mode| size(*mode)).collect();
    Ok(Some(Output { id, crtc: info.crtc, modes }))
}

/// Switches a monitor to one of its modes. The root window grows before and shrinks after, since it has to
/// hold every monitor at each moment.
pub(super) fn set_size(link: &Link, index: usize, size: Size) -> Result<(), ScreenError> {
    let entries = entries(link)?;
    let entry = entries.get(index).ok_or(ScreenError::NoSuchMonitor(index))?;
    let output =
        entry.output.as_ref().ok_or(ScreenError::Unsupported("the size of this monitor is fixed"))?;
    let (mode, _) = output
        .modes
        .iter()
        .find(|(_, known)| *known == size)
        .ok_or(ScreenError::Unsupported("this monitor has no such size"))?;
    let mut after =
        Rect::new(at32(entry.monitor.origin.x), at32(entry.monitor.origin.y), size.width, size.height);
    for (other, entry) in entries.iter().enumerate() {
        if other != index {
            after = after.union(entry.monitor.rect());
        }
    }
    let after = Size::new(after.x + after.width, after.y + after.height);
    let before = root_size(link)?;
    let between = Size::new(before.width.max(after.width), before.height.max(after.height));
    if between != before {
        set_root_size(link, between)?;
    }
    let connection = &link.connection;
    let crtc = connection
        .randr_get_crtc_info(output.crtc, 0)
        .map_err(gone)?
        .reply()
        .map_err(failed("RRGetCrtcInfo"))?;
    let set = connection
        .randr_set_crtc_config(output.crtc, 0, 0, crtc.x, crtc.y, *mode, crtc.rotation, &[output.id])
        .map_err(gone)?
        .reply()
        .map_err(failed("RRSetCrtcConfig"))?;
    if set.status != SetConfig::SUCCESS {
        return Err(ScreenError::Refused { request: "RRSetCrtcConfig", reason: format!("{:?}", set.status) });
    }
    if between != after {
        set_root_size(link, after)?;
    }
    Ok(())
}

fn set_root_size(link: &Link, size: Size) -> Result<(), ScreenError> {
    // 96 dots an inch, as X servers without a real monitor have it.
    let millimetres = |pixels: u32| (pixels * 254).div_ceil(960);
    link.connection
        .randr_set_screen_size(
            link.root,
            size.width as u16,
            size.height as u16,
            millimetres(size.width),
            millimetres(size.height),
        )
        .map_err(gone)?
        .check()
        .map_err(failed("RRSetScreenSize"))
}

/// Gives the only monitor of a virtual server further sizes. Sizes it has already, or refuses, are left out.
pub(super) fn add_modes(link: &Link, sizes: &[Size]) -> Result<(), ScreenError> {
    let connection = &link.connection;
    let entries = entries(link)?;
    let Some(output) = entries.first().and_then(|entry| entry.output.as_ref()) else { return Ok(()) };
    for size in sizes {
        if output.modes.iter().any(|(_, known)| known == size) {
            continue;
        }
        let name = size.to_string();
        let (width, height) = (size.width as u16, size.height as u16);
        let info = ModeInfo {
            width,
            height,
            // No beam to steer: the totals are the visible part, 60 pictures a second.
            dot_clock: size.width * size.height * 60,
            hsync_start: width,
            hsync_end: width,
            htotal: width,
            vsync_start: height,
            vsync_end: height,
            vtotal: height,
            name_len: name.len() as u16,
            ..ModeInfo::default()
        };
        let made = connection.randr_create_mode(link.root, info, name.as_bytes()).map_err(gone)?.reply();
        match made {
            Ok(mode) => {
                let added = connection.randr_add_output_mode(output.id, mode.mode).map_err(gone)?.check();
                if let Err(error) = added {
                    tracing::debug!(%size, %error, "the virtual monitor does not take the size");
                }
            }
            Err(error) => tracing::debug!(%size, %error, "the virtual monitor does not take the size"),
        }
    }
    Ok(())
}

fn at(v: i16) -> u32 {
    at32(v.into())
}

fn at32(v: i32) -> u32 {
    u32::try_from(v).unwrap_or(0)
}

/// Says which RandR is spoken; monitors came with 1.5.
pub(super) fn negotiate(link: &Link) -> Result<(), ScreenError> {
    link.connection
        .randr_query_version(1, 5)
        .map_err(gone)?
        .reply()
        .map(drop)
        .map_err(failed("RRQueryVersion"))
}

/// Selects the events that tell of changed monitors.
pub(super) fn select(link: &Link) -> Result<(), ScreenError> {
    use randr::NotifyMask;
    negotiate(link)?;
    let mask = NotifyMask::SCREEN_CHANGE | NotifyMask::CRTC_CHANGE | NotifyMask::OUTPUT_CHANGE;
    link.connection.randr_select_input(link.root, mask).map_err(gone)?;
    // Monitors that somebody defines are told as a change of the root window only.
    let aux = ChangeWindowAttributesAux::new().event_mask(EventMask::STRUCTURE_NOTIFY);
    link.connection.change_window_attributes(link.root, &aux).map_err(gone)?;
    Ok(())
}
