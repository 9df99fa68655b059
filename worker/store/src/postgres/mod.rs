//! The Store port on Postgres (15 or later), for many workers on one database.
//!
//! The hot path is three statements, each one round trip outside of any explicit transaction: `load`, `commit` (one
//! data-modifying CTE for a whole batch) and `look`. No lock is held across a round trip, and nothing is decided on what
//! an older statement saw: `commit` compares revisions, keys and epochs itself.

mod catalogue;
mod commit;
mod connections;
mod errors;
mod follow;
mod leases;
mod lists;
mod load;
mod quarantine;
mod relay;
mod restored;
mod retire;
mod rows;
mod schema;
mod statement;
mod suspects;

use async_trait::async_trait;
use flagstop_schemas::{Hash16, InstanceId};

use self::connections::Connections;
use crate::config::StoreConfig;
use crate::port::{
    Ahead, Batch, Beat, Census, Counters, Cursor, DueTimer, Enabled, InstanceFilter, JournalFrom, JournalPage, Keep,
    LetterFilter, LoadRequest, Loaded, LookRequest, Page, ParkedFilter, Redrive, RetirePlace, Retired, SchemaState,
    Store, StoreError, Verdict,
};
use crate::rows::{
    DeadLetter, DefinitionNumber, DefinitionRow, EffectLease, InstanceSummary, JournalRow, LargeValue, Meeting,
    NewParked, ParkedRow, Quarantined, ScheduleRow, WorkerId,
};

/// A store in Postgres.
#[derive(Debug)]
pub struct PostgresStore {
    /// The URL as messages show it.
    shown: String,
    schema: String,
    connections: Connections,
    /// See [`retire::overlap_us`].
    overlap_us: i64,
}

impl PostgresStore {
    /// Makes the store; connects at the first call.
    ///
    /// # Errors
    /// [`StoreError::Url`] for a URL that Postgres' driver can't read, [`StoreError::Failed`] for a setting that can't be
    /// right.
    pub fn open(url: &str, config: &StoreConfig) -> Result<Self, StoreError> {
        config.check().map_err(StoreError::Failed)?;
        Ok(Self {
            shown: errors::shown_url(url),
            schema: config.schema.clone(),
            connections: Connections::new(url, config)?,
            overlap_us: retire::overlap_us(config),
        })
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn migrate(&self) -> Result<Vec<String>, StoreError> {
        self.tell(schema::migrate(self).await)
    }

    async fn schema(&self) -> Result<SchemaState, StoreError> {
        self.tell(schema::state(self).await)
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
        self.connections.count_commit();
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
        self.connections.counters()
    }

    async fn close(&self) {
        self.connections.close().await;
    }
}
