//! Exchanges, queues and bindings: makes what is missing, verifies what is there. Never deletes and never changes.

use lapin::options::{ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Connection, Error, ErrorKind, ExchangeKind};

use super::wire::short;
use crate::config::BusConfig;
use crate::port::{BusError, Channel, Prepared};

/// Something on the broker.
enum Object {
    Exchange(ShortString),
    Queue(ShortString, FieldTable),
    QueueBinding { exchange: ShortString, queue: ShortString },
    ExchangeBinding { from: ShortString, to: ShortString },
}

pub(super) async fn declare(connection: &Connection, config: &BusConfig) -> Result<Prepared, BusError> {
    let objects = objects(config)?;
    let mut unseen = Vec::new();
    let mut channel = open(connection).await?;
    for object in &objects {
        if let Err(why) = object.declare(&channel).await {
            channel = open(connection).await?;
            // Whoever may not configure can still use what somebody else has made.
            if refused(&why) == Some(AMQPSoftError::ACCESSREFUSED) && object.exists(&channel).await.is_ok() {
                unseen.push(object.name());
                continue;
            }
            return Err(object.failure(&why));
        }
    }
    Ok(not_compared(&unseen))
}

/// Looks at what is there. Bindings can't be looked at; a message that no binding takes is refused when published.
pub(super) async fn verify(connection: &Connection, config: &BusConfig) -> Result<Prepared, BusError> {
    let mut unseen = Vec::new();
    for object in objects(config)? {
        let channel = open(connection).await?;
        object.exists(&channel).await.map_err(|why| object.failure(&why))?;
        if matches!(object, Object::QueueBinding { .. } | Object::ExchangeBinding { .. }) {
            continue;
        }
        // Declaring what exists changes nothing and compares its properties; it needs the right to configure.
        match object.declare(&channel).await {
            Ok(()) => {}
            Err(why) if refused(&why) == Some(AMQPSoftError::ACCESSREFUSED) => unseen.push(object.name()),
            Err(why) => return Err(object.failure(&why)),
        }
    }
    Ok(not_compared(&unseen))
}

/// Whoever may not configure can't see properties either: what they are is then somebody else's to know.
fn not_compared(unseen: &[String]) -> Prepared {
    let warning = || {
        format!(
            "FS-BUS-SETTINGS: the user may not declare {}, so their properties were not compared with what is needed (a \
             quorum queue, with the dead letters' exchange, `at-least-once` and `reject-publish`); grant the right to \
             configure them, or see to it that whoever makes them does it alike",
            unseen.join(", ")
        )
    };
    Prepared { warnings: if unseen.is_empty() { Vec::new() } else { vec![warning()] }, kept: Vec::new() }
}

fn objects(config: &BusConfig) -> Result<Vec<Object>, BusError> {
    let name = |name: String| {
        short(&name).ok_or_else(|| BusError::Topology(format!("the name `{name}` is longer than 255 bytes")))
    };
    let [input, status, output, dead] = [
        name(config.exchange(Channel::In))?,
        name(config.exchange(Channel::Status))?,
        name(config.exchange(Channel::Out))?,
        name(config.exchange(Channel::Dead))?,
    ];
    let work = name(config.prefixed(&config.names.work))?;
    let letters = name(config.prefixed(&config.names.dead_letters))?;
    let quorum = || {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        arguments
    };
    // Where the broker itself gives a message up (delivery limits since RabbitMQ 4.0), it must not be lost.
    let mut for_work = quorum();
    for (key, value) in [
        ("x-dead-letter-exchange", dead.as_str()),
        ("x-dead-letter-strategy", "at-least-once"),
        ("x-overflow", "reject-publish"),
    ] {
        for_work.insert(key.into(), AMQPValue::LongString(value.into()));
    }
    let own_commands = match config.own_commands() {
        Some(own) => {
            let own = name(own)?;
            vec![
                Object::Exchange(own.clone()),
                Object::Queue(own.clone(), for_work.clone()),
                Object::QueueBinding { exchange: own.clone(), queue: own },
            ]
        }
        None => Vec::new(),
    };
    let mut objects = vec![
        Object::Exchange(input.clone()),
        Object::Exchange(status),
        Object::Exchange(output.clone()),
        Object::Exchange(dead.clone()),
        Object::Queue(letters.clone(), quorum()),
        Object::Queue(work.clone(), for_work),
        Object::QueueBinding { exchange: dead, queue: letters },
        Object::QueueBinding { exchange: input.clone(), queue: work },
        Object::ExchangeBinding { from: output, to: input },
    ];
    // After the exchange of dead letters, which its queue refers to.
    objects.extend(own_commands);
    Ok(objects)
}

