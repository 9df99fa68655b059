//! A lane: takes a batch, loads, decides, commits, looks again, acknowledges, and goes on with what follows from it.
//!
//! It must never acknowledge before the commit and the look, and never give up an item: what conflicts is decided again.

mod ahead;
mod alone;
mod request;
mod settle;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use flagstop_bus::port::{Acker, Delivery, Token};
use flagstop_engine::api::Env;
use flagstop_schemas::{Hash16, InstanceId};
use flagstop_store::port::StoreError;
use flagstop_store::port::{Batch, Loaded, LookRequest, Verdict};
use flagstop_store::rows::{EffectLease, Meeting};
use rand::RngExt as _;
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use crate::ahead::Aheads;
use crate::blame::Suspect;
use crate::catalogue::{Catalogue, Route};
use crate::counters::add;
use crate::decide::{Decision, Ground, decide};
use crate::effects::Effects;
use crate::intake::{Item, Poke, Shared, message, ticks_us};
use crate::shares::Shares;
pub(crate) use ahead::Returned;
use ahead::{Runs, unpack};
use request::{request, route, sort_unique};
use settle::{forget_task, late};

/// Pauses between tries of a store that does not answer.
const STORE_RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// How often a whole batch may be refused before it is halved.
const REFUSALS_MAX: u32 = 2;
/// Longest sleep of a lane with nothing to do.
const IDLE: Duration = Duration::from_millis(20);

/// Pause before what the store refused without a reason in the data is tried again.
const STUCK_PAUSE: Duration = Duration::from_secs(2);

/// An item that the store refuses.
pub(crate) struct Stuck {
    due: Instant,
    item: Item,
}

/// One of the worker's lanes. What belongs together comes through the same lane: messages with the same order key, and
/// pokes to the same instance.
pub(crate) struct Lane {
    pub(crate) shared: Arc<Shared>,
    pub(crate) deliveries: Receiver<Vec<Delivery>>,
    pub(crate) pokes: Receiver<(InstanceId, Poke)>,
    pub(crate) acker: Arc<dyn Acker>,
    pub(crate) effects: Arc<Effects>,
    /// Of batches of events that are in hand.
    pub(crate) shares: Shares,
    /// Instances whose calls are made before anything is written.
    pub(crate) aheads: Aheads,
    /// Suspects are tried: what they lead to is written at once.
    pub(crate) trying: bool,
    /// What the store keeps refusing, and when it is tried again.
    pub(crate) stuck: Vec<Stuck>,
    /// Stop taking messages, finish what is there.
    pub(crate) drain: CancellationToken,
    /// Leave everything as it is.
    pub(crate) abandon: CancellationToken,
}

/// What a round leaves behind.
#[derive(Default)]
struct Aftermath {
    acks: Vec<Token>,
    look: LookRequest,
    next: Vec<Item>,
    /// Members of a group that can't be stored: each is decided by itself.
    alone: Vec<Item>,
    /// Items that the store refuses, and that nothing can take the place of: they are tried again after a while.
    stuck: Vec<Item>,
    /// Children that may be there already: what decides again must know.
    children: Vec<InstanceId>,
    /// Instances that may not live beside these others: what decides again must know.
    active: HashMap<InstanceId, InstanceId>,
    /// New instances: something may be kept for them.
    born: Vec<InstanceId>,
    /// New business keys: a command may wait for them.
    named: Vec<Hash16>,
    committed: bool,
    /// What ran ahead led to what the store refuses: it is decided again, and written step by step.
    write_at_once: bool,
    /// Something got on, even if it is not written yet.
    fruitful: bool,
}

impl Lane {
    /// Runs until the drain is over: no messages any more, and no pokes either.
    pub(crate) async fn run(mut self) {
        while let Some((suspects, items)) = self.take().await {
            let abandon = self.abandon.clone();
            tokio::select! {
                () = self.process(suspects, items) => {}
                () = abandon.cancelled() => return,
            }
        }
    }

