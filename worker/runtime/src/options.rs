//! The runtime's limits and intervals, all in one place.

use flagstop_bus::port::Kept;
use serde::{Deserialize, Serialize};

/// How a worker runs. Every bound that keeps memory finite or recovery quick stands here.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Messages and stimuli that one batch takes at the most. Larger batches cost latency, smaller ones round trips.
    pub batch_max: usize,
    /// Batches that are decided and committed at the same time. More than 4 slow a two-core Postgres down.
    pub lanes: usize,
    /// Deliveries that wait in memory for a lane; the bus holds the rest back.
    pub deliveries_max: usize,
    /// Side effects in flight at the same time.
    pub effects_in_flight_max: usize,
    /// Of these, how many may go to the same host.
    pub effects_per_host_max: usize,
    /// Side effects that wait in memory for a place; above it no new messages are taken.
    pub effects_waiting_max: usize,
    /// How long an instance whose checkpoint policy is `suspend` may run ahead of its stored state, in milliseconds: a call that
    /// takes longer is written after all, so that others know of it. 0: it never does.
    pub ahead_ms: u64,
    /// How long a call that nobody waits for any more (cancelled, timed out, a race that was lost) is still listened to, so that
    /// the instance's history tells what became of it, in milliseconds; then it is given up.
    pub effects_late_ms: u64,
    /// May workflows run programs (`run: shell`, `run: script`) on this machine? They have the worker's rights.
    pub processes: bool,
    /// Programs that run at the same time.
    pub processes_in_flight_max: usize,
    /// How long one program may run, in milliseconds.
    pub process_timeout_ms: u64,
    /// How much one program may write, in bytes: standard output and standard error each.
    pub process_output_bytes_max: usize,
    /// Where programs run; the worker's own directory, if it is missing.
    pub process_directory: Option<String>,
    /// A worker that is silent for this long counts as dead, and others take over, in milliseconds.
    pub lease_ms: u64,
    /// Pause between two signs of life, in milliseconds. At least three must fit into a lease.
    pub beat_ms: u64,
    /// Pause between two looks for due timers, in milliseconds.
    pub timer_poll_ms: u64,
    /// Due timers that one look takes.
    pub timers_max: i64,
    /// Pause between two looks at the journal while nothing of this worker's own wakes the relay, in milliseconds.
    pub relay_poll_ms: u64,
    /// Journal rows that one look takes, divided among the shards that the worker holds. What is being published is in
    /// memory.
    pub relay_rows_max: i64,
    /// Status events that wait longer than this for the broker hold new messages back, in milliseconds (D13).
    pub relay_lag_max_ms: u64,
    /// How often the broker may find one event wrong (too large, for instance) before the instance's stream is set aside.
    pub relay_refusals_max: u32,
    /// The longest pause between two tries to publish an event that the broker does not take for now (a full queue, a missing
    /// exchange, binding, topic or right), in milliseconds. Pauses begin small and double.
    pub relay_retry_max_ms: u64,
    /// Journal rows that are held in memory because the broker does not take them, and rows of one shard that are read beyond
    /// the oldest of those; above it nothing more is read until the broker takes them.
    pub relay_held_rows_max: usize,
    /// Pause between two sweeps for early events that a crash kept from their waiters, in milliseconds.
    pub sweep_ms: u64,
    /// Parked events that one sweep looks at.
    pub sweep_rows: i64,
    /// How long an early event is kept for its waiter, in hours.
    pub parked_hours: u32,
    /// How long a message is remembered, so that it is applied once however often it is delivered, in hours; 0: for ever. Must
    /// be longer than the broker keeps messages, and than `parked_hours`.
    pub inbox_hours: u32,
    /// How long the journal is kept, in days; 0: for ever. Older parts of an instance's history are not shown, also while it
    /// lives. What was not published yet stays.
    pub history_days: u32,
    /// How long dead letters are kept in the store, in days; 0: for ever.
    pub dead_letters_days: u32,
    /// How long instances are kept after their end, in days; 0: for ever. A trigger that is delivered again after that, and
    /// after `inbox_hours`, starts its instance anew.
    pub instances_days: u32,
    /// Pause between two looks for what was kept for long enough, in seconds.
    pub retention_every_s: u64,
    /// How often a message or an instance may kill a worker while it is tried by itself, before it is set aside.
    pub blame_max: u32,
    /// Mail that is older than this was left behind by a dead worker, in milliseconds.
    pub mail_stale_ms: u64,
    /// How long one HTTP call may take, in milliseconds.
    pub http_timeout_ms: u64,
    /// The largest HTTP answer that is read, in bytes.
    pub http_response_bytes_max: usize,
    /// Hosts and networks that workflows may ask (`example.com`, `*.example.com`, `10.0.0.0/8`); empty: all.
    pub http_allow: Vec<String>,
    /// Hosts and networks that workflows may not ask, whatever is allowed. Link-local addresses are denied unless
    /// `http_allow` names their network.
    pub http_deny: Vec<String>,
    /// What becomes of an event that no definition listens for: `acknowledge` (it is counted), or `deadLetter`.
    pub unheard: Unheard,
    /// Rounds in which a batch decides its conflicting members again at once, before it pauses between rounds.
    pub conflict_rounds_quick: u32,
    /// What the engine may spend.
    pub engine: flagstop_engine::Limits,
    /// What the codec takes.
    pub codec: flagstop_bus::CodecLimits,
    /// What leaves of the status events: a section of its own.
    #[serde(skip)]
    pub status: StatusOptions,
}

