//! What Postgres' errors mean for a caller of the port, in one place.

use sqlx::error::DatabaseError;

use crate::port::StoreError;

/// What to do with a batch that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Somebody else wrote the same key at the same moment: the repeated statement sees it.
    Unique,
    /// A deadlock, or a lock that was not free in time: repeat after a pause.
    Contention,
    /// There is no partition for what was to be written.
    Partition,
    /// Some of the data can't be stored (D20).
    Data,
    /// The batch is not to blame.
    Other,
}

/// Postgres' error codes: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
pub(super) fn refusal(error: &sqlx::Error) -> Refusal {
    let code = match error {
        sqlx::Error::Database(database) => database.code().unwrap_or_default(),
        sqlx::Error::Encode(_) => return Refusal::Data,
        _ => return Refusal::Other,
    };
    match code.as_ref() {
        "23505" => Refusal::Unique,
        "40001" | "40P01" | "55P03" => Refusal::Contention,
        // The schema has no check constraints: a partition is missing.
        "23514" => Refusal::Partition,
        // 21000: one group's rows hit the same place twice.
        code if code == "21000" || code.starts_with("22") || code.starts_with("23") || code.starts_with("54") => {
            Refusal::Data
        }
        _ => Refusal::Other,
    }
}

/// Names the mending as well as the fault; `shown` is the store's URL without its password.
pub(super) fn translate(error: &sqlx::Error, shown: &str) -> StoreError {
    let database = match error {
        sqlx::Error::Database(database) => database.as_ref(),
        sqlx::Error::PoolClosed => return StoreError::Unreachable(format!("{shown} was closed by this process")),
        sqlx::Error::PoolTimedOut => {
            return StoreError::Unreachable(format!(
                "{shown}: all connections stayed busy for store.acquire_timeout_ms; raise store.connections_max, or look \
                 for what keeps the database busy"
            ));
        }
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            return StoreError::Unreachable(format!("{shown}: {error}; is Postgres running there, and reachable?"));
        }
        _ => return StoreError::Failed(format!("{shown}: {error}")),
    };
    let said = told(database);
    let code = database.code().unwrap_or_default();
    match code.as_ref() {
        "42P01" | "42703" | "3F000" => {
            StoreError::Schema(format!("{shown}: {said}; run `flagstop migrate --store {shown}`"))
        }
        "3D000" => {
            StoreError::Unreachable(format!("{shown}: {said}; make it with `createdb`, or name another in the URL"))
        }
        "28P01" => StoreError::Unreachable(format!(
            "{shown}: {said}; correct the password in the URL (special characters percent-encoded), or give the user this \
             one with `alter role … password`"
        )),
        "28000" => StoreError::Unreachable(format!(
            "{shown}: {said}; correct the user in the URL, make it with `create role … login`, or have pg_hba.conf admit it \
             from here"
        )),
        "42501" => StoreError::Denied(format!("{shown}: {said}; grant it to the URL's user")),
        "57014" => StoreError::Unreachable(format!(
            "{shown}: {said}; the database is overloaded, or store.statement_timeout_ms is too short"
        )),
        "55P03" => StoreError::Unreachable(format!("{shown}: {said}; somebody holds a lock: look into pg_locks")),
        "25006" => StoreError::Unreachable(format!("{shown}: {said}; the URL must name the primary, not a standby")),
        "40001" | "40P01" => StoreError::Unreachable(format!("{shown}: {said}; too much contention, try again")),
        "XX001" | "XX002" => {
            StoreError::Unreachable(format!("{shown}: {said}; the database is damaged: mend it, or restore a backup"))
        }
        // Access refused, no resources, shutdown, failed system: it may pass, or a person mends it outside.
        code if ["08", "28", "53", "57", "58"].contains(&code.get(..2).unwrap_or_default()) => {
            StoreError::Unreachable(format!("{shown}: {said}"))
        }
        _ => StoreError::Failed(format!("{shown}: {said} ({code})")),
    }
}

/// The connection can't be used any more, and others to the same server may be no better.
pub(super) fn broken(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(database) => {
            database.code().is_some_and(|code| code.starts_with("57P") || code.starts_with("08") || code == "25006")
        }
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}

/// Why data was refused, for a person.
pub(super) fn reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(database) => format!("Postgres refuses it: {}", told(database.as_ref())),
        other => format!("it can't be sent to Postgres: {other}"),
    }
}

fn told(database: &dyn DatabaseError) -> String {
    let detail = database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().and_then(|error| error.detail());
    detail.map_or_else(|| database.message().to_owned(), |detail| format!("{} ({detail})", database.message()))
}

/// The URL without its password and parameters.
pub(super) fn shown_url(url: &str) -> String {
    let Ok(mut parsed) = url::Url::parse(url) else {
        return url.split_once("://").map_or_else(|| "the URL".to_owned(), |(scheme, _)| format!("{scheme}://…"));
    };
    // Setting fails only for URLs that can't have a password, which then have none.
    parsed.set_password(None).ok();
    parsed.set_query(None);
    parsed.into()
}
