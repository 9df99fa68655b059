//! Our own scenarios of the language, and the page that says which test shows what.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on should stop where it is")]

use std::collections::BTreeSet;

use flagstop_tests::language::{self, PAGE, Row, root};
use flagstop_tests::scenario::assert_all_pass;

fn all_pass(file: &str) {
    let path = root().join("tests/language").join(file);
    assert_all_pass(file, &language::scenarios(&path));
}

#[test]
fn expressions_data_and_names() {
    all_pass("expressions.yaml");
}

#[test]
fn tasks_and_directives() {
    all_pass("tasks.yaml");
}

#[test]
fn errors_retries_timeouts_and_commands() {
    all_pass("errors.yaml");
}

#[test]
fn calls_over_http() {
    all_pass("http.yaml");
}

#[test]
fn events_and_schedules() {
    all_pass("events.yaml");
}

#[test]
fn programs_children_functions_and_extensions() {
    all_pass("run.yaml");
}

#[test]
fn every_file_of_scenarios_is_run() {
    let source = include_str!("language.rs");
    for path in language::files(&root().join("tests/language"), ".yaml") {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(source.contains(&format!("all_pass(\"{name}\")")), "no test runs {name}");
    }
}

#[test]
fn every_test_that_the_page_of_the_language_names_exists() {
    let page = std::fs::read_to_string(root().join(PAGE)).unwrap();
    let tests = language::test_names();
    let rows: Vec<Row> = language::keys(&page).into_iter().chain(language::decisions(&page)).collect();
    assert!(rows.len() > 300, "the page has two tables: {}", rows.len());
    let mut wrong = BTreeSet::new();
    for row in &rows {
        if row.tests.is_empty() {
            wrong.insert(format!("`{}` names no test", row.key));
        }
        for test in row.tests.iter().filter(|test| !tests.contains(&language::plain(test))) {
            wrong.insert(format!("`{}` names a test that does not exist: {test}", row.key));
        }
    }
    assert!(wrong.is_empty(), "{PAGE}: {wrong:#?}");
}