/// What leaves of the status events. The history keeps them all.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct StatusOptions {
    /// Patterns of the status events that are published, such as `workflow.*` or `*.faulted`; empty: all that the
    /// specification requires. The numbers of those that leave stay as they are. The optional `workflow.status-changed` and
    /// `task.status-changed` must be named.
    pub events: Vec<String>,
}

/// What becomes of an event that no definition listens for.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Unheard {
    /// It is counted and acknowledged.
    #[default]
    Acknowledge,
    /// It is a dead letter, too.
    DeadLetter,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            batch_max: 100,
            lanes: 3,
            deliveries_max: 1_000,
            effects_in_flight_max: 256,
            effects_waiting_max: 10_000,
            ahead_ms: 1_000,
            effects_late_ms: 5_000,
            effects_per_host_max: 64,
            processes: false,
            processes_in_flight_max: 16,
            process_timeout_ms: 60_000,
            process_output_bytes_max: 1 << 20,
            process_directory: None,
            lease_ms: 5_000,
            beat_ms: 1_000,
            timer_poll_ms: 100,
            timers_max: 1_000,
            relay_poll_ms: 25,
            relay_rows_max: 2_000,
            relay_lag_max_ms: 30_000,
            relay_refusals_max: 5,
            relay_retry_max_ms: 10_000,
            relay_held_rows_max: 5_000,
            sweep_ms: 3_000,
            sweep_rows: 5_000,
            parked_hours: 7 * 24,
            inbox_hours: 8 * 24,
            history_days: 30,
            dead_letters_days: 30,
            instances_days: 30,
            retention_every_s: 600,
            blame_max: 3,
            mail_stale_ms: 2_000,
            http_timeout_ms: 30_000,
            http_response_bytes_max: 4 << 20,
            http_allow: Vec::new(),
            http_deny: Vec::new(),
            unheard: Unheard::default(),
            conflict_rounds_quick: 3,
            engine: flagstop_engine::Limits::default(),
            codec: flagstop_bus::CodecLimits::default(),
            status: StatusOptions::default(),
        }
    }
}

