//! Where messages come from: the bus' consumers, dealt out to the lanes, and their ackers as one.
//!
//! A worker that can't compile a deployed definition may judge no message (PROTOCOL D5, D16). It lets go of all that it holds, so
//! that the broker gives it to others: neither a prefetch nor a partition stays with who can do nothing with it.

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use flagstop_bus::port::{Acker, Consumer, Delivery, Token};
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;

use crate::pokes::deal;

/// The consumers' ackers as one: each passes over tokens that are not its own. A consumer ends when it and its acker are gone.
pub(crate) struct Ackers(RwLock<Vec<Arc<dyn Acker>>>);

impl Ackers {
    pub(crate) fn of(consumers: &[Box<dyn Consumer>]) -> Self {
        Self(RwLock::new(consumers.iter().map(|consumer| consumer.acker()).collect()))
    }

    fn all(&self) -> Vec<Arc<dyn Acker>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn let_go(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[async_trait]
impl Acker for Ackers {
    async fn ack(&self, tokens: &[Token]) {
        for acker in self.all() {
            acker.ack(tokens).await;
        }
    }

    async fn stop(&self) {
        for acker in self.all() {
            acker.stop().await;
        }
    }

    async fn pause(&self, paused: bool) {
        for acker in self.all() {
            acker.pause(paused).await;
        }
    }
}

/// Deals out what a consumer brings, until it is stopped or this build is found too old (`outdated`).
pub(crate) async fn run(
    mut consumer: Box<dyn Consumer>,
    lanes: Vec<Sender<Vec<Delivery>>>,
    batch_max: usize,
    ackers: Arc<Ackers>,
    outdated: CancellationToken,
) {
    let mut turn = 0;
    loop {
        let batch = tokio::select! {
            biased;
            () = outdated.cancelled() => {
                ackers.let_go();
                return;
            }
            batch = consumer.recv(batch_max) => batch,
        };
        if batch.is_empty() {
            return;
        }
        for (hand, lane) in deal(batch, lanes.len(), &mut turn).into_iter().zip(&lanes) {
            let sent = async { hand.is_empty() || lane.send(hand).await.is_ok() };
            tokio::select! {
                sent = sent => if !sent { return },
                // The lanes take no more.
                () = outdated.cancelled() => {}
            }
        }
    }
}
