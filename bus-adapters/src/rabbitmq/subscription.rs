//! A live view of an exchange through a queue of its own that goes when the subscriber goes. After a lost connection it
//! starts again at the then present end.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Connection, Consumer};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::link::Link;
use super::wire;
use crate::backoff::Delays;
use crate::handover::Handover;
use crate::port::{RawMessage, Subscription};

/// Deliveries that may be on their way from the broker.
const PREFETCH: u16 = 1_000;

struct Live {
    handover: Arc<Handover<RawMessage>>,
    _end: DropGuard,
}

/// The task behind a subscription, its first queue bound already.
pub(super) struct Feed {
    handover: Arc<Handover<RawMessage>>,
    link: Arc<Link>,
    exchange: ShortString,
    end: CancellationToken,
    first: Consumer,
}

pub(super) async fn subscribe(
    link: Arc<Link>,
    connection: &Connection,
    exchange: ShortString,
    lag_max: usize,
    end: CancellationToken,
) -> lapin::Result<(Box<dyn Subscription>, Feed)> {
    let first = bind(connection, &exchange).await?;
    let handover = Arc::new(Handover::new(lag_max));
    let feed = Feed { handover: Arc::clone(&handover), link, exchange, end: end.clone(), first };
    Ok((Box::new(Live { handover, _end: end.drop_guard() }), feed))
}

async fn bind(connection: &Connection, exchange: &ShortString) -> lapin::Result<Consumer> {
    let channel = connection.create_channel().await?;
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
    let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?.name().clone();
    let bind = QueueBindOptions::default();
    channel.queue_bind(queue.clone(), exchange.clone(), "#".into(), bind, FieldTable::default()).await?;
    channel.basic_consume(queue, "".into(), BasicConsumeOptions::default(), FieldTable::default()).await
}

impl Feed {
    pub(super) async fn run(self) {
        let Self { handover, link, exchange, end, first } = self;
        let mut deliveries = Some(first);
        let mut delays = Delays::new();
        let ended = end.clone();
        let feed = async {
            loop {
                if let Some(deliveries) = deliveries.take() {
                    delays.reset();
                    drain(deliveries, &handover).await;
                    tracing::warn!(%exchange, "a subscription was interrupted; it misses what is published meanwhile");
                }
                tokio::time::sleep(delays.next_delay()).await;
                let Some(connection) = link.up().await else { return };
                deliveries = bind(&connection, &exchange).await.ok();
            }
        };
        tokio::select! {
            () = ended.cancelled() => {}
            () = feed => {}
        }
        handover.close();
    }
}

async fn drain(mut deliveries: Consumer, handover: &Handover<RawMessage>) {
    while let Some(Ok(Delivery { properties, data, acker, .. })) = deliveries.next().await {
        handover.push_waiting(wire::message(&properties, data)).await;
        if acker.ack(BasicAckOptions::default()).await.is_err() {
            return;
        }
    }
}

#[async_trait]
impl Subscription for Live {
    async fn next(&mut self, max: usize) -> Vec<RawMessage> {
        self.handover.pop(max).await
    }
}
