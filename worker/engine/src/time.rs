//! Moments as the specification shows them.

use crate::api::Value;
use crate::value;

/// RFC 3339 in UTC, with as many decimals as there are.
pub(crate) fn rfc3339(at_us: i64) -> String {
    match jiff::Timestamp::from_microsecond(at_us) {
        Ok(moment) => moment.to_string(),
        // Beyond the year 9999: no clock says so.
        Err(_) => format!("{at_us}us"),
    }
}

/// The specification's date time descriptor.
pub(crate) fn descriptor(at_us: i64) -> Value {
    let epoch =
        [("seconds", value::int(at_us.div_euclid(1_000_000))), ("milliseconds", value::int(at_us.div_euclid(1_000)))];
    value::object([("iso8601", value::string(rfc3339(at_us))), ("epoch", value::object(epoch))])
}
