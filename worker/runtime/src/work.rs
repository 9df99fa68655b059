//! One instance's part of a batch: everything that happens to it is folded in memory into one group, one revision and
//! one journal row (PROTOCOL D2).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use flagstop_engine::api::{
    Bookmark, ChildStart, Effect, Env, Phase, Projection, Reference, Rejected, Stimulus, Value,
};
use flagstop_engine::{Instance, Limits, SnapshotError, apply};
use flagstop_schemas::{Entry, Hash16, Header, InstanceId, journal};
use flagstop_store::port::{Group, InstanceWrite};
use flagstop_store::rows::{BookmarkRow, Diff, EffectRow, InstanceRow, LargeValue, NewMail, Parent, TimerRow};

use crate::catalogue::Deployed;
use crate::codec::{ChildEnd, Mail};
use crate::commands::business_hash;
use crate::decide::Decided;

/// The slot of the bookmark under which commands find an instance by its business key.
pub(crate) const BUSINESS_SLOT: i64 = -2;

/// How much of each part of an instance's error lists show, in bytes.
const ERROR_TEXT_BYTES_MAX: usize = 512;

/// Why a stimulus was not applied.
#[derive(Debug)]
pub(crate) enum Refused {
    /// By the engine, as a matter of course.
    Rejected(Rejected),
    /// The engine panicked: a defect. The instance is as it was.
    Panicked(String),
}

/// An instance while a batch is decided.
pub(crate) struct Work {
    id: InstanceId,
    deployed: Arc<Deployed>,
    revision: i32,
    parent: Option<Parent>,
    instance: Instance,
    before: Projection,
    now: Projection,
    /// Large values that are stored.
    stored: Vec<Hash16>,
    waits_before: Vec<Bookmark>,
    /// Its bookmarks, also while it is suspended: their rows stay, so that an event finds it and is kept for it.
    waits: Vec<Bookmark>,
    was: Phase,
    entries: Vec<Entry>,
    effects: BTreeMap<i64, Effect>,
    /// Slots of effects that were asked for ahead of the commit.
    asked: BTreeSet<i64>,
    /// It has heard an event in this group.
    heard: bool,
    /// The calls that are stored let it run ahead, too: their answers need no write of their own.
    began_ahead: bool,
    /// Slots of effects that are no longer wanted.
    dropped: Vec<i64>,
    /// Children that are still to be begun.
    pub(crate) children: Vec<ChildStart>,
    /// It has ended in this batch.
    ended: bool,
    transitions: usize,
    /// What the group holds besides the instance itself; filled by the decision.
    pub(crate) group: Group,
    /// The items that the group finishes, by index.
    pub(crate) items: Vec<usize>,
    /// Suspended instances for which the group keeps something.
    pub(crate) kept: Vec<InstanceId>,
    /// The last transition ended by its budget.
    more: bool,
}

impl Work {
    /// A new instance, not yet started.
    pub(crate) fn create(id: InstanceId, deployed: Arc<Deployed>) -> Self {
        let instance = Instance::new(id, &deployed.plan);
        Self::over(id, deployed, 0, None, instance)
    }

    /// The instance of a row.
    pub(crate) fn open(row: &InstanceRow, deployed: Arc<Deployed>) -> Result<Self, SnapshotError> {
        let instance = read(row, &deployed)?;
        let stored = row.values.iter().map(|value| value.hash).collect();
        Ok(Self { stored, ..Self::over(row.id, deployed, row.revision, row.parent, instance) })
    }

    fn over(
        id: InstanceId,
        deployed: Arc<Deployed>,
        revision: i32,
        parent: Option<Parent>,
        instance: Instance,
    ) -> Self {
        // A new instance has no rows yet, whatever its state projects.
        let before = if revision == 0 { Projection::default() } else { instance.projection(&deployed.plan) };
        let waits = if revision == 0 { Vec::new() } else { waits(&instance, &before, &deployed) };
        let began_ahead = instance.runs_ahead(&deployed.plan, &before);
        Self {
            id,
            deployed,
            revision,
            parent,
            now: before.clone(),
            before,
            stored: Vec::new(),
            waits_before: waits.clone(),
            waits,
            was: instance.phase(),
            instance,
            entries: Vec::new(),
            effects: BTreeMap::new(),
            asked: BTreeSet::new(),
            heard: false,
            began_ahead,
            dropped: Vec::new(),
            children: Vec::new(),
            ended: false,
            transitions: 0,
            group: Group::default(),
            items: Vec::new(),
            kept: Vec::new(),
            more: false,
        }
    }

