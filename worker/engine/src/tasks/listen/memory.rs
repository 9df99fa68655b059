//! What a run of `listen` remembers.

use std::sync::Arc;

use crate::api::Value;
use crate::snapshot::{Grown, Reader, SnapshotError, Stored, Writer};
use crate::strategy::Progress;
use crate::value;

/// How far a listen is.
#[derive(Debug, Clone)]
pub(crate) struct Listening {
    pub(super) progress: Progress,
    /// The events so far, as `read` gives them, where they are needed again.
    pub(super) heard: Grown,
    /// `foreach`: consumed, and not begun with.
    pub(super) queue: Items,
    /// The one that is worked on.
    pub(super) current: Option<Item>,
    /// The results of those before it.
    pub(super) results: Grown,
    /// How many were begun with.
    begun: u32,
}

/// An item of `foreach` with its number.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) item: Value,
    pub(crate) index: Value,
}

/// Values that come at the end and go at the beginning, and how big they are.
#[derive(Debug, Clone, Default)]
pub(super) struct Items {
    /// Shared, so that a snapshot of the instance in memory costs nothing.
    items: Arc<Vec<Value>>,
    bytes: u64,
}

impl Listening {
    pub(super) fn new(progress: Progress) -> Self {
        Self {
            progress,
            heard: Grown::default(),
            queue: Items::default(),
            current: None,
            results: Grown::default(),
            begun: 0,
        }
    }

    /// Takes the next one out of the queue.
    pub(super) fn next_item(&mut self) -> Option<Item> {
        let item = self.queue.pop_first()?;
        let index = self.begun;
        self.begun = self.begun.saturating_add(1);
        Some(Item { item, index: value::int(i64::from(index)) })
    }
}

impl Items {
    pub(super) fn push(&mut self, item: Value) {
        self.bytes += value::size_bytes(&item) as u64;
        Arc::make_mut(&mut self.items).push(item);
    }

    fn pop_first(&mut self) -> Option<Value> {
        if self.items.is_empty() {
            return None;
        }
        let first = Arc::make_mut(&mut self.items).remove(0);
        self.bytes = self.bytes.saturating_sub(value::size_bytes(&first) as u64);
        Some(first)
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn bytes(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(usize::MAX)
    }
}

impl Stored for Items {
    fn write(&self, to: &mut Writer) {
        to.list(self.items.iter());
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        let items: Vec<Value> = Stored::read(from)?;
        let bytes = items.iter().map(|item| value::size_bytes(item) as u64).sum();
        Ok(Self { items: Arc::new(items), bytes })
    }
}

impl Stored for Item {
    fn write(&self, to: &mut Writer) {
        self.item.write(to);
        self.index.write(to);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        Ok(Self { item: Stored::read(from)?, index: Stored::read(from)? })
    }
}

impl Stored for Listening {
    fn write(&self, to: &mut Writer) {
        self.progress.write(to);
        self.heard.write(to);
        self.queue.write(to);
        self.current.write(to);
        self.results.write(to);
        self.begun.write(to);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        Ok(Self {
            progress: Stored::read(from)?,
            heard: Stored::read(from)?,
            queue: Stored::read(from)?,
            current: Stored::read(from)?,
            results: Stored::read(from)?,
            begun: Stored::read(from)?,
        })
    }
}
