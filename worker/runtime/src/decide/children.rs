//! Children (PROTOCOL D10): they are inserted in the transaction in which their parent asks for them, not yet started, with
//! a letter that starts them; so none is an orphan, and no parent waits for one that never was.

use bytes::Bytes;
use flagstop_engine::api::ChildStart;
use flagstop_engine::value;
use flagstop_schemas::InstanceId;
use flagstop_store::port::Group;
use flagstop_store::rows::{NewMail, Parent};

use super::{Decided, Decider};
use crate::codec::{ChildEnd, Mail, raw};
use crate::counters::add;
use crate::letters::inner_letter;
use crate::work;

impl Decider<'_> {
    pub(super) fn begin_child(&mut self, parent: InstanceId, child: ChildStart) {
        let version = child.version.as_ref().map(ToString::to_string);
        let found = self.ground.catalogue.named(&child.namespace, &child.name, version.as_deref()).cloned();
        let is_there = self.works.contains_key(&child.id) || self.unreadable.contains_key(&child.id);
        let deployed = match found {
            Some(deployed) if !is_there => deployed,
            Some(_) => return self.no_child(parent, &child, format!("instance {} is there already", child.id)),
            None => {
                let wanted = format!("{}/{} {}", child.namespace, child.name, version.as_deref().unwrap_or("(latest)"));
                return self.no_child(parent, &child, format!("no definition {wanted} is deployed"));
            }
        };
        let Some(work) = self.works.get_mut(&parent) else { return };
        let link = Parent { instance: parent, slot: child.slot };
        work.group.children.push((child.id, work::pending(child.id, &deployed, Some(link))));
        let mail = Mail::Start {
            input: raw(value::to_json(&child.input)),
            cause: None,
            depth: child.depth,
            heard: Vec::new(),
        };
        work.group.post.push(NewMail { instance: child.id, definition: deployed.number, stimulus: mail.encode() });
    }

    /// An awaiting parent hears it by a letter to itself, so that a workflow which tries again and again has its turn like
    /// any other; where nobody waits, it is reported. Final: the catalogue is as new as the snapshot (PROTOCOL D5).
    fn no_child(&mut self, parent: InstanceId, child: &ChildStart, reason: String) {
        if let Some(slot) = child.slot {
            if let Some(work) = self.works.get_mut(&parent) {
                let mail = Mail::Child { slot, end: ChildEnd::Missing(reason) };
                let definition = work.definition();
                work.group.post.push(NewMail { instance: parent, definition, stimulus: mail.encode() });
            }
            return;
        }
        add(&self.ground.shared.counters.dead_letters, 1);
        let reason = format!("a child that nobody awaits could not be started: {reason}");
        let body = Bytes::from(value::to_json(&child.input));
        let origin = format!("child {} of instance {parent}", child.id);
        let letter = inner_letter(origin, Some("application/json"), body, "FS-CHILD-NOT-STARTED", &reason);
        match self.works.get_mut(&parent) {
            Some(work) => work.group.dead.push(letter),
            None => self.decision.groups.push(Decided::alone(Group { dead: vec![letter], ..Group::default() })),
        }
    }
}
