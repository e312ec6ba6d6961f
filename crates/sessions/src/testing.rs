//! A peer that plays a script: for tests of this crate and of those above.
//!
//! [`FakeConnector`] opens sessions to [`FakePeer`]s. A test sets their state, shows pictures, lets them
//! react to inputs, and reads what arrived.

use crate::live::lock;
use bytes::Bytes;
use remote::{
    Answer, BoxFuture, Button, Connector, Cursor, Desktop, Display, DisplayId, Frame, FrameInfo, Input, Key,
    PeerDetails, Permission, Permissions, Pixels, Plane, Point, Rect, RemoteError, Secret, Session,
    SessionState, Size, Target, VideoCodec,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

type Make = Box<dyn Fn(&Target) -> FakePeer + Send + Sync>;

/// Opens a fake peer for every address but those with `!` in them.
pub struct FakeConnector {
    make: Make,
    opened: Mutex<Vec<FakePeer>>,
}

impl FakeConnector {
    pub fn new(make: impl Fn(&Target) -> FakePeer + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { make: Box::new(make), opened: Mutex::default() })
    }

    /// The peers opened so far, in order.
    pub fn opened(&self) -> Vec<FakePeer> {
        lock(&self.opened).clone()
    }
}

impl Connector for FakeConnector {
    fn protocol(&self) -> &'static str {
        "fake"
    }

    fn check(&self, address: &str) -> Result<(), RemoteError> {
        if address.is_empty() || address.contains('!') {
            return Err(RemoteError::Invalid("no such address".to_owned()));
        }
        Ok(())
    }

    fn open(&self, target: Target) -> Result<Arc<dyn Session>, RemoteError> {
        let peer = (self.make)(&target);
        *lock(&peer.0.target) = Some(target);
        lock(&self.opened).push(peer.clone());
        Ok(Arc::new(peer))
    }
}

impl std::fmt::Debug for FakeConnector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeConnector").field("opened", &self.opened().len()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for FakePeer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakePeer").field("state", &self.state_now()).finish_non_exhaustive()
    }
}

/// What a peer does when inputs arrive.
pub type Reaction = Box<dyn FnMut(&FakePeer, &[Input]) + Send>;

/// The far end of a session. Clones are the same peer.
#[derive(Clone)]
pub struct FakePeer(Arc<Script>);

struct Script {
    state: watch::Sender<SessionState>,
    pictures: watch::Sender<BTreeMap<DisplayId, (FrameInfo, Frame)>>,
    displays: Mutex<Vec<Display>>,
    inputs: Mutex<Vec<Input>>,
    batches: Mutex<Vec<usize>>,
    passwords: Mutex<Vec<Secret>>,
    denied: Mutex<Vec<Permission>>,
    cursor: Mutex<Cursor>,
    reaction: Mutex<Option<Reaction>>,
    failure: Mutex<Option<RemoteError>>,
    lossless: Mutex<Option<Bytes>>,
    stuck: watch::Sender<bool>,
    first_picture: Mutex<Option<Duration>>,
    ascii_only: Mutex<bool>,
    answers: Mutex<Option<Duration>>,
    target: Mutex<Option<Target>>,
}

impl FakePeer {
    /// A ready peer with one display of that size, which shows a grey picture.
    pub fn ready(size: Size) -> Self {
        let peer = Self::in_state(SessionState::Ready);
        peer.set_displays(&[size]);
        peer.show(DisplayId(0), plain(size, GREY));
        peer
    }

    /// A peer without displays in that state.
    pub fn in_state(state: SessionState) -> Self {
        Self(Arc::new(Script {
            state: watch::Sender::new(state),
            pictures: watch::Sender::default(),
            displays: Mutex::default(),
            inputs: Mutex::default(),
            batches: Mutex::default(),
            passwords: Mutex::default(),
            denied: Mutex::default(),
            cursor: Mutex::default(),
            reaction: Mutex::default(),
            failure: Mutex::default(),
            lossless: Mutex::default(),
            stuck: watch::Sender::new(false),
            first_picture: Mutex::default(),
            ascii_only: Mutex::default(),
            answers: Mutex::default(),
            target: Mutex::default(),
        }))
    }

    pub fn set_state(&self, state: SessionState) {
        self.0.state.send_replace(state);
        // Whoever waits for a picture has to see the end.
        self.0.pictures.send_modify(|_| {});
    }

    /// Displays beside one another; the first is the primary one.
    pub fn set_displays(&self, sizes: &[Size]) {
        let mut left = 0;
        let mut displays = Vec::new();
        for (index, size) in sizes.iter().enumerate() {
            displays.push(Display {
                id: DisplayId(index as u32),
                name: format!("fake-{index}"),
                origin: Point::new(left, 0),
                size: *size,
                scale: 1.0,
                primary: index == 0,
            });
            left += size.width as i32;
        }
        *lock(&self.0.displays) = displays;
    }

