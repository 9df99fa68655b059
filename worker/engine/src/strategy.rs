//! The event consumption strategy: which events a `listen` or a `schedule.on` takes, and when it has enough of them.
//!
//! ```text
//! filters: those of `one`, `any`, `all` ── then those of `until: { … }`
//! an event ─ is its filter open? ─ fits it, and the keys that are bound? ─▶ taken by the first open filter that fits,
//!            `until` first, whose events only end the strategy
//! ```
//! What an instance (or an open set) remembers of it is its [`Progress`]: plain data. Which filters are open, and the
//! keys under which they are found, follow from it alone.

mod compile;

use crate::api::Value;
use crate::event::Event;
use crate::expr::{self, Expression};
use crate::filter::{Expect, Filter};
use crate::snapshot::{Reader, SnapshotError, Stored, Writer};
use crate::value;

/// A compiled strategy.
#[derive(Debug)]
pub(crate) struct Strategy {
    /// Those whose events are collected, then those of `until`.
    filters: Vec<Filter>,
    collecting: usize,
    ends: Ends,
    /// The names of all correlations, each once: the same name is the same key in every filter.
    names: Vec<String>,
    /// For each filter, for each of its correlations: which name it has.
    names_of: Vec<Vec<usize>>,
}

/// When it has enough.
#[derive(Debug)]
pub(crate) enum Ends {
    /// After the first event: `one`, and `any` without `until`.
    First,
    /// When each filter has had its event: `all`.
    All,
    /// When this holds, on the array so far.
    Condition(Expression),
    /// After one event for the filters of `until`.
    UntilOne,
    /// When each filter of `until` has had its event.
    UntilAll,
}

/// How far it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Progress {
    /// The awaited values of the correlations with `expect`, filter by filter.
    awaited: Vec<Value>,
    /// The value of each key, by the number of its name, once an event has bound it.
    bound: Vec<Option<Value>>,
    /// The filters that have had their event, of those that take one only.
    met: Vec<u32>,
    closed: bool,
}

/// What an event was taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is one of the collected.
    Collected,
    /// It only served to end the strategy.
    Until,
}

impl Strategy {
    pub(crate) fn filters(&self) -> &[Filter] {
        &self.filters
    }

    /// What the author expects of the events, filter by filter.
    pub(crate) fn expects(&self) -> impl Iterator<Item = &Expect> {
        self.filters.iter().flat_map(Filter::expecting).map(|(_, expect)| expect)
    }

    /// The condition of `until`.
    pub(crate) fn condition(&self) -> Option<&Expression> {
        match &self.ends {
            Ends::Condition(condition) => Some(condition),
            _ => None,
        }
    }

    /// It never ends by itself, so nobody ever sees what it has collected.
    pub(crate) fn is_endless(&self) -> bool {
        self.condition().is_some_and(|condition| condition.text() == "false")
    }

    /// Each event ends it: nothing has to be remembered between events.
    pub(crate) fn is_single(&self) -> bool {
        matches!(self.ends, Ends::First)
    }

    /// It begins with these awaited values, one for each of [`Strategy::expects`].
    pub(crate) fn begin(&self, awaited: Vec<Value>) -> Progress {
        let mut progress = Progress { awaited, bound: vec![None; self.names.len()], ..Progress::default() };
        progress.closed = self.is_met(&progress);
        progress
    }

    /// Whether the filter waits for an event.
    pub(crate) fn is_open(&self, progress: &Progress, filter: usize) -> bool {
        let takes_one_only = match self.ends {
            Ends::First | Ends::Condition(_) | Ends::UntilOne => false,
            Ends::All => true,
            Ends::UntilAll => filter >= self.collecting,
        };
        filter < self.filters.len() && !progress.closed && !(takes_one_only && progress.met.contains(&(filter as u32)))
    }

