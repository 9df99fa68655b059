//! `flagstop run`.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Folder, Outcome};
use crate::{definition, golden};

const GREET: &str = "
use: { secrets: [hr] }
do: [ { greet: { set: { hello: '${ .name }', by: '${ $secrets.hr.name }' } } } ]
";

const HEAR: &str = "
do:
  - first: { listen: { to: { one: { with: { type: go }, correlate: { id: { from: .data.id, expect: '${ .id }' } } } } } }
  - second: { listen: { to: { one: { with: { type: end } } } } }
";

const ON: &str = "
schedule: { on: { one: { with: { type: asked } } } }
do: [ { answer: { set: '${ .[0].data }' } } ]
";

fn event(ty: &str, id: &str, data: Value) -> String {
    format!("{}\n", json!({ "specversion": "1.0", "id": id, "source": "/test", "type": ty, "data": data }))
}

fn folder(rest: &str) -> Folder {
    let folder = Folder::new();
    folder.write("flow.yaml", &definition("flow", rest));
    folder
}

/// Runs it with this on standard input.
fn fed(folder: &Folder, arguments: &[&str], input: &str) -> Outcome {
    let mut child = folder.spawn(arguments, Stdio::piped());
    // It may end before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    Outcome::of(child)
}

#[test]
fn the_output_is_alone_on_standard_output() {
    let folder = folder(GREET);
    folder.write("secrets.yaml", "hr: { name: grace }");
    folder.write("input.json", "{ \"name\": \"ada\" }");
    let wanted = "{\"hello\":\"ada\",\"by\":\"grace\"}\n";
    for input in ["{\"name\": \"ada\"}", "@input.json"] {
        let outcome = folder.flagstop(&["run", "flow.yaml", "--input", input, "--secrets", "secrets.yaml"]).exits(0);
        assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), (wanted, ""));
    }
    let outcome =
        fed(&folder, &["run", "flow.yaml", "--input", "-", "--secrets", "secrets.yaml"], "{\"name\":\"ada\"}");
    assert_eq!(outcome.exits(0).stdout, wanted);
}

#[test]
fn a_fault_is_told_readably_or_as_json() {
    let folder = folder(GREET);
    let outcome = folder.flagstop(&["run", "flow.yaml"]).exits(1);
    assert_eq!(outcome.stdout, "");
    golden("run-faulted.stderr", &outcome.stderr);
    let outcome = folder.flagstop(&["run", "flow.yaml", "--output", "json"]).exits(1);
    let error: Value = serde_json::from_str(&outcome.stderr).unwrap();
    assert_eq!((&error["status"], &error["instance"]), (&403.into(), &"/do/0/greet".into()));
    let (stdout, stderr) = (outcome.stdout.clone(), outcome.stderr.clone());
    Outcome { stdout: stderr, stderr: stdout, ..outcome }.json("run");
}

#[test]
fn what_is_malformed_is_told_with_its_place() {
    let folder = folder(HEAR);
    folder.write("bad.yaml", "document: {}\n");
    folder.write("input.json", "{\n  \"name\": ada\n}");
    folder.write(
        "events.jsonl",
        &format!("{}\n{}", event("go", "1", json!(1)), "{\"specversion\": \"1.0\"}\nnonsense\n"),
    );
    folder.flagstop(&["run", "bad.yaml"]).exits(2).says(&["bad.yaml:1:"]);
    folder.flagstop(&["run", "gone.yaml"]).exits(2).says(&["gone.yaml"]);
    folder.flagstop(&["run", "flow.yaml", "--input", "@input.json"]).exits(2).says(&["input.json:2:11"]);
    folder.flagstop(&["run", "flow.yaml", "--input", "{a: 1}"]).exits(2).says(&["--input:1:2"]);
    let run = ["run", "flow.yaml", "--events", "events.jsonl"];
    folder.flagstop(&run).exits(2).says(&["events.jsonl:3:", "events.jsonl:4:"]);
    fed(&folder, &["run", "flow.yaml", "--events", "-"], "\nnonsense\n").exits(2).says(&["standard input:2:"]);
    folder.flagstop(&["run", "flow.yaml", "--events", "-", "--input", "-"]).exits(2).says(&["FS-ARGUMENTS"]);
    folder.flagstop(&["run", "flow.yaml", "--timeout", "soon"]).exits(2).says(&["`soon` is no duration"]);
}

