//! The connections of one store: one that writes, and a few that read; a database in memory has only the first.
//!
//! A write transaction runs as few commands as possible, each of which may hold several statements: a command is a
//! message to the connection's thread and back. A transaction whose future is dropped is rolled back before anybody
//! else gets the connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqlitePoolOptions, SqliteRow};
use sqlx::{Arguments as _, AssertSqlSafe, Connection as _, SqliteConnection, SqlitePool};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::{BUSY_TIMEOUT, errors};

/// Connections for reading a file while another batch is being written.
const READERS: u32 = 4;

/// What is sent to a connection at once.
#[derive(Debug)]
pub(super) struct Command {
    text: Text,
    arguments: SqliteArguments,
    statements: u64,
}

#[derive(Debug)]
enum Text {
    Fixed(&'static str),
    Made(String),
}

/// The connections.
#[derive(Debug)]
pub(super) struct Connections {
    writer: Arc<Mutex<Writer>>,
    readers: Option<SqlitePool>,
    statements: AtomicU64,
    round_trips: AtomicU64,
}

#[derive(Debug)]
struct Writer {
    connection: Option<SqliteConnection>,
    /// A transaction was begun and has not been seen to end.
    open: bool,
}

/// A write transaction under way; dropping it rolls it back.
#[derive(Debug)]
pub(super) struct Writing {
    guard: Option<OwnedMutexGuard<Writer>>,
}

impl Command {
    /// A command of constant text; `statements` counts the statements in it.
    pub(super) fn fixed(text: &'static str, statements: u64) -> Self {
        Self { text: Text::Fixed(text), arguments: SqliteArguments::default(), statements }
    }

    /// A command put together from constant parts.
    pub(super) fn made(text: String, statements: u64) -> Self {
        Self { text: Text::Made(text), arguments: SqliteArguments::default(), statements }
    }

    /// Binds the next parameter. In the text parameters are called `$1`, `$2` …, and all statements share them; `?1` would
    /// be bound by position where a statement does not name all of them.
    pub(super) fn bind<'t, T>(mut self, value: T) -> Self
    where
        T: sqlx::Encode<'t, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    {
        self.arguments.add(value).expect("numbers, texts and bytes can always be encoded");
        self
    }

    pub(super) async fn run(self, connection: &mut SqliteConnection) -> Result<Vec<SqliteRow>, sqlx::Error> {
        match self.text {
            Text::Fixed(text) => sqlx::query_with(text, self.arguments).fetch_all(connection).await,
            Text::Made(text) => sqlx::query_with(AssertSqlSafe(text), self.arguments).fetch_all(connection).await,
        }
    }
}

impl Connections {
    /// A database in a file.
    pub(super) async fn to_file(options: SqliteConnectOptions) -> Result<Self, sqlx::Error> {
        let mut writer = SqliteConnection::connect_with(&options).await?;
        log_ahead(&mut writer).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(BUSY_TIMEOUT)
            .test_before_acquire(false)
            .connect_lazy_with(options.create_if_missing(false).pragma("query_only", "ON"));
        Ok(Self::of(writer, Some(readers)))
    }

    /// A database that lives and dies with its one connection.
    pub(super) async fn to_memory(options: SqliteConnectOptions) -> Result<Self, sqlx::Error> {
        Ok(Self::of(SqliteConnection::connect_with(&options).await?, None))
    }

    fn of(writer: SqliteConnection, readers: Option<SqlitePool>) -> Self {
        let writer = Writer { connection: Some(writer), open: false };
        Self {
            writer: Arc::new(Mutex::new(writer)),
            readers,
            statements: AtomicU64::new(0),
            round_trips: AtomicU64::new(0),
        }
    }

    /// Runs one reading statement: one statement is one snapshot.
    pub(super) async fn read(&self, command: Command) -> Result<Vec<SqliteRow>, sqlx::Error> {
        match &self.readers {
            Some(readers) => command.run(&mut *readers.acquire().await?).await,
            None => command.run(self.writer().await?.connection()?).await,
        }
    }

    /// Begins a write transaction by a command that starts with [`BEGIN`](super::BEGIN); gives its rows, too.
    pub(super) async fn write(&self, command: Command) -> Result<(Writing, Vec<SqliteRow>), sqlx::Error> {
        let mut guard = self.writer().await?;
        guard.open = true;
        let mut writing = Writing { guard: Some(guard) };
        let rows = writing.run(command).await?;
        Ok((writing, rows))
    }

    async fn writer(&self) -> Result<OwnedMutexGuard<Writer>, sqlx::Error> {
        let mut guard = Arc::clone(&self.writer).lock_owned().await;
        guard.settle().await;
        guard.connection()?;
        Ok(guard)
    }

    /// Counts a command among those of the hot path.
    pub(super) fn counted(&self, command: Command) -> Command {
        self.statements.fetch_add(command.statements, Ordering::Relaxed);
        self.round_trips.fetch_add(1, Ordering::Relaxed);
        command
    }

    /// Statements and round trips of the hot path so far.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.statements.load(Ordering::Relaxed), self.round_trips.load(Ordering::Relaxed))
    }

    /// Closes all; what is under way is waited for.
    pub(super) async fn close(&self) {
        if let Some(readers) = &self.readers {
            readers.close().await;
        }
        let mut guard = Arc::clone(&self.writer).lock_owned().await;
        guard.settle().await;
        if let Some(connection) = guard.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "FS-STORE-FAILED: the database did not close cleanly; its log is replayed when it is opened next");
        }
    }
}

/// Switches the file to a write-ahead log, so that reading and writing do not wait for each other. SQLite does not wait
/// by itself for another process that is just opening the file, too.
async fn log_ahead(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match Command::fixed("PRAGMA journal_mode = WAL", 1).run(connection).await {
            Err(error) if errors::locked(&error) && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(rand::random_range(5..50))).await;
            }
            other => return other.map(|_| ()),
        }
    }
}

impl Writer {
    fn connection(&mut self) -> Result<&mut SqliteConnection, sqlx::Error> {
        self.connection.as_mut().ok_or(sqlx::Error::PoolClosed)
    }

    /// Rolls back what an abandoned or failed transaction left. An error means that SQLite has done so itself.
    async fn settle(&mut self) {
        if self.open
            && let Some(connection) = self.connection.as_mut()
        {
            Command::fixed("ROLLBACK", 1).run(connection).await.ok();
        }
        self.open = false;
    }
}

impl Writing {
    /// Runs a command inside the transaction.
    pub(super) async fn run(&mut self, command: Command) -> Result<Vec<SqliteRow>, sqlx::Error> {
        let guard = self.guard.as_mut().expect("only ending the transaction takes the guard");
        command.run(guard.connection()?).await
    }

    /// Runs a command whose last statement is `COMMIT`.
    pub(super) async fn finish(mut self, command: Command) -> Result<Vec<SqliteRow>, sqlx::Error> {
        let rows = self.run(command).await?;
        self.committed();
        Ok(rows)
    }

    /// The transaction was seen to end: nothing is left to roll back.
    pub(super) fn committed(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            guard.open = false;
        }
    }

    /// Gives the transaction up.
    pub(super) async fn abandon(mut self) {
        if let Some(mut guard) = self.guard.take() {
            guard.settle().await;
        }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        // Without this the file would stay locked until this store writes again.
        if let Some(mut guard) = self.guard.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move { guard.settle().await });
        }
    }
}
