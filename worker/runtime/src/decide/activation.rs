//! Activation (PROTOCOL 'Activation'): what becomes of a start or a retry while another instance lives under the same key. The
//! store refuses it; then the batch is decided again, with the knowledge of who lives there.

use bytes::Bytes;
use flagstop_engine::OnDuplicate;
use flagstop_engine::api::Stimulus;
use flagstop_schemas::{Asked, Hash16, InstanceId};
use flagstop_store::port::Group;
use flagstop_store::rows::{DeadLetter, MailRow};

use super::{Decided, Decider};
use crate::answers;
use crate::catalogue::Deployed;
use crate::counters::add;
use crate::intake::Message;
use crate::letters::{inner_letter, letter};

/// The code of all that is refused for this.
const CODE: &str = "FS-ALREADY-ACTIVE";

impl Decider<'_> {
    /// Why this instance may not live now, if so.
    pub(super) fn not_beside(&self, instance: InstanceId) -> Option<String> {
        let holder = self.ground.active.get(&instance)?;
        Some(format!(
            "{CODE}: instance {holder} lives under the same activation key; it must end before another one can begin"
        ))
    }

    /// The letter for a trigger that starts nothing, if its definition wants one.
    pub(super) fn duplicate_letter(&self, deployed: &Deployed, why: &str, message: &Message) -> Option<DeadLetter> {
        tracing::info!(name = deployed.plan.reference().name, "a trigger starts nothing: {why}");
        let wanted = deployed.plan.on_duplicate() == Some(OnDuplicate::DeadLetter);
        if wanted {
            add(&self.ground.shared.counters.dead_letters, 1);
        }
        wanted.then(|| letter(&message.delivery, CODE, why))
    }

    /// A start command is refused, and whoever sent it is told, in any case.
    pub(super) fn duplicate_command(
        &mut self,
        index: usize,
        key: Hash16,
        asked: &Asked,
        deployed: &Deployed,
        why: &str,
        message: &Message,
    ) {
        let dead = self.duplicate_letter(deployed, why, message).into_iter().collect();
        let notes = vec![answers::rejected(asked, None, CODE, why, self.ground.env.now_us)];
        self.stand_alone(index, Group { inbox: vec![key], dead, notes, ..Group::default() });
    }

    /// A letter that is to start an instance. One that is there already, as a child or to run something again, ends before it
    /// begins, so that whoever awaits it hears of it. `false`: it may start.
    pub(super) fn duplicate_start(&mut self, row: &MailRow) -> bool {
        let Some(why) = self.not_beside(row.instance) else { return false };
        let Some(deployed) = self.ground.catalogue.by_number(row.definition).cloned() else { return false };
        let origin = format!("start of instance {}", row.instance);
        let dead = self.inner_duplicate(&deployed, origin, row.stimulus.clone(), &why);
        if self.works.contains_key(&row.instance) {
            // A pending instance can always be cancelled.
            let _cancelled = self.apply(row.instance, Stimulus::Cancel);
            if let Some(work) = self.works.get_mut(&row.instance) {
                work.group.mail.push(row.id);
                work.group.dead.extend(dead);
            }
        } else {
            let group = Group { mail: vec![row.id], dead: dead.into_iter().collect(), ..Group::default() };
            self.decision.groups.push(Decided::alone(group));
        }
        true
    }

    /// The letter for what starts without a message of its own, if its definition wants one.
    pub(super) fn inner_duplicate(
        &self,
        deployed: &Deployed,
        origin: String,
        body: Bytes,
        why: &str,
    ) -> Option<DeadLetter> {
        tracing::info!("{origin}: nothing begins: {why}");
        if deployed.plan.on_duplicate() != Some(OnDuplicate::DeadLetter) {
            return None;
        }
        add(&self.ground.shared.counters.dead_letters, 1);
        Some(inner_letter(origin, Some("application/json"), body, CODE, why))
    }
}
