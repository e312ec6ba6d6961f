//! One connection: between its socket, its machine, the pictures and the input thread. One task each.

use crate::config::{Ending, HostEvent, Path, SessionId};
use crate::host::Shared;
use crate::screen::Monitor;
use crate::transport::{Step, Transport, TransportError};
use crate::video::{self, Viewer, ViewerEvent};
use bytes::Bytes;
use hbb_common::defaults::VERSION;
use rand::Rng as _;
use remote::Permission;
use session_proto::host::{
    Announcement, CloseCause, CodedFrame, Encoding, Event, Host, HostContext, HostDisplay, HostRandom,
    LIMIT_BEFORE_LOGIN, Output, Refusals, View,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Pictures and pointer reports that may wait for this session's socket. When it is full the encoder skips
/// pictures, so few is right: a picture that waits is old when it arrives.
const WAITING: usize = 3;

/// The last words of a session may take this long to leave.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// With a client that records, a keyframe comes at least this often (session §3.3).
const RECORDED_BETWEEN_KEYS: u32 = 240;

/// What stock clients take as "do not come back" (session §10.6).
const CLOSED_BY_USER: &str = "Closed manually by the peer";

/// Somebody at this machine wants something of a session.
#[derive(Debug, Clone)]
pub(crate) enum Command {
    Accept,
    Refuse,
    Close(String),
    SetPermission(Permission, bool),
    Chat(String),
    Clipboard(Arc<str>),
}

/// A connection whose client has said nothing yet.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) id: SessionId,
    pub(crate) transport: Transport,
    pub(crate) from: SocketAddr,
    pub(crate) path: Path,
    /// Whether the key exchange comes first.
    pub(crate) secured: bool,
    pub(crate) commands: mpsc::Receiver<Command>,
}

/// Longest packet before a login, with room for the seal.
pub(crate) const FIRST_LIMIT: usize = LIMIT_BEFORE_LOGIN + hbb_common::seal::OVERHEAD;

/// Serves a connection to its end.
pub(crate) async fn serve(shared: Arc<Shared>, incoming: Incoming, cancel: CancellationToken) {
    let Incoming { id, transport, from, path, secured, commands } = incoming;
    shared.report(HostEvent::Connected { session: id, from, path });
    let now = Instant::now();
    let random = rand::rng().random();
    let challenge = rand::rng().random();
    let context = context(&shared, from, secured);
    let (viewer, pictures) = mpsc::channel(WAITING);
    let mut session = Session {
        id,
        from,
        host: Host::new(context, HostRandom { secret: random, challenge }, now),
        transport,
        viewer,
        pictures,
        commands,
        screenshots: JoinSet::new(),
        login_until: now + shared.config.limits.login,
        sealed: false,
        authorised: false,
        counted: Refusals::default(),
        view: None,
        since_key: BTreeMap::new(),
        ending: None,
        shared,
    };
    let ending = session.run(&cancel).await;
    session.ending = Some(ending);
}

fn context(shared: &Shared, from: SocketAddr, secured: bool) -> HostContext {
    let (identity, id, salt) = shared.credentials();
    let config = &shared.config;
    HostContext {
        id,
        identity: secured.then_some(identity),
        allow_plain: config.allow_plain,
        salt,
        passwords: shared.passwords.clone(),
        approve: config.approve,
        permissions: config.permissions.clone(),
        remote_ip: from.ip(),
        attempts: shared.attempts.clone(),
        announce: Announcement {
            username: config.username.clone(),
            hostname: config.hostname.clone(),
            platform: "Linux".into(),
            version: VERSION.into(),
            displays: displays(shared, &shared.video.monitors()),
            encoding: encoding(shared.video.encoding()),
            // No file clipboard and no camera: clients take what is not named as absent.
            // Our own clients know by it that every character can be typed here.
            platform_additions: r#"{"deskhand":true}"#.into(),
        },
    }
}

struct Session {
    id: SessionId,
    from: SocketAddr,
    shared: Arc<Shared>,
    host: Host,
    transport: Transport,
    viewer: mpsc::Sender<ViewerEvent>,
    pictures: mpsc::Receiver<ViewerEvent>,
    commands: mpsc::Receiver<Command>,
    screenshots: JoinSet<(usize, Result<Bytes, String>)>,
    login_until: Instant,
    sealed: bool,
    authorised: bool,
    counted: Refusals,
    /// What the client last wanted to see.
    view: Option<View>,
    /// Pictures of each display since its last keyframe.
    since_key: BTreeMap<usize, u32>,
    ending: Option<Ending>,
}

