//! One session, live: a WebSocket that carries video or pictures, what happens, and what the person does.
//!
//! The socket's task never waits for the page: packets that a slow page can not take are dropped by the feed,
//! up to a keyframe. Pictures are sent one at a time, the next when the page has painted the last.

use super::messages::{ControlRow, FromGateway, FromPage, StatusMessage, StepMessage, picture, video};
use super::{Viewer, failed, input, is_person};
use axum::Extension;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{OriginalUri, Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use futures_util::SinkExt as _;
use futures_util::stream::{SplitSink, StreamExt as _};
use policy::{Caller, Class};
use remote::{DisplayId, RemoteError, VideoFeed};
use sessions::{Access, Event, Events, Happening, SessionId, SessionsError, Told, WatchedPicture, Watching};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::task::AbortOnDropHandle;

/// A message of a page has at most so many bytes: a long text to type.
const LONGEST_MESSAGE: usize = 128 * 1024;
/// A page that takes nothing for this long is gone.
const PATIENCE: Duration = Duration::from_secs(20);
/// State and pointer are looked at this often.
const LOOK: Duration = Duration::from_millis(250);
/// A lease is lengthened this often while its holder's page is there.
const RENEW: Duration = Duration::from_secs(5);
/// Sides of pictures for pages that decode no video.
const LONGEST_SIDE: u32 = 1600;

/// There is no such session for this person.
const GONE: u16 = 4404;

pub(super) async fn open(
    State(viewer): State<Viewer>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(session): Path<String>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    // Browsers let any page open sockets; the cookie comes along.
    if is_person(&caller) && !viewer.guard.is_own_page(&uri, &headers) {
        return (
            axum::http::StatusCode::FORBIDDEN,
            "this request does not come from a page of this server\n",
        )
            .into_response();
    }
    let access = viewer.access(&caller);
    let session = SessionId::from_text(session);
    let watching = match access.watch(&session).await {
        Ok(watching) => watching,
        Err(error) if error.kind() == "session_closed" => {
            let reason = error.to_string();
            return upgrade.on_upgrade(move |socket| gone(socket, reason));
        }
        Err(error) => return failed(&error),
    };
    let events = access.events();
    upgrade
        .max_message_size(LONGEST_MESSAGE)
        .on_upgrade(move |socket| async move { Page::new(watching, events).serve(socket).await })
}

/// Browsers tell a page nothing of a refused upgrade, but the reason of a close.
async fn gone(mut socket: WebSocket, reason: String) {
    let close = CloseFrame { code: GONE, reason: reason.chars().take(100).collect::<String>().into() };
    if socket.send(Message::Close(Some(close))).await.is_err() {
        tracing::trace!("the page is gone");
    }
}

/// Where the picture comes from.
enum Source {
    None,
    Video(Box<dyn VideoFeed>),
    /// Pictures, after the one with this number; not `ready` while the page has not painted it. One that is
    /// being made is made to its end, whatever comes between.
    Pictures {
        after: u64,
        ready: bool,
        making: Option<Making>,
    },
}

type Making = AbortOnDropHandle<Result<WatchedPicture, SessionsError>>;

/// What is next for the page.
enum Next {
    Message(Option<Result<Message, axum::Error>>),
    Told(Option<Told>),
    Video(Result<remote::VideoPacket, RemoteError>),
    Picture(Result<WatchedPicture, SessionsError>),
    Look,
}

struct Page {
    watching: Arc<Watching>,
    events: Events,
    source: Source,
    display: Option<DisplayId>,
    /// Whether the page decodes video; unknown until it says what it wants to see.
    decodes: Option<bool>,
    status: Option<StatusMessage>,
    cursor: Option<(DisplayId, remote::Point)>,
    in_control: bool,
    renewed: Instant,
}

type Out = SplitSink<WebSocket, Message>;

/// The page is gone, or the session.
struct Over(Option<CloseFrame>);

impl From<axum::Error> for Over {
    fn from(_: axum::Error) -> Self {
        Self(None)
    }
}

impl Page {
    fn new(watching: Watching, events: Events) -> Self {
        Self {
            watching: Arc::new(watching),
            events,
            source: Source::None,
            display: None,
            decodes: None,
            status: None,
            cursor: None,
            in_control: false,
            renewed: Instant::now(),
        }
    }

    fn access(&self) -> &Access {
        self.watching.access()
    }

    async fn serve(mut self, socket: WebSocket) {
        let (mut out, mut messages) = socket.split();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        if self.tell_trail(&mut out).await.is_err() {
            return;
        }
        loop {
            let next = tokio::select! {
                message = messages.next() => Next::Message(message),
                told = self.events.next() => Next::Told(told),
                next = next_picture(&self.watching, self.display, &mut self.source) => next,
                _ = look.tick() => Next::Look,
            };
            if let Err(Over(close)) = self.handle(next, &mut out).await {
                if let Some(close) = close
                    && out.send(Message::Close(Some(close))).await.is_err()
                {
                    tracing::trace!("the page is gone");
                }
                return;
            }
        }
    }

    async fn handle(&mut self, next: Next, out: &mut Out) -> Result<(), Over> {
        match next {
            Next::Message(Some(Ok(Message::Text(text)))) => match serde_json::from_str(&text) {
                Ok(message) => self.asked(message, out).await,
                Err(error) => self.complain(format!("the page said something odd: {error}"), out).await,
            },
            Next::Message(Some(Ok(Message::Close(_)) | Err(_)) | None) => Err(Over(None)),
            Next::Message(Some(Ok(_))) => Ok(()),
            Next::Told(Some(Told::Event(event))) => self.happened(event, out).await,
            Next::Told(Some(Told::Missed(count))) => {
                self.status = None;
                self.tell(&FromGateway::Missed { count }, out).await
            }
            Next::Told(None) => Err(Over(None)),
            Next::Video(Ok(packet)) => self.send(Message::Binary(video(&packet).into()), out).await,
            Next::Video(Err(error)) => {
                self.source = Source::None;
                tracing::debug!("a viewer's video ended: {error}");
                Ok(())
            }
            Next::Picture(Ok(shot)) => {
                self.display = Some(shot.display);
                self.source = Source::Pictures { after: shot.frame, ready: false, making: None };
                self.send(Message::Binary(picture(&shot).into()), out).await
            }
            Next::Picture(Err(error)) => {
                self.source = Source::None;
                tracing::debug!("a viewer's pictures ended: {error}");
                Ok(())
            }
            Next::Look => self.look(out).await,
        }
    }

    /// What the page wants.
    async fn asked(&mut self, message: FromPage, out: &mut Out) -> Result<(), Over> {
        let session = self.watching.session().clone();
        let done = match message {
            FromPage::Watch { display, video } => {
                (self.display, self.decodes, self.source) = (display, Some(video), Source::None);
                self.status = None;
                self.connect_source().await
            }
            FromPage::Keyframe => match self.display {
                Some(display) => self.watching.refresh(display).await,
                None => Ok(()),
            },
            FromPage::Seen => {
                if let Source::Pictures { ready, .. } = &mut self.source {
                    *ready = true;
                }
                Ok(())
            }
            FromPage::Take => {
                let taken = self.access().take_over(Some(&session)).await;
                self.in_control = taken.is_ok();
                self.renewed = Instant::now();
                taken.map(drop)
            }
            FromPage::Give => {
                self.in_control = false;
                self.access().give_back(Some(&session))
            }
            FromPage::Stop => self.access().stop(Some(&session)).await.map(drop),
            FromPage::Resume => self.resume().await,
            FromPage::Input { inputs } => self.input(inputs).await,
        };
        self.status = None;
        match done {
            Ok(()) => Ok(()),
            Err(error) => self.complain(error.to_string(), out).await,
        }
    }

    async fn input(&mut self, inputs: Vec<input::PageInput>) -> Result<(), SessionsError> {
        let display = self.display.unwrap_or_default();
        let inputs = input::inputs(display, inputs)?;
        self.access().input(Some(self.watching.session()), inputs).await?;
        self.renewed = Instant::now();
        Ok(())
    }

    async fn resume(&self) -> Result<(), SessionsError> {
        let machine = self.watching.status()?.summary.target;
        for stop in self.access().stopped().iter().filter(|stop| stop.machine == machine) {
            self.access().let_go_on(&stop.credential).await?;
        }
        Ok(())
    }

    /// Begins with the video, or with pictures where the page or the peer has none.
    async fn connect_source(&mut self) -> Result<(), SessionsError> {
        let pictures = Source::Pictures { after: 0, ready: true, making: None };
        if self.decodes != Some(true) {
            self.source = pictures;
            return Ok(());
        }
        match self.watching.video(self.display).await {
            Ok((display, feed)) => {
                self.display = Some(display);
                self.source = Source::Video(feed);
                Ok(())
            }
            Err(SessionsError::Remote(RemoteError::UnsupportedByPeer(_))) => {
                self.source = pictures;
                Ok(())
            }
            // The session is not ready; the next look tries again.
            Err(error) => {
                tracing::debug!("no video yet: {error}");
                Ok(())
            }
        }
    }

    async fn happened(&mut self, event: Event, out: &mut Out) -> Result<(), Over> {
        let here = event.session.as_ref() == Some(self.watching.session());
        match event.what {
            Happening::Step(entry) if here => {
                self.tell(&FromGateway::Step(Box::new(StepMessage::of(&entry))), out).await
            }
            Happening::ApprovalAsked(_) | Happening::ApprovalAnswered { .. } => {
                self.tell(&FromGateway::Approvals, out).await
            }
            Happening::Step(_) => Ok(()),
            _ => {
                // Another session to the same desktop can be meant, too.
                self.status = None;
                self.look(out).await
            }
        }
    }

    /// Tells what is another than when it was last told, renews the lease, and mends the source.
    async fn look(&mut self, out: &mut Out) -> Result<(), Over> {
        let status = match self.watching.status() {
            Ok(status) => status,
            Err(error) => {
                let reason = error.to_string().chars().take(100).collect::<String>().into();
                return Err(Over(Some(CloseFrame { code: GONE, reason })));
            }
        };
        if self.in_control && self.renewed.elapsed() >= RENEW {
            self.renewed = Instant::now();
            self.in_control = self.access().renew(Some(self.watching.session())).is_ok();
        }
        let access = self.access();
        let may_interact = is_person(access.caller()) && access.granted(Class::Interact).is_ok();
        let message = StatusMessage::of(access, &status, may_interact);
        if self.status.as_ref() != Some(&message) {
            self.status = Some(message.clone());
            self.tell(&FromGateway::Status(Box::new(message)), out).await?;
            let control = status.control.as_ref().map(|control| ControlRow::of(self.access(), control));
            self.tell(&FromGateway::Control { control }, out).await?;
        }
        let cursor = self.watching.cursor();
        if cursor != self.cursor {
            self.cursor = cursor;
            if let Some((display, at)) = cursor {
                self.tell(&FromGateway::Cursor { display, x: at.x, y: at.y }, out).await?;
            }
        }
        if matches!(self.source, Source::None)
            && self.decodes.is_some()
            && let Err(error) = self.connect_source().await
        {
            tracing::debug!("nothing to show yet: {error}");
        }
        Ok(())
    }

    /// What happened before the page was opened.
    async fn tell_trail(&mut self, out: &mut Out) -> Result<(), Over> {
        let trail = self.access().trail(Some(self.watching.session())).unwrap_or_default();
        for entry in &trail {
            self.tell(&FromGateway::Step(Box::new(StepMessage::of(entry))), out).await?;
        }
        Ok(())
    }

    async fn complain(&self, message: String, out: &mut Out) -> Result<(), Over> {
        self.tell(&FromGateway::Error { message }, out).await
    }

    async fn tell(&self, message: &FromGateway, out: &mut Out) -> Result<(), Over> {
        let text = serde_json::to_string(message).unwrap_or_default();
        self.send(Message::Text(text.into()), out).await
    }

    async fn send(&self, message: Message, out: &mut Out) -> Result<(), Over> {
        match timeout(PATIENCE, out.send(message)).await {
            Ok(sent) => Ok(sent?),
            Err(_) => Err(Over(None)),
        }
    }
}

/// Waits for what the source has next; for ever where it has nothing. Cancel safe.
async fn next_picture(watching: &Arc<Watching>, display: Option<DisplayId>, source: &mut Source) -> Next {
    match source {
        Source::Video(feed) => Next::Video(feed.next().await),
        Source::Pictures { after, ready: true, making } => {
            let making = making.get_or_insert_with(|| {
                let (watching, after) = (Arc::clone(watching), *after);
                let make = async move { watching.picture(display, LONGEST_SIDE, after).await };
                AbortOnDropHandle::new(tokio::spawn(make))
            });
            let broke = |error| Err(SessionsError::Invalid(format!("a picture broke off: {error}")));
            Next::Picture(making.await.unwrap_or_else(broke))
        }
        Source::Pictures { .. } | Source::None => std::future::pending().await,
    }
}
