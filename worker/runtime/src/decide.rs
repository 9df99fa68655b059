//! Decides a batch in memory: from what was loaded and the items to the groups that are committed. No I/O.
//!
//! Items are taken in their order. An event goes to every instance that waits for it: to the one target directly, to
//! several through the mailbox (PROTOCOL D1); where nobody waits under a key that some definition listens with, it parks
//! under that key (D3). New bookmarks are seen by the unmatched events of the same batch.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use flagstop_engine::api::{Effect, Env, Rejected, Stimulus};
use flagstop_engine::{Event, value};
use flagstop_schemas::{Hash16, InstanceId};
use flagstop_store::port::{Group, Loaded};
use flagstop_store::rows::{DefinitionNumber, MailRow, Meeting, NewMail, NewParked};

use crate::catalogue::{Catalogue, Deployed, Route};
use crate::codec::{Mail, decode_event, encode_event, raw};
use crate::counters::add;
use crate::intake::{Item, Message, Poke, Says, Shared, StartCommand};
use crate::letters::letter;
use crate::work::{Folded, Refused, Work};

/// What a batch will do.
#[derive(Default)]
pub(crate) struct Decision {
    /// To be committed together.
    pub(crate) groups: Vec<Decided>,
    /// Items that need no commit.
    pub(crate) done: Vec<usize>,
    /// Items that must wait for the outcome of another of this batch.
    pub(crate) later: Vec<usize>,
    /// Keys of duplicates: their first delivery may have died before its look.
    pub(crate) relook: Vec<Hash16>,
}

/// One group, and what follows once it is committed.
pub(crate) struct Decided {
    pub(crate) instance: Option<InstanceId>,
    pub(crate) group: Group,
    pub(crate) items: Vec<usize>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) bookmarked: Vec<Hash16>,
}

/// What the decision rests on besides the batch.
pub(crate) struct Ground<'a> {
    pub(crate) catalogue: &'a Catalogue,
    pub(crate) shared: &'a Shared,
    pub(crate) env: Env<'a>,
}

/// Whom an event concerns.
enum Target {
    Start(InstanceId, Arc<Deployed>),
    Wait(InstanceId, i64),
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
    works: BTreeMap<InstanceId, Work>,
    /// Instances that this build can't read: what is meant for them stays in their mailbox (PROTOCOL D16).
    unreadable: BTreeMap<InstanceId, DefinitionNumber>,
    waiters: HashMap<Hash16, BTreeSet<(InstanceId, i64)>>,
    seen: HashSet<Hash16>,
    taken: HashSet<Hash16>,
    decision: Decision,
}

