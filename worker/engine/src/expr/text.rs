//! `${ … }` in texts: whether a text is an expression, holds some, or is plain.

use std::borrow::Cow;

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whole<'t> {
    /// The whole of it, trimmed, is `${ … }`: this is what stands inside.
    Expression(&'t str),
    /// `${` stands somewhere in a longer text.
    Mixed,
    /// No `${` at all.
    Plain,
}

/// Looks at a text.
pub fn whole(text: &str) -> Whole<'_> {
    if !text.contains("${") {
        return Whole::Plain;
    }
    let trimmed = text.trim();
    let Some(inner) = trimmed.strip_prefix("${") else { return Whole::Mixed };
    match end(inner) {
        Some(end) if end + 1 == inner.len() => Whole::Expression(&inner[..end]),
        Some(_) => Whole::Mixed,
        // Its brackets do not match: whoever closes it at the end means an expression, and gets its syntax error.
        None => inner.strip_suffix('}').map_or(Whole::Mixed, Whole::Expression),
    }
}

/// Whether the text is wholly `${ … }`.
pub(crate) fn is_expression(text: &str) -> bool {
    matches!(whole(text), Whole::Expression(_))
}

/// Whether the text is an expression or (in loose mode) has some in it.
pub(crate) fn holds_expression(text: &str) -> bool {
    !matches!(whole(text), Whole::Plain)
}

/// A piece of a text with expressions in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'t> {
    Text(&'t str),
    Expression(&'t str),
}

/// Where a `${` stands that is not closed.
pub(super) fn unclosed(text: &str) -> Option<usize> {
    let mut at = 0;
    while let Some(found) = text[at..].find("${") {
        let inner = at + found + 2;
        match end(&text[inner..]) {
            Some(end) => at = inner + end + 1,
            None => return Some(at + found),
        }
    }
    None
}

/// Cuts a text into plain pieces and expressions. `None`: a `${` is not closed.
pub(super) fn pieces(text: &str) -> Option<Vec<Piece<'_>>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if start > 0 {
            pieces.push(Piece::Text(&rest[..start]));
        }
        let inner = &rest[start + 2..];
        let end = end(inner)?;
        pieces.push(Piece::Expression(&inner[..end]));
        rest = &inner[end + 1..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Some(pieces)
}

/// Where the `}` stands that closes an expression: brackets, strings with their `\( )`, and comments are understood.
pub(super) fn end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    // Open brackets; `"` stands for an open string.
    let mut open: Vec<u8> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        if open.last() == Some(&b'"') {
            match byte {
                b'"' => drop(open.pop()),
                b'\\' if bytes.get(at + 1) == Some(&b'(') => {
                    open.push(b'(');
                    at += 1;
                }
                b'\\' => at += 1,
                _ => {}
            }
        } else {
            match byte {
                b'"' | b'(' | b'[' | b'{' => open.push(byte),
                b'#' => at += bytes[at..].iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len()),
                b'}' if open.is_empty() => return Some(at),
                b')' | b']' | b'}' => {
                    let partner = match byte {
                        b')' => b'(',
                        b']' => b'[',
                        _ => b'{',
                    };
                    if open.pop() != Some(partner) {
                        return None;
                    }
                }
                _ => {}
            }
        }
        at += 1;
    }
    None
}

/// The same with pairs of surrogates (`\ud83d\ude00`) as the character that they stand for: jaq does not know them.
pub(super) fn joined_surrogates(text: &str) -> Cow<'_, str> {
    /// Bytes of `\ud83d`.
    const HALF_BYTES: usize = 6;
    let half = |at: usize| {
        let digits = text.get(at..at + HALF_BYTES)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut joined = String::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(found) = text[at..].find('\\') {
        let start = at + found;
        let pair = half(start).zip(half(start + HALF_BYTES));
        match pair.and_then(|(high, low)| char::decode_utf16([high, low]).next()?.ok()) {
            Some(c) if c.len_utf16() == 2 => {
                joined.push_str(&text[copied..start]);
                joined.push(c);
                at = start + 2 * HALF_BYTES;
                copied = at;
            }
            // Whatever is escaped is passed over, another backslash too.
            _ => at = start + 1 + text[start + 1..].chars().next().map_or(0, char::len_utf8),
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    joined.push_str(&text[copied..]);
    Cow::Owned(joined)
}

/// The deepest nesting of brackets, and of strings with expressions inside; too high rather than too low.
pub(super) fn bracket_depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_an_expression_only_as_a_whole() {
        for (text, inner) in [
            ("${ .a }", " .a "),
            ("  ${.a}\n", ".a"),
            ("${ {a: {b: 1}} }", " {a: {b: 1}} "),
            ("${ \"}\" }", " \"}\" "),
            ("${ \"a\\(\"}\" | {x: .})\" }", " \"a\\(\"}\" | {x: .})\" "),
            ("${ .a # }\n | .b }", " .a # }\n | .b "),
            ("${ .a | ( }", " .a | ( "),
            ("${}", ""),
        ] {
            assert_eq!(whole(text), Whole::Expression(inner), "{text}");
        }
        for text in ["${ .a } and ${ .b }", "Hello ${ .a }", "${ .a }!", "${ .a", "a ${"] {
            assert_eq!(whole(text), Whole::Mixed, "{text}");
        }
        for text in ["", ".a", "$5", "{a}", "$ {a}"] {
            assert_eq!(whole(text), Whole::Plain, "{text}");
        }
    }

    #[test]
    fn a_longer_text_is_cut_into_pieces() {
        assert_eq!(
            pieces("a ${ .x }${.y}!").unwrap(),
            [Piece::Text("a "), Piece::Expression(" .x "), Piece::Expression(".y"), Piece::Text("!")]
        );
        assert_eq!(pieces("a ${ .x"), None);
        assert_eq!((unclosed("a ${ .x }${ .y"), unclosed("${ .x } }")), (Some(9), None));
        assert_eq!(pieces("${ \"}"), None);
    }
}
