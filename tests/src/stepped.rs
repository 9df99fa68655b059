//! A store that stops before and after each call of the hot path until the test lets it go on: interleavings of
//! several workers are played step by step, not by luck.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use flagstop_schemas::{Hash16, InstanceId};
use flagstop_store::port::StoreError;
use flagstop_store::port::{
    Ahead, Batch, Beat, Census, Counters, Cursor, DueTimer, Enabled, InstanceFilter, JournalFrom, JournalPage, Keep,
    LetterFilter, LoadRequest, Loaded, LookRequest, Page, ParkedFilter, Redrive, RetirePlace, Retired, SchemaState,
    Store, Verdict,
};
use flagstop_store::rows::{
    DeadLetter, DefinitionNumber, DefinitionRow, EffectLease, InstanceSummary, JournalRow, LargeValue, Meeting,
    NewParked, ParkedRow, Quarantined, ScheduleRow, WorkerId,
};
use tokio::sync::{Notify, Semaphore};

/// The calls at which a stepped store stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// [`Store::load`]
    Load,
    /// [`Store::commit`]
    Commit,
    /// [`Store::look`]
    Look,
}

/// Wraps a store. While [`Stepped::hold`] is on, each step waits for a permit of [`Stepped::step`].
pub struct Stepped {
    inner: Arc<dyn Store>,
    held: Mutex<bool>,
    permits: Semaphore,
    waiting: Mutex<Option<Step>>,
    made: AtomicU64,
    changed: Notify,
    lost_answers: AtomicU32,
    refuses: Mutex<Option<Refuses>>,
}

/// Which batches are refused, and how.
type Refuses = Box<dyn Fn(&Batch) -> Option<StoreError> + Send>;

impl std::fmt::Debug for Stepped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stepped").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl Stepped {
    /// Wraps `inner`, not held.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            held: Mutex::new(false),
            permits: Semaphore::new(0),
            waiting: Mutex::new(None),
            made: AtomicU64::new(0),
            changed: Notify::new(),
            lost_answers: AtomicU32::new(0),
            refuses: Mutex::default(),
        })
    }

    /// From now on each step waits.
    pub fn hold(&self) {
        self.permits.forget_permits(usize::MAX >> 4);
        *self.held.lock().unwrap() = true;
    }

    /// Lets everything flow again.
    pub fn release(&self) {
        *self.held.lock().unwrap() = false;
        self.permits.add_permits(1_000);
    }

    /// Waits until the worker stands before its next step, lets it make this one, and waits until it is made.
    /// `None`: the worker has nothing to do within a short while.
    pub async fn step(&self) -> Option<Step> {
        let arrived = tokio::time::timeout(std::time::Duration::from_millis(60), async {
            loop {
                let changed = self.changed.notified();
                if let Some(step) = *self.waiting.lock().unwrap() {
                    return step;
                }
                changed.await;
            }
        });
        let step = arrived.await.ok()?;
        let made = self.made.load(Ordering::SeqCst);
        self.permits.add_permits(1);
        loop {
            let changed = self.changed.notified();
            if self.made.load(Ordering::SeqCst) > made {
                return Some(step);
            }
            changed.await;
        }
    }

    /// The next `count` commits are carried out, and their answers lost.
    pub fn lose_answers(&self, count: u32) {
        self.lost_answers.store(count, Ordering::SeqCst);
    }

    /// From now on such batches are refused, and leave no trace.
    pub fn refuse(&self, which: impl Fn(&Batch) -> Option<StoreError> + Send + 'static) {
        *self.refuses.lock().unwrap() = Some(Box::new(which));
    }

    async fn at<T>(&self, step: Step, call: impl Future<Output = T>) -> T {
        if !*self.held.lock().unwrap() {
            return call.await;
        }
        *self.waiting.lock().unwrap() = Some(step);
        self.changed.notify_waiters();
        let permit = self.permits.acquire().await.expect("never closed");
        permit.forget();
        let done = call.await;
        *self.waiting.lock().unwrap() = None;
        self.made.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
        done
    }
}

#[async_trait]
impl Store for Stepped {
    async fn load(&self, request: &LoadRequest) -> Result<Loaded, StoreError> {
        self.at(Step::Load, self.inner.load(request)).await
    }

    async fn commit(&self, batch: &Batch) -> Result<Vec<Verdict>, StoreError> {
        if let Some(why) = self.refuses.lock().unwrap().as_ref().and_then(|refuses| refuses(batch)) {
            return Err(why);
        }
        let verdicts = self.at(Step::Commit, self.inner.commit(batch)).await?;
        let lose = self.lost_answers.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match lose {
            Ok(_) => Err(StoreError::Unreachable("the answer was lost".into())),
            Err(_) => Ok(verdicts),
        }
    }

    async fn look(&self, request: &LookRequest) -> Result<Vec<Meeting>, StoreError> {
        self.at(Step::Look, self.inner.look(request)).await
    }

    fn counters(&self) -> Counters {
        self.inner.counters()
    }

    async fn close(&self) {
        self.inner.close().await;
    }

    async fn migrate(&self) -> Result<Vec<String>, StoreError> {
        self.inner.migrate().await
    }

    async fn schema(&self) -> Result<SchemaState, StoreError> {
        self.inner.schema().await
    }

    async fn deploy(&self, definitions: &[DefinitionRow]) -> Result<Vec<DefinitionRow>, StoreError> {
        self.inner.deploy(definitions).await
    }

    async fn definitions(&self, after: DefinitionNumber) -> Result<(i64, Vec<DefinitionRow>), StoreError> {
        self.inner.definitions(after).await
    }

    async fn sweep(&self, after: Option<Hash16>, limit: i64) -> Result<(Vec<Meeting>, Option<Hash16>), StoreError> {
        self.inner.sweep(after, limit).await
    }

