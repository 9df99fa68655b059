//! The Store port: what each call does, and what it means for recovery.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use flagstop_schemas::{Hash16, InstanceId};

use crate::rows::{
    BookmarkRow, DeadLetter, DefinitionNumber, DefinitionRow, Diff, EffectLease, EffectRow, InstanceRow,
    InstanceSummary, JournalRow, LargeValue, MailRow, Meeting, NewMail, NewParked, Note, Parent, ParkedRow,
    Quarantined, Remark, ScheduleMemory, ScheduleRow, TimerRow, WorkerId,
};

/// How many meetings one look gives; each of its keys gets an equal part, at least one.
pub const MEETINGS_MAX: usize = 1_000;

/// How many rows of mail one load gives for one instance.
pub const MAIL_MAX: usize = 500;

/// Why a call to the store failed as a whole. A single member's failure is a [`Verdict`], not an error.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL is not one of a store.
    #[error("FS-STORE-URL: {0}")]
    Url(String),
    /// Not reachable, or the connection broke. After [`Store::commit`] the outcome is unknown: do it again (D11).
    #[error("FS-STORE-UNREACHABLE: {0}")]
    Unreachable(String),
    /// The store's user may not do this. Nothing was done; do it again once it is granted.
    #[error("FS-STORE-DENIED: {0}")]
    Denied(String),
    /// The schema is missing, older than this build needs, or no longer allows this build (D16).
    #[error("FS-STORE-SCHEMA: {0}")]
    Schema(String),
    /// A definition with the same name and version but other content is already there.
    #[error(
        "FS-DEPLOY-CONFLICT: {namespace}/{name} {version} is already deployed with other content; give the changed definition a new version"
    )]
    DefinitionConflict {
        /// `document.namespace`.
        namespace: String,
        /// `document.name`.
        name: String,
        /// `document.version`.
        version: String,
    },
    /// The database refused the call for another reason.
    #[error("FS-STORE-FAILED: {0}")]
    Failed(String),
}

/// What a batch asks for before it decides.
#[derive(Debug, Clone, Default)]
pub struct LoadRequest {
    /// Messages: is each already in the inbox?
    pub messages: Vec<Hash16>,
    /// Keys of the batch's events: who waits for them?
    pub keys: Vec<Hash16>,
    /// Instances that the batch addresses directly.
    pub instances: Vec<InstanceId>,
    /// Schedules whose memory the batch needs.
    pub schedules: Vec<Hash16>,
}

/// One bookmark that one of the asked keys found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The key.
    pub key: Hash16,
    /// Who waits.
    pub instance: InstanceId,
    /// The wait.
    pub slot: i64,
}

/// What a batch needs to decide, all of one snapshot.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The database's clock.
    pub now_us: i64,
    /// The catalogue's version (D5): compare with the version that the verdicts rest on.
    pub catalogue: i64,
    /// Those of the asked messages that are already in the inbox.
    pub seen: Vec<Hash16>,
    /// The bookmarks that were found.
    pub hits: Vec<Hit>,
    /// The addressed instances and those of the hits, each once; one that does not exist is missing.
    pub instances: Vec<InstanceRow>,
    /// The mail of all these instances, and of addressed ones that do not exist yet, in order of id: of each the oldest,
    /// at most [`MAIL_MAX`]. Who has drained so many loads again.
    pub mail: Vec<MailRow>,
    /// The memories of the asked schedules, as far as they exist.
    pub schedules: Vec<ScheduleRow>,
}

