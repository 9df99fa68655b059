//! Blame (PROTOCOL D8): finds what kills workers among all that a dead one had in its hands. Judges by counting alone.
//!
//! ```text
//! a worker was missed ─► for a while, what it may have had in its hands is suspect:
//!                        redelivered messages, timers, schedules and events from before, mail left behind, adopted effects
//! suspect ─► marked in the store ─► tried by itself, nothing else going on in this process ─► mark taken off
//!                               └─► killed again: the mark stays and counts; after `blame_max` it is set aside
//! ```
//! A batch never marks anything, so a worker that dies with a hundred members brands none of them. Must never set aside what
//! was not alone.

use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use flagstop_bus::port::Delivery;
use flagstop_schemas::{Hash16, InstanceId};
use flagstop_store::port::{Aside, Group, Loaded};
use flagstop_store::rows::{MailRow, NewMail};
use jiff::Timestamp;
use tokio::sync::RwLock;

use crate::catalogue::Catalogue;
use crate::codec::{Mail, raw};
use crate::intake::{DueSchedule, Item, Junk, Message, Poke, Says, message};
use crate::letters::{inner_letter, is_brokers_own, letter};
use crate::options::Options;
use crate::work::pending;

/// How long after a worker was missed the others are wary. One that dies meanwhile begins it anew.
const WARY_US: i64 = 60_000_000;

/// The code of what is said of an instance that was set aside.
pub(crate) const INSTANCE_KILLS: &str = "FS-INSTANCE-KILLS";

/// The same of one that a schedule was to start.
pub(crate) const SCHEDULE_KILLS: &str = "FS-SCHEDULE-KILLS";

/// What one worker knows of deaths.
#[derive(Debug, Default)]
pub(crate) struct Blame {
    /// When a dead worker was last missed, on the database's clock; 0: never.
    died_us: AtomicI64,
    /// Until when one that died may have lived: what is younger was in the hands of none, and after a long outage is no suspect.
    dead_until_us: AtomicI64,
    /// Every batch holds it together with others; a suspect is tried alone. Nothing of the store is locked meanwhile.
    pub(crate) alone: RwLock<()>,
}

/// What is tried by itself.
#[derive(Debug)]
pub(crate) enum Suspect {
    /// Not read yet: reading may be what kills.
    Message(Delivery),
    Poke(InstanceId, Poke),
}

impl Blame {
    pub(crate) fn noticed(&self, died_us: i64, dead_until_us: i64) {
        self.dead_until_us.store(dead_until_us, Ordering::Relaxed);
        self.died_us.store(died_us, Ordering::Relaxed);
    }

    /// Up to which age what is around is suspect; `None`: nobody has died lately.
    fn wary_of(&self, now_us: i64) -> Option<i64> {
        let died_us = self.died_us.load(Ordering::Relaxed);
        let dead_until_us = self.dead_until_us.load(Ordering::Relaxed);
        (died_us > 0 && now_us - died_us < WARY_US).then_some(dead_until_us.min(died_us))
    }

    /// May the dead one have had this message in its hands?
    pub(crate) fn suspects(&self, delivery: &Delivery, now_us: i64) -> bool {
        delivery.redelivered && self.wary_of(now_us).is_some()
    }

    /// The same for what comes from within.
    pub(crate) fn suspects_poke(&self, poke: &Poke, now_us: i64) -> bool {
        if let Poke::Schedule(due) = poke
            && due.has_killed()
        {
            return true;
        }
        let Some(dead_until_us) = self.wary_of(now_us) else { return false };
        match poke {
            Poke::LeftBehind(since_us) => *since_us <= dead_until_us,
            Poke::Timer(timer) => timer.due().due_us <= dead_until_us,
            Poke::Meeting(meeting) => meeting.parked_us <= dead_until_us,
            Poke::Effect { lease, .. } => lease.epoch > 1,
            Poke::Schedule(due) => due.due_us <= dead_until_us,
            // What this worker has just written the dead one never had, and a late result changes nothing.
            Poke::Drain | Poke::Late(_) => false,
        }
    }
}

