//! The mailbox: letters are drained in their order, each consumed whatever becomes of it (PROTOCOL D1).

use std::collections::BTreeSet;
use std::sync::Arc;

use flagstop_engine::Event;
use flagstop_engine::api::{Phase, Rejected, Stimulus};
use flagstop_schemas::{CloudEvent, InstanceId, message_key};
use flagstop_store::rows::MailRow;

use super::Decider;
use super::commands::Answer;
use crate::codec::{Mail, decode_event, stored_value};
use crate::counters::add;
use crate::letters::inner_letter;
use crate::work::{Refused, Work};

/// Whom these letters cancel.
pub(super) fn cancelled(mail: &[MailRow]) -> BTreeSet<InstanceId> {
    let cancel = Mail::Cancel.encode();
    mail.iter().filter(|row| row.stimulus == cancel).map(|row| row.instance).collect()
}

impl Decider<'_> {
    /// Drains one mail row. It is consumed whatever becomes of it, unless the instance can't be read, or is set aside: then all
    /// but its release waits.
    pub(super) fn mail(&mut self, row: &MailRow) {
        if self.unreadable.contains_key(&row.instance) {
            if matches!(Mail::decode(&row.stimulus), Ok(Mail::Continue))
                && let Some(release) = self.release(row.instance)
            {
                release.group.mail.push(row.id);
            }
            return;
        }
        let mail = match Mail::decode(&row.stimulus) {
            Ok(mail) => mail,
            Err(why) => {
                tracing::error!(instance = %row.instance, mail = row.id, "left for a newer worker: {why}");
                return;
            }
        };
        if matches!(mail, Mail::Start { .. })
            && self.cancelled.contains(&row.instance)
            && let Some(work) = self.works.get_mut(&row.instance)
            && work.phase() == Phase::Pending
        {
            // Its start may be what kills workers: that is how a person gets rid of it.
            work.group.mail.push(row.id);
            return;
        }
        if matches!(mail, Mail::Start { .. }) && self.duplicate_start(row) {
            return;
        }
        if let Mail::Start { .. } = mail
            && !self.works.contains_key(&row.instance)
        {
            let Some(deployed) = self.ground.catalogue.by_number(row.definition) else { return };
            self.works.insert(row.instance, Work::create(row.instance, deployed.clone()));
        }
        let Some(work) = self.works.get_mut(&row.instance) else {
            tracing::warn!(instance = %row.instance, mail = row.id, "mail to an instance that does not exist");
            return;
        };
        work.group.mail.push(row.id);
        match mail {
            Mail::Start { input, cause, depth, heard } => {
                match stored_value(&input, &self.ground.shared.options.engine) {
                    Ok(input) => self.mailed(row, Stimulus::Start { input, cause, depth, heard }),
                    Err(why) => self.lost(row, "FS-MAIL-UNREADABLE", &why.to_string()),
                }
            }
            Mail::Child { slot, end } => match end.outcome(&self.ground.shared.options.engine) {
                Ok(outcome) => self.mailed(row, Stimulus::Child { slot, outcome }),
                Err(why) => self.lost(row, "FS-MAIL-UNREADABLE", &why.to_string()),
            },
            Mail::Cancel => self.mailed(row, Stimulus::Cancel),
            Mail::Suspend => self.mailed(row, Stimulus::Suspend),
            Mail::Continue => self.mailed(row, Stimulus::Continue),
            Mail::Retry => match self.not_beside(row.instance) {
                None => self.mailed(row, Stimulus::Retry),
                Some(why) => tracing::warn!(instance = %row.instance, mail = row.id, "it can't be retried: {why}"),
            },
            Mail::Proceed => self.mailed(row, Stimulus::Proceed),
            Mail::Rerun { source, id } => {
                if let Answer::Refused(why) = self.rerun(row.instance, (&source, &id)) {
                    tracing::debug!(instance = %row.instance, mail = row.id, "a letter came too late: {why}");
                }
            }
            Mail::Event { event } => match self.stored_event(event.get().as_bytes()) {
                Ok(event) => self.mailed_event(row.instance, &event),
                Err(why) => self.lost(row, "FS-MAIL-UNREADABLE", &why),
            },
        }
    }

    /// One that the instance does not take any more (it has ended, it went on without it) changes nothing.
    fn mailed(&mut self, row: &MailRow, stimulus: Stimulus) {
        match self.apply(row.instance, stimulus) {
            Ok(()) => {}
            Err(Refused::Rejected(why)) => {
                tracing::debug!(instance = %row.instance, mail = row.id, "a letter came too late: {why}");
            }
            Err(Refused::Panicked(why)) => self.lost(row, "FS-ENGINE-PANIC", &why),
        }
    }

    /// A letter that can't be carried out goes to the dead ones, as it was.
    fn lost(&mut self, row: &MailRow, code: &str, why: &str) {
        add(&self.ground.shared.counters.dead_letters, 1);
        let reason = format!("a letter to instance {} could not be carried out: {why}", row.instance);
        let origin = format!("mailbox of instance {}", row.instance);
        if let Some(work) = self.works.get_mut(&row.instance) {
            let media = Some("application/json");
            work.group.dead.push(inner_letter(origin, media, row.stimulus.clone(), code, &reason));
        }
    }

    /// The wait may have moved to another slot, or have ended: then the event parks like any early one. A suspended
    /// instance has it kept.
    fn mailed_event(&mut self, instance: InstanceId, event: &Arc<Event>) {
        let key = message_key(&event.envelope().source, &event.envelope().id);
        let suspended = self.works.get(&instance).is_some_and(|work| work.phase() == Phase::Suspended);
        let parked = match suspended {
            true => vec![self.kept(key, instance, event.envelope())],
            false => match self.resume(instance, event) {
                Ok(()) | Err(Refused::Rejected(Rejected::Heard)) => return,
                Err(_) => self.parked(key, event, &self.ground.catalogue.route(event).keys),
            },
        };
        if let Some(work) = self.works.get_mut(&instance) {
            work.group.park.extend(parked);
            work.kept.extend(suspended.then_some(instance));
        }
    }

    pub(super) fn stored_envelope(&self, bytes: &[u8]) -> Result<CloudEvent, String> {
        decode_event(bytes, &self.ground.shared.options.codec).map_err(|e| e.to_string())
    }

    pub(super) fn stored_event(&self, bytes: &[u8]) -> Result<Arc<Event>, String> {
        let event = self.stored_envelope(bytes)?;
        Event::parse(event, &self.ground.shared.options.engine).map(Arc::new).map_err(|e| e.to_string())
    }
}
