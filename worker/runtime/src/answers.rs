//! Answers to commands, as they go into the journal (PROTOCOL 'Commands'): an accepted command's into the row of the transition
//! that it made, all others' into a row of their own, in the transaction of the verdict. The relay publishes them.

use flagstop_schemas::{Answer, Asked, CloudEvent, Entry, Hash16, Header, InstanceId, journal};
use flagstop_store::rows::Note;

use crate::work::Work;

/// The answer to a command that was carried out, beside what it did. `instance`: which one it is about.
pub(crate) fn accept(work: &mut Work, asked: &Asked, instance: InstanceId, at_us: i64) {
    let answer = asked.answer(&Answer::Accepted, Some(instance), at_us);
    match work.is_moved() {
        true => work.tell(Entry::Answer(Box::new(answer))),
        false => work.group.notes.push(note(answer)),
    }
}

/// The answer to a command that was carried out without a transition.
pub(crate) fn accepted(asked: &Asked, instance: InstanceId, at_us: i64) -> Note {
    note(asked.answer(&Answer::Accepted, Some(instance), at_us))
}

/// The answer to a command that was not carried out; a code that `reason` begins with is left out of it.
pub(crate) fn rejected(asked: &Asked, instance: Option<InstanceId>, code: &str, reason: &str, at_us: i64) -> Note {
    let reason = reason.strip_prefix(code).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(reason);
    let answer = Answer::Rejected { code: code.to_owned(), reason: reason.to_owned() };
    note(asked.answer(&answer, instance, at_us))
}

fn note(answer: CloudEvent) -> Note {
    let header = Header {
        namespace: String::new(),
        name: String::new(),
        version: String::new(),
        instance: InstanceId(uuid::Uuid::nil()),
        business_key: None,
    };
    let id = Hash16::of("flagstop/note", &[answer.id.as_bytes()]);
    Note { id, events: journal::encode(&header, &[Entry::Answer(Box::new(answer))]) }
}
