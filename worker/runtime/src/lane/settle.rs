//! What becomes of the members of a group after the commit: done, decided again, tried alone, or set aside.

use flagstop_engine::api::EffectOutcome;
use flagstop_schemas::{Hash16, InstanceId, LateResult};
use flagstop_store::port::{Group, Verdict};
use flagstop_store::rows::{EffectLease, KEPT_SLOT};

use super::ahead::Runs;
use super::{Aftermath, Lane};
use crate::catalogue::Route;
use crate::counters::add;
use crate::decide::Decided;
use crate::effects::told;
use crate::intake::{Item, Junk, Message, Poke, Says};
use crate::letters::letter;

impl Lane {
    pub(super) fn settle(
        &self,
        decided: Decided,
        group: &Group,
        verdict: Verdict,
        mine: Vec<(Item, &Route)>,
        runs: &mut Runs,
        after: &mut Aftermath,
    ) {
        match verdict {
            Verdict::Applied => self.applied(decided, group, mine, runs, after),
            Verdict::Duplicate(keys) => {
                add(&self.shared.counters.conflicts, 1);
                for (item, route) in mine {
                    match &item {
                        Item::Message(message) if message.says.key().is_some_and(|key| keys.contains(&key)) => {
                            add(&self.shared.counters.duplicates, 1);
                            after.look.parked.extend(&route.keys);
                            after.done(Some(item), &self.effects);
                        }
                        _ => after.next.push(item),
                    }
                }
            }
            Verdict::Fenced(leases) => {
                for (item, _) in mine {
                    match &item {
                        Item::Poke(instance, Poke::Effect { lease, task, outcome, .. }) if leases.contains(lease) => {
                            add(&self.shared.counters.late_results, 1);
                            self.effects.forget(lease);
                            after.next.extend(late(*instance, task.clone(), outcome));
                        }
                        _ => after.next.push(item),
                    }
                }
            }
            Verdict::Gone | Verdict::Conflict => {
                add(&self.shared.counters.conflicts, 1);
                after.children.extend(group.children.iter().map(|(id, _)| *id));
                for (item, _) in mine {
                    match item {
                        // Read again when it is still due.
                        Item::Poke(_, Poke::Schedule(_)) => {}
                        // Whoever took it, or another waiter: a fresh look tells.
                        Item::Poke(instance, Poke::Meeting(meeting)) if meeting.slot == KEPT_SLOT => {
                            after.look.kept.push(instance);
                        }
                        Item::Poke(_, Poke::Meeting(meeting)) => after.look.parked.push(meeting.key),
                        item => after.next.push(item),
                    }
                }
            }
            Verdict::Active(holder) => {
                add(&self.shared.counters.conflicts, 1);
                after.active.extend(decided.instance.map(|instance| (instance, holder)));
                after.next.extend(mine.into_iter().map(|(item, _)| item));
            }
            // It is not the message that is to blame, but one of the answers that came after it.
            Verdict::Failed(_) if decided.instance.is_some_and(|instance| runs.contains_key(&instance)) => {
                after.write_at_once = true;
                after.next.extend(mine.into_iter().map(|(item, _)| item));
            }
            Verdict::Failed(reason) => self.failed(&reason, mine, after),
        }
    }