/// Decides the batch. `routes` stands beside `items`.
pub(crate) fn decide(ground: Ground<'_>, items: &[Item], routes: &[Route], loaded: Loaded) -> Decision {
    let mut decider = Decider {
        ground,
        works: BTreeMap::new(),
        unreadable: BTreeMap::new(),
        waiters: HashMap::new(),
        seen: loaded.seen.iter().copied().collect(),
        taken: HashSet::new(),
        decision: Decision::default(),
    };
    decider.open(&loaded);
    for mail in &loaded.mail {
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
                Says::Start { key, command } => {
                    if decider.fresh(index, *key, &[]) {
                        decider.command(index, *key, command, message);
                    }
                }
                Says::Junk(letter) => {
                    add(&decider.ground.shared.counters.dead_letters, 1);
                    let group = Group { dead: vec![(**letter).clone()], ..Group::default() };
                    decider.stand_alone(index, group);
                }
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
        for row in &loaded.instances {
            let work = match self.ground.catalogue.by_number(row.definition) {
                Some(deployed) => Work::open(row, deployed.clone()).map_err(|why| why.to_string()),
                None => Err("this build has no plan for its definition".to_owned()),
            };
            match work {
                Ok(work) => {
                    self.works.insert(row.id, work);
                }
                Err(why) => {
                    tracing::error!(instance = %row.id, "left to other workers, its mail waits: {why}");
                    self.unreadable.insert(row.id, row.definition);
                }
            }
        }
        for hit in &loaded.hits {
            self.waiters.entry(hit.key).or_default().insert((hit.instance, hit.slot));
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

    /// Drains one mail row. It is consumed whatever becomes of it, unless the instance can't be read.
    fn mail(&mut self, row: &MailRow) {
        if self.unreadable.contains_key(&row.instance) {
            return;
        }
        let mail = match Mail::decode(&row.stimulus) {
            Ok(mail) => mail,
            Err(why) => {
                tracing::error!(instance = %row.instance, mail = row.id, "left for a newer worker: {why}");
                return;
            }
        };
        if let Mail::Start { .. } = mail
            && !self.works.contains_key(&row.instance)
        {
            let Some(deployed) = self.ground.catalogue.by_number(row.definition) else { return };
            self.works.insert(row.instance, Work::create(row.instance, deployed.clone()));
        }
        let Some(work) = self.works.get_mut(&row.instance) else {
            tracing::warn!(instance = %row.instance, mail = row.id, "mail to an instance that does not exist");
            return;
        };
        work.group.mail.push(row.id);
        match mail {
            Mail::Start { input, cause } => {
                let Ok(input) = value::parse_json(input.get().as_bytes(), &self.ground.shared.options.engine) else {
                    tracing::error!(instance = %row.instance, "a start in the mailbox has unreadable input");
                    return;
                };
                let _already_started = self.apply(row.instance, Stimulus::Start { input, cause });
            }
            Mail::Cancel => {
                let _already_ended = self.apply(row.instance, Stimulus::Cancel);
            }
            Mail::Proceed => {
                let _nothing_left = self.apply(row.instance, Stimulus::Proceed);
            }
            Mail::Event { event } => match self.stored_event(event.get().as_bytes()) {
                Ok(event) => self.mailed_event(row.instance, &event),
                Err(why) => tracing::error!(instance = %row.instance, "an event in the mailbox is lost to us: {why}"),
            },
        }
    }

    /// The wait may have moved to another slot, or have ended: then the event parks like any early one.
    fn mailed_event(&mut self, instance: InstanceId, event: &Arc<Event>) {
        let keys = self.ground.catalogue.route(event).keys;
        let slots: Vec<i64> = match self.works.get(&instance) {
            Some(work) => {
                let waits = work.projection().bookmarks.iter();
                waits.filter(|b| keys.contains(&b.key)).map(|b| b.slot).collect()
            }
            None => Vec::new(),
        };
        for slot in slots {
            match self.apply(instance, Stimulus::Event { slot, event: event.clone() }) {
                Ok(()) | Err(Refused::Rejected(Rejected::Heard)) => return,
                Err(_) => {}
            }
        }
        let parked =
            self.parked(flagstop_schemas::message_key(&event.envelope().source, &event.envelope().id), event, &keys);
        if let Some(work) = self.works.get_mut(&instance) {
            work.group.park.extend(parked);
        }
    }

    fn stored_event(&self, bytes: &[u8]) -> Result<Arc<Event>, String> {
        let event = decode_event(bytes, &self.ground.shared.options.codec).map_err(|e| e.to_string())?;
        Event::parse(event, &self.ground.shared.options.engine).map(Arc::new).map_err(|e| e.to_string())
    }

    fn poke(&mut self, index: usize, instance: InstanceId, poke: &Poke) {
        if !self.works.contains_key(&instance) {
            if let Poke::Timer { slot } = poke {
                self.ground.shared.refused.remember((instance, *slot, Hash16::of("timer", &[])));
            }
            self.decision.done.push(index);
            return;
        }
        let applied = match poke {
            Poke::Drain => !self.works[&instance].group.mail.is_empty(),
            Poke::Timer { slot } => {
                let applied = self.apply(instance, Stimulus::Timer { slot: *slot }).is_ok();
                if !applied {
                    self.ground.shared.refused.remember((instance, *slot, Hash16::of("timer", &[])));
                }
                applied
            }
            Poke::Effect { lease, outcome } => {
                let stimulus = Stimulus::Effect { slot: lease.slot, outcome: outcome.clone() };
                let applied = self.apply(instance, stimulus).is_ok();
                match self.works.get_mut(&instance) {
                    Some(work) if applied => work.group.fences.push(*lease),
                    _ => add(&self.ground.shared.counters.late_results, 1),
                }
                applied
            }
            Poke::Meeting(meeting) => self.meeting(instance, meeting),
        };
        match self.works.get_mut(&instance) {
            Some(work) if applied => work.items.push(index),
            _ => self.decision.done.push(index),
        }
    }

    fn meeting(&mut self, instance: InstanceId, meeting: &Meeting) -> bool {
        // Two waiters may have met the same parked event: the first that takes it has it.
        if self.taken.contains(&meeting.parked) {
            return false;
        }
        let event = match self.stored_event(&meeting.event) {
            Ok(event) => event,
            Err(why) => {
                tracing::error!(%instance, "a parked event can't be read: {why}");
                return false;
            }
        };
        // The wait may have moved to another slot since the look.
        let slot = match self.works.get(&instance) {
            Some(work) => work.projection().bookmarks.iter().find(|b| b.key == meeting.key).map(|b| b.slot),
            None => None,
        };
        let Some(slot) = slot else { return false };
        let applied = self.apply(instance, Stimulus::Event { slot, event }).is_ok();
        if let Some(work) = self.works.get_mut(&instance).filter(|_| applied) {
            work.group.claims.push(meeting.parked);
            self.taken.insert(meeting.parked);
        } else {
            self.ground.shared.refused.remember((instance, slot, meeting.parked));
        }
        applied
    }

    /// Delivers an event, or says that nobody waits for it and it starts nothing.
    fn event(&mut self, arrival: &Arrival<'_>) -> bool {
        let &Arrival { index, key, event, route, message } = arrival;
        loop {
            let (targets, missing) = self.targets(event, route);
            let direct = match targets.as_slice() {
                [] => return false,
                [Target::Start(..)] => true,
                [Target::Wait(instance, _)] => !self.unreadable.contains_key(instance),
                _ => false,
            };
            if !direct {
                self.post(index, key, event, &targets, &missing);
                return true;
            }
            let (instance, stimulus) = match &targets[0] {
                Target::Start(id, deployed) => {
                    self.works.insert(*id, Work::create(*id, deployed.clone()));
                    (*id, start_by_event(deployed, event))
                }
                Target::Wait(id, slot) => (*id, Stimulus::Event { slot: *slot, event: event.clone() }),
            };
            match self.apply(instance, stimulus) {
                Ok(()) => {
                    let parked = self.also_parked(key, event, &missing);
                    if let Some(work) = self.works.get_mut(&instance) {
                        work.group.inbox.push(key);
                        work.group.park.extend(parked);
                        work.items.push(index);
                    }
                    return true;
                }
                // The hash only finds candidates: this one is none. Look for others.
                Err(Refused::Rejected(Rejected::NotWaiting | Rejected::Ended)) => {
                    let Target::Wait(id, slot) = targets[0] else { return false };
                    self.waiters.values_mut().for_each(|waits| {
                        waits.remove(&(id, slot));
                    });
                }
                Err(Refused::Rejected(Rejected::Heard)) => {
                    self.stand_alone(index, Group { inbox: vec![key], ..Group::default() });
                    return true;
                }
                Err(Refused::Rejected(Rejected::Illegal(why))) => {
                    tracing::error!(%instance, "an event was refused: {why}");
                    return false;
                }
                Err(Refused::Panicked(why)) => {
                    self.poison(index, key, instance, message, &why);
                    return true;
                }
            }
        }
    }

    /// Each instance hears an event once, so each is a target once; and the keys under which nobody waits.
    fn targets(&self, event: &Event, route: &Route) -> (Vec<Target>, Vec<Hash16>) {
        let envelope = event.envelope();
        let mut targets = Vec::new();
        for deployed in &route.starts {
            let it = deployed.plan.reference();
            let id = InstanceId::of_trigger(&envelope.source, &envelope.id, &it.namespace, &it.name);
            // One that is there was started by this same message, earlier (PROTOCOL D12).
            if !self.works.contains_key(&id) && !self.unreadable.contains_key(&id) {
                targets.push(Target::Start(id, deployed.clone()));
            }
        }
        let mut waiting = BTreeMap::new();
        let mut missing = Vec::new();
        for key in &route.keys {
            match self.waiters.get(key).filter(|waits| !waits.is_empty()) {
                Some(waits) => waits.iter().for_each(|(id, slot)| {
                    waiting.entry(*id).or_insert(*slot);
                }),
                None => missing.push(*key),
            }
        }
        targets.extend(waiting.into_iter().map(|(id, slot)| Target::Wait(id, slot)));
        (targets, missing)
    }

    /// Several targets: the message is recorded once, and each target gets its copy in the mailbox.
    fn post(&mut self, index: usize, key: Hash16, event: &Arc<Event>, targets: &[Target], missing: &[Hash16]) {
        let post = targets.iter().map(|target| match target {
            Target::Start(instance, deployed) => {
                let envelope = event.envelope();
                let mail = Mail::Start {
                    input: raw(value::to_json(&deployed.plan.trigger_input(event))),
                    cause: Some((envelope.id.clone(), envelope.source.clone())),
                };
                NewMail { instance: *instance, definition: deployed.number, stimulus: mail.encode() }
            }
            Target::Wait(instance, _) => {
                let definition = self.works.get(instance).map(Work::definition);
                let definition = definition.or_else(|| self.unreadable.get(instance).copied()).unwrap_or_default();
                NewMail { instance: *instance, definition, stimulus: Mail::event(event.envelope()).encode() }
            }
        });
        let post: Vec<NewMail> = post.collect();
        let park = self.also_parked(key, event, missing);
        self.stand_alone(index, Group { inbox: vec![key], post, park, ..Group::default() });
    }

    fn park(&mut self, arrival: &Arrival<'_>) {
        let &Arrival { index, key, event, route, .. } = arrival;
        if route.keys.is_empty() {
            // Final: the catalogue is as new as the snapshot that was loaded (PROTOCOL D5).
            add(&self.ground.shared.counters.unheard, 1);
            self.decision.done.push(index);
            return;
        }
        add(&self.ground.shared.counters.parked, 1);
        let park = self.parked(key, event, &route.keys);
        self.stand_alone(index, Group { inbox: vec![key], park, ..Group::default() });
    }

    fn parked(&self, message: Hash16, event: &Event, keys: &[Hash16]) -> Vec<NewParked> {
        if keys.is_empty() {
            return Vec::new();
        }
        let bytes = encode_event(event.envelope());
        let expires_us = self.ground.env.now_us + i64::from(self.ground.shared.options.parked_hours) * 3_600_000_000;
        let row = |key: &Hash16| NewParked {
            id: Hash16::of("flagstop/parked", &[message.0.as_bytes(), key.0.as_bytes()]),
            key: *key,
            message,
            matched: false,
            event_type: event.envelope().ty.replace('\0', "\u{fffd}"),
            expires_us,
            event: bytes.clone(),
        };
        keys.iter().map(row).collect()
    }

    /// Of a message that has a target: where nobody waited under its other keys nothing is lost when they expire.
    fn also_parked(&self, message: Hash16, event: &Event, missing: &[Hash16]) -> Vec<NewParked> {
        let rows = self.parked(message, event, missing).into_iter();
        rows.map(|row| NewParked { matched: true, ..row }).collect()
    }

    fn command(&mut self, index: usize, key: Hash16, command: &StartCommand, message: &Message) {
        let named = self.ground.catalogue.named(&command.namespace, &command.name, command.version.as_deref());
        let Some(deployed) = named.cloned() else {
            let wanted =
                format!("{}/{} {}", command.namespace, command.name, command.version.as_deref().unwrap_or("(newest)"));
            let mut known: Vec<String> = self.ground.catalogue.names().collect();
            known.sort_unstable();
            known.truncate(10);
            let reason = format!(
                "no definition {wanted} is deployed; deploy it with `flagstop deploy`, then send the command again (deployed: {})",
                if known.is_empty() { "none".to_owned() } else { known.join(", ") }
            );
            return self.set_aside(index, key, message, "FS-DEFINITION-UNKNOWN", reason);
        };
        let text = command.input.as_ref().map_or("null", |input| input.get());
        let input = match value::parse_json(text.as_bytes(), &self.ground.shared.options.engine) {
            Ok(input) => input,
            Err(why) => return self.set_aside(index, key, message, "FS-COMMAND-INVALID", why.to_string()),
        };
        let (id, source) = &command.cause;
        let instance = InstanceId::of_trigger(source, id, &command.namespace, &command.name);
        if self.works.contains_key(&instance) || self.unreadable.contains_key(&instance) {
            self.decision.done.push(index);
            return;
        }
        self.works.insert(instance, Work::create(instance, deployed));
        match self.apply(instance, Stimulus::Start { input, cause: Some(command.cause.clone()) }) {
            Ok(()) => {
                if let Some(work) = self.works.get_mut(&instance) {
                    work.group.inbox.push(key);
                    work.items.push(index);
                }
            }
            Err(Refused::Panicked(why)) => self.poison(index, key, instance, message, &why),
            Err(Refused::Rejected(why)) => {
                self.works.remove(&instance);
                self.set_aside(index, key, message, "FS-COMMAND-INVALID", why.to_string());
            }
        }
    }

    fn set_aside(&mut self, index: usize, key: Hash16, message: &Message, code: &str, reason: String) {
        add(&self.ground.shared.counters.dead_letters, 1);
        let dead = vec![letter(&message.delivery, code, &reason)];
        self.stand_alone(index, Group { inbox: vec![key], dead, ..Group::default() });
    }

    /// A message on which the engine panics is a defect of ours; the instance is as it was, the others go on.
    fn poison(&mut self, index: usize, key: Hash16, instance: InstanceId, message: &Message, why: &str) {
        if self.works.get(&instance).is_some_and(Work::is_new) {
            self.works.remove(&instance);
        }
        let reason = format!("the engine failed on this message for instance {instance} (a defect of Flagstop): {why}");
        self.set_aside(index, key, message, "FS-ENGINE-PANIC", reason);
    }

    fn stand_alone(&mut self, index: usize, group: Group) {
        self.decision.groups.push(Decided {
            instance: None,
            group,
            items: vec![index],
            effects: Vec::new(),
            bookmarked: Vec::new(),
        });
    }

    /// Applies to an instance that is open, and keeps the waiters in step.
    fn apply(&mut self, instance: InstanceId, stimulus: Stimulus) -> Result<(), Refused> {
        let Some(work) = self.works.get_mut(&instance) else {
            return Err(Refused::Rejected(Rejected::NotWaiting));
        };
        let before = work.projection().bookmarks.clone();
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
        for bookmark in &work.projection().bookmarks {
            self.waiters.entry(bookmark.key).or_default().insert((instance, bookmark.slot));
        }
        Ok(())
    }

    fn finish(mut self) -> Decision {
        for (instance, work) in self.works {
            if work.is_idle() {
                continue;
            }
            let Folded { group, items, effects, bookmarked } = work.fold();
            let instance = Some(instance);
            self.decision.groups.push(Decided { instance, group, items, effects, bookmarked });
        }
        self.decision
    }
}

fn start_by_event(deployed: &Deployed, event: &Event) -> Stimulus {
    let envelope = event.envelope();
    Stimulus::Start {
        input: deployed.plan.trigger_input(event),
        cause: Some((envelope.id.clone(), envelope.source.clone())),
    }
}
