//! Drives the world in real time until the instance has ended, or can't go on.

use std::time::Duration;

use flagstop_engine::Instance;
use flagstop_engine::api::WaitReason;
use flagstop_schemas::InstanceId;
use flagstop_solo::{Output, World};
use tokio::time::Instant;

use super::effects::Effects;
use super::inputs::Events;
use super::status::Sink;
use crate::exit::Failure;
use crate::signals::Signals;
use crate::time::now_us;

/// Pieces of work between two looks at signals and time.
const STEPS_AT_ONCE: usize = 32;

/// Waits of longer than this are looked at again, as the clock may be set meanwhile.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// How a run ended.
pub struct End {
    /// The instance; `None`: no event has started one.
    pub instance: Option<Instance>,
    /// Why it was stopped before its end.
    pub stopped: Option<Stopped>,
    /// What it waits for, and what other instances do: definition and reason.
    pub waits: Vec<(String, WaitReason)>,
    /// Events of these types would start it.
    pub starts: Vec<String>,
}

/// Why a run was stopped before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Only an event can help, and there are no more.
    EventsUsedUp,
    /// `--timeout`
    TimedOut,
    /// Ctrl-C, or SIGTERM.
    Interrupted,
}

/// A run under way.
pub struct Drive {
    world: World,
    events: Events,
    status: Sink,
    effects: Effects,
    first: Option<InstanceId>,
}

impl Drive {
    pub fn new(world: World, events: Events, status: Sink, effects: Effects) -> Self {
        Self { world, events, status, effects, first: None }
    }

    /// Runs to the end.
    pub async fn run(mut self, timeout: Option<Duration>) -> Result<End, Failure> {
        let mut signals = Signals::catch()?;
        let stop_at = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let stopped = loop {
            if self.work()? {
                // Pure work is left: whoever else wants something gets a chance.
                tokio::task::yield_now().await;
                tokio::select! {
                    biased;
                    _ = signals.next() => break Some(Stopped::Interrupted),
                    () = std::future::ready(()) => {}
                }
                if stop_at.is_some_and(|stop_at| Instant::now() >= stop_at) {
                    break Some(Stopped::TimedOut);
                }
                continue;
            }
            self.status.flush()?;
            if self.has_ended() && self.effects.is_idle() {
                break None;
            }
            let wants_event = self.wants_event();
            if wants_event && let Some(event) = self.events.next_at_once() {
                self.world.publish(event?);
                continue;
            }
            let due_us = self.world.next_due_us();
            if due_us.is_none() && self.effects.is_idle() && self.events.is_used_up() {
                break Some(Stopped::EventsUsedUp);
            }
            let sleep = due_us.map(|due_us| Duration::from_micros(u64::try_from(due_us - now_us()).unwrap_or(0)));
            tokio::select! {
                _ = signals.next() => break Some(Stopped::Interrupted),
                () = until(stop_at) => break Some(Stopped::TimedOut),
                answer = self.effects.next(), if !self.effects.is_idle() => {
                    self.world.set_now(now_us());
                    self.world.fire(vec![answer]);
                }
                // When the pipe is closed, the next round sees that it is used up.
                event = self.events.next(), if wants_event && !self.events.is_used_up() => {
                    if let Some(event) = event {
                        self.world.set_now(now_us());
                        self.world.publish(event?);
                    }
                }
                () = tokio::time::sleep(sleep.unwrap_or(SLEEP_MAX).min(SLEEP_MAX)) => {
                    self.world.set_now(now_us());
                    self.world.fire(Vec::new());
                }
            }
        };
        self.status.flush()?;
        Ok(self.end(stopped))
    }

    /// Some work. True: more is left.
    fn work(&mut self) -> Result<bool, Failure> {
        for _ in 0..STEPS_AT_ONCE {
            self.world.set_now(now_us());
            if !self.world.step() {
                return Ok(false);
            }
            for output in self.world.take_outputs() {
                match output {
                    Output::Begin { instance, effect } => self.effects.begin(instance, effect),
                    Output::Drop { instance, slot } => self.effects.drop_effect(instance, slot),
                    Output::Journal { instance, header, entries } => {
                        self.first.get_or_insert(instance);
                        self.status.write(&header, &entries)?;
                    }
                }
            }
        }
        Ok(self.world.has_work())
    }

    fn instance(&self) -> Option<&Instance> {
        self.world.instance(self.first?)
    }

    fn has_ended(&self) -> bool {
        self.instance().is_some_and(|instance| instance.phase().has_ended())
    }

    /// Events come as the workflow waits: for its start, or in a listen; or when nothing else can happen.
    fn wants_event(&self) -> bool {
        let is_stuck = self.effects.is_idle() && self.world.next_due_us().is_none();
        !self.has_ended() && (self.first.is_none() || self.world.is_anybody_listening() || is_stuck)
    }

    fn end(self, stopped: Option<Stopped>) -> End {
        let waits = self.world.waiting().flat_map(|(instance, reasons)| {
            let name = instance.reference().name.clone();
            reasons.into_iter().map(move |reason| (name.clone(), reason))
        });
        End {
            waits: waits.collect(),
            starts: if self.first.is_none() { self.world.start_types() } else { Vec::new() },
            instance: self.instance().cloned(),
            stopped,
        }
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