impl Session {
    async fn run(&mut self, cancel: &CancellationToken) -> Ending {
        loop {
            if let ControlFlow::Break(cause) = self.drain() {
                self.say_last_words().await;
                return Ending::Closed(cause);
            }
            let now = Instant::now();
            if self.transport.send_deadline().is_some_and(|deadline| now >= deadline) {
                return Ending::SlowReader;
            }
            if !self.host.is_live() && now >= self.login_until {
                return Ending::LoginTimeout;
            }
            let wants_frame = self.host.is_live() && self.transport.is_sent() && self.host.wants_frame();
            let deadline = tokio::time::Instant::from_std(self.deadline(now));
            tokio::select! {
                biased;
                () = cancel.cancelled() => self.host.close(CLOSED_BY_USER),
                command = self.commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => self.host.close(CLOSED_BY_USER),
                },
                step = self.transport.step() => match step {
                    Ok(Step::Packet(packet)) => self.packet(packet),
                    Ok(Step::Sent) => {}
                    Err(TransportError::Frame(error)) => {
                        self.shared.counters.insecure.fetch_add(1, Ordering::Relaxed);
                        return Ending::Lost(error.to_string());
                    }
                    Err(error) => return Ending::Lost(error.to_string()),
                },
                Some(event) = self.pictures.recv(), if wants_frame => self.picture(event),
                Some(done) = self.screenshots.join_next(), if !self.screenshots.is_empty() => {
                    if let Ok((display, png)) = done {
                        self.host.send_screenshot(display, png);
                    }
                }
                () = tokio::time::sleep_until(deadline) => self.host.handle_timeout(Instant::now()),
            }
        }
    }

    /// When something has to be looked at, if nothing happens before.
    fn deadline(&self, now: Instant) -> Instant {
        let login = (!self.host.is_live()).then_some(self.login_until);
        let all = [self.host.poll_timeout(), self.transport.send_deadline(), login];
        all.into_iter().flatten().min().unwrap_or(now + Duration::from_secs(30))
    }

    fn packet(&mut self, packet: Bytes) {
        if !self.host.is_live() {
            // No viewer is registered yet, so nobody has told about changes.
            let monitors = self.shared.video.monitors();
            self.host.set_displays(displays(&self.shared, &monitors));
        }
        self.host.handle_packet(packet, Instant::now());
        self.count();
    }

    fn count(&mut self) {
        let now = self.host.refusals();
        let before = std::mem::replace(&mut self.counted, now);
        let counters = &self.shared.counters;
        let messages = |r: &Refusals| r.undecodable + r.before_login + r.unsupported + r.clipboard;
        counters.ignored_messages.fetch_add(messages(&now) - messages(&before), Ordering::Relaxed);
        counters.refused_input.fetch_add(now.input - before.input, Ordering::Relaxed);
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Accept => self.host.accept(Instant::now()),
            Command::Refuse => self.host.refuse(),
            Command::Close(reason) => self.host.close(&reason),
            Command::SetPermission(permission, allowed) => self.host.set_permission(permission, allowed),
            Command::Chat(text) => self.host.send_chat(&text),
            Command::Clipboard(text) => self.host.send_clipboard(&text),
        }
    }

    fn picture(&mut self, event: ViewerEvent) {
        let now = Instant::now();
        match event {
            ViewerEvent::Frame { display, codec, key, pts_ms, packets } => {
                self.keep_recordable(display, key);
                self.host.send_frame(CodedFrame { display, codec, key, pts_ms, packets }, now);
                self.host.set_bitrate(self.shared.video.target_bitrate());
            }
            ViewerEvent::Monitors(monitors) => self.host.set_displays(displays(&self.shared, &monitors)),
            ViewerEvent::Cursor { id, shape } => self.host.send_cursor(id, &shape),
            ViewerEvent::Pointer(at) => self.host.send_pointer(at, now),
            ViewerEvent::Encoding(now) => self.host.set_encoding(encoding(now)),
            ViewerEvent::Gone(reason) => {
                self.shared.report(HostEvent::ScreenGone { reason });
                self.host.close(CLOSED_BY_USER);
            }
        }
    }

    /// A recording can be entered only at keyframes.
    fn keep_recordable(&mut self, display: usize, key: bool) {
        let pictures = self.since_key.entry(display).or_default();
        *pictures = if key { 0 } else { *pictures + 1 };
        if *pictures >= RECORDED_BETWEEN_KEYS && self.view.as_ref().is_some_and(|view| view.recording) {
            *pictures = 0;
            self.shared.video.refresh(Some(display));
        }
    }

    fn look(&mut self, view: View) {
        let video = &self.shared.video;
        video.set_viewer(self.id.0, viewer(view.clone(), self.viewer.clone()));
        // A recording begins with a keyframe, and so does what follows it (session §3.3).
        let restart = |before: &View| before.recording != view.recording;
        if self.view.as_ref().is_some_and(restart) {
            video.refresh(None);
        }
        self.view = Some(view);
    }

    /// Does what the machine wants done.
    fn drain(&mut self) -> ControlFlow<CloseCause> {
        let now = Instant::now();
        let mut cause = CloseCause::Silence;
        self.transport.set_limit(self.host.packet_limit());
        while let Some(output) = self.host.poll_output() {
            match output {
                Output::Send(payload) => self.transport.queue(payload, now),
                Output::Event(Event::Closed(why)) => cause = why,
                Output::Event(event) => self.happened(event),
                Output::Close => return ControlFlow::Break(cause),
            }
        }
        ControlFlow::Continue(())
    }

    fn happened(&mut self, event: Event) {
        let session = self.id;
        let shared = &self.shared;
        match event {
            Event::Input(input) => shared.input.give(input),
            Event::View(view) => self.look(view),
            Event::Refresh(display) => shared.video.refresh(display),
            Event::Delay(delay) => shared.video.report_delay(session.0, delay),
            Event::SetSize { display, size } => shared.video.set_size(display, size),
            Event::Screenshot { display } => {
                let png = shared.video.screenshot(display);
                let failed = "Failed to take screenshot, please try again later.";
                self.screenshots
                    .spawn(async move { (display, png.await.unwrap_or_else(|_| Err(failed.into()))) });
            }
            Event::CtrlAltDel => shared.input.ctrl_alt_del(),
            Event::Secured { sealed } => self.sealed = sealed,
            Event::Introduced(client) => {
                shared.introduce(session, &client, self.sealed);
                shared.report(HostEvent::Introduced { session, client, sealed: self.sealed });
            }
            Event::ApprovalWanted => shared.report(HostEvent::ApprovalWanted { session }),
            Event::WrongPassword => {
                shared.counters.wrong_passwords.fetch_add(1, Ordering::Relaxed);
                shared.report(HostEvent::WrongPassword { session, from: self.from });
                if shared.passwords.is_worn_out() {
                    shared.renew_one_time();
                }
            }
            Event::LoginRefused(text) => {
                shared.counters.login_refused.fetch_add(1, Ordering::Relaxed);
                shared.report(HostEvent::LoginRefused { session, text });
            }
            Event::Authorised(how) => {
                self.authorised = shared.authorise(session);
                if self.authorised {
                    shared.report(HostEvent::Authorised { session, how });
                } else {
                    self.host.close("Too many sessions");
                }
            }
            Event::Chat(text) => shared.report(HostEvent::Chat { session, text }),
            Event::Clipboard(items) => shared.report(HostEvent::Clipboard { session, items }),
            Event::LockScreen => shared.report(HostEvent::LockScreen { session }),
            Event::Restart => shared.report(HostEvent::Restart { session }),
            Event::Closed(_) => {}
        }
    }

    async fn say_last_words(&mut self) {
        match tokio::time::timeout(LAST_WORDS, self.transport.finish()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "last words did not leave"),
            Err(_) => tracing::debug!("last words took too long"),
        }
    }
}

