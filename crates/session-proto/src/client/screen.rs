//! The host's displays, and where a pixel of one lies for the host (session §3.7, §4.2).

use hbb_common::session::{DisplayInfo, PeerInfo, SwitchDisplay};
use hbb_common::version;
use remote::{Display, DisplayId, Point, RemoteError, Size};
use std::collections::BTreeSet;

/// More displays than any host has; further ones are not listed.
const MAX_DISPLAYS: usize = 64;

/// Longer additions are not looked at.
const MAX_ADDITIONS: usize = 64 << 10;

/// The exact words of `PeerInfo.platform`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Platform {
    Windows,
    #[default]
    Linux,
    MacOs,
    Android,
    Other,
}

impl From<&str> for Platform {
    fn from(name: &str) -> Self {
        match name {
            "Windows" => Self::Windows,
            "Linux" => Self::Linux,
            "Mac OS" => Self::MacOs,
            "Android" => Self::Android,
            _ => Self::Other,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Monitor {
    name: String,
    origin: Point,
    /// As announced.
    size: Size,
    scale: f64,
    /// Of the last decoded picture, where it differs from the announced size.
    picture: Option<Size>,
}

/// What is known of the host's screen.
#[derive(Debug, Default)]
pub(super) struct Screen {
    pub(super) platform: Platform,
    /// The host's version as a number.
    pub(super) version: i64,
    /// Windows: Ctrl+Alt+Del can be sent.
    pub(super) sas: bool,
    wayland: bool,
    /// A host of ours, which types every character.
    deskhand: bool,
    monitors: Vec<Monitor>,
    primary: u32,
    /// The display of the last `SwitchDisplay`, or of the login.
    pub(super) current: u32,
    pub(super) subscribed: BTreeSet<u32>,
}

/// What a later `PeerInfo` changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    /// Places or sizes.
    Geometry,
    /// The list itself: subscriptions have to be made anew.
    List,
}

impl Screen {
    /// From the answer to the login.
    pub(super) fn new(info: &PeerInfo) -> Self {
        let mut screen = Self {
            platform: Platform::from(&info.platform[..]),
            version: version::number(&info.version),
            sas: info.sas_enabled,
            monitors: monitors(&info.displays),
            ..Self::default()
        };
        screen.primary = u32::try_from(info.current_display).unwrap_or_default();
        screen.current = screen.primary;
        if !screen.monitors.is_empty() {
            screen.subscribed.insert(screen.primary);
        }
        screen.learn_additions(&info.platform_additions);
        screen
    }

    /// From a later one, of which only displays and additions count (session §2.7).
    pub(super) fn update(&mut self, info: &PeerInfo) -> Change {
        self.learn_additions(&info.platform_additions);
        if info.displays.is_empty() && !info.platform_additions.is_empty() {
            return Change::Nothing;
        }
        let mut new = monitors(&info.displays);
        for (new, old) in new.iter_mut().zip(&self.monitors) {
            new.picture = old.picture.filter(|_| new.size == old.size);
        }
        if new == self.monitors {
            return Change::Nothing;
        }
        let names = |list: &[Monitor]| list.iter().map(|m| m.name.clone()).collect::<Vec<_>>();
        let change = if names(&new) == names(&self.monitors) { Change::Geometry } else { Change::List };
        self.monitors = new;
        if change == Change::List {
            let count = self.monitors.len() as u32;
            self.subscribed.retain(|n| *n < count);
            self.primary = if self.primary < count { self.primary } else { 0 };
            self.current = if self.current < count { self.current } else { self.primary };
            if self.subscribed.is_empty() && count > 0 {
                self.subscribed.insert(self.primary);
            }
        }
        change
    }

    /// From the geometry of one display. Gives whether it changed.
    pub(super) fn switch(&mut self, to: &SwitchDisplay) -> bool {
        let Some(monitor) = usize::try_from(to.display).ok().and_then(|n| self.monitors.get_mut(n)) else {
            return false;
        };
        let (origin, size) = (Point::new(to.x, to.y), size(to.width, to.height));
        if size.is_empty() || (monitor.origin == origin && monitor.size == size) {
            return false;
        }
        if monitor.size != size {
            monitor.picture = None;
        }
        (monitor.origin, monitor.size) = (origin, size);
        true
    }

    /// The size of the pictures that really come. Gives whether the display's size changed by it.
    pub(super) fn picture(&mut self, display: DisplayId, size: Size) -> bool {
        let Some(monitor) = self.monitors.get_mut(display.0 as usize) else { return false };
        let before = monitor.picture.unwrap_or(monitor.size);
        monitor.picture = (size != monitor.size && !size.is_empty()).then_some(size);
        before != monitor.picture.unwrap_or(monitor.size)
    }

    pub(super) fn len(&self) -> usize {
        self.monitors.len()
    }

    pub(super) fn displays(&self) -> Vec<Display> {
        let display = |(n, m): (usize, &Monitor)| Display {
            id: DisplayId(n as u32),
            name: m.name.clone(),
            origin: m.origin,
            size: m.picture.unwrap_or(m.size),
            scale: m.scale,
            primary: n as u32 == self.primary,
        };
        self.monitors.iter().enumerate().map(display).collect()
    }

    /// Whether the display exists.
    pub(super) fn check(&self, display: DisplayId) -> Result<(), RemoteError> {
        self.monitor(display).map(|_| ())
    }

    fn monitor(&self, display: DisplayId) -> Result<&Monitor, RemoteError> {
        if self.monitors.is_empty() {
            return Err(RemoteError::NoDisplay);
        }
        self.monitors.get(display.0 as usize).ok_or(RemoteError::NoSuchDisplay(display))
    }

    /// The host's coordinates of a pixel of the display's picture.
    pub(super) fn to_host(&self, display: DisplayId, at: Point) -> Result<Point, RemoteError> {
        let monitor = self.monitor(display)?;
        let shown = monitor.picture.unwrap_or(monitor.size);
        if !shown.contains(at) {
            let (x, y) = (at.x, at.y);
            return Err(RemoteError::Invalid(format!(
                "({x}, {y}) is outside of display {display}, which is {shown}"
            )));
        }
        let along = |n: i32, shown: u32, real: u32| {
            let n =
                if shown == real { n } else { (i64::from(n) * i64::from(real) / i64::from(shown)) as i32 };
            if self.divides_by_scale(monitor) { (f64::from(n) / monitor.scale) as i32 } else { n }
        };
        Ok(Point::new(
            monitor.origin.x.saturating_add(along(at.x, shown.width, monitor.size.width)),
            monitor.origin.y.saturating_add(along(at.y, shown.height, monitor.size.height)),
        ))
    }

    /// The display and its pixel at the host's coordinates; `None` outside of all displays.
    pub(super) fn locate(&self, x: i32, y: i32) -> Option<(DisplayId, Point)> {
        self.monitors.iter().enumerate().find_map(|(n, monitor)| {
            let shown = monitor.picture.unwrap_or(monitor.size);
            let along = |at: i32, origin: i32, shown: u32, real: u32| {
                let n = i64::from(at) - i64::from(origin);
                let n = if self.divides_by_scale(monitor) {
                    (n as f64 * monitor.scale).round() as i64
                } else {
                    n
                };
                i32::try_from(n * i64::from(shown) / i64::from(real.max(1))).ok()
            };
            let point = Point::new(
                along(x, monitor.origin.x, shown.width, monitor.size.width)?,
                along(y, monitor.origin.y, shown.height, monitor.size.height)?,
            );
            shown.contains(point).then_some((DisplayId(n as u32), point))
        })
    }

    /// Wayland places displays in logical pixels, and takes positions in them.
    fn divides_by_scale(&self, monitor: &Monitor) -> bool {
        self.platform == Platform::Linux && self.wayland && monitor.scale > 1.0
    }

    /// Whether characters outside ASCII may be lost when they are typed: stock hosts on X11 lend a key to each
    /// for a moment, and programs that look too late find nothing there (session §4.6).
    pub(super) fn types_ascii_only(&self) -> bool {
        self.platform == Platform::Linux && !self.wayland && !self.deskhand
    }

    fn learn_additions(&mut self, json: &str) {
        if json.is_empty() || json.len() > MAX_ADDITIONS {
            return;
        }
        let Ok(additions) = serde_json::from_str::<serde_json::Value>(json) else { return };
        if let Some(wayland) = additions.get("is_wayland").and_then(serde_json::Value::as_bool) {
            self.wayland = wayland;
        }
        if let Some(deskhand) = additions.get("deskhand").and_then(serde_json::Value::as_bool) {
            self.deskhand = deskhand;
        }
    }
}

fn size(width: i32, height: i32) -> Size {
    let side = |n: i32| u32::try_from(n).unwrap_or_default().min(u32::from(u16::MAX));
    Size::new(side(width), side(height))
}

fn monitors(displays: &[DisplayInfo]) -> Vec<Monitor> {
    let monitor = |d: &DisplayInfo| Monitor {
        name: d.name.chars().take(100).collect(),
        origin: Point::new(d.x, d.y),
        size: size(d.width, d.height),
        scale: if d.scale.is_finite() && d.scale > 0.0 { d.scale } else { 1.0 },
        picture: None,
    };
    displays.iter().take(MAX_DISPLAYS).map(monitor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn display(x: i32, y: i32, width: i32, height: i32, scale: f64) -> DisplayInfo {
        DisplayInfo { x, y, width, height, scale, name: format!("D{x}"), ..Default::default() }
    }

    fn screen(platform: &str, additions: &str, displays: &[DisplayInfo]) -> Screen {
        Screen::new(&PeerInfo {
            platform: platform.into(),
            platform_additions: additions.into(),
            displays: displays.to_vec(),
            version: "1.4.9".into(),
            ..Default::default()
        })
    }

    #[test]
    fn pixels_become_the_hosts_coordinates() {
        let two = [display(-1920, 0, 1920, 1080, 1.0), display(0, -40, 2560, 1440, 2.0)];
        let table = [
            ("Windows", "", 0, Point::new(5, 6), Point::new(-1915, 6)),
            ("Linux", "", 1, Point::new(5, 6), Point::new(5, -34)),
            ("Linux", r#"{"is_wayland":true}"#, 1, Point::new(100, 60), Point::new(50, -10)),
            ("Mac OS", "", 1, Point::new(100, 60), Point::new(100, 20)),
            ("Android", "", 1, Point::new(100, 60), Point::new(100, 20)),
        ];
        for (platform, additions, n, at, want) in table {
            let screen = screen(platform, additions, &two);
            assert_eq!(screen.to_host(DisplayId(n), at), Ok(want), "{platform}");
            assert_eq!(screen.locate(want.x, want.y), Some((DisplayId(n), at)), "{platform} back");
        }
    }

    #[test]
    fn pictures_of_another_size_are_scaled() {
        let mut screen = screen("Linux", "", &[display(10, 0, 1000, 500, 1.0)]);
        assert!(screen.picture(DisplayId(0), Size::new(500, 250)));
        assert!(!screen.picture(DisplayId(0), Size::new(500, 250)));
        assert_eq!(screen.displays()[0].size, Size::new(500, 250));
        assert_eq!(screen.to_host(DisplayId(0), Point::new(499, 249)), Ok(Point::new(1008, 498)));
        let outside = screen.to_host(DisplayId(0), Point::new(500, 0));
        assert_eq!(
            outside,
            Err(RemoteError::Invalid("(500, 0) is outside of display 0, which is 500x250".into()))
        );
    }

    #[test]
    fn displays_come_and_go() {
        let one = display(0, 0, 640, 480, 1.0);
        let two = display(640, 0, 800, 600, 1.0);
        let mut screen = screen("Linux", "", std::slice::from_ref(&one));
        let with = |displays: &[DisplayInfo]| PeerInfo { displays: displays.to_vec(), ..Default::default() };
        assert_eq!(screen.update(&with(std::slice::from_ref(&one))), Change::Nothing);
        assert_eq!(screen.update(&with(&[one.clone(), two.clone()])), Change::List);
        screen.subscribed.insert(1);
        assert_eq!(screen.update(&with(&[one.clone(), display(640, 0, 1024, 768, 1.0)])), Change::Geometry);
        assert_eq!(screen.update(&with(std::slice::from_ref(&one))), Change::List);
        assert_eq!(screen.subscribed, BTreeSet::from([0]));
        assert_eq!(screen.update(&with(&[])), Change::List);
        assert_eq!(screen.to_host(DisplayId(0), Point::new(0, 0)), Err(RemoteError::NoDisplay));
        let additions = PeerInfo { platform_additions: r#"{"is_wayland":true}"#.into(), ..with(&[]) };
        assert_eq!(screen.update(&additions), Change::Nothing);
    }

    #[test]
    fn absurd_geometry_is_tamed() {
        let mad = display(i32::MAX, i32::MIN, i32::MAX, -5, f64::NAN);
        let mut screen = screen("Linux", "[[[[", &vec![mad; 1000]);
        assert_eq!(screen.len(), MAX_DISPLAYS);
        assert_eq!(screen.displays()[0].size, Size::new(65_535, 0));
        assert!(screen.to_host(DisplayId(0), Point::new(0, 0)).is_err());
        screen.locate(i32::MIN, i32::MAX);
        assert!(!screen.switch(&SwitchDisplay { display: -1, ..Default::default() }));
        assert!(!screen.switch(&SwitchDisplay { display: 70, width: 5, height: 5, ..Default::default() }));
    }

    #[test]
    fn stock_hosts_on_x11_type_ascii_only() {
        let types = |platform: &str, additions: &str| {
            let info = PeerInfo {
                platform: platform.into(),
                platform_additions: additions.into(),
                ..Default::default()
            };
            Screen::new(&info).types_ascii_only()
        };
        assert!(types("Linux", ""));
        assert!(types("Linux", r#"{"headless":true}"#));
        assert!(!types("Linux", r#"{"is_wayland":true}"#), "it pastes");
        assert!(!types("Linux", r#"{"deskhand":true}"#));
        assert!(!types("Windows", ""));
        assert!(!types("Mac OS", ""));
    }
}