impl Suspect {
    /// How often it may kill. A schedule whose last run was set aside gets no more than one try for each further one, or it would
    /// kill so many workers for each.
    pub(crate) fn kills_max(&self, blame_max: u32) -> i32 {
        match self {
            Self::Poke(_, Poke::Schedule(due)) if due.has_killed() => 1,
            _ => i32::try_from(blame_max).unwrap_or(i32::MAX),
        }
    }

    /// Under which it is marked: the same at each delivery.
    pub(crate) fn id(&self) -> Hash16 {
        match self {
            Self::Poke(instance, _) => Hash16(instance.0),
            Self::Message(delivery) => {
                let message = &delivery.message;
                let own = message.headers.iter().filter(|(name, _)| !is_brokers_own(name));
                let mut parts: Vec<&[u8]> = vec![&message.body];
                parts.extend(own.flat_map(|(name, value)| [name.as_bytes(), value]));
                Hash16::of("flagstop/suspect", &parts)
            }
        }
    }

    /// What a lane works on.
    pub(crate) fn into_item(self, options: &Options) -> Item {
        match self {
            Self::Message(delivery) => message(delivery, options),
            Self::Poke(instance, poke) => Item::Poke(instance, poke),
        }
    }
}

/// A message that has killed too often: a dead letter, never read.
pub(crate) fn deadly_message(delivery: Delivery, kills: i32) -> Item {
    let reason = format!(
        "a worker died each of the {kills} times that it tried this message by itself; mend what it meets (the worker's log \
         before its end, its memory limit), then redrive it with `flagstop dead-letters redrive`"
    );
    let letter = letter(&delivery, "FS-MESSAGE-KILLS", &reason);
    let says = Says::Junk(Box::new(Junk { letter, command: None, said: None }));
    Item::Message(Message { delivery, says })
}

/// The group that sets an instance aside, with a letter that says why. One that is not there yet comes with it, not started, and
/// with the mail that starts it: it is not lost, and is released like any other. `None`: there is nothing to set aside.
pub(crate) fn shelve(
    instance: InstanceId,
    poke: &Poke,
    kills: i32,
    loaded: &Loaded,
    catalogue: &Catalogue,
) -> Option<Group> {
    let is_there = loaded.instances.iter().any(|row| row.id == instance);
    let group = match poke {
        // It has begun after all: what kills comes to it in another way.
        Poke::Schedule(_) if is_there => return None,
        Poke::Schedule(due) => {
            let definition = due.deployed.number;
            let start = Mail::Start { input: raw("null".to_owned()), cause: None, depth: 0, heard: Vec::new() };
            Group {
                instance: Some((instance, pending(instance, &due.deployed, None))),
                post: vec![NewMail { instance, definition, stimulus: start.encode() }],
                schedules: vec![due.shelved(loaded.now_us)],
                ..Group::default()
            }
        }
        _ if is_there => Group::default(),
        _ => {
            let starts = |mail: &&MailRow| {
                mail.instance == instance && matches!(Mail::decode(&mail.stimulus), Ok(Mail::Start { .. }))
            };
            let start = loaded.mail.iter().find(starts)?;
            let deployed = catalogue.by_number(start.definition)?;
            Group { instance: Some((instance, pending(instance, deployed, None))), ..Group::default() }
        }
    };
    let (code, origin, why) = match poke {
        Poke::Schedule(due) => {
            let it = due.deployed.plan.reference();
            (SCHEDULE_KILLS, format!("schedule of {}/{}", it.namespace, it.name), deadly_start(instance, due, kills))
        }
        poke => (INSTANCE_KILLS, format!("instance {instance}"), deadly_instance(instance, poke, kills)),
    };
    // Each time is a letter of its own.
    let body = Bytes::from(format!("{{\"instance\":\"{instance}\",\"setAsideUs\":{}}}", loaded.now_us));
    let letter = inner_letter(origin, Some("application/json"), body, code, &why);
    let reason = Some(format!("{code}: {}", letter.reason));
    Some(Group { aside: Some(Aside { instance, reason }), dead: vec![letter], ..group })
}

