//! Instances that run ahead of what is stored of them (checkpoint policy `suspend`): their calls are made, and the answers
//! applied, before anything is written.
//!
//! Nothing here is durable, and nothing here may be acknowledged: until the commit, whoever gets the messages that led here
//! makes the same calls again, with the same idempotency keys.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use bytes::Bytes;
use flagstop_schemas::{Hash16, InstanceId};

use crate::catalogue::Route;
use crate::intake::{Item, Poke};
use crate::work::Work;

/// The epoch of a lease that is not stored: its effect belongs to an instance that runs ahead. Stored ones begin at 1.
pub(crate) const EPOCH: i32 = 0;

/// An instance that runs ahead.
pub(crate) struct Ahead {
    pub(crate) work: Work,
    /// What led here. It is done with the commit.
    pub(crate) items: Vec<(Item, Route)>,
    /// Then it is written, whatever is in flight.
    pub(crate) until: Instant,
    /// What came after that and must stay behind it.
    pub(crate) behind: Vec<Item>,
}

/// What makes a message stay behind an instance that runs ahead.
#[derive(PartialEq, Eq, Hash)]
enum Tie {
    /// It has the same order key as one that led there.
    Order(Bytes),
    /// It is a copy of one that led there.
    Copy(Hash16),
}

/// Those of one lane.
#[derive(Default)]
pub(crate) struct Aheads {
    by_instance: BTreeMap<InstanceId, Ahead>,
    ties: HashMap<Tie, InstanceId>,
}

impl Aheads {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_instance.is_empty()
    }

    /// Must one be written now?
    pub(crate) fn is_due(&self) -> bool {
        let now = Instant::now();
        self.by_instance.values().any(|ahead| ahead.until <= now)
    }

    pub(crate) fn put(&mut self, ahead: Ahead) {
        let id = ahead.work.id();
        let ties = ahead.items.iter().flat_map(|(item, _)| ties(item));
        self.ties.extend(ties.map(|tie| (tie, id)));
        self.by_instance.insert(id, ahead);
    }

    /// Puts behind what must wait for the commit of one of these. The rest, with the answers to their calls, goes on.
    pub(crate) fn let_through(&mut self, items: Vec<Item>) -> Vec<Item> {
        if self.is_empty() {
            return items;
        }
        let mut through = Vec::with_capacity(items.len());
        for item in items {
            let before = match &item {
                Item::Poke(_, Poke::Effect { .. }) => None,
                Item::Poke(instance, _) => Some(*instance),
                message @ Item::Message(_) => ties(message).find_map(|tie| self.ties.get(&tie).copied()),
            };
            match before.and_then(|instance| self.by_instance.get_mut(&instance)) {
                Some(ahead) => ahead.behind.push(item),
                None => through.push(item),
            }
        }
        through
    }

    /// Takes out those to whose calls the items have answers.
    pub(crate) fn take_answered(&mut self, items: &[Item]) -> Vec<Ahead> {
        let answered = items.iter().filter_map(|item| match item {
            Item::Poke(instance, Poke::Effect { .. }) => Some(*instance),
            _ => None,
        });
        self.take(answered.collect())
    }

    /// Takes out those that must be written now.
    pub(crate) fn take_due(&mut self) -> Vec<Ahead> {
        let now = Instant::now();
        self.take(self.by_instance.values().filter(|ahead| ahead.until <= now).map(|ahead| ahead.work.id()).collect())
    }

    /// Takes out all.
    pub(crate) fn take_all(&mut self) -> Vec<Ahead> {
        self.take(self.by_instance.keys().copied().collect())
    }

    fn take(&mut self, ids: Vec<InstanceId>) -> Vec<Ahead> {
        let taken: Vec<Ahead> = ids.iter().filter_map(|id| self.by_instance.remove(id)).collect();
        for tie in taken.iter().flat_map(|ahead| &ahead.items).flat_map(|(item, _)| ties(item)) {
            self.ties.remove(&tie);
        }
        taken
    }
}

fn ties(item: &Item) -> impl Iterator<Item = Tie> {
    let message = match item {
        Item::Message(message) => Some(message),
        Item::Poke(..) => None,
    };
    let order = message.and_then(|message| message.delivery.message.key.clone()).map(Tie::Order);
    order.into_iter().chain(message.and_then(|message| message.says.key()).map(Tie::Copy))
}
