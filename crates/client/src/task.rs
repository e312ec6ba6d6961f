//! The task of a session: connects, runs the machine of each connection, and connects again.

use crate::command::{Command, Reply};
use crate::config::Config;
use crate::decode::{Offered, Report};
use crate::dialer::{Dialled, Dialler};
use crate::error::not_pinned;
use crate::link::{Incoming, Link};
use crate::nat::Nats;
use crate::pins::Pin;
use crate::shared::Shared;
use bytes::Bytes;
use hbb_common::key::PublicKey;
use hbb_common::peer_id::PeerAddress;
use remote::{Answer, DisplayId, Path, PeerDetails, RemoteError, Secret, SessionState, Target, VideoCodec};
use session_proto::client::{self, Client, Event, Output, VideoPackets, png_size};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

/// Between complete pictures asked for because ours broke: at first, and at most.
const REFRESH_PAUSE: Duration = Duration::from_secs(1);
const REFRESH_PAUSE_MAX: Duration = Duration::from_secs(30);

/// A codec that fails this often in a row is given up.
const CODEC_FAILURES: u32 = 3;

/// The fallback codec failing this often in a row ends the session.
const FALLBACK_FAILURES: u32 = 8;

/// How a connection ended.
enum End {
    /// By us.
    Closed,
    /// For this reason, and whether another may be tried.
    Lost { error: RemoteError, retry: bool },
}

pub(crate) struct Task {
    config: Arc<Config>,
    nats: Arc<Nats>,
    decoders: Vec<VideoCodec>,
    target: Target,
    address: PeerAddress,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    reports: mpsc::UnboundedReceiver<Report>,
    session_id: u64,
    /// Whether a connection got as far as a login, ever.
    was_live: bool,
    was_relayed: bool,
}

/// What reaches a task.
pub(crate) struct Inbox {
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) reports: mpsc::UnboundedReceiver<Report>,
}

impl Task {
    pub(crate) fn new(
        config: Arc<Config>,
        nats: Arc<Nats>,
        decoders: Vec<VideoCodec>,
        target: Target,
        address: PeerAddress,
        shared: Arc<Shared>,
        Inbox { commands, reports }: Inbox,
    ) -> Self {
        let session_id = rand::random::<u64>() | 1;
        Self {
            config,
            nats,
            decoders,
            target,
            address,
            shared,
            commands,
            reports,
            session_id,
            was_live: false,
            was_relayed: false,
        }
    }

    /// Runs until the session is closed for good.
    pub(crate) async fn run(mut self, cancel: CancellationToken) {
        let error = self.connections(&cancel).await;
        self.shared.set_state(SessionState::Closed(error));
        self.shared.decoding.close();
    }

    async fn connections(&mut self, cancel: &CancellationToken) -> RemoteError {
        let closed = || RemoteError::SessionClosed("closed by us".into());
        let mut attempt = 0;
        let mut lost_at = Instant::now();
        loop {
            let end = match self.connect(cancel).await {
                Ok(Some(dialled)) => {
                    let live_before = std::mem::take(&mut self.was_live);
                    let end = self.connection(dialled, cancel).await;
                    if self.was_live {
                        (attempt, lost_at) = (0, Instant::now());
                    }
                    self.was_live |= live_before;
                    end
                }
                Ok(None) => End::Closed,
                // A peer that was there may come back; what is wrong with its identity does not go away.
                Err(error) => {
                    let retry = matches!(
                        error,
                        RemoteError::Unreachable { .. } | RemoteError::Offline(_) | RemoteError::TimedOut(_)
                    );
                    End::Lost { error, retry }
                }
            };
            let error = match end {
                End::Closed => return closed(),
                End::Lost { error, retry } if !retry || !self.was_live => return error,
                End::Lost { error, .. } => error,
            };
            let policy = self.config.reconnect;
            let pause = policy.first.saturating_mul(1 << attempt.min(16)).min(policy.longest);
            if lost_at.elapsed() + pause > policy.give_up_after {
                return error;
            }
            attempt += 1;
            self.shared.decoding.restart();
            self.shared.watchers.restart();
            self.shared.set_state(SessionState::Reconnecting { attempt, reason: error.to_string() });
            if !self.pause(pause, cancel).await {
                return closed();
            }
        }
    }

