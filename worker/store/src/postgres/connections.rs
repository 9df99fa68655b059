//! The connections to Postgres: their settings, a bounded set of them, and the one way in which a statement is sent.
//!
//! Not sqlx's own pool: that one asks the server for a sign of life whenever a connection is given back, which would
//! double a batch's round trips. Here a connection is known to be sound when its last statement was answered; one whose
//! statement was cancelled half-way, or broke, is dropped and never used again.

use std::str::FromStr as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Postgres};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::errors;
use crate::config::{Pooler, StoreConfig};
use crate::port::{Counters, StoreError};

/// A statement with its arguments.
pub(super) type Statement = Query<'static, Postgres, PgArguments>;

/// How much longer than the database a client waits for an answer before it takes the connection for dead.
const ANSWER_GRACE: Duration = Duration::from_secs(5);

/// A bounded set of connections.
#[derive(Debug)]
pub(super) struct Connections {
    options: PgConnectOptions,
    /// What begins a transaction. Behind a pooler it sets what the connection itself has otherwise.
    begin: String,
    pooler: Pooler,
    places: Semaphore,
    places_max: u32,
    idle: Mutex<Vec<PgConnection>>,
    acquire_timeout: Duration,
    answer_timeout: Duration,
    commits: AtomicU64,
    statements: AtomicU64,
}

/// A connection that nobody else uses. Dropped without [`Lent::sound`] it is closed: nothing is known of its state.
#[derive(Debug)]
pub(super) struct Lent<'a> {
    connection: PgConnection,
    home: &'a Connections,
    _place: SemaphorePermit<'a>,
}

