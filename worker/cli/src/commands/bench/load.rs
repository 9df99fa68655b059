//! Sends triggers, answers waiting workflows with their resumes, and counts the completed ones.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flagstop_bus::port::{Bus, Outgoing, Subscription};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::workflow::{Messages, Progress, progress};
use crate::exit::{Exit, Failure};

/// Longest silence before the benchmark gives up.
const SILENCE: Duration = Duration::from_secs(30);
/// Messages in one burst to the bus.
const BURST: usize = 500;

/// The load generator of one run.
pub(super) struct Load {
    messages: Arc<Messages>,
    outgoing: Sender<Outgoing>,
    status: Box<dyn Subscription>,
    next: u64,
}

impl Load {
    /// Follows the status events from now on.
    pub(super) async fn new(bus: Arc<dyn Bus>, messages: Messages) -> Result<Self, Failure> {
        let status = bus.subscribe(flagstop_bus::port::Channel::Status).await?;
        let (outgoing, queue) = channel(10_000);
        tokio::spawn(send(bus, queue));
        Ok(Self { messages: Arc::new(messages), outgoing, status, next: 0 })
    }

    /// Runs `count` workflows with at most `open` of them at once; returns how long it took.
    pub(super) async fn full_speed(&mut self, count: u64, open: u64) -> Result<Duration, Failure> {
        let began = Instant::now();
        let last = self.next + count;
        let (mut started, mut completed) = (0, 0);
        while completed < count {
            while started < count && started - completed < open && self.next < last {
                self.put(self.messages.start(self.next)).await?;
                self.next += 1;
                started += 1;
            }
            completed += self.progress().await?.len() as u64;
        }
        Ok(began.elapsed())
    }

    /// Runs `rate` workflows a second for a while; returns the latencies from trigger to completed event, ascending.
    pub(super) async fn steady(&mut self, rate: u64, seconds: u64) -> Result<Vec<Duration>, Failure> {
        let mut began = HashMap::new();
        let mut latencies = Vec::new();
        let count = rate * seconds;
        let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / rate as f64));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
        let mut started = 0;
        while (latencies.len() as u64) < count {
            tokio::select! {
                _ = ticks.tick(), if started < count => {
                    // From when it should have been sent: a late sender must not hide a slow system.
                    began.insert(self.next, Instant::now());
                    self.put(self.messages.start(self.next)).await?;
                    self.next += 1;
                    started += 1;
                }
                completed = next(&mut self.status) => {
                    for n in self.answer(completed?).await? {
                        if let Some(began) = began.remove(&n) {
                            latencies.push(began.elapsed());
                        }
                    }
                }
            }
        }
        latencies.sort_unstable();
        Ok(latencies)
    }

    async fn progress(&mut self) -> Result<Vec<u64>, Failure> {
        let batch = next(&mut self.status).await?;
        self.answer(batch).await
    }

    /// Sends the resumes of those that wait; returns those that have completed.
    async fn answer(&self, batch: Vec<Progress>) -> Result<Vec<u64>, Failure> {
        let mut completed = Vec::new();
        for one in batch {
            match one {
                Progress::Waits(n) => self.put(self.messages.resume(n)).await?,
                Progress::Completed(n) => completed.push(n),
            }
        }
        Ok(completed)
    }

    async fn put(&self, message: Outgoing) -> Result<(), Failure> {
        let failed =
            |_| Failure::new(Exit::Unreachable, "FS-BUS-UNAVAILABLE", "the bus took no message", "look at its log");
        self.outgoing.send(message).await.map_err(failed)
    }
}

async fn next(status: &mut Box<dyn Subscription>) -> Result<Vec<Progress>, Failure> {
    let silent = |_| {
        let hint = "look at the log above; a smaller `--open` or `--rate` may show more";
        Failure::new(Exit::Failed, "FS-BENCH-SILENT", format!("no status event within {SILENCE:?}"), hint)
    };
    let batch = tokio::time::timeout(SILENCE, status.next(1_000)).await.map_err(silent)?;
    Ok(batch.iter().filter_map(progress).collect())
}

/// Sends in bursts whatever has gathered; ends with the queue, or with the first message that the bus does not take.
async fn send(bus: Arc<dyn Bus>, mut queue: Receiver<Outgoing>) {
    let mut burst = Vec::new();
    while queue.recv_many(&mut burst, BURST).await > 0 {
        for result in bus.publish(&burst).await {
            if let Err(why) = result {
                tracing::error!("the benchmark's message was not published: {why}");
                return;
            }
        }
        burst.clear();
    }
}
