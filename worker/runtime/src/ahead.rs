//! Instances that run ahead of what is stored of them (checkpoint policy `suspend`): their calls are made, and the answers
//! applied, before anything is written.
//!
//! Nothing here is durable, and nothing here may be acknowledged: until the commit, whoever gets the messages that led here
//! makes the same calls again, with the same idempotency keys. Whoever holds an [`Ahead`] owns its calls: dropped, they are
//! given up, and no answer of theirs can reach another state of the instance.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use flagstop_engine::api::EffectOutcome;
use flagstop_schemas::{Hash16, InstanceId};
use tokio::sync::Notify;

use crate::catalogue::Route;
use crate::effects::Flight;
use crate::intake::{Item, Poke};
use crate::work::Work;

/// An instance that runs ahead.
pub(crate) struct Ahead {
    pub(crate) work: Work,
    /// What led here. It is done with the commit.
    pub(crate) items: Vec<(Item, Route)>,
    /// Its calls under way, by slot.
    pub(crate) flights: BTreeMap<i64, Flight>,
    /// Answers that are still to be applied.
    pub(crate) answers: Vec<(i64, EffectOutcome)>,
    /// Then it is written, whatever is in flight.
    pub(crate) until: Instant,
    /// What came after that and must stay behind it.
    pub(crate) behind: Vec<Item>,
}

/// What makes a message stay behind an instance that runs ahead.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
    ties: HashMap<Tie, BTreeSet<InstanceId>>,
    /// Wakes the lane when one of their calls is answered.
    pub(crate) answered: Arc<Notify>,
}

/// Which instances run ahead in this process: each in one lane at the most.
#[derive(Debug, Default)]
pub(crate) struct Claims(Mutex<BTreeSet<InstanceId>>);

impl Claims {
    /// Whether it is the caller's now.
    pub(crate) fn claim(&self, instance: InstanceId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(instance)
    }

    /// It is written, or begins again with what is stored.
    pub(crate) fn release(&self, instance: InstanceId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&instance);
    }
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

    /// Is there an answer to apply?
    pub(crate) fn is_answered(&self) -> bool {
        self.by_instance.values().any(|ahead| ahead.flights.values().any(Flight::is_answered))
    }

    pub(crate) fn put(&mut self, ahead: Ahead) {
        let id = ahead.work.id();
        for tie in ahead.items.iter().flat_map(|(item, _)| ties(item)) {
            self.ties.entry(tie).or_default().insert(id);
        }
        let before = self.by_instance.insert(id, ahead);
        debug_assert!(before.is_none(), "an instance runs ahead once, by its claim");
    }

    /// Puts behind what must wait for the commit of one of these; gives the rest.
    pub(crate) fn let_through(&mut self, items: Vec<Item>) -> Vec<Item> {
        if self.is_empty() {
            return items;
        }
        let mut through = Vec::with_capacity(items.len());
        for item in items {
            let before = match &item {
                // Of a call that is stored.
                Item::Poke(_, Poke::Effect { .. }) => None,
                Item::Poke(instance, _) => Some(*instance),
                message @ Item::Message(_) => ties(message).find_map(|tie| self.ties.get(&tie)?.first().copied()),
            };
            match before.and_then(|instance| self.by_instance.get_mut(&instance)) {
                Some(ahead) => ahead.behind.push(item),
                None => through.push(item),
            }
        }
        through
    }

    /// Takes out those that have answers, each with them.
    pub(crate) fn take_answered(&mut self) -> Vec<Ahead> {
        let mut taken = self.take(|ahead| ahead.flights.values().any(Flight::is_answered));
        for ahead in &mut taken {
            let answers = ahead.flights.iter().filter_map(|(slot, flight)| Some((*slot, flight.answer()?)));
            ahead.answers = answers.collect();
            ahead.answers.iter().for_each(|(slot, _)| _ = ahead.flights.remove(slot));
        }
        taken
    }

    /// Takes out those that must be written now.
    pub(crate) fn take_due(&mut self) -> Vec<Ahead> {
        let now = Instant::now();
        self.take(|ahead| ahead.until <= now)
    }

    /// Takes out all.
    pub(crate) fn take_all(&mut self) -> Vec<Ahead> {
        self.take(|_| true)
    }

    fn take(&mut self, which: impl Fn(&Ahead) -> bool) -> Vec<Ahead> {
        let taken: Vec<Ahead> =
            self.by_instance.extract_if(.., |_, ahead| which(ahead)).map(|(_, ahead)| ahead).collect();
        for ahead in &taken {
            for tie in ahead.items.iter().flat_map(|(item, _)| ties(item)) {
                if let Some(tied) = self.ties.get_mut(&tie) {
                    tied.remove(&ahead.work.id());
                    if tied.is_empty() {
                        self.ties.remove(&tie);
                    }
                }
            }
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