impl Connections {
    pub(super) fn new(url: &str, config: &StoreConfig) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| StoreError::Url(format!("{}: {error}", errors::shown_url(url))))?;
        let settings = [
            ("search_path", config.schema.clone()),
            ("statement_timeout", config.statement_timeout_ms.to_string()),
            ("lock_timeout", config.lock_timeout_ms.to_string()),
            // The few transactions of several round trips (deployments, migrations) must not outlive their process.
            ("idle_in_transaction_session_timeout", config.statement_timeout_ms.to_string()),
            // What the statements count on, whatever this database's defaults are: each statement sees what is committed
            // when it begins, and a batch's plan does not depend on its size.
            ("default_transaction_isolation", "read committed".to_owned()),
            ("default_transaction_deferrable", "off".to_owned()),
            ("jit", "off".to_owned()),
            ("plan_cache_mode", "force_generic_plan".to_owned()),
            // A batch looks its few rows up by index; these would read whole tables instead while statistics are missing.
            ("enable_seqscan", "off".to_owned()),
            ("enable_mergejoin", "off".to_owned()),
        ];
        let options = match options.get_application_name() {
            Some(_) => options,
            None => options.application_name("flagstop"),
        };
        let options = options.disable_statement_logging();
        let (options, begin) = match config.pooler {
            Pooler::None => (options.options(settings), "begin;".to_owned()),
            // The next transaction may be in another session: it takes nothing from this one and leaves nothing there.
            Pooler::Transaction => {
                let local = settings.map(|(name, value)| format!(" set local {name} = '{value}';"));
                (options.statement_cache_capacity(0).extra_float_digits(None), format!("begin;{}", local.concat()))
            }
        };
        Ok(Self {
            options,
            begin,
            pooler: config.pooler,
            places: Semaphore::new(config.connections_max as usize),
            places_max: config.connections_max,
            idle: Mutex::new(Vec::new()),
            acquire_timeout: Duration::from_millis(config.acquire_timeout_ms),
            answer_timeout: Duration::from_millis(config.statement_timeout_ms) + ANSWER_GRACE,
            commits: AtomicU64::new(0),
            statements: AtomicU64::new(0),
        })
    }

    /// Takes a connection, an idle one or a new one.
    pub(super) async fn take(&self) -> Result<Lent<'_>, sqlx::Error> {
        let place = match timeout(self.acquire_timeout, self.places.acquire()).await {
            Ok(Ok(place)) => place,
            Ok(Err(_closed)) => return Err(sqlx::Error::PoolClosed),
            Err(_elapsed) => return Err(sqlx::Error::PoolTimedOut),
        };
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => timeout(self.acquire_timeout, PgConnection::connect_with(&self.options))
                .await
                .map_err(|_elapsed| timed_out("no connection within store.acquire_timeout_ms"))??,
        };
        Ok(Lent { connection, home: self, _place: place })
    }

    /// Sends one statement outside of any transaction: it commits by itself.
    pub(super) async fn fetch(&self, statement: Statement) -> Result<Vec<PgRow>, sqlx::Error> {
        let mut lent = self.take().await?;
        let result = match self.pooler {
            Pooler::None => lent.fetch(statement).await,
            Pooler::Transaction => lent.fetch_pooled(statement).await,
        };
        lent.after(result)
    }

    /// What begins a transaction of several round trips, which [`Lent::run`] sends.
    pub(super) fn begin(&self) -> &str {
        &self.begin
    }

    /// Sends several commands without arguments in one message: one transaction, whatever becomes of the client.
    pub(super) async fn fetch_commands(&self, text: AssertSqlSafe<String>) -> Result<Vec<PgRow>, sqlx::Error> {
        let mut lent = self.take().await?;
        let text = match self.pooler {
            Pooler::None => text,
            // Its own settings stand in front, in the same message and so in the same transaction.
            Pooler::Transaction => {
                AssertSqlSafe(format!("{}{}", self.begin.strip_prefix("begin;").unwrap_or_default(), text.0))
            }
        };
        let result = self.answered(sqlx::raw_sql(text).fetch_all(&mut lent.connection)).await;
        lent.after(result)
    }

    /// The same, counted as part of a batch's cost.
    pub(super) async fn fetch_counted(&self, statement: Statement) -> Result<Vec<PgRow>, sqlx::Error> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        self.fetch(statement).await
    }

    pub(super) fn count_commit(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    /// A statement is one round trip: its text is prepared once per connection, and that is not counted. Behind a pooler it is
    /// four: its transaction begins, it is prepared, it runs, it commits.
    pub(super) fn counters(&self) -> Counters {
        let statements = self.statements.load(Ordering::Relaxed);
        let each = if self.pooler == Pooler::None { 1 } else { 4 };
        Counters { commits: self.commits.load(Ordering::Relaxed), statements, round_trips: each * statements }
    }

    /// Waits for what is under way and closes all.
    pub(super) async fn close(&self) {
        let all = self.places.acquire_many(self.places_max).await;
        self.places.close();
        drop(all);
        let idle = std::mem::take(&mut *self.idle());
        for connection in idle {
            if let Err(error) = timeout(ANSWER_GRACE, connection.close()).await.unwrap_or(Ok(())) {
                tracing::debug!("a connection to Postgres did not close well: {error}");
            }
        }
    }

    /// Waits for an answer, though not for ever.
    async fn answered<T>(&self, answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
        let answer = timeout(self.answer_timeout, answer).await;
        let result = answer.unwrap_or_else(|_elapsed| Err(timed_out("the database does not answer")));
        if let Err(error) = &result
            && errors::broken(error)
        {
            // The others broke with it, most likely: a new one each is quicker than to find that out one by one.
            self.idle().clear();
        }
        result
    }

    fn idle(&self) -> MutexGuard<'_, Vec<PgConnection>> {
        // A list of idle connections is whole whatever panicked.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lent<'_> {
    /// Sends one statement.
    pub(super) async fn fetch(&mut self, statement: Statement) -> Result<Vec<PgRow>, sqlx::Error> {
        let statement = statement.persistent(self.home.pooler == Pooler::None);
        self.home.answered(statement.fetch_all(&mut self.connection)).await
    }

    /// Sends one statement in a transaction of its own, which holds the pooler to one session from its preparation to its end.
    /// Still one statement, so it gets its transaction's id after it has read the revisions (PROTOCOL D14).
    async fn fetch_pooled(&mut self, statement: Statement) -> Result<Vec<PgRow>, sqlx::Error> {
        self.run(AssertSqlSafe(self.home.begin.clone())).await?;
        match self.fetch(statement).await {
            Ok(rows) => {
                self.run(AssertSqlSafe("commit".to_owned())).await?;
                Ok(rows)
            }
            Err(error) if errors::broken(&error) => Err(error),
            Err(error) => {
                self.run(AssertSqlSafe("rollback".to_owned())).await?;
                Err(error)
            }
        }
    }

    /// Sends commands without arguments, as many as the text holds.
    pub(super) async fn run(&mut self, text: AssertSqlSafe<String>) -> Result<(), sqlx::Error> {
        self.home.answered(sqlx::raw_sql(text).execute(&mut self.connection)).await?;
        Ok(())
    }

    /// Sends commands that may take as long as they need.
    pub(super) async fn run_long(&mut self, text: AssertSqlSafe<String>) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(text).execute(&mut self.connection).await?;
        Ok(())
    }

    /// Gives it back unless it may be in the middle of an answer. A refusal is an answer.
    fn after<T>(self, result: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        match &result {
            Err(error) if errors::broken(error) => drop(self),
            Ok(_) | Err(sqlx::Error::Database(_)) => self.sound(),
            Err(_) => drop(self),
        }
        result
    }

    /// Gives it back for others to use: no transaction is open, and the last statement was answered.
    pub(super) fn sound(self) {
        if !self.home.places.is_closed() {
            self.home.idle().push(self.connection);
        }
    }
}

fn timed_out(what: &str) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, what.to_owned()))
}