#[test]
fn events_are_given_as_the_workflow_waits_and_their_end_stops_it() {
    let folder = folder(HEAR);
    let two = event("go", "1", json!({ "id": "x" })) + &event("go", "2", json!({ "id": "y" }));
    folder.write("two.jsonl", &two);
    folder.write("three.jsonl", &(two.clone() + &event("end", "3", json!(7))));
    let input = ["--input", "{\"id\":\"y\"}"];

    let run = ["run", "flow.yaml", "--events", "three.jsonl", "--status", "status.jsonl"];
    let outcome = folder.flagstop(&[&run[..], &input].concat()).exits(0);
    assert_eq!(outcome.stdout, "[7]\n");
    let status = std::fs::read_to_string(folder.file("status.jsonl")).unwrap();
    let sequence = status.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["sequence"].clone());
    let wanted: Vec<Value> = (1..=status.lines().count()).map(|n| n.to_string().into()).collect();
    assert_eq!(sequence.collect::<Vec<_>>(), wanted);

    let run = ["run", "flow.yaml", "--events", "two.jsonl"];
    let outcome = folder.flagstop(&[&run[..], &input].concat()).exits(3);
    let told = outcome.says(&["stopped: it can go on only by an event, and there are no more", "/do/1/second", "end"]);
    assert_eq!(told.stdout, "");
    let outcome = folder.flagstop(&[&run[..], &input, &["--output", "json"]].concat()).exits(3);
    let stopped: Value = serde_json::from_str(&outcome.stderr).unwrap();
    assert_eq!((&stopped["stopped"], &stopped["waitingFor"][0]["what"]), (&"events-used-up".into(), &"end".into()));
}

#[test]
fn a_pipe_that_was_silent_resumes_it() {
    let folder = folder(HEAR);
    let mut child =
        folder.spawn(&["run", "flow.yaml", "--input", "{\"id\":1}", "--events", "-", "--status", "s"], Stdio::piped());
    let mut pipe = child.stdin.take().unwrap();
    // Only when it has said that it waits is the event written.
    folder.until("s", "correlation-started");
    pipe.write_all(event("go", "1", json!({ "id": 1 })).as_bytes()).unwrap();
    pipe.write_all(event("end", "2", json!("bye")).as_bytes()).unwrap();
    assert_eq!(Outcome::of(child).exits(0).stdout, "[\"bye\"]\n");
    drop(pipe);
}

#[test]
fn a_signal_and_a_timeout_stop_it_and_it_tells_what_it_waits_for() {
    let folder = folder("do: [ { nap: { wait: P3D } } ]");
    let outcome = folder.flagstop(&["run", "flow.yaml", "--timeout", "PT0.1S"]).exits(3);
    outcome.says(&["stopped: the time given by --timeout is over", "/do/0/nap", "timer"]);

    let child = folder.spawn(&["run", "flow.yaml", "--status", "s"], Stdio::null());
    folder.until("s", "task.started");
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    Outcome::of(child).exits(3).says(&["stopped: interrupted", "/do/0/nap"]);
}

#[test]
fn an_endless_loop_of_pure_work_can_be_stopped() {
    let folder = folder(
        "do: [ { loop: { for: { in: '[range(100000)]' }, do: [ { a: { for: { in: '[range(100000)]' }, do: [ { b: { set: { n: 1 } } } ] } } ] } } ]",
    );
    folder.flagstop(&["run", "flow.yaml", "--timeout", "200ms"]).exits(3).says(&["--timeout"]);
}

#[test]
fn a_scheduled_workflow_starts_by_its_input_by_an_event_or_by_the_clock_at_once() {
    let folder = folder(ON);
    folder.write("events.jsonl", &event("asked", "1", json!("me")));
    assert_eq!(folder.flagstop(&["run", "flow.yaml", "--events", "events.jsonl"]).exits(0).stdout, "\"me\"\n");
    assert_eq!(folder.flagstop(&["run", "flow.yaml", "--input", "[{\"data\":3}]"]).exits(0).stdout, "3\n");
    folder.flagstop(&["run", "flow.yaml"]).exits(3).says(&["no event has started it", "asked"]);

    folder.write(
        "every.yaml",
        &definition("every", "schedule: { every: { days: 1 } }\ndo: [ { a: { set: { a: 1 } } } ]"),
    );
    assert_eq!(folder.flagstop(&["run", "every.yaml"]).exits(0).stdout, "{\"a\":1}\n");
}

#[test]
fn further_files_are_there_to_be_called() {
    let parent =
        "do: [ { call: { run: { workflow: { namespace: test, name: child, version: latest, input: { n: 2 } } } } } ]";
    let folder = folder(parent);
    folder.write("child.yaml", &definition("child", "do: [ { double: { set: '${ .n * 2 }' } } ]"));
    assert_eq!(folder.flagstop(&["run", "flow.yaml", "child.yaml"]).exits(0).stdout, "4\n");
    folder.flagstop(&["run", "flow.yaml"]).exits(1).says(&["test/child"]);
}