/// An instance's new state and the differences of its projections.
#[derive(Debug, Clone, Default)]
pub struct InstanceWrite {
    /// The revision that was loaded; 0 = the instance is new. The row gets `revision + 1`.
    pub revision: i32,
    /// Which definition it runs.
    pub definition: DefinitionNumber,
    /// The phase's number; the engine's codes.
    pub status: i16,
    /// The author's key of the business object; the first one that is written stays.
    pub business_key: Option<String>,
    /// Whose child it is; written when new.
    pub parent: Option<Parent>,
    /// The instance has ended with this transition.
    pub ended: bool,
    /// The snapshot.
    pub state: Bytes,
    /// What it faulted with, in short, for people's lists; nothing while it has not faulted.
    pub error: Option<String>,
    /// The key under which only one instance may live at a time; given with every write of an instance that has one. It is
    /// held while the instance lives and free once it has `ended`.
    pub activation: Option<Hash16>,
    /// Large values that the snapshot is the first to refer to.
    pub values_in: Vec<LargeValue>,
    /// Large values that it refers to no more.
    pub values_out: Vec<Hash16>,
    /// Bookmarks' difference.
    pub bookmarks: Diff<BookmarkRow>,
    /// Timers' difference.
    pub timers: Diff<TimerRow>,
    /// Effects' difference, each slot at most once among the new ones; these belong to `Batch::worker` with epoch 1, or to nobody when it is `None`.
    pub effects: Diff<EffectRow>,
    /// The transition's journal row: exactly one for each committed transition (promise 3).
    pub events: Bytes,
}

/// What stands or falls together: all that a batch does to one instance (D2), or one message that concerns none or
/// many (D1). A group is written whole or leaves no trace.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// The instance that is written, if one is.
    pub instance: Option<(InstanceId, InstanceWrite)>,
    /// Children that start in the parent's transaction (D10), each as a new instance.
    pub children: Vec<(InstanceId, InstanceWrite)>,
    /// Messages that are consumed: inbox rows. One that is already there makes the group [`Verdict::Duplicate`].
    pub inbox: Vec<Hash16>,
    /// Parked events that are consumed. One that is no longer there makes the group [`Verdict::Gone`]. When an
    /// instance takes it, what else is parked of the same message is marked as matched.
    pub claims: Vec<Hash16>,
    /// Mail that is drained. One that is no longer there makes the group [`Verdict::Gone`].
    pub mail: Vec<i64>,
    /// Effects whose results are applied: the lease must still be held with this epoch, else [`Verdict::Fenced`].
    pub fences: Vec<EffectLease>,
    /// Schedules' memories. One whose token has moved makes the group [`Verdict::Conflict`].
    pub schedules: Vec<ScheduleWrite>,
    /// Mail to other instances, or to this one. Of a batch without a worker it is stale at once, since nobody who wrote
    /// it will see to it.
    pub post: Vec<NewMail>,
    /// Events to keep for later. One that is already parked is left as it is.
    pub park: Vec<NewParked>,
    /// Dead letters. One that is already there is left as it is and not published again; one that was redriven is there anew.
    pub dead: Vec<DeadLetter>,
    /// What is to be published without a transition of an instance.
    pub notes: Vec<Note>,
    /// What instances' histories are to show and what changes nothing else (PROTOCOL D9).
    pub remarks: Vec<Remark>,
    /// An instance that is set aside, or released (PROTOCOL D8). The group itself may insert it, and writes it in no other way.
    pub aside: Option<Aside>,
}

/// An instance that is set aside, or released. It keeps its phase, its revision and its rows; whoever loads it sees the reason
/// and leaves it alone. Its marks of [`Store::suspect`] go in the same transaction.
///
/// Not a transition: whoever has loaded the instance before may commit one more. One that is not there, or that is to be
/// released and was not set aside, makes the group [`Verdict::Conflict`]; so does one that somebody else is writing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aside {
    /// Which.
    pub instance: InstanceId,
    /// Why; `None`: it is released.
    pub reason: Option<String>,
}

/// A schedule's new memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleWrite {
    /// Which.
    pub id: Hash16,
    /// The token that was loaded; `None`: it has no memory yet.
    pub was: Option<i64>,
    /// The new token: one that this schedule has never had, so that a memory that went and came again is another.
    pub becomes: i64,
    /// What it remembers; `None`: nothing any more, the row goes.
    pub memory: Option<ScheduleMemory>,
}

