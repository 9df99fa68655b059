//! Commands from the bus: to start a workflow, and to one instance. One that can't be carried out is a dead letter that says
//! why; one for an instance that is not there yet, or can't be read here, is kept under its id.

use std::sync::Arc;

use flagstop_bus::CodecLimits;
use flagstop_engine::Event;
use flagstop_engine::api::{Phase, Rejected, Stimulus};
use flagstop_engine::value;
use flagstop_schemas::{Asked, CloudEvent, Hash16, InstanceId, message_key};
use flagstop_store::port::Group;
use flagstop_store::rows::{Meeting, NewMail, NewParked};

use super::Decider;
use crate::answers;
use crate::codec::{Mail, encode_event, raw};
use crate::commands::{self, Addressee, BusinessKey, Command, Order, StartCommand, Verb};
use crate::intake::Message;
use crate::letters::{inner_letter, letter};
use crate::work::{Refused, Work};

/// The media type of an event in its stored form.
pub(crate) const STORED_EVENT: &str = "application/cloudevents+json";

/// What became of an order.
pub(super) enum Answer {
    Done,
    /// Another instance was begun.
    Begun(InstanceId),
    /// The instance is not there, or can't take it now.
    Later,
    /// Code and reason.
    Refused(String),
    Panicked(String),
}

