//! Asks the person at this machine whether a client may come in: on the terminal, or by a program.

use anyhow::bail;
use host::{SessionId, SessionInfo};
use std::collections::BTreeMap;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::Stdio;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

/// Lines typed ahead.
const LINES: usize = 16;

/// The asking, and those who wait for an answer.
#[derive(Debug)]
pub(super) struct Ask {
    way: Way,
    waiting: BTreeMap<SessionId, Option<AbortHandle>>,
    running: JoinSet<(SessionId, bool)>,
}

#[derive(Debug)]
enum Way {
    /// What is typed.
    Terminal(mpsc::Receiver<String>),
    /// Started for each question; exit code 0 is a yes.
    Program(PathBuf),
    /// No client is let in by a person.
    Nobody,
}

impl Ask {
    /// `wanted`: clients may come in by a person's word. Fails if there is no way to ask for it.
    pub(super) fn new(wanted: bool, program: Option<PathBuf>) -> anyhow::Result<Self> {
        let way = match program {
            _ if !wanted => Way::Nobody,
            Some(program) => Way::Program(program),
            None if std::io::stdin().is_terminal() => Way::Terminal(typed_lines()?),
            None => bail!("nobody can be asked: run this on a terminal, or name a program with --ask"),
        };
        Ok(Self { way, waiting: BTreeMap::new(), running: JoinSet::new() })
    }

    /// A client waits for an answer.
    pub(super) fn ask(&mut self, session: &SessionInfo) -> std::io::Result<()> {
        let Some(client) = &session.client else { return Ok(()) };
        let id = session.id;
        let asked = match &self.way {
            Way::Nobody => return Ok(()),
            Way::Terminal(_) => {
                let who =
                    format!("{} ({}, {})", plain(&client.name), plain(&client.id), plain(&client.platform));
                let from = session.from;
                writeln!(
                    std::io::stdout().lock(),
                    "{who} from {from} wants to see and operate this screen: \"y {0}\" lets it in, \"n {0}\" does not",
                    id.0
                )?;
                None
            }
            Way::Program(program) => {
                let mut command = Command::new(program);
                command
                    .env("DESKHAND_SESSION", id.0.to_string())
                    .env("DESKHAND_CLIENT_ID", plain(&client.id))
                    .env("DESKHAND_CLIENT_NAME", plain(&client.name))
                    .env("DESKHAND_CLIENT_PLATFORM", plain(&client.platform))
                    .env("DESKHAND_CLIENT_ADDRESS", session.from.to_string())
                    .stdin(Stdio::null())
                    .kill_on_drop(true);
                Some(self.running.spawn(async move {
                    let status = command.status().await;
                    if let Err(error) = &status {
                        tracing::error!(%error, "the program to ask could not be run");
                    }
                    (id, status.is_ok_and(|status| status.success()))
                }))
            }
        };
        self.waiting.insert(id, asked);
        Ok(())
    }

    /// Nobody needs to answer for this client any more: it left, or came in by a password.
    pub(super) fn settled(&mut self, session: SessionId) {
        if let Some(Some(program)) = self.waiting.remove(&session) {
            program.abort();
        }
    }

    /// The next answer: who it is for, and whether it is a yes. Cancel safe.
    pub(super) async fn answer(&mut self) -> (SessionId, bool) {
        loop {
            let answer = match &mut self.way {
                Way::Terminal(lines) => match lines.recv().await {
                    Some(line) => read(&line, &self.waiting),
                    None => std::future::pending().await,
                },
                Way::Program(_) | Way::Nobody => match self.running.join_next().await {
                    Some(Ok(answer)) => Some(answer),
                    Some(Err(_)) => None,
                    None => std::future::pending().await,
                },
            };
            if let Some((session, yes)) = answer
                && self.waiting.remove(&session).is_some()
            {
                return (session, yes);
            }
        }
    }
}

/// `y` or `n`, and the number of the session where more than one waits; otherwise the oldest is meant.
fn read<T>(line: &str, waiting: &BTreeMap<SessionId, T>) -> Option<(SessionId, bool)> {
    let mut words = line.split_whitespace();
    let yes = match words.next()?.to_ascii_lowercase().as_str() {
        "y" | "yes" => true,
        "n" | "no" => false,
        _ => return None,
    };
    let session = match words.next() {
        Some(number) => SessionId(number.parse().ok()?),
        None if waiting.len() == 1 => *waiting.keys().next()?,
        None => return None,
    };
    (words.next().is_none() && waiting.contains_key(&session)).then_some((session, yes))
}

/// A stranger's text without what a terminal or a shell script could take for more than text.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The lines of the standard input. Their thread can not be told to stop reading; it ends with the process.
fn typed_lines() -> std::io::Result<mpsc::Receiver<String>> {
    let (sender, receiver) = mpsc::channel(LINES);
    std::thread::Builder::new().name("terminal".to_owned()).spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    })?;
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(numbers: &[u64]) -> BTreeMap<SessionId, ()> {
        numbers.iter().map(|n| (SessionId(*n), ())).collect()
    }

    #[test]
    fn an_answer_names_its_session_unless_only_one_waits() {
        let (one, two) = (waiting(&[7]), waiting(&[3, 7]));
        assert_eq!(read("y", &one), Some((SessionId(7), true)));
        assert_eq!(read(" NO ", &one), Some((SessionId(7), false)));
        assert_eq!(read("y", &two), None, "which?");
        assert_eq!(read("yes 3", &two), Some((SessionId(3), true)));
        for nonsense in ["", "maybe", "y 4", "y three", "y 3 7", "y", "3"] {
            assert_eq!(read(nonsense, &two), None, "{nonsense:?}");
        }
        assert_eq!(read("y", &waiting(&[])), None);
    }

    #[test]
    fn a_strangers_name_can_not_steer_a_terminal() {
        assert_eq!(plain("Ada\x1b[2J\r\n\0漢"), "Ada\u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}漢");
    }
}
