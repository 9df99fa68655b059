//! What starts instances by itself: events, and the clock.
//!
//! A model that others drive: it knows no clock and keeps no state. Moments come in as microseconds since 1970, and what
//! must be remembered between two calls (the next due time, the open sets) goes out as plain data.

pub(crate) mod cron;
mod sets;

pub(crate) use self::cron::Cron;
pub use self::sets::{Fed, FeedError, NewSet, OpenSets, Sets};

use crate::event::ReadAs;
use crate::filter::Filter;

/// The compiled `schedule`.
#[derive(Debug)]
pub struct Schedule {
    pub(crate) triggers: Vec<Filter>,
    pub(crate) sets: Option<Sets>,
    pub(crate) timed: Vec<Timed>,
    /// How the input shows the events; our default is the whole event.
    pub(crate) read: ReadAs,
}

/// `every`, `cron` or `after`. A run's identity is the due time for which it was planned; its input is null.
#[derive(Debug, Clone)]
pub struct Timed {
    pub(crate) rule: Rule,
    pub(crate) missed: Missed,
}

#[derive(Debug, Clone)]
pub(crate) enum Rule {
    /// The first after one interval; a run still going does not stop the next.
    Every { interval_us: i64 },
    /// By the calendar.
    Cron(Cron),
    /// The deployment starts the first, each further one counts from the end of the one before, a fault too.
    After { delay_us: i64 },
}

/// What becomes of due times that passed while nobody was there: `document.metadata.flagstop.missedRuns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Missed {
    /// One run for all of them.
    #[default]
    Once,
    /// Nothing.
    None,
    /// A run for each.
    All,
}

/// What follows from a due time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Firing {
    /// Start an instance, with the due time as its identity.
    pub run: bool,
    /// The next due time. `None`: it never comes, or ([`Timed::after_end_us`]) follows from the end of the run.
    pub next_us: Option<i64>,
}

/// A run this late was missed, not merely delayed by a busy worker.
const LATE_US: i64 = 60_000_000;

impl Schedule {
    /// Nothing starts instances but commands.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.triggers.is_empty() && self.sets.is_none() && self.timed.is_empty()
    }

    /// Filters of which each event starts an instance.
    #[must_use]
    pub fn triggers(&self) -> &[Filter] {
        &self.triggers
    }

    /// `on` with `all`, or with `until`: events are collected before an instance starts.
    #[must_use]
    pub fn sets(&self) -> Option<&Sets> {
        self.sets.as_ref()
    }

    /// What the clock starts: of `every`, `cron` and `after` those that are given, in this order.
    #[must_use]
    pub fn timed(&self) -> &[Timed] {
        &self.timed
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Self { triggers: Vec::new(), sets: None, timed: Vec::new(), read: ReadAs::Envelope }
    }
}

impl Timed {
    /// The key that it was written under.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.rule {
            Rule::Every { .. } => "every",
            Rule::Cron(_) => "cron",
            Rule::After { .. } => "after",
        }
    }

    /// The first due time of a definition that is deployed (or enabled again) at this moment.
    #[must_use]
    pub fn first_us(&self, deployed_us: i64) -> Option<i64> {
        match &self.rule {
            Rule::Every { interval_us } => deployed_us.checked_add(*interval_us),
            Rule::Cron(cron) => cron.next_us(deployed_us),
            Rule::After { .. } => Some(deployed_us),
        }
    }

    /// What is to be done about a due time that has come, at `now_us`.
    #[must_use]
    pub fn fired(&self, due_us: i64, now_us: i64) -> Firing {
        let after_us = match self.missed {
            Missed::Once | Missed::None => now_us.max(due_us),
            Missed::All => due_us,
        };
        let next_us = match &self.rule {
            Rule::Every { interval_us } => {
                let passed = after_us.saturating_sub(due_us) / interval_us;
                interval_us.checked_mul(passed.saturating_add(1)).and_then(|later_us| due_us.checked_add(later_us))
            }
            Rule::Cron(cron) => cron.next_us(after_us),
            Rule::After { .. } => return Firing { run: true, next_us: None },
        };
        let run = self.missed != Missed::None || now_us.saturating_sub(due_us) <= LATE_US;
        Firing { run, next_us }
    }

    /// `after`: when the next run is due, once a run has ended, however it ended. `None` for the others.
    #[must_use]
    pub fn after_end_us(&self, ended_us: i64) -> Option<i64> {
        match self.rule {
            Rule::After { delay_us } => ended_us.checked_add(delay_us),
            Rule::Every { .. } | Rule::Cron(_) => None,
        }
    }
}
