//! What a plain scalar means in YAML's core schema.

use super::NodeValue;

/// Resolves a plain scalar. An error is a message: the scalar is a number that JSON does not have.
pub(super) fn resolve(text: &str) -> Result<NodeValue, &'static str> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => NodeValue::Null,
        "true" | "True" | "TRUE" => NodeValue::Bool(true),
        "false" | "False" | "FALSE" => NodeValue::Bool(false),
        _ if text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '.' | '+' | '-')) => return number(text),
        _ => NodeValue::Str(text.into()),
    })
}

fn number(text: &str) -> Result<NodeValue, &'static str> {
    let radix = |digits: &str, radix| i64::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with('+'));
    if let Some(number) = text.strip_prefix("0x").and_then(|digits| radix(digits, 16)) {
        return Ok(NodeValue::Int(number));
    }
    if let Some(number) = text.strip_prefix("0o").and_then(|digits| radix(digits, 8)) {
        return Ok(NodeValue::Int(number));
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Err("infinity and NaN are no JSON numbers");
    }
    if !is_decimal(unsigned) {
        return Ok(NodeValue::Str(text.into()));
    }
    if let Ok(number) = text.parse::<i64>() {
        return Ok(NodeValue::Int(number));
    }
    if let Ok(number) = unsigned.parse::<u64>()
        && !text.starts_with('-')
    {
        return Ok(NodeValue::UInt(number));
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(NodeValue::Float(number)),
        _ => Err("the number is out of range"),
    }
}

/// `(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_decimal(text: &str) -> bool {
    fn digits(text: &str) -> (usize, &str) {
        let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
        (text.len() - rest.len(), rest)
    }
    let (before, rest) = digits(text);
    let (after, rest) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest),
        None => (0, rest),
    };
    if before + after == 0 {
        return false;
    }
    match rest.strip_prefix(['e', 'E']) {
        Some(rest) => {
            let (exponent, rest) = digits(rest.strip_prefix(['+', '-']).unwrap_or(rest));
            exponent > 0 && rest.is_empty()
        }
        None => rest.is_empty(),
    }
}
