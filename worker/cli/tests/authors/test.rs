//! `flagstop test`.

use crate::support::Folder;
use crate::{definition, golden};

const FLOW: &str = "
do:
  - nap: { wait: P3D }
  - greet: { set: { hello: '${ .name }', n: 1 } }
";

const CASES: &str = "workflows: [flow.yaml]
cases:
  - name: greets after three days
    input: { name: ada }
    expect: { status: completed, output: { hello: ada, n: 1 }, elapsed: P3D }
  - name: greets somebody else
    input: { name: ada }
    faults: { kill: every-commit }
    expect:
      output: { hello: grace, n: 2 }
      tasks: [/do/0/nap]
      emitted: [ { type: com.example.greeted } ]
  - name: asks nobody
    input: { name: ada }
    until: P1D
    expect: { status: waiting }
";

const BROKEN: &str = "workflows: [flow.yaml]
cases:
  - name: broken
    inptu: { name: ada }
    expect: { status: done }
";

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("flow.yaml", &definition("flow", FLOW));
    folder.write("flow.test.yaml", CASES);
    folder
}

#[test]
fn each_failure_is_shown_with_its_places_and_what_happened() {
    let folder = folder();
    let outcome = folder.flagstop(&["test", "flow.test.yaml"]).exits(1);
    golden("test-failed", &outcome.stdout);
    assert_eq!(outcome.stderr, "");
}

#[test]
fn cases_are_chosen_by_name_and_run_both_ways() {
    let folder = folder();
    let outcome = folder.flagstop(&["test", ".", "--case", "three days", "--faults"]).exits(0);
    golden("test-passed", &outcome.stdout);
    folder.flagstop(&["test", ".", "--case", "nowhere"]).exits(2).says(&["FS-TEST-CASE", "nowhere"]);
}

#[test]
fn an_invalid_file_is_reported_and_the_others_run() {
    let folder = folder();
    folder.write("more/broken.test.yaml", &BROKEN.replace("flow.yaml", "../flow.yaml"));
    let outcome = folder.flagstop(&["test", ".", "gone.test.yaml"]).exits(2);
    golden("test-invalid.stderr", &outcome.stderr);
    for line in ["  ok greets after three days", "2 passed, 1 failed, 2 invalid files"] {
        assert!(outcome.stdout.contains(line), "{}", outcome.stdout);
    }
    let json = folder.flagstop(&["test", ".", "--output", "json"]).exits(2).json("test");
    assert_eq!((&json["passed"], &json["failed"], &json["invalid"]), (&2.into(), &1.into(), &1.into()));
    let case = &json["files"][0]["cases"][1];
    assert_eq!((&case["killed"], &case["failures"][0]["differences"][0]["path"]), (&true.into(), &"/hello".into()));
    assert_eq!(json["files"][1]["diagnostics"][0]["code"], "FS-UNKNOWN-KEY");
}

#[test]
fn a_folder_without_test_files_says_how_they_are_named() {
    Folder::new().flagstop(&["test", "."]).exits(2).says(&["FS-TEST-NONE", "*.test.yaml"]);
}
