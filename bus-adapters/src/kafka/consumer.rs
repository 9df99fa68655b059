//! The consuming side for the runtime: a handle to the thread that polls.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::POLL;
use super::lanes::Lanes;
use crate::handover::Handover;
use crate::port::{Acker, Consumer, Delivery, Token};

/// What the thread, its callbacks and the handles share.
pub(super) struct Shared {
    pub(super) handover: Handover<Delivery>,
    lanes: Mutex<Lanes>,
    /// Something was acknowledged: a revocation may be waiting for it.
    pub(super) acknowledged: Condvar,
    wish: Mutex<Wish>,
    /// Something has changed that the thread must look at.
    pub(super) attention: AtomicBool,
    /// The bus is closed, or the last handle is gone.
    pub(super) end: CancellationToken,
    /// Messages of one partition, delivered and not yet below the low-water mark.
    pub(super) window_max: usize,
    pub(super) revoke_wait: Duration,
    /// Messages whose acknowledgement could not be given; of all consumers of the bus.
    acks_lost: Arc<AtomicU64>,
}

/// What the runtime wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Flow,
    Pause,
    /// For good.
    Stop,
}

struct Handle {
    shared: Arc<Shared>,
    _end: DropGuard,
}

struct KafkaConsumer(Arc<Handle>);

pub(super) fn handle(shared: Arc<Shared>) -> Box<dyn Consumer> {
    let end = shared.end.clone().drop_guard();
    Box::new(KafkaConsumer(Arc::new(Handle { shared, _end: end })))
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(prefetch: u16, revoke_wait: Duration, acks_lost: Arc<AtomicU64>, end: CancellationToken) -> Self {
        let window_max = usize::from(prefetch.max(1));
        Self {
            handover: Handover::new(window_max),
            lanes: Mutex::new(Lanes::new()),
            acknowledged: Condvar::new(),
            wish: Mutex::new(Wish::Flow),
            attention: AtomicBool::new(true),
            end,
            window_max,
            revoke_wait,
            acks_lost,
        }
    }

    pub(super) fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wish(&self) -> Wish {
        *self.wish.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_wish(&self, wanted: Wish) {
        let mut wish = self.wish.lock().unwrap_or_else(PoisonError::into_inner);
        if *wish != Wish::Stop {
            *wish = wanted;
        }
        drop(wish);
        self.attend();
    }

    /// Gives a full partition a moment, on the polling thread, before it is paused: pausing makes librdkafka throw away
    /// what it has fetched.
    pub(super) fn wait_for_room(&self, token: &Token) {
        let full = |lanes: &mut Lanes| lanes.is_full(token, self.window_max);
        let waited = self.acknowledged.wait_timeout_while(self.lanes(), POLL, full);
        if waited.unwrap_or_else(PoisonError::into_inner).1.timed_out() {
            self.attend();
        }
    }

    fn attend(&self) {
        self.attention.store(true, Ordering::Release);
    }
}

// === impl KafkaConsumer ===

#[async_trait]
impl Consumer for KafkaConsumer {
    async fn recv(&mut self, max: usize) -> Vec<Delivery> {
        let shared = &self.0.shared;
        loop {
            let mut deliveries = shared.handover.pop(max).await;
            if deliveries.is_empty() {
                return deliveries;
            }
            // Partitions may have gone to others in between.
            let lanes = shared.lanes();
            deliveries.retain(|delivery| lanes.is_current(&delivery.token));
            drop(lanes);
            if !deliveries.is_empty() {
                return deliveries;
            }
        }
    }

    fn acker(&self) -> Arc<dyn Acker> {
        Arc::clone(&self.0) as Arc<dyn Acker>
    }
}

#[async_trait]
impl Acker for Handle {
    async fn ack(&self, tokens: &[Token]) {
        let lost = self.shared.lanes().acknowledge(tokens);
        self.shared.acks_lost.fetch_add(lost, Ordering::Relaxed);
        self.shared.acknowledged.notify_all();
        self.shared.attend();
    }

    async fn stop(&self) {
        self.shared.set_wish(Wish::Stop);
    }

    async fn pause(&self, paused: bool) {
        self.shared.set_wish(if paused { Wish::Pause } else { Wish::Flow });
    }
}
