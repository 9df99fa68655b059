//! Bytes as definitions: they compile or are refused with places that lie in the text, and what compiles can be run.

use flagstop_engine::{Diagnostic, Limits, Plan};

use crate::corpus;
use crate::driver::World;
use crate::harness::Target;
use crate::mutation::{self, Pool};
use crate::random::Random;
use crate::text;

/// What means something to the reader of YAML or to the language.
const WORDS: [&str; 62] = [
    "\n",
    "\r\n",
    "\t",
    "  ",
    "\n  ",
    "\n- ",
    "- ",
    "? ",
    ": ",
    ", ",
    "{",
    "}",
    "[",
    "]",
    "{a: ",
    "[[",
    "&a ",
    "*a",
    "<<: ",
    "'",
    "\"",
    "\\",
    "|\n",
    ">-\n",
    "|9\n",
    "# ",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "!!str ",
    "!x ",
    "\u{feff}",
    "\u{0}",
    "\u{2028}",
    "\u{10ffff}",
    "ä",
    "~",
    "null",
    "true",
    ".inf",
    "1e999",
    "-9223372036854775809",
    "0x",
    "-0",
    "${ . }",
    "${",
    "}}",
    "${ $secrets.x }",
    "PT1S",
    "P9999999999D",
    "then: end\n",
    "do:\n",
    "set: { a: 1 }\n",
    "for:",
    "fork:",
    "call: http\n",
    "listen:",
    "with:",
    "use:",
    "document:",
    "schedule: { cron: '* * * * *' }\n",
    "x-a: 1\n",
];

#[test]
fn bytes_are_a_definition_or_are_refused_with_their_place() {
    let texts = corpus::definitions();
    let documents: Vec<_> = texts.iter().filter_map(|text| corpus::as_json(text)).collect();
    let pool = Pool::of(&documents);
    let generate = |random: &mut Random| match random.below(2) {
        0 => text::mutate(&texts, &WORDS, random),
        _ => {
            let document = random.one_of(&documents);
            mutation::mutate(document, &pool, random).0.to_string().into_bytes()
        }
    };
    Target { name: "definitions", cases: 3_000, generate, check }.run();
}

fn check(input: &[u8]) {
    let limits = Limits::default();
    match Plan::compile(input, &limits) {
        Err(found) => {
            assert!(found.has_errors(), "a definition is refused with an error");
            found.iter().for_each(|found| lies_in(input, found));
            let shown = found.render("flow.yaml", &String::from_utf8_lossy(input));
            assert!(shown.starts_with("flow.yaml:"));
        }
        Ok(plan) => {
            plan.warnings().iter().for_each(|found| lies_in(input, found));
            let mut world = World::of(plan);
            world.limits.steps_without_wait_max = 300;
            world.limits.expression_steps_max = 50_000;
            world.start(serde_json::json!({ "n": 1 }));
            world.go_on();
        }
    }
}

/// What is said is said of a place of this text, in words.
fn lies_in(input: &[u8], found: &Diagnostic) {
    let span = found.span;
    let (from, to) = (span.offset as usize, span.offset as usize + span.length as usize);
    assert!(to <= input.len(), "{found:?} lies behind the end at {}", input.len());
    assert!(found.code.starts_with("FS-") && !found.message.is_empty(), "{found:?}");
    let before = &input[..from];
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    if let Ok(text) = std::str::from_utf8(input) {
        assert!(text.is_char_boundary(from) && text.is_char_boundary(to), "{found:?} cuts a character");
        // Only line feeds are lines to all who count them.
        if !text.contains('\r') {
            assert_eq!(span.line as usize, line, "{found:?}");
            let column = text[..from].rsplit('\n').next().unwrap_or_default().chars().count();
            // A byte order mark has no column.
            assert!(column + 1 - span.column as usize <= usize::from(text.starts_with('\u{feff}')), "{found:?}");
        }
    }
}