    pub(crate) fn id(&self) -> InstanceId {
        self.id
    }

    /// May it go on before it is written (checkpoint policy `suspend`)? Not while others wait for what the group holds, nor
    /// before it is sure that it may live at all.
    pub(crate) fn may_run_ahead(&self, limits: &Limits) -> bool {
        let Group {
            instance: _,
            inbox: _,
            claims: _,
            mail: _,
            children,
            fences,
            schedules,
            post,
            park,
            dead,
            notes,
            remarks,
            aside,
        } = &self.group;
        let holds_nothing_for_others = children.is_empty()
            && schedules.is_empty()
            && post.is_empty()
            && park.is_empty()
            && dead.is_empty()
            && notes.is_empty()
            && remarks.is_empty()
            && aside.is_none()
            && self.kept.is_empty();
        self.instance.runs_ahead(&self.deployed.plan, &self.now)
            && !self.more
            && self.is_alone_in_storage()
            && holds_nothing_for_others
            && (fences.is_empty() || self.began_ahead)
            && (self.instance.activation().is_none() || (self.revision > 0 && !self.was.has_ended()))
            && self.entries.len() < limits.events_per_apply_max as usize
    }

    /// Whether nothing but operators can move what is stored of it meanwhile. What else can (which of several events comes) is
    /// written before calls follow from it, or a replay could make other calls under the same keys.
    fn is_alone_in_storage(&self) -> bool {
        let is_answered = |(slot, _): &(i64, String)| self.group.fences.iter().any(|fence| fence.slot == *slot);
        !self.heard
            && self.before.bookmarks.is_empty()
            && self.before.children.is_empty()
            && self.was != Phase::Suspended
            && self.before.effects.iter().all(is_answered)
            && self.before.timers.iter().all(|timer| self.now.timers.contains(timer))
    }

    /// Is an effect in flight in this slot?
    pub(crate) fn is_in_flight(&self, slot: i64) -> bool {
        self.now.effects.iter().any(|(in_flight, _)| *in_flight == slot)
    }

    /// Does this hold of all effects in flight?
    pub(crate) fn all_in_flight(&self, holds: impl Fn(i64) -> bool) -> bool {
        self.now.effects.iter().all(|(slot, _)| holds(*slot))
    }

    /// The effects in flight that were not asked for yet, ahead of the commit.
    pub(crate) fn unasked(&mut self) -> Vec<Effect> {
        let in_flight = self.now.effects.iter().map(|(slot, _)| *slot);
        let new = in_flight.filter(|slot| self.asked.insert(*slot));
        new.filter_map(|slot| self.effects.get(&slot).cloned()).collect()
    }

    /// What its journal rows say of it.
    pub(crate) fn header(&self) -> Header {
        header(&self.instance)
    }

    pub(crate) fn is_new(&self) -> bool {
        self.revision == 0 && self.transitions == 0
    }

    /// It is not in the store yet: this batch begins it.
    pub(crate) fn begins_here(&self) -> bool {
        self.revision == 0
    }

    pub(crate) fn definition(&self) -> flagstop_store::rows::DefinitionNumber {
        self.deployed.number
    }

    /// Nothing happened to it: there is nothing to commit.
    pub(crate) fn is_idle(&self) -> bool {
        self.transitions == 0 && self.items.is_empty() && self.group.mail.is_empty()
    }

    pub(crate) fn projection(&self) -> &Projection {
        &self.now
    }

    /// What it waits for now, or will again when it goes on.
    pub(crate) fn waits(&self) -> &[Bookmark] {
        &self.waits
    }

    pub(crate) fn phase(&self) -> Phase {
        self.instance.phase()
    }

