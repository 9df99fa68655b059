//! Decides a batch in memory: from what was loaded and the items to the groups that are committed. No I/O.
//!
//! Items are taken in their order. An event goes to every instance that waits for it: to the one target directly, to
//! several through the mailbox (PROTOCOL D1); where nobody waits under a key that some definition listens with, it parks
//! under that key (D3). New bookmarks are seen by the unmatched events of the same batch.

mod activation;
mod aside;
mod children;
mod commands;
mod events;
mod mail;
mod pokes;
mod schedules;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use flagstop_engine::Event;
use flagstop_engine::api::{Effect, EffectOutcome, Env, Rejected, Stimulus};
use flagstop_schemas::{Hash16, InstanceId};
use flagstop_store::port::{Group, Loaded};
use flagstop_store::rows::DefinitionNumber;

use crate::answers;
use crate::catalogue::{Catalogue, Route};
use crate::counters::add;
use crate::intake::{Item, Junk, Message, Says, Shared};
use crate::lane::Returned;
use crate::work::{Refused, Work};
pub(crate) use commands::STORED_EVENT;
use schedules::Collecting;

/// What a batch will do.
#[derive(Default)]
pub(crate) struct Decision {
    /// To be committed together.
    pub(crate) groups: Vec<Decided>,
    /// Instances that may go on before they are written.
    pub(crate) ahead: Vec<Work>,
    /// Items that need no commit.
    pub(crate) done: Vec<usize>,
    /// Items that must wait for the outcome of another of this batch.
    pub(crate) later: Vec<usize>,
    /// Keys of duplicates: their first delivery may have died before its look.
    pub(crate) relook: Vec<Hash16>,
}

/// One group, and what follows once it is committed.
#[derive(Default)]
pub(crate) struct Decided {
    pub(crate) instance: Option<InstanceId>,
    pub(crate) group: Group,
    pub(crate) items: Vec<usize>,
    pub(crate) effects: Vec<Effect>,
    /// Slots of effects that are no longer wanted.
    pub(crate) dropped: Vec<i64>,
    /// Keys of new bookmarks: look for parked events.
    pub(crate) bookmarked: Vec<Hash16>,
    /// Business keys that are new: a command may wait for them.
    pub(crate) named: Vec<Hash16>,
    /// Instances for which something is kept, or which can take it again: look whether both is there.
    pub(crate) kept: Vec<InstanceId>,
    /// A new instance: something may be kept for it.
    pub(crate) born: bool,
}

impl Decided {
    /// A group that no item waits for.
    fn alone(group: Group) -> Self {
        Self { group, ..Self::default() }
    }
}

/// What the decision rests on besides the batch.
pub(crate) struct Ground<'a> {
    pub(crate) catalogue: &'a Catalogue,
    pub(crate) shared: &'a Shared,
    /// Instances that may not live, because these others live under the same activation key.
    pub(crate) active: &'a HashMap<InstanceId, InstanceId>,
    pub(crate) env: Env<'a>,
}

/// An event that has come in.
struct Arrival<'a> {
    index: usize,
    key: Hash16,
    event: &'a Arc<Event>,
    route: &'a Route,
    message: &'a Message,
}

struct Decider<'a> {
    ground: Ground<'a>,
    /// Instances that have run ahead: what is stored of them is behind.
    in_hand: BTreeSet<InstanceId>,
    works: BTreeMap<InstanceId, Work>,
    /// Instances that this build can't read (PROTOCOL D16), or that are set aside (D8): what is meant for them stays in
    /// their mailbox.
    unreadable: BTreeMap<InstanceId, DefinitionNumber>,
    /// Those of them that are set aside, and that this build can read.
    aside: BTreeMap<InstanceId, Work>,
    /// Groups that release some of these.
    releases: BTreeMap<InstanceId, Decided>,
    /// Those whom a letter cancels: who has not begun by then never does.
    cancelled: BTreeSet<InstanceId>,
    waiters: HashMap<Hash16, BTreeSet<(InstanceId, i64)>>,
    seen: HashSet<Hash16>,
    taken: HashSet<Hash16>,
    collecting: Collecting,
    /// Suspended instances for which an event that open sets took is kept.
    kept_for: Vec<InstanceId>,
    decision: Decision,
}

/// Decides the batch. `routes` stands beside `items`. `ahead` are instances that go on from where they are, not from what is
/// stored.
pub(crate) fn decide(
    ground: Ground<'_>,
    items: &[Item],
    routes: &[Route],
    loaded: Loaded,
    ahead: Vec<Returned>,
) -> Decision {
    let mut decider = Decider {
        ground,
        in_hand: ahead.iter().map(|(work, _)| work.id()).collect(),
        works: BTreeMap::new(),
        unreadable: BTreeMap::new(),
        aside: BTreeMap::new(),
        releases: BTreeMap::new(),
        cancelled: mail::cancelled(&loaded.mail),
        waiters: HashMap::new(),
        seen: loaded.seen.iter().copied().collect(),
        taken: HashSet::new(),
        collecting: Collecting::of(&loaded.schedules),
        kept_for: Vec::new(),
        decision: Decision::default(),
    };
    decider.open(&loaded);
    for (work, answers) in ahead {
        decider.returned(work, answers);
    }
    // New mail for one that is ahead waits until that is written.
    for mail in loaded.mail.iter().filter(|mail| !decider.in_hand.contains(&mail.instance)).collect::<Vec<_>>() {
        decider.mail(mail);
    }
    let mut unmatched = Vec::new();
    // Unmatched events are looked at again at the end, when all new bookmarks of the batch are there.
    for (index, (item, route)) in items.iter().zip(routes).enumerate() {
        match item {
            Item::Poke(instance, poke) => decider.poke(index, *instance, poke),
            Item::Message(message) => match &message.says {
                Says::Event { key, event } => {
                    let arrival = Arrival { index, key: *key, event, route, message };
                    if decider.fresh(index, *key, &route.keys) && !decider.event(&arrival) {
                        unmatched.push(arrival);
                    }
                }
                Says::Command { key, asked, command } => {
                    if decider.fresh(index, *key, &[]) {
                        decider.command(index, *key, asked, command, message);
                    }
                }
                Says::Junk(junk) => decider.junk(index, junk),
                Says::Status => {
                    add(&decider.ground.shared.counters.unheard, 1);
                    decider.decision.done.push(index);
                }
            },
        }
    }
    for arrival in unmatched {
        if !decider.event(&arrival) {
            decider.park(&arrival);
        }
    }
    decider.finish()
}

