//! The rows that pass through the port. Times are microseconds since 1970-01-01 UTC on the database's clock
//! (PROTOCOL D15); names end in `_us`.

use bytes::Bytes;
use flagstop_schemas::{Hash16, InstanceId};
use uuid::Uuid;

/// The number of relay and timer shards, fixed when the schema is made.
pub const SHARDS: u16 = 64;

/// A deployed definition's number in this store; small, because every instance row carries it.
pub type DefinitionNumber = i32;

/// An instance as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceRow {
    /// Its id.
    pub id: InstanceId,
    /// Which definition it runs.
    pub definition: DefinitionNumber,
    /// Counts the committed transitions; every write compares and sets it.
    pub revision: i32,
    /// Whose child it is.
    pub parent: Option<Parent>,
    /// The snapshot.
    pub state: Bytes,
    /// The large values that the snapshot refers to (PROTOCOL D19).
    pub values: Vec<LargeValue>,
    /// Why it was set aside, if it was (PROTOCOL D8): nobody drives it until it is released.
    pub aside: Option<String>,
}

/// Whose child an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    /// The instance that started it.
    pub instance: InstanceId,
    /// Where the parent awaits its end; `None`: nobody awaits it.
    pub slot: Option<i64>,
}

/// A value that is written once and referred to by its hash, in however many snapshots of its instance (PROTOCOL D19).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LargeValue {
    /// Of the bytes.
    pub hash: Hash16,
    /// The value, encoded by the engine.
    pub bytes: Bytes,
}

/// The slot of a [`Meeting`] that is not about one bookmark: what is parked under an instance's own id is kept for this
/// instance alone (a command that came before it, an event that came while it was suspended).
pub const KEPT_SLOT: i64 = -1;

/// The memory of one schedule: when it is due next, or which events of an open set have come (PROTOCOL D12, D17).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleRow {
    /// A hash of what it belongs to.
    pub id: Hash16,
    /// Changes with each write; every write compares and sets it.
    pub token: i64,
    /// What it says.
    pub memory: ScheduleMemory,
    /// When the instance that it awaits has ended, if it has.
    pub awaited_ended_us: Option<i64>,
}

/// What a schedule remembers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScheduleMemory {
    /// Which definition it starts.
    pub definition: DefinitionNumber,
    /// When it is due.
    pub due_us: Option<i64>,
    /// The instance whose end makes it due.
    pub awaits: Option<InstanceId>,
    /// Whatever else, encoded by the runtime.
    pub state: Bytes,
}

/// A place where an instance pauses until an event comes: a row of the bookmarks' projection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BookmarkRow {
    /// Hash of the filter and the correlation values (PROTOCOL D20); events are looked up by it.
    pub key: Hash16,
    /// The engine's number of the wait within its instance.
    pub slot: i64,
    /// Parked events that arrived before this time are not heard; `None`: however old.
    pub since_us: Option<i64>,
}

/// A moment for which an instance waits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerRow {
    /// When it is due.
    pub due_us: i64,
    /// The engine's number of the timer within its instance.
    pub slot: i64,
}

/// A side effect under way (PROTOCOL D7). The request itself is never stored: it is rendered again from the snapshot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EffectRow {
    /// The engine's number of the effect within its instance.
    pub slot: i64,
    /// JSON pointer of the task, for people.
    pub pointer: String,
}

/// The right to drive an effect, and to report its result: fenced by the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EffectLease {
    /// Whose effect.
    pub instance: InstanceId,
    /// Which.
    pub slot: i64,
    /// Rises with each change of hands.
    pub epoch: i32,
}

/// Differences of a projection (bookmarks, timers, effects) between the instance as loaded and as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff<T> {
    /// Rows that are new.
    pub add: Vec<T>,
    /// Rows that are gone.
    pub drop: Vec<T>,
}

impl<T> Default for Diff<T> {
    fn default() -> Self {
        Self { add: Vec::new(), drop: Vec::new() }
    }
}

/// A message to an instance that could not be applied in the transaction that recorded it (PROTOCOL D1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailRow {
    /// Rises with time; an instance's mail is drained in this order.
    pub id: i64,
    /// To whom; the instance may not exist yet (a start).
    pub instance: InstanceId,
    /// The definition to start, or that of the instance.
    pub definition: DefinitionNumber,
    /// The stimulus, encoded by the runtime.
    pub stimulus: Bytes,
}

/// Mail to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMail {
    /// To whom.
    pub instance: InstanceId,
    /// The definition to start, or that of the instance.
    pub definition: DefinitionNumber,
    /// The stimulus, encoded by the runtime.
    pub stimulus: Bytes,
}

/// An early event, kept under one key until a bookmark with that key appears (PROTOCOL D3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewParked {
    /// Its id: a hash of the message and the key, so that parking twice is parking once.
    pub id: Hash16,
    /// What a bookmark must have.
    pub key: Hash16,
    /// The message it came in. When one of a message's parked events is claimed, the others count as `matched`.
    pub message: Hash16,
    /// The message concerned somebody, under another key: it is no loss when this one expires.
    pub matched: bool,
    /// The event's type, for people.
    pub event_type: String,
    /// Given up after this, and reported unless it is `matched`.
    pub expires_us: i64,
    /// The event, encoded by the runtime.
    pub event: Bytes,
}