    /// Finds a path; `None`: the session was closed meanwhile.
    async fn connect(&mut self, cancel: &CancellationToken) -> Result<Option<Dialled>, RemoteError> {
        let dialler = Dialler {
            config: self.config.clone(),
            nats: self.nats.clone(),
            address: self.address.clone(),
            allow_unencrypted: self.target.allow_unencrypted,
            was_relayed: self.was_relayed,
        };
        // A large future, held for a moment.
        let mut dialling = Box::pin(dialler.dial());
        loop {
            tokio::select! {
                dialled = &mut dialling => return dialled.map(Some),
                () = cancel.cancelled() => return Ok(None),
                command = self.commands.recv() => {
                    if !refuse(command, &self.shared) {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Waits; `false`: the session was closed meanwhile.
    async fn pause(&mut self, pause: Duration, cancel: &CancellationToken) -> bool {
        let until = tokio::time::sleep(pause);
        tokio::pin!(until);
        loop {
            tokio::select! {
                () = &mut until => return true,
                () = cancel.cancelled() => return false,
                command = self.commands.recv() => {
                    if !refuse(command, &self.shared) {
                        return false;
                    }
                }
            }
        }
    }

    /// Runs one connection to its end.
    async fn connection(&mut self, dialled: Dialled, cancel: &CancellationToken) -> End {
        let config = client::Config {
            host_id: dialled.host_id,
            security: dialled.security,
            my_id: self.config.my_id.clone(),
            my_name: self.config.my_name.clone(),
            session_id: self.session_id,
            password: self.target.password.clone(),
            decoders: self.decoders.clone(),
            prefer: self.target.codec,
            quality: self.target.quality,
            fps: self.target.fps,
        };
        self.shared.set_state(SessionState::Connecting);
        self.was_relayed = dialled.path == Path::Relayed;
        {
            let mut view = self.shared.view();
            view.permissions = remote::Permissions::default();
            view.peer = PeerDetails {
                path: Some(dialled.path),
                key: dialled.key.map(PublicKey::to_base64),
                ..PeerDetails::default()
            };
        }
        let mut connection = Connection {
            task: self,
            client: Client::new(config, Instant::now()),
            link: dialled.link,
            unflushed: VecDeque::new(),
            screenshots: HashMap::new(),
            probes: VecDeque::new(),
            quickest: None,
            let_in: None,
            refresh: Refresh { wanted: BTreeSet::new(), not_before: Instant::now(), pause: Duration::ZERO },
            pin: dialled.pin,
            end: None,
        };
        let end = connection.run(cancel).await;
        let refused = connection.client.refused();
        if refused != client::Refused::default() {
            tracing::warn!(?refused, "the peer sent what could not be used");
        }
        for (_, reply) in connection.unflushed.drain(..) {
            answer(reply, Err(RemoteError::OutcomeUnknown("the connection ended meanwhile".into())));
        }
        connection.link.close().await;
        end
    }
}

/// Answers a command while there is no connection; `false`: it is time to end.
fn refuse(command: Option<Command>, shared: &Shared) -> bool {
    let error = RemoteError::SessionClosed(format!("it is {}", shared.state.borrow().name()));
    match command {
        None | Some(Command::Close) => return false,
        Some(Command::Screenshot(_, reply)) => answer(reply, Err(error)),
        Some(Command::Probe(reply)) => answer(reply, Err(error)),
        Some(
            Command::Password(_, reply)
            | Command::SecondFactor(_, reply)
            | Command::Input(_, reply)
            | Command::Refresh(_, reply)
            | Command::Subscribe(_, reply),
        ) => answer(reply, Err(error)),
    }
    true
}

fn answer<T>(reply: Reply<T>, result: Result<T, RemoteError>) {
    if reply.send(result).is_err() {
        tracing::trace!("nobody waits for the answer any more");
    }
}

/// Complete pictures that have to be asked for, with pauses between.
#[derive(Debug)]
struct Refresh {
    wanted: BTreeSet<DisplayId>,
    not_before: Instant,
    pause: Duration,
}

impl Refresh {
    fn due(&self) -> Option<Instant> {
        (!self.wanted.is_empty()).then_some(self.not_before)
    }
}

struct Connection<'a> {
    task: &'a mut Task,
    client: Client,
    link: Link,
    /// Inputs whose bytes wait to be sent, with the mark they end at.
    unflushed: VecDeque<(u64, Reply<()>)>,
    screenshots: HashMap<u64, Vec<Reply<Bytes>>>,
    /// Who waits for which probe.
    probes: VecDeque<(u64, Instant, Reply<Option<Answer>>)>,
    /// The shortest round trip of this connection.
    quickest: Option<Duration>,
    /// When the host let us in.
    let_in: Option<Instant>,
    refresh: Refresh,
    /// Where the key is kept that the peer proves.
    pin: Option<Pin>,
    end: Option<End>,
}

impl Connection<'_> {
    async fn run(&mut self, cancel: &CancellationToken) -> End {
        loop {
            self.drain();
            if let Some(end) = self.end.take() {
                return end;
            }
            let due = [self.client.poll_timeout(), self.refresh.due()].into_iter().flatten().min();
            tokio::select! {
                incoming = self.link.next() => match incoming {
                    Incoming::Packet(packet) => {
                        self.client.handle_packet(packet, Instant::now());
                        self.link.set_limit(self.client.packet_limit());
                    }
                    Incoming::Flushed => self.flushed(),
                    Incoming::Ended(reason) => self.client.handle_end(&reason),
                },
                command = self.task.commands.recv() => match command {
                    None | Some(Command::Close) => self.close(),
                    Some(command) => self.command(command),
                },
                Some(report) = self.task.reports.recv() => self.report(report),
                () = until(due) => self.timeout(),
                () = cancel.cancelled() => self.close(),
            }
        }
    }

    fn close(&mut self) {
        self.client.close();
        self.end.get_or_insert(End::Closed);
    }

    fn timeout(&mut self) {
        let now = Instant::now();
        if self.client.poll_timeout().is_some_and(|at| at <= now) {
            self.client.handle_timeout(now);
        }
        if self.refresh.due().is_some_and(|at| at <= now) {
            for display in std::mem::take(&mut self.refresh.wanted) {
                if let Err(e) = self.client.refresh(display) {
                    tracing::debug!("no refresh: {e}");
                }
            }
            if now.saturating_duration_since(self.refresh.not_before) > REFRESH_PAUSE_MAX {
                self.refresh.pause = Duration::ZERO;
            }
            self.refresh.pause = (self.refresh.pause * 2).clamp(REFRESH_PAUSE, REFRESH_PAUSE_MAX);
            self.refresh.not_before = now + self.refresh.pause;
        }
    }

    /// Does what the machine wants.
    fn drain(&mut self) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Send(packet) => self.link.queue(&packet),
                Output::Close => {
                    self.end.get_or_insert(End::Closed);
                }
                Output::Event(event) => self.event(event),
            }
        }
    }

