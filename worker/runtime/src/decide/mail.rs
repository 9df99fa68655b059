//! The mailbox: letters are drained in their order, each consumed whatever becomes of it (PROTOCOL D1).

use std::sync::Arc;

use flagstop_engine::api::{Rejected, Stimulus};
use flagstop_engine::{Event, value};
use flagstop_schemas::InstanceId;
use flagstop_store::rows::MailRow;

use super::Decider;
use crate::codec::{Mail, decode_event};
use crate::work::{Refused, Work};

impl Decider<'_> {
    /// Drains one mail row. It is consumed whatever becomes of it, unless the instance can't be read.
    pub(super) fn mail(&mut self, row: &MailRow) {
        if self.unreadable.contains_key(&row.instance) {
            return;
        }
        let mail = match Mail::decode(&row.stimulus) {
            Ok(mail) => mail,
            Err(why) => {
                tracing::error!(instance = %row.instance, mail = row.id, "left for a newer worker: {why}");
                return;
            }
        };
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
            Mail::Start { input, cause } => {
                let Ok(input) = value::parse_json(input.get().as_bytes(), &self.ground.shared.options.engine) else {
                    tracing::error!(instance = %row.instance, "a start in the mailbox has unreadable input");
                    return;
                };
                let _already_started = self.apply(row.instance, Stimulus::Start { input, cause, depth: 0 });
            }
            Mail::Cancel => {
                let _already_ended = self.apply(row.instance, Stimulus::Cancel);
            }
            Mail::Proceed => {
                let _nothing_left = self.apply(row.instance, Stimulus::Proceed);
            }
            Mail::Event { event } => match self.stored_event(event.get().as_bytes()) {
                Ok(event) => self.mailed_event(row.instance, &event),
                Err(why) => tracing::error!(instance = %row.instance, "an event in the mailbox is lost to us: {why}"),
            },
        }
    }

    /// The wait may have moved to another slot, or have ended: then the event parks like any early one.
    fn mailed_event(&mut self, instance: InstanceId, event: &Arc<Event>) {
        let keys = self.ground.catalogue.route(event).keys;
        let slots: Vec<i64> = match self.works.get(&instance) {
            Some(work) => {
                let waits = work.projection().bookmarks.iter();
                waits.filter(|b| keys.contains(&b.key)).map(|b| b.slot).collect()
            }
            None => Vec::new(),
        };
        for slot in slots {
            match self.apply(instance, Stimulus::Event { slot, event: event.clone() }) {
                Ok(()) | Err(Refused::Rejected(Rejected::Heard)) => return,
                Err(_) => {}
            }
        }
        let parked =
            self.parked(flagstop_schemas::message_key(&event.envelope().source, &event.envelope().id), event, &keys);
        if let Some(work) = self.works.get_mut(&instance) {
            work.group.park.extend(parked);
        }
    }

    pub(super) fn stored_event(&self, bytes: &[u8]) -> Result<Arc<Event>, String> {
        let event = decode_event(bytes, &self.ground.shared.options.codec).map_err(|e| e.to_string())?;
        Event::parse(event, &self.ground.shared.options.engine).map(Arc::new).map_err(|e| e.to_string())
    }
}
