//! The examples: each plays its demonstration, keeps its test cases, and runs anywhere.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::path::PathBuf;

use support::{Folder, root};

/// The workflows; beside them stands a service that listens to them.
fn examples() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("examples")).unwrap();
    let is_workflow = |path: &PathBuf| path.is_dir() && !path.ends_with("subscriber");
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).filter(is_workflow).collect();
    folders.sort();
    folders
}

/// Plays a demonstration and gives what it printed.
fn played(name: &str) -> String {
    let dir = root().join("examples").join(name).display().to_string();
    let shown = Folder::new().flagstop(&["dev", &dir]).exits(0);
    assert!(!shown.stdout.contains("workflow faulted"), "{}", shown.stdout);
    // Columns are padded for people.
    shown.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect()
}

/// Status events and emitted events leave by ways of their own: only those of one way have an order.
#[track_caller]
fn says_in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let at = rest.find(part).unwrap_or_else(|| panic!("`{part}` is missing, or out of order, in:\n{text}"));
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn every_example_has_a_workflow_its_cases_and_a_demonstration() {
    let names: Vec<_> = examples().iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(names, ["approval", "batch-import", "onboarding", "order"]);
    for (folder, name) in examples().iter().zip(names) {
        for file in [format!("{name}.yaml"), format!("{name}.test.yaml"), "demo.yaml".to_owned()] {
            assert!(folder.join(&file).is_file(), "{} lacks {file}", folder.display());
        }
    }
}

#[test]
fn every_case_of_the_examples_passes() {
    let folder = Folder::new();
    let dir = root().join("examples").display().to_string();
    folder.flagstop(&["test", &dir]).exits(0);
    // What must hold after any crash, too.
    folder.flagstop(&["test", "--faults", &dir]).exits(0);
}

#[test]
fn no_example_deserves_a_warning() {
    let folder = Folder::new();
    for dir in examples() {
        folder.flagstop(&["validate", "--deny-warnings", &dir.display().to_string()]).exits(0);
    }
}

#[test]
fn the_order_is_paid_after_a_retry_and_another_is_undone() {
    let text = played("order");
    says_in_order(
        &text,
        &[
            "task completed /do/0/reserve",
            "task retried /do/1/fulfil/try/0/charge",
            "task completed /do/1/fulfil",
            "workflow completed",
            "workflow completed",
        ],
    );
    says_in_order(&text, &["com.example.order.confirmed", "com.example.order.cancelled"]);
}

#[test]
fn the_approval_reminds_across_a_restart_and_expires() {
    let text = played("approval");
    says_in_order(
        &text,
        &[
            "com.example.approval.asked",
            "com.example.approval.reminder",
            "com.example.approval.reminder",
            "com.example.approval.approved",
            "com.example.approval.reminder",
            "com.example.approval.expired",
        ],
    );
}

#[test]
fn the_batch_import_goes_on_where_it_was_killed() {
    let text = played("batch-import");
    says_in_order(&text, &["task retried", "workflow completed"]);
    says_in_order(&text, &["com.example.batch.imported"]);
    assert!(text.contains("Unknown currency"), "{text}");
}

#[test]
fn every_example_runs_alone_with_stand_ins_for_its_services() {
    let folder = Folder::new();
    let file = |name: &str| root().join(format!("examples/{name}/{name}.yaml")).display().to_string();
    let order = r#"[{"orderId":"o-2","amount":5,"items":[1]}]"#;
    let declined = folder.flagstop(&["run", &file("order"), "--input", order]).exits(0);
    assert!(declined.stdout.contains("cancelled"), "{}", declined.stdout);
    let batch = r#"{"batchId":"b","rows":[{"id":"row-1","customer":"c-1","amount":2,"currency":"USD"}]}"#;
    let imported = folder.flagstop(&["run", &file("batch-import"), "--input", batch]).exits(0);
    assert!(imported.stdout.contains("\"complete\""), "{}", imported.stdout);

    let request = r#"[{"requestId":"r-1","amount":1,"approver":"grace"}]"#;
    let decided = folder.write(
        "decided.jsonl",
        r#"{"specversion":"1.0","type":"com.example.approval.decided","source":"/t","id":"1","data":{"requestId":"r-1","decision":"approved","by":"grace"}}"#,
    );
    let approved = folder.flagstop(&["run", &file("approval"), "--input", request, "--events", &decided]).exits(0);
    assert!(approved.stdout.contains("approved"), "{}", approved.stdout);

    let events = folder.write(
        "events.jsonl",
        concat!(
            r#"{"specversion":"1.0","type":"com.example.employee.hired","source":"/t","id":"1","data":{"employeeId":"e-1","firstName":"A","lastName":"B"}}"#,
            "\n",
            r#"{"specversion":"1.0","type":"com.example.background-check.completed","source":"/t","id":"2","data":{"employeeId":"e-1","result":"clear"}}"#,
        ),
    );
    let onboarded = folder.flagstop(&["run", &file("onboarding"), "--events", &events]).exits(0);
    assert!(onboarded.stdout.contains("onboarded"), "{}", onboarded.stdout);
    onboarded.says(&["[hr] POST /accounts → 201"]);
}
