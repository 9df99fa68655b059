//! The lanes' entrances: what belongs together always goes through the same lane.

use std::time::Duration;

use flagstop_bus::port::Delivery;
use flagstop_schemas::InstanceId;
use tokio::sync::mpsc::Sender;

use crate::intake::Poke;

/// Pause before it is asked again whether a lane has room for what may wait.
const CROWDED: Duration = Duration::from_millis(5);

/// Brings pokes to the lane of their instance, through bounded channels.
#[derive(Debug)]
pub(crate) struct Pokes(pub(crate) Vec<Sender<(InstanceId, Poke)>>);

impl Pokes {
    /// Waits for a place. A lane must not call this: it could wait for itself.
    pub(crate) async fn put(&self, instance: InstanceId, poke: Poke) {
        // Closed only when the worker leaves at once; whatever it was, others find it again.
        let _leaving = self.of(instance).send((instance, poke)).await;
    }

    /// The same for what may wait, however much of it there is: half of the places stay free for what has begun.
    pub(crate) async fn put_behind(&self, instance: InstanceId, poke: Poke) {
        loop {
            let lane = self.of(instance);
            if lane.is_closed() || lane.capacity() > lane.max_capacity() / 2 {
                break;
            }
            tokio::time::sleep(CROWDED).await;
        }
        self.put(instance, poke).await;
    }

    /// Puts the poke down if there is a place.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn try_put(&self, instance: InstanceId, poke: Poke) -> Result<(), ()> {
        self.of(instance).try_send((instance, poke)).map_err(|_| ())
    }

    fn of(&self, instance: InstanceId) -> &Sender<(InstanceId, Poke)> {
        &self.0[usize::from(instance.0.as_bytes()[1]) % self.0.len()]
    }
}

/// Deals deliveries out. Those with the same key always go to the same lane and so stay in order, over all batches. Those
/// without one keep no order: one batch of them goes to one lane, the next to another.
pub(crate) fn deal(batch: Vec<Delivery>, lanes: usize, turn: &mut usize) -> Vec<Vec<Delivery>> {
    let mut hands: Vec<Vec<Delivery>> = (0..lanes).map(|_| Vec::new()).collect();
    *turn = turn.wrapping_add(1);
    for delivery in batch {
        let lane = match &delivery.message.key {
            Some(key) => key.iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte))),
            // Without a key no order is promised, on Kafka either; a whole batch on one lane costs the fewest round trips.
            None => *turn,
        };
        hands[lane % lanes].push(delivery);
    }
    hands
}
