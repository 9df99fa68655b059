//! The Store port on SQLite, in a file or in memory: the embedded default, and the reference that the tests of the runtime
//! run on. Means the same as Postgres' driver, by simpler ways: one transaction writes at a time, so nothing is locked by
//! rows, and the journal's order is the order of the commits.
//!
//! Several workers may share one store, several stores and several processes one file. A commit that was answered is on
//! the disk (write-ahead log, `synchronous = FULL`).

mod catalogue;
mod clock;
mod commit;
mod connection;
mod encode;
mod errors;
mod follow;
mod leases;
mod lists;
mod load;
#[cfg(test)]
mod plans;
mod quarantine;
mod relay;
mod retire;
mod schema;
mod suspects;
mod write;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use flagstop_schemas::{Hash16, InstanceId};
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};

use self::clock::Clock;
use self::connection::Connections;
use crate::port::{
    Ahead, Batch, Beat, Census, Counters, Cursor, DueTimer, Enabled, InstanceFilter, JournalFrom, JournalPage, Keep,
    LetterFilter, LoadRequest, Loaded, LookRequest, Page, ParkedFilter, Redrive, RetirePlace, Retired, SchemaState,
    Store, StoreError, Verdict,
};
use crate::rows::{
    DeadLetter, DefinitionNumber, DefinitionRow, EffectLease, InstanceSummary, JournalRow, LargeValue, Meeting,
    NewParked, ParkedRow, Quarantined, ScheduleRow, WorkerId,
};

/// How long a transaction waits for another process's, and a call for a connection, before it gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Prepared statements kept per connection: a batch's command has one text per combination of tables that it changes.
const STATEMENTS_KEPT: usize = 256;

/// Rows that a connection reads ahead of its reader.
const ROWS_AHEAD: usize = 256;

/// The write-ahead log is cut back to this once its content is in the file.
const LOG_BYTES_KEPT: &str = "67108864";

/// Page cache per connection, in KiB; SQLite takes a negative number for KiB.
const CACHE_KIB: &str = "-16384";

/// Takes the write lock at once: a transaction that reads first could not get it any more once somebody else wrote.
const BEGIN: &str = "BEGIN IMMEDIATE";

/// A store in SQLite.
#[derive(Debug)]
pub struct SqliteStore {
    /// As the user gives it, for messages.
    url: String,
    connections: Connections,
    clock: Clock,
    commits: AtomicU64,
}

impl SqliteStore {
    /// Opens a file; makes it, but not its directory, if it is missing.
    ///
    /// # Errors
    /// [`StoreError::Url`] for a path that can't name a file, [`StoreError::Unreachable`] when it can't be opened.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let url = format!("sqlite:{}", path.display());
        let whole = checked(path, &url)?;
        // The whole path begins with `/`: SQLite takes a name that begins with `file:` for a URI.
        let options = tuned(SqliteConnectOptions::new().filename(whole))
            .create_if_missing(true)
            .synchronous(SqliteSynchronous::Full);
        let connections = Connections::to_file(options).await.map_err(|error| errors::translate(&error, &url))?;
        Ok(Self::of(url, connections))
    }

    /// Opens a database in memory that nobody else sees and that goes with this store.
    ///
    /// # Errors
    /// [`StoreError::Failed`] when SQLite can't make it.
    pub async fn memory() -> Result<Self, StoreError> {
        let url = "memory:".to_owned();
        let options = tuned(SqliteConnectOptions::new().filename(":memory:"));
        let connections = Connections::to_memory(options).await.map_err(|error| errors::translate(&error, &url))?;
        Ok(Self::of(url, connections))
    }

    fn of(url: String, connections: Connections) -> Self {
        Self { url, connections, clock: Clock::new(), commits: AtomicU64::new(0) }
    }

    fn told(&self, error: &sqlx::Error) -> StoreError {
        errors::translate(error, &self.url)
    }

    fn tell<T>(&self, result: Result<T, sqlx::Error>) -> Result<T, StoreError> {
        result.map_err(|error| self.told(&error))
    }
}

fn tuned(options: SqliteConnectOptions) -> SqliteConnectOptions {
    use sqlx::ConnectOptions as _;
    options
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(false)
        .statement_cache_capacity(STATEMENTS_KEPT)
        .row_buffer_size(ROWS_AHEAD)
        .pragma("cache_size", CACHE_KIB)
        .pragma("temp_store", "MEMORY")
        .pragma("journal_size_limit", LOG_BYTES_KEPT)
        .disable_statement_logging()
}

