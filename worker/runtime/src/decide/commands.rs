//! Commands from the bus: to start a workflow, and to one instance. One that can't be carried out is a dead letter that says
//! why; one for an instance that is not there yet, or can't be read here, is kept under its id.

use std::sync::Arc;

use flagstop_bus::CodecLimits;
use flagstop_engine::Event;
use flagstop_engine::api::{Phase, Rejected, Stimulus};
use flagstop_engine::value;
use flagstop_schemas::{Asked, CloudEvent, Hash16, InstanceId, message_key};
use flagstop_store::port::Group;
use flagstop_store::rows::{Meeting, NewParked};

use super::Decider;
use crate::answers;
use crate::codec::encode_event;
use crate::commands::{self, Command, Order, StartCommand, Verb};
use crate::intake::Message;
use crate::letters::{inner_letter, letter};
use crate::work::{Refused, Work};

/// The media type of an event in its stored form.
pub(crate) const STORED_EVENT: &str = "application/cloudevents+json";

/// What became of an order.
enum Answer {
    Done,
    /// The instance is not there, or can't take it now.
    Later,
    /// Code and reason.
    Refused(String),
    Panicked(String),
}

impl Decider<'_> {
    pub(super) fn command(&mut self, index: usize, key: Hash16, asked: &Asked, command: &Command, message: &Message) {
        match command {
            Command::Start(start) => self.start_command(index, key, asked, start, message),
            Command::Order(order) => self.order(index, key, asked, order, message),
        }
    }

    fn start_command(&mut self, index: usize, key: Hash16, asked: &Asked, command: &StartCommand, message: &Message) {
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
                    work.tell(answers::accepted(asked, instance, self.ground.env.now_us));
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

    fn order(&mut self, index: usize, key: Hash16, asked: &Asked, order: &Order, message: &Message) {
        let instance = order.instance;
        let answer = self.carry_out(instance, &order.verb);
        let refused = match answer {
            Answer::Done => None,
            Answer::Later => {
                let park = vec![self.kept(key, instance, &order.envelope)];
                return self.keep(index, Group { inbox: vec![key], park, ..Group::default() }, vec![instance]);
            }
            Answer::Refused(why) => Some(why),
            Answer::Panicked(why) => return self.poison(index, key, instance, message, &why),
        };
        // Refused or not, it goes with what else happens to the instance: the verdict rests on that.
        if let Some(work) = self.works.get_mut(&instance) {
            let now_us = self.ground.env.now_us;
            work.group.inbox.push(key);
            match refused {
                None => work.tell(answers::accepted(asked, instance, now_us)),
                Some(why) => {
                    work.group.dead.push(letter(&message.delivery, code(&why), &why));
                    work.group.notes.push(answers::rejected(asked, Some(instance), code(&why), &why, now_us));
                }
            }
            work.items.push(index);
        }
    }

    fn carry_out(&mut self, instance: InstanceId, verb: &Verb) -> Answer {
        let Some(work) = self.works.get(&instance) else { return Answer::Later };
        let applied = match verb {
            Verb::Resume(_) if work.phase() == Phase::Suspended => return Answer::Later,
            Verb::Resume(event) => self.resume(instance, event),
            verb => match verb.stimulus() {
                Some(stimulus) => self.apply(instance, stimulus),
                None => return Answer::Later,
            },
        };
        match applied {
            Ok(()) => Answer::Done,
            Err(Refused::Rejected(why)) => Answer::Refused(why.to_string()),
            Err(Refused::Panicked(why)) => Answer::Panicked(why),
        }
    }

    /// Gives an event to the first wait of this one instance that takes it.
    pub(super) fn resume(&mut self, instance: InstanceId, event: &Arc<Event>) -> Result<(), Refused> {
        let keys = self.ground.catalogue.route(event).keys;
        let waits = self.works.get(&instance).map(|work| work.projection().bookmarks.clone()).unwrap_or_default();
        for wait in waits.iter().filter(|wait| keys.contains(&wait.key)) {
            match self.apply(instance, Stimulus::Event { slot: wait.slot, event: event.clone() }) {
                Err(Refused::Rejected(Rejected::NotWaiting)) => {}
                answer => return answer,
            }
        }
        Err(Refused::Rejected(Rejected::NotWaiting))
    }

    /// What is for one instance alone, until it is there or can take it.
    pub(super) fn kept(&self, message: Hash16, instance: InstanceId, event: &CloudEvent) -> NewParked {
        NewParked {
            id: Hash16::of("flagstop/kept", &[message.0.as_bytes(), instance.0.as_bytes()]),
            key: Hash16(instance.0),
            message,
            matched: false,
            event_type: event.ty.replace('\0', "\u{fffd}"),
            expires_us: self.expiry_us(),
            event: encode_event(event),
        }
    }

    /// Something that was kept for this instance: a command, or an event that came while it was suspended.
    pub(super) fn kept_meeting(&mut self, instance: InstanceId, meeting: &Meeting, envelope: CloudEvent) -> bool {
        let options = &self.ground.shared.options;
        if !commands::is_command(&envelope.ty) {
            return self.kept_event(instance, meeting, envelope);
        }
        let codec: &CodecLimits = &options.codec;
        let asked = Asked::of(&envelope);
        let answer = match commands::read(envelope, codec, &options.engine) {
            Ok(Command::Order(order)) => self.carry_out(instance, &order.verb),
            Ok(Command::Start(_)) => Answer::Refused("FS-COMMAND-INVALID: a start is for no instance".to_owned()),
            Err((code, why)) => Answer::Refused(format!("{code}: {why}")),
        };
        let refused = match answer {
            Answer::Done => None,
            Answer::Later => return false,
            Answer::Refused(why) => Some(why),
            Answer::Panicked(why) => Some(format!("FS-ENGINE-PANIC: the engine failed on this command: {why}")),
        };
        let Some(work) = self.works.get_mut(&instance) else { return false };
        work.group.claims.push(meeting.parked);
        let now_us = self.ground.env.now_us;
        match refused {
            None => work.tell(answers::accepted(&asked, instance, now_us)),
            Some(why) => {
                let origin = format!("kept for instance {instance}");
                let media = Some(STORED_EVENT);
                work.group.dead.push(inner_letter(origin, media, meeting.event.clone(), code(&why), &why));
                work.group.notes.push(answers::rejected(&asked, Some(instance), code(&why), &why, now_us));
            }
        }
        true
    }

    /// The wait that it came for may be over: then it is an early event like any other.
    fn kept_event(&mut self, instance: InstanceId, meeting: &Meeting, envelope: CloudEvent) -> bool {
        if self.works.get(&instance).is_none_or(|work| work.phase() == Phase::Suspended) {
            return false;
        }
        let Ok(event) = Event::parse(envelope, &self.ground.shared.options.engine) else { return false };
        let event = Arc::new(event);
        let taken = self.resume(instance, &event);
        if let Err(Refused::Panicked(_)) = taken {
            return false;
        }
        let mut park = Vec::new();
        if let Err(Refused::Rejected(Rejected::NotWaiting)) = taken {
            let key = message_key(&event.envelope().source, &event.envelope().id);
            park = self.parked(key, &event, &self.ground.catalogue.route(&event).keys);
        }
        let Some(work) = self.works.get_mut(&instance) else { return false };
        work.group.claims.push(meeting.parked);
        work.group.park.extend(park);
        true
    }
}

/// The engine's texts begin with their code.
fn code(text: &str) -> &str {
    text.split_once(": ").map_or("FS-COMMAND-REFUSED", |(code, _)| code)
}
