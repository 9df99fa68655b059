//! The tables under `tests/jq`, which `verify.py` there holds against a real jq 1.7.1.

use super::*;
use std::collections::BTreeSet;

const CASES: &str = include_str!("../../../tests/jq/cases.tsv");
const DIFFERENCES: &str = include_str!("../../../tests/jq/differences.tsv");
const REASONS: &str = include_str!("../../../docs/jq.md");

fn rows<const CELLS: usize>(table: &'static str) -> impl Iterator<Item = [&'static str; CELLS]> {
    table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(|line| {
        let cells: Vec<&str> = line.split('\t').collect();
        cells.try_into().unwrap_or_else(|_| panic!("not {CELLS} cells: {line}"))
    })
}

/// All results of a program, as the tables have them.
fn results(program: &str, input: &str) -> String {
    let wrapped = format!("[try (({program}\n) | [.]) catch {{error: .}}]");
    let Ok(expression) = Expression::compile(&wrapped, &Scope::none(), Span::start(), &limits()) else {
        return "refused".to_owned();
    };
    let steps = match expression.eval(&json(input), &NoVars, &limits()) {
        Ok(steps) => steps,
        Err(error) => return error.to_string(),
    };
    let steps = value::as_array(&steps).unwrap();
    let values = steps.iter().filter_map(|step| value::as_array(step)).map(|step| step[0].clone());
    let mut shown = value::to_json(&value::array(values));
    for error in steps.iter().filter_map(|step| value::get(step, "error")) {
        shown += " error ";
        shown += &value::to_json(error);
    }
    shown
}

/// Whether two cells say the same: the order of keys never matters.
fn same(a: &str, b: &str) -> bool {
    let parsed = |cell: &str| -> Option<Vec<serde_json::Value>> {
        let mut stream = serde_json::Deserializer::from_str(cell).into_iter();
        let values = stream.next()?.ok()?;
        let rest = cell[stream.byte_offset()..].strip_prefix(" error ");
        let error = rest.map(|rest| serde_json::from_str(rest).unwrap_or_default());
        Some([values].into_iter().chain(error).collect())
    };
    a == b || parsed(a).is_some_and(|a| Some(a) == parsed(b))
}

#[test]
fn hundreds_of_programs_give_what_jq_gives() {
    let mut cases = 0;
    let mut wrong = Vec::new();
    for [program, input, expected] in rows(CASES) {
        cases += 1;
        let found = results(program, input);
        if !same(&found, expected) {
            wrong.push(format!("{program}\t{input}\t{expected}\t{found}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ: program, input, jq, ours\n{}", wrong.len(), wrong.join("\n"));
    assert!(cases >= 400, "{cases} cases");
}

#[test]
fn each_difference_from_jq_is_as_listed_and_has_its_reason() {
    let reasons: BTreeSet<&str> = REASONS.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let mut used = BTreeSet::new();
    let mut wrong = Vec::new();
    for [reason, program, input, theirs, ours] in rows(DIFFERENCES) {
        assert!(reasons.contains(reason), "docs/jq.md has no heading `{reason}`");
        used.insert(reason);
        let found = results(program, input);
        if !same(&found, ours) {
            wrong.push(format!("{program}\t{input}\t{theirs}\t{found}"));
        } else if same(&found, theirs) {
            wrong.push(format!("no difference any more: {program}"));
        }
    }
    assert!(wrong.is_empty(), "{} are otherwise: program, input, jq, ours\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(reasons, used, "each reason in docs/jq.md has its cases");
}

#[test]
fn what_runs_without_the_interpreter_gives_what_the_interpreter_gives() {
    let mut compared = 0;
    let all = rows(CASES).map(|[program, input, _]| (program, input));
    for (program, input) in all.chain(rows(DIFFERENCES).map(|[_, program, input, _, _]| (program, input))) {
        let Ok(expression) = Expression::compile(program, &Scope::none(), Span::start(), &limits()) else { continue };
        // The same once more, in a form that is left to the interpreter.
        let interpreted = format!("first(({program}\n))");
        let interpreted = Expression::compile(&interpreted, &Scope::none(), Span::start(), &limits()).unwrap();
        if matches!(expression.0.code, compile::Code::Simple(_) | compile::Code::Path { .. }) {
            compared += 1;
            let eval = |expression: &Expression| expression.eval(&json(input), &NoVars, &limits());
            assert_eq!(eval(&expression), eval(&interpreted), "{input} | {program}");
        }
    }
    assert!(compared >= 100, "{compared} programs are simple");
}
