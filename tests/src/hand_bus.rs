//! A bus in the test's own hands: it delivers what it is told, remembers what was acknowledged and published, and refuses
//! what it is told to refuse. Held to nothing but the port's documentation; the drivers have their own suite.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use flagstop_bus::port::{
    Acker, Bus, BusError, Channel, Commands, Consumer, Content, Delivery, Origin, Outgoing, Prepared, PublishError,
    RawMessage, Subscription, Token,
};
use flagstop_schemas::CloudEvent;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

type Refuses = Box<dyn Fn(&Outgoing) -> Option<PublishError> + Send>;

/// Where commands of their own come from.
const OWN_COMMANDS: &str = "hand.commands";

/// What all handles share.
#[derive(Default)]
struct State {
    acked: Mutex<Vec<u64>>,
    published: Mutex<Vec<Outgoing>>,
    refuses: Mutex<Option<Refuses>>,
}

/// The bus.
pub struct HandBus {
    state: Arc<State>,
    into: UnboundedSender<Delivery>,
    outof: Mutex<Option<UnboundedReceiver<Delivery>>>,
    position: Mutex<u64>,
}

impl std::fmt::Debug for HandBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HandBus")
    }
}

impl Default for HandBus {
    fn default() -> Self {
        let (into, outof) = unbounded_channel();
        Self { state: Arc::default(), into, outof: Mutex::new(Some(outof)), position: Mutex::new(0) }
    }
}

impl HandBus {
    /// Delivers one message; returns what its acknowledgement will say.
    pub fn deliver(&self, message: RawMessage) -> u64 {
        self.deliver_from(message, "hand", Commands::Accept)
    }

    /// Delivers a command from the place that is for commands alone.
    pub fn deliver_command(&self, event: &CloudEvent) -> u64 {
        self.deliver_from(flagstop_bus::encode_kafka(event), OWN_COMMANDS, Commands::Accept)
    }

    /// The same, from a place where commands are refused.
    pub fn deliver_from_everybody(&self, event: &CloudEvent) -> u64 {
        self.deliver_from(flagstop_bus::encode_kafka(event), "hand", Commands::Refuse)
    }

    fn deliver_from(&self, message: RawMessage, from: &str, commands: Commands) -> u64 {
        let mut position = self.position.lock().unwrap();
        *position += 1;
        let token = Token { consumer: 1, generation: 1, lane: 0, position: *position };
        let origin = Origin { name: from.into(), partition: None, offset: i64::try_from(*position).unwrap() };
        let _gone = self.into.send(Delivery { message, origin, redelivered: false, commands, token });
        *position
    }

    /// Delivers an event.
    pub fn deliver_event(&self, event: &CloudEvent) -> u64 {
        self.deliver(flagstop_bus::encode_kafka(event))
    }

    /// Has this delivery been acknowledged?
    #[must_use]
    pub fn acked(&self, position: u64) -> bool {
        self.state.acked.lock().unwrap().contains(&position)
    }

    /// The events published to a channel, in order.
    #[must_use]
    pub fn published(&self, channel: Channel) -> Vec<CloudEvent> {
        let published = self.state.published.lock().unwrap();
        let of_channel = published.iter().filter(|message| message.channel == channel);
        of_channel
            .filter_map(|message| match &message.content {
                Content::Event(event) => Some((**event).clone()),
                Content::Raw(_) => None,
            })
            .collect()
    }

    /// The messages passed on as they were, in order.
    #[must_use]
    pub fn published_raw(&self, channel: Channel) -> Vec<RawMessage> {
        let published = self.state.published.lock().unwrap();
        let of_channel = published.iter().filter(|message| message.channel == channel);
        of_channel
            .filter_map(|message| match &message.content {
                Content::Raw(message) => Some(message.clone()),
                Content::Event(_) => None,
            })
            .collect()
    }

    /// From now on the broker refuses these messages.
    pub fn refuse(&self, which: impl Fn(&Outgoing) -> bool + Send + 'static) {
        self.fail(move |message| which(message).then(|| PublishError::Refused("told to".into())));
    }

    /// From now on the broker does not take these messages for now.
    pub fn push_back(&self, which: impl Fn(&Outgoing) -> bool + Send + 'static) {
        self.fail(move |message| which(message).then(|| PublishError::Pushback("its queue is full".into())));
    }

    fn fail(&self, which: impl Fn(&Outgoing) -> Option<PublishError> + Send + 'static) {
        *self.state.refuses.lock().unwrap() = Some(Box::new(which));
    }
}

struct Hand {
    state: Arc<State>,
    outof: UnboundedReceiver<Delivery>,
    stopped: tokio::sync::watch::Sender<bool>,
}

struct HandAcker {
    state: Arc<State>,
    stopped: tokio::sync::watch::Sender<bool>,
}

#[async_trait]
impl Consumer for Hand {
    async fn recv(&mut self, max: usize) -> Vec<Delivery> {
        let mut batch = Vec::new();
        let mut stopped = self.stopped.subscribe();
        tokio::select! {
            biased;
            n = self.outof.recv_many(&mut batch, max) => { let _ = n; }
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
        batch
    }

    fn acker(&self) -> Arc<dyn Acker> {
        Arc::new(HandAcker { state: self.state.clone(), stopped: self.stopped.clone() })
    }
}

#[async_trait]
impl Acker for HandAcker {
    async fn ack(&self, tokens: &[Token]) {
        self.state.acked.lock().unwrap().extend(tokens.iter().map(|token| token.position));
    }

    async fn stop(&self) {
        self.stopped.send_replace(true);
    }

    async fn pause(&self, _paused: bool) {}
}

#[async_trait]
impl Bus for HandBus {
    async fn prepare(&self, _declare: bool) -> Result<Prepared, BusError> {
        Ok(Prepared::default())
    }

    async fn consume(&self) -> Result<Box<dyn Consumer>, BusError> {
        let outof = self.outof.lock().unwrap().take().expect("one consumer per hand bus");
        Ok(Box::new(Hand { state: self.state.clone(), outof, stopped: tokio::sync::watch::Sender::new(false) }))
    }

    fn own_commands(&self) -> Option<String> {
        Some(OWN_COMMANDS.to_owned())
    }

    async fn publish(&self, messages: &[Outgoing]) -> Vec<Result<(), PublishError>> {
        let refuses = self.state.refuses.lock().unwrap();
        let mut published = self.state.published.lock().unwrap();
        let one = |message: &Outgoing| {
            if let Some(why) = refuses.as_ref().and_then(|refuses| refuses(message)) {
                return Err(why);
            }
            published.push(message.clone());
            Ok(())
        };
        messages.iter().map(one).collect()
    }

    async fn subscribe(&self, _channel: Channel) -> Result<Box<dyn Subscription>, BusError> {
        Err(BusError::Unreachable("a hand bus shows what was published by itself".into()))
    }

    async fn close(&self) {}

    fn healthy(&self) -> bool {
        true
    }
}