/// The whole path, if a file can be there; what SQLite says otherwise ("unable to open database file") helps nobody.
fn checked(path: &Path, url: &str) -> Result<std::path::PathBuf, StoreError> {
    let refuse = |why: &str| Err(StoreError::Url(format!("{url}: {why}; give a file, such as sqlite:flagstop.db")));
    if path.as_os_str().is_empty() {
        return refuse("no path is given");
    }
    if path.to_str().is_none_or(|text| text.contains('\0')) {
        return refuse("the path is not plain UTF-8 text");
    }
    if path.is_dir() {
        return refuse("this is a directory");
    }
    let whole = std::path::absolute(path)
        .map_err(|error| StoreError::Unreachable(format!("{url}: the working directory is not known: {error}")))?;
    match whole.parent() {
        Some(parent) if !parent.is_dir() => {
            let folder = parent.display();
            let word = errors::shell_word(&folder.to_string());
            Err(StoreError::Unreachable(format!(
                "{url}: there is no directory {folder}; make it (`mkdir -p {word}`) or give another path"
            )))
        }
        _ => Ok(whole),
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn migrate(&self) -> Result<Vec<String>, StoreError> {
        self.tell(schema::migrate(&self.connections, self.clock.now_us()).await)
    }

    async fn schema(&self) -> Result<SchemaState, StoreError> {
        self.tell(schema::state(&self.connections, &self.url).await)
    }

    async fn deploy(&self, definitions: &[DefinitionRow]) -> Result<Vec<DefinitionRow>, StoreError> {
        catalogue::deploy(self, definitions).await
    }

    async fn definitions(&self, after: DefinitionNumber) -> Result<(i64, Vec<DefinitionRow>), StoreError> {
        self.tell(catalogue::definitions(self, after).await)
    }

    async fn load(&self, request: &LoadRequest) -> Result<Loaded, StoreError> {
        self.tell(load::load(self, request).await)
    }

    async fn commit(&self, batch: &Batch) -> Result<Vec<Verdict>, StoreError> {
        let verdicts = self.tell(commit::commit(self, batch).await)?;
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(verdicts)
    }

    async fn look(&self, request: &LookRequest) -> Result<Vec<Meeting>, StoreError> {
        self.tell(load::look(self, request).await)
    }

    async fn sweep(&self, after: Option<Hash16>, limit: i64) -> Result<(Vec<Meeting>, Option<Hash16>), StoreError> {
        self.tell(load::sweep(self, after, limit).await)
    }

    async fn expire_parked(&self, but: &str, code: &str, reason: &str, limit: i64) -> Result<u64, StoreError> {
        self.tell(lists::expire(self, but, code, reason, limit).await)
    }

    async fn expired(&self, of: &str, limit: i64) -> Result<Vec<NewParked>, StoreError> {
        self.tell(lists::expired(self, of, limit).await)
    }

    async fn due_timers(
        &self,
        shards: &[i16],
        after: Option<DueTimer>,
        limit: i64,
    ) -> Result<Vec<DueTimer>, StoreError> {
        self.tell(load::due_timers(self, shards, after, limit).await)
    }

    async fn due_schedules(&self, shards: &[i16], limit: i64) -> Result<Vec<ScheduleRow>, StoreError> {
        self.tell(load::due_schedules(self, shards, limit).await)
    }

    async fn stale_mail(
        &self,
        shards: &[i16],
        age_us: i64,
        after: Option<InstanceId>,
        limit: i64,
    ) -> Result<Vec<(InstanceId, i64)>, StoreError> {
        self.tell(load::stale_mail(self, shards, age_us, after, limit).await)
    }

    async fn beat(&self, worker: WorkerId, lease_us: i64) -> Result<Beat, StoreError> {
        self.tell(leases::beat(self, worker, lease_us).await)
    }

    async fn leave(&self, worker: WorkerId) -> Result<(), StoreError> {
        self.tell(leases::leave(self, worker).await)
    }

    async fn adopt(&self, worker: WorkerId, limit: i64) -> Result<Vec<EffectLease>, StoreError> {
        self.tell(leases::adopt(self, worker, limit).await)
    }

    async fn held(&self, worker: WorkerId) -> Result<Vec<EffectLease>, StoreError> {
        self.tell(leases::held(self, worker).await)
    }

    async fn read(&self, worker: WorkerId, limit: i64, ahead: &Ahead) -> Result<Vec<Page>, StoreError> {
        self.tell(relay::read(self, worker, limit, ahead).await)
    }

    async fn save(&self, worker: WorkerId, cursors: &[Cursor]) -> Result<(), StoreError> {
        self.tell(relay::save(self, worker, cursors).await)
    }

    async fn quarantine(&self, instance: InstanceId, revision: i32, reason: &str) -> Result<(), StoreError> {
        self.tell(quarantine::quarantine(self, instance, revision, reason).await)
    }

    async fn quarantined(&self, of: Option<InstanceId>) -> Result<Vec<Quarantined>, StoreError> {
        self.tell(quarantine::quarantined(self, of).await)
    }

    async fn release(&self, instances: &[InstanceId]) -> Result<u64, StoreError> {
        self.tell(quarantine::release(self, instances).await)
    }

    async fn withheld(&self, instance: InstanceId, after: i32, limit: i64) -> Result<Vec<JournalRow>, StoreError> {
        self.tell(quarantine::withheld(self, instance, after, limit).await)
    }

    async fn rejoin(&self, instance: InstanceId, through: i32) -> Result<bool, StoreError> {
        self.tell(quarantine::rejoin(self, instance, through).await)
    }

    async fn hand_over(&self, worker: WorkerId, shards: &[i16]) -> Result<(), StoreError> {
        self.tell(leases::hand_over(self, worker, shards).await)
    }

    async fn enable(&self, definitions: &[DefinitionNumber], enabled: Enabled) -> Result<(), StoreError> {
        self.tell(catalogue::enable(self, definitions, enabled).await)
    }

    async fn disabled(&self) -> Result<Vec<DefinitionNumber>, StoreError> {
        self.tell(catalogue::disabled(self).await)
    }

    async fn redrive(&self, letters: &[Redrive]) -> Result<u64, StoreError> {
        self.tell(follow::redrive(self, letters).await)
    }

    async fn dead_letters(&self, ids: &[Hash16]) -> Result<Vec<DeadLetter>, StoreError> {
        self.tell(lists::letters(self, ids).await)
    }

    async fn list_dead_letters(&self, filter: &LetterFilter) -> Result<Vec<DeadLetter>, StoreError> {
        self.tell(lists::newest_letters(self, filter).await)
    }

    async fn list_instances(&self, filter: &InstanceFilter) -> Result<Vec<InstanceSummary>, StoreError> {
        self.tell(lists::instances(self, filter).await)
    }

    async fn instance(&self, id: InstanceId) -> Result<Option<InstanceSummary>, StoreError> {
        self.tell(lists::instance(self, id).await)
    }

    async fn large_values(&self, id: InstanceId) -> Result<Vec<LargeValue>, StoreError> {
        self.tell(lists::large_values(self, id).await)
    }

    async fn history(&self, id: InstanceId) -> Result<Vec<JournalRow>, StoreError> {
        self.tell(lists::history(self, id).await)
    }

    async fn retire(&self, keep: &Keep, after: Option<RetirePlace>, limit: i64) -> Result<Retired, StoreError> {
        self.tell(retire::retire(self, keep, after, limit).await)
    }

    async fn parked_of_type(&self, event_type: &str, limit: i64) -> Result<Vec<NewParked>, StoreError> {
        self.tell(lists::parked_of_type(self, event_type, limit).await)
    }

    async fn parked(&self, filter: &ParkedFilter) -> Result<Vec<ParkedRow>, StoreError> {
        self.tell(lists::parked_events(self, filter).await)
    }

    async fn journal(&self, from: &JournalFrom) -> Result<JournalPage, StoreError> {
        self.tell(follow::journal(self, from).await)
    }

    async fn journal_end(&self, before: Option<&str>, limit: i64) -> Result<JournalPage, StoreError> {
        self.tell(follow::journal_end(self, before, limit).await)
    }

    async fn suspect(&self, ids: &[Hash16]) -> Result<Vec<i32>, StoreError> {
        self.tell(suspects::suspect(self, ids).await)
    }

    async fn clear(&self, ids: &[Hash16]) -> Result<(), StoreError> {
        self.tell(suspects::clear(self, ids).await)
    }

    async fn census(&self) -> Result<Census, StoreError> {
        self.tell(follow::census(self).await)
    }

    fn counters(&self) -> Counters {
        let (statements, round_trips) = self.connections.counts();
        Counters { commits: self.commits.load(Ordering::Relaxed), statements, round_trips }
    }

    async fn close(&self) {
        self.connections.close().await;
    }
}
