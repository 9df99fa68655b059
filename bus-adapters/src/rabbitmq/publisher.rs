//! Publishing with confirms. Each call has an AMQP channel to itself for as long as it lasts: so lapin's counting of
//! confirms can't be mixed up by another call, and a channel that the broker closes takes nobody else's messages along.
//!
//! ```text
//! messages ─▶ frames pushed one after the other, no waiting ─▶ confirms gathered, at most N in flight
//! ```

use std::borrow::Cow;
use std::collections::{HashSet, VecDeque};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt as _;
use lapin::message::BasicReturnMessage;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};

use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel as AmqpChannel, Confirmation, Error, ErrorKind, PublisherConfirm};
use tokio::sync::Semaphore;

use super::link::Link;
use super::wire;
use crate::codec::encode_amqp;
use crate::config::BusConfig;
use crate::outgoing::on_the_wire;
use crate::port::{Channel, Outgoing, PublishError, RawMessage};

#[derive(Debug)]
pub(super) struct Publisher {
    link: Link,
    /// Channels in confirm mode that nobody uses.
    idle: Mutex<Vec<AmqpChannel>>,
    /// As many as there may be channels.
    calls: Semaphore,
    config: BusConfig,
}

/// A message ready to be sent.
struct Letter<'a> {
    /// Its place in the caller's list.
    index: usize,
    raw: Cow<'a, RawMessage>,
    exchange: ShortString,
    routing_key: ShortString,
    properties: BasicProperties,
    /// Somebody must take it: an unroutable one is refused. Status events may have no subscriber.
    mandatory: bool,
}

/// What tells a returned message: the tag by which lapin attaches it can be another message's.
type ReturnKey = (String, String, String);

/// How a burst ended for messages without a result.
enum Ending {
    Done,
    /// The broker closed the channel because of one of the messages.
    ChannelClosed(PublishError),
    Lost(String),
}

/// A publish whose frames are on their way, or written.
type Sending<'a> = Pin<Box<dyn Future<Output = lapin::Result<PublisherConfirm>> + Send + 'a>>;

type Verdict = Result<(), PublishError>;

impl Publisher {
    pub(super) fn new(link: Link, config: &BusConfig) -> Self {
        let calls = Semaphore::new(config.publish_channels.max(1));
        Self { link, idle: Mutex::default(), calls, config: config.clone() }
    }

    pub(super) fn is_up(&self) -> bool {
        self.link.current().is_some()
    }

    /// Waits for calls under way, refuses new ones, closes the connection.
    pub(super) async fn close(&self) {
        let channels = u32::try_from(self.config.publish_channels.max(1)).unwrap_or(u32::MAX);
        let _ = tokio::time::timeout(self.config.close_timeout(), self.calls.acquire_many(channels)).await;
        self.calls.close();
        self.link.close().await;
    }

    pub(super) async fn publish(&self, messages: &[Outgoing]) -> Vec<Verdict> {
        let mut verdicts: Vec<Option<Verdict>> = Vec::new();
        verdicts.resize_with(messages.len(), || None);
        let mut letters = Vec::with_capacity(messages.len());
        for (index, message) in messages.iter().enumerate() {
            match self.letter(index, message) {
                Ok(letter) => letters.push(letter),
                Err(why) => verdicts[index] = Some(Err(why)),
            }
        }
        if !letters.is_empty() {
            self.send(&letters, &mut verdicts).await;
        }
        let lost = || Err(PublishError::Unavailable("the connection was lost".into()));
        verdicts.into_iter().map(|verdict| verdict.unwrap_or_else(lost)).collect()
    }

