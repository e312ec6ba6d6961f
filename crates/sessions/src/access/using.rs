//! Connecting, seeing and acting.

use super::Access;
use super::steps::{Doing, Place};
use crate::action::Action;
use crate::gate::Pass;
use crate::lease::Fence;
use crate::live::Live;
use crate::{
    Act, Acted, ConnectRequest, ConnectTo, Connected, Screenshot, ScreenshotRequest, SessionId,
    SessionStatus, SessionsError, WaitOutcome, WaitRequest,
};
use policy::Class;
use remote::{Secret, SessionState};
use std::time::Duration;
use tokio::time::Instant;

impl Access {
    /// How a session stands, or how it ended.
    pub async fn status(&self, session: Option<&SessionId>) -> Result<SessionStatus, SessionsError> {
        let live = self.meant(session)?;
        let step = self.begin(Place::Session(&live), Doing::looks("session_status")).await?;
        let status = self.sessions.status_of(&live);
        step.end(&Ok(()), None);
        Ok(status)
    }

    /// Opens a session, or goes on with one that waits; returns when it is ready, needs something, is
    /// closed, or the time is up. Cancel safe: an opened session stays open.
    pub async fn connect(&self, request: ConnectRequest) -> Result<Connected, SessionsError> {
        if request.password.is_some() && !self.config().allow_passwords {
            return Err(SessionsError::PasswordNotAllowed);
        }
        let (start, until) = (Instant::now(), Instant::now() + request.wait);
        let doing = Doing {
            exactly: format!("{:?} {}", request.to, request.another),
            ..Doing::changes("connect", Class::Observe)
        };
        let asked = matches!(request.to, ConnectTo::Session(_));
        let (live, reused, step) = match &request.to {
            ConnectTo::Session(id) => {
                let live = self.meant_open(Some(id))?;
                let step = self.begin(Place::Session(&live), doing).await?;
                (live, true, step)
            }
            to => {
                let wanted = self.wanted(to)?;
                let mut step = self.begin(Place::Machine(&wanted.target), doing).await?;
                let known = self.sessions.reusable(&wanted.target.name, &request, |live| self.may_see(live));
                let reused = known.is_some();
                let opened = known
                    .map_or_else(|| self.sessions.open(wanted, request.password.clone(), &self.caller), Ok);
                let live = match opened {
                    Ok(live) => live,
                    Err(error) => {
                        step.end(&Err::<(), _>(error.clone()), None);
                        return Err(error);
                    }
                };
                step.concerns(&live);
                (live.in_use(), reused, step)
            }
        };
        live.join(&self.caller);
        let answer = request.password.filter(|_| reused);
        if answer.is_some() {
            live.own(&self.caller.credential);
        }
        let result = self.unless_stopped(self.sessions.proceed(&live, answer, asked, until)).await;
        let result = result.map(|state| connected(&live, state, reused, start));
        step.end(&result, live.newest(None, &self.caller.credential));
        result
    }

    /// Answers a session that asks for its second factor.
    pub async fn authenticate(
        &self,
        session: Option<&SessionId>,
        code: Secret,
        wait: Duration,
    ) -> Result<Connected, SessionsError> {
        let start = Instant::now();
        let live = self.meant_open(session)?;
        let step = self.begin(Place::Session(&live), Doing::changes("authenticate", Class::Observe)).await?;
        live.own(&self.caller.credential);
        let result = self.unless_stopped(self.sessions.second_factor(&live, code, start + wait)).await;
        let result = result.map(|state| connected(&live, state, true, start));
        step.end(&result, None);
        result
    }

    /// Closes a session; tells which. One that is closed already stays so. Whoever did not open it or connect
    /// to it needs the right to act there.
    pub async fn disconnect(&self, session: Option<&SessionId>) -> Result<SessionId, SessionsError> {
        let live = self.meant(session)?;
        let own = live.has_member(&self.caller.credential);
        let class = if own { Class::Observe } else { Class::Interact };
        let doing = Doing { fenced: live.ended().is_none(), ..Doing::changes("disconnect", class) };
        let step = self.begin(Place::Session(&live), doing).await?;
        self.sessions.disconnect(&live).await;
        step.end(&Ok(()), None);
        Ok(live.id.clone())
    }

    /// A picture of a display, or the word that nothing changed since the last one that this credential got.
    /// Cancel safe.
    pub async fn screenshot(
        &self,
        session: Option<&SessionId>,
        request: &ScreenshotRequest,
    ) -> Result<(SessionId, Screenshot), SessionsError> {
        let live = self.meant_open(session)?;
        let fence = self.fence(&live);
        let doing = Doing { fenced: self.is_blind_while_taken(), ..Doing::looks("screenshot") };
        let step = self.begin(Place::Session(&live), doing).await?;
        let looking = self.sessions.screenshot(&live, &self.caller.credential, request);
        let result = self.unless_stopped(looking).await;
        let result = self.unless_taken(&fence, result);
        step.end(&result, result.as_ref().ok().map(|shot| shot.frame));
        Ok((live.id.clone(), result?))
    }

