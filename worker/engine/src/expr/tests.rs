use super::*;
use crate::problem::ProblemKind;

fn limits() -> Limits {
    Limits::default()
}

fn json(text: &str) -> Value {
    value::parse_json(text.as_bytes(), &limits()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn compile(text: &str) -> Expression {
    let scope = Scope::task_export().with_local("x").with_local("y");
    Expression::compile(text, &scope, Span::start(), &limits())
        .unwrap_or_else(|found| panic!("{}", found.render("expression", text)))
}

/// The variables `$x` = 7, `$y` = [1,2], `$context` = {"c":1}.
fn vars(name: &str) -> Result<Value, Problem> {
    Ok(match name {
        "x" => value::int(7),
        "y" => json("[1,2]"),
        "context" => json(r#"{"c":1}"#),
        "secrets" => json(r#"{"token":"t"}"#),
        other => panic!("nobody may ask for {other}"),
    })
}

fn run(text: &str, input: &str) -> Result<String, ExprError> {
    compile(text).eval(&json(input), &vars, &limits()).map(|value| value::to_json(&value))
}

fn mistakes(text: &str, scope: &Scope) -> Vec<(&'static str, String, String)> {
    let found = Expression::compile(text, scope, Span::start(), &limits()).expect_err(text);
    found.iter().map(|d| (d.code, d.message.clone(), d.hint.clone().unwrap_or_default())).collect()
}

/// Each case: expression, input, result.
#[track_caller]
fn all(cases: &[(&str, &str, &str)]) {
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|(text, input, expected)| {
            let found = run(text, input).unwrap_or_else(|error| format!("error: {error}"));
            (found != *expected).then(|| format!("{input} | {text}\n  expected {expected}\n  found    {found}"))
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

mod jq;
mod jq_table;
mod limit;
mod rules;
