//! How many attempts of each task's effects got an answer, by iteration path (D4).
//!
//! Neighbouring iterations with equal counts are one range, on every level of the path, so that a loop does not make it
//! longer.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::plan::TaskIndex;
use crate::snapshot::{Reader, SnapshotError, Stored, Writer};

/// The counts of all tasks. Which paths a task has depends on who calls it, so their length is part of the key.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answered(Arc<BTreeMap<(u32, u32), Counts>>);

/// The counts below one place of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Counts {
    /// The path ends here.
    Here(u32),
    /// By the next component: ascending ranges that neither meet nor are empty where equal.
    Each(Vec<Range>),
}

/// The components from `from` to `to`, that one included, have equal counts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Range {
    from: u32,
    to: u32,
    counts: Counts,
}

impl Answered {
    pub(crate) fn get(&self, task: TaskIndex, path: &[u32]) -> u32 {
        self.0.get(&key(task, path)).map_or(0, |counts| counts.get(path))
    }

    pub(crate) fn count(&mut self, task: TaskIndex, path: &[u32]) {
        let all = Arc::make_mut(&mut self.0);
        all.entry(key(task, path)).or_insert_with(|| Counts::none(path)).count(path);
    }
}

fn key(task: TaskIndex, path: &[u32]) -> (u32, u32) {
    (task.0, path.len() as u32)
}

impl Counts {
    fn none(path: &[u32]) -> Self {
        if path.is_empty() { Self::Here(0) } else { Self::Each(Vec::new()) }
    }

    fn get(&self, path: &[u32]) -> u32 {
        match (self, path) {
            (Self::Here(count), _) => *count,
            (Self::Each(ranges), [first, rest @ ..]) => {
                find(ranges, *first).map_or(0, |at| ranges[at].counts.get(rest))
            }
            (Self::Each(_), []) => 0,
        }
    }

    fn count(&mut self, path: &[u32]) {
        match (self, path) {
            (Self::Here(count), _) => *count = count.saturating_add(1),
            (Self::Each(ranges), [first, rest @ ..]) => {
                let at = single_out(ranges, *first, rest);
                ranges[at].counts.count(rest);
                merge(ranges, at);
            }
            (Self::Each(_), []) => {}
        }
    }
}

fn find(ranges: &[Range], component: u32) -> Option<usize> {
    let after = ranges.partition_point(|range| range.from <= component);
    let at = after.checked_sub(1)?;
    (component <= ranges[at].to).then_some(at)
}

/// Makes the range of this component alone.
fn single_out(ranges: &mut Vec<Range>, component: u32, rest: &[u32]) -> usize {
    match find(ranges, component) {
        Some(at) => {
            let Range { from, to, counts } = ranges[at].clone();
            let mut parts = Vec::with_capacity(3);
            if from < component {
                parts.push(Range { from, to: component - 1, counts: counts.clone() });
            }
            let place = at + parts.len();
            if component < to {
                parts.push(Range { from: component, to: component, counts: counts.clone() });
                parts.push(Range { from: component + 1, to, counts });
            } else {
                parts.push(Range { from: component, to: component, counts });
            }
            ranges.splice(at..=at, parts);
            place
        }
        None => {
            let at = ranges.partition_point(|range| range.from <= component);
            ranges.insert(at, Range { from: component, to: component, counts: Counts::none(rest) });
            at
        }
    }
}

/// Joins the range at this place with its equal neighbours.
fn merge(ranges: &mut Vec<Range>, at: usize) {
    for left in [Some(at), at.checked_sub(1)].into_iter().flatten() {
        if let [a, b, ..] = &ranges[left..]
            && a.to.checked_add(1) == Some(b.from)
            && a.counts == b.counts
        {
            ranges[left].to = b.to;
            ranges.remove(left + 1);
        }
    }
}

impl Stored for Answered {
    fn write(&self, to: &mut Writer) {
        to.number(self.0.len() as u64);
        for (key, counts) in &*self.0 {
            key.write(to);
            counts.write(to);
        }
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        let all = (0..from.count()?).map(|_| {
            let (task, len) = <(u32, u32)>::read(from)?;
            Ok(((task, len), Counts::read(from, len)?))
        });
        all.collect::<Result<_, _>>().map(|all| Self(Arc::new(all)))
    }
}

impl Counts {
    fn write(&self, to: &mut Writer) {
        match self {
            Self::Here(count) => count.write(to),
            Self::Each(ranges) => {
                to.number(ranges.len() as u64);
                for range in ranges {
                    range.from.write(to);
                    (range.to - range.from).write(to);
                    range.counts.write(to);
                }
            }
        }
    }

    /// `len`: components of the path that are left.
    fn read(from: &mut Reader<'_>, len: u32) -> Result<Self, SnapshotError> {
        if len == 0 {
            return Stored::read(from).map(Self::Here);
        }
        let mut ranges = Vec::new();
        for _ in 0..from.count()? {
            let (first, more) = <(u32, u32)>::read(from)?;
            let to = first.checked_add(more).ok_or_else(|| SnapshotError::corrupt("a range of counts has no end"))?;
            ranges.push(Range { from: first, to, counts: Self::read(from, len - 1)? });
        }
        Ok(Self::Each(ranges))
    }
}