impl Options {
    /// Refuses values with which a worker could not keep its promises.
    ///
    /// # Errors
    /// Says which key is wrong and what it must be.
    pub fn check(&self) -> Result<(), String> {
        let positive = [
            ("batch_max", self.batch_max as u64),
            ("lanes", self.lanes as u64),
            ("deliveries_max", self.deliveries_max as u64),
            ("effects_in_flight_max", self.effects_in_flight_max as u64),
            ("effects_per_host_max", self.effects_per_host_max as u64),
            ("processes_in_flight_max", self.processes_in_flight_max as u64),
            ("process_timeout_ms", self.process_timeout_ms),
            ("beat_ms", self.beat_ms),
            ("timer_poll_ms", self.timer_poll_ms),
            ("timers_max", self.timers_max.max(0) as u64),
            ("relay_poll_ms", self.relay_poll_ms),
            ("relay_rows_max", self.relay_rows_max.max(0) as u64),
            ("relay_retry_max_ms", self.relay_retry_max_ms),
            ("relay_held_rows_max", self.relay_held_rows_max as u64),
            ("http_timeout_ms", self.http_timeout_ms),
            ("retention_every_s", self.retention_every_s),
            ("blame_max", u64::from(self.blame_max)),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(format!("worker.{key} must be above 0"));
        }
        flagstop_engine::check_checkpoint(&self.engine).map_err(|why| format!("worker.engine.checkpoint: {why}"))?;
        crate::status::Published::new(&self.status.events)?;
        if self.lease_ms < 3 * self.beat_ms {
            return Err(format!(
                "worker.lease_ms ({}) must be at least three times worker.beat_ms ({}), or a busy worker looks dead",
                self.lease_ms, self.beat_ms
            ));
        }
        Ok(())
    }

    /// What works and may still be a mistake.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let (inbox, parked) = (self.inbox_hours, self.parked_hours);
        if inbox > 0 && inbox < parked {
            warnings.push(format!(
                "FS-CONFIG-RETENTION: worker.inbox_hours ({inbox}) is less than worker.parked_hours ({parked}): an event that \
                 the broker delivers again could be heard twice; raise it above that, and above the time for which the broker \
                 keeps messages"
            ));
        }
        warnings
    }

    /// What is wrong between them and what the bus keeps (PROTOCOL D12).
    #[must_use]
    pub fn warnings_about(&self, kept: &[Kept]) -> Vec<String> {
        let inbox_ms = u64::from(self.inbox_hours) * 3_600_000;
        let outlives = |kept: &&Kept| inbox_ms > 0 && kept.longest_ms.is_none_or(|longest_ms| longest_ms > inbox_ms);
        let warning = |kept: &Kept| {
            let longest = kept.longest_ms.map_or_else(
                || "for ever (retention.ms=-1)".to_owned(),
                |ms| format!("for up to {} h (retention.ms and segment.ms)", ms.div_ceil(3_600_000)),
            );
            format!(
                "FS-CONFIG-RETENTION: the topic `{}` keeps messages {longest}, longer than workers remember that they have \
                 consumed them (worker.inbox_hours: {}): should the group's offsets ever be lost or set back, older ones \
                 would be heard again; raise worker.inbox_hours above it (0: for ever), or lower the topic's retention",
                kept.name, self.inbox_hours
            )
        };
        kept.iter().filter(outlives).map(warning).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inbox_that_forgets_before_early_events_expire_is_warned_about() {
        assert!(Options::default().warnings().is_empty());
        assert!(Options { inbox_hours: 0, ..Options::default() }.warnings().is_empty(), "for ever");
        let warnings = Options { inbox_hours: 24, ..Options::default() }.warnings();
        assert!(warnings[0].contains("worker.inbox_hours (24)") && warnings[0].contains("twice"), "{warnings:?}");
    }

    #[test]
    fn an_inbox_that_forgets_before_the_topic_does_is_warned_about() {
        let kept = |longest_ms| Kept { name: "in".into(), longest_ms };
        let hours = |hours: u64| Some(hours * 3_600_000);
        let options = Options { inbox_hours: 192, ..Options::default() };
        assert!(options.warnings_about(&[kept(hours(192))]).is_empty());
        let warnings = options.warnings_about(&[kept(hours(193)), kept(hours(100)), kept(None)]);
        for (warning, part) in warnings.iter().zip(["for up to 193 h", "for ever"]) {
            assert!(warning.starts_with("FS-CONFIG-RETENTION: the topic `in`") && warning.contains(part), "{warning}");
        }
        assert_eq!(warnings.len(), 2);
        assert!(Options { inbox_hours: 0, ..options }.warnings_about(&[kept(None)]).is_empty(), "both for ever");
    }
}
