//! Seeing and acting.

use super::Sessions;
use crate::action::{self, Batch, Typing};
use crate::gate::Pass;
use crate::lease::Fence;
use crate::live::Live;
use crate::settle::{self, Change, Effect, Seen};
use crate::{
    Act, Acted, Mapping, Screenshot, ScreenshotRequest, SessionsError, Settle, Space, WaitOutcome,
    WaitRequest, screenshot,
};
use remote::{Desktop, DisplayId};
use tokio::time::Instant;

impl Sessions {
    /// A picture of a display, or the word that nothing changed since the last one. Cancel safe.
    pub(crate) async fn screenshot(
        &self,
        live: &Live,
        who: &str,
        request: &ScreenshotRequest,
    ) -> Result<Screenshot, SessionsError> {
        let display = live.display(live.desktop()?, request.display, who)?;
        self.picture(live, display, who, request).await
    }

    /// Does one thing, asked for at `start`, and looks what came of it. An error says that nothing was sent,
    /// or how much; inputs of unknown outcome are not sent again. Dropping the future stops before the next
    /// batch, and so does the fence when it is shut.
    pub(crate) async fn act(
        &self,
        live: &Live,
        who: &str,
        act: Act,
        fence: &Fence,
        pass: Pass<'_>,
        start: Instant,
    ) -> Result<Acted, SessionsError> {
        // Only now: it may have changed while others had their turn.
        let desktop = live.desktop()?;
        let display = live.display(desktop, act.display, who)?;
        let mapping = mapping(live, desktop, display, who, act.space, has_positions(&act.action)).await?;
        let typing = Typing { chunk: self.config.typing_chunk, longest: self.config.longest_text };
        let batches = self.plan(live, &act.action, display, &mapping, &typing)?;
        let inputs = batches.iter().map(|batch| batch.inputs.len()).sum();
        let typed = batches.iter().map(|batch| batch.typed).sum();
        let ascii_only = live.session.peer().types_ascii_only;
        let at_risk = if ascii_only { batches.iter().map(Batch::not_ascii).sum() } else { 0 };

        // A session is ready before its first picture, and what changed is told from a picture before.
        let has_picture = match act.settle {
            Some(settle) => {
                let first = tokio::time::timeout(settle.patience, live.first_picture(desktop, display));
                tokio::select! {
                    biased;
                    error = fence.shut() => return Err(error),
                    first = first => first.is_ok_and(|first| first.is_ok()),
                }
            }
            None => false,
        };
        let baseline = {
            let view = live.view(display);
            let mut view = view.lock().await;
            view.pull(desktop, display).await?;
            view.sequence()
        };
        self.send(&pass, batches, fence).await?;
        let effect = match act.settle {
            None => Effect::NotObserved,
            Some(_) if !has_picture => {
                Effect::Lost { reason: "there was no picture to compare with".to_owned() }
            }
            Some(settle) => {
                let settle = act.action.settle(settle);
                tokio::select! {
                    biased;
                    error = fence.shut() => lost(error)?,
                    effect = observe(live, desktop, display, baseline, settle, &mapping) => effect,
                }
            }
        };
        drop(pass);
        let (picture, picture_error) = match fence.check() {
            Err(error) if act.picture.is_some() && !self.config.look_while_taken => (None, Some(error)),
            _ => self.picture_after(live, display, who, act.picture.as_ref()).await,
        };
        let took = start.elapsed();
        Ok(Acted { display, inputs, typed, at_risk, effect, picture, picture_error, took })
    }

    /// Waits until the screen changes or rests. Cancel safe.
    pub(crate) async fn wait_for(
        &self,
        live: &Live,
        who: &str,
        request: &WaitRequest,
    ) -> Result<WaitOutcome, SessionsError> {
        let start = Instant::now();
        let desktop = live.desktop()?;
        let display = live.display(desktop, request.display, who)?;
        let mapping = mapping(live, desktop, display, who, request.space, request.region.is_some()).await?;
        let region = request.region.map(|area| mapping.rect(area)).transpose()?;
        let (met, changed) = match settle::wait(live, desktop, display, who, request, region).await {
            Ok(outcome) => outcome,
            Err(error) => {
                live.open()?;
                return Err(error.into());
            }
        };
        let (picture, picture_error) = self.picture_after(live, display, who, request.picture.as_ref()).await;
        Ok(WaitOutcome {
            display,
            met,
            changed: changed.map(|bounds| mapping.seen_rect(bounds)),
            waited: start.elapsed(),
            picture,
            picture_error,
        })
    }