    /// Applies a stimulus, or leaves the instance as it is.
    pub(crate) fn apply(&mut self, stimulus: Stimulus, env: &Env<'_>) -> Result<(), Refused> {
        let plan = &self.deployed.plan;
        match stimulus {
            Stimulus::Start { .. } => crate::crash::if_it_holds(plan.reference().namespace.as_bytes()),
            Stimulus::Timer { .. } => crate::crash::if_it_holds(plan.reference().name.as_bytes()),
            _ => {}
        }
        let hears = matches!(stimulus, Stimulus::Event { .. });
        let applied = catch_unwind(AssertUnwindSafe(|| apply(plan, &self.instance, stimulus, env)));
        let transition = applied.map_err(|panic| Refused::Panicked(panic_text(&panic)))?.map_err(Refused::Rejected)?;
        self.ended |= transition.instance.phase().has_ended() && !self.instance.phase().has_ended();
        self.instance = transition.instance;
        self.now = self.instance.projection(plan);
        self.waits = waits(&self.instance, &self.now, &self.deployed);
        self.entries.extend(transition.events);
        for slot in &transition.dropped_effects {
            self.effects.remove(slot);
        }
        self.dropped.extend(transition.dropped_effects);
        self.children.extend(transition.children);
        let cancel = |instance| NewMail { instance, definition: self.deployed.number, stimulus: Mail::Cancel.encode() };
        self.group.post.extend(transition.cancelled_children.into_iter().map(cancel));
        self.effects.extend(transition.effects.into_iter().map(|effect| (effect.slot, effect)));
        self.more = transition.more;
        self.transitions += 1;
        self.heard |= hears;
        Ok(())
    }

    /// Something has happened to it: its journal row can carry what is said of that.
    pub(crate) fn is_moved(&self) -> bool {
        self.transitions > 0
    }

    pub(crate) fn reference(&self) -> &Reference {
        self.instance.reference()
    }

    /// The workflow's raw input.
    pub(crate) fn input(&self) -> &Value {
        self.instance.input()
    }

    /// A new instance that runs this one again: inserted with it, and not yet started.
    pub(crate) fn again(&self, id: InstanceId) -> InstanceWrite {
        waiting(Instance::new(id, &self.deployed.plan).rerunning(self.id), &self.deployed, None)
    }

