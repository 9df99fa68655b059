//! The consuming side: takes from the work queue what its prefetch allows, gives back what it never acknowledged.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;

use super::core::{Core, Taken};
use super::file::Journal;
use crate::port::{Acker, Commands, Consumer, Delivery, Origin, Token};

/// What one consumer holds. Whoever drops the last reference gives everything unacknowledged back.
pub(super) struct Hold {
    core: Arc<Core>,
    journal: Option<Journal>,
    commands: Commands,
    owner: u64,
    unacked: AtomicUsize,
    paused: AtomicBool,
    stopped: AtomicBool,
}

struct EmbeddedConsumer(Arc<Hold>);

// === impl Hold ===

impl Hold {
    pub(super) fn consumer(core: Arc<Core>, journal: Option<Journal>, commands: Commands) -> Box<dyn Consumer> {
        let owner = crate::generation::next();
        Box::new(EmbeddedConsumer(Arc::new(Self {
            core,
            journal,
            commands,
            owner,
            unacked: AtomicUsize::new(0),
            paused: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        })))
    }

    fn take(&self, max: usize) -> Vec<Taken> {
        if self.paused.load(Ordering::Acquire) {
            return Vec::new();
        }
        let room = self.core.prefetch.saturating_sub(self.unacked.load(Ordering::Acquire));
        let taken = self.core.take(self.owner, max.max(1).min(room));
        self.unacked.fetch_add(taken.len(), Ordering::AcqRel);
        taken
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.core.put_back(self.owner);
    }
}

#[async_trait]
impl Acker for Hold {
    async fn ack(&self, tokens: &[Token]) {
        let mine = tokens.iter().filter(|token| token.consumer == self.owner).map(|token| token.position);
        let removed = self.core.remove(self.owner, mine);
        self.unacked.fetch_sub(removed.len(), Ordering::AcqRel);
        // `remove` woke the receiver before there was room by our count.
        self.core.changed.notify_waiters();
        if let (Some(journal), false) = (&self.journal, removed.is_empty()) {
            journal.remove(removed).await;
        }
    }

    async fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.core.changed.notify_waiters();
    }

    async fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Release);
        self.core.changed.notify_waiters();
    }
}

// === impl EmbeddedConsumer ===

#[async_trait]
impl Consumer for EmbeddedConsumer {
    async fn recv(&mut self, max: usize) -> Vec<Delivery> {
        let hold = &self.0;
        loop {
            // Listening starts before looking, so that no change in between is missed.
            let mut changed = pin!(hold.core.changed.notified());
            changed.as_mut().enable();
            if hold.stopped.load(Ordering::Acquire) || !hold.core.is_open() {
                return Vec::new();
            }
            let taken = hold.take(max);
            if !taken.is_empty() {
                return taken.into_iter().map(|taken| delivery(hold, taken)).collect();
            }
            changed.await;
        }
    }

    fn acker(&self) -> Arc<dyn Acker> {
        Arc::clone(&self.0) as Arc<dyn Acker>
    }
}

fn delivery(hold: &Hold, taken: Taken) -> Delivery {
    Delivery {
        message: taken.message,
        origin: Origin { name: "embedded".into(), partition: None, offset: taken.position.cast_signed() },
        redelivered: taken.redelivered,
        commands: hold.commands,
        token: Token { consumer: hold.owner, generation: 0, lane: 0, position: taken.position },
    }
}
