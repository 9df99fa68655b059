//! One batch on its way: what it needs to know, what it commits, and what became of each part.

use bytes::Bytes;
use flagstop_schemas::{Hash16, InstanceId};

use crate::rows::{
    BookmarkRow, DeadLetter, DefinitionNumber, Diff, EffectLease, EffectRow, InstanceRow, LargeValue, MailRow, NewMail,
    NewParked, Note, Parent, Remark, ScheduleMemory, ScheduleRow, TimerRow, WorkerId,
};

/// How many meetings one look gives; each of its keys gets an equal part, at least one.
pub const MEETINGS_MAX: usize = 1_000;

/// How many rows of mail one load gives for one instance.
pub const MAIL_MAX: usize = 500;

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
/// and leaves it alone. Its marks of [`Store::suspect`](super::Store::suspect) go in the same transaction.
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
    /// Who commits, and drives the new effects; `None`: nobody yet, the effects wait for [`Store::adopt`](super::Store::adopt).
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
