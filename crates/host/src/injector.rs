//! The thread that gives input to the screen.

use crate::keymap::host_key;
use crate::screen::{Injector, Screen, ScreenError};
use hbb_common::session::ControlKey;
use session_proto::host::{HostInput, InputKey};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

/// Inputs that may wait for a slow display server.
const WAITING: usize = 4096;

/// Input that did not reach the screen, counted.
#[derive(Debug, Default)]
pub struct InputFaults {
    /// The display server was too slow.
    pub dropped: AtomicU64,
    /// No key for it, or the display server refused.
    pub failed: AtomicU64,
}

/// Where sessions put input. Ends its thread when it is dropped, after everything put in was given to the
/// screen and all keys were released.
#[derive(Debug)]
pub(crate) struct InputThread {
    queue: Option<SyncSender<HostInput>>,
    thread: Option<JoinHandle<()>>,
    faults: Arc<InputFaults>,
}

impl InputThread {
    pub(crate) fn spawn(screen: &dyn Screen, faults: Arc<InputFaults>) -> Result<Self, ScreenError> {
        let injector = screen.open_injector()?;
        let (queue, inputs) = sync_channel(WAITING);
        let counted = faults.clone();
        let thread = std::thread::Builder::new()
            .name("input".into())
            .spawn(move || run(injector, &inputs, &counted))
            .map_err(|e| ScreenError::Gone(format!("no thread for input: {e}")))?;
        Ok(Self { queue: Some(queue), thread: Some(thread), faults })
    }

    /// Hands input over at once. What finds no room is counted and lost.
    pub(crate) fn give(&self, input: HostInput) {
        let Some(queue) = &self.queue else { return };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = queue.try_send(input) {
            self.faults.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What Ctrl+Alt+Del is where it is no more than three keys.
    pub(crate) fn ctrl_alt_del(&self) {
        let keys = [ControlKey::Control, ControlKey::Alt, ControlKey::Delete].map(InputKey::Named);
        for key in keys {
            self.give(HostInput::Key { key, down: true });
        }
        for key in keys.into_iter().rev() {
            self.give(HostInput::Key { key, down: false });
        }
    }
}

impl Drop for InputThread {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the input thread had a fault");
        }
    }
}

fn run(mut injector: Box<dyn Injector>, inputs: &Receiver<HostInput>, faults: &InputFaults) {
    while let Ok(input) = inputs.recv() {
        let done = apply(&mut *injector, input);
        if let Err(error) = done {
            faults.failed.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%error, "input did not reach the screen");
            if matches!(error, ScreenError::Gone(_)) {
                return;
            }
        }
    }
    if let Err(error) = injector.release_all() {
        tracing::debug!(%error, "keys may be held");
    }
}

fn apply(injector: &mut dyn Injector, input: HostInput) -> Result<(), ScreenError> {
    match input {
        HostInput::MoveTo(to) => injector.move_to(to),
        HostInput::MoveBy(by) => injector.move_by(by),
        HostInput::Button { button, down } => injector.button(button, down),
        HostInput::Scroll { x, y } => injector.scroll(x, y),
        HostInput::Key { key, down } => match host_key(key) {
            Some(key) => injector.key(key, down),
            None => Err(ScreenError::Unsupported("a key that X keyboards do not have")),
        },
        HostInput::Text(text) => injector.text(&text),
        HostInput::Locks { caps, num } => injector.set_locks(caps, num),
    }
}
