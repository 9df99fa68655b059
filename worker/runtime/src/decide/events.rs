//! Events and commands from the bus: to whom they go, and where they wait when nobody is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use flagstop_engine::api::{Phase, Rejected, Stimulus};
use flagstop_engine::{Event, value};
use flagstop_schemas::{Hash16, InstanceId};
use flagstop_store::port::Group;
use flagstop_store::rows::{DeadLetter, NewMail, NewParked};

use super::schedules::Collected;
use super::{Arrival, Decider};
use crate::answers;
use crate::catalogue::{Deployed, Route};
use crate::codec::{Mail, encode_event, raw};
use crate::counters::add;
use crate::intake::{Message, Says};
use crate::letters::letter;
use crate::options::Unheard;
use crate::work::{Refused, Work};

/// Whom an event concerns.
enum Target {
    Start(InstanceId, Arc<Deployed>),
    Wait(InstanceId, i64),
}

/// All whom an event concerns.
#[derive(Default)]
struct Targets {
    now: Vec<Target>,
    /// They wait for it, and are suspended.
    later: Vec<InstanceId>,
    /// Keys under which nobody waits.
    missing: Vec<Hash16>,
    /// Definitions that it would start, were it not for others that live under the same activation key, and why.
    refused: Vec<(Arc<Deployed>, String)>,
}

