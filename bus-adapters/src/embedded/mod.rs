//! The bus inside the process, for `flagstop dev`, `flagstop run` and tests: the same promises as a broker, for one
//! process. With a file, input that is not acknowledged survives a restart; without, it lives as long as the bus.
//!
//! ```text
//! publish In, Out ─▶ file (one transaction per burst) ─▶ work queue ─▶ recv ─▶ ack ─▶ removed from both
//!         any channel ──────────────────────────────────▶ live subscribers
//! ```
//! Must never hand over a message before it is in the file.

mod consumer;
mod core;
mod file;

use std::sync::Arc;

use async_trait::async_trait;

use self::consumer::Hold;
use self::core::{Core, Seat};
use self::file::{File, Journal, Way};
use crate::codec::encode_kafka;
use crate::config::BusConfig;
use crate::outgoing::on_the_wire;
use crate::port::{Bus, BusError, Channel, Consumer, Outgoing, Prepared, PublishError, RawMessage, Subscription};

pub(crate) async fn open(path: Option<&str>, config: &BusConfig) -> Result<Arc<dyn Bus>, BusError> {
    let core = Arc::new(Core::new(config));
    let journal = match path {
        None => None,
        Some(path) => {
            let (file, kept) = File::open(path).await?;
            core.restore(kept);
            Some(file.run(Arc::clone(&core)))
        }
    };
    Ok(Arc::new(Embedded { core, journal, config: config.clone() }))
}

#[derive(Debug)]
struct Embedded {
    core: Arc<Core>,
    /// Writes the file; none in memory.
    journal: Option<Journal>,
    config: BusConfig,
}

struct Live(Arc<crate::handover::Handover<RawMessage>>);

#[async_trait]
impl Bus for Embedded {
    async fn prepare(&self, _declare: bool) -> Result<Prepared, BusError> {
        Ok(Prepared::default())
    }

    async fn consume(&self) -> Result<Box<dyn Consumer>, BusError> {
        Ok(Hold::consumer(Arc::clone(&self.core), self.journal.clone(), self.config.commands))
    }

    async fn publish(&self, messages: &[Outgoing]) -> Vec<Result<(), PublishError>> {
        // Before seats are counted: a caller that gives up while it waits here leaves nothing behind.
        let way = match &self.journal {
            None => None,
            Some(journal) => match journal.way().await {
                Ok(way) => Some(way),
                Err(why) => return messages.iter().map(|_| Err(PublishError::Unavailable(why.clone()))).collect(),
            },
        };
        let mut results = Vec::with_capacity(messages.len());
        let mut live = Vec::with_capacity(messages.len());
        let mut queued = Vec::new();
        for (index, message) in messages.iter().enumerate() {
            let result = on_the_wire(message, &self.config, encode_kafka).and_then(|raw| {
                let raw = raw.into_owned();
                if matches!(message.channel, Channel::In | Channel::Out | Channel::Commands) {
                    let seat = self.core.reserve(&raw)?;
                    queued.push((index, seat, raw.clone()));
                }
                live.push((index, message.channel, raw));
                Ok(())
            });
            results.push(result);
        }
        if !queued.is_empty()
            && let Err(why) = self.append(way, queued.iter().map(|(_, seat, raw)| (*seat, raw.clone())).collect()).await
        {
            for (index, ..) in &queued {
                results[*index] = Err(PublishError::Unavailable(why.clone()));
            }
        }
        for (index, channel, raw) in live {
            if results[index].is_ok() {
                self.core.show(channel, raw);
            }
        }
        results
    }

    async fn subscribe(&self, channel: Channel) -> Result<Box<dyn Subscription>, BusError> {
        Ok(Box::new(Live(self.core.subscribe(channel))))
    }

    async fn close(&self) {
        self.core.close();
        if let Some(journal) = &self.journal {
            journal.close().await;
        }
    }

    fn healthy(&self) -> bool {
        self.core.is_open()
    }
}

impl Embedded {
    async fn append(&self, way: Option<Way<'_>>, messages: Vec<(Seat, RawMessage)>) -> Result<(), String> {
        match way {
            Some(way) => way.append(messages).await,
            None => {
                self.core.accept(messages);
                Ok(())
            }
        }
    }
}

#[async_trait]
impl Subscription for Live {
    async fn next(&mut self, max: usize) -> Vec<RawMessage> {
        self.0.pop(max).await
    }
}
