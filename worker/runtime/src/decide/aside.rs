//! The release of what was set aside (PROTOCOL D8): a `continue` is consumed, answered and carried out in one transaction, however
//! it came. It must never run the engine: whatever killed before may kill again, and then the release must be over and done with,
//! or each worker would release the instance anew. What waits for the instance is drained after that, like any mail.

use flagstop_engine::api::Phase;
use flagstop_schemas::{Asked, Hash16, InstanceId};
use flagstop_store::port::{Aside, Group};
use flagstop_store::rows::{KEPT_SLOT, Meeting, NewMail};

use super::{Decided, Decider};
use crate::answers;
use crate::codec::Mail;
use crate::commands::{self, Command, Verb};
use crate::work::{BUSINESS_SLOT, Work};

impl Decider<'_> {
    /// The group that releases an instance: one in a batch, whoever asks for it. `None`: it is not set aside, or this build can't
    /// read it and leaves it to others (PROTOCOL D16).
    pub(super) fn release(&mut self, instance: InstanceId) -> Option<&mut Decided> {
        let work = self.aside.get(&instance)?;
        Some(self.releases.entry(instance).or_insert_with(|| {
            tracing::info!(%instance, "released");
            // It may have been suspended, too: it goes on in a transition of its own.
            let suspended = work.phase() == Phase::Suspended;
            let goes_on = || NewMail { instance, definition: work.definition(), stimulus: Mail::Continue.encode() };
            let aside = Some(Aside { instance, reason: None });
            let group = Group { aside, post: suspended.then(goes_on).into_iter().collect(), ..Group::default() };
            Decided { kept: vec![instance], ..Decided::alone(group) }
        }))
    }

    /// The command to continue, from the bus. `false`: its instance is not set aside, or not for this build.
    pub(super) fn released_by_order(&mut self, index: usize, key: Hash16, asked: &Asked, instance: InstanceId) -> bool {
        let accepted = answers::accepted(asked, instance, self.ground.env.now_us);
        let Some(release) = self.release(instance) else { return false };
        release.group.inbox.push(key);
        release.group.notes.push(accepted);
        release.items.push(index);
        true
    }

    /// The same command, when it was kept: for a build that can read the instance, or until somebody has the business key.
    pub(super) fn released_by_meeting(&mut self, index: usize, instance: InstanceId, meeting: &Meeting) -> bool {
        let is_kept = meeting.slot == KEPT_SLOT || meeting.slot == BUSINESS_SLOT;
        if !is_kept || !self.aside.contains_key(&instance) || self.taken.contains(&meeting.parked) {
            return false;
        }
        let Ok(envelope) = self.stored_envelope(&meeting.event) else { return false };
        if !commands::is_command(&envelope.ty) {
            return false;
        }
        let asked = Asked::of(&envelope);
        let accepted = answers::accepted(&asked, instance, self.ground.env.now_us);
        let options = &self.ground.shared.options;
        let Ok(Command::Order(order)) = commands::read(envelope, &options.codec, &options.engine) else { return false };
        if !matches!(order.verb, Verb::Continue) || !self.is_for(&order, instance) {
            return false;
        }
        let Some(release) = self.release(instance) else { return false };
        release.group.claims.push(meeting.parked);
        release.group.notes.push(accepted);
        release.items.push(index);
        self.taken.insert(meeting.parked);
        true
    }

    /// An instance that this build can read, set aside or not.
    pub(super) fn known(&self, instance: InstanceId) -> Option<&Work> {
        self.works.get(&instance).or_else(|| self.aside.get(&instance))
    }
}