    /// Adds to what the transitions of this batch tell the world.
    pub(crate) fn tell(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Makes the group that the store commits.
    pub(crate) fn fold(mut self, limits: &Limits) -> Decided {
        let (mut bookmarked, mut named) = (Vec::new(), Vec::new());
        let mut kept = std::mem::take(&mut self.kept);
        if self.transitions > 0 {
            let bookmarks = diff(
                self.waits_before.iter().map(bookmark_row).collect(),
                self.waits.iter().map(bookmark_row).collect(),
            );
            for row in &bookmarks.add {
                if row.slot == BUSINESS_SLOT { &mut named } else { &mut bookmarked }.push(row.key);
            }
            let timers = diff(
                self.before.timers.iter().map(timer_row).collect(),
                self.now.timers.iter().map(timer_row).collect(),
            );
            let effects = diff(
                self.before.effects.iter().map(effect_row).collect(),
                self.now.effects.iter().map(effect_row).collect(),
            );
            let phase = self.instance.phase();
            if self.was == Phase::Suspended && phase != Phase::Suspended {
                kept.push(self.id);
            }
            let header = header(&self.instance);
            let snapshot = self.instance.encode_split(limits.large_value_bytes);
            let kept_values: BTreeSet<Hash16> = snapshot.large.iter().map(|value| value.hash).collect();
            let new_value = |value: flagstop_engine::LargeValue| {
                let bytes = value.bytes.filter(|_| !self.stored.contains(&value.hash))?;
                Some(LargeValue { hash: value.hash, bytes })
            };
            let write = InstanceWrite {
                revision: self.revision,
                definition: self.deployed.number,
                status: phase as i16,
                business_key: header.business_key.clone(),
                activation: self.instance.activation(),
                parent: self.parent,
                ended: phase.has_ended(),
                state: snapshot.bytes,
                values_in: snapshot.large.into_iter().filter_map(new_value).collect(),
                values_out: self.stored.iter().copied().filter(|hash| !kept_values.contains(hash)).collect(),
                bookmarks,
                timers,
                effects,
                events: journal::encode(&header, &self.entries),
                error: self.instance.error().map(error_text),
            };
            self.group.instance = Some((self.id, write));
            if let Some(Parent { instance, slot: Some(slot) }) = self.parent
                && self.ended
            {
                let stimulus = Mail::Child { slot, end: ChildEnd::of(&self.instance) }.encode();
                self.group.post.push(NewMail { instance, definition: self.deployed.number, stimulus });
            }
            if self.more {
                let stimulus = Mail::Proceed.encode();
                self.group.post.push(NewMail { instance: self.id, definition: self.deployed.number, stimulus });
            }
        }
        let in_flight = &self.now.effects;
        let effects =
            self.effects.into_values().filter(|e| in_flight.iter().any(|(slot, _)| *slot == e.slot)).collect();
        Decided {
            instance: Some(self.id),
            group: self.group,
            items: self.items,
            effects,
            dropped: self.dropped,
            bookmarked,
            named,
            kept,
            born: self.revision == 0,
        }
    }
}

/// The instance of a row, with its large values.
pub(crate) fn read(row: &InstanceRow, deployed: &Deployed) -> Result<Instance, SnapshotError> {
    let values: HashMap<Hash16, &Bytes> = row.values.iter().map(|value| (value.hash, &value.bytes)).collect();
    Instance::decode_split(&deployed.plan, &row.state, &mut |hash| values.get(&hash).copied().cloned())
}

/// An instance as it is inserted before it starts: there, and nothing else. A child comes so, with its parent.
pub(crate) fn pending(id: InstanceId, deployed: &Deployed, parent: Option<Parent>) -> InstanceWrite {
    waiting(Instance::new(id, &deployed.plan), deployed, parent)
}

fn waiting(instance: Instance, deployed: &Deployed, parent: Option<Parent>) -> InstanceWrite {
    InstanceWrite {
        definition: deployed.number,
        status: instance.phase() as i16,
        parent,
        state: instance.encode(),
        events: journal::encode(&header(&instance), &[]),
        ..InstanceWrite::default()
    }
}

/// What lists show of a fault.
fn error_text(problem: &flagstop_engine::Problem) -> String {
    let problem = problem.shortened(ERROR_TEXT_BYTES_MAX);
    // Where there is a title, the text lacks the type, by which errors are told apart.
    let text = match &problem.title {
        Some(_) => format!("{}: {problem}", problem.type_uri),
        None => problem.to_string(),
    };
    text.replace('\0', "\u{fffd}")
}

fn header(instance: &Instance) -> Header {
    let reference = instance.reference();
    Header {
        namespace: reference.namespace.clone(),
        name: reference.name.clone(),
        version: reference.version.to_string(),
        instance: instance.id(),
        business_key: instance.business_key().map(|key| key.replace('\0', "\u{fffd}")),
    }
}

/// A suspended instance projects no bookmarks, and their rows stay. One that a command may name by its business key has a
/// row for that.
fn waits(instance: &Instance, projection: &Projection, deployed: &Deployed) -> Vec<Bookmark> {
    let mut waits = match instance.phase() {
        Phase::Suspended => instance.waits(&deployed.plan),
        _ => projection.bookmarks.clone(),
    };
    if let Some(key) = instance.business_key()
        && (!instance.phase().has_ended() || instance.phase() == Phase::Faulted)
    {
        let it = instance.reference();
        let key = business_hash(&it.namespace, &it.name, key);
        waits.push(Bookmark { key, slot: BUSINESS_SLOT, since_us: None });
    }
    waits
}

fn bookmark_row(it: &flagstop_engine::api::Bookmark) -> BookmarkRow {
    BookmarkRow { key: it.key, slot: it.slot, since_us: it.since_us }
}

fn timer_row(it: &flagstop_engine::api::Timer) -> TimerRow {
    TimerRow { due_us: it.due_us, slot: it.slot }
}

fn effect_row((slot, pointer): &(i64, String)) -> EffectRow {
    EffectRow { slot: *slot, pointer: pointer.clone() }
}

/// The rows that came and went.
fn diff<T: Ord + Clone>(mut before: Vec<T>, mut after: Vec<T>) -> Diff<T> {
    before.sort_unstable();
    after.sort_unstable();
    let missing =
        |rows: &[T], from: &[T]| rows.iter().filter(|row| from.binary_search(row).is_err()).cloned().collect();
    Diff { add: missing(&after, &before), drop: missing(&before, &after) }
}

fn panic_text(panic: &Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "unknown".to_owned())
}
