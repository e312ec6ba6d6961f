//! Ways to the tasks of open connections.

use crate::registry::ConnectionId;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// Packets that wait for a connection that does not take them; more are dropped.
const WAITING: usize = 16;

/// Connections that others may send packets to.
#[derive(Debug, Default)]
pub(crate) struct Links(Mutex<HashMap<ConnectionId, mpsc::Sender<Bytes>>>);

impl Links {
    /// What is sent to the connection from now on.
    pub(crate) fn open(&self, connection: ConnectionId) -> mpsc::Receiver<Bytes> {
        let (sender, receiver) = mpsc::channel(WAITING);
        self.lock().insert(connection, sender);
        receiver
    }

    pub(crate) fn close(&self, connection: ConnectionId) {
        self.lock().remove(&connection);
    }

    /// Whether the packet is on its way.
    pub(crate) fn send(&self, connection: ConnectionId, packet: Bytes) -> bool {
        self.lock().get(&connection).is_some_and(|sender| sender.try_send(packet).is_ok())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ConnectionId, mpsc::Sender<Bytes>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
