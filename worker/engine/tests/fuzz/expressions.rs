//! Texts as expressions on any data: they compile or are refused, and what runs ends within its limits, with the same result
//! each time.

use flagstop_engine::api::Value;
use flagstop_engine::expr::{ExprError, Expression, LimitHit, Scope};
use flagstop_engine::value;
use flagstop_engine::{Limits, Problem, Span};

use crate::corpus;
use crate::harness::Target;
use crate::random::Random;
use crate::text;

const WORDS: [&str; 100] = [
    ".",
    "..",
    ".a",
    ".[]",
    ".[0]",
    ".[-1:]",
    ".[1e18:]",
    "?",
    "?//",
    "|",
    ",",
    ":",
    ";",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "{a:",
    "\"",
    "\\(",
    "\"\\(.)\"",
    "\\u0000",
    "\\ud800",
    "#",
    "\n",
    " ",
    "$",
    "$x",
    "$__loc__",
    "$ENV",
    "$input",
    "$context",
    "$secrets",
    "$task",
    "=",
    "|=",
    "+=",
    "//=",
    "//",
    "==",
    "<",
    "and",
    "or",
    "not",
    "+",
    "-",
    "*",
    "/",
    "%",
    "1e1000",
    "-0",
    "9007199254740993",
    "nan",
    "infinite",
    "null",
    "true",
    "if . then ",
    " elif ",
    " else ",
    " end",
    "try ",
    " catch ",
    "error",
    "error(null)",
    "label $f | ",
    "break $f",
    "def f: f; f",
    "def f(g): g | f(g); f(.)",
    "reduce .[] as $x (0; ",
    "foreach .[] as $x (0; ",
    "as [$x, {a: $y}] | ",
    "range(1e9)",
    "[limit(3; repeat(.))]",
    "until(false; .)",
    "recurse",
    "path(..)",
    "paths",
    "getpath([\"a\", 0])",
    "setpath([1e6]; 1)",
    "delpaths([[0]])",
    "to_entries",
    "tojson",
    "fromjson",
    "tostream",
    "@base64d",
    "@csv",
    "@sh",
    "test(\"(a|aa)+$\"; \"gx\")",
    "gsub(\"\"; \"x\")",
    "splits(\"a\")",
    "ascii",
    "implode",
    "strptime(\"%Y\")",
    "mktime",
    "todate",
    "ltrimstr(1)",
    "limit(-1; .)",
    "walk(.)",
];

/// Data that programs trip over.
const DATA: [&str; 12] = [
    "null",
    "[]",
    "{}",
    "-1",
    "1e308",
    "9223372036854775807",
    "18446744073709551616",
    "\"\\u0000\\ud83d\\ude00\"",
    "[[[[[[[[1]]]]]]]]",
    "[1,\"a\",null,{\"a\":[1.5,true]}]",
    "{\"a\":{\"a\":{\"a\":\"x\"}},\"b\":[3,1,2]}",
    "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"",
];

#[test]
fn a_text_is_an_expression_that_keeps_its_limits_or_is_refused() {
    let corpus = corpus::programs();
    let programs: Vec<&str> = corpus.iter().map(|(program, _)| *program).collect();
    let inputs: Vec<&str> = corpus.iter().map(|(_, input)| *input).chain(DATA).collect();
    let generate = |random: &mut Random| {
        let mut input = random.one_of(&inputs).as_bytes().to_vec();
        input.push(b'\n');
        input.extend(text::mutate(&programs, &WORDS, random));
        input
    };
    Target { name: "expressions", cases: 6_000, generate, check }.run();
}

/// The first line is the data, the rest the program.
fn check(input: &[u8]) {
    let limits = Limits {
        expression_steps_max: 100_000,
        expression_bytes_built_max: 4 << 20,
        expression_output_bytes_max: 100_000,
        ..Limits::default()
    };
    let text = String::from_utf8_lossy(input);
    let Some((data, program)) = text.split_once('\n') else { return };
    let Ok(data) = value::parse_json(data.as_bytes(), &limits) else { return };
    let expression = match Expression::compile(program, &Scope::task_export(), Span::start(), &limits) {
        Ok(expression) => expression,
        Err(found) => {
            assert!(found.has_errors());
            assert!(found.iter().all(|found| found.code.starts_with("FS-EXPR-")), "{found}");
            return;
        }
    };
    let vars = |name: &str| -> Result<Value, Problem> { Ok(value::string(name)) };
    let first = expression.eval(&data, &vars, &limits);
    match &first {
        Ok(result) => {
            let json = value::to_json(result);
            assert!(json.len() <= limits.expression_output_bytes_max, "{} bytes", json.len());
            let read: serde_json::Value = serde_json::from_str(&json).expect("a result is JSON that others read");
            assert!(depth(&read) <= limits.json_depth_max);
        }
        Err(ExprError::Limit(LimitHit::Broken)) => panic!("the interpreter panicked"),
        Err(_) => {}
    }
    let again = expression.eval(&data, &vars, &limits);
    assert_eq!(shown(&first), shown(&again), "the same again gives the same");
}

fn shown(result: &Result<Value, ExprError>) -> Result<String, String> {
    result.as_ref().map(value::to_json).map_err(ToString::to_string)
}

fn depth(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        serde_json::Value::Object(entries) => 1 + entries.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}