async fn open(connection: &Connection) -> Result<lapin::Channel, BusError> {
    connection.create_channel().await.map_err(|why| BusError::Unreachable(format!("RabbitMQ went away: {why}")))
}

fn refused(why: &Error) -> Option<AMQPSoftError> {
    match why.kind() {
        ErrorKind::ProtocolError(why) => match why.kind() {
            AMQPErrorKind::Soft(soft) => Some(soft.clone()),
            AMQPErrorKind::Hard(_) => None,
        },
        _ => None,
    }
}

// === impl Object ===

impl Object {
    async fn declare(&self, channel: &lapin::Channel) -> lapin::Result<()> {
        let every = || ShortString::from("#");
        match self {
            Self::Exchange(name) => {
                let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
                channel.exchange_declare(name.clone(), ExchangeKind::Topic, options, FieldTable::default()).await
            }
            Self::Queue(name, arguments) => {
                let options = QueueDeclareOptions { durable: true, ..Default::default() };
                channel.queue_declare(name.clone(), options, arguments.clone()).await.map(|_| ())
            }
            Self::QueueBinding { exchange, queue } => {
                let options = QueueBindOptions::default();
                channel.queue_bind(queue.clone(), exchange.clone(), every(), options, FieldTable::default()).await
            }
            Self::ExchangeBinding { from, to } => {
                let options = ExchangeBindOptions::default();
                channel.exchange_bind(to.clone(), from.clone(), every(), options, FieldTable::default()).await
            }
        }
    }

    async fn exists(&self, channel: &lapin::Channel) -> lapin::Result<()> {
        match self {
            Self::Exchange(name) => {
                let options = ExchangeDeclareOptions { passive: true, ..Default::default() };
                channel.exchange_declare(name.clone(), ExchangeKind::Topic, options, FieldTable::default()).await
            }
            Self::Queue(name, _) => {
                let options = QueueDeclareOptions { passive: true, ..Default::default() };
                channel.queue_declare(name.clone(), options, FieldTable::default()).await.map(|_| ())
            }
            Self::QueueBinding { .. } | Self::ExchangeBinding { .. } => Ok(()),
        }
    }

    fn failure(&self, why: &Error) -> BusError {
        let mend = match refused(why) {
            Some(AMQPSoftError::NOTFOUND) => {
                "it is missing: let the worker make it (bus.declare = true) or make it yourself"
            }
            Some(AMQPSoftError::PRECONDITIONFAILED) => {
                "it is there with other properties: delete it, or choose another name (bus.prefix, bus.names)"
            }
            Some(AMQPSoftError::ACCESSREFUSED) => {
                "the user may not make it: grant the right or let somebody else make it"
            }
            _ => return BusError::Unreachable(format!("RabbitMQ gave no answer about {}: {why}", self.name())),
        };
        BusError::Topology(format!("{}: {mend}; RabbitMQ says: {why}", self.name()))
    }

    fn name(&self) -> String {
        match self {
            Self::Exchange(name) => format!("topic exchange `{name}`"),
            Self::Queue(name, _) => format!("quorum queue `{name}`"),
            Self::QueueBinding { exchange, queue } => format!("binding of queue `{queue}` to exchange `{exchange}`"),
            Self::ExchangeBinding { from, to } => format!("binding of exchange `{to}` to exchange `{from}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_compared_is_said_by_name() {
        assert_eq!(not_compared(&[]), Prepared::default());
        let warnings = not_compared(&["quorum queue `work`".to_owned(), "topic exchange `in`".to_owned()]).warnings;
        let named = "may not declare quorum queue `work`, topic exchange `in`";
        assert!(warnings[0].starts_with("FS-BUS-SETTINGS: ") && warnings[0].contains(named), "{warnings:?}");
    }
}
