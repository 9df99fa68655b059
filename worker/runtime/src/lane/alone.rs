//! What may have killed a worker, tried by itself (PROTOCOL D8), and set aside when it kills again and again.

use flagstop_schemas::{Hash16, InstanceId};
use flagstop_store::port::{Batch, LoadRequest, Verdict};

use super::{Lane, STORE_RETRY, rest};
use crate::blame::{self, Suspect};
use crate::counters::add;
use crate::intake::Poke;

/// How often an instance is tried to be set aside while others write it. After that its mark stays, for the next time.
const SET_ASIDE_TRIES: u32 = 5;

impl Lane {
    /// Tries one suspect while nothing else goes on in this process, marked before and cleared after (PROTOCOL D8).
    pub(super) async fn try_alone(&mut self, suspect: Suspect) {
        let shared = self.shared.clone();
        let _alone = shared.blame.alone.write().await;
        let mark = [suspect.id()];
        let tries = self.until_reached("mark", || self.shared.store.suspect(&mark)).await;
        let kills = tries.first().map_or(0, |tries| tries - 1);
        let enough = suspect.kills_max(self.shared.options.blame_max);
        let item = match suspect {
            Suspect::Message(delivery) if kills >= enough => {
                tracing::error!(origin = %delivery.origin, kills, "FS-MESSAGE-KILLS: a message is set aside; see the dead letters");
                Some(blame::deadly_message(delivery, kills))
            }
            Suspect::Poke(instance, poke) if kills >= enough => return self.set_aside(instance, &poke, kills).await,
            Suspect::Poke(instance, poke) => self.current(instance, poke),
            suspect => Some(suspect.into_item(&self.shared.options)),
        };
        self.work_on(item.into_iter().collect()).await;
        self.until_reached("clearing", || self.shared.store.clear(&mark)).await;
    }

    /// Sets an instance aside that has killed too often; its mark goes with that.
    async fn set_aside(&self, instance: InstanceId, poke: &Poke, kills: i32) {
        let request = LoadRequest { instances: vec![instance], ..LoadRequest::default() };
        let mut pause = STORE_RETRY.0;
        for _ in 0..SET_ASIDE_TRIES {
            let loaded = self.until_reached("load", || self.shared.store.load(&request)).await;
            let catalogue = self.shared.catalogues.current();
            let Some(group) = blame::shelve(instance, poke, kills, &loaded, &catalogue) else {
                let mark = [Hash16(instance.0)];
                return self.until_reached("clearing", || self.shared.store.clear(&mark)).await;
            };
            let batch = Batch { worker: Some(self.shared.worker), groups: vec![group] };
            let (verdicts, _) = self.commit_groups(&batch).await;
            if verdicts == [Verdict::Applied] {
                let reason = batch.groups[0].aside.as_ref().and_then(|aside| aside.reason.as_deref());
                tracing::error!(%instance, "an instance is set aside: {}", reason.unwrap_or_default());
                add(&self.shared.counters.dead_letters, 1);
                self.shared.journal_grew.notify_one();
                if let Poke::Effect { lease, .. } = poke {
                    self.effects.forget(lease);
                }
                return;
            }
            pause = rest(pause).await;
        }
        tracing::warn!(%instance, "others write an instance that kills workers: it could not be set aside yet");
    }
}