/// Why an instance was set aside.
fn deadly_instance(instance: InstanceId, poke: &Poke, kills: i32) -> String {
    let what = match poke {
        Poke::Drain | Poke::LeftBehind(_) => "its mail",
        Poke::Timer(_) => "a timer",
        Poke::Effect { .. } => "the answer of a call",
        Poke::Meeting(_) | Poke::Schedule(_) | Poke::Late(_) => "an event",
    };
    format!(
        "a worker died each of the {kills} times that it gave {what} to this instance alone; mend what it meets (the worker's \
         log before its end, its memory limit), then release it with `flagstop instances continue {instance}`"
    )
}

/// Why a run that was due never began.
fn deadly_start(instance: InstanceId, due: &DueSchedule, kills: i32) -> String {
    let it = due.deployed.plan.reference();
    let at = Timestamp::from_microsecond(due.due_us).map(|at| at.to_string()).unwrap_or_default();
    format!(
        "a worker died each time ({kills} in all) that it began by itself the run of {}/{} {} that was due at {at}; the schedule \
         goes on with its next due time, and this run waits, not started, as instance {instance}: mend what it meets (the \
         worker's log before its end, its memory limit), then let it begin with `flagstop instances continue {instance}`",
        it.namespace, it.name, it.version
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use flagstop_bus::port::{Commands, Origin, RawMessage, Token};
    use flagstop_store::port::DueTimer;

    use super::*;
    use crate::timers::Underway;

    fn delivery(tag: i64, attempt: &str, body: &'static str) -> Delivery {
        let headers = vec![
            ("ce_id".to_owned(), Bytes::from_static(b"1")),
            ("x-delivery-count".to_owned(), Bytes::copy_from_slice(attempt.as_bytes())),
        ];
        let message = RawMessage { content_type: None, headers, key: None, body: Bytes::from_static(body.as_bytes()) };
        Delivery {
            message,
            origin: Origin { name: "q".into(), partition: None, offset: tag },
            redelivered: true,
            commands: Commands::Accept,
            token: Token { consumer: 1, generation: 1, lane: 0, position: 1 },
        }
    }

    #[test]
    fn a_message_is_the_same_suspect_at_each_delivery() {
        let id = |delivery| Suspect::Message(delivery).id();
        assert_eq!(id(delivery(1, "1", "x")), id(delivery(9, "2", "x")));
        assert_ne!(id(delivery(1, "1", "x")), id(delivery(1, "1", "y")));
    }

    #[test]
    fn only_what_the_dead_may_have_had_is_suspect_and_only_for_a_while() {
        let blame = Blame::default();
        let timer = |due_us| {
            let timer = DueTimer { due_us, instance: InstanceId(uuid::Uuid::nil()), slot: 1 };
            Poke::Timer(Arc::<Underway>::default().take(timer).expect("nobody has it"))
        };
        let old = timer(1_000);
        assert!(!blame.suspects(&delivery(1, "1", "x"), 2_000) && !blame.suspects_poke(&old, 2_000), "nobody has died");
        blame.noticed(1_700, 1_500);
        assert!(blame.suspects(&delivery(1, "1", "x"), 2_000) && blame.suspects_poke(&old, 2_000));
        assert!(!blame.suspects_poke(&timer(1_600), 2_000), "it came later");
        assert!(blame.suspects_poke(&Poke::LeftBehind(1_500), 2_000));
        assert!(!blame.suspects_poke(&Poke::LeftBehind(1_600), 2_000), "somebody else left it behind");
        assert!(!blame.suspects_poke(&Poke::Drain, 2_000), "our own");
        let fresh = Delivery { redelivered: false, ..delivery(1, "1", "x") };
        assert!(!blame.suspects(&fresh, 2_000));
        assert!(!blame.suspects(&delivery(1, "1", "x"), 1_700 + WARY_US), "long ago");
    }
}
