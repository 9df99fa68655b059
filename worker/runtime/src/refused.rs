//! What was refused a moment ago: an instance that can't use a timer or a parked event is not asked again at once, over
//! and over, while the row is still there.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use flagstop_schemas::{Hash16, InstanceId};

/// After this it may be tried again: the instance may have changed.
const PAUSE: Duration = Duration::from_secs(10);
/// Above this, what is refused is forgotten, and at worst asked again.
const MAX: usize = 10_000;

/// An instance, one of its slots, and what came for it.
type Refusal = (InstanceId, i64, Hash16);

/// The recent refusals of one worker.
#[derive(Debug, Default)]
pub(crate) struct Refused(Mutex<HashMap<Refusal, Instant>>);

impl Refused {
    pub(crate) fn remember(&self, refusal: Refusal) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= MAX {
            recent.retain(|_, since| since.elapsed() < PAUSE);
            if recent.len() >= MAX {
                recent.clear();
            }
        }
        recent.insert(refusal, Instant::now());
    }

    pub(crate) fn knows(&self, refusal: &Refusal) -> bool {
        let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recent.get(refusal).is_some_and(|since| since.elapsed() < PAUSE)
    }

    /// Of an instance that takes again what it refused.
    pub(crate) fn forget(&self, instance: InstanceId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(whose, ..), _| *whose != instance);
    }
}
