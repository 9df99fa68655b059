//! Durations: ISO 8601 text or an object of parts, as microseconds.
//!
//! Years and months are refused although the specification's pattern has them: they have no fixed length, and a wait
//! that lasts 28 or 31 days by chance is a trap. The text says so.

use crate::value::{self, Value};

/// Why something is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Neither form.
    #[error(
        "{0} is no duration: write ISO 8601 like `PT1H30M`, or an object of days, hours, minutes, seconds, milliseconds"
    )]
    Invalid(String),
    /// Years or months.
    #[error("`{0}` counts years or months, which have no fixed length: use days or weeks")]
    Calendar(String),
    /// Too long.
    #[error("{text} is longer than {max_days} days")]
    TooLong {
        /// What was given.
        text: String,
        /// The limit.
        max_days: u32,
    },
}

const SECOND_US: i128 = 1_000_000;
const MINUTE_US: i128 = 60 * SECOND_US;
const HOUR_US: i128 = 60 * MINUTE_US;
const DAY_US: i128 = 24 * HOUR_US;
const WEEK_US: i128 = 7 * DAY_US;

/// The object form's parts and their lengths.
const PARTS: [(&str, i128); 5] =
    [("days", DAY_US), ("hours", HOUR_US), ("minutes", MINUTE_US), ("seconds", SECOND_US), ("milliseconds", 1_000)];

/// The names of the object form's parts, for checks of a definition.
pub const PART_NAMES: [&str; 5] = ["days", "hours", "minutes", "seconds", "milliseconds"];

/// Reads either form: what a definition holds, or what an expression gave.
pub fn from_value(value: &Value, max_days: u32) -> Result<i64, DurationError> {
    if let Some(text) = value::as_str(value) {
        return parse_iso(text, max_days);
    }
    let invalid = || DurationError::Invalid(value::to_json(value));
    // Authors' own keys are not looked into, here as anywhere.
    let mut parts = value::entries(value).filter(|(key, _)| !key.starts_with("x-")).peekable();
    if parts.peek().is_none() {
        return Err(invalid());
    }
    let mut total = 0_i128;
    for (key, amount) in parts {
        let (_, unit_us) = PARTS.iter().find(|(name, _)| *name == key).ok_or_else(invalid)?;
        let amount = value::as_i64(amount).filter(|amount| *amount >= 0).ok_or_else(invalid)?;
        total += i128::from(amount) * unit_us;
    }
    checked(total, max_days, || value::to_json(value))
}

/// Reads ISO 8601: `P1W`, `P1DT2H3M4.5S`; every part may have a fraction.
pub fn parse_iso(text: &str, max_days: u32) -> Result<i64, DurationError> {
    let invalid = || DurationError::Invalid(format!("`{text}`"));
    let (date, time) = match text.strip_prefix('P').ok_or_else(invalid)?.split_once('T') {
        Some((_, "")) => return Err(invalid()),
        Some((date, time)) => (date, time),
        None => (text.strip_prefix('P').unwrap_or_default(), ""),
    };
    if date.is_empty() && time.is_empty() {
        return Err(invalid());
    }
    if date.contains(['Y', 'M']) {
        return Err(DurationError::Calendar(text.to_owned()));
    }
    let date = parts(date, &[('W', WEEK_US), ('D', DAY_US)]).ok_or_else(invalid)?;
    let time = parts(time, &[('H', HOUR_US), ('M', MINUTE_US), ('S', SECOND_US)]).ok_or_else(invalid)?;
    checked(date.saturating_add(time), max_days, || format!("`{text}`"))
}

/// Amounts with their units, each unit at most once and in this order.
fn parts(mut text: &str, units: &[(char, i128)]) -> Option<i128> {
    let mut total = 0_i128;
    for (letter, unit_us) in units {
        if let Some((amount, rest)) = text.split_once(*letter) {
            total = total.saturating_add(scaled(amount, *unit_us)?);
            text = rest;
        }
    }
    text.is_empty().then_some(total)
}