    fn letter<'a>(&self, index: usize, message: &'a Outgoing) -> Result<Letter<'a>, PublishError> {
        let raw = on_the_wire(message, &self.config, encode_amqp)?;
        let short = |what: &str, text: &str| {
            wire::short(text).ok_or_else(|| {
                let bytes_max = wire::SHORT_BYTES_MAX;
                PublishError::Refused(format!("its {what} has {} bytes, more than AMQP's {bytes_max}", text.len()))
            })
        };
        Ok(Letter {
            index,
            exchange: short("exchange", &self.config.exchange(message.channel))?,
            routing_key: short("routing key", &message.routing_key)?,
            properties: wire::properties(message, &raw)?,
            mandatory: message.channel != Channel::Status,
            raw,
        })
    }

    async fn send(&self, letters: &[Letter<'_>], verdicts: &mut [Option<Verdict>]) {
        let Ok(_call) = self.calls.acquire().await else {
            return settle_open(letters, verdicts, || PublishError::Unavailable("the bus is closed".into()));
        };
        let why = match self.burst(letters, verdicts).await {
            Ending::Done => return,
            Ending::Lost(why) => {
                return settle_open(letters, verdicts, || PublishError::Unavailable(why.clone()));
            }
            Ending::ChannelClosed(why) => why,
        };
        // One message was to blame; the others go again, each alone, so that it is refused alone.
        for letter in letters {
            if verdicts[letter.index].is_some() {
                continue;
            }
            let alone = std::slice::from_ref(letter);
            if is_about_exchange(&why, &letter.exchange) {
                settle_open(alone, verdicts, || why.clone());
                continue;
            }
            match self.burst(alone, verdicts).await {
                Ending::Done => {}
                Ending::ChannelClosed(why) => settle_open(alone, verdicts, || why.clone()),
                Ending::Lost(why) => settle_open(alone, verdicts, || PublishError::Unavailable(why.clone())),
            }
        }
    }

    /// Sends all on one channel. The channel is used again only if every message got its confirmation.
    async fn burst(&self, letters: &[Letter<'_>], verdicts: &mut [Option<Verdict>]) -> Ending {
        let channel = match self.channel().await {
            Ok(channel) => channel,
            Err(why) => return Ending::Lost(why),
        };
        let mut returned = HashSet::new();
        let confirmed = self.confirmed(&channel, letters, verdicts, &mut returned);
        let ending = match tokio::time::timeout(self.config.publish_timeout(), confirmed).await {
            Ok(Ok(())) => {
                self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(channel);
                Ending::Done
            }
            Ok(Err(why)) if why.is_amqp_soft_error() => Ending::ChannelClosed(refusal(&why)),
            Ok(Err(why)) => Ending::Lost(why.to_string()),
            Err(_) => Ending::Lost(format!("no confirmation within {} ms", self.config.publish_timeout_ms)),
        };
        for letter in letters {
            if matches!(verdicts[letter.index], Some(Ok(()))) && returned.contains(&letter.return_key()) {
                verdicts[letter.index] = Some(Err(PublishError::Pushback(format!(
                    "no queue is bound to the exchange `{}` for the routing key `{}`; let the worker make the bindings (bus.declare = true)",
                    letter.exchange, letter.routing_key
                ))));
            }
        }
        ending
    }

    async fn confirmed(
        &self,
        channel: &AmqpChannel,
        letters: &[Letter<'_>],
        verdicts: &mut [Option<Verdict>],
        returned: &mut HashSet<ReturnKey>,
    ) -> lapin::Result<()> {
        let mut in_flight: VecDeque<(&Letter<'_>, Sending<'_>)> = VecDeque::new();
        for letter in letters {
            if in_flight.len() >= self.config.confirms_in_flight.max(1)
                && let Some((first, sending)) = in_flight.pop_front()
            {
                verdicts[first.index] = Some(settle(first, sending, returned).await?);
            }
            let options = BasicPublishOptions { mandatory: letter.mandatory, ..Default::default() };
            let mut sending: Sending<'_> = Box::pin(channel.basic_publish(
                letter.exchange.clone(),
                letter.routing_key.clone(),
                options,
                &letter.raw.body,
                letter.properties.clone(),
            ));
            // The first poll puts the frames into lapin's queue: this is what keeps the messages in order.
            let sending = match sending.as_mut().now_or_never() {
                Some(written) => Box::pin(std::future::ready(written)),
                None => sending,
            };
            in_flight.push_back((letter, sending));
        }
        for (letter, sending) in in_flight {
            verdicts[letter.index] = Some(settle(letter, sending, returned).await?);
        }
        Ok(())
    }

    async fn channel(&self) -> Result<AmqpChannel, String> {
        // While there is no connection, or the broker lets nothing in, waiting would only fill memory.
        let connection =
            self.link.current().ok_or_else(|| format!("no connection to RabbitMQ: {}", self.link.last_failure()))?;
        if connection.status().blocked() {
            return Err("RabbitMQ blocks publishing until it has memory and disk space again".into());
        }
        while let Some(channel) = self.take_idle() {
            if channel.status().connected() {
                return Ok(channel);
            }
        }
        let channel = connection.create_channel().await.map_err(|why| why.to_string())?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(|why| why.to_string())?;
        Ok(channel)
    }

    fn take_idle(&self) -> Option<AmqpChannel> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

impl Letter<'_> {
    fn return_key(&self) -> ReturnKey {
        let id = self.properties.message_id().as_ref().map(ShortString::to_string).unwrap_or_default();
        (self.exchange.to_string(), self.routing_key.to_string(), id)
    }
}

/// Why the broker closed the channel: only a message that is too large (406) is wrong itself; what is missing or not allowed
/// can be mended outside.
fn refusal(why: &Error) -> PublishError {
    let soft = AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED);
    match why.kind() {
        ErrorKind::ProtocolError(error) if *error.kind() == soft => PublishError::Refused(why.to_string()),
        _ => PublishError::Pushback(why.to_string()),
    }
}

/// Does it hold for all that goes to this exchange?
fn is_about_exchange(why: &PublishError, exchange: &ShortString) -> bool {
    let text = why.to_string();
    ["no exchange", "access to exchange"].iter().any(|what| text.contains(&format!("{what} '{exchange}'")))
}

async fn settle(
    letter: &Letter<'_>,
    sending: Sending<'_>,
    returned: &mut HashSet<ReturnKey>,
) -> Result<Verdict, Error> {
    let (verdict, back) = match sending.await?.await? {
        Confirmation::Ack(back) => (Ok(()), back),
        Confirmation::Nack(back) => {
            let (exchange, key) = (&letter.exchange, &letter.routing_key);
            let why = format!("it nacked what came to the exchange `{exchange}` as `{key}`; is a bound queue full?");
            (Err(PublishError::Pushback(why)), back)
        }
        Confirmation::NotRequested => (Err(PublishError::Unavailable("the channel does not confirm".into())), None),
    };
    returned.extend(back.as_ref().map(key_of_returned));
    Ok(verdict)
}

fn key_of_returned(message: &BasicReturnMessage) -> ReturnKey {
    let id = message.properties.message_id().as_ref().map(ShortString::to_string).unwrap_or_default();
    (message.exchange.to_string(), message.routing_key.to_string(), id)
}

fn settle_open(letters: &[Letter<'_>], verdicts: &mut [Option<Verdict>], why: impl Fn() -> PublishError) {
    for letter in letters {
        verdicts[letter.index].get_or_insert_with(|| Err(why()));
    }
}
