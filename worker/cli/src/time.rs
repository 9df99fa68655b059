//! Times for people and for JSON: RFC 3339 in UTC.

use jiff::{Span, SpanRelativeTo, Timestamp};

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

/// A point in time, as RFC 3339 or as how long ago: `2h`, `30m`, `7d`, `PT90S`. For arguments.
pub fn since(text: &str) -> Result<i64, String> {
    match text.parse::<Timestamp>() {
        Ok(time) => Ok(time.as_microsecond()),
        Err(_) => Ok(now_us() - length(text)?),
    }
}

/// A length of time in microseconds: `2h`, `30m`, `7d`, `PT90S`. A day has 24 hours. For arguments.
pub fn length(text: &str) -> Result<i64, String> {
    let unclear = || format!("`{text}` is no length of time; write 30m, 2h, 7d or 2026-11-21T10:00:00Z for a time");
    let span: Span = text.parse().map_err(|_| unclear())?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| unclear())?;
    let us = i64::try_from(duration.as_micros()).map_err(|_| unclear())?;
    if us < 0 { Err(unclear()) } else { Ok(us) }
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
    fn a_length_of_time_is_written_in_short_or_as_iso_8601() {
        assert_eq!(length("90m"), length("PT1H30M"));
        assert_eq!(length("7d"), Ok(7 * 86_400_000_000));
        assert_eq!(since("2026-01-01T00:00:00Z"), Ok(1_767_225_600_000_000));
        for wrong in ["", "soon", "5", "-1h", "3 bananas"] {
            assert!(length(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_rfc_3339_in_utc() {
        assert_eq!(rfc3339(1_767_225_600_123_456), "2026-01-01T00:00:00.123456Z");
        assert_eq!(distance(0, 1_000_000), "1 second");
        assert_eq!(distance(0, 3 * 86_400_000_000), "3 days");
        assert_eq!(distance(90 * 60_000_000, 0), "90 minutes");
    }
}