    fn event(&mut self, event: Event) {
        let shared = &self.task.shared;
        match event {
            Event::State(state) => shared.set_state(state),
            Event::Verified(key) => self.keep(key),
            Event::Peer(peer) => {
                self.task.was_live = true;
                self.let_in = Some(Instant::now());
                let mut view = shared.view();
                let (path, key) = (view.peer.path, view.peer.key.take());
                view.peer = PeerDetails { path, key, ..peer };
            }
            Event::Displays(displays) => shared.view().displays = displays,
            Event::Permissions(permissions) => shared.view().permissions = permissions,
            Event::Video(video) => self.video(video),
            Event::Cursor(cursor) => shared.view().cursor = cursor,
            Event::RoundTrip { probe, took } => self.answered(probe, took),
            Event::Screenshot { request, png } => {
                let png = png.and_then(|png| png_size(&png, self.task.config.pixel_limit).map(|_| png));
                for reply in self.screenshots.remove(&request).into_iter().flatten() {
                    answer(reply, png.clone());
                }
            }
            Event::Clipboard(items) => tracing::debug!(items = items.len(), "clipboard of the peer"),
            Event::Chat(text) => tracing::info!(chars = text.chars().count(), "chat from the peer"),
            Event::Message { title, text } => tracing::info!(title, text, "message of the peer"),
            Event::Ended { error, retry } => self.end = Some(End::Lost { error, retry }),
        }
    }