    /// Waits for items: pokes first, they finish what has begun; what may have killed a worker apart. `None`: drained.
    async fn take(&mut self) -> Option<(Vec<Suspect>, VecDeque<Item>)> {
        let max = self.shared.options.batch_max;
        let open = self.is_open();
        // A backlog of timers must not keep messages out for as long as it lasts.
        let for_pokes = if open && !self.deliveries.is_empty() { max - max / 4 } else { max };
        let mut items = self.unstuck();
        let mut suspects = Vec::new();
        while items.len() + suspects.len() < for_pokes
            && let Ok((instance, poke)) = self.pokes.try_recv()
        {
            self.sort(instance, poke, &mut suspects, &mut items);
        }
        let mut deliveries = Vec::new();
        if open {
            while items.len() + suspects.len() + deliveries.len() < max
                && let Ok(more) = self.deliveries.try_recv()
            {
                deliveries.extend(more);
            }
        }
        if items.is_empty() && suspects.is_empty() && deliveries.is_empty() && !self.must_look() {
            let answered = self.aheads.answered.clone();
            tokio::select! {
                poke = self.pokes.recv() => {
                    let (instance, poke) = poke?;
                    self.sort(instance, poke, &mut suspects, &mut items);
                }
                Some(more) = self.deliveries.recv(), if open => deliveries.extend(more),
                () = answered.notified() => {}
                // Room for effects may come back without a poke; the drain may have begun.
                () = tokio::time::sleep(IDLE) => {
                    if self.drain.is_cancelled() && self.effects.is_idle() && self.pokes.is_empty() && self.aheads.is_empty() {
                        return None;
                    }
                }
            }
        }
        add(&self.shared.counters.messages, deliveries.len());
        let now_us = self.shared.about_now_us();
        for delivery in
            deliveries.into_iter().flat_map(|delivery| self.shares.split(delivery, &self.shared.options.codec))
        {
            match self.shared.blame.suspects(&delivery, now_us) {
                true => suspects.push(Suspect::Message(delivery)),
                false => items.push_back(message(delivery, &self.shared.options)),
            }
        }
        Some((suspects, items))
    }

    fn sort(&self, instance: InstanceId, poke: Poke, suspects: &mut Vec<Suspect>, items: &mut VecDeque<Item>) {
        if self.shared.blame.suspects_poke(&poke, self.shared.about_now_us()) {
            suspects.push(Suspect::Poke(instance, poke));
        } else {
            items.extend(self.current(instance, poke));
        }
    }

    /// What the store refused is tried again after a while; the lane goes on meanwhile.
    fn unstuck(&mut self) -> VecDeque<Item> {
        let now = Instant::now();
        self.stuck.extract_if(.., |stuck| stuck.due <= now).map(|stuck| stuck.item).collect()
    }

    /// Suspects first, so that what came before stays before.
    async fn process(&mut self, suspects: Vec<Suspect>, items: VecDeque<Item>) {
        if !suspects.is_empty() {
            self.trying = true;
            // What is ahead is written before: nothing else may be decided under a suspect's mark.
            self.work_with_others(VecDeque::new()).await;
            for suspect in suspects {
                self.try_alone(suspect).await;
            }
            self.trying = false;
        }
        self.work_with_others(items).await;
    }

    async fn work_with_others(&mut self, items: VecDeque<Item>) {
        if !items.is_empty() || self.must_look() {
            let shared = self.shared.clone();
            let _with_others = shared.blame.alone.read().await;
            self.work_on(items).await;
        }
    }

    /// The result of an effect that was given up, perhaps for a new one in the same slot, is only noted (PROTOCOL D9).
    fn current(&self, instance: InstanceId, poke: Poke) -> Option<Item> {
        match poke {
            Poke::Effect { lease, begun: Some(begun), task, outcome } => match self.effects.epoch(&lease, begun) {
                Some(epoch) => {
                    let lease = EffectLease { epoch, ..lease };
                    Some(Item::Poke(instance, Poke::Effect { lease, begun: Some(begun), task, outcome }))
                }
                None => {
                    add(&self.shared.counters.late_results, 1);
                    late(instance, task, &outcome)
                }
            },
            poke => Some(Item::Poke(instance, poke)),
        }
    }

    /// May new messages be taken?
    fn is_open(&self) -> bool {
        !self.drain.is_cancelled()
            && self.effects.has_room()
            && !self.shared.behind.load(Ordering::Relaxed)
            && self.shared.catalogues.current().whole
    }

