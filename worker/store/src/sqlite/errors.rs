//! What SQLite's errors mean for a caller of the port, in one place.

use sqlx::error::DatabaseError;

use crate::port::StoreError;

/// SQLite's primary result codes: <https://www.sqlite.org/rescode.html>.
mod code {
    pub(super) const ERROR: i32 = 1;
    pub(super) const BUSY: i32 = 5;
    pub(super) const LOCKED: i32 = 6;
    pub(super) const READONLY: i32 = 8;
    pub(super) const IOERR: i32 = 10;
    pub(super) const FULL: i32 = 13;
    pub(super) const CANTOPEN: i32 = 14;
    pub(super) const TOOBIG: i32 = 18;
    pub(super) const CONSTRAINT: i32 = 19;
    pub(super) const MISMATCH: i32 = 20;
    pub(super) const NOTADB: i32 = 26;
}

/// Names the mending as well as the fault; `url` is the store's.
pub(super) fn translate(error: &sqlx::Error, url: &str) -> StoreError {
    let database = match error {
        sqlx::Error::Database(database) => database.as_ref(),
        sqlx::Error::PoolClosed => return StoreError::Unreachable(format!("{url} was closed by this process")),
        sqlx::Error::PoolTimedOut => {
            return StoreError::Unreachable(format!("{url}: all reading connections are busy; try again"));
        }
        sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => return StoreError::Unreachable(format!("{url}: {error}")),
        _ => return StoreError::Failed(format!("{url}: {error}")),
    };
    let said = database.message();
    match primary(database) {
        code::ERROR if said.starts_with("no such ") => {
            StoreError::Schema(format!("{url}: {said}; run `flagstop migrate --store {}`", shell_word(url)))
        }
        code::BUSY | code::LOCKED => StoreError::Unreachable(format!(
            "{url} stayed locked ({said}): another process holds a write transaction open; try again, or end that process"
        )),
        code::FULL => StoreError::Unreachable(format!("{url}: {said}; make room on that file system")),
        code::READONLY => StoreError::Unreachable(format!(
            "{url}: {said}; this user must be allowed to write the file and its directory (the log stands beside it)"
        )),
        code::CANTOPEN => StoreError::Unreachable(format!(
            "{url}: {said}; the path must name a file in a directory that this user may write"
        )),
        code::IOERR => StoreError::Unreachable(format!("{url}: {said}; look at the file system under it")),
        code::NOTADB => StoreError::Failed(format!(
            "{url}: {said}; give the path of a file that does not exist yet, or of one that `flagstop migrate` made"
        )),
        _ => StoreError::Failed(format!("{url}: {said}")),
    }
}

/// A reason in the data itself (D20): what was to be written can't be stored, whoever tries.
pub(super) fn data_error(error: &sqlx::Error) -> Option<String> {
    let sqlx::Error::Database(database) = error else { return None };
    let of_data = matches!(primary(database.as_ref()), code::TOOBIG | code::CONSTRAINT | code::MISMATCH);
    of_data.then(|| format!("SQLite refuses it: {}", database.message()))
}

/// Another connection is in the way; waiting may help.
pub(super) fn locked(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(database)
        if matches!(primary(database.as_ref()), code::BUSY | code::LOCKED))
}

/// The error says that a table is not there.
pub(super) fn no_such_table(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(database) if database.message().starts_with("no such table"))
}

fn primary(database: &dyn DatabaseError) -> i32 {
    database.code().and_then(|code| code.parse::<i32>().ok()).map_or(0, |extended| extended & 0xff)
}

/// The word as a shell takes it, so that the command in a message can be pasted.
pub(super) fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=+@%".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}
