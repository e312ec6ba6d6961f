//! Between a client's standard input and output and the daemon.
//!
//! Each message goes by itself, so that a slow call holds up nothing. When the daemon restarts, the client
//! does not notice: the next message finds the new one, and the MCP session is opened there again as the
//! client opened it. A call that was under way is answered with an error: whether it was carried out is not
//! known, so it is not sent again.

use super::exchange::{Events, Message, answers, one_line};
use super::link::{Link, Lost, Reply};
use crate::daemon::Daemon;
use anyhow::Context as _;
use axum::body::BodyDataStream;
use axum::http::HeaderMap;
use futures_util::StreamExt as _;
use serde_json::Value;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::{Mutex, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// The longest line taken from the client, and the longest message from the daemon.
const LONGEST: usize = 16 << 20;
/// Messages under way at once; further ones wait.
const UNDER_WAY: usize = 64;
/// A daemon that restarts is back within this time.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks for it.
const PAUSE: Duration = Duration::from_millis(50);

const GONE: &str = "deskhand serve, to which this client is attached, is not running; start it again, or \
                    restart this client to work without it";
const BROKEN: &str = "deskhand serve ended while this call was under way; whether it was carried out is not \
                      known: look before you repeat it";

struct Bridge {
    /// Where daemons leave their file; `None` for the usual places.
    folder: Option<PathBuf>,
    link: Mutex<Link>,
    /// How the client opened its MCP session, in revisions that have them.
    opening: std::sync::Mutex<Option<Message>>,
    out: mpsc::Sender<String>,
}

/// Serves the client until it goes or `stop` is cancelled.
pub(super) async fn run(
    daemon: Daemon,
    folder: Option<PathBuf>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let (out, lines) = mpsc::channel(UNDER_WAY);
    let writing = tokio::spawn(write(lines));
    let link = Mutex::new(Link::new(daemon, 0));
    let bridge = Arc::new(Bridge { folder, link, opening: std::sync::Mutex::default(), out });
    let outcome = tokio::select! {
        read = read(&bridge) => read,
        () = stop.cancelled() => Ok(()),
    };
    bridge.link.lock().await.close().await;
    drop(bridge);
    writing.await.context("writing to standard output")??;
    outcome
}

async fn write(mut lines: mpsc::Receiver<String>) -> std::io::Result<()> {
    let mut out = tokio::io::stdout();
    while let Some(line) = lines.recv().await {
        out.write_all(line.as_bytes()).await?;
        out.write_all(b"\n").await?;
        out.flush().await?;
    }
    Ok(())
}

/// Takes the client's messages until there are no more; what is under way then is dropped.
async fn read(bridge: &Arc<Bridge>) -> anyhow::Result<()> {
    let mut input = BufReader::new(tokio::io::stdin());
    let mut tasks = JoinSet::new();
    let mut calls: HashMap<String, AbortHandle> = HashMap::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = u64::try_from(LONGEST).unwrap_or(u64::MAX);
        if (&mut input).take(limit).read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        anyhow::ensure!(line.len() < LONGEST, "the client sent a line longer than {LONGEST} bytes");
        let text = String::from_utf8_lossy(&line).trim().to_owned();
        if text.is_empty() {
            continue;
        }
        let message = match Message::parse(text) {
            Ok(message) => message,
            Err(answer) => {
                bridge.say(answer).await;
                continue;
            }
        };
        calls.retain(|_, call| !call.is_finished());
        if let Some(call) = message.cancels().and_then(|id| calls.remove(&id.to_string())) {
            // The daemon drops a call whose client goes away.
            call.abort();
        }
        while tasks.len() >= UNDER_WAY {
            tasks.join_next().await;
        }
        let id = message.awaits().map(Value::to_string);
        let ordered = message.opens_session();
        let bridge = Arc::clone(bridge);
        let task = async move { bridge.forward(message).await };
        if ordered {
            // What follows belongs to the session that this opens.
            task.await;
            continue;
        }
        let call = tasks.spawn(task);
        if let Some(id) = id {
            calls.insert(id, call);
        }
    }
}

impl Bridge {
    async fn say(&self, line: String) {
        // Nobody reads any more: the reading side ends, too.
        let _unread = self.out.send(one_line(line)).await;
    }