/// A batch of groups, no two of the same instance.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Who commits, and drives the new effects; `None`: nobody yet, the effects wait for [`Store::adopt`].
    pub worker: Option<WorkerId>,
    /// The groups, in any order: the driver sorts by instance id before it locks.
    pub groups: Vec<Group>,
}

/// What became of one group. All but `Applied` mean: nothing of the group was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Written.
    Applied,
    /// These messages are already in the inbox: decide again without them.
    Duplicate(Vec<Hash16>),
    /// A claim or a mail row is gone (somebody else was faster): load and decide again.
    Gone,
    /// These leases have moved on: drop their results, decide again without them.
    Fenced(Vec<EffectLease>),
    /// The revision or a schedule's token moved, a new instance or schedule is already there, or one that is to be set aside or
    /// released can't be: load and decide again.
    Conflict,
    /// An instance of the group is to live under an activation key under which this other one lives: decide what to do with
    /// the trigger.
    Active(InstanceId),
    /// The group's own data can't be stored (D20); the reason says why. Decide what to set aside.
    Failed(String),
}

/// Both sides' second look, in a snapshot after their own commit (D3).
#[derive(Debug, Clone, Default)]
pub struct LookRequest {
    /// Keys under which events were just parked: does anybody wait by now?
    pub parked: Vec<Hash16>,
    /// Keys of bookmarks that were just written: is anything parked?
    pub bookmarks: Vec<Hash16>,
    /// Instances for which something was just kept, or which can take again what was kept for them: is both there?
    pub kept: Vec<InstanceId>,
}

/// A timer that is due; in the order in which [`Store::due_timers`] gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DueTimer {
    /// When it was due.
    pub due_us: i64,
    /// Whose.
    pub instance: InstanceId,
    /// Which.
    pub slot: i64,
}

/// What a heartbeat brings back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beat {
    /// The database's clock.
    pub now_us: i64,
    /// The catalogue's version.
    pub catalogue: i64,
    /// The shards that this worker holds from now on: their relay and their timers.
    pub shards: Vec<i16>,
    /// How many workers are alive, this one included.
    pub workers: i32,
    /// When somebody was last missed who had not left: a worker that died. 0: never.
    pub died_us: i64,
    /// Until when a worker that died may have lived: the end of the last lease of any of them. What became due after that, none
    /// of them had in its hands. 0: none died.
    pub dead_until_us: i64,
}

/// One shard's page of the journal.
#[derive(Debug, Clone)]
pub struct Page {
    /// The shard.
    pub shard: i16,
    /// Rows after the cursor, in an order that keeps each instance's revisions ascending. Empty when only rows of streams
    /// that are set aside were new: the cursor has moved past them, and is to be saved like any other.
    pub rows: Vec<JournalRow>,
    /// Where the cursor stands once all of `rows` is confirmed. Opaque to the caller.
    pub next: Cursor,
    /// More rows are waiting behind this page.
    pub full: bool,
}

/// A relay's place in one shard's journal; only its driver reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The shard.
    pub shard: i16,
    /// The lease's epoch: a cursor is saved only while its holder is the same.
    pub epoch: i32,
    /// Driver's own text.
    pub place: String,
}

/// What a relay has read and not saved yet.
#[derive(Debug, Clone, Default)]
pub struct Ahead {
    /// Where it goes on in shards that it has read beyond their saved cursors. One of an earlier lease is ignored.
    pub cursors: Vec<Cursor>,
    /// Shards that it leaves out for now.
    pub full: Vec<i16>,
}

/// Which instances a list shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstanceFilter {
    /// Phase numbers; empty = all.
    pub statuses: Vec<i16>,
    /// Definitions; empty = all.
    pub definitions: Vec<DefinitionNumber>,
    /// The business key, the whole of it.
    pub business_key: Option<String>,
    /// Only those whose error, or whose reason for being set aside, has this text in it; capitals make no difference.
    pub error: Option<String>,
    /// Only those that were created before this time.
    pub created_before_us: Option<i64>,
    /// Only those that have not moved since this time.
    pub updated_before_us: Option<i64>,
    /// Only those that are set aside (PROTOCOL D8).
    pub aside: bool,
    /// At most this many; 0 = all.
    pub limit: i64,
    /// Only those listed after this id (paging; the list is ordered by creation, newest first, then by id).
    pub after: Option<InstanceId>,
}

