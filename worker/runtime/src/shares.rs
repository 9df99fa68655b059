//! Deliveries that hold several events (the JSON batch format): each event is worked on by itself, and the delivery is
//! acknowledged with the last of them, never before.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use flagstop_bus::CodecLimits;
use flagstop_bus::port::{Delivery, Token};

/// How many events of each such delivery are still in hand.
#[derive(Debug, Default)]
pub(crate) struct Shares(Mutex<BTreeMap<Token, usize>>);

impl Shares {
    /// The delivery's events, each as a delivery of its own; most hold one, which is left as it is.
    pub(crate) fn split(&self, delivery: Delivery, limits: &CodecLimits) -> Vec<Delivery> {
        let Some(parts) = flagstop_bus::split(&delivery.message, limits) else { return vec![delivery] };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(delivery.token, parts.len());
        parts.into_iter().map(|message| Delivery { message, ..delivery.clone() }).collect()
    }

    /// One event of this delivery is done. Was it the last?
    pub(crate) fn is_last(&self, token: Token) -> bool {
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(left) = shares.get_mut(&token) else { return true };
        *left -= 1;
        if *left > 0 {
            return false;
        }
        shares.remove(&token);
        true
    }
}
