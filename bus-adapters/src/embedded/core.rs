//! The work queue and the live subscribers, in memory. Knows nothing of the file.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use crate::config::BusConfig;
use crate::handover::Handover;
use crate::port::{Channel, PublishError, RawMessage};

/// A message's place in the queue; grows with each message.
pub(super) type Position = u64;

/// A place that is counted against the limits, before the message is durable.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seat {
    pub(super) position: Position,
    bytes: usize,
}

/// A message that a consumer takes.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) position: Position,
    pub(super) message: RawMessage,
    pub(super) redelivered: bool,
}

#[derive(Debug)]
pub(super) struct Core {
    state: Mutex<State>,
    /// Something that a waiting consumer may want to know has changed.
    pub(super) changed: Notify,
    pub(super) prefetch: usize,
    messages_max: usize,
    bytes_max: usize,
    lag_max: usize,
}

#[derive(Debug, Default)]
struct State {
    /// Everything that isn't acknowledged.
    kept: BTreeMap<Position, Kept>,
    /// Those of them that nobody holds, so that what comes back keeps its place.
    ready: BTreeSet<Position>,
    next_position: Position,
    /// Seats given out, messages kept included.
    seats: usize,
    bytes: usize,
    subscribers: HashMap<Channel, Vec<Weak<Handover<RawMessage>>>>,
    closed: bool,
}

#[derive(Debug)]
struct Kept {
    message: RawMessage,
    bytes: usize,
    owner: Option<u64>,
    redelivered: bool,
}

// === impl Core ===

impl Core {
    pub(super) fn new(config: &BusConfig) -> Self {
        Self {
            state: Mutex::new(State { next_position: 1, ..State::default() }),
            changed: Notify::new(),
            prefetch: usize::from(config.prefetch.max(1)),
            messages_max: config.backlog_messages_max,
            bytes_max: config.backlog_bytes_max,
            lag_max: config.subscription_messages_max,
        }
    }

    /// Takes over what the file kept from an earlier run. It may have been handed out then.
    pub(super) fn restore(&self, kept: Vec<(Position, RawMessage)>) {
        let mut state = self.lock();
        for (position, message) in kept {
            let seat = Seat { position, bytes: size(&message) };
            state.next_position = state.next_position.max(position + 1);
            state.seats += 1;
            state.bytes += seat.bytes;
            state.insert(seat, message, true);
        }
    }

    /// Counts a message in and gives it its place.
    pub(super) fn reserve(&self, message: &RawMessage) -> Result<Seat, PublishError> {
        let bytes = size(message);
        let mut state = self.lock();
        if state.closed {
            return Err(PublishError::Unavailable("the bus is closed".into()));
        }
        if state.seats >= self.messages_max || state.bytes + bytes > self.bytes_max {
            return Err(PublishError::Unavailable(format!(
                "{} messages with {} bytes wait already, and the limits are {} and {} (bus.backlog_messages_max, bus.backlog_bytes_max); try again when the worker has caught up",
                state.seats, state.bytes, self.messages_max, self.bytes_max
            )));
        }
        let position = state.next_position;
        state.next_position += 1;
        state.seats += 1;
        state.bytes += bytes;
        Ok(Seat { position, bytes })
    }

    /// Gives seats back whose messages could not be written.
    pub(super) fn release(&self, seats: impl Iterator<Item = Seat>) {
        let mut state = self.lock();
        for seat in seats {
            state.seats -= 1;
            state.bytes -= seat.bytes;
        }
    }

    /// Lets messages be delivered that are as durable as they will be.
    pub(super) fn accept(&self, messages: Vec<(Seat, RawMessage)>) {
        let mut state = self.lock();
        for (seat, message) in messages {
            state.insert(seat, message, false);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Hands the next messages to `owner`.
    pub(super) fn take(&self, owner: u64, max: usize) -> Vec<Taken> {
        let mut state = self.lock();
        let mut taken = Vec::new();
        while taken.len() < max
            && let Some(position) = state.ready.pop_first()
        {
            if let Some(kept) = state.kept.get_mut(&position) {
                kept.owner = Some(owner);
                taken.push(Taken { position, message: kept.message.clone(), redelivered: kept.redelivered });
            }
        }
        taken
    }

    /// Forgets messages that `owner` holds; answers which.
    pub(super) fn remove(&self, owner: u64, positions: impl Iterator<Item = Position>) -> Vec<Position> {
        let mut state = self.lock();
        let mut removed = Vec::new();
        for position in positions {
            if state.kept.get(&position).is_some_and(|kept| kept.owner == Some(owner))
                && let Some(kept) = state.kept.remove(&position)
            {
                state.seats -= 1;
                state.bytes -= kept.bytes;
                removed.push(position);
            }
        }
        drop(state);
        self.changed.notify_waiters();
        removed
    }

    /// Puts back what `owner` holds, for others.
    pub(super) fn put_back(&self, owner: u64) {
        let mut state = self.lock();
        let State { kept, ready, .. } = &mut *state;
        for (position, kept) in kept.iter_mut().filter(|(_, kept)| kept.owner == Some(owner)) {
            kept.owner = None;
            kept.redelivered = true;
            ready.insert(*position);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    pub(super) fn subscribe(&self, channel: Channel) -> Arc<Handover<RawMessage>> {
        let handover = Arc::new(Handover::new(self.lag_max));
        self.lock().subscribers.entry(channel).or_default().push(Arc::downgrade(&handover));
        handover
    }

    /// Shows a message to the channel's live subscribers. One that lags too far loses the oldest.
    pub(super) fn show(&self, channel: Channel, message: RawMessage) {
        let mut state = self.lock();
        let Some(subscribers) = state.subscribers.get_mut(&channel) else { return };
        subscribers.retain(|subscriber| {
            let Some(handover) = subscriber.upgrade() else { return false };
            if handover.push_dropping_oldest(message.clone()).is_some() {
                tracing::warn!(?channel, lag_max = self.lag_max, "a subscriber lags behind and loses messages");
            }
            true
        });
    }

    pub(super) fn is_open(&self) -> bool {
        !self.lock().closed
    }

    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        for subscriber in state.subscribers.values().flatten().filter_map(Weak::upgrade) {
            subscriber.close();
        }
        drop(state);
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    fn insert(&mut self, seat: Seat, message: RawMessage, redelivered: bool) {
        self.ready.insert(seat.position);
        self.kept.insert(seat.position, Kept { message, bytes: seat.bytes, owner: None, redelivered });
    }
}

fn size(message: &RawMessage) -> usize {
    message.body.len() + message.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
}