    /// As [`action::plan`], with the text of a secret read for it and kept nowhere.
    fn plan(
        &self,
        live: &Live,
        action: &action::Action,
        display: DisplayId,
        mapping: &Mapping,
        typing: &Typing,
    ) -> Result<Vec<Batch>, SessionsError> {
        let action::Action::TypeSecret { name, enter } = action else {
            return action::plan(action, display, mapping, typing);
        };
        let secret =
            self.book().secrets.to_type(name, &live.origin.target).map_err(SessionsError::TypedSecret)?;
        let mut text = secret.reveal().to_owned();
        if *enter {
            text.push('\n');
        }
        action::plan(&action::Action::Type { text }, display, mapping, typing)
    }

    async fn picture(
        &self,
        live: &Live,
        display: DisplayId,
        who: &str,
        request: &ScreenshotRequest,
    ) -> Result<Screenshot, SessionsError> {
        let desktop = live.desktop()?;
        let picture = screenshot::take(live, desktop, display, who, request, self.config.ceiling()).await?;
        live.pictured(display, who);
        Ok(picture)
    }

    /// A picture beside a result that stands without it.
    async fn picture_after(
        &self,
        live: &Live,
        display: DisplayId,
        who: &str,
        request: Option<&ScreenshotRequest>,
    ) -> (Option<Screenshot>, Option<SessionsError>) {
        let Some(request) = request else { return (None, None) };
        match self.picture(live, display, who, request).await {
            Ok(picture) => (Some(picture), None),
            Err(error) => (None, Some(error)),
        }
    }

    async fn send(&self, pass: &Pass<'_>, batches: Vec<Batch>, fence: &Fence) -> Result<(), SessionsError> {
        let total: usize = batches.iter().map(|batch| batch.typed).sum();
        let mut typed = 0;
        for (index, batch) in batches.into_iter().enumerate() {
            if index > 0 {
                tokio::time::sleep(batch.pause.unwrap_or(self.config.typing_pause)).await;
            }
            pass.send(batch.inputs, fence).await.map_err(|source| match typed {
                0 => source,
                typed => SessionsError::TypingStopped { typed, total, source: Box::new(source) },
            })?;
            typed += batch.typed;
        }
        Ok(())
    }
}

/// What is known of the effect when the way to the desktop was shut while it was watched. Whoever was stopped
/// gets no answer.
fn lost(error: SessionsError) -> Result<Effect, SessionsError> {
    match error {
        SessionsError::Cancelled { .. } => Err(error),
        taken => Ok(Effect::Lost { reason: taken.to_string() }),
    }
}

fn has_positions(action: &action::Action) -> bool {
    use action::Action;
    match action {
        Action::Move { .. } | Action::Drag { .. } => true,
        Action::Click { at, .. } | Action::Scroll { at, .. } => at.is_some(),
        Action::Type { .. } | Action::TypeSecret { .. } | Action::Paste { .. } | Action::Press { .. } => {
            false
        }
    }
}

/// The space of a call over a display. Positions of a picture from before the display changed are refused.
async fn mapping(
    live: &Live,
    desktop: &dyn Desktop,
    display: DisplayId,
    who: &str,
    space: Space,
    positions: bool,
) -> Result<Mapping, SessionsError> {
    let native = live.native(desktop, display);
    let view = live.view(display);
    let view = view.lock().await;
    if let Some(then) = view.stale(who, native).filter(|_| positions && space == Space::Picture) {
        return Err(SessionsError::StaleFrame { then, now: native });
    }
    Ok(Mapping::new(space, view.space(who, native), native))
}

async fn observe(
    live: &Live,
    desktop: &dyn Desktop,
    display: DisplayId,
    baseline: u64,
    settle: Settle,
    mapping: &Mapping,
) -> Effect {
    match settle::settle(live, desktop, display, baseline, settle).await {
        Ok(Seen::Nothing) => Effect::None,
        Ok(Seen::Unknown(reason)) => Effect::Lost { reason },
        Ok(Seen::Changed { bounds, settled }) => {
            Effect::Changed(Change { bounds: mapping.seen_rect(bounds), settled })
        }
        Err(error) => Effect::Lost { reason: error.to_string() },
    }
}