/// How long it is kept what is over, in microseconds; `None`: for ever.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keep {
    /// Inbox rows: the memory of messages. Must be longer than the broker keeps messages.
    pub inbox_us: Option<i64>,
    /// The journal: histories, also those of instances that still live.
    pub journal_us: Option<i64>,
    /// Dead letters.
    pub letters_us: Option<i64>,
    /// Instances, from their end on.
    pub instances_us: Option<i64>,
}

/// Where [`Store::retire`] goes on among the instances: behind this creation time and id.
pub type RetirePlace = (i64, InstanceId);

/// What [`Store::retire`] took out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retired {
    /// Inbox rows, or, where they go by the day, days.
    pub inbox: u64,
    /// Journal rows, or days.
    pub journal: u64,
    /// Dead letters.
    pub letters: u64,
    /// Ended instances.
    pub instances: u64,
    /// Where to go on; `None`: nothing is left to do for now.
    pub next: Option<RetirePlace>,
}

/// Which dead letters, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LetterFilter {
    /// With this code.
    pub code: Option<String>,
    /// Only those listed after this id (paging).
    pub after: Option<Hash16>,
    /// At most this many; 0 = all.
    pub limit: i64,
}

/// Which parked events, newest first: those that nobody has heard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParkedFilter {
    /// Of this type.
    pub event_type: Option<String>,
    /// These; empty = all.
    pub ids: Vec<Hash16>,
    /// Only those listed after this id (paging).
    pub after: Option<Hash16>,
    /// At most this many; 0 = all.
    pub limit: i64,
}

/// A dead letter that is to be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redrive {
    /// Which.
    pub letter: Hash16,
    /// The inbox key of its message, if it has one: forgotten, so that the message is new again.
    pub message: Option<Hash16>,
}

/// May a definition take new triggers?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enabled {
    /// It may, if it is the highest version.
    Yes,
    /// It may not; what runs goes on.
    No,
}

/// From where [`Store::journal`] reads on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalFrom {
    /// The place that the page before gave; `None`: from the oldest row that is kept.
    pub place: Option<String>,
    /// Only rows that were committed at this time or later.
    pub since_us: Option<i64>,
    /// About how many rows; what one transaction wrote comes whole.
    pub limit: i64,
}

/// A page of the whole journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalPage {
    /// Transitions and notes, in an order that keeps each instance's revisions ascending.
    pub rows: Vec<JournalRow>,
    /// Where to go on. Also of an empty page: a row that commits late is not skipped.
    pub place: String,
    /// More rows are waiting behind this page.
    pub full: bool,
}

/// How much there is of everything, for metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    /// The database's clock.
    pub now_us: i64,
    /// Instances by the phase's number.
    pub instances: Vec<(i16, i64)>,
    /// Of these, set aside.
    pub aside: i64,
    /// Early events that nobody has heard yet.
    pub parked: i64,
    /// Dead letters by their code.
    pub letters: Vec<(String, i64)>,
    /// Mail that waits.
    pub mail: i64,
    /// Effects in flight, or waiting for a driver.
    pub effects: i64,
    /// Timers that are due and have not fired.
    pub timers_due: i64,
    /// When the oldest row was committed that a relay has still to publish.
    pub unpublished_since_us: Option<i64>,
    /// Streams that are set aside (D13).
    pub quarantined: i64,
    /// Workers that are alive.
    pub workers: i64,
}

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
    /// the command line. In the order of their ids, those behind `after`: mail that nobody can use now hides no other.
    async fn stale_mail(
        &self,
        shards: &[i16],
        age_us: i64,
        after: Option<InstanceId>,
        limit: i64,
    ) -> Result<Vec<InstanceId>, StoreError>;

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