    /// Works on items until each is done, with all that follows from them at once; never more than a batch at a time.
    async fn work_on(&mut self, mut items: VecDeque<Item>) {
        if items.is_empty() && !self.must_look() {
            return;
        }
        let mut fruitless = 0;
        let mut children = Vec::new();
        let mut active = HashMap::new();
        let was_trying = self.trying;
        loop {
            if fruitless > self.shared.options.conflict_rounds_quick {
                let pause_ms = rand::rng().random_range(1..=20 * u64::from(fruitless.min(10)));
                tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            }
            let batch = items.drain(..items.len().min(self.shared.options.batch_max)).collect();
            let mut after = self.round(batch, &children, &active).await;
            fruitless = if after.fruitful { 0 } else { fruitless + 1 };
            let mut alone = VecDeque::from(std::mem::take(&mut after.alone));
            children = self.take_over(after, &mut items, &mut active);
            while let Some(item) = alone.pop_front() {
                let mut after = self.round(vec![item], &children, &active).await;
                alone.extend(std::mem::take(&mut after.alone));
                children.extend(self.take_over(after, &mut items, &mut active));
            }
            if items.is_empty() {
                break;
            }
        }
        self.trying = was_trying;
    }

    /// What a round leaves for the next ones. Gives the children that may be there already.
    fn take_over(
        &mut self,
        after: Aftermath,
        items: &mut VecDeque<Item>,
        active: &mut HashMap<InstanceId, InstanceId>,
    ) -> Vec<InstanceId> {
        active.extend(after.active);
        items.extend(after.next);
        self.set_apart(after.stuck);
        self.trying |= after.write_at_once;
        after.children
    }

    fn set_apart(&mut self, items: Vec<Item>) {
        let due = Instant::now() + STUCK_PAUSE;
        self.stuck.extend(items.into_iter().map(|item| Stuck { due, item }));
    }

    async fn round(
        &mut self,
        items: Vec<Item>,
        children: &[InstanceId],
        active: &HashMap<InstanceId, InstanceId>,
    ) -> Aftermath {
        let mut items = self.aheads.let_through(items);
        let back = self.come_back();
        let (catalogue, mut routes, loaded) = self.load(&mut items, children).await;
        let fresh = items.len();
        let (works, mut runs) = unpack(back, &mut items, &mut routes);
        let now_us = loaded.now_us;
        let secrets = self.shared.secrets.current();
        let env = Env {
            now_us: loaded.now_us,
            seed: rand::rng().random(),
            secrets: &secrets.by_name,
            limits: &self.shared.options.engine,
            ticks_us,
            status_changes: self.shared.published.changes(),
        };
        let ground = Ground { catalogue: &catalogue, shared: &self.shared, active, env };
        // A batch of long workflows must not keep the heartbeat and the relay from their thread.
        let decide = || decide(ground, &items[..fresh], &routes[..fresh], loaded, works);
        let mut decision = tokio::task::block_in_place(decide);
        let mut items: Vec<Option<Item>> = items.into_iter().map(Some).collect();
        let gone_ahead = self.run_ahead(&mut decision, &mut items, &mut routes, &mut runs, now_us);
        let mut after = self.commit(items, &routes, decision, &mut runs).await;
        after.fruitful = after.committed || gone_ahead > 0;
        for (instance, run) in runs {
            self.shared.ahead.release(instance);
            after.next.extend(run.behind);
        }
        if after.committed {
            self.shared.journal_grew.notify_one();
        }
        after.look_for_new();
        for meeting in self.look(&after.look).await {
            if !self.shared.refused.knows(&(meeting.instance, meeting.slot, meeting.parked)) {
                after.next.push(Item::Poke(meeting.instance, Poke::Meeting(meeting)));
            }
        }
        after.acks.retain(|token| self.shares.is_last(*token));
        if !after.acks.is_empty() {
            self.acker.ack(&after.acks).await;
        }
        after
    }

    /// Loads what the batch needs, with a catalogue that is as new as the snapshot.
    async fn load(&self, items: &mut Vec<Item>, children: &[InstanceId]) -> (Arc<Catalogue>, Vec<Route>, Loaded) {
        loop {
            let catalogue = self.shared.catalogues.current();
            if !catalogue.whole {
                // This build can't tell whom they concern. Unacknowledged as they are, the broker gives them to others.
                items.retain(|item| !matches!(item, Item::Message(_)));
            }
            let routes: Vec<Route> = items.iter().map(|item| route(&catalogue, item)).collect();
            let mut request = request(items, &routes);
            request.instances.extend(children);
            sort_unique(&mut request.instances);
            let loaded = self.until_reached("load", || self.shared.store.load(&request)).await;
            if loaded.catalogue <= catalogue.version {
                return (catalogue, routes, loaded);
            }
            let refresh =
                || self.shared.catalogues.refresh(&*self.shared.store, loaded.catalogue, &self.shared.options.engine);
            self.until_reached("refresh of the catalogue", refresh).await;
        }
    }

