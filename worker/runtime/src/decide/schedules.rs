//! What starts instances without a message of their own: the clock, and the last event of an open set (PROTOCOL D12, D17).

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use flagstop_engine::Event;
use flagstop_engine::api::{Stimulus, Value};
use flagstop_engine::schedule::{Fed, OpenSets};
use flagstop_engine::value;
use flagstop_schemas::{Hash16, InstanceId};
use flagstop_store::port::Group;
use flagstop_store::rows::{DefinitionNumber, NewMail, ScheduleMemory, ScheduleRow};

use super::Decider;
use crate::catalogue::Feed;
use crate::codec::{Mail, raw};
use crate::intake::DueSchedule;
use crate::schedules::write;
use crate::work::{Refused, Work};

/// The open sets that a batch feeds. All events that change one are committed together, whichever they are: a set that
/// another worker wrote meanwhile sends them all back, to be fed again.
#[derive(Default)]
pub(super) struct Collecting {
    rows: HashMap<Hash16, Row>,
    group: Group,
    items: Vec<usize>,
}

struct Row {
    definition: DefinitionNumber,
    /// `None`: there is no such row yet.
    token: Option<i64>,
    sets: Result<OpenSets, String>,
    changed: bool,
}

/// What became of an event among the open sets.
pub(super) enum Collected {
    /// It belongs into none.
    No,
    /// It is in one already.
    Heard,
    /// It changed some; these are the instances that start, and what could not be kept.
    Yes { starts: Vec<NewMail>, refused: Option<(&'static str, String)> },
}

impl Collecting {
    pub(super) fn of(rows: &[ScheduleRow]) -> Self {
        let row = |row: &ScheduleRow| {
            let sets = OpenSets::decode(&row.memory.state).map_err(|why| why.to_string());
            let definition = row.memory.definition;
            (row.id, Row { definition, token: Some(row.token), sets, changed: false })
        };
        Self { rows: rows.iter().map(row).collect(), ..Self::default() }
    }

    /// Adds one event's part to what is committed.
    pub(super) fn add(&mut self, index: usize, group: Group) {
        let Group { inbox, post, park, dead, .. } = group;
        self.group.inbox.extend(inbox);
        self.group.post.extend(post);
        self.group.park.extend(park);
        self.group.dead.extend(dead);
        self.items.push(index);
    }

    /// The group, with the changed rows, and the items that it finishes.
    pub(super) fn finish(mut self) -> Option<(Group, Vec<usize>)> {
        if self.items.is_empty() {
            return None;
        }
        for (id, row) in self.rows {
            let Ok(sets) = row.sets.as_ref() else { continue };
            if !row.changed || (sets.is_empty() && row.token.is_none()) {
                continue;
            }
            let memory =
                || ScheduleMemory { definition: row.definition, state: sets.encode(), ..ScheduleMemory::default() };
            self.group.schedules.push(write(id, row.token, (!sets.is_empty()).then(memory)));
        }
        Some((self.group, self.items))
    }

    /// Gives the event to the oldest set that lacks it, of each definition once.
    pub(super) fn feed(&mut self, event: &Arc<Event>, feeds: &[Feed]) -> Collected {
        let (mut starts, mut refused, mut changed, mut heard) = (Vec::new(), None, false, false);
        let same = |a: &Feed, b: &Feed| {
            let (a, b) = (a.deployed.plan.reference(), b.deployed.plan.reference());
            (&a.namespace, &a.name) == (&b.namespace, &b.name)
        };
        for versions in feeds.chunk_by(same) {
            for feed in versions {
                let row = self.rows.entry(feed.row).or_insert_with(|| Row {
                    definition: feed.deployed.number,
                    token: None,
                    sets: Ok(OpenSets::default()),
                    changed: false,
                });
                let sets = match &row.sets {
                    Ok(sets) => sets,
                    Err(why) => {
                        refused = Some(("FS-OPEN-SETS-UNREADABLE", format!("the open sets can't be read: {why}")));
                        break;
                    }
                };
                let Some(collects) = feed.deployed.plan.schedule().sets() else { continue };
                match collects.feed(sets, event, feed.new) {
                    Ok(Fed::Ignored) => continue,
                    Ok(Fed::Heard) => heard = true,
                    Ok(Fed::Kept(after)) => (row.sets, row.changed, changed) = (Ok(after), true, true),
                    Ok(Fed::Complete { rest, input, heard }) => {
                        (row.sets, row.changed, changed) = (Ok(rest), true, true);
                        starts.push(start(feed, event, &input, heard));
                    }
                    Err(why) => {
                        let text = why.to_string();
                        let code =
                            if text.starts_with("FS-OPEN-SETS-FULL") { "FS-OPEN-SETS-FULL" } else { "FS-UNTIL-FAILED" };
                        refused = Some((code, text));
                    }
                }
                break;
            }
        }
        match (changed || refused.is_some(), heard) {
            (true, _) => Collected::Yes { starts, refused },
            (false, true) => Collected::Heard,
            (false, false) => Collected::No,
        }
    }
}

/// The event that completed the set is the trigger.
fn start(feed: &Feed, event: &Event, input: &Value, heard: Vec<Hash16>) -> NewMail {
    let (envelope, it) = (event.envelope(), feed.deployed.plan.reference());
    let cause = Some((envelope.id.clone(), envelope.source.clone()));
    let mail = Mail::Start { input: raw(value::to_json(input)), cause, depth: 0, heard };
    NewMail {
        instance: InstanceId::of_trigger(&envelope.source, &envelope.id, &it.namespace, &it.name),
        definition: feed.deployed.number,
        stimulus: mail.encode(),
    }
}

impl Decider<'_> {
    /// Starts the run of a due time and moves the schedule on; a run that is there already only moves it on.
    pub(super) fn due_schedule(&mut self, index: usize, instance: InstanceId, due: &DueSchedule) {
        // Seen twice before it was committed. The first of them starts the run and moves the schedule with it; were the second
        // to move it by itself, the run could lose against that and never come.
        if self.works.get(&instance).is_some_and(Work::begins_here) {
            self.decision.done.push(index);
            return;
        }
        let DueSchedule { row, deployed, timed, due_us } = due;
        let now_us = self.ground.env.now_us;
        let rule = &deployed.plan.schedule().timed()[*timed];
        let firing = rule.fired(*due_us, now_us);
        if let Some(why) = self.not_beside(instance).filter(|_| firing.run) {
            let origin = format!("schedule of {}", deployed.plan.reference().name);
            // Each due time is a letter of its own.
            let body = Bytes::from(format!("{{\"dueUs\":{due_us}}}"));
            let dead = self.inner_duplicate(deployed, origin, body, &why).into_iter().collect();
            let moved = write(row.id, Some(row.token), Some(due.passed(now_us)));
            return self.stand_alone(index, Group { schedules: vec![moved], dead, ..Group::default() });
        }
        let follows = firing.run && rule.after_end_us(0).is_some();
        let memory = ScheduleMemory {
            definition: deployed.number,
            due_us: firing.next_us,
            awaits: follows.then_some(instance),
            ..ScheduleMemory::default()
        };
        // It stays without a due time when it is never due again, or it would be made anew.
        let moved = write(row.id, Some(row.token), Some(memory));
        let is_there = self.works.contains_key(&instance) || self.unreadable.contains_key(&instance);
        if !firing.run || is_there {
            return self.stand_alone(index, Group { schedules: vec![moved], ..Group::default() });
        }
        self.works.insert(instance, Work::create(instance, deployed.clone()));
        let start = Stimulus::Start { input: Value::Null, cause: None, depth: 0, heard: Vec::new() };
        match self.apply(instance, start) {
            Ok(()) => {
                if let Some(work) = self.works.get_mut(&instance) {
                    work.group.schedules.push(moved);
                    work.items.push(index);
                }
            }
            Err(why) => {
                self.works.remove(&instance);
                if let Refused::Panicked(why) = why {
                    self.defect(instance, "a due schedule", &why);
                }
                self.ground.shared.refused.remember((instance, 0, row.id));
                self.decision.done.push(index);
            }
        }
    }
}
