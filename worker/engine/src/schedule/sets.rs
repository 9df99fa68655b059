//! Open sets: what `schedule.on` with `all` or `until` has collected, before an instance starts with it.
//!
//! ```text
//! an event ─ key ─▶ the sets that are open under it ─ the oldest that lacks it, or a new one ─▶ still open
//!                                                                              └─ has enough ─▶ starts an instance
//! ```
//! The sets under one key are one row: bytes that are read, fed, and written with a compare-and-set (D17).

use std::sync::Arc;

use bytes::Bytes;
use flagstop_schemas::{Hash16, message_key};

use crate::api::{Reference, Value};
use crate::event::{Event, ReadAs};
use crate::expr::NoVars;
use crate::filter::{Expect, Filter};
use crate::limits::Limits;
use crate::snapshot::{self, Reader, SnapshotError, Stored, Writer};
use crate::strategy::{Progress, Strategy, Taken};
use crate::value;

/// How events are collected.
#[derive(Debug)]
pub struct Sets {
    strategy: Strategy,
    read: ReadAs,
    awaited: Vec<Value>,
    /// The correlations that every filter has: their values name the row.
    shared: Vec<String>,
    /// Namespace and name, so that all versions share the rows.
    owner: Hash16,
    limits: Arc<Limits>,
}

/// The sets that are open under one key, the oldest first.
#[derive(Debug, Clone, Default)]
pub struct OpenSets(Vec<OpenSet>);

#[derive(Debug, Clone)]
struct OpenSet {
    progress: Progress,
    /// Its events by `source` and `id`.
    heard: Vec<Hash16>,
    /// As `read` gives them, in the order in which they came.
    events: Vec<Value>,
}

/// Whether an event that fits no open set may open a new one: only the newest version's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewSet {
    /// It may.
    Open,
    /// It goes into what is open, or nowhere.
    Refuse,
}

/// What became of an event.
#[derive(Debug, Clone)]
pub enum Fed {
    /// It belongs into no set.
    Ignored,
    /// One of the sets has it already.
    Heard,
    /// It is kept: store these.
    Kept(OpenSets),
    /// It completed a set: store the rest, and start an instance with this input; the event is its trigger.
    Complete {
        /// The sets that stay open.
        rest: OpenSets,
        /// The events of the complete one.
        input: Value,
        /// Which they are, that which ended it included.
        heard: Vec<Hash16>,
    },
}

/// Why an event could not be kept. It is set aside; the sets are as they were.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// A limit.
    #[error("FS-OPEN-SETS-FULL: {0}")]
    Full(String),
    /// The condition failed.
    #[error("FS-UNTIL-FAILED: `until` of `schedule.on` failed on the events so far: {0}")]
    Until(String),
}

impl Sets {
    pub(crate) fn new(strategy: Strategy, read: ReadAs, reference: &Reference, limits: &Limits) -> Self {
        let awaited = strategy.expects().map(|expect| match expect {
            Expect::Constant(constant) => constant.clone(),
            // Refused when the definition was loaded; null matches nothing.
            Expect::Expression(_) => Value::Null,
        });
        let has = |filter: &Filter, name: &str| filter.correlations().iter().any(|it| it.name == name);
        let first = strategy.filters().first().map_or(&[][..], Filter::correlations);
        let names = first.iter().map(|correlation| correlation.name.clone());
        let mut shared: Vec<String> =
            names.filter(|name| strategy.filters().iter().all(|filter| has(filter, name))).collect();
        shared.sort_unstable();
        Self {
            awaited: awaited.collect(),
            shared,
            owner: Hash16::of("flagstop/owner", &[reference.namespace.as_bytes(), reference.name.as_bytes()]),
            read,
            strategy,
            limits: Arc::new(limits.clone()),
        }
    }

    /// The filters, for an index by type.
    #[must_use]
    pub fn filters(&self) -> &[Filter] {
        self.strategy.filters()
    }

