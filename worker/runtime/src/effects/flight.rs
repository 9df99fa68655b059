//! A call of an instance that runs ahead: its answer belongs to whoever holds the flight, until the call is stored.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flagstop_engine::api::EffectOutcome;
use flagstop_store::rows::EffectLease;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Begun;

/// The holder's side. Dropped, the call is given up, unless it was stored.
pub(crate) struct Flight(Arc<Call>);

/// The side of who carries it out.
pub(super) struct Call {
    /// JSON pointer of its task.
    task: String,
    whose: Mutex<Whose>,
    /// Nobody wants the answer.
    pub(super) stop: CancellationToken,
    answered: Arc<Notify>,
}

/// Where the answer goes, or is.
enum Whose {
    /// To the holder.
    Holders,
    /// It waits for the holder.
    Answered(EffectOutcome),
    /// To the instance, under this lease.
    Stored(EffectLease, Begun),
    /// It was taken, or nobody wants it any more.
    Nobodys,
}

/// What becomes of a call that is stored.
pub(super) enum Stored {
    /// Its answer will come as a poke.
    UnderWay,
    /// Its answer is there already.
    Answered { task: String, outcome: EffectOutcome },
    /// It was never made, and is left to others.
    GivenUp,
}

impl Flight {
    pub(super) fn new(task: String, answered: Arc<Notify>) -> (Self, Arc<Call>) {
        let stop = CancellationToken::new();
        let call = Arc::new(Call { task, whose: Mutex::new(Whose::Holders), stop, answered });
        (Self(call.clone()), call)
    }

    pub(crate) fn is_answered(&self) -> bool {
        matches!(*self.0.whose(), Whose::Answered(_))
    }

    /// Takes the answer, if it is there.
    pub(crate) fn answer(&self) -> Option<EffectOutcome> {
        let mut whose = self.0.whose();
        match std::mem::replace(&mut *whose, Whose::Nobodys) {
            Whose::Answered(outcome) => Some(outcome),
            other => {
                *whose = other;
                None
            }
        }
    }

    pub(super) fn stop(&self) -> CancellationToken {
        self.0.stop.clone()
    }

    pub(super) fn store(self, lease: EffectLease, begun: Begun) -> Stored {
        let mut whose = self.0.whose();
        match std::mem::replace(&mut *whose, Whose::Nobodys) {
            Whose::Holders => {
                *whose = Whose::Stored(lease, begun);
                Stored::UnderWay
            }
            Whose::Answered(outcome) => Stored::Answered { task: self.0.task.clone(), outcome },
            Whose::Stored(..) | Whose::Nobodys => Stored::GivenUp,
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut whose = self.0.whose();
        if matches!(*whose, Whose::Holders | Whose::Answered(_)) {
            *whose = Whose::Nobodys;
            self.0.stop.cancel();
        }
    }
}

impl Call {
    fn whose(&self) -> MutexGuard<'_, Whose> {
        self.whose.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the answer to whom it belongs: to the holder, or back, to be reported for what is stored.
    pub(super) fn answer(&self, outcome: EffectOutcome) -> Option<(EffectLease, Begun, EffectOutcome)> {
        let mut whose = self.whose();
        match std::mem::replace(&mut *whose, Whose::Nobodys) {
            Whose::Holders => {
                *whose = Whose::Answered(outcome);
                self.answered.notify_one();
                None
            }
            Whose::Stored(lease, begun) => Some((lease, begun, outcome)),
            Whose::Answered(_) | Whose::Nobodys => None,
        }
    }

    /// It will not be made here.
    pub(super) fn give_up(&self) {
        *self.whose() = Whose::Nobodys;
    }

    pub(super) fn is_stored(&self) -> bool {
        matches!(*self.whose(), Whose::Stored(..))
    }
}