    async fn expire_parked(&self, but: &str, code: &str, reason: &str, limit: i64) -> Result<u64, StoreError> {
        self.inner.expire_parked(but, code, reason, limit).await
    }

    async fn expired(&self, of: &str, limit: i64) -> Result<Vec<NewParked>, StoreError> {
        self.inner.expired(of, limit).await
    }

    async fn due_timers(
        &self,
        shards: &[i16],
        after: Option<DueTimer>,
        limit: i64,
    ) -> Result<Vec<DueTimer>, StoreError> {
        self.inner.due_timers(shards, after, limit).await
    }

    async fn due_schedules(&self, shards: &[i16], limit: i64) -> Result<Vec<ScheduleRow>, StoreError> {
        self.inner.due_schedules(shards, limit).await
    }

    async fn large_values(&self, id: InstanceId) -> Result<Vec<LargeValue>, StoreError> {
        self.inner.large_values(id).await
    }

    async fn stale_mail(
        &self,
        shards: &[i16],
        age_us: i64,
        after: Option<InstanceId>,
        limit: i64,
    ) -> Result<Vec<(InstanceId, i64)>, StoreError> {
        self.inner.stale_mail(shards, age_us, after, limit).await
    }

    async fn beat(&self, worker: WorkerId, lease_us: i64) -> Result<Beat, StoreError> {
        self.inner.beat(worker, lease_us).await
    }

    async fn leave(&self, worker: WorkerId) -> Result<(), StoreError> {
        self.inner.leave(worker).await
    }

    async fn adopt(&self, worker: WorkerId, limit: i64) -> Result<Vec<EffectLease>, StoreError> {
        self.inner.adopt(worker, limit).await
    }

    async fn held(&self, worker: WorkerId) -> Result<Vec<EffectLease>, StoreError> {
        self.inner.held(worker).await
    }

    async fn read(&self, worker: WorkerId, limit: i64, ahead: &Ahead) -> Result<Vec<Page>, StoreError> {
        self.inner.read(worker, limit, ahead).await
    }

    async fn save(&self, worker: WorkerId, cursors: &[Cursor]) -> Result<(), StoreError> {
        self.inner.save(worker, cursors).await
    }

    async fn quarantine(&self, instance: InstanceId, revision: i32, reason: &str) -> Result<(), StoreError> {
        self.inner.quarantine(instance, revision, reason).await
    }

    async fn quarantined(&self, of: Option<InstanceId>) -> Result<Vec<Quarantined>, StoreError> {
        self.inner.quarantined(of).await
    }

    async fn release(&self, instances: &[InstanceId]) -> Result<u64, StoreError> {
        self.inner.release(instances).await
    }

    async fn withheld(&self, instance: InstanceId, after: i32, limit: i64) -> Result<Vec<JournalRow>, StoreError> {
        self.inner.withheld(instance, after, limit).await
    }

    async fn rejoin(&self, instance: InstanceId, through: i32) -> Result<bool, StoreError> {
        self.inner.rejoin(instance, through).await
    }

    async fn hand_over(&self, worker: WorkerId, shards: &[i16]) -> Result<(), StoreError> {
        self.inner.hand_over(worker, shards).await
    }

    async fn dead_letters(&self, ids: &[Hash16]) -> Result<Vec<DeadLetter>, StoreError> {
        self.inner.dead_letters(ids).await
    }

    async fn list_dead_letters(&self, filter: &LetterFilter) -> Result<Vec<DeadLetter>, StoreError> {
        self.inner.list_dead_letters(filter).await
    }

    async fn enable(&self, definitions: &[DefinitionNumber], enabled: Enabled) -> Result<(), StoreError> {
        self.inner.enable(definitions, enabled).await
    }

    async fn disabled(&self) -> Result<Vec<DefinitionNumber>, StoreError> {
        self.inner.disabled().await
    }

    async fn redrive(&self, letters: &[Redrive]) -> Result<u64, StoreError> {
        self.inner.redrive(letters).await
    }

    async fn parked(&self, filter: &ParkedFilter) -> Result<Vec<ParkedRow>, StoreError> {
        self.inner.parked(filter).await
    }

    async fn journal(&self, from: &JournalFrom) -> Result<JournalPage, StoreError> {
        self.inner.journal(from).await
    }

    async fn journal_end(&self, before: Option<&str>, limit: i64) -> Result<JournalPage, StoreError> {
        self.inner.journal_end(before, limit).await
    }

    async fn suspect(&self, ids: &[Hash16]) -> Result<Vec<i32>, StoreError> {
        self.inner.suspect(ids).await
    }

    async fn clear(&self, ids: &[Hash16]) -> Result<(), StoreError> {
        self.inner.clear(ids).await
    }

    async fn census(&self) -> Result<Census, StoreError> {
        self.inner.census().await
    }

    async fn list_instances(&self, filter: &InstanceFilter) -> Result<Vec<InstanceSummary>, StoreError> {
        self.inner.list_instances(filter).await
    }

    async fn instance(&self, id: InstanceId) -> Result<Option<InstanceSummary>, StoreError> {
        self.inner.instance(id).await
    }

    async fn history(&self, id: InstanceId) -> Result<Vec<JournalRow>, StoreError> {
        self.inner.history(id).await
    }

    async fn retire(&self, keep: &Keep, after: Option<RetirePlace>, limit: i64) -> Result<Retired, StoreError> {
        self.inner.retire(keep, after, limit).await
    }

    async fn parked_of_type(&self, event_type: &str, limit: i64) -> Result<Vec<NewParked>, StoreError> {
        self.inner.parked_of_type(event_type, limit).await
    }
}
