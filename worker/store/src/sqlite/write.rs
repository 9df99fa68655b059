//! Writes accepted groups: one statement per table that changes, all in one command. Judges nothing.

use flagstop_schemas::InstanceId;

use super::connection::Command;
use super::encode::{Heap, Rows};
use crate::port::{Group, InstanceWrite, ScheduleWrite};
use crate::rows::{DeadLetter, REMARK_ROW, SHARDS, WorkerId};

/// A group that may be written.
#[derive(Debug)]
pub(super) struct Accepted<'a> {
    pub(super) group: &'a Group,
    /// Those of its dead letters that are not there yet.
    pub(super) letters: Vec<&'a DeadLetter>,
}

/// What the command does after writing.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ending {
    /// Ends the transaction.
    Commit,
    /// Ends the savepoint `one`.
    Release,
}

/// The tables' rows in the order in which they are written: what goes before what comes.
#[derive(Debug)]
enum Part {
    Inbox,
    Kin,
    Claims,
    MailGone,
    Instances,
    BookmarksGone,
    Bookmarks,
    TimersGone,
    Timers,
    EffectsGone,
    Effects,
    Journal,
    Mail,
    Parked,
    Letters,
    ValuesGone,
    Values,
    SchedulesGone,
    Schedules,
    ActivationsGone,
    Activations,
    Asides,
    Suspects,
}

pub(super) const PARTS: usize = 23;

/// One statement per [`Part`]. `$1` is the time, `$2` the heap, `$3` the worker; each part's rows follow from `$4` on.
pub(super) const STATEMENTS: [&str; PARTS] = [
    "INSERT INTO inbox (key, at_us) SELECT unhex(value ->> 0), $1 FROM json_each($4) WHERE true
     ON CONFLICT (key) DO NOTHING",
    // Before the claims go: what else is parked of their messages has had somebody who heard it.
    "UPDATE parked SET matched = 1 WHERE NOT matched AND message IN
       (SELECT p.message FROM json_each($5) j CROSS JOIN parked p ON p.id = unhex(j.value ->> 0))",
    "DELETE FROM parked WHERE id IN (SELECT unhex(value ->> 0) FROM json_each($6))",
    "DELETE FROM mail WHERE id IN (SELECT value ->> 0 FROM json_each($7))",
    "INSERT INTO instances (id, definition, revision, status, parent, parent_slot, created_us, updated_us, ended_us,
       business_key, state, error)
     SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, unhex(value ->> 4), value ->> 5, $1, $1,
            CASE value ->> 6 WHEN 1 THEN $1 END,
            CAST(substr($2, value ->> 7, value ->> 8) AS TEXT), substr($2, value ->> 9, value ->> 10),
            CAST(substr($2, value ->> 11, value ->> 12) AS TEXT)
     FROM json_each($8) WHERE true
     ON CONFLICT (id) DO UPDATE SET definition = excluded.definition, revision = excluded.revision,
       status = excluded.status, updated_us = excluded.updated_us, state = excluded.state, error = excluded.error,
       business_key = coalesce(business_key, excluded.business_key),
       ended_us = CASE WHEN excluded.ended_us IS NULL THEN NULL ELSE coalesce(ended_us, excluded.ended_us) END",
    "DELETE FROM bookmarks WHERE (key, instance, slot) IN
       (SELECT unhex(value ->> 0), unhex(value ->> 1), value ->> 2 FROM json_each($9))",
    "INSERT INTO bookmarks (key, instance, slot, since_us)
     SELECT unhex(value ->> 0), unhex(value ->> 1), value ->> 2, value ->> 3 FROM json_each($10) WHERE true
     ON CONFLICT (key, instance, slot) DO UPDATE SET since_us = excluded.since_us",
    // The instance stands first: with a number first in the list SQLite searches by that column alone.
    "DELETE FROM timers WHERE (instance, slot, due_us) IN
       (SELECT unhex(value ->> 1), value ->> 2, value ->> 0 FROM json_each($11))",
    "INSERT INTO timers (due_us, instance, slot, shard)
     SELECT value ->> 0, unhex(value ->> 1), value ->> 2, value ->> 3 FROM json_each($12) WHERE true
     ON CONFLICT (due_us, instance, slot) DO NOTHING",
    "DELETE FROM effects WHERE (instance, slot) IN (SELECT unhex(value ->> 0), value ->> 1 FROM json_each($13))",
    "INSERT INTO effects (instance, slot, owner, epoch, pointer)
     SELECT unhex(value ->> 0), value ->> 1, $3, 1, CAST(substr($2, value ->> 2, value ->> 3) AS TEXT)
     FROM json_each($14) WHERE true
     ON CONFLICT (instance, slot) DO UPDATE SET owner = excluded.owner, epoch = 1, pointer = excluded.pointer",
    "INSERT INTO journal (shard, instance, revision, definition, at_us, events)
     SELECT value ->> 0, unhex(value ->> 1), value ->> 2, value ->> 3, $1, substr($2, value ->> 4, value ->> 5)
     FROM json_each($15)",
    "INSERT INTO mail (instance, shard, definition, at_us, stimulus)
     SELECT unhex(value ->> 0), value ->> 1, value ->> 2, CASE WHEN $3 IS NULL THEN -$1 ELSE $1 END,
            substr($2, value ->> 3, value ->> 4)
     FROM json_each($16)",
    "INSERT INTO parked (id, key, message, matched, expires_us, event_type, at_us, event)
     SELECT unhex(value ->> 0), unhex(value ->> 1), unhex(value ->> 2), value ->> 3, value ->> 4,
            CAST(substr($2, value ->> 5, value ->> 6) AS TEXT), $1, substr($2, value ->> 7, value ->> 8)
     FROM json_each($17) WHERE true
     ON CONFLICT (id) DO NOTHING",
    "INSERT OR REPLACE INTO dead_letters (id, at_us, code, reason, origin, content_type, headers, body)
     SELECT unhex(value ->> 0), $1, CAST(substr($2, value ->> 1, value ->> 2) AS TEXT),
            CAST(substr($2, value ->> 3, value ->> 4) AS TEXT), CAST(substr($2, value ->> 5, value ->> 6) AS TEXT),
            CAST(substr($2, value ->> 7, value ->> 8) AS TEXT), substr($2, value ->> 9, value ->> 10),
            substr($2, value ->> 11, value ->> 12)
     FROM json_each($18)",
    "DELETE FROM large_values WHERE (instance, hash) IN
       (SELECT unhex(value ->> 0), unhex(value ->> 1) FROM json_each($19))",
    "INSERT INTO large_values (instance, hash, value)
     SELECT unhex(value ->> 0), unhex(value ->> 1), substr($2, value ->> 2, value ->> 3) FROM json_each($20) WHERE true
     ON CONFLICT (instance, hash) DO NOTHING",
    "DELETE FROM schedules WHERE id IN (SELECT unhex(value ->> 0) FROM json_each($21))",
    "INSERT INTO schedules (id, token, shard, definition, due_us, awaits, state)
     SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4, unhex(value ->> 5),
            substr($2, value ->> 6, value ->> 7)
     FROM json_each($22) WHERE true
     ON CONFLICT (id) DO UPDATE SET token = excluded.token, definition = excluded.definition, due_us = excluded.due_us,
       awaits = excluded.awaits, state = excluded.state",
    "DELETE FROM activations WHERE (key, instance) IN (SELECT unhex(value ->> 0), unhex(value ->> 1) FROM json_each($23))",
    "INSERT INTO activations (key, instance) SELECT unhex(value ->> 0), unhex(value ->> 1) FROM json_each($24) WHERE true
     ON CONFLICT (key) DO NOTHING",
    "UPDATE instances SET aside = (SELECT CAST(substr($2, value ->> 1, value ->> 2) AS TEXT) FROM json_each($25)
       WHERE unhex(value ->> 0) = instances.id)
     WHERE id IN (SELECT unhex(value ->> 0) FROM json_each($25))",
    "DELETE FROM suspects WHERE id IN (SELECT unhex(value ->> 0) FROM json_each($26))",
];

