//! Delays between attempts: exponential, jittered, without end. The only place that uses the crate `backoff`, and only
//! to compute (it is no longer maintained, RUSTSEC-2025-0012; so it can be replaced here alone). Never sleeps.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;

/// First delay, in milliseconds, before jitter.
const FIRST_MS: u64 = 100;
/// Longest delay, in milliseconds, before jitter.
const LONGEST_MS: u64 = 5_000;

/// The delays of one series of attempts.
#[derive(Debug)]
pub struct Delays(ExponentialBackoff);

impl Default for Delays {
    fn default() -> Self {
        Self::new()
    }
}

impl Delays {
    /// With the usual longest delay.
    #[must_use]
    pub fn new() -> Self {
        Self::up_to(Duration::from_millis(LONGEST_MS))
    }

    /// With a longest delay, before jitter.
    #[must_use]
    pub fn up_to(longest: Duration) -> Self {
        let mut inner = ExponentialBackoff {
            current_interval: Duration::from_millis(FIRST_MS),
            initial_interval: Duration::from_millis(FIRST_MS),
            max_interval: longest,
            multiplier: 2.0,
            randomization_factor: 0.5,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        inner.reset();
        Self(inner)
    }

    /// The next delay.
    pub fn next_delay(&mut self) -> Duration {
        self.0.next_backoff().unwrap_or(self.0.max_interval)
    }

    /// After a success: the next series starts small again.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_never_end_and_start_small_again() {
        let mut delays = Delays::new();
        let longest = Duration::from_millis(LONGEST_MS * 3 / 2 + 1);
        let series: Vec<_> = (0..200).map(|_| delays.next_delay()).collect();
        assert!(series.iter().all(|delay| *delay >= Duration::from_millis(FIRST_MS / 2) && *delay <= longest));
        assert!(series[199] >= Duration::from_millis(LONGEST_MS / 2));
        delays.reset();
        assert!(delays.next_delay() <= Duration::from_millis(FIRST_MS * 3 / 2 + 1));
    }
}
