//! What a worker's death after every transition does: all but the snapshot is gone, and everything comes twice.
//!
//! The first deliveries keep their order; each copy comes right after its first delivery and again after the next one.

use flagstop_engine::Instance;
use flagstop_engine::api::{Effect, Env, Stimulus};

use super::run::Run;
use super::{Work, World};

impl World {
    pub(super) fn perform_twice(&mut self, work: Work) {
        let earlier = std::mem::take(&mut self.copies);
        // A look and the rest of cut work are the worker's own: nobody delivers them.
        let is_own = matches!(work, Work::Look { .. } | Work::Apply { stimulus: Stimulus::Proceed, .. });
        self.perform(work.clone());
        if !is_own {
            self.perform(work.clone());
            self.copies.push_back(work);
        }
        for copy in earlier {
            self.perform(copy);
        }
    }

    /// Delivers something once more after the next piece of work.
    pub(super) fn copy_later(&mut self, work: Work) {
        if self.options.kill == super::Kill::EveryCommit {
            self.copies.push_back(work);
        }
    }
}

impl Run {
    /// The instance as another worker finds it, with the effects that it begins again.
    pub(super) fn reborn(&self, instance: &Instance, env: &Env<'_>) -> Result<(Instance, Vec<Effect>), String> {
        let bytes = instance.encode();
        let reborn = Instance::decode(&self.plan, &bytes)
            .map_err(|why| format!("a snapshot that was just written can't be read: {why}"))?;
        if reborn.projection(&self.plan) != instance.projection(&self.plan) {
            return Err("what the instance waits for is lost with its memory".to_owned());
        }
        let effects = reborn.effects(&self.plan, env);
        Ok((reborn, effects))
    }
}