/// The rows of all parts.
#[derive(Debug)]
struct Sheet {
    heap: Heap,
    parts: [Rows; PARTS],
}

/// Makes the one command that writes all these groups.
pub(super) fn command(groups: &[Accepted], worker: Option<WorkerId>, now_us: i64, ending: Ending) -> Command {
    let mut sheet = Sheet { heap: Heap::new(), parts: std::array::from_fn(|_| Rows::new()) };
    for accepted in groups {
        sheet.group(accepted);
    }
    let mut text = String::new();
    let mut statements = 1;
    for (rows, statement) in sheet.parts.iter().zip(STATEMENTS) {
        if !rows.is_empty() {
            text.push_str(statement);
            text.push(';');
            statements += 1;
        }
    }
    text.push_str(match ending {
        Ending::Commit => "COMMIT",
        Ending::Release => "RELEASE one",
    });
    let mut command =
        Command::made(text, statements).bind(now_us).bind(sheet.heap.into_bytes()).bind(worker.map(|id| id.0));
    for rows in sheet.parts {
        command = command.bind(rows.into_json());
    }
    command
}

impl Sheet {
    fn part(&mut self, part: Part) -> (&mut Rows, &mut Heap) {
        (self.parts[part as usize].row(), &mut self.heap)
    }

    fn group(&mut self, accepted: &Accepted) {
        let group = accepted.group;
        for key in &group.inbox {
            self.part(Part::Inbox).0.id(key.0);
        }
        for id in &group.claims {
            // What expires is claimed by nobody.
            if group.instance.is_some() {
                self.part(Part::Kin).0.id(id.0);
            }
            self.part(Part::Claims).0.id(id.0);
        }
        for id in &group.mail {
            self.part(Part::MailGone).0.int(*id);
        }
        for (id, write) in group.instance.iter().chain(&group.children) {
            self.instance(*id, write);
        }
        for mail in &group.post {
            let (rows, heap) = self.part(Part::Mail);
            rows.id(mail.instance.0).int(mail.instance.shard(SHARDS)).int(mail.definition).bytes(heap, &mail.stimulus);
        }
        for remark in &group.remarks {
            self.journal(remark.instance, REMARK_ROW, remark.definition, &remark.events);
        }
        for event in &group.park {
            let (rows, heap) = self.part(Part::Parked);
            rows.id(event.id.0).id(event.key.0).id(event.message.0).int(event.matched).int(event.expires_us);
            rows.bytes(heap, event.event_type.as_bytes()).bytes(heap, &event.event);
        }
        for letter in &accepted.letters {
            self.letter(letter);
        }
        for note in &group.notes {
            self.journal(InstanceId(note.id.0), 0, 0, &note.events);
        }
        for schedule in &group.schedules {
            self.schedule(schedule);
        }
        if let Some(aside) = &group.aside {
            let (rows, heap) = self.part(Part::Asides);
            rows.id(aside.instance.0).text_or_null(heap, aside.reason.as_deref());
            self.part(Part::Suspects).0.id(aside.instance.0);
        }
    }