impl Decider<'_> {
    /// Delivers an event, or says that nobody waits for it and it starts nothing.
    pub(super) fn event(&mut self, arrival: &Arrival<'_>) -> bool {
        let &Arrival { index, key, event, route, message } = arrival;
        match self.collecting.feed(event, &route.feeds) {
            Collected::No => {}
            Collected::Heard => {
                let targets = self.targets(event, route);
                self.post(arrival, &targets, Group::default());
                return true;
            }
            Collected::Yes { starts, refused } => {
                let targets = self.targets(event, route);
                let dead = refused.map(|(code, why)| letter(&message.delivery, code, &why));
                let group = Group { post: starts, dead: dead.into_iter().collect(), ..Group::default() };
                let group = self.posted(arrival, &targets, group);
                self.collecting.add(index, group);
                self.kept_for.extend(targets.later);
                return true;
            }
        }
        loop {
            let targets = self.targets(event, route);
            let direct = match targets.now.as_slice() {
                [] if targets.later.is_empty() && targets.refused.is_empty() => return false,
                [Target::Start(..)] => true,
                [Target::Wait(instance, _)] => !self.unreadable.contains_key(instance),
                _ => false,
            };
            if !direct {
                self.post(arrival, &targets, Group::default());
                return true;
            }
            let (instance, stimulus) = match &targets.now[0] {
                Target::Start(id, deployed) => {
                    self.works.insert(*id, Work::create(*id, deployed.clone()));
                    (*id, start_by_event(deployed, event))
                }
                Target::Wait(id, slot) => (*id, Stimulus::Event { slot: *slot, event: event.clone() }),
            };
            match self.apply(instance, stimulus) {
                Ok(()) => {
                    let parked = self.also_parked(key, event, &targets);
                    let refused = self.refusals(&targets, message);
                    if let Some(work) = self.works.get_mut(&instance) {
                        work.group.inbox.push(key);
                        work.group.park.extend(parked);
                        work.group.dead.extend(refused);
                        work.kept.extend(targets.later);
                        work.items.push(index);
                    }
                    return true;
                }
                // The hash only finds candidates: this one is none. Look for others.
                Err(Refused::Rejected(Rejected::NotWaiting | Rejected::Ended)) => {
                    let Target::Wait(id, slot) = targets.now[0] else { return false };
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

    /// Each instance hears an event once, so each is a target once.
    fn targets(&self, event: &Event, route: &Route) -> Targets {
        let envelope = event.envelope();
        let mut targets = Targets::default();
        for deployed in &route.starts {
            let it = deployed.plan.reference();
            let id = InstanceId::of_trigger(&envelope.source, &envelope.id, &it.namespace, &it.name);
            // One that is there was started by this same message, earlier (PROTOCOL D12).
            if self.works.contains_key(&id) || self.unreadable.contains_key(&id) {
                continue;
            }
            match self.not_beside(id) {
                Some(why) => targets.refused.push((deployed.clone(), why)),
                None => targets.now.push(Target::Start(id, deployed.clone())),
            }
        }
        let mut waiting = BTreeMap::new();
        for key in &route.keys {
            match self.waiters.get(key).filter(|waits| !waits.is_empty()) {
                Some(waits) => waits.iter().for_each(|(id, slot)| {
                    waiting.entry(*id).or_insert(*slot);
                }),
                None => targets.missing.push(*key),
            }
        }
        for (id, slot) in waiting {
            match self.works.get(&id).is_some_and(|work| work.phase() == Phase::Suspended) {
                true => targets.later.push(id),
                false => targets.now.push(Target::Wait(id, slot)),
            }
        }
        targets
    }

    /// One letter, however many definitions it would have started.
    fn refusals(&self, targets: &Targets, message: &Message) -> Option<DeadLetter> {
        targets.refused.iter().find_map(|(deployed, why)| self.duplicate_letter(deployed, why, message))
    }

    /// Several targets: the message is recorded once, and each target gets its copy in the mailbox.
    fn post(&mut self, arrival: &Arrival<'_>, targets: &Targets, group: Group) {
        let group = self.posted(arrival, targets, group);
        self.keep(arrival.index, group, targets.later.clone());
    }

    fn posted(&self, arrival: &Arrival<'_>, targets: &Targets, mut group: Group) -> Group {
        let &Arrival { key, event, message, .. } = arrival;
        group.dead.extend(self.refusals(targets, message));
        let post = targets.now.iter().map(|target| match target {
            Target::Start(instance, deployed) => {
                let envelope = event.envelope();
                let mail = Mail::Start {
                    input: raw(value::to_json(&deployed.plan.trigger_input(event))),
                    cause: Some((envelope.id.clone(), envelope.source.clone())),
                    depth: 0,
                    heard: Vec::new(),
                };
                NewMail { instance: *instance, definition: deployed.number, stimulus: mail.encode() }
            }
            Target::Wait(instance, _) => {
                let definition = self.works.get(instance).map(Work::definition);
                let definition = definition.or_else(|| self.unreadable.get(instance).copied()).unwrap_or_default();
                NewMail { instance: *instance, definition, stimulus: Mail::event(event.envelope()).encode() }
            }
        });
        group.post.extend(post);
        group.park = self.also_parked(key, event, targets);
        // Who keeps it for later may be all there are.
        let heard = !group.post.is_empty() || !targets.refused.is_empty();
        group.park.iter_mut().for_each(|row| row.matched = heard || !targets.later.contains(&InstanceId(row.key.0)));
        group.inbox.push(key);
        group
    }

    pub(super) fn park(&mut self, arrival: &Arrival<'_>) {
        let &Arrival { index, key, event, route, message } = arrival;
        if route.keys.is_empty() {
            // Final: the catalogue is as new as the snapshot that was loaded (PROTOCOL D5).
            add(&self.ground.shared.counters.unheard, 1);
            if self.ground.shared.options.unheard == Unheard::Acknowledge {
                self.decision.done.push(index);
                return;
            }
            let ty = &event.envelope().ty;
            let why = format!(
                "no deployed definition listens for this event of type `{ty}`, or it lacks what they correlate by; deploy the one that it is for, then redrive it (worker.unheard says what becomes of such events)"
            );
            return self.set_aside(index, key, message, "FS-EVENT-UNHEARD", why);
        }
        add(&self.ground.shared.counters.parked, 1);
        let park = self.parked(key, event, &route.keys);
        self.stand_alone(index, Group { inbox: vec![key], park, ..Group::default() });
    }

    pub(super) fn parked(&self, message: Hash16, event: &Event, keys: &[Hash16]) -> Vec<NewParked> {
        if keys.is_empty() {
            return Vec::new();
        }
        let bytes = encode_event(event.envelope());
        let expires_us = self.expiry_us();
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

    pub(super) fn expiry_us(&self) -> i64 {
        self.ground.env.now_us + i64::from(self.ground.shared.options.parked_hours) * 3_600_000_000
    }

    /// Of a message that has a target: where nobody waited under its other keys, and for suspended instances whose waits
    /// it fits, nothing is lost when they expire.
    fn also_parked(&self, message: Hash16, event: &Event, targets: &Targets) -> Vec<NewParked> {
        let later = targets.later.iter().map(|id| self.kept(message, *id, event.envelope()));
        let rows = self.parked(message, event, &targets.missing).into_iter().chain(later);
        rows.map(|row| NewParked { matched: true, ..row }).collect()
    }

    pub(super) fn set_aside(&mut self, index: usize, key: Hash16, message: &Message, code: &str, reason: String) {
        add(&self.ground.shared.counters.dead_letters, 1);
        let dead = vec![letter(&message.delivery, code, &reason)];
        let notes = match &message.says {
            Says::Command { asked, .. } => {
                vec![answers::rejected(asked, None, code, &reason, self.ground.env.now_us)]
            }
            _ => Vec::new(),
        };
        self.stand_alone(index, Group { inbox: vec![key], dead, notes, ..Group::default() });
    }

    /// A message on which the engine panics is a defect of ours; the instance is as it was, the others go on.
    pub(super) fn poison(&mut self, index: usize, key: Hash16, instance: InstanceId, message: &Message, why: &str) {
        if self.works.get(&instance).is_some_and(Work::is_new) {
            self.works.remove(&instance);
        }
        let reason = format!("the engine failed on this message for instance {instance} (a defect of Flagstop): {why}");
        self.set_aside(index, key, message, "FS-ENGINE-PANIC", reason);
    }
}

/// The input is what `schedule.on` gives: the array of its events.
fn start_by_event(deployed: &Deployed, event: &Event) -> Stimulus {
    let envelope = event.envelope();
    Stimulus::Start {
        input: deployed.plan.trigger_input(event),
        cause: Some((envelope.id.clone(), envelope.source.clone())),
        depth: 0,
        heard: Vec::new(),
    }
}