    /// Does one thing and looks what came of it. An error says that nothing was sent, or how much;
    /// inputs of unknown outcome are not sent again. Dropping the future stops before the next batch.
    pub async fn act(
        &self,
        session: Option<&SessionId>,
        act: Act,
    ) -> Result<(SessionId, Acted), SessionsError> {
        let start = Instant::now();
        let live = self.meant_open(session)?;
        // From now on: a lease that begins while this waits for its record, or for its turn, shuts it out.
        let fence = self.fence(&live);
        let who = &self.caller.credential;
        let pastes = matches!(act.action, Action::Paste { .. });
        let doing = Doing {
            also: pastes.then_some(Class::Clipboard),
            fenced: true,
            detail: Some(recorded(&act.action)),
            shown: Some(shown(&act.action)),
            exactly: format!("{:?} {:?} {:?}", act.action, act.display, act.space),
            frame: live.newest(act.display, who),
            ..Doing::changes("act", Class::Interact)
        };
        let mut step = self.prepare(Place::Session(&live), doing)?;
        let result = async {
            let pass = enter(&live, &fence).await?;
            step.record().await?;
            self.sessions.act(&live, who, act, &fence, pass, start).await
        };
        let result = result.await;
        let display = result.as_ref().ok().map(|acted| acted.display);
        step.end(&result, live.newest(display, who));
        Ok((live.id.clone(), result?))
    }

    /// Waits until the screen changes or rests. Cancel safe.
    pub async fn wait_for(
        &self,
        session: Option<&SessionId>,
        request: &WaitRequest,
    ) -> Result<(SessionId, WaitOutcome), SessionsError> {
        let live = self.meant_open(session)?;
        let fence = self.fence(&live);
        let doing = Doing { fenced: self.is_blind_while_taken(), ..Doing::looks("wait_for") };
        let step = self.begin(Place::Session(&live), doing).await?;
        let taken = async {
            if !self.is_blind_while_taken() {
                std::future::pending::<()>().await;
            }
            fence.shut().await
        };
        let waiting = async {
            tokio::select! {
                biased;
                error = taken => Err(error),
                outcome = self.sessions.wait_for(&live, &self.caller.credential, request) => outcome,
            }
        };
        let result = self.unless_stopped(waiting).await;
        let result = self.unless_taken(&fence, result);
        step.end(&result, live.newest(result.as_ref().ok().map(|o| o.display), &self.caller.credential));
        Ok((live.id.clone(), result?))
    }

    pub(super) fn is_blind_while_taken(&self) -> bool {
        !self.is_person() && !self.config().look_while_taken
    }

    /// A picture that was made while a person took over is not given out.
    fn unless_taken<T>(&self, fence: &Fence, result: Result<T, SessionsError>) -> Result<T, SessionsError> {
        if self.is_blind_while_taken() && result.is_ok() {
            fence.check()?;
        }
        result
    }

    /// Breaks off when a person stops this credential.
    async fn unless_stopped<T>(
        &self,
        doing: impl Future<Output = Result<T, SessionsError>>,
    ) -> Result<T, SessionsError> {
        if self.is_person() {
            return doing.await;
        }
        tokio::select! {
            biased;
            stop = self.sessions.stops().stopped(&self.caller.credential) => {
                Err(SessionsError::Cancelled { by: stop.by })
            }
            result = doing => result,
        }
    }
}

/// Takes one's turn at the desktop; who can not act any more does not wait for it.
async fn enter<'a>(live: &'a Live, fence: &Fence) -> Result<Pass<'a>, SessionsError> {
    live.desktop()?;
    tokio::select! {
        biased;
        error = fence.shut() => Err(error),
        pass = live.gate.enter() => Ok(pass?),
    }
}

fn connected(live: &Live, state: SessionState, reused: bool, start: Instant) -> Connected {
    Connected {
        session: live.id.clone(),
        target: live.origin.target.clone(),
        state,
        reused,
        displays: live.session.desktop().map(remote::Desktop::displays).unwrap_or_default(),
        waited: start.elapsed(),
    }
}

/// What the record says of an action: of text only its length, and a key that is text is one character.
fn recorded(action: &Action) -> String {
    match action {
        Action::Type { text } => format!("types {} characters", text.chars().count()),
        Action::Paste { text, .. } => format!("pastes {} characters", text.chars().count()),
        Action::Press { chord, repeat } if chord.is_text() => format!("types {repeat} characters"),
        other => shown(other),
    }
}

/// What a person is shown of an action.
fn shown(action: &Action) -> String {
    match action {
        Action::Move { to } => format!("moves to {},{}", to.x, to.y),
        Action::Click { at: Some(at), button, count, .. } => {
            format!("clicks {button:?} {count} times at {},{}", at.x, at.y)
        }
        Action::Click { at: None, button, count, .. } => format!("clicks {button:?} {count} times"),
        Action::Drag { path, button, .. } => match (path.first(), path.last()) {
            (Some(from), Some(to)) => {
                format!("drags {button:?} from {},{} to {},{}", from.x, from.y, to.x, to.y)
            }
            _ => "drags nowhere".to_owned(),
        },
        Action::Scroll { dx, dy, .. } => format!("scrolls by {dx},{dy}"),
        Action::Type { text } => format!("types {text:?}"),
        Action::TypeSecret { name, .. } => format!("types the secret {name:?}"),
        Action::Paste { text, .. } => format!("pastes {text:?}"),
        Action::Press { chord, repeat } => format!("presses {chord} {repeat} times"),
    }
}