/// `12.5` times a unit, rounded down to microseconds.
fn scaled(amount: &str, unit_us: i128) -> Option<i128> {
    /// More digits than any duration within the limit needs; keeps the products within 128 bits.
    const DIGITS_MAX: usize = 18;
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    if whole.len() > DIGITS_MAX {
        return Some(i128::MAX);
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction = &fraction[..fraction.len().min(DIGITS_MAX)];
    let parts: i128 = fraction.parse().ok()?;
    Some(whole * unit_us + parts * unit_us / 10_i128.pow(fraction.len() as u32))
}

fn checked(total_us: i128, max_days: u32, text: impl Fn() -> String) -> Result<i64, DurationError> {
    i64::try_from(total_us)
        .ok()
        .filter(|total_us| i128::from(*total_us) <= i128::from(max_days) * DAY_US)
        .ok_or_else(|| DurationError::TooLong { text: text(), max_days })
}

/// As ISO 8601, for people and for `PT…` in events.
pub fn to_iso(duration_us: i64) -> String {
    use std::fmt::Write;
    let total = duration_us.max(0);
    let (seconds, micros) = (total / 1_000_000, total % 1_000_000);
    let mut text = String::from("P");
    if seconds >= 86_400 {
        // Writing to a string cannot fail, here and below.
        let _ = write!(text, "{}D", seconds / 86_400);
    }
    let in_day = seconds % 86_400;
    if in_day > 0 || micros > 0 || total == 0 {
        text.push('T');
    }
    if in_day >= 3_600 {
        let _ = write!(text, "{}H", in_day / 3_600);
    }
    if in_day % 3_600 >= 60 {
        let _ = write!(text, "{}M", in_day % 3_600 / 60);
    }
    if micros > 0 {
        let fraction = format!("{micros:06}");
        let _ = write!(text, "{}.{}S", in_day % 60, fraction.trim_end_matches('0'));
    } else if in_day % 60 > 0 || total == 0 {
        let _ = write!(text, "{}S", in_day % 60);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    const MAX_DAYS: u32 = 36_525;

    #[test]
    fn iso_texts_become_microseconds() {
        for (text, expected) in [
            ("PT0S", 0),
            ("PT1S", 1_000_000),
            ("PT0.25S", 250_000),
            ("PT1.0000019S", 1_000_001),
            ("PT1H30M", 5_400_000_000),
            ("P1DT2H3M4.5S", 93_784_500_000),
            ("P2W", 14 * 86_400_000_000),
            ("P1W1D", 8 * 86_400_000_000),
            ("PT0.5H", 1_800_000_000),
            ("P36525D", 36_525 * 86_400_000_000),
        ] {
            assert_eq!(parse_iso(text, MAX_DAYS), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_the_way_out() {
        for text in [
            "", "P", "PT", "P1", "1H", "PT1", "P1DT", "PT1M1H", "P-1D", "PT1.S", "PT.5S", "P1S", "pt1s", "PT1S ",
            "PT1H1H", "P١D",
        ] {
            assert!(matches!(parse_iso(text, MAX_DAYS), Err(DurationError::Invalid(_))), "{text}");
        }
        assert!(matches!(parse_iso("P1M", MAX_DAYS), Err(DurationError::Calendar(_))));
        assert!(matches!(parse_iso("P1Y2D", MAX_DAYS), Err(DurationError::Calendar(_))));
        let nines = "9".repeat(5_000);
        for text in ["P36526D".to_owned(), format!("P{nines}W"), format!("PT{nines}S"), format!("PT{}S", &nines[..18])]
        {
            assert!(matches!(parse_iso(&text, MAX_DAYS), Err(DurationError::TooLong { .. })), "{}", &text[..7]);
        }
        assert_eq!(parse_iso(&format!("PT0.{nines}S"), MAX_DAYS), Ok(999_999));
    }

    #[test]
    fn objects_of_parts_become_microseconds() {
        let read = |text: &str| from_value(&value::parse_json(text.as_bytes(), &Limits::default()).unwrap(), MAX_DAYS);
        assert_eq!(read(r#"{"hours":2,"minutes":15,"seconds":30,"milliseconds":7}"#), Ok(8_130_007_000));
        assert_eq!(read(r#"{"days":1.0}"#), Ok(86_400_000_000));
        assert_eq!(read("\"PT5S\""), Ok(5_000_000));
        assert_eq!(read(r#"{"seconds":1,"x-why":"cooling"}"#), Ok(1_000_000));
        for bad in [
            "{}",
            r#"{"x-why":1}"#,
            "5",
            "null",
            "[]",
            r#"{"weeks":1}"#,
            r#"{"days":-1}"#,
            r#"{"days":"1"}"#,
            r#"{"days":1.5}"#,
        ] {
            assert!(matches!(read(bad), Err(DurationError::Invalid(_))), "{bad}");
        }
        assert!(matches!(read(r#"{"days":9223372036854775807}"#), Err(DurationError::TooLong { .. })));
    }

    #[test]
    fn durations_are_shown_as_iso() {
        for text in ["PT0S", "PT1S", "PT0.25S", "PT1H30M", "P1DT2H3M4.5S", "P14D", "PT1M"] {
            assert_eq!(to_iso(parse_iso(text, MAX_DAYS).unwrap()), text);
        }
    }
}
