//! What may have killed a worker, tried by itself (PROTOCOL D8), and set aside when it kills again and again.

use flagstop_schemas::InstanceId;
use flagstop_store::port::{Aside, Batch, Group, Verdict};

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
        let enough = i32::try_from(self.shared.options.blame_max).unwrap_or(i32::MAX);
        let item = match suspect {
            Suspect::Message(delivery) if kills >= enough => {
                tracing::error!(origin = %delivery.origin, kills, "FS-MESSAGE-KILLS: a message is set aside; see the dead letters");
                Some(blame::deadly_message(delivery, kills))
            }
            Suspect::Poke(instance, poke) if kills >= enough => return self.set_aside(instance, &poke, kills).await,
            Suspect::Poke(instance, poke) => self.current(instance, poke),
            suspect => Some(suspect.into_item(&self.shared.options)),
        };
        self.trying = true;
        self.work_on(item.into_iter().collect()).await;
        self.trying = false;
        self.until_reached("clearing", || self.shared.store.clear(&mark)).await;
    }

    /// Sets an instance aside that has killed too often; its mark goes with that.
    async fn set_aside(&self, instance: InstanceId, poke: &Poke, kills: i32) {
        let reason = blame::deadly_instance(instance, poke, kills);
        let dead = vec![blame::letter_of(instance, &reason, self.shared.about_now_us())];
        let aside = Some(Aside { instance, reason: Some(reason.clone()) });
        let groups = vec![Group { aside, dead, ..Group::default() }];
        let batch = Batch { worker: Some(self.shared.worker), groups };
        let mut pause = STORE_RETRY.0;
        for _ in 0..SET_ASIDE_TRIES {
            let (verdicts, _) = self.commit_groups(&batch).await;
            if verdicts == [Verdict::Applied] {
                tracing::error!(%instance, "an instance is set aside: {reason}");
                add(&self.shared.counters.dead_letters, 1);
                self.shared.journal_grew.notify_one();
                if let Poke::Effect { lease, .. } = poke {
                    self.effects.forget(lease);
                }
                return;
            }
            pause = rest(pause).await;
        }
        tracing::warn!(%instance, "an instance that kills workers is not there, or others write it: it could not be set aside");
    }
}
