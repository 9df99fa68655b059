//! Ids by derivation (PROTOCOL D4, D12): whatever must be the same after a replay is a hash of where it came from.

use std::fmt;

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// 128 bits of SHA-256; stored as a `uuid`, so that indexes hold fixed-size keys whatever the input's length.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Hash16(pub Uuid);

impl Hash16 {
    /// Hashes the parts with their lengths, so that no two different lists of parts give the same input.
    #[must_use]
    pub fn of(domain: &str, parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in std::iter::once(domain.as_bytes()).chain(parts.iter().copied()) {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest = hash.finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

impl fmt::Debug for Hash16 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// An instance's id: derived, so that a replayed trigger meets its own primary key (PROTOCOL D12).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct InstanceId(pub Uuid);

impl InstanceId {
    /// The id of the instance that the trigger `source` + `id` starts of one definition.
    #[must_use]
    pub fn of_trigger(source: &str, id: &str, namespace: &str, name: &str) -> Self {
        let parts = [source, id, namespace, name].map(str::as_bytes);
        Self(Hash16::of("flagstop/instance/trigger", &parts).0)
    }

    /// The id of the run that a schedule of one definition (`every`, `cron`, `after`) starts at a due time.
    #[must_use]
    pub fn of_schedule(namespace: &str, name: &str, schedule: &str, due_us: i64) -> Self {
        let due = due_us.to_be_bytes();
        let parts = [namespace.as_bytes(), name.as_bytes(), schedule.as_bytes(), &due];
        Self(Hash16::of("flagstop/instance/schedule", &parts).0)
    }

    /// The id of the instance that the command `source` + `id` begins to run an ended one again.
    #[must_use]
    pub fn of_rerun(source: &str, id: &str) -> Self {
        Self(Hash16::of("flagstop/instance/rerun", &[source, id].map(str::as_bytes)).0)
    }

    /// The id of a child that a parent's task run starts (PROTOCOL D10).
    #[must_use]
    pub fn of_child(parent: InstanceId, pointer: &str, run: &str) -> Self {
        let parent = parent.0;
        Self(Hash16::of("flagstop/instance/child", &[parent.as_bytes(), pointer.as_bytes(), run.as_bytes()]).0)
    }

    /// The relay's and the timers' shard of this instance, below `shards` (a power of two up to 256).
    #[must_use]
    pub fn shard(self, shards: u16) -> i16 {
        i16::from(self.0.as_bytes()[0]) & (shards as i16 - 1)
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The inbox key of a message: two messages with the same `source` and `id` are the same message.
#[must_use]
pub fn message_key(source: &str, id: &str) -> Hash16 {
    Hash16::of("flagstop/message", &[source.as_bytes(), id.as_bytes()])
}