/// Who has a business key.
enum Whose {
    One(InstanceId),
    /// Perhaps not yet.
    Nobodys,
    /// Code and reason.
    Refused(&'static str, String),
}

impl Answer {
    /// Whom the answer is about.
    fn whom(&self, instance: InstanceId) -> InstanceId {
        if let Self::Begun(new) = self { *new } else { instance }
    }
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
                "no definition {wanted} is deployed and enabled; deploy it with `flagstop deploy`, or enable it with `flagstop definitions enable`, then send the command again (enabled: {})",
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
        if let Some(why) = self.not_beside(instance) {
            return self.duplicate_command(index, key, asked, &deployed, &why, message);
        }
        self.works.insert(instance, Work::create(instance, deployed));
        let start = Stimulus::Start { input, cause: Some(command.cause.clone()), depth: 0, heard: Vec::new() };
        match self.apply(instance, start) {
            Ok(()) => {
                if let Some(work) = self.works.get_mut(&instance) {
                    work.group.inbox.push(key);
                    answers::accept(work, asked, instance, self.ground.env.now_us);
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
        let instance = match &order.to {
            Addressee::Instance(instance) => *instance,
            Addressee::Business(business) => match self.whose(business, &order.verb) {
                Whose::One(instance) => instance,
                Whose::Nobodys => {
                    let park = vec![self.waiting(key, business, &order.envelope)];
                    return self.stand_alone(index, Group { inbox: vec![key], park, ..Group::default() });
                }
                Whose::Refused(code, why) => return self.set_aside(index, key, message, code, why),
            },
        };
        if matches!(order.verb, Verb::Continue) && self.released_by_order(index, key, asked, instance) {
            return;
        }
        let answer = self.carry_out(instance, &order.verb, asked);
        let refused = match &answer {
            Answer::Done | Answer::Begun(_) => None,
            Answer::Later => {
                let park = vec![self.kept(key, instance, &order.envelope)];
                return self.keep(index, Group { inbox: vec![key], park, ..Group::default() }, vec![instance]);
            }
            Answer::Refused(why) => Some(why.clone()),
            Answer::Panicked(why) => return self.poison(index, key, instance, message, why),
        };
        // Refused or not, it goes with what else happens to the instance: the verdict rests on that.
        if let Some(work) = self.works.get_mut(&instance) {
            let now_us = self.ground.env.now_us;
            work.group.inbox.push(key);
            match refused {
                None => answers::accept(work, asked, answer.whom(instance), now_us),
                Some(why) => {
                    work.group.dead.push(letter(&message.delivery, code(&why), &why));
                    work.group.notes.push(answers::rejected(asked, Some(instance), code(&why), &why, now_us));
                }
            }
            work.items.push(index);
        }
    }

    fn carry_out(&mut self, instance: InstanceId, verb: &Verb, asked: &Asked) -> Answer {
        let Some(work) = self.works.get(&instance) else { return Answer::Later };
        if matches!(verb, Verb::Retry)
            && let Some(why) = self.not_beside(instance)
        {
            return Answer::Refused(why);
        }
        let applied = match verb {
            Verb::Resume(_) if work.phase() == Phase::Suspended => return Answer::Later,
            Verb::Resume(event) => self.resume(instance, event),
            Verb::Rerun => return self.rerun(instance, (&asked.source, &asked.id)),
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

    /// Runs what has ended again, as a new instance of the same version with the same input. It is inserted with whatever
    /// else happens to the ended one, with a letter that starts it; its id comes from the command (PROTOCOL D12).
    pub(super) fn rerun(&mut self, ended: InstanceId, (source, id): (&str, &str)) -> Answer {
        let again = InstanceId::of_rerun(source, id);
        let is_there = self.works.contains_key(&again) || self.unreadable.contains_key(&again);
        let Some(work) = self.works.get_mut(&ended) else { return Answer::Later };
        if !work.phase().has_ended() {
            return Answer::Refused("FS-NOT-ENDED: only what has ended can be run again; cancel it first".to_owned());
        }
        if !is_there {
            let (definition, input) = (work.definition(), raw(value::to_json(work.input())));
            let mail =
                Mail::Start { input, cause: Some((id.to_owned(), source.to_owned())), depth: 0, heard: Vec::new() };
            work.group.children.push((again, work.again(again)));
            work.group.post.push(NewMail { instance: again, definition, stimulus: mail.encode() });
        }
        Answer::Begun(again)
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

    /// Looks for the instance with a business key, among those for which the command can be.
    fn whose(&self, business: &BusinessKey, verb: &Verb) -> Whose {
        let BusinessKey { namespace, name, version, key } = business;
        if self.ground.catalogue.named(namespace, name, version.as_deref()).is_none() {
            // Final: the catalogue is as new as the snapshot that was loaded (PROTOCOL D5).
            let wanted = version.as_deref().unwrap_or("(any version)");
            let why =
                format!("no definition {namespace}/{name} {wanted} is deployed; name the one that the instance runs");
            return Whose::Refused("FS-DEFINITION-UNKNOWN", why);
        }
        let named = self.waiters.get(&business.hash()).into_iter().flatten().map(|(id, _)| *id);
        let named: Vec<InstanceId> = named.filter(|id| self.has_version(*id, version.as_deref())).collect();
        let fits = |id: &InstanceId| self.known(*id).is_none_or(|work| verb.fits(work.phase()));
        let fitting: Vec<InstanceId> = named.iter().copied().filter(fits).collect();
        match (fitting.as_slice(), named.as_slice()) {
            ([one], _) => Whose::One(*one),
            // A retry of what has not faulted is refused by its phase; for anything else what has ended is not there.
            ([], [one]) if matches!(verb, Verb::Retry) => Whose::One(*one),
            ([], _) => Whose::Nobodys,
            (several, _) => {
                let ids: Vec<String> = several.iter().take(5).map(ToString::to_string).collect();
                let why = format!(
                    "{} instances of {namespace}/{name} have the business key `{key}`: {}; name one by `subject`",
                    several.len(),
                    ids.join(", ")
                );
                Whose::Refused("FS-COMMAND-AMBIGUOUS", why)
            }
        }
    }

    /// Is what waited under a business key for this instance after all?
    pub(super) fn is_for(&self, order: &Order, instance: InstanceId) -> bool {
        match &order.to {
            Addressee::Instance(named) => *named == instance,
            Addressee::Business(business) => {
                let fits = |work: &Work| order.verb.fits(work.phase());
                self.has_version(instance, business.version.as_deref()) && self.known(instance).is_some_and(fits)
            }
        }
    }

    fn has_version(&self, instance: InstanceId, version: Option<&str>) -> bool {
        let is = |work: &Work, version: &str| work.reference().version.to_string() == version;
        version.is_none_or(|version| self.known(instance).is_some_and(|work| is(work, version)))
    }

    /// A command for whoever comes with this business key.
    fn waiting(&self, message: Hash16, business: &BusinessKey, command: &CloudEvent) -> NewParked {
        let key = business.hash();
        let id = Hash16::of("flagstop/parked", &[message.0.as_bytes(), key.0.as_bytes()]);
        let named = InstanceId(key.0);
        NewParked { id, ..self.kept(message, named, command) }
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
            Ok(Command::Order(order)) if !self.is_for(&order, instance) => Answer::Later,
            Ok(Command::Order(order)) => self.carry_out(instance, &order.verb, &asked),
            Ok(Command::Start(_)) => Answer::Refused("FS-COMMAND-INVALID: a start is for no instance".to_owned()),
            Err((code, why)) => Answer::Refused(format!("{code}: {why}")),
        };
        let refused = match &answer {
            Answer::Done | Answer::Begun(_) => None,
            Answer::Later => return false,
            Answer::Refused(why) => Some(why.clone()),
            Answer::Panicked(why) => Some(format!("FS-ENGINE-PANIC: the engine failed on this command: {why}")),
        };
        let Some(work) = self.works.get_mut(&instance) else { return false };
        work.group.claims.push(meeting.parked);
        let now_us = self.ground.env.now_us;
        match refused {
            None => answers::accept(work, &asked, answer.whom(instance), now_us),
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
