//! The file behind the embedded bus: a SQLite table of the messages that nobody has acknowledged. One task writes; what
//! arrives together is one transaction. Must let nothing into the queue before its transaction is committed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteLockingMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};
use tokio::sync::{mpsc, oneshot};

use super::core::{Core, Position, Seat};
use crate::port::{BusError, RawMessage};

/// Orders that wait for the writer.
const ORDERS_MAX: usize = 1_024;
/// Orders that share a transaction.
const ORDERS_PER_TRANSACTION: usize = 256;
/// How long another process may take to let go of the file, in milliseconds.
const BUSY_MS: u64 = 2_000;

const CREATE: &str = "CREATE TABLE IF NOT EXISTS flagstop_bus_messages (
    position INTEGER PRIMARY KEY, content_type TEXT, headers BLOB NOT NULL, key BLOB, body BLOB NOT NULL) STRICT";
const LOAD: &str = "SELECT position, content_type, headers, key, body FROM flagstop_bus_messages ORDER BY position";
const INSERT: &str =
    "INSERT INTO flagstop_bus_messages (position, content_type, headers, key, body) VALUES (?, ?, ?, ?, ?)";
const DELETE: &str = "DELETE FROM flagstop_bus_messages WHERE position IN (SELECT value FROM json_each(?))";

/// The open file.
pub(super) struct File(SqliteConnection);

/// The way to the writer.
#[derive(Debug, Clone)]
pub(super) struct Journal(mpsc::Sender<Order>);

/// A place among the orders.
pub(super) struct Way<'a>(mpsc::Permit<'a, Order>);

const CLOSED: &str = "the bus is closed";

#[derive(Debug)]
enum Order {
    Append { messages: Vec<(Seat, RawMessage)>, done: oneshot::Sender<Result<(), String>> },
    Remove(Vec<Position>),
    Close(oneshot::Sender<()>),
}

// === impl File ===

impl File {
    pub(super) async fn open(path: &str) -> Result<(Self, Vec<(Position, RawMessage)>), BusError> {
        let failed = |why: &dyn std::fmt::Display| {
            BusError::Unreachable(format!(
                "the embedded bus's file `{path}` can't be used: {why}; only one process may use it at a time, and it must be writable"
            ))
        };
        if let Some(folder) = Path::new(path).parent().filter(|folder| !folder.as_os_str().is_empty()) {
            tokio::fs::create_dir_all(folder).await.map_err(|why| failed(&why))?;
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .locking_mode(SqliteLockingMode::Exclusive)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_millis(BUSY_MS));
        let mut connection = options.connect().await.map_err(|why| failed(&why))?;
        sqlx::query(CREATE).execute(&mut connection).await.map_err(|why| failed(&why))?;
        let rows = sqlx::query(LOAD).fetch_all(&mut connection).await.map_err(|why| failed(&why))?;
        let kept = rows
            .iter()
            .map(|row| {
                let message = RawMessage {
                    content_type: row.try_get(1)?,
                    headers: unpacked(Bytes::from(row.try_get::<Vec<u8>, _>(2)?)),
                    key: row.try_get::<Option<Vec<u8>>, _>(3)?.map(Bytes::from),
                    body: Bytes::from(row.try_get::<Vec<u8>, _>(4)?),
                };
                Ok((row.try_get::<i64, _>(0)?.cast_unsigned(), message))
            })
            .collect::<Result<_, sqlx::Error>>()
            .map_err(|why| failed(&why))?;
        Ok((Self(connection), kept))
    }

    /// Starts the writer. It ends when the bus is closed or forgotten.
    pub(super) fn run(self, core: Arc<Core>) -> Journal {
        let (sender, receiver) = mpsc::channel(ORDERS_MAX);
        tokio::spawn(write(self.0, receiver, core));
        Journal(sender)
    }
}

