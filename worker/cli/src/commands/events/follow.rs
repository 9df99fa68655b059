//! Reads the journal page by page, and goes on where it stopped. A row that commits late is not skipped: the store's place in
//! the journal knows which transactions were still open.
//!
//! Where to begin is found from the journal's end: what is not to be shown is not read, however long the journal is.

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

/// The journal is in the order of its transactions, which is that of its times but for those that were open side by side.
const SIDE_BY_SIDE_US: i64 = 60_000_000;

/// A reader of the journal.
pub struct Follow {
    store: Arc<dyn Store>,
    whose: Whose,
    from: JournalFrom,
    /// The last page was the last one there was.
    at_end: bool,
}

/// How far back to go from the journal's end.
#[derive(Debug, Clone, Copy)]
pub struct Back {
    /// Not beyond this time.
    pub since_us: Option<i64>,
    /// Not beyond so many events that fit.
    pub enough: Option<usize>,
}

impl Back {
    /// Finds the place from which all that is wanted is read; `None`: the journal's beginning.
    async fn place(self, store: &dyn Store, fits: impl Fn(&CloudEvent) -> bool) -> Result<Option<String>, Failure> {
        if self.since_us.is_none() && self.enough.is_none() {
            return Ok(None);
        }
        let (mut place, mut found) = (None, 0);
        loop {
            let page = store.journal_end(place.as_deref(), ROWS).await?;
            let newest_us = page.rows.iter().map(|row| row.at_us).max();
            if self.enough.is_some() {
                for row in page.rows.iter().filter(|row| self.since_us.is_none_or(|since_us| row.at_us >= since_us)) {
                    found += instances::events(row)?.iter().filter(|event| fits(event)).count();
                }
            }
            place = Some(page.place);
            let is_enough = self.enough.is_some_and(|enough| found >= enough);
            let is_before =
                |newest_us: i64| self.since_us.is_some_and(|since_us| newest_us < since_us - SIDE_BY_SIDE_US);
            if !page.full || is_enough || newest_us.is_some_and(is_before) {
                return Ok(place);
            }
        }
    }
}

impl Follow {
    /// Reads what is there from so far back on, and what comes.
    pub async fn back(
        store: &Arc<dyn Store>,
        whose: Whose,
        back: Back,
        fits: impl Fn(&CloudEvent) -> bool,
    ) -> Result<Self, Failure> {
        let place = back.place(&**store, fits).await?;
        Ok(Self::at(store, whose, JournalFrom { place, since_us: back.since_us, limit: ROWS }))
    }

    /// Reads what comes from now on.
    pub async fn now(store: &Arc<dyn Store>, whose: Whose) -> Result<Self, Failure> {
        let place = Some(store.journal_end(None, 0).await?.place);
        Ok(Self::at(store, whose, JournalFrom { place, since_us: None, limit: ROWS }))
    }

    fn at(store: &Arc<dyn Store>, whose: Whose, from: JournalFrom) -> Self {
        Self { store: store.clone(), whose, from, at_end: false }
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
