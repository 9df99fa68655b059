//! Times for people and for JSON: RFC 3339 in UTC.

use jiff::Timestamp;

/// Now, on this machine's clock: for display and for events that are made here, never for decisions.
pub fn now_us() -> i64 {
    Timestamp::now().as_microsecond()
}

/// The same as text.
pub fn now() -> String {
    rfc3339(now_us())
}

/// Microseconds since 1970-01-01 UTC as RFC 3339 with microseconds.
pub fn rfc3339(at_us: i64) -> String {
    match Timestamp::from_microsecond(at_us) {
        Ok(time) => format!("{time:.6}"),
        Err(_) => format!("{at_us} µs"),
    }
}

/// How long ago, or how long until, in its largest unit.
pub fn distance(from_us: i64, to_us: i64) -> String {
    let seconds = (to_us - from_us).unsigned_abs() / 1_000_000;
    let (n, unit) = match seconds {
        0..=119 => (seconds, "second"),
        120..=7_199 => (seconds / 60, "minute"),
        7_200..=172_799 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{n} {unit}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_in_utc() {
        assert_eq!(rfc3339(1_767_225_600_123_456), "2026-01-01T00:00:00.123456Z");
        assert_eq!(distance(0, 1_000_000), "1 second");
        assert_eq!(distance(0, 3 * 86_400_000_000), "3 days");
        assert_eq!(distance(90 * 60_000_000, 0), "90 minutes");
    }
}
