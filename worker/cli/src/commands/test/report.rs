//! The result of a test run, for people and for programs.

use flagstop_engine::{duration, value};
use flagstop_solo::kit::{CaseReport, Difference, Failure, FileReport, Kill, LogLine};
use serde_json::{Map, Value, json};

use crate::definitions;
use crate::term::{Paint, Style, brief, print_line, tame};

/// Characters of a value that people are shown.
const VALUE_CHARS_MAX: usize = 400;

/// Log lines that people are shown of a failed case.
const LOG_SHOWN_MAX: usize = 40;

/// Characters of a log line's note that people are shown.
const NOTE_CHARS_MAX: usize = 100;

/// Prints the reports: results on standard output, mistakes in files on standard error.
pub fn print(reports: &[FileReport], paint: Paint, error_paint: Paint) {
    for report in reports {
        for invalid in &report.invalid {
            eprint!("{}", definitions::render(&invalid.diagnostics, &invalid.file, &invalid.text, error_paint));
        }
    }
    for report in reports {
        text(report, paint).iter().for_each(|line| print_line(line));
    }
    print_line(&summary(reports, paint));
}

/// The lines of one file.
pub fn text(report: &FileReport, paint: Paint) -> Vec<String> {
    let mut lines = vec![paint.on(Style::Name, &tame(&report.file))];
    if !report.is_valid() {
        let names: Vec<String> = report.invalid.iter().map(|invalid| tame(&invalid.file)).collect();
        lines.push(format!("  {} {}", paint.on(Style::Bad, "invalid"), names.join(", ")));
    }
    for case in &report.cases {
        let way = match case.kill {
            Kill::Never => String::new(),
            Kill::EveryCommit => paint.on(Style::Dim, "  (killed after every transition)"),
        };
        let name = tame(&case.name);
        if case.has_passed() {
            lines.push(format!("  {} {name}{way}", paint.on(Style::Good, "ok")));
        } else {
            let place = paint.on(Style::Dim, &format!("  {}:{}", tame(&report.file), case.line));
            lines.push(format!("  {} {name}{way}{place}", paint.on(Style::Bad, "FAILED")));
            case.failures.iter().for_each(|failure| explain(failure, paint, &mut lines));
            log(&case.log, paint, &mut lines);
        }
    }
    lines
}

fn explain(failure: &Failure, paint: Paint, lines: &mut Vec<String>) {
    lines.push(format!("    {}: {}", paint.on(Style::Bad, failure.expectation), tame(&failure.message)));
    let sides = |expected: &Option<value::Value>, actual: &Option<value::Value>, lines: &mut Vec<String>| {
        let mut side = |sign: &str, style: Style, found: &Option<value::Value>| {
            if let Some(found) = found {
                let shown = brief(&value::to_json(found), VALUE_CHARS_MAX);
                lines.push(format!("        {}", paint.on(style, &format!("{sign} {shown}"))));
            }
        };
        side("- expected", Style::Bad, expected);
        side("+ found   ", Style::Good, actual);
    };
    if failure.differences.is_empty() {
        sides(&failure.expected, &failure.actual, lines);
    }
    for Difference { path, expected, actual } in &failure.differences {
        let place = if path.is_empty() { "(the whole)" } else { path };
        lines.push(format!("      {}", paint.on(Style::Name, &tame(place))));
        sides(expected, actual, lines);
    }
}

