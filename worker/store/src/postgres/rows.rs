//! A batch's rows as columns, the form in which `unnest` takes them. Decides nothing.

use flagstop_schemas::InstanceId;
use uuid::Uuid;

use super::connections::Statement;
use crate::port::{Group, InstanceWrite};
use crate::rows::{SHARDS, WorkerId};

/// Columns of one length that are bound one after the other.
pub(super) trait Columns {
    /// Binds them in the order of their declaration.
    fn bind(self, statement: Statement) -> Statement;
}

/// Declares rows that are kept by column; the first column is always the group's place in the batch.
macro_rules! columns {
    ($(#[$doc:meta])* $name:ident { $($column:ident: $kind:ty,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub(super) struct $name<'a> {
            ord: Vec<i32>,
            $($column: Vec<$kind>,)+
            of: std::marker::PhantomData<&'a ()>,
        }

        impl<'a> $name<'a> {
            #[allow(clippy::too_many_arguments, reason = "one for each column, made by the macro")]
            fn push(&mut self, ord: i32, $($column: $kind),+) {
                self.ord.push(ord);
                $(self.$column.push($column);)+
            }
        }

        impl Columns for $name<'_> {
            fn bind(self, statement: Statement) -> Statement {
                statement.bind(self.ord)$(.bind(self.$column))+
            }
        }
    };
}

