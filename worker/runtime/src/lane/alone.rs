//! What may have killed a worker, tried by itself (PROTOCOL D8), and the release of what was set aside.

use flagstop_schemas::{Hash16, InstanceId};
use flagstop_store::port::Loaded;

use super::Lane;
use crate::blame::{self, Suspect};
use crate::codec::Mail;
use crate::commands::{Addressee, Command, Verb};
use crate::intake::{Item, Message, Poke, Says};

impl Lane {
    /// Tries one suspect while nothing else goes on in this process, marked before and cleared after (PROTOCOL D8).
    pub(super) async fn try_alone(&mut self, suspect: Suspect) {
        let shared = self.shared.clone();
        let _alone = shared.blame.alone.write().await;
        let mark = [suspect.id()];
        let tries = self.until_reached("mark", || self.shared.store.suspect(&mark)).await;
        let kills = tries.first().map_or(0, |tries| tries - 1);
        let enough = i32::try_from(self.shared.options.blame_max).unwrap_or(i32::MAX);
        let item = match suspect {
            Suspect::Message(delivery) if kills >= enough => {
                tracing::error!(origin = %delivery.origin, kills, "FS-MESSAGE-KILLS: a message is set aside; see the dead letters");
                Some(blame::deadly_message(delivery, kills))
            }
            Suspect::Poke(instance, poke) if kills >= enough => {
                let reason = blame::deadly_instance(instance, &poke, kills);
                tracing::error!(%instance, "an instance is set aside: {reason}");
                let reason = Some(reason.as_str());
                self.until_reached("setting aside", || self.shared.store.set_aside(instance, reason)).await;
                if let Poke::Effect { lease, .. } = &poke {
                    self.effects.forget(lease);
                }
                None
            }
            Suspect::Poke(instance, poke) => self.current(instance, poke),
            suspect => Some(suspect.into_item(&self.shared.options)),
        };
        self.trying = true;
        self.work_on(item.into_iter().collect()).await;
        self.trying = false;
        self.until_reached("clearing", || self.shared.store.clear(&mark)).await;
    }

    /// Releases instances that are set aside and told to continue (PROTOCOL D8). Those that were: look again.
    pub(super) async fn release(&self, items: &[Item], loaded: &Loaded) -> Vec<InstanceId> {
        let mut released = Vec::new();
        for row in loaded.instances.iter().filter(|row| row.aside.is_some()) {
            let mut mail = loaded.mail.iter().filter(|mail| mail.instance == row.id);
            let told = mail.any(|mail| matches!(Mail::decode(&mail.stimulus), Ok(Mail::Continue)))
                || items.iter().any(|item| continues(item, row.id));
            if told {
                tracing::info!(instance = %row.id, "released");
                let mark = [Hash16(row.id.0)];
                self.until_reached("clearing", || self.shared.store.clear(&mark)).await;
                self.until_reached("release", || self.shared.store.set_aside(row.id, None)).await;
                released.push(row.id);
            }
        }
        released
    }
}

/// Is this the command to this instance to continue?
fn continues(item: &Item, instance: InstanceId) -> bool {
    matches!(item, Item::Message(Message { says: Says::Command { command: Command::Order(order), .. }, .. })
        if matches!(order.verb, Verb::Continue) && matches!(order.to, Addressee::Instance(to) if to == instance))
}