fn log(log: &[LogLine], paint: Paint, lines: &mut Vec<String>) {
    if log.is_empty() {
        return;
    }
    let left_out = log.len().saturating_sub(LOG_SHOWN_MAX);
    let from = if left_out > 0 { format!(" (the last {LOG_SHOWN_MAX} lines)") } else { String::new() };
    lines.push(paint.on(Style::Dim, &format!("    what happened{from}:")));
    let times: Vec<String> = log.iter().map(|line| duration::to_iso(line.at_us)).collect();
    let width = times[left_out..].iter().map(String::len).max().unwrap_or_default();
    for (line, time) in log.iter().zip(&times).skip(left_out) {
        let style = match line.what.as_str() {
            what if what.ends_with("faulted") => Style::Bad,
            what if what.ends_with("cancelled") => Style::Bad,
            "workflow completed" => Style::Good,
            "event" | "command" => Style::Wait,
            "emitted" | "request" => Style::Own,
            _ => Style::Dim,
        };
        let note = paint.on(Style::Dim, &brief(&line.note, NOTE_CHARS_MAX));
        let what = paint.on(style, &format!("{:<18}", line.what));
        let row = format!("      {time:>width$}  {what}  {}  {note}", tame(&line.subject));
        lines.push(row.trim_end().to_owned());
    }
}

fn summary(reports: &[FileReport], paint: Paint) -> String {
    let Counts { passed, failed, invalid } = Counts::of(reports);
    let mut parts = vec![paint.on(Style::Good, &format!("{passed} passed"))];
    if failed > 0 {
        parts.push(paint.on(Style::Bad, &format!("{failed} failed")));
    }
    if invalid > 0 {
        parts.push(paint.on(Style::Bad, &format!("{invalid} invalid {}", if invalid == 1 { "file" } else { "files" })));
    }
    parts.join(", ")
}

struct Counts {
    passed: usize,
    failed: usize,
    invalid: usize,
}

impl Counts {
    fn of(reports: &[FileReport]) -> Self {
        let cases = || reports.iter().flat_map(|report| &report.cases);
        Self {
            passed: cases().filter(|case| case.has_passed()).count(),
            failed: cases().filter(|case| !case.has_passed()).count(),
            invalid: reports.iter().filter(|report| !report.is_valid()).count(),
        }
    }
}

/// The reports for programs; described by schemas/cli/test.schema.json.
pub fn json(reports: &[FileReport]) -> Value {
    let Counts { passed, failed, invalid } = Counts::of(reports);
    let files: Vec<Value> = reports.iter().map(file_json).collect();
    json!({ "files": files, "passed": passed, "failed": failed, "invalid": invalid })
}

fn file_json(report: &FileReport) -> Value {
    let diagnostics: Vec<Value> = report
        .invalid
        .iter()
        .flat_map(|invalid| definitions::diagnostics_json(&invalid.diagnostics, &invalid.file))
        .collect();
    let cases: Vec<Value> = report.cases.iter().map(case_json).collect();
    json!({ "file": report.file, "valid": report.is_valid(), "diagnostics": diagnostics, "cases": cases })
}

fn case_json(case: &CaseReport) -> Value {
    let failures: Vec<Value> = case.failures.iter().map(failure_json).collect();
    // What happened in a case that passed interests nobody.
    let log = case.log.iter().filter(|_| !case.has_passed()).map(|line| {
        json!({ "at": duration::to_iso(line.at_us), "what": line.what, "subject": line.subject, "note": line.note })
    });
    json!({
        "name": case.name,
        "line": case.line,
        "killed": case.kill == Kill::EveryCommit,
        "passed": case.has_passed(),
        "failures": failures,
        "log": log.collect::<Vec<_>>(),
    })
}

fn failure_json(failure: &Failure) -> Value {
    let mut object = Map::new();
    object.insert("expectation".into(), failure.expectation.into());
    object.insert("message".into(), failure.message.as_str().into());
    sides_json(&mut object, &failure.expected, &failure.actual);
    let differences = failure.differences.iter().map(|difference| {
        let mut object = Map::new();
        object.insert("path".into(), difference.path.as_str().into());
        sides_json(&mut object, &difference.expected, &difference.actual);
        Value::Object(object)
    });
    object.insert("differences".into(), differences.collect());
    Value::Object(object)
}

/// What is not there is left out, so that it is not taken for null.
fn sides_json(object: &mut Map<String, Value>, expected: &Option<value::Value>, actual: &Option<value::Value>) {
    for (key, side) in [("expected", expected), ("actual", actual)] {
        if let Some(side) = side {
            object.insert(key.into(), value::to_serde(side));
        }
    }
}
