//! Reads the journal page by page, and goes on where it stopped. A row that commits late is not skipped: the store's place in
//! the journal knows which transactions were still open.

use std::sync::Arc;
use std::time::Duration;

use flagstop_schemas::CloudEvent;
use flagstop_store::port::{JournalFrom, JournalPage, Store};

use super::Whose;
use crate::commands::instances;
use crate::exit::Failure;

/// Journal rows that one page holds, about.
const ROWS: i64 = 2_000;

/// Pause between two looks for what is new.
const LOOK: Duration = Duration::from_millis(300);

/// A reader of the journal.
pub struct Follow {
    store: Arc<dyn Store>,
    whose: Whose,
    from: JournalFrom,
    /// The last page was the last one there was.
    at_end: bool,
}

impl Follow {
    /// Reads from a time on, or from the beginning.
    pub fn new(store: Arc<dyn Store>, whose: Whose, since_us: Option<i64>) -> Self {
        Self { store, whose, from: JournalFrom { place: None, since_us, limit: ROWS }, at_end: false }
    }

    /// The next page; `None` once all that was there has been read.
    pub async fn next_page(&mut self) -> Result<Option<Vec<CloudEvent>>, Failure> {
        if self.at_end {
            return Ok(None);
        }
        let JournalPage { rows, place, full } = self.store.journal(&self.from).await?;
        self.from.place = Some(place);
        self.at_end = !full;
        let mut events = Vec::new();
        for row in rows.iter().filter(|row| self.whose.is_none_or(|id| row.instance == id)) {
            events.extend(instances::events(row)?);
        }
        Ok(Some(events))
    }

    /// The next page, as soon as there is one. May be empty.
    pub async fn wait_page(&mut self) -> Result<Vec<CloudEvent>, Failure> {
        if self.at_end {
            tokio::time::sleep(LOOK).await;
            self.at_end = false;
        }
        Ok(self.next_page().await?.unwrap_or_default())
    }
}