async fn write(mut connection: SqliteConnection, mut orders: mpsc::Receiver<Order>, core: Arc<Core>) {
    let mut batch = Vec::new();
    let mut closing = None;
    while closing.is_none() && orders.recv_many(&mut batch, ORDERS_PER_TRANSACTION).await > 0 {
        let result = commit(&mut connection, &batch).await.map_err(|why| why.to_string());
        if let Err(why) = &result {
            tracing::error!(%why, "the embedded bus can't write its file; nothing is accepted until it can");
        }
        for order in batch.drain(..) {
            match order {
                Order::Append { messages, done } => {
                    match &result {
                        Ok(()) => core.accept(messages),
                        Err(_) => core.release(messages.iter().map(|(seat, _)| *seat)),
                    }
                    // Whoever asked may have gone; the message is there all the same.
                    let _ = done.send(result.clone());
                }
                Order::Remove(_) => {}
                Order::Close(done) => closing = Some(done),
            }
        }
    }
    if let Err(why) = connection.close().await {
        tracing::warn!(%why, "the embedded bus's file was not closed cleanly; it recovers at the next start");
    }
    if let Some(done) = closing {
        let _ = done.send(());
    }
}

async fn commit(connection: &mut SqliteConnection, batch: &[Order]) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    for order in batch {
        match order {
            Order::Append { messages, .. } => {
                for (seat, message) in messages {
                    sqlx::query(INSERT)
                        .bind(seat.position.cast_signed())
                        .bind(message.content_type.as_deref())
                        .bind(packed(&message.headers).as_ref())
                        .bind(message.key.as_deref())
                        .bind(message.body.as_ref())
                        .execute(&mut *transaction)
                        .await?;
                }
            }
            Order::Remove(positions) => {
                sqlx::query(DELETE).bind(format!("{positions:?}")).execute(&mut *transaction).await?;
            }
            Order::Close(_) => {}
        }
    }
    transaction.commit().await
}

// === impl Journal ===

impl Journal {
    /// Waits until an order can be given.
    pub(super) async fn way(&self) -> Result<Way<'_>, String> {
        self.0.reserve().await.map(Way).map_err(|_| CLOSED.to_owned())
    }

    /// Forgets acknowledged messages, some time soon: a crash before costs a redelivery.
    pub(super) async fn remove(&self, positions: Vec<Position>) {
        let _ = self.0.send(Order::Remove(positions)).await;
    }

    /// Writes what is under way and closes the file.
    pub(super) async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.0.send(Order::Close(done)).await.is_ok() {
            let _ = closed.await;
        }
    }
}

// === impl Way ===

impl Way<'_> {
    /// Makes messages durable and delivers them, also when the caller doesn't wait for it.
    pub(super) async fn append(self, messages: Vec<(Seat, RawMessage)>) -> Result<(), String> {
        let (done, result) = oneshot::channel();
        self.0.send(Order::Append { messages, done });
        result.await.map_err(|_| CLOSED.to_owned())?
    }
}

/// Headers as one value: each name and value behind its length (u32, big endian).
fn packed(headers: &[(String, Bytes)]) -> BytesMut {
    let mut out = BytesMut::new();
    for part in headers.iter().flat_map(|(name, value)| [name.as_bytes(), value]) {
        out.put_u32(u32::try_from(part.len()).expect("headers are far below 4 GiB: publish limits them"));
        out.put_slice(part);
    }
    out
}

/// Reads what [`packed`] wrote; stops where the bytes are damaged.
fn unpacked(mut bytes: Bytes) -> Vec<(String, Bytes)> {
    let mut part = || {
        let length = bytes.try_get_u32().ok()? as usize;
        (bytes.len() >= length).then(|| bytes.split_to(length))
    };
    let mut headers = Vec::new();
    while let (Some(name), Some(value)) = (part(), part()) {
        headers.push((String::from_utf8_lossy(&name).into_owned(), value));
    }
    headers
}