    /// Sends a picture.
    pub fn show(&self, display: DisplayId, frame: Frame) {
        self.0.pictures.send_modify(|pictures| {
            let sequence = pictures.get(&display).map_or(0, |(info, _)| info.sequence) + 1;
            let at = tokio::time::Instant::now().into_std();
            let info = FrameInfo { sequence, size: frame.size, codec: VideoCodec::Vp9, at };
            pictures.insert(display, (info, frame));
        });
    }

    /// Sends the last picture with a filled rectangle in it.
    pub fn paint(&self, display: DisplayId, rect: Rect, colour: [u8; 3]) {
        let last = self.0.pictures.borrow().get(&display).map(|(_, frame)| frame.clone());
        if let Some(frame) = last {
            self.show(display, painted(&frame, rect, colour));
        }
    }

    pub fn set_cursor(&self, cursor: Cursor) {
        *lock(&self.0.cursor) = cursor;
    }

    pub fn deny(&self, permission: Permission) {
        lock(&self.0.denied).push(permission);
    }

    /// What to do when inputs arrive.
    pub fn react(&self, reaction: impl FnMut(&FakePeer, &[Input]) + Send + 'static) {
        *lock(&self.0.reaction) = Some(Box::new(reaction));
    }

    /// From now on inputs end with this error; those that arrived before it are kept.
    pub fn fail_inputs(&self, error: Option<RemoteError>) {
        *lock(&self.0.failure) = error;
    }

    /// Whether inputs hang until released.
    pub fn hold_inputs(&self, hold: bool) {
        self.0.stuck.send_replace(hold);
    }

    /// The peer may lose characters outside ASCII.
    pub fn types_ascii_only(&self) {
        *lock(&self.0.ascii_only) = true;
    }

    /// How long the first picture took after the login.
    pub fn set_first_picture(&self, took: Duration) {
        *lock(&self.0.first_picture) = Some(took);
    }

    /// From now on the peer answers questions, after this time; a quick answer takes a millisecond.
    pub fn set_answers(&self, after: Duration) {
        *lock(&self.0.answers) = Some(after);
    }

    /// The PNG that the peer makes itself.
    pub fn set_lossless(&self, png: Bytes) {
        *lock(&self.0.lossless) = Some(png);
    }

    /// All inputs that arrived, in order.
    pub fn inputs(&self) -> Vec<Input> {
        lock(&self.0.inputs).clone()
    }

    /// How many inputs came with each call.
    pub fn batches(&self) -> Vec<usize> {
        lock(&self.0.batches).clone()
    }

    /// Passwords given after opening.
    pub fn passwords(&self) -> Vec<String> {
        lock(&self.0.passwords).iter().map(|secret| secret.reveal().to_owned()).collect()
    }

    /// How many hold on to this peer, this clone included.
    pub fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// The target it was opened for.
    pub fn target(&self) -> Option<Target> {
        lock(&self.0.target).clone()
    }

    /// Text that was typed, with `\n` and `\t` for the keys.
    pub fn typed(&self) -> String {
        let typed = |input: &Input| match input {
            Input::Text(text) => text.clone(),
            Input::Press { key: Key::Named(remote::NamedKey::Enter), .. } => "\n".to_owned(),
            Input::Press { key: Key::Named(remote::NamedKey::Tab), .. } => "\t".to_owned(),
            _ => String::new(),
        };
        lock(&self.0.inputs).iter().map(typed).collect()
    }

    /// Where the session stands, without the trait in scope.
    pub fn state_now(&self) -> SessionState {
        self.0.state.borrow().clone()
    }

    fn closed(&self) -> Option<RemoteError> {
        match &*self.0.state.borrow() {
            SessionState::Closed(error) => Some(error.clone()),
            _ => None,
        }
    }
}

impl Session for FakePeer {
    fn state(&self) -> SessionState {
        self.0.state.borrow().clone()
    }

    fn state_after(&self, seen: &SessionState) -> BoxFuture<'_, SessionState> {
        let (mut states, seen) = (self.0.state.subscribe(), seen.clone());
        Box::pin(async move {
            let other = states.wait_for(|state| *state != seen).await;
            other.map(|state| state.clone()).unwrap_or(SessionState::Connecting)
        })
    }

    fn peer(&self) -> PeerDetails {
        PeerDetails {
            hostname: "fake-host".to_owned(),
            username: "fake-user".to_owned(),
            platform: "Linux".to_owned(),
            version: "1.0".to_owned(),
            path: Some(remote::Path::Direct),
            encrypted: true,
            key: None,
            round_trip: None,
            types_ascii_only: *lock(&self.0.ascii_only),
            first_picture: *lock(&self.0.first_picture),
        }
    }

    fn permissions(&self) -> Permissions {
        Permissions { denied: lock(&self.0.denied).clone() }
    }

    fn password(&self, password: Secret) -> BoxFuture<'_, Result<(), RemoteError>> {
        let right = password.reveal() == "right";
        lock(&self.0.passwords).push(password);
        self.set_state(SessionState::Connecting);
        self.set_state(if right {
            SessionState::Ready
        } else {
            SessionState::AwaitingPassword { wrong: true }
        });
        Box::pin(std::future::ready(Ok(())))
    }

    fn second_factor(&self, code: Secret) -> BoxFuture<'_, Result<(), RemoteError>> {
        let right = code.reveal() == "123456";
        self.set_state(if right { SessionState::Ready } else { SessionState::Awaiting2fa { wrong: true } });
        Box::pin(std::future::ready(Ok(())))
    }

    fn desktop(&self) -> Option<&dyn Desktop> {
        Some(self)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.set_state(SessionState::Closed(RemoteError::SessionClosed("closed by us".to_owned())))
        })
    }
}