    /// A key that is proved for the first time is the peer's from now on.
    fn keep(&mut self, key: PublicKey) {
        let Some(pin) = &self.pin else { return };
        let pins = &self.task.config.pins;
        let kept = match pins.get(pin) {
            Ok(Some(known)) if known == key => Ok(()),
            Ok(_) => pins.pin(pin, key),
            Err(e) => Err(e),
        };
        if let Err(e) = kept {
            self.client.give_up(not_pinned(&e));
        }
    }

    /// The host has read what was sent up to this probe.
    fn answered(&mut self, probe: u64, took: Duration) {
        self.task.shared.view().peer.round_trip = Some(took);
        let quickest = self.quickest.map_or(took, |quickest| quickest.min(took));
        self.quickest = Some(quickest);
        while self.probes.front().is_some_and(|(number, ..)| *number <= probe) {
            if let Some((_, asked, reply)) = self.probes.pop_front() {
                let took = asked.elapsed().max(quickest);
                answer(reply, Ok(Some(Answer { took, quickest })));
            }
        }
    }

    fn video(&mut self, video: VideoPackets) {
        let display = video.display;
        let missed = self.task.shared.watchers.offer(&video);
        let decoding = self.task.shared.decoding.video(video, Instant::now());
        if missed || decoding == Offered::NeedsKeyframe {
            self.refresh.wanted.insert(display);
        }
    }

    fn report(&mut self, report: Report) {
        match report {
            Report::Size(display, size) => {
                if let Some(let_in) = self.let_in {
                    self.task.shared.view().peer.first_picture.get_or_insert(let_in.elapsed());
                }
                self.refresh.pause = Duration::ZERO;
                self.client.picture_size(display, size);
            }
            Report::Failed { display: id, codec, failures, reason } => {
                tracing::warn!(
                    number = id.0,
                    codec = codec.name(),
                    failures,
                    reason,
                    "video can not be decoded"
                );
                if failures >= FALLBACK_FAILURES {
                    let why = format!("its {codec} video can not be decoded: {reason}");
                    return self.client.give_up(RemoteError::UnsupportedByPeer(why));
                }
                if failures == CODEC_FAILURES {
                    self.client.give_up_codec(codec);
                }
                self.refresh.wanted.insert(id);
            }
        }
    }

    fn command(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Password(password, reply) => {
                let result = self.client.password(password.clone(), now);
                if result.is_ok() {
                    self.remember(password);
                }
                answer(reply, result);
            }
            Command::SecondFactor(code, reply) => answer(reply, self.client.second_factor(&code, now)),
            Command::Input(inputs, reply) => match self.client.input(&inputs) {
                Ok(()) => {
                    self.drain();
                    self.unflushed.push_back((self.link.mark(), reply));
                    self.flushed();
                }
                Err(error) => answer(reply, Err(error)),
            },
            Command::Probe(reply) => match self.client.probe(now) {
                Ok(probe) => self.probes.push_back((probe, now, reply)),
                Err(error) => answer(reply, Err(error)),
            },
            Command::Refresh(display, reply) => answer(reply, self.client.refresh(display)),
            Command::Subscribe(display, reply) => answer(reply, self.client.subscribe(display).map(|_| ())),
            Command::Screenshot(display, reply) => match self.client.screenshot(display) {
                Ok(request) => self.screenshots.entry(request).or_default().push(reply),
                Err(error) => answer(reply, Err(error)),
            },
            Command::Close => self.close(),
        }
    }

    /// For the next connection.
    fn remember(&mut self, password: Secret) {
        self.task.target.password = Some(password);
    }

    /// Tells those whose inputs are on their way.
    fn flushed(&mut self) {
        let flushed = self.link.flushed();
        while self.unflushed.front().is_some_and(|(mark, _)| *mark <= flushed) {
            if let Some((_, reply)) = self.unflushed.pop_front() {
                answer(reply, Ok(()));
            }
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