    /// Sends a message and passes on what comes back.
    async fn forward(&self, message: Message) {
        if message.opens_session() {
            *self.opening.lock().unwrap_or_else(PoisonError::into_inner) = Some(message.clone());
        }
        let mut link = self.link.lock().await.clone();
        if message.opens_session() {
            link.session = None;
        }
        let why = loop {
            match link.post(&message).await {
                Ok((headers, reply)) => match self.pass_on(&message, &headers, reply).await {
                    Ok(()) => return,
                    Err(why) => break why,
                },
                Err(Lost::Refused(why)) => break why,
                Err(Lost::Unknown) => break BROKEN.to_owned(),
                Err(Lost::NotTaken) => match self.heal(link.number, &message).await {
                    Some(healed) => link = healed,
                    None => break GONE.to_owned(),
                },
            }
        };
        if let Some(answer) = message.refusal(&why) {
            self.say(answer).await;
        }
    }

    async fn pass_on(&self, message: &Message, headers: &HeaderMap, reply: Reply) -> Result<(), String> {
        let broken = || BROKEN.to_owned();
        let mut answered = message.awaits().is_none();
        match reply {
            Reply::Nothing => {}
            Reply::Whole(body) => {
                let line = whole(body).await.ok_or_else(broken)?;
                answered = true;
                self.learn(message, headers, &line).await;
                self.say(line).await;
            }
            Reply::Events(mut body) => {
                let mut events = Events::default();
                while let Some(Ok(bytes)) = body.next().await {
                    for line in events.take(&bytes) {
                        if message.awaits().is_some_and(|id| answers(&line, id)) {
                            answered = true;
                            self.learn(message, headers, &line).await;
                        }
                        self.say(line).await;
                    }
                    if events.pending() > LONGEST {
                        break;
                    }
                }
            }
        }
        if answered { Ok(()) } else { Err(broken()) }
    }

    /// What the answer to `initialize` agreed on holds for the messages behind it.
    async fn learn(&self, message: &Message, headers: &HeaderMap, answer: &str) {
        if !message.opens_session() {
            return;
        }
        let answer: Value = serde_json::from_str(answer).unwrap_or_default();
        self.link.lock().await.agreed(headers, answer["result"]["protocolVersion"].as_str());
    }

    /// Finds the daemon that took the place of link `number`, unless another message has found it already.
    async fn heal(&self, number: u64, message: &Message) -> Option<Link> {
        let mut link = self.link.lock().await;
        if link.number != number {
            return Some(link.clone());
        }
        let until = Instant::now() + PATIENCE;
        loop {
            if let Ok(Some(daemon)) = Daemon::find(self.folder.as_deref()) {
                let mut fresh = Link::new(daemon, number + 1);
                if self.open_again(&mut fresh, message).await.is_some() {
                    tracing::info!("attached to the daemon again");
                    *link = fresh.clone();
                    return Some(fresh);
                }
            }
            if Instant::now() >= until {
                return None;
            }
            sleep(PAUSE).await;
        }
    }

    /// Opens the client's MCP session at another daemon, if it has one.
    async fn open_again(&self, link: &mut Link, message: &Message) -> Option<()> {
        let opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(opening) = opening.filter(|_| !message.opens_session()) else {
            return super::link::alive(link.daemon()).await.then_some(());
        };
        let (headers, reply) = link.post(&opening).await.ok()?;
        let answer = match reply {
            Reply::Whole(body) => whole(body).await?,
            Reply::Events(mut body) => {
                let mut events = Events::default();
                loop {
                    let lines = events.take(&body.next().await?.ok()?);
                    if let Some(line) = lines.into_iter().next() {
                        break line;
                    }
                }
            }
            Reply::Nothing => return None,
        };
        let answer: Value = serde_json::from_str(&answer).ok()?;
        link.agreed(&headers, answer["result"]["protocolVersion"].as_str());
        let ready = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        link.post(&Message::parse(ready.to_owned()).ok()?).await.ok()?;
        Some(())
    }
}

async fn whole(mut body: BodyDataStream) -> Option<String> {
    let mut bytes = Vec::new();
    while let Some(piece) = body.next().await {
        bytes.extend_from_slice(&piece.ok()?);
        if bytes.len() > LONGEST {
            return None;
        }
    }
    String::from_utf8(bytes).ok()
}