    fn instance(&mut self, id: InstanceId, write: &InstanceWrite) {
        let (rows, heap) = self.part(Part::Instances);
        rows.id(id.0).int(write.definition).int(write.revision + 1).int(write.status);
        rows.id_or_null(write.parent.map(|parent| parent.instance.0));
        rows.int_or_null(write.parent.and_then(|parent| parent.slot)).int(write.ended);
        rows.text_or_null(heap, write.business_key.as_deref()).bytes(heap, &write.state);
        rows.text_or_null(heap, write.error.as_deref());
        if let Some(key) = write.activation {
            let part = if write.ended { Part::ActivationsGone } else { Part::Activations };
            self.part(part).0.id(key.0).id(id.0);
        }
        for hash in &write.values_out {
            self.part(Part::ValuesGone).0.id(id.0).id(hash.0);
        }
        for value in &write.values_in {
            let (rows, heap) = self.part(Part::Values);
            rows.id(id.0).id(value.hash.0).bytes(heap, &value.bytes);
        }
        for mark in &write.bookmarks.drop {
            self.part(Part::BookmarksGone).0.id(mark.key.0).id(id.0).int(mark.slot);
        }
        for mark in &write.bookmarks.add {
            self.part(Part::Bookmarks).0.id(mark.key.0).id(id.0).int(mark.slot).int_or_null(mark.since_us);
        }
        for timer in &write.timers.drop {
            self.part(Part::TimersGone).0.int(timer.due_us).id(id.0).int(timer.slot);
        }
        for timer in &write.timers.add {
            self.part(Part::Timers).0.int(timer.due_us).id(id.0).int(timer.slot).int(id.shard(SHARDS));
        }
        for effect in &write.effects.drop {
            self.part(Part::EffectsGone).0.id(id.0).int(effect.slot);
        }
        for effect in &write.effects.add {
            let (rows, heap) = self.part(Part::Effects);
            rows.id(id.0).int(effect.slot).bytes(heap, effect.pointer.as_bytes());
        }
        self.journal(id, write.revision + 1, write.definition, &write.events);
    }

    fn schedule(&mut self, schedule: &ScheduleWrite) {
        let id = schedule.id.0;
        let Some(memory) = &schedule.memory else {
            self.part(Part::SchedulesGone).0.id(id);
            return;
        };
        let (rows, heap) = self.part(Part::Schedules);
        rows.id(id).int(schedule.becomes).int(InstanceId(id).shard(SHARDS)).int(memory.definition);
        rows.int_or_null(memory.due_us).id_or_null(memory.awaits.map(|id| id.0)).bytes(heap, &memory.state);
    }

    fn letter(&mut self, letter: &DeadLetter) {
        let (rows, heap) = self.part(Part::Letters);
        rows.id(letter.id.0).bytes(heap, letter.code.as_bytes()).bytes(heap, letter.reason.as_bytes());
        rows.bytes(heap, letter.origin.as_bytes()).text_or_null(heap, letter.content_type.as_deref());
        rows.bytes(heap, &letter.headers).bytes(heap, &letter.body);
        // The relay publishes it because of this row; it is nobody's transition.
        self.journal(InstanceId(letter.id.0), 0, 0, &[]);
    }

    fn journal(&mut self, id: InstanceId, revision: i32, definition: i32, events: &[u8]) {
        let (rows, heap) = self.part(Part::Journal);
        rows.int(id.shard(SHARDS)).id(id.0).int(revision).int(definition).bytes(heap, events);
    }
}