impl Drop for Session {
    /// Also when the task is cut off in the middle: what the client held is released, whatever happens.
    fn drop(&mut self) {
        self.host.lost();
        while let Some(output) = self.host.poll_output() {
            match output {
                Output::Event(Event::Input(input)) => self.shared.input.give(input),
                Output::Event(Event::LockScreen) => {
                    self.shared.report(HostEvent::LockScreen { session: self.id })
                }
                _ => {}
            }
        }
        self.shared.video.remove_viewer(self.id.0);
        self.shared.forget(self.id);
        let cause = self.ending.take().unwrap_or_else(|| Ending::Lost("the host ended".into()));
        if let Ending::Closed(CloseCause::Insecure(_) | CloseCause::Tampered | CloseCause::TooLong(_)) =
            &cause
        {
            self.shared.counters.insecure.fetch_add(1, Ordering::Relaxed);
        }
        self.shared.report(HostEvent::Disconnected { session: self.id, cause });
        if self.authorised {
            self.shared.renew_one_time();
        }
    }
}

fn viewer(view: View, events: mpsc::Sender<ViewerEvent>) -> Viewer {
    let decoding = video::Decoding {
        vp8: view.decoding.vp8,
        vp9: view.decoding.vp9,
        av1: view.decoding.av1,
        h264: view.decoding.h264,
        prefer: view.decoding.prefer,
    };
    Viewer {
        displays: view.displays,
        decoding,
        fps: view.fps,
        ratio: view.ratio,
        want_cursor: view.cursor,
        want_pointer: view.pointer,
        events,
    }
}

fn displays(shared: &Shared, monitors: &[Monitor]) -> Vec<HostDisplay> {
    let display = |monitor: &Monitor| HostDisplay {
        name: monitor.name.clone(),
        origin: monitor.origin,
        size: monitor.size,
        primary: monitor.primary,
        modes: monitor.modes.clone(),
        original: shared.original_size(&monitor.name),
    };
    monitors.iter().map(display).collect()
}

fn encoding(encoding: video::Encoding) -> Encoding {
    Encoding { vp8: encoding.vp8, av1: encoding.av1, h264: encoding.h264, h265: false }
}
