//! The Store port: what each call does, and what it means for recovery.

mod batch;
mod error;
mod reading;
mod upkeep;

use std::fmt;

use async_trait::async_trait;
use flagstop_schemas::{Hash16, InstanceId};

use crate::rows::{
    DeadLetter, DefinitionNumber, DefinitionRow, EffectLease, InstanceSummary, JournalRow, LargeValue, Meeting,
    NewParked, ParkedRow, Quarantined, ScheduleRow, WorkerId,
};

pub use batch::{
    Aside, Batch, Group, Hit, InstanceWrite, LoadRequest, Loaded, LookRequest, MAIL_MAX, MEETINGS_MAX, ScheduleWrite,
    Verdict,
};
pub use error::StoreError;
pub use reading::{Census, Enabled, InstanceFilter, JournalFrom, JournalPage, LetterFilter, ParkedFilter, Redrive};
pub use upkeep::{Ahead, Beat, Cursor, DueTimer, Keep, Page, RetirePlace, Retired};

/// The state of the schema, for `migrate --check` and for a worker's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaState {
    /// This build may run on it.
    Current,
    /// `migrate` has not run, or an older one did: what is missing.
    Behind(String),
    /// The schema allows only newer builds (D16).
    Ahead(String),
}

/// The shared state of all workers. Cheap to share behind an `Arc`.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// Brings the schema up to this build's version, in one step per migration; safe to repeat and to race.
    async fn migrate(&self) -> Result<Vec<String>, StoreError>;

    /// Says whether this build may run on the schema as it is.
    async fn schema(&self) -> Result<SchemaState, StoreError>;

    /// Deploys definitions, all or none, and raises the catalogue's version if any is new. A definition that is
    /// already there with the same content is left as it is. Returns them with their numbers.
    async fn deploy(&self, definitions: &[DefinitionRow]) -> Result<Vec<DefinitionRow>, StoreError>;

    /// The catalogue's version and the definitions with numbers above `after`, ascending, of one snapshot.
    async fn definitions(&self, after: DefinitionNumber) -> Result<(i64, Vec<DefinitionRow>), StoreError>;

    /// Reads all that a batch needs, of one snapshot, in one round trip. Changes nothing.
    async fn load(&self, request: &LoadRequest) -> Result<Loaded, StoreError>;

    /// Commits a batch in one transaction; the verdicts stand in the order of the groups. On an error the outcome is
    /// unknown: call it again with the same batch; what was written then comes back as `Duplicate`, `Gone`, `Fenced` or
    /// `Conflict`, and nothing is written twice (D11).
    async fn commit(&self, batch: &Batch) -> Result<Vec<Verdict>, StoreError>;

    /// The second look (D3): must be called after the commit that parked or bookmarked, and before the messages are
    /// acknowledged. Changes nothing; to deliver a meeting, claim it in a group. A crash before it is healed by
    /// redelivery or by [`Store::sweep`]. At most about [`MEETINGS_MAX`] come, of each key the oldest: a claim moves its
    /// instance's bookmarks, which are looked at again; what is left then is found by the sweep.
    async fn look(&self, request: &LookRequest) -> Result<Vec<Meeting>, StoreError>;

    /// Finds meetings that nobody delivered: the crash between a commit and its look, or an instance that came after what
    /// was kept for it. Scans at most `limit` parked rows after the id `after`; returns where to go on, `None` at the end.
    async fn sweep(&self, after: Option<Hash16>, limit: i64) -> Result<(Vec<Meeting>, Option<Hash16>), StoreError>;

    /// Takes expired parked events out and writes a dead letter with this code and reason for each, up to `limit`, in the
    /// same transaction. Those that are matched go without one. Those whose type begins with `but`, which is not empty, stay: see
    /// [`Store::expired`]. Returns how many letters; fewer than `limit`: no more has expired.
    async fn expire_parked(&self, but: &str, code: &str, reason: &str, limit: i64) -> Result<u64, StoreError>;

    /// Expired parked events whose type begins with `of`, the oldest first, at most `limit`. Changes nothing: claim each in
    /// a group of no instance, with what is to be said of it.
    async fn expired(&self, of: &str, limit: i64) -> Result<Vec<NewParked>, StoreError>;

    /// Due timers of these shards, oldest first; behind `after`, when it is given. As many as `limit`, unless there are no
    /// more. A page costs what it gives, however many are due. Changes nothing: a timer's row goes with the transition that it
    /// causes, and the revision lets it happen once.
    async fn due_timers(
        &self,
        shards: &[i16],
        after: Option<DueTimer>,
        limit: i64,
    ) -> Result<Vec<DueTimer>, StoreError>;

    /// Schedules of these shards that are due, by their time or because the instance that they await has ended; the oldest
    /// first. Changes nothing.
    async fn due_schedules(&self, shards: &[i16], limit: i64) -> Result<Vec<ScheduleRow>, StoreError>;

    /// Instances of these shards with mail that is older than `age_us`: left behind by a worker that died, or written by
    /// the command line. In the order of their ids, those behind `after`: mail that nobody can use now hides no other. Each with
    /// the time of its oldest. Of an instance that is set aside only the command line's counts: the rest waits for its release.
    async fn stale_mail(
        &self,
        shards: &[i16],
        age_us: i64,
        after: Option<InstanceId>,
        limit: i64,
    ) -> Result<Vec<(InstanceId, i64)>, StoreError>;

    /// Says that this worker lives, for `lease_us` from now, and takes its fair part of the shards: those free or of
    /// dead workers; above its part it gives some back. One row per worker, whatever it drives (D7).
    async fn beat(&self, worker: WorkerId, lease_us: i64) -> Result<Beat, StoreError>;

    /// Gives back everything of this worker: shards, effects and its row. Part of the drain.
    async fn leave(&self, worker: WorkerId) -> Result<(), StoreError>;

    /// Takes up to `limit` effects of dead workers and of nobody, raising their epochs: the old driver's result is
    /// fenced from then on.
    async fn adopt(&self, worker: WorkerId, limit: i64) -> Result<Vec<EffectLease>, StoreError>;

    /// The effects that this worker holds: after a commit of unknown outcome (D11) some may be its own without its
    /// knowing.
    async fn held(&self, worker: WorkerId) -> Result<Vec<EffectLease>, StoreError>;

    /// Reads on from the cursors of the shards that this worker holds, or from where it is `ahead` of them, about `limit` rows
    /// per shard: what one transaction wrote may come whole. A shard with nothing new has no page. Repeating it without
    /// [`Store::save`] gives the same rows again: publishing is at least once.
    async fn read(&self, worker: WorkerId, limit: i64, ahead: &Ahead) -> Result<Vec<Page>, StoreError>;

    /// Saves cursors whose rows are all confirmed. One whose shard has changed hands is left as it is.
    async fn save(&self, worker: WorkerId, cursors: &[Cursor]) -> Result<(), StoreError>;

    /// Sets one instance's stream aside from `revision` on (D13), because the broker refuses its events: [`Store::read`]
    /// leaves its rows out from then on, in every worker; the history keeps them. Repeating it changes the reason at most.
    async fn quarantine(&self, instance: InstanceId, revision: i32, reason: &str) -> Result<(), StoreError>;

    /// The streams that are set aside, the longest first; or that of one instance.
    async fn quarantined(&self, of: Option<InstanceId>) -> Result<Vec<Quarantined>, StoreError>;

    /// Asks for these streams to be published again: a journal row of revision [`crate::rows::RELEASE_ROW`] tells the relay of
    /// each. They stay set aside until it has published what was withheld, see [`Store::rejoin`]. Returns how many of them
    /// were set aside.
    async fn release(&self, instances: &[InstanceId]) -> Result<u64, StoreError>;

    /// An instance's transitions behind a revision, in order, at most `limit`, whether its stream is set aside or not.
    async fn withheld(&self, instance: InstanceId, after: i32, limit: i64) -> Result<Vec<JournalRow>, StoreError>;

    /// What was withheld is published up to this revision. When that is all, the stream is no longer set aside: `true`, and
    /// every later row comes by [`Store::read`]. `false`: there is more behind it. Looks and lets go in one snapshot, so that
    /// no row that commits meanwhile is passed by a cursor and seen by nobody.
    async fn rejoin(&self, instance: InstanceId, through: i32) -> Result<bool, StoreError>;

    /// Gives these shards of this worker to another one that lives, picked at random, and takes as many of its own instead,
    /// because this one can't read what is in them (D16). Nothing happens when no other worker lives.
    async fn hand_over(&self, worker: WorkerId, shards: &[i16]) -> Result<(), StoreError>;

    /// Lets definitions take new triggers, or no longer, and raises the catalogue's version.
    async fn enable(&self, definitions: &[DefinitionNumber], enabled: Enabled) -> Result<(), StoreError>;

    /// The definitions that may not take new triggers. Read it after [`Store::definitions`]: it is then at least as new.
    async fn disabled(&self) -> Result<Vec<DefinitionNumber>, StoreError>;

    /// Gives dead letters to the workers again, in one transaction: their messages are forgotten by the inbox, and a journal
    /// row of revision [`crate::rows::REDRIVE_ROW`] tells the relay to publish each. Returns how many letters there were.
    async fn redrive(&self, letters: &[Redrive]) -> Result<u64, StoreError>;

    /// Dead letters by id.
    async fn dead_letters(&self, ids: &[Hash16]) -> Result<Vec<DeadLetter>, StoreError>;

    /// Dead letters, newest first.
    async fn list_dead_letters(&self, filter: &LetterFilter) -> Result<Vec<DeadLetter>, StoreError>;

    /// Instances, newest first.
    async fn list_instances(&self, filter: &InstanceFilter) -> Result<Vec<InstanceSummary>, StoreError>;

    /// One instance.
    async fn instance(&self, id: InstanceId) -> Result<Option<InstanceSummary>, StoreError>;

    /// The large values of one instance.
    async fn large_values(&self, id: InstanceId) -> Result<Vec<LargeValue>, StoreError>;

    /// One instance's journal, remarks among its transitions, oldest first; as far back as the journal is kept.
    async fn history(&self, id: InstanceId) -> Result<Vec<JournalRow>, StoreError>;

    /// Takes out what is older than `keep` says, a bounded part of it: at most about `limit` rows of a kind, or a few whole
    /// days at once. Of the journal and the dead letters nothing goes that a relay has still to read (D13). Makes room for the
    /// days to come, too. Safe to repeat and to race; `after` is the [`Retired::next`] of the call before.
    ///
    /// An instance that is gone is not known any more: a trigger that is played again after that starts it anew, unless its
    /// inbox row is still there (D12).
    async fn retire(&self, keep: &Keep, after: Option<RetirePlace>, limit: i64) -> Result<Retired, StoreError>;

    /// The newest parked events of a type, at most `limit`, as meetings of nobody: for `instances why`.
    async fn parked_of_type(&self, event_type: &str, limit: i64) -> Result<Vec<NewParked>, StoreError>;

    /// Early events that nobody has heard, newest first.
    async fn parked(&self, filter: &ParkedFilter) -> Result<Vec<ParkedRow>, StoreError>;

    /// The journal of all shards, for people who follow it. Holds no cursor and moves none.
    async fn journal(&self, from: &JournalFrom) -> Result<JournalPage, StoreError>;

    /// The journal's end: about its newest `limit` rows; behind `before`, the place that the last call gave, those that come
    /// before these. [`JournalPage::place`] is where [`Store::journal`] begins with this page, and [`JournalPage::full`] says
    /// that there are rows before it. A `limit` of 0 gives the place behind all that is there.
    async fn journal_end(&self, before: Option<&str>, limit: i64) -> Result<JournalPage, StoreError>;

    /// Marks what is about to be tried by itself because it may have killed a worker (D8): a message, an instance. Durable
    /// before it returns. Gives, in the order of the ids, how often each has been tried now, this time included.
    async fn suspect(&self, ids: &[Hash16]) -> Result<Vec<i32>, StoreError>;

    /// Takes the marks off: what was tried has not killed.
    async fn clear(&self, ids: &[Hash16]) -> Result<(), StoreError>;

    /// Counts everything. Reads through whole tables: for metrics every now and then, not for the hot path.
    async fn census(&self) -> Result<Census, StoreError>;

    /// How many statements and round trips this store has made since it was opened.
    fn counters(&self) -> Counters;

    /// Closes the connections; waits for what is under way.
    async fn close(&self);
}

/// What the store cost so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Batches committed.
    pub commits: u64,
    /// Statements sent by `load`, `commit` and `look`.
    pub statements: u64,
    /// Round trips made by them.
    pub round_trips: u64,
}
