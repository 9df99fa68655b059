//! The language in the embedded form, a SQLite file and a bus in the process: a folder of workflows that start each other,
//! orders from the command line, and a restart in the middle.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use serde_json::json;
use support::{Folder, Served};

const COMPLETED: &str = "io.serverlessworkflow.workflow.completed.v1";
const WAITS: &str = "io.serverlessworkflow.workflow.correlation-started.v1";

/// Squares numbers by children, side by side, then waits for a word that the fork does not know.
const PARENT: &str = r"
document: { dsl: '1.0.3', namespace: t, name: parent, version: '1.0.0' }
schedule: { on: { one: { with: { type: t.start } } }, read: data }
input: { from: '.[0]' }
do:
  - square:
      for: { each: n, in: .numbers }
      do:
        - side:
            fork:
              branches:
                - one: { run: { workflow: { namespace: t, name: child, version: latest, input: { n: '${ $n }' } } } }
                - two: { set: { n: '${ $n }' } }
            output: { as: '.[0].square' }
            export: { as: '($context // { all: [] }) | .all += [$output]' }
      input: { from: '.' }
      output: { as: '{ all: $context.all, key: $input.key }' }
  - hear:
      listen: { to: { one: { with: { type: t.go }, correlate: { key: { from: .data.key, expect: '${ .key }' } } } } }
      output: { as: '{ all: $context.all, word: .[0].word }' }
";

const CHILD: &str = r"
document: { dsl: '1.0.3', namespace: t, name: child, version: '1.0.0' }
do:
  - rest: { wait: { milliseconds: 20 } }
  - give: { set: { square: '${ .n * .n }' } }
";

fn serve(folder: &Folder) -> Served {
    folder.write("defs/parent.yaml", PARENT);
    folder.write("defs/child.yaml", CHILD);
    folder.serve(&folder.file("defs"), &[])
}

fn publish(folder: &Folder, served: &Served, ty: &str, id: &str, data: &str) {
    let arguments = ["publish", "--http", &served.address, "--type", ty, "--id", id, "--data", data];
    folder.flagstop(&arguments).exits(0);
}

#[test]
fn a_folder_of_workflows_runs_children_and_survives_a_restart_and_orders() {
    let folder = Folder::new();
    let store = format!("sqlite:{}", folder.file("data/store.db"));
    let mut served = serve(&folder);
    publish(&folder, &served, "t.start", "s", r#"{"numbers":[1,2,3],"key":"k"}"#);
    served.until(WAITS);
    served.kill();

    let listed = folder.flagstop(&["instances", "list", "--store", &store, "--output", "json"]).exits(0);
    let listed = listed.json("instances-list");
    let rows = listed.as_array().unwrap();
    assert_eq!(rows.len(), 4, "a parent and three children: {listed:#}");
    let parent = rows.iter().find(|row| row["name"] == "parent").unwrap();
    let id = parent["id"].as_str().unwrap().to_owned();
    assert_eq!(parent["status"], "waiting");
    let children = rows.iter().filter(|row| row["name"] == "child");
    assert!(children.clone().all(|child| child["parent"] == id.as_str() && child["status"] == "completed"));

    let mut served = serve(&folder);
    let order = |verb: &str| {
        let told = folder.flagstop(&["instances", verb, &id, "--store", &store, "--output", "json"]).exits(0);
        told.json("instances-order")
    };
    assert_eq!(order("suspend")["status"], "suspended");
    publish(&folder, &served, "t.go", "g", r#"{"key":"k","word":"late"}"#);
    let refused = folder.flagstop(&["instances", "retry", &id, "--store", &store]).exits(1);
    refused.says(&["FS-INSTANCE-PHASE", "is suspended", "goes on by `continue`"]);
    assert_eq!(order("continue")["carriedOut"], true);
    let events = served.until(COMPLETED);
    let output = &events.last().unwrap()["data"]["output"];
    assert_eq!(*output, json!({ "all": [1, 4, 9], "word": "late" }));
    folder.flagstop(&["instances", "cancel", &id, "--store", &store]).exits(1).says(&["is completed"]);
    // What has ended can be run once more, as another instance that says of which.
    let again = folder.flagstop(&["instances", "rerun", &id, "--store", &store, "--output", "json"]).exits(0);
    let again = again.json("instances-rerun");
    assert_eq!((again["rerunOf"].as_str(), again["carriedOut"].as_bool()), (Some(id.as_str()), Some(true)));
    let started = served.until("io.serverlessworkflow.workflow.started.v1").pop().unwrap();
    assert_eq!((&started["subject"], &started["rerunof"]), (&again["id"], &json!(id)));
    let running = again["id"].as_str().unwrap();
    folder
        .flagstop(&["instances", "rerun", running, "--store", &store])
        .exits(1)
        .says(&["FS-INSTANCE-PHASE", "has ended"]);
    served.stop();
    folder
        .flagstop(&["instances", "suspend", "00000000-0000-0000-0000-000000000000", "--store", &store])
        .exits(6)
        .says(&["FS-INSTANCE-UNKNOWN"]);
}

#[test]
fn a_definition_is_deployed_whole_or_not_at_all() {
    let folder = Folder::new();
    let store = folder.store();
    folder.flagstop(&["migrate", "--store", &store]).exits(0);
    let calls = r"
document: { dsl: '1.0.3', namespace: t, name: calls, version: '1.0.0' }
input: { schema: { format: json, resource: { endpoint: schemas/input.json } } }
do:
  - x: { set: { y: 1 } }
";
    let file = folder.write("defs/calls.yaml", calls);
    let deploy = || folder.flagstop(&["deploy", "--store", &store, &file]);
    deploy().exits(2).says(&["FS-RESOURCE-FETCH", "schemas/input.json", "nothing was deployed"]);
    folder.write("defs/schemas/input.json", r#"{"type":"object"}"#);
    deploy().exits(0);
    deploy().exits(0);
    // What it names belongs to it: another schema is another definition.
    folder.write("defs/schemas/input.json", r#"{"type":"array"}"#);
    deploy().exits(2).says(&["FS-DEPLOY-CONFLICT"]);
}