    /// The row in which the event's set is kept, the same for all versions of a definition. `None`: no filter takes it.
    #[must_use]
    pub fn key(&self, event: &Event) -> Option<Hash16> {
        let filter = self.filters().iter().find(|filter| filter.accepts(event))?;
        let named = |name: &String| filter.correlations().iter().find(|correlation| correlation.name == *name);
        let values = self.shared.iter().map(|name| Some(value::canonical(&named(name)?.value(event, &self.limits)?)));
        let values: Vec<Vec<u8>> = values.collect::<Option<_>>()?;
        let owner = self.owner.0.as_bytes();
        let parts: Vec<&[u8]> = [&owner[..]].into_iter().chain(values.iter().map(Vec::as_slice)).collect();
        Some(Hash16::of("flagstop/open-sets", &parts))
    }

    /// Gives an event to the sets of its key.
    ///
    /// # Errors
    /// The event can't be kept.
    pub fn feed(&self, sets: &OpenSets, event: &Event, new: NewSet) -> Result<Fed, FeedError> {
        let identity = message_key(&event.envelope().source, &event.envelope().id);
        if sets.0.iter().any(|set| set.heard.contains(&identity)) {
            return Ok(Fed::Heard);
        }
        let find = |set: &OpenSet| self.strategy.find(&set.progress, event, &NoVars);
        let place = sets.0.iter().enumerate().find_map(|(place, set)| Some((place, find(set)?)));
        let mut after = sets.clone();
        let (place, found) = match place {
            Some(found) => found,
            None if new == NewSet::Refuse => return Ok(Fed::Ignored),
            None => {
                let set = OpenSet {
                    progress: self.strategy.begin(self.awaited.clone()),
                    heard: Vec::new(),
                    events: Vec::new(),
                };
                let Some(found) = find(&set) else { return Ok(Fed::Ignored) };
                after.0.push(set);
                (sets.0.len(), found)
            }
        };
        let set = &mut after.0[place];
        match self.strategy.take(&mut set.progress, found) {
            Taken::Collected => set.events.push(event.read(self.read)),
            // What ends a set opens none.
            Taken::Until if set.events.is_empty() => return Ok(Fed::Ignored),
            Taken::Until => {}
        }
        set.heard.push(identity);
        let array = value::array(set.events.iter().cloned());
        if let Some(condition) = self.strategy.condition() {
            let holds = condition.test(&array, &NoVars, &self.limits);
            if holds.map_err(|why| FeedError::Until(why.to_string()))? {
                set.progress.close();
            }
        }
        if set.progress.is_closed() {
            let heard = after.0.remove(place).heard;
            return Ok(Fed::Complete { rest: after, input: array, heard });
        }
        self.check_room(&after, set_len(&after, place))?;
        Ok(Fed::Kept(after))
    }

    fn check_room(&self, sets: &OpenSets, events: usize) -> Result<(), FeedError> {
        let bytes: usize = sets.0.iter().flat_map(|set| &set.events).map(value::size_bytes).sum();
        let Limits { open_sets_max, collected_events_max, collected_bytes_max, .. } = *self.limits;
        Err(FeedError::Full(if sets.0.len() > open_sets_max {
            format!("more than {open_sets_max} sets are open under one key (limit `open_sets_max`)")
        } else if events > collected_events_max {
            format!("a set holds more than {collected_events_max} events (limit `collected_events_max`)")
        } else if bytes > collected_bytes_max {
            format!("the sets of one key hold more than {collected_bytes_max} bytes (limit `collected_bytes_max`)")
        } else {
            return Ok(());
        }))
    }
}

fn set_len(sets: &OpenSets, place: usize) -> usize {
    sets.0.get(place).map_or(0, |set| set.events.len())
}

impl OpenSets {
    /// Nothing is open: the row can go.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// As bytes, with the same header as a snapshot.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        snapshot::seal(|to| self.0.write(to))
    }

    /// What [`OpenSets::encode`] made.
    ///
    /// # Errors
    /// A newer build wrote it, or it is damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let mut from = snapshot::open(bytes)?;
        let sets = Self(Stored::read(&mut from)?);
        from.end()?;
        Ok(sets)
    }
}

impl Stored for OpenSet {
    fn write(&self, to: &mut Writer) {
        self.progress.write(to);
        self.heard.write(to);
        self.events.write(to);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        Ok(Self { progress: Stored::read(from)?, heard: Stored::read(from)?, events: Stored::read(from)? })
    }
}