    /// Commits the groups and sorts the items by what became of them.
    async fn commit(
        &self,
        mut items: Vec<Option<Item>>,
        routes: &[Route],
        decision: Decision,
        runs: &mut Runs,
    ) -> Aftermath {
        let mut after = Aftermath::default();
        after.look.parked.extend(decision.relook);
        for index in decision.done {
            after.done(items[index].take(), &self.effects);
        }
        after.next.extend(decision.later.into_iter().filter_map(|index| items[index].take()));
        if decision.groups.is_empty() {
            return after;
        }
        let mut decided = decision.groups;
        let groups = decided.iter_mut().map(|each| std::mem::take(&mut each.group)).collect();
        let batch = Batch { worker: Some(self.shared.worker), groups };
        let (verdicts, doubtful) = self.commit_groups(&batch).await;
        add(&self.shared.counters.batches, 1);
        for ((decided, group), verdict) in decided.into_iter().zip(&batch.groups).zip(verdicts) {
            let mut mine: Vec<(Item, &Route)> =
                decided.items.iter().filter_map(|&index| Some((items[index].take()?, &routes[index]))).collect();
            if doubtful {
                mine.iter_mut().for_each(|(item, _)| forget_task(item));
            }
            self.settle(decided, group, verdict, mine, runs, &mut after);
        }
        after
    }

    /// Commits, again and again while the outcome is unknown (D11). A batch that the store keeps refusing is halved until
    /// the culprit stands alone (D20). Tells, too, whether the verdicts may be of what a lost answer had said before.
    async fn commit_groups(&self, batch: &Batch) -> (Vec<Verdict>, bool) {
        let mut doubtful = false;
        let mut refusals = 0;
        let mut pause = STORE_RETRY.0;
        let why = loop {
            match self.shared.store.commit(batch).await {
                Ok(verdicts) => {
                    self.shared.note_commit(None);
                    return (verdicts, doubtful);
                }
                Err(StoreError::Failed(why)) if refusals == REFUSALS_MAX => break why,
                Err(why) => {
                    refusals += u32::from(matches!(why, StoreError::Failed(_)));
                    doubtful = true;
                    tracing::warn!("the store's commit failed, tried again in {pause:?}: {why}");
                    self.shared.note_commit(Some(why.to_string()));
                }
            }
            pause = rest(pause).await;
        };
        if batch.groups.len() <= 1 {
            return (vec![Verdict::Failed(why); batch.groups.len()], doubtful);
        }
        let (first, second) = batch.groups.split_at(batch.groups.len() / 2);
        let mut verdicts = Vec::new();
        for half in [first, second] {
            let half = Batch { worker: batch.worker, groups: half.to_vec() };
            verdicts.extend(Box::pin(self.commit_groups(&half)).await.0);
        }
        (verdicts, true)
    }

    /// The look after the commit (PROTOCOL D3), in a snapshot of its own.
    async fn look(&self, request: &LookRequest) -> Vec<Meeting> {
        if request.parked.is_empty() && request.bookmarks.is_empty() && request.kept.is_empty() {
            return Vec::new();
        }
        self.until_reached("look", || self.shared.store.look(request)).await
    }

    /// Repeats a call until the store answers.
    async fn until_reached<T, F>(&self, what: &str, mut call: impl FnMut() -> F) -> T
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut pause = STORE_RETRY.0;
        loop {
            match call().await {
                Ok(done) => return done,
                Err(why) => tracing::warn!("the store's {what} failed, tried again in {pause:?}: {why}"),
            }
            pause = rest(pause).await;
        }
    }
}

/// Rests for about `pause`; returns the next, longer one.
async fn rest(pause: Duration) -> Duration {
    let jittered = pause.mul_f64(rand::rng().random_range(0.5..1.0));
    tokio::time::sleep(jittered).await;
    (pause * 2).min(STORE_RETRY.1)
}

impl Aftermath {
    /// A command may have come before its instance. That is rare: such a look goes with another one or not at all, and the
    /// sweep does the rest.
    fn look_for_new(&mut self) {
        let LookRequest { parked, bookmarks, kept } = &mut self.look;
        if !(parked.is_empty() && bookmarks.is_empty() && kept.is_empty()) {
            kept.append(&mut self.born);
            bookmarks.append(&mut self.named);
        }
    }

    fn done(&mut self, item: Option<Item>, effects: &Effects) {
        match item {
            Some(Item::Message(message)) => self.acks.push(message.delivery.token),
            Some(Item::Poke(_, Poke::Effect { lease, .. })) => effects.forget(&lease),
            _ => {}
        }
    }
}
