//! Regular expressions: jq's `_match`, on an engine that knows look-around and back-references.
//!
//! An engine counts no steps, so its work is paid for here: beforehand by the size of the expression and of the text, and
//! again with each search.

use super::natives::text;
use super::val::{Error, V, object};
use super::{LimitHit, meter};
use crate::value;
use fancy_regex::{Captures, Regex, RegexBuilder};
use jaq_core::ValR;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// Which work one search may do: an error beyond.
const BACKTRACKS_MAX: usize = 100_000;
/// Bytes of a compiled expression.
const COMPILED_BYTES_MAX: usize = 4 << 20;
/// Bytes that are searched in about the time of one step.
const BYTES_PER_STEP: usize = 4_096;
/// Steps of a search that may go back.
const STEPS_PER_FANCY_SEARCH: usize = 200;

/// What the letters behind an expression ask for.
#[derive(Default)]
struct Flags {
    global: bool,
    ignore_case: bool,
    extended: bool,
    dot_matches_newline: bool,
    longest: bool,
    not_empty: bool,
}

struct Compiled {
    regex: Regex,
    names: Vec<Option<String>>,
    /// Whether it may go back, which takes far longer.
    is_fancy: bool,
}

thread_local! {
    /// Compiling takes far longer than a search in a short text, and the same few are used over and over.
    static COMPILED: RefCell<HashMap<String, Rc<Compiled>>> = RefCell::default();
}

/// The input, `[expression, flags, whether the matches themselves are wanted]`: all matches, or whether there is one.
pub(super) fn matches(v: &V, arguments: &V) -> ValR<V> {
    let [regex, flags, only_test] = value::as_array(&arguments.v).unwrap_or_default() else {
        return Err(Error::str("_match takes three arguments"));
    };
    let refused = || Error::str(format_args!("{} cannot be matched, as it is not a string", v.described()));
    let whole = v.as_text().and_then(|text| std::str::from_utf8(text).ok()).ok_or_else(refused)?;
    let regex = arguments.child(regex.clone());
    let pattern = text(&regex)?;
    let (flags, letters) = read_flags(&arguments.child(flags.clone()))?;
    pay(pattern, whole);
    let compiled = compiled(pattern, &flags, &letters)?;
    let mut found = Vec::new();
    let mut start = 0;
    let mut counted = Counted { text: whole, byte: 0, chars: 0 };
    while start <= whole.len() {
        meter::charge(1 + (whole.len() - start) / BYTES_PER_STEP);
        if compiled.is_fancy {
            meter::charge(STEPS_PER_FANCY_SEARCH);
        }
        let captures = match compiled.regex.captures_from_pos(whole, start) {
            Ok(Some(captures)) => captures,
            Ok(None) => break,
            Err(fancy_regex::Error::RuntimeError(_)) => meter::stop(LimitHit::Steps),
            Err(why) => return Err(Error::str(format_args!("Regex failure: {why}"))),
        };
        if value::truthy(only_test) {
            return Ok(true.into());
        }
        let Some(hit) = captures.get(0) else { break };
        let is_empty = hit.range().is_empty();
        found.push(described(&captures, &compiled.names, &mut counted)?);
        // An empty match must not be found again.
        let next = whole[hit.end()..].chars().next().map_or(1, char::len_utf8);
        start = hit.end() + if is_empty { next } else { 0 };
        if !flags.global {
            break;
        }
    }
    if value::truthy(only_test) { Ok(false.into()) } else { Ok(V::array(found)) }
}

fn read_flags(flags: &V) -> Result<(Flags, String), Error> {
    let mut read = Flags::default();
    if value::is_null(&flags.v) {
        return Ok((read, String::new()));
    }
    let letters = text(flags)?.to_owned();
    for letter in letters.chars() {
        match letter {
            'g' => read.global = true,
            'i' => read.ignore_case = true,
            'x' => read.extended = true,
            'm' | 'p' => read.dot_matches_newline = true,
            // It is so anyway: `^` and `$` are the ends of the whole text.
            's' => {}
            'l' => read.longest = true,
            'n' => read.not_empty = true,
            _ => return Err(Error::str(format_args!("{letters} is not a valid modifier string"))),
        }
    }
    Ok((read, letters))
}

