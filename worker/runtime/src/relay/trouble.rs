//! Says what holds the relay up (PROTOCOL D14), for the log and for health checks: one line for all that waits, every few
//! seconds at the most.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::streams::Waiting;
use crate::intake::Shared;

/// Pause between two lines.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// Shards that a line names.
const SHARDS_NAMED_MAX: usize = 8;

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    told: Option<Instant>,
}

impl Troubles {
    /// Tells of streams that wait before they are tried again.
    pub(super) fn tell(&mut self, shared: &Shared, oldest: Option<&Waiting>, held: &BTreeMap<i16, usize>, lag_us: i64) {
        let streams: usize = held.values().sum();
        shared.streams_held.store(streams as u64, Ordering::Relaxed);
        let text = oldest.filter(|_| streams > 0).map(|oldest| {
            let why = oldest.why.as_deref().unwrap_or("other streams are in its way");
            format!(
                "the events of {streams} instances wait for the broker, the oldest ({} of instance {} at revision {}, shard {}) for \
                 {} s: {why}",
                oldest.event_type, oldest.instance, oldest.revision, oldest.shard, lag_us / 1_000_000
            )
        });
        if let Some(text) = &text
            && self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY)
        {
            self.told = Some(Instant::now());
            let shards: Vec<String> = held.keys().take(SHARDS_NAMED_MAX).map(i16::to_string).collect();
            let shards = format!("{}{}", shards.join(" "), if held.len() > SHARDS_NAMED_MAX { " …" } else { "" });
            tracing::warn!(streams, shards, "not published, tried again: {text}");
        }
        *shared.held_up.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}

/// The lag has passed its watermark, one way or the other.
pub(super) fn tell_watermark(oldest: Option<&Waiting>, lag_us: i64, behind: bool) {
    let lag_s = lag_us / 1_000_000;
    let Some(oldest) = oldest else {
        tracing::warn!(lag_s, behind, "the relay's lag is below its watermark again; new messages are taken");
        return;
    };
    tracing::warn!(
        lag_s,
        behind,
        shard = oldest.shard,
        instance = %oldest.instance,
        revision = oldest.revision,
        event_type = oldest.event_type,
        why = oldest.why,
        "the relay's lag passed its watermark; while behind, no new messages are taken"
    );
}