impl Decider<'_> {
    fn open(&mut self, loaded: &Loaded) {
        for row in loaded.instances.iter().filter(|row| !self.in_hand.contains(&row.id)) {
            let work = match self.ground.catalogue.by_number(row.definition) {
                Some(deployed) => Work::open(row, deployed.clone()).map_err(|why| why.to_string()),
                None => Err("this build has no plan for its definition".to_owned()),
            };
            match (work, &row.aside) {
                (Ok(work), None) => {
                    self.works.insert(row.id, work);
                }
                (Ok(work), Some(why)) => {
                    tracing::debug!(instance = %row.id, "set aside, what is meant for it waits: {why}");
                    self.unreadable.insert(row.id, row.definition);
                    self.aside.insert(row.id, work);
                }
                (Err(why), _) => {
                    tracing::error!(instance = %row.id, "left to other workers, its mail waits: {why}");
                    self.unreadable.insert(row.id, row.definition);
                }
            }
        }
        for hit in loaded.hits.iter().filter(|hit| !self.in_hand.contains(&hit.instance)) {
            self.waiters.entry(hit.key).or_default().insert((hit.instance, hit.slot));
        }
    }

    /// One that has run ahead, and the answers that it got there.
    fn returned(&mut self, work: Work, answers: Vec<(i64, EffectOutcome)>) {
        let id = work.id();
        self.works.insert(id, work);
        for (slot, outcome) in answers {
            // One that is refused belongs to a branch that another one has overtaken; nothing was stored of it.
            self.poked(id, Stimulus::Effect { slot, outcome }, "the result of a side effect");
        }
    }

    /// Is this the message's first time? A duplicate is done; a copy within the batch waits for the first one's outcome.
    fn fresh(&mut self, index: usize, key: Hash16, keys: &[Hash16]) -> bool {
        if self.seen.contains(&key) {
            add(&self.ground.shared.counters.duplicates, 1);
            self.decision.relook.extend(keys);
            self.decision.done.push(index);
            return false;
        }
        if !self.taken.insert(key) {
            self.decision.later.push(index);
            return false;
        }
        true
    }

    /// Nobody can use it: it is reported, and who sent it as a command is told.
    fn junk(&mut self, index: usize, junk: &Junk) {
        let Junk { letter, command, .. } = junk;
        if command.as_ref().is_some_and(|(key, _)| !self.fresh(index, *key, &[])) {
            return;
        }
        add(&self.ground.shared.counters.dead_letters, 1);
        let mut group = Group { dead: vec![letter.clone()], ..Group::default() };
        if let Some((key, asked)) = command {
            group.inbox.push(*key);
            let now_us = self.ground.env.now_us;
            group.notes.push(answers::rejected(asked, None, &letter.code, &letter.reason, now_us));
        }
        self.stand_alone(index, group);
    }

    fn stand_alone(&mut self, index: usize, group: Group) {
        self.keep(index, group, Vec::new());
    }

    /// A group of no instance, with what it keeps for some.
    fn keep(&mut self, index: usize, group: Group, kept: Vec<InstanceId>) {
        self.decision.groups.push(Decided { items: vec![index], kept, ..Decided::alone(group) });
    }

    /// Applies to an instance that is open, and keeps the waiters in step.
    fn apply(&mut self, instance: InstanceId, stimulus: Stimulus) -> Result<(), Refused> {
        let Some(work) = self.works.get_mut(&instance) else {
            return Err(Refused::Rejected(Rejected::NotWaiting));
        };
        let before = work.waits().to_vec();
        if let Err(why) = work.apply(stimulus, &self.ground.env) {
            if let Refused::Panicked(why) = &why {
                tracing::error!(%instance, "the engine panicked, a defect of Flagstop; the instance stays as it was: {why}");
            }
            return Err(why);
        }
        for gone in before {
            if let Some(waits) = self.waiters.get_mut(&gone.key) {
                waits.remove(&(instance, gone.slot));
            }
        }
        for bookmark in work.waits() {
            self.waiters.entry(bookmark.key).or_default().insert((instance, bookmark.slot));
        }
        let new = std::mem::take(&mut work.children);
        for child in new {
            self.begin_child(instance, child);
        }
        Ok(())
    }

    fn finish(mut self) -> Decision {
        if let Some((group, items)) = self.collecting.finish() {
            let kept = std::mem::take(&mut self.kept_for);
            self.decision.groups.push(Decided { items, kept, ..Decided::alone(group) });
        }
        self.decision.groups.extend(self.releases.into_values());
        let limits = &self.ground.shared.options.engine;
        for work in self.works.into_values().filter(|work| !work.is_idle()) {
            match work.may_run_ahead(limits) {
                true => self.decision.ahead.push(work),
                false => self.decision.groups.push(work.fold(limits)),
            }
        }
        self.decision
    }
}