    /// The filters that wait, by number.
    pub(crate) fn open<'s>(&'s self, progress: &'s Progress) -> impl Iterator<Item = (usize, &'s Filter)> {
        self.filters.iter().enumerate().filter(|(number, _)| self.is_open(progress, *number))
    }

    /// The values that the filter's correlations must have, as far as they are known.
    pub(crate) fn wanted<'p>(&self, progress: &'p Progress, filter: usize) -> Vec<Option<&'p Value>> {
        let before: usize = self.filters[..filter].iter().map(|filter| filter.expecting().count()).sum();
        let mut awaited = progress.awaited[before.min(progress.awaited.len())..].iter();
        let correlations = self.filters[filter].correlations().iter().zip(&self.names_of[filter]);
        correlations
            .map(|(correlation, name)| match correlation.expect {
                // Written for another definition, it would be missing; null matches nothing.
                Some(_) => Some(awaited.next().unwrap_or(&Value::Null)),
                None => progress.bound.get(*name).and_then(Option::as_ref),
            })
            .collect()
    }

    /// The first open filter that takes the event. `None`: none does.
    pub(crate) fn find(&self, progress: &Progress, event: &Event, vars: &dyn expr::Vars) -> Option<Found> {
        let until = self.collecting..self.filters.len();
        until.chain(0..self.collecting).find_map(|filter| self.look(progress, filter, event, vars))
    }

    /// The same, if the event was addressed to this filter, and it takes it.
    pub(crate) fn find_at(
        &self,
        progress: &Progress,
        filter: usize,
        event: &Event,
        vars: &dyn expr::Vars,
    ) -> Option<Found> {
        self.look(progress, filter, event, vars).and_then(|_| self.find(progress, event, vars))
    }

    fn look(&self, progress: &Progress, filter: usize, event: &Event, vars: &dyn expr::Vars) -> Option<Found> {
        if !self.is_open(progress, filter) {
            return None;
        }
        let values = self.filters[filter].takes(event, &self.wanted(progress, filter), vars)?;
        Some(Found { filter, values })
    }

    /// Takes the event that was found to fit. Whether `until` as a condition holds now is for the caller to say.
    pub(crate) fn take(&self, progress: &mut Progress, found: Found) -> Taken {
        let Found { filter, values } = found;
        for (name, found) in self.names_of[filter].iter().zip(values) {
            if let Some(bound) = progress.bound.get_mut(*name) {
                bound.get_or_insert(found);
            }
        }
        let taken = if filter < self.collecting { Taken::Collected } else { Taken::Until };
        match (&self.ends, taken) {
            (Ends::First, _) | (Ends::UntilOne, Taken::Until) => progress.closed = true,
            (Ends::All, _) | (Ends::UntilAll, Taken::Until) => {
                progress.met.push(filter as u32);
                progress.closed = self.is_met(progress);
            }
            (Ends::Condition(_) | Ends::UntilOne | Ends::UntilAll, _) => {}
        }
        taken
    }

    fn is_met(&self, progress: &Progress) -> bool {
        match self.ends {
            Ends::First | Ends::Condition(_) | Ends::UntilOne => false,
            Ends::All => progress.met.len() >= self.collecting,
            Ends::UntilAll => progress.met.len() >= self.filters.len() - self.collecting,
        }
    }

    /// The keys that events have bound, by name; `None`: it has no correlations, or nothing was heard.
    pub(crate) fn keys(&self, progress: &Progress) -> Option<Value> {
        let bound = self.names.iter().zip(&progress.bound);
        let keys: Vec<_> = bound.filter_map(|(name, found)| Some((name.as_str(), found.clone()?))).collect();
        (!keys.is_empty()).then(|| value::object(keys))
    }
}

/// An open filter that fits an event, with the values of its correlations.
#[derive(Debug)]
pub(crate) struct Found {
    filter: usize,
    values: Vec<Value>,
}

impl Progress {
    /// It waits for nothing any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn close(&mut self) {
        self.closed = true;
    }
}

impl Stored for Progress {
    fn write(&self, to: &mut Writer) {
        self.awaited.write(to);
        self.bound.write(to);
        self.met.write(to);
        to.byte(u8::from(self.closed));
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        Ok(Self {
            awaited: Stored::read(from)?,
            bound: Stored::read(from)?,
            met: Stored::read(from)?,
            closed: from.byte()? != 0,
        })
    }
}
