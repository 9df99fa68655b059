//! The store's clock. SQLite runs inside the process, so the machine's clock is the database's clock (D15); what this
//! adds is that it never goes back: a machine's clock that is set back only makes it run at half speed until both agree.

use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Gives microseconds since 1970 UTC that never decrease.
#[derive(Debug)]
pub(super) struct Clock {
    last: Mutex<(i64, Instant)>,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { last: Mutex::new((0, Instant::now())) }
    }

    /// Now, and never before what was given or seen.
    pub(super) fn now_us(&self) -> i64 {
        self.at_least_us(0)
    }

    /// Now, and not before `seen_us`: the time of the newest commit, which another process may have made.
    pub(super) fn at_least_us(&self, seen_us: i64) -> i64 {
        let wall_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, whole_us);
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = Instant::now();
        last.0 = next_us(wall_us, last.0, whole_us(now - last.1)).max(seen_us);
        last.1 = now;
        last.0
    }
}

/// The wall's time, unless it is behind what was given: then time goes on at half speed, so that leases still run out
/// and the wall catches up.
fn next_us(wall_us: i64, last_us: i64, elapsed_us: i64) -> i64 {
    wall_us.max(last_us + elapsed_us / 2)
}

fn whole_us(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_is_set_back_slows_the_time_down_and_never_turns_it_back() {
        assert_eq!(next_us(1_000, 900, 10), 1_000, "ahead: the wall's time");
        assert_eq!(next_us(500, 1_000, 10), 1_005, "behind: half of what went by");
    }

    #[test]
    fn a_commit_time_of_another_process_pulls_the_clock_up() {
        let clock = Clock::new();
        let ahead_us = clock.now_us() + 3_600_000_000;
        assert!(clock.at_least_us(ahead_us) >= ahead_us);
        assert!(clock.now_us() >= ahead_us);
    }
}
