//! From journal rows to messages, in the rows' order. What a row says is not judged here: a row that can't be read becomes a
//! parcel that says so.

use std::collections::{HashMap, VecDeque};

use flagstop_bus::port::{Channel, Content, Outgoing};
use flagstop_schemas::journal::JournalError;
use flagstop_schemas::{Answer, CloudEvent, Entry, Hash16, InstanceId, Renderer, journal, routing_key};
use flagstop_store::port::StoreError;
use flagstop_store::rows::{DeadLetter, JournalRow, LETTER_ROW, REDRIVE_ROW, RELEASE_ROW};

use super::Relay;
use super::streams::{Load, Parcel};
use crate::counters::add;
use crate::{letters, redrive};

impl Relay {
    /// Turns journal rows into parcels, in the rows' order.
    pub(super) async fn parcels(&self, rows: Vec<JournalRow>) -> Result<Vec<(InstanceId, Parcel)>, StoreError> {
        let is_letter = |row: &&JournalRow| match row.revision {
            LETTER_ROW => row.events.is_empty(),
            revision => revision == REDRIVE_ROW,
        };
        let ids: Vec<Hash16> = rows.iter().filter(is_letter).map(|row| Hash16(row.instance.0)).collect();
        let mut letters: HashMap<Hash16, DeadLetter> = HashMap::new();
        if !ids.is_empty() {
            let found = self.shared.store.dead_letters(&ids).await?;
            letters.extend(found.into_iter().map(|letter| (letter.id, letter)));
        }
        let parcel = |row: JournalRow| {
            let letter = || letters.get(&Hash16(row.instance.0));
            let load = match row.revision {
                LETTER_ROW if row.events.is_empty() => {
                    Load::Messages(letter().map(letters::outgoing).into_iter().collect())
                }
                REDRIVE_ROW => {
                    let outgoing = letter().map(|letter| redrive::outgoing(letter, &*self.shared.bus));
                    Load::Messages(outgoing.into_iter().collect())
                }
                RELEASE_ROW => Load::Release { through: first_withheld(&row) - 1 },
                _ => self.load(&row),
            };
            (row.instance, Parcel { revision: row.revision, at_us: row.at_us, load, page: None })
        };
        Ok(rows.into_iter().map(parcel).collect())
    }

    fn load(&self, row: &JournalRow) -> Load {
        match self.messages(row) {
            Ok(messages) => Load::Messages(messages),
            Err(why @ JournalError::Format(_)) => {
                tracing::error!(instance = %row.instance, revision = row.revision, shard = row.instance.shard(flagstop_store::rows::SHARDS), "a newer build wrote this transition, its shard is left to workers of that build: {why}");
                Load::Newer
            }
            Err(why) => {
                add(&self.shared.counters.invalid_events, 1);
                Load::Damaged(why.to_string())
            }
        }
    }

    fn messages(&self, row: &JournalRow) -> Result<VecDeque<Outgoing>, JournalError> {
        let (header, entries) = journal::decode(&row.events)?;
        let mut renderer = Renderer::new(&header);
        let mut messages = VecDeque::with_capacity(entries.len());
        for entry in entries {
            let (channel, routing_key, event) = match entry {
                Entry::Status(status) if !self.shared.published.has(status.kind) => continue,
                Entry::Status(status) => {
                    let event = renderer.render(&status);
                    if let Err(why) = self.validators.check(&event) {
                        // A defect of ours that must not hold the instance; the history keeps the event.
                        tracing::error!(instance = %row.instance, sequence = status.sequence, "a status event breaks its schema and is not published: {why}");
                        add(&self.shared.counters.invalid_events, 1);
                        continue;
                    }
                    (Channel::Status, routing_key(&header, status.kind), event)
                }
                Entry::Emitted(event) => (Channel::Out, event.ty.clone(), *event),
                // For the history alone.
                Entry::Late(_) => continue,
                Entry::Answer(event) => {
                    if let Err(why) = self.validators.check_answer(&event) {
                        tracing::error!(instance = %row.instance, "an answer to a command breaks its schema and is not published: {why}");
                        add(&self.shared.counters.invalid_events, 1);
                        continue;
                    }
                    (Channel::Status, Answer::routing_key(&event.ty).unwrap_or_default().to_owned(), *event)
                }
            };
            let order_key = order_key(&event, row.instance);
            messages.push_back(Outgoing { channel, routing_key, order_key, content: Content::Event(Box::new(event)) });
        }
        Ok(messages)
    }
}

/// From which revision on a stream is released.
fn first_withheld(row: &JournalRow) -> i32 {
    std::str::from_utf8(&row.events).ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Emitted events are ordered by their own key, where they have one.
fn order_key(event: &CloudEvent, instance: InstanceId) -> String {
    let own = event.extensions.get("partitionkey").and_then(|key| key.as_str());
    own.or(event.subject.as_deref()).map_or_else(|| instance.to_string(), str::to_owned)
}
