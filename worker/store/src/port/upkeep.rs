//! What the loops besides the batches read and write: timers, signs of life, the relay's cursors, retention.

use flagstop_schemas::InstanceId;

use crate::rows::JournalRow;

/// A timer that is due; in the order in which [`Store::due_timers`](super::Store::due_timers) gives them.
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

/// Where [`Store::retire`](super::Store::retire) goes on among the instances: behind this creation time and id.
pub type RetirePlace = (i64, InstanceId);

/// What [`Store::retire`](super::Store::retire) took out.
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
