//! The file, its two threads, and how work gets to them.

use crate::StoreError;
use crate::schema::{MIGRATIONS, Migration, examine, migrate};
use rusqlite::{Connection, OpenFlags, Savepoint, TransactionBehavior};
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// File in the state directory.
pub const FILE: &str = "deskhand.sqlite3";

/// Jobs that may wait for a thread; whoever has one more waits to hand it over.
const QUEUE: usize = 1024;
/// Jobs written together.
const GROUP: usize = 256;
/// How long another process may hold the lock.
const PATIENCE: Duration = Duration::from_secs(5);

/// One job of the reading thread.
type Read = Box<dyn FnOnce(&Connection) + Send>;

/// Handle on the durable state. When the last one is dropped, what is queued is done and the file closed.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    writes: mpsc::Sender<Box<dyn Write>>,
    reads: mpsc::Sender<Read>,
}

impl Store {
    /// Opens or makes [`FILE`] in `directory`, which is made if need be; both for this user alone. Blocks for
    /// as long as the disk takes.
    ///
    /// # Errors
    /// If the file is newer than this program, another program's, or can not be used.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        Self::open_with(directory, MIGRATIONS)
    }

    pub(crate) fn open_with(directory: &Path, migrations: &[Migration]) -> Result<Self, StoreError> {
        let path = directory.join(FILE);
        make_private(directory, &path)?;
        let failed = |source| StoreError::database(&path, source);
        let mut writer = connect(&path).map_err(failed)?;
        examine(&writer, &path, migrations)?;
        configure(&writer).map_err(failed)?;
        migrate(&mut writer, &path, migrations)?;
        let reader = connect(&path).map_err(failed)?;
        configure(&reader).map_err(failed)?;
        reader.pragma_update(None, "query_only", true).map_err(failed)?;
        let (writes, write_jobs) = mpsc::channel(QUEUE);
        let (reads, mut read_jobs) = mpsc::channel::<Read>(QUEUE);
        let for_writer = path.clone();
        let io = |source| StoreError::io(&path, source);
        thread::Builder::new()
            .name("store-write".into())
            .spawn(move || write_all(writer, &for_writer, write_jobs))
            .map_err(io)?;
        thread::Builder::new()
            .name("store-read".into())
            .spawn(move || {
                while let Some(job) = read_jobs.blocking_recv() {
                    job(&reader);
                }
            })
            .map_err(io)?;
        Ok(Self { inner: Arc::new(Inner { path, writes, reads }) })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Whether something can be written now: for readiness. Leaves nothing behind.
    ///
    /// # Errors
    /// Why not.
    pub async fn probe(&self) -> Result<(), StoreError> {
        self.write(|changes| {
            changes.execute("INSERT OR REPLACE INTO fact VALUES ('probe', 1)", [])?;
            changes.execute("DELETE FROM fact WHERE name = 'probe'", []).map(|_| ())
        })
        .await
    }

    /// Runs `work` in a transaction of the writing thread. Returns when the disk has it. An error undoes what
    /// `work` did, and nothing else.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job = Pending { work: Some(work), result: None, reply, path: self.inner.path.clone() };
        self.inner.writes.send(Box::new(job)).await.map_err(|_| self.closed())?;
        answer.await.map_err(|_| self.closed())?
    }

    /// Runs `work` later, if there is room in the queue: for what may be lost.
    pub(crate) fn write_some_time(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static,
    ) {
        let (reply, _) = oneshot::channel();
        let job = Pending { work: Some(work), result: None, reply, path: self.inner.path.clone() };
        if self.inner.writes.try_send(Box::new(job)).is_err() {
            tracing::debug!("a note was not kept: the database is behind");
        }
    }

    /// Runs `work` on the reading thread: what was committed before the call is seen.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job: Read = Box::new(move |database| {
            // Nobody waits any more: nothing to tell.
            drop(reply.send(work(database)));
        });
        self.inner.reads.send(job).await.map_err(|_| self.closed())?;
        let result = answer.await.map_err(|_| self.closed())?;
        result.map_err(|source| StoreError::database(&self.inner.path, source))
    }

    fn closed(&self) -> StoreError {
        StoreError::Closed { path: self.inner.path.clone() }
    }
}

fn make_private(directory: &Path, path: &Path) -> Result<(), StoreError> {
    let io = |source| StoreError::io(path, source);
    if !directory.is_dir() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io)?;
    }
    // The journal and the shared memory beside it get the mode of the file.
    let file =
        fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map_err(io)?;
    let mode = file.metadata().map_err(io)?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "others could read the database; now they can not");
        file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(io)?;
    }
    Ok(())
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(path, flags)?;
    database.busy_timeout(PATIENCE)?;
    database.set_prepared_statement_cache_capacity(64);
    Ok(database)
}

fn configure(database: &Connection) -> rusqlite::Result<()> {
    database.pragma_update(None, "journal_mode", "wal")?;
    // What has been answered is on the disk: a revoked token stays revoked when the power fails.
    database.pragma_update(None, "synchronous", "full")?;
    database.pragma_update(None, "foreign_keys", true)
}

/// One job of the writing thread.
trait Write: Send {
    fn run(&mut self, changes: &Connection) -> Result<(), StoreError>;
    /// Tells whoever waits how the group that the job belonged to ended.
    fn finish(self: Box<Self>, group: &Result<(), StoreError>);
}

struct Pending<F, T> {
    work: Option<F>,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
    path: PathBuf,
}

impl<F, T> Write for Pending<F, T>
where
    F: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
    T: Send,
{
    fn run(&mut self, changes: &Connection) -> Result<(), StoreError> {
        let Some(work) = self.work.take() else { return Ok(()) };
        let result = work(changes).map_err(|source| StoreError::database(&self.path, source));
        let told = result.as_ref().map(|_| ()).map_err(StoreError::clone);
        self.result = Some(result);
        told
    }

    fn finish(self: Box<Self>, group: &Result<(), StoreError>) {
        let result = match (group, self.result) {
            (_, Some(Err(own))) => Err(own),
            (Err(error), _) => Err(error.clone()),
            (Ok(()), Some(done)) => done,
            (Ok(()), None) => Err(StoreError::Closed { path: self.path }),
        };
        // Nobody waits any more: nothing to tell.
        drop(self.reply.send(result));
    }
}

fn write_all(mut database: Connection, path: &Path, mut jobs: mpsc::Receiver<Box<dyn Write>>) {
    while let Some(first) = jobs.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP
            && let Ok(next) = jobs.try_recv()
        {
            group.push(next);
        }
        let outcome = write_group(&mut database, path, &mut group);
        if let Err(error) = &outcome {
            tracing::error!(kind = error.kind(), %error, "the database could not be written");
        }
        for job in group {
            job.finish(&outcome);
        }
    }
}

/// All that belong together, in one transaction. A job that fails is undone alone, unless it took the whole
/// transaction with it, as a full disk does.
fn write_group(
    database: &mut Connection,
    path: &Path,
    group: &mut [Box<dyn Write>],
) -> Result<(), StoreError> {
    let failed = |source| StoreError::database(path, source);
    let mut changes = database.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    for job in group {
        let point: Savepoint<'_> = changes.savepoint().map_err(failed)?;
        match job.run(&point) {
            Ok(()) => point.commit().map_err(failed)?,
            Err(error) if point.is_autocommit() => return Err(error),
            // Dropped, it takes back what the job did.
            Err(_) => drop(point),
        }
    }
    changes.commit().map_err(failed)
}