/// A parked event as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedRow {
    /// The event.
    pub parked: NewParked,
    /// Since when.
    pub parked_us: i64,
}

/// A parked event that a bookmark waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meeting {
    /// The parked row; claiming it is deleting it in the transition's transaction.
    pub parked: Hash16,
    /// The key they share.
    pub key: Hash16,
    /// Who waits.
    pub instance: InstanceId,
    /// The wait.
    pub slot: i64,
    /// When the event was parked.
    pub parked_us: i64,
    /// The event.
    pub event: Bytes,
}

/// A message that could not be carried out, with why. Written in the transaction, published by the relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// A hash of where it came from, so that the same letter is written once.
    pub id: Hash16,
    /// Stable code, `FS-…`.
    pub code: String,
    /// What is wrong and how to mend it.
    pub reason: String,
    /// Where the message came from.
    pub origin: String,
    /// The message's media type.
    pub content_type: Option<String>,
    /// Headers as they were, as JSON text: a list of `[name, base64 of the value]`.
    pub headers: Bytes,
    /// Body as it was.
    pub body: Bytes,
    /// When it was written; set by the store.
    pub at_us: i64,
    /// When it was last given to the workers again; set by the store.
    pub redriven_us: Option<i64>,
}

/// Something to publish that is no transition of an instance: a journal row of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Its id: a hash, so that all shards get their part.
    pub id: Hash16,
    /// What to publish, encoded by the runtime; never empty.
    pub events: Bytes,
}

/// The revision of a journal row that stands for a dead letter, or, with events, for a note.
pub const LETTER_ROW: i32 = 0;

/// The revision of a journal row that stands for a dead letter which somebody gives to the workers again.
pub const REDRIVE_ROW: i32 = -1;

/// The revision of a journal row that is a remark: it is part of its instance's history and no transition.
pub const REMARK_ROW: i32 = -2;

/// The revision of a journal row that asks for a stream that was set aside to be published again. Its events are the first
/// revision that was withheld, as a decimal number.
pub const RELEASE_ROW: i32 = -3;

/// A stream that is set aside (PROTOCOL D13).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Whose.
    pub instance: InstanceId,
    /// The first revision that was not published.
    pub revision: i32,
    /// Since when.
    pub since_us: i64,
    /// Why.
    pub reason: String,
}

/// What an instance's history is to show although it changed nothing (PROTOCOL D9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Whose history.
    pub instance: InstanceId,
    /// Its definition.
    pub definition: DefinitionNumber,
    /// What is remarked, encoded by the runtime as a transition's events are.
    pub events: Bytes,
}

/// A journal row as the relay and the history read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalRow {
    /// Whose transition; for a dead letter or a note, its id.
    pub instance: InstanceId,
    /// The revision that the transition made; 0 for a dead letter and for a note, or [`REDRIVE_ROW`], [`REMARK_ROW`],
    /// [`RELEASE_ROW`].
    pub revision: i32,
    /// Which definition; 0 for a dead letter and for a note.
    pub definition: DefinitionNumber,
    /// When it was committed.
    pub at_us: i64,
    /// What the transition caused, encoded by the runtime; for a dead letter empty.
    pub events: Bytes,
}

impl JournalRow {
    /// Does it hold events that have left, or will? Dead letters and remarks hold none.
    #[must_use]
    pub fn has_events(&self) -> bool {
        self.revision > 0 || (self.revision == LETTER_ROW && !self.events.is_empty())
    }
}

/// A deployed definition (PROTOCOL D6): immutable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionRow {
    /// Its number, from 1; set by the store.
    pub number: DefinitionNumber,
    /// `document.namespace`.
    pub namespace: String,
    /// `document.name`.
    pub name: String,
    /// `document.version`.
    pub version: String,
    /// SHA-256 of source and bundle, shortened.
    pub content: Hash16,
    /// The source text.
    pub source: Bytes,
    /// Whatever it refers to outside of itself, as it was resolved at deployment; empty when there is nothing.
    pub bundle: Bytes,
    /// When it was deployed; set by the store.
    pub deployed_us: i64,
    /// Whether it may take new triggers; set by the store.
    pub enabled: bool,
}

/// What `instances list` knows of an instance without reading its snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceSummary {
    /// Its id.
    pub id: InstanceId,
    /// Which definition it runs.
    pub definition: DefinitionNumber,
    /// Its revision.
    pub revision: i32,
    /// The phase's number; the engine's codes.
    pub status: i16,
    /// The author's key of the business object.
    pub business_key: Option<String>,
    /// Who started it, if it is a child.
    pub parent: Option<InstanceId>,
    /// First commit.
    pub created_us: i64,
    /// Last commit.
    pub updated_us: i64,
    /// When it ended.
    pub ended_us: Option<i64>,
    /// What it faulted with.
    pub error: Option<String>,
    /// Why it was set aside, if it was (PROTOCOL D8).
    pub aside: Option<String>,
    /// The snapshot, for what it waits for. Its large values are read by [`crate::Store::large_values`].
    pub state: Bytes,
}

/// A worker's identity: new at each start of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub Uuid);