fn compiled(pattern: &str, flags: &Flags, letters: &str) -> Result<Rc<Compiled>, Error> {
    /// So many are kept.
    const KEPT_MAX: usize = 64;
    let key = format!("{letters}/{pattern}");
    if let Some(known) = COMPILED.with_borrow(|known| known.get(&key).cloned()) {
        return Ok(known);
    }
    let built = RegexBuilder::new(pattern)
        .case_insensitive(flags.ignore_case)
        .verbose_mode(flags.extended)
        .dot_matches_new_line(flags.dot_matches_newline)
        .find_not_empty(flags.not_empty)
        .backtrack_limit(BACKTRACKS_MAX)
        .delegate_size_limit(COMPILED_BYTES_MAX)
        .build();
    let regex = built.map_err(|why| Error::str(format_args!("Regex failure: {why}")))?;
    let names = regex.capture_names().map(|name| name.map(str::to_owned)).collect();
    // What the linear engine does not know.
    let is_fancy = flags.longest
        || flags.not_empty
        || ["(?=", "(?!", "(?<=", "(?<!", "(?>", "(?(", "\\k", "\\G", "\\K", "++", "*+", "?+", "}+"]
            .iter()
            .any(|sign| pattern.contains(sign))
        || pattern.as_bytes().windows(2).any(|pair| pair[0] == b'\\' && pair[1].is_ascii_digit());
    let compiled = Rc::new(Compiled { regex, names, is_fancy });
    COMPILED.with_borrow_mut(|known| {
        if known.len() >= KEPT_MAX {
            known.clear();
        }
        known.insert(key, compiled.clone());
    });
    Ok(compiled)
}

/// Counts characters up to a byte, going on from where it was: positions come nearly in order.
struct Counted<'t> {
    text: &'t str,
    byte: usize,
    chars: usize,
}

impl Counted<'_> {
    fn chars_before(&mut self, byte: usize) -> usize {
        if byte < self.byte {
            let back = self.text[byte..self.byte].chars().count();
            meter::charge(back / 16);
            (self.byte, self.chars) = (byte, self.chars - back);
        } else {
            let forth = self.text[self.byte..byte].chars().count();
            meter::charge(forth / 16);
            (self.byte, self.chars) = (byte, self.chars + forth);
        }
        self.chars
    }
}

/// A match as jq shows it.
fn described(captures: &Captures<'_, str>, names: &[Option<String>], counted: &mut Counted<'_>) -> ValR<V> {
    let place = |found: Option<fancy_regex::Match<'_>>, counted: &mut Counted<'_>| match found {
        Some(found) => [
            (V::word("offset"), V::from(counted.chars_before(found.start()))),
            (V::word("length"), V::from(found.as_str().chars().count())),
            (V::word("string"), V::text(found.as_str().to_owned())),
        ],
        None => [(V::word("offset"), V::int(-1)), (V::word("length"), V::int(0)), (V::word("string"), V::NULL)],
    };
    let whole = place(captures.get(0), counted);
    let mut groups = Vec::with_capacity(names.len().saturating_sub(1));
    for (at, name) in names.iter().enumerate().skip(1) {
        let name = name.as_ref().map_or(V::NULL, |name| V::text(name.clone()));
        // In an empty match all groups count as empty, also those that took no part.
        let group = captures.get(at).or_else(|| captures.get(0).filter(|whole| whole.range().is_empty()));
        let group = place(group, counted);
        groups.push(object(group.into_iter().chain([(V::word("name"), name)]))?);
    }
    object(whole.into_iter().chain([(V::word("captures"), V::array(groups))]))
}

/// The linear engine takes time by the length of the text and the size of the compiled expression.
fn pay(pattern: &str, text: &str) {
    /// What the engine allows is about this many states.
    const STATES_MAX: usize = 200_000;
    /// So many states are passed in the time of one step.
    const STATES_PER_STEP: usize = 8;
    // Repetitions like `{100}` multiply what they stand behind.
    let repeated = |count: usize, part: &str| {
        let digits = part.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse::<usize>().ok());
        count.saturating_mul(digits.max().unwrap_or(1).max(1)).min(STATES_MAX)
    };
    let states = pattern.split('{').skip(1).fold(pattern.len() + 1, repeated);
    meter::charge(states.saturating_mul(text.len() + 1) / STATES_PER_STEP);
}
