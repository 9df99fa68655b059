//! What operators ask for: filters, pages and counts.

use flagstop_schemas::{Hash16, InstanceId};

use crate::rows::{DefinitionNumber, JournalRow};

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

/// From where [`Store::journal`](super::Store::journal) reads on.
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