columns! {
    /// Instances' new states.
    Writes {
        id: Uuid, revision: i32, definition: i32, status: i16, shard: i16, ended: bool, parent: Option<Uuid>,
        parent_slot: Option<i64>, business_key: Option<&'a str>, state: &'a [u8], events: &'a [u8],
    }
}
columns! {
    /// Rows known by a hash: messages, claims.
    Keys { key: Uuid, }
}
columns! {
    /// Rows known by a number: drained mail.
    Numbers { id: i64, }
}
columns! {
    /// Leases that must still be held.
    Fences { instance: Uuid, slot: i64, epoch: i32, }
}
columns! {
    /// Bookmarks that go.
    BookmarksOut { key: Uuid, instance: Uuid, slot: i64, }
}
columns! {
    /// Bookmarks that come.
    BookmarksIn { key: Uuid, instance: Uuid, slot: i64, since_us: Option<i64>, }
}
columns! {
    /// Timers that go or come.
    Timers { shard: i16, due_us: i64, instance: Uuid, slot: i64, }
}
columns! {
    /// Effects that go.
    EffectsOut { instance: Uuid, slot: i64, }
}
columns! {
    /// Effects that come.
    EffectsIn { instance: Uuid, slot: i64, pointer: &'a str, }
}
columns! {
    /// New mail.
    Post { instance: Uuid, definition: i32, shard: i16, stimulus: &'a [u8], }
}
columns! {
    /// Early events.
    Parked { id: Uuid, key: Uuid, message: Uuid, matched: bool, expires_us: i64, event_type: &'a str, event: &'a [u8], }
}
columns! {
    /// Large values that come.
    ValuesIn { instance: Uuid, hash: Uuid, value: &'a [u8], }
}
columns! {
    /// Large values that go.
    ValuesOut { instance: Uuid, hash: Uuid, }
}
columns! {
    /// Schedules' memories.
    Schedules {
        id: Uuid, was: Option<i64>, becomes: i64, shard: i16, stays: bool, definition: i32, due_us: Option<i64>,
        awaits: Option<Uuid>, state: &'a [u8],
    }
}
columns! {
    /// Activation keys that are held, or given back.
    Activations { key: Uuid, instance: Uuid, live: bool, }
}
columns! {
    /// Remarks for histories.
    Remarks { instance: Uuid, definition: i32, shard: i16, events: &'a [u8], }
}
columns! {
    /// Instances that are set aside, or released.
    Asides { id: Uuid, reason: Option<&'a str>, }
}
columns! {
    /// Dead letters.
    Letters {
        id: Uuid, code: &'a str, reason: &'a str, origin: &'a str, content_type: Option<&'a str>, headers: &'a [u8],
        body: &'a [u8],
    }
}

columns! {
    /// What is published without a transition.
    Notes { id: Uuid, shard: i16, events: &'a [u8], }
}

/// All rows of some groups.
#[derive(Debug, Default)]
pub(super) struct Sheet<'a> {
    /// How many groups there are.
    pub(super) groups: i32,
    pub(super) worker: Option<Uuid>,
    pub(super) writes: Writes<'a>,
    pub(super) messages: Keys<'a>,
    pub(super) claims: Keys<'a>,
    pub(super) mail: Numbers<'a>,
    pub(super) fences: Fences<'a>,
    pub(super) bookmarks_out: BookmarksOut<'a>,
    pub(super) bookmarks_in: BookmarksIn<'a>,
    pub(super) timers_out: Timers<'a>,
    pub(super) timers_in: Timers<'a>,
    pub(super) effects_out: EffectsOut<'a>,
    pub(super) effects_in: EffectsIn<'a>,
    pub(super) post: Post<'a>,
    pub(super) parked: Parked<'a>,
    pub(super) letters: Letters<'a>,
    pub(super) values_in: ValuesIn<'a>,
    pub(super) values_out: ValuesOut<'a>,
    pub(super) schedules: Schedules<'a>,
    pub(super) activations: Activations<'a>,
    pub(super) notes: Notes<'a>,
    pub(super) remarks: Remarks<'a>,
    /// One more column of `writes`.
    pub(super) errors: Vec<Option<&'a str>>,
    pub(super) asides: Asides<'a>,
}

impl<'a> Sheet<'a> {
    pub(super) fn of(worker: Option<WorkerId>, groups: &[&'a Group]) -> Self {
        let mut sheet = Self { worker: worker.map(|worker| worker.0), ..Self::default() };
        for group in groups {
            sheet.group(group);
            sheet.groups += 1;
        }
        sheet
    }

    fn group(&mut self, group: &'a Group) {
        let ord = self.groups;
        for (id, write) in group.instance.iter().chain(&group.children) {
            self.write(ord, *id, write);
        }
        for key in &group.inbox {
            self.messages.push(ord, key.0);
        }
        for id in &group.claims {
            self.claims.push(ord, id.0);
        }
        for id in &group.mail {
            self.mail.push(ord, *id);
        }
        for lease in &group.fences {
            self.fences.push(ord, lease.instance.0, lease.slot, lease.epoch);
        }
        for mail in &group.post {
            self.post.push(ord, mail.instance.0, mail.definition, mail.instance.shard(SHARDS), &mail.stimulus);
        }
        for schedule in &group.schedules {
            let memory = schedule.memory.as_ref();
            self.schedules.push(
                ord,
                schedule.id.0,
                schedule.was,
                schedule.becomes,
                InstanceId(schedule.id.0).shard(SHARDS),
                memory.is_some(),
                memory.map_or(0, |memory| memory.definition),
                memory.and_then(|memory| memory.due_us),
                memory.and_then(|memory| memory.awaits).map(|id| id.0),
                memory.map_or(&[], |memory| &memory.state),
            );
        }
        for remark in &group.remarks {
            let (id, shard) = (remark.instance.0, remark.instance.shard(SHARDS));
            self.remarks.push(ord, id, remark.definition, shard, &remark.events);
        }
        for event in &group.park {
            let (id, key, message) = (event.id.0, event.key.0, event.message.0);
            let (matched, expires_us) = (event.matched, event.expires_us);
            self.parked.push(ord, id, key, message, matched, expires_us, &event.event_type, &event.event);
        }
        for letter in &group.dead {
            let media = letter.content_type.as_deref();
            let (code, reason, origin) = (&letter.code, &letter.reason, &letter.origin);
            self.letters.push(ord, letter.id.0, code, reason, origin, media, &letter.headers, &letter.body);
        }
        for note in &group.notes {
            self.notes.push(ord, note.id.0, InstanceId(note.id.0).shard(SHARDS), &note.events);
        }
        if let Some(aside) = &group.aside {
            self.asides.push(ord, aside.instance.0, aside.reason.as_deref());
        }
    }

    fn write(&mut self, ord: i32, instance: InstanceId, write: &'a InstanceWrite) {
        let (id, shard) = (instance.0, instance.shard(SHARDS));
        self.writes.push(
            ord,
            id,
            write.revision,
            write.definition,
            write.status,
            shard,
            write.ended,
            write.parent.map(|parent| parent.instance.0),
            write.parent.and_then(|parent| parent.slot),
            write.business_key.as_deref(),
            &write.state,
            &write.events,
        );
        self.errors.push(write.error.as_deref());
        if let Some(key) = write.activation {
            self.activations.push(ord, key.0, id, !write.ended);
        }
        for hash in &write.values_out {
            self.values_out.push(ord, id, hash.0);
        }
        for value in &write.values_in {
            self.values_in.push(ord, id, value.hash.0, &value.bytes);
        }
        for mark in &write.bookmarks.drop {
            self.bookmarks_out.push(ord, mark.key.0, id, mark.slot);
        }
        for mark in &write.bookmarks.add {
            self.bookmarks_in.push(ord, mark.key.0, id, mark.slot, mark.since_us);
        }
        for timer in &write.timers.drop {
            self.timers_out.push(ord, shard, timer.due_us, id, timer.slot);
        }
        for timer in &write.timers.add {
            self.timers_in.push(ord, shard, timer.due_us, id, timer.slot);
        }
        for effect in &write.effects.drop {
            // The parts of a statement see nothing of one another: what comes again is overwritten, not deleted.
            if !write.effects.add.iter().any(|added| added.slot == effect.slot) {
                self.effects_out.push(ord, id, effect.slot);
            }
        }
        for effect in &write.effects.add {
            self.effects_in.push(ord, id, effect.slot, &effect.pointer);
        }
    }
}
