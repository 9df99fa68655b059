//! Events and commands from the bus: to whom they go, and where they wait when nobody is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use flagstop_engine::api::{Rejected, Stimulus};
use flagstop_engine::{Event, value};
use flagstop_schemas::{Hash16, InstanceId};
use flagstop_store::port::Group;
use flagstop_store::rows::{NewMail, NewParked};

use super::{Arrival, Decider};
use crate::catalogue::{Deployed, Route};
use crate::codec::{Mail, encode_event, raw};
use crate::counters::add;
use crate::intake::{Message, StartCommand};
use crate::letters::letter;
use crate::work::{Refused, Work};

/// Whom an event concerns.
enum Target {
    Start(InstanceId, Arc<Deployed>),
    Wait(InstanceId, i64),
}

impl Decider<'_> {
    /// Delivers an event, or says that nobody waits for it and it starts nothing.
    pub(super) fn event(&mut self, arrival: &Arrival<'_>) -> bool {
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

    pub(super) fn park(&mut self, arrival: &Arrival<'_>) {
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

    pub(super) fn parked(&self, message: Hash16, event: &Event, keys: &[Hash16]) -> Vec<NewParked> {
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

    pub(super) fn command(&mut self, index: usize, key: Hash16, command: &StartCommand, message: &Message) {
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
        match self.apply(instance, Stimulus::Start { input, cause: Some(command.cause.clone()), depth: 0 }) {
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

    /// Of a message that has a target: where nobody waited under its other keys nothing is lost when they expire.
    fn also_parked(&self, message: Hash16, event: &Event, missing: &[Hash16]) -> Vec<NewParked> {
        let rows = self.parked(message, event, missing).into_iter();
        rows.map(|row| NewParked { matched: true, ..row }).collect()
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
}

/// The input is what `schedule.on` gives: the array of its events.
fn start_by_event(deployed: &Deployed, event: &Event) -> Stimulus {
    let envelope = event.envelope();
    Stimulus::Start {
        input: deployed.plan.trigger_input(event),
        cause: Some((envelope.id.clone(), envelope.source.clone())),
        depth: 0,
    }
}