impl Desktop for FakePeer {
    fn displays(&self) -> Vec<Display> {
        lock(&self.0.displays).clone()
    }

    fn latest(&self, display: DisplayId) -> Option<FrameInfo> {
        self.0.pictures.borrow().get(&display).map(|(info, _)| *info)
    }

    fn newer_than(&self, display: DisplayId, sequence: u64) -> BoxFuture<'_, Result<FrameInfo, RemoteError>> {
        let mut pictures = self.0.pictures.subscribe();
        Box::pin(async move {
            loop {
                if let Some(error) = self.closed() {
                    return Err(error);
                }
                let latest = pictures.borrow_and_update().get(&display).map(|(info, _)| *info);
                if let Some(info) = latest.filter(|info| info.sequence > sequence) {
                    return Ok(info);
                }
                if pictures.changed().await.is_err() {
                    return Err(RemoteError::SessionClosed("gone".to_owned()));
                }
            }
        })
    }

    fn frame(&self, display: DisplayId) -> BoxFuture<'_, Result<(FrameInfo, Frame), RemoteError>> {
        let picture = self.0.pictures.borrow().get(&display).cloned();
        Box::pin(std::future::ready(picture.ok_or(RemoteError::NoSuchDisplay(display))))
    }

    fn lossless(&self, _display: DisplayId) -> BoxFuture<'_, Result<Bytes, RemoteError>> {
        let png = lock(&self.0.lossless).clone();
        let unsupported = || RemoteError::UnsupportedByPeer("it makes no pictures itself".to_owned());
        Box::pin(std::future::ready(png.ok_or_else(unsupported)))
    }

    fn refresh(&self, _display: DisplayId) -> BoxFuture<'_, Result<(), RemoteError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn input(&self, inputs: Vec<Input>) -> BoxFuture<'_, Result<(), RemoteError>> {
        Box::pin(async move {
            if let Some(error) = self.closed() {
                return Err(error);
            }
            let mut stuck = self.0.stuck.subscribe();
            // The sender lives in `self`.
            let _released = stuck.wait_for(|stuck| !stuck).await;
            if let Some(error) = lock(&self.0.failure).clone() {
                return Err(error);
            }
            lock(&self.0.batches).push(inputs.len());
            lock(&self.0.inputs).extend(inputs.iter().cloned());
            for input in &inputs {
                if let Input::Move { display, to } = input {
                    lock(&self.0.cursor).position = Some((*display, *to));
                }
            }
            let reaction = lock(&self.0.reaction).take();
            if let Some(mut reaction) = reaction {
                reaction(self, &inputs);
                lock(&self.0.reaction).get_or_insert(reaction);
            }
            Ok(())
        })
    }

    fn answer(&self) -> BoxFuture<'_, Result<Option<Answer>, RemoteError>> {
        let Some(took) = *lock(&self.0.answers) else { return Box::pin(std::future::ready(Ok(None))) };
        Box::pin(async move {
            tokio::time::sleep(took).await;
            Ok(Some(Answer { took, quickest: took.min(Duration::from_millis(1)) }))
        })
    }

    fn cursor(&self) -> Cursor {
        lock(&self.0.cursor).clone()
    }
}

/// The colour of [`FakePeer::ready`].
pub const GREY: [u8; 3] = [128, 128, 128];

/// A picture of one colour.
pub fn plain(size: Size, colour: [u8; 3]) -> Frame {
    let pixel = [colour[0], colour[1], colour[2], 255];
    let data: Vec<u8> = pixel.repeat(size.area() as usize);
    Frame { size, pixels: Pixels::Rgbx(Plane { data: data.into(), stride: size.width as usize * 4 }) }
}

/// The picture with a filled rectangle; only of the kind that [`plain`] makes.
pub fn painted(frame: &Frame, rect: Rect, colour: [u8; 3]) -> Frame {
    let Pixels::Rgbx(plane) = &frame.pixels else { return frame.clone() };
    let mut data = plane.data.to_vec();
    let rect = rect.intersection(Rect::of(frame.size));
    for y in rect.y..rect.y + rect.height {
        for x in rect.x..rect.x + rect.width {
            let at = y as usize * plane.stride + x as usize * 4;
            data[at..at + 3].copy_from_slice(&colour);
        }
    }
    Frame { size: frame.size, pixels: Pixels::Rgbx(Plane { data: data.into(), stride: plane.stride }) }
}

/// A press and release of the left button without modifiers.
pub fn left_click() -> [Input; 2] {
    [Input::ButtonDown { button: Button::Left, held: Vec::new() }, Input::ButtonUp { button: Button::Left }]
}