    fn applied(
        &self,
        decided: Decided,
        group: &Group,
        mine: Vec<(Item, &Route)>,
        runs: &mut Runs,
        after: &mut Aftermath,
    ) {
        after.committed = true;
        if group.instance.is_some() {
            add(&self.shared.counters.transitions, 1);
        }
        for (item, _) in mine {
            after.done(Some(item), &self.effects);
        }
        after.look.parked.extend(group.park.iter().map(|parked| parked.key));
        after.look.bookmarks.extend(decided.bookmarked);
        after.look.kept.extend(decided.kept);
        after.born.extend(decided.instance.filter(|_| decided.born));
        after.named.extend(decided.named);
        if let Some(aside) = &group.aside {
            // What it refused while it was set aside, it takes now.
            self.shared.refused.forget(aside.instance);
            after.next.push(Item::Poke(aside.instance, Poke::Drain));
        }
        for mail in &group.post {
            // A letter to itself is long work that was cut: the others have their turn first (PROTOCOL D18). When there is
            // no place, the recovery finds it.
            if decided.instance == Some(mail.instance) {
                let _no_place = self.shared.pokes.try_put(mail.instance, Poke::Drain);
            } else {
                after.next.push(Item::Poke(mail.instance, Poke::Drain));
            }
        }
        if let Some(instance) = decided.instance {
            for slot in decided.dropped {
                self.effects.abort(instance, slot);
            }
            for effect in decided.effects {
                let lease = EffectLease { instance, slot: effect.slot, epoch: 1 };
                match self.store_flight(runs, lease) {
                    Some(answer) => after.next.extend(answer),
                    None => self.effects.submit(lease, effect),
                }
            }
        }
    }

    /// The group's data can't be stored (PROTOCOL D20). With company, each member tries alone; alone, it is set aside.
    fn failed(&self, reason: &str, mine: Vec<(Item, &Route)>, after: &mut Aftermath) {
        let alone = mine.len() == 1;
        for (item, _) in mine {
            match item {
                // Any letter can be stored, so the store is to blame, and the message stays until that is mended.
                Item::Message(Message { says: Says::Junk(mut junk), delivery }) => {
                    tracing::error!(code = junk.letter.code, origin = %delivery.origin, "a dead letter can't be stored, tried again: {reason}");
                    let says = junk.said.take().unwrap_or(Says::Junk(junk));
                    after.stuck.push(Item::Message(Message { says, delivery }));
                }
                Item::Message(mut message) if alone => {
                    let code = "FS-STORE-REFUSED";
                    let why = format!("what this message leads to can't be stored: {reason}");
                    let command = match &message.says {
                        Says::Command { key, asked, .. } => Some((*key, asked.clone())),
                        _ => None,
                    };
                    let letter = letter(&message.delivery, code, &why);
                    let said = Some(std::mem::replace(&mut message.says, Says::Status));
                    message.says = Says::Junk(Box::new(Junk { letter, command, said }));
                    after.next.push(Item::Message(message));
                }
                // Nor can the word that the answer is lost: it is made again later, as if it had been left behind.
                Item::Poke(
                    instance,
                    Poke::Effect { lease, begun: None, outcome: EffectOutcome::NoAnswer { .. }, .. },
                ) if alone => {
                    tracing::error!(%instance, "a side effect can't be ended, tried again: {reason}");
                    self.shared.refused.remember((instance, lease.slot, Hash16::of("effect", &[])));
                    self.effects.forget(&lease);
                }
                Item::Poke(instance, Poke::Effect { lease, .. }) if alone => {
                    tracing::error!(%instance, "the result of a side effect can't be stored: {reason}");
                    let reason = "the answer can't be stored; see the worker's log".to_owned();
                    let outcome = EffectOutcome::NoAnswer { reason };
                    after.next.push(Item::Poke(instance, Poke::Effect { lease, begun: None, task: None, outcome }));
                }
                Item::Poke(instance, poke) if alone => {
                    tracing::error!(%instance, ?poke, "can't be stored, left as it is: {reason}");
                }
                item => after.alone.push(item),
            }
        }
    }
}

/// A result that came too late, as far as it is sure that it was not applied.
pub(super) fn late(instance: InstanceId, task: Option<String>, outcome: &EffectOutcome) -> Option<Item> {
    let result = told(outcome);
    task.map(|task| Item::Poke(instance, Poke::Late(LateResult { task, result })))
}

/// It may have been applied: should it be refused now, it is not for that too late.
pub(super) fn forget_task(item: &mut Item) {
    if let Item::Poke(_, Poke::Effect { task, .. }) = item {
        *task = None;
    }
}
